"""What a run says of images so that they are told from others."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.decoding.sample import greedy, sample
from capjax.decoding.suppressor import emitter_suppressor, suppressed, together
from capjax.errors import InputError
from capjax.speaker import Params, Speaker, log_probs, repeated

WIDTH = 3  # of the beam, where a recipe searches otherwise
_DRAW = ("temperature", "top_k", "top_p", "forbid_unknown")


def tell_apart(
    speaker: Speaker,
    params: Params,
    images: np.ndarray,
    others: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    noise: int = 0,
    rationality: float = 0.5,
    key: jax.Array | None = None,
    batch: int = 32,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Captions of images that hold down what would fit others (Vedantam et al., 2017).

    Args:
      images: [N, ...], as the speaker takes them.
      others: [M, ...], what each is to be told from; or int[N, M], which of the images.
      decoding: "greedy", "sample" with its settings, or a beam search; see `emitter_suppressor` and
        `suppressed`.
      noise: width of the speaker's noise; it speaks from zero.
    Yields:
      As `speak_all`; log-probabilities are the speaker's own, of the image alone.
    Raises:
      InputError: rationality is not from 0 to 1, or the beam is a diverse one.
    """
    if not 0 <= rationality <= 1:
        raise InputError(f"--rationality={rationality} must be from 0 to 1")
    if decoding.get("groups", 1) > 1:
        raise InputError("captions that tell images apart have no diverse beams; take groups 1")
    key = jax.random.key(0) if key is None else key
    own = others.ndim == 2 and np.issubdtype(others.dtype, np.integer)
    number = others.shape[1] if own else len(others)
    speak = _speaking(speaker, noise, dict(decoding), number, rationality)
    batch = min(batch, len(images))
    for first in range(0, len(images), batch):
        part = np.asarray(images[first : first + batch])
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)])
        keys = jax.random.split(jax.random.fold_in(key, first), batch)
        if own:
            rows = np.minimum(np.arange(first, first + batch), len(images) - 1)
            around = np.asarray(images[others[rows].ravel()]).reshape(
                batch, number, *part.shape[1:]
            )
        else:
            around = np.broadcast_to(others[None], (batch, *others.shape))
        words, log_prob = speak(params, filled, around, keys)
        yield np.asarray(words)[: len(part)], np.asarray(log_prob)[: len(part)]


def _speaking(
    speaker: Speaker, noise: int, decoding: dict[str, Any], number: int, rationality: float
) -> Any:
    """(params, images [N, ...], others [N, M, ...], keys [N]) -> (words [N, K, T], log p [N, K])"""
    max_len = decoding["max_len"]
    method, each = decoding["method"], decoding.get("samples", 1)
    pair = suppressed(speaker, number, rationality)

    def context(images: jax.Array, lead: tuple[int, ...]) -> dict[str, jax.Array]:
        return {"image": images} | ({"noise": jnp.zeros((*lead, noise))} if noise else {})

    def speak(params, images, others, keys):
        n = images.shape[0]
        target = context(images, (n,))
        rest = context(others, (n, number))
        if method == "sample":
            rows = jax.vmap(lambda k: jax.random.split(k, each))(keys).reshape(-1)
            options = {name: decoding[name] for name in _DRAW if name in decoding}
            several = repeated(pair, each)
            drawn = sample(
                several, params, together(target, rest), rows, max_len=max_len, **options
            )
            words = drawn.words.reshape(n, each, -1)
        elif method == "greedy":
            words = greedy(pair, params, together(target, rest), max_len=max_len).words[:, None]
        else:
            found = emitter_suppressor(
                speaker,
                params,
                target,
                rest,
                rationality=rationality,
                width=max(each, decoding.get("width", WIDTH)),
                max_len=max_len,
                forbid_unknown=decoding.get("forbid_unknown", False),
            )
            words = found.words[:, :each]
        count = words.shape[1]
        seen = jax.tree.map(lambda x: jnp.repeat(x, count, 0), target)
        told = log_probs(speaker, params, seen, words.reshape(n * count, -1)).sum(1)
        return words, told.reshape(n, count)

    return jax.jit(speak)
