"""Captions for many images: whole batches through one compiled decoder."""

import math
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
    "beam": ("max_len", "forbid_unknown", "samples", "width", "groups", "diversity"),
    "sample": ("max_len", "forbid_unknown", "samples", "temperature", "top_k", "top_p"),
}

_RANGES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "width": (lambda x: x >= 1, "at least 1"),
    "groups": (lambda x: x >= 1, "at least 1"),
    "samples": (lambda x: x >= 1, "at least 1"),
    "top_k": (lambda x: x >= 1, "at least 1"),
    "diversity": (lambda x: 0 <= x < math.inf, "at least 0"),
    "temperature": (lambda x: 0 < x < math.inf, "above 0"),
    "top_p": (lambda x: 0 < x <= 1, "above 0 and at most 1"),
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
    samples = settings.pop("samples", 1)

    def speak(params, image, noise, key):
        context = {"image": image} | ({} if noise is None else {"noise": noise})
        if method == "sample":
            repeated = jax.tree.map(lambda x: jnp.repeat(x, samples, 0), context)
            words = sample(speaker, params, repeated, key, **settings).words
            return words.reshape(image.shape[0], samples, -1)
        if method == "beam":
            beams = beam_search(speaker, params, context, **settings).words
            if samples > beams.shape[1]:
                raise ValueError(f"a beam of width {beams.shape[1]} has no {samples} captions")
            return beams[:, :samples]
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
        for sampling and beams also "samples", how many an image (of beams the best)}.
      noise: width of the speaker's noise, given as zeros.
      key: for sampling.
    Yields:
      int32[B, K, T] for the next B images, K the samples, 1 by default; beams best first.
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


def decoding_of(config: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """A recipe's decoding, or another method with the recipe's length, with settings changed.

    Args:
      config: of a run.
      changes: `method` and settings of METHODS; None for what stays. Without a method the settings
        choose one where the recipe's does not take them: a temperature draws.
    Raises:
      InputError: a setting that the method does not take, or that is out of range.
    """
    decoding = dict(config["decoding"])
    given = {name: value for name, value in changes.items() if value is not None}
    able = [name for name, takes in METHODS.items() if given.keys() <= set(takes)]
    method = given.pop("method", None)
    if method is None:
        method = decoding["method"]
        method = method if method in able or not able else able[0]
    if method != decoding["method"]:
        kept = ("max_len", "forbid_unknown")
        decoding = {name: decoding[name] for name in kept if name in decoding}
        decoding = {"method": method} | decoding | ({"width": 3} if method == "beam" else {})
    for name, value in given.items():
        flag = f"--{name.replace('_', '-')}={value}"
        if name not in METHODS[method]:
            takes = " or ".join(other for other in METHODS if name in METHODS[other])
            raise InputError(f"{flag} has no meaning for {method}; it needs --decoding={takes}")
        fits, told = _RANGES[name]
        if not fits(value):
            raise InputError(f"{flag} must be {told}")
    return decoding | given


def spell(decoding: Mapping[str, Any]) -> str:
    """A decoding in words: its method, and the settings that the method takes."""
    taken = [name for name in METHODS[decoding["method"]] if name in decoding]
    return f"{decoding['method']} ({', '.join(f'{name} {decoding[name]}' for name in taken)})"
