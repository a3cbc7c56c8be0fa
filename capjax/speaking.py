"""Captions for many images: whole batches through one compiled decoder."""

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.decoding.beam import beam_search
from capjax.decoding.sample import greedy, sample
from capjax.errors import InputError
from capjax.speaker import Params, Speaker

# The settings of each method. A recipe may hold those of another one, too: they wait.
METHODS = {
    "greedy": ("max_len", "forbid_unknown"),
    "beam": ("max_len", "forbid_unknown", "width", "groups", "diversity"),
    "sample": ("max_len", "forbid_unknown", "samples", "temperature", "top_k", "top_p"),
}


def check_decoding(
    decoding: Mapping[str, Any], speaker: Speaker, params: Params, images: np.ndarray, noise: int
) -> None:
    """Raises InputError where `decoding` is not a method of METHODS with settings that it takes.

    Args:
      params, images: as in `speak_all`, or their shapes: nothing is computed.
    """
    if decoding["method"] not in METHODS:
        raise InputError(
            f"there is no decoding {decoding['method']!r}; choose one of {', '.join(METHODS)}"
        )
    known = {"method"}.union(*METHODS.values())
    if unknown := sorted(decoding.keys() - known):
        raise InputError(f"no decoding has a setting {unknown[0]!r}; remove it from the recipe")
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    z = jax.ShapeDtypeStruct((1, noise), jnp.float32) if noise else None
    try:
        speak = _decoder(speaker, tuple(sorted(decoding.items())))
        jax.eval_shape(speak, params, image, z, jax.random.key(0))
    except ValueError as error:
        raise InputError(f"the decoding {dict(decoding)} cannot be done: {error}") from error


@lru_cache(maxsize=8)
def _decoder(speaker: Speaker, decoding: tuple) -> Callable:
    method = dict(decoding)["method"]
    settings = {name: value for name, value in decoding if name in METHODS[method]}

    def speak(params, image, noise, key):
        context = {"image": image} | ({} if noise is None else {"noise": noise})
        if method == "sample":
            number = settings.get("samples", 1)
            rest = {k: v for k, v in settings.items() if k != "samples"}
            repeated = jax.tree.map(lambda x: jnp.repeat(x, number, 0), context)
            words = sample(speaker, params, repeated, key, **rest).words
            return words.reshape(image.shape[0], number, -1)
        if method == "beam":
            return beam_search(speaker, params, context, **settings).words
        return greedy(speaker, params, context, **settings).words[:, None]

    return jax.jit(speak)


def speak_all(
    speaker: Speaker,
    params: Params,
    images: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    noise: int = 0,
    key: jax.Array | None = None,
    batch: int = 100,
) -> Iterator[np.ndarray]:
    """Captions of images by a decoder, a batch at a time.

    Args:
      images: [M, ...], what `context["image"]` holds.
      decoding: {"method": one of METHODS, and the arguments of `greedy`, `beam_search` or `sample`;
        for sampling also "samples", how many an image}.
      noise: width of the speaker's noise, given as zeros.
      key: for sampling.
    Yields:
      int32[B, K, T] for the next B images: K = 1, the width, or the samples; beams best first.
    """
    speak = _decoder(speaker, tuple(sorted(decoding.items())))
    batch = min(batch, len(images))
    for first in range(0, len(images), batch):
        part = np.asarray(images[first : first + batch])
        # The last batch is filled up, so that one program serves all.
        filled = np.concatenate([part, np.repeat(part[-1:], batch - len(part), 0)])
        z = jnp.zeros((batch, noise)) if noise else None
        row_key = None if key is None else jax.random.fold_in(key, first)
        yield np.asarray(speak(params, jnp.asarray(filled), z, row_key))[: len(part)]
