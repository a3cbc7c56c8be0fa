"""Captions for many images: whole batches through one compiled decoder."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.decoding.beam import beam_search
from capjax.decoding.best_of import best_of
from capjax.decoding.guided import guided_search
from capjax.decoding.noise import draw_noise
from capjax.decoding.sample import greedy, sample
from capjax.errors import InputError
from capjax.judging import Evaluator
from capjax.judging import judge as judge_captions
from capjax.settings import ABOVE_0, FROM_0, FROM_1, Range, check
from capjax.speaker import Captions, Params, Speaker, log_probs

# The settings of each method. A recipe may hold those of another one, too: they wait.
_ALL = ("max_len", "forbid_unknown", "block_trigrams", "noise_law")
METHODS = {
    "greedy": _ALL,
    "beam": (*_ALL, "samples", "width", "groups", "diversity"),
    "sample": (*_ALL, "samples", "temperature", "top_k", "top_p"),
    "best_of": (*_ALL, "samples", "candidates", "temperature", "top_k", "top_p"),
    "guided": (*_ALL, "samples", "width", "branch", "rollouts"),
}
JUDGED = ("best_of", "guided")  # methods that need an evaluator

Judged = tuple[Evaluator, Params]  # what chooses: an evaluator and its parameters

RANGES = {
    **dict.fromkeys(("max_len", "width", "groups", "candidates", "branch"), FROM_1),
    **dict.fromkeys(("rollouts", "samples", "top_k"), FROM_1),
    "diversity": FROM_0,
    "temperature": ABOVE_0,
    "top_p": Range(lambda x: 0 < x <= 1, "above 0 and at most 1"),
}


def check_decoding(
    decoding: Mapping[str, Any],
    speaker: Speaker,
    params: Params,
    images: np.ndarray | jax.ShapeDtypeStruct,
    noise: int,
    judge: Judged | None = None,
    concepts: bool = False,
) -> None:
    """Raises InputError where `decoding` is not a method of METHODS with settings that it takes.

    Args:
      params, images, judge: as in `speak_all`, or their shapes: nothing is computed.
      concepts: whether the speaker is told classes.
    """
    if decoding["method"] not in METHODS:
        raise InputError(
            f"there is no decoding {decoding['method']!r}; choose one of {', '.join(METHODS)}"
        )
    known = {"method"}.union(*METHODS.values())
    if unknown := sorted(decoding.keys() - known):
        raise InputError(f"no decoding has a setting {unknown[0]!r}; remove it from the recipe")
    if decoding["method"] in JUDGED and judge is None:
        raise InputError(
            f"decoding by {decoding['method']} needs an evaluator, and there is none;"
            " take a run of configs/gan.py, or another decoding"
        )
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
    evaluator, judge_params = judge or (None, None)
    try:
        speak = _compiled(speaker, evaluator, noise, tuple(sorted(decoding.items())))
        beside = {"concept": jax.ShapeDtypeStruct((1,), jnp.int32)} if concepts else {}
        jax.eval_shape(speak, params, judge_params, image, beside, jax.random.key(0))
    except ValueError as error:
        raise InputError(f"the decoding {dict(decoding)} cannot be done: {error}") from error


@lru_cache(maxsize=8)
def _compiled(
    speaker: Speaker, evaluator: Evaluator | None, noise: int, decoding: tuple
) -> Callable:
    return jax.jit(decoder(speaker, evaluator, noise, dict(decoding)))


def decoder(
    speaker: Speaker, evaluator: Evaluator | None, noise: int, decoding: Mapping[str, Any]
) -> Callable:
    """What `speak_all` does with a batch, as one function to be compiled.

    Args:
      speaker, noise, decoding: as of `speak_all`; temperature, top_p and diversity may be traced.
      evaluator: the judge's, whose parameters the function is given.
    Returns:
      (params, the judge's, images [N, ...], beside, key) -> (words int32[N, K, T],
      log-probabilities float32[N, K]).
    """
    method = decoding["method"]
    settings = {name: value for name, value in decoding.items() if name in METHODS[method]}
    samples, law = settings.pop("samples", 1), settings.pop("noise_law", "zero")

    def speak(params, judge_params, image, beside, key):
        # Every sample has noise of its own; a search has one for all its hypotheses.
        each = samples if method in ("sample", "best_of") else 1
        context = {name: jnp.repeat(x, each, 0) for name, x in {"image": image, **beside}.items()}
        if noise:
            keys = jax.random.split(jax.random.fold_in(key, 0x5EED), image.shape[0] * each)
            context["noise"] = draw_noise(keys, noise, law)
        if method == "sample":
            found = sample(speaker, params, context, key, **settings)
        elif method == "best_of":
            number = settings.get("candidates", 10)
            drawn = {k: v for k, v in settings.items() if k != "candidates"}

            def score(context, captions):
                assert evaluator is not None  # as check_decoding sees to
                return judge_captions(evaluator, judge_params, context, captions)

            found = best_of(speaker, params, context, key, score, number, **drawn)
        elif method == "greedy":
            found = greedy(speaker, params, context, **settings)
        else:
            found = search(params, judge_params, context, key)
            if samples > found.words.shape[1]:
                raise ValueError(
                    f"a beam of width {found.words.shape[1]} has no {samples} captions"
                )
            return found.words[:, :samples], found.log_prob[:, :samples]
        shape = image.shape[0], each
        return found.words.reshape(*shape, -1), found.log_prob.reshape(shape)

    def search(params, judge_params, context, key):
        if method == "beam":
            return beam_search(speaker, params, context, **settings)
        assert evaluator is not None
        words = guided_search(
            speaker, params, evaluator, judge_params, context, key, **settings
        ).words
        flat = words.reshape(-1, words.shape[-1])
        each = jax.tree.map(lambda x: jnp.repeat(x, words.shape[1], 0), context)
        log_p = log_probs(speaker, params, each, flat).sum(-1)
        return Captions(words, log_p.reshape(words.shape[:2]))

    return speak


def speak_all(
    speaker: Speaker,
    params: Params,
    images: np.ndarray,
    decoding: Mapping[str, Any],
    *,
    noise: int = 0,
    key: jax.Array | None = None,
    judge: Judged | None = None,
    beside: Mapping[str, np.ndarray] | None = None,
    batch: int = 100,
    over: Callable[..., Iterable] = map,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Captions of images by a decoder, a batch at a time.

    Args:
      images: [M, ...], what `context["image"]` holds.
      decoding: {"method": one of METHODS, and the arguments of `greedy`, `beam_search`, `sample`,
        `best_of` (n is "candidates", 10 by default) or `guided_search`; for all but greedy also
        "samples", how many an image (of a search the best); "noise_law" of LAWS, "zero" by
        default}.
      noise: width of the speaker's noise.
      key: of all draws; None for a fixed one.
      judge: an evaluator and its parameters, for `best_of` and `guided_search`.
      beside: what else the speaker is told, leaves [M, ...]: {"concept": int32[M]}.
      over: what maps the work over batches: several processes share it by `parallel.shared_out`.
    Yields:
      (words int32[B, K, T], log-probabilities float32[B, K]) for the next B images, K the samples,
      1 by default; of a search best first. Log-probabilities are the speaker's own, in nats, given
      the noise that a caption was spoken with.
    """
    evaluator, judge_params = judge or (None, None)
    speak = _compiled(speaker, evaluator, noise, tuple(sorted(decoding.items())))
    key = jax.random.key(0) if key is None else key
    batch = min(batch, len(images))

    def one(first: int) -> tuple[np.ndarray, np.ndarray]:
        # The last batch is filled up, so that one program serves all.
        rows, left = np.arange(first, first + batch), len(images) - first
        rows = np.minimum(rows, len(images) - 1)
        others = {name: jnp.asarray(x[rows]) for name, x in (beside or {}).items()}
        row_key = jax.random.fold_in(key, first)
        words, log_prob = speak(params, judge_params, jnp.asarray(images[rows]), others, row_key)
        return np.asarray(words)[:left], np.asarray(log_prob)[:left]

    yield from over(one, range(0, len(images), batch))


def decoding_of(own: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A recipe's own decoding, or another method with its length, with settings changed.

    Args:
      changes: `method` and settings of METHODS; None for what stays. Without a method the settings
        choose one where the recipe's does not take them: a temperature draws.
    Raises:
      InputError: a setting that the method does not take, or that is out of range.
    """
    decoding = dict(own)
    given = {name: value for name, value in changes.items() if value is not None}
    able = [name for name, takes in METHODS.items() if given.keys() <= set(takes)]
    method = given.pop("method", None)
    if method is None:
        method = decoding["method"]
        method = method if method in able or not able else able[0]
    if method != decoding["method"]:
        kept = _ALL
        decoding = {name: decoding[name] for name in kept if name in decoding}
        decoding = {"method": method} | decoding | ({"width": 3} if method == "beam" else {})
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}"
        if name not in METHODS[method]:
            takes = " or ".join(other for other in METHODS if name in METHODS[other])
            raise InputError(
                f"{flag}={value} has no meaning for {method}; it needs --decoding={takes}"
            )
        if name in RANGES:
            check(flag, value, RANGES[name])
    return decoding | given


def spell(decoding: Mapping[str, Any]) -> str:
    """A decoding in words: its method, and the settings that the method takes."""
    taken = [name for name in METHODS[decoding["method"]] if name in decoding]
    return f"{decoding['method']} ({', '.join(f'{name} {decoding[name]}' for name in taken)})"
