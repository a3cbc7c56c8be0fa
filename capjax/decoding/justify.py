"""Why is this of one class and not of another? Captions that say what tells two classes apart."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from capjax.agreement import agree, check_captions, check_context
from capjax.decoding.beam import search
from capjax.decoding.sample import forbid
from capjax.decoding.suppressor import emitter_suppressor
from capjax.speaker import UNKNOWN, Captions, Context, Params, Speaker, rows_of


def justify(
    speaker: Speaker,
    params: Params,
    context: Context,
    target: jax.Array,
    distractor: jax.Array,
    *,
    blind: tuple[Speaker, Params] | None = None,
    rationality: float = 0.5,
    width: int = 5,
    max_len: int = 20,
    forbid_unknown: bool = False,
    block_trigrams: bool = False,
) -> Captions:
    """Captions of images that say why each is of one class and not of another.

    Vedantam et al. (2017, sec. 4): each word scores log p(w | image, target) - (1 - rationality)
    log p(w | image, distractor), both fed the same words (the introspective speaker). Where a
    speaker of classes alone listens instead, the semi-blind one, it scores rationality log p(w |
    image, target) + (1 - rationality) (log b(w | target) - log b(w | distractor)). The blind one is
    this function with the speaker of classes alone for a speaker.

    Args:
      context: without "concept", of N images.
      target, distractor: int32[N], the class that each is of, and the class that it is not.
      blind: a speaker b that is told a class and sees nothing, its `image` being float[N, 1] zeros,
        and its parameters.
      rationality: lambda, from 0 to 1; at 1 the distractor is not heeded.
      width, max_len, forbid_unknown, block_trigrams: as in `beam_search`.
    Returns:
      Captions(words int32[N, W, T], best first, and as log_prob their scores float32[N, W]).
    Raises:
      ValueError: as `emitter_suppressor`, or classes that do not agree with the context.
    """
    check_context(context)
    for name, classes in (("target", target), ("distractor", distractor)):
        check_captions(classes, "N", name)
        agree(context=context, **{name: classes})
    seen = dict(context) | {"concept": jnp.asarray(target)}
    options: dict[str, Any] = {"width": width, "max_len": max_len}
    options |= {"forbid_unknown": forbid_unknown, "block_trigrams": block_trigrams}
    if blind is None or rationality == 1:
        other = dict(context) | {"concept": jnp.asarray(distractor)}
        others = jax.tree.map(lambda x: jnp.asarray(x)[:, None], other)
        return emitter_suppressor(speaker, params, seen, others, rationality=rationality, **options)
    if not 0 <= rationality <= 1:
        raise ValueError(f"rationality={rationality} must be from 0 to 1")
    if width < 1 or max_len < 1:
        raise ValueError(f"width={width} and max_len={max_len} must be at least 1")
    dark = jnp.zeros((seen["concept"].shape[0], 1))
    streams = [
        _Stream(rationality, speaker, params, seen),
        _Stream(1 - rationality, *blind, {"image": dark, "concept": seen["concept"]}),
        _Stream(rationality - 1, *blind, {"image": dark, "concept": jnp.asarray(distractor)}),
    ]
    return _weighted_search(streams, **options)


class _Stream(NamedTuple):
    """A speaker whose log-probabilities count with a weight."""

    weight: float
    speaker: Speaker
    params: Params
    context: Context


def _weighted_search(
    streams: list[_Stream], width: int, max_len: int, forbid_unknown: bool, block_trigrams: bool
) -> Captions:
    """Beam search by the weighted sum of what speakers find each word worth, fed the same words."""
    starts = [one.speaker.start(one.params, one.context) for one in streams]

    def extend(carries, words):
        score, following = jnp.float32(0), []
        for one, (memory, _), carry in zip(streams, starts, carries, strict=True):
            step = partial(one.speaker.step, one.params, memory)
            carry, hidden = jax.vmap(step, (1, 1), (1, 1))(carry, words)
            following.append(carry)
            if one.weight:
                logits = one.speaker.logits(one.params, hidden).astype(jnp.float32)
                score += one.weight * jax.nn.log_softmax(logits)
        return tuple(following), forbid(score, UNKNOWN) if forbid_unknown else score

    carry = tuple(carry for _, carry in starts)
    n = rows_of(carry, streams[0].context)
    blocked = {"block_trigrams": block_trigrams}
    return search(extend, carry, width, max_len, falling=False, n=n, **blocked)
