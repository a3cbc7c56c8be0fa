"""Captions that tell an image from others, by a speaker that never saw them together.

The introspective speaker of Vedantam et al. (2017): a caption is worth log p(s | target) - (1 -
rationality) log p(s | distractor), and since both read the same words, so is each of its words.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import agree, check_captions, check_choices, check_context, check_some, told
from capjax.decoding.beam import beam_search, search, step_beams
from capjax.decoding.sample import forbid
from capjax.speaker import UNKNOWN, Captions, Carry, Context, Params, Speaker, log_probs, rows_of


def emitter_suppressor(
    speaker: Speaker,
    params: Params,
    target: Context,
    distractors: Context,
    *,
    rationality: float = 0.5,
    width: int = 5,
    max_len: int = 20,
    forbid_unknown: bool = False,
    block_trigrams: bool = False,
) -> Captions:
    """Emitter-suppressor beam search (Vedantam et al., 2017, sec. 4.2): the captions of a target
    that are worth most when what fits its distractors is held down.

    Each word, and the end, scores log p(w | target) - (1 - rationality) mean_m log p(w |
    distractor_m), all streams fed the same words. With rationality 1 it is `beam_search`. A word's
    score may be above 0: no hypothesis is lost before `max_len` words.

    Args:
      target: a context of N rows.
      distractors: the same with M distractors of each, leaves [N, M, ...].
      rationality: lambda, from 0 to 1; less holds down more. It may be traced: one program for
        all.
      width, max_len, forbid_unknown, block_trigrams: as in `beam_search`.
    Returns:
      Captions(words int32[N, W, T], best first, and as log_prob their scores float32[N, W]).
    Raises:
      ValueError: rationality, width or max_len out of range, or contexts that do not fit.
    """
    check_pair(target, distractors, rationality)
    if told(rationality) and rationality == 1:
        bans = {"forbid_unknown": forbid_unknown, "block_trigrams": block_trigrams}
        return beam_search(speaker, params, target, width=width, max_len=max_len, **bans)
    if width < 1 or max_len < 1:
        raise ValueError(f"width={width} and max_len={max_len} must be at least 1")
    pair = suppressed(speaker, _number(distractors), rationality)
    memory, carry = pair.start(params, together(target, distractors))

    def extend(carry, words):
        carry, hidden = step_beams(pair)(params, memory, carry, words)
        scores = pair.logits(params, hidden)
        return carry, forbid(scores, UNKNOWN) if forbid_unknown else scores

    n = rows_of(carry, target)
    options: dict[str, Any] = {"falling": False, "n": n, "block_trigrams": block_trigrams}
    return search(extend, carry, width, max_len, **options)


def suppressed(speaker: Speaker, number: int = 1, rationality: float = 0.5) -> Speaker:
    """A speaker of targets among a number of distractors: what decodes any speaker takes it.

    Its contexts are `together(target, distractors)`; its logits are emitter-suppressor's scores of
    the next word. So `greedy` takes the word that scores most, and `sample` draws by the scores'
    softmax, p(w | target) / prod_m p(w | distractor_m) ** ((1 - rationality) / M).

    Args:
      number: M, distractors of each target.
      rationality: lambda, from 0 to 1; less holds down more.
    Returns:
      Speaker, whose parameters are those of the speaker given.
    Raises:
      ValueError: rationality is not from 0 to 1, or number below 1.
    """
    _check(rationality)
    if number < 1:
        raise ValueError(f"number={number} must be at least 1")
    streams = 1 + number

    def start(params: Params, context: Context) -> tuple[Any, Carry]:
        return apart(speaker.start(params, joined(context)), streams)

    def step(params: Params, memory: Any, carry: Carry, words: jax.Array):
        carry, hidden = speaker.step(
            params, joined(memory), joined(carry), jnp.repeat(words, streams, 0)
        )
        carry, hidden = apart((carry, hidden), streams)
        return carry, hidden.reshape(hidden.shape[0], -1)

    def logits(params: Params, hidden: jax.Array) -> jax.Array:
        each = hidden.reshape(*hidden.shape[:-1], streams, -1)

        def log_p(hidden: jax.Array) -> jax.Array:
            return jax.nn.log_softmax(speaker.logits(params, hidden).astype(jnp.float32))

        if number == 1:
            mine, held = jnp.moveaxis(log_p(each), -2, 0)
            return mine - (1 - rationality) * held
        each = jnp.moveaxis(each, -2, 0)
        # One distractor's vocabulary at a time, however many there are.
        held = lax.fori_loop(2, streams, lambda m, total: total + log_p(each[m]), log_p(each[1]))
        return log_p(each[0]) - (1 - rationality) / number * held

    return Speaker(speaker.init, start, step, logits)


def introspective_score(
    speaker: Speaker,
    params: Params,
    target: Context,
    distractors: Context,
    captions: jax.Array,
    *,
    rationality: float = 0.5,
) -> jax.Array:
    """What whole captions are worth to the introspective speaker (Vedantam et al., 2017, eq. 3).

    log p(s | target) - (1 - rationality) mean_m log p(s | distractor_m), which is rationality log p
    + (1 - rationality) log f with the likelihood ratio f as the listener: for re-ranking.

    Args:
      target, distractors, rationality: as in `emitter_suppressor`.
      captions: int32[N, T].
    Returns:
      float32[N] in nats.
    Raises:
      ValueError: as `emitter_suppressor`, and as `log_probs`.
    """
    check_pair(target, distractors, rationality)
    check_captions(captions)
    agree(target=target, captions=captions)

    def log_p(context: Context) -> jax.Array:
        return log_probs(speaker, params, context, captions).sum(1)

    def one(m: jax.Array) -> jax.Array:
        return log_p(jax.tree.map(lambda x: jnp.asarray(x)[:, m], distractors))

    held = lax.map(one, jnp.arange(_number(distractors))).mean(0)
    return log_p(target) - (1 - rationality) * held


def together(target: Context, distractors: Context) -> Context:
    """Targets and their distractors as one context.

    Args:
      target, distractors: contexts, leaves [N, ...] and [N, M, ...].
    Returns:
      A context, leaves [N, 1 + M, ...].
    """
    leaves, tree = jax.tree.flatten(dict(target))
    pairs = zip(leaves, jax.tree.leaves(dict(distractors)), strict=True)
    return jax.tree.unflatten(tree, [jnp.concatenate([x[:, None], y], 1) for x, y in pairs])


def check_pair(target: Context, distractors: Context, rationality: float) -> None:
    """Raises ValueError unless distractors [N, M, ...] fit the targets [N, ...]."""
    _check(rationality)
    check_some(check_context(target, "target"))
    check_context(distractors, "distractors")
    if target.keys() != distractors.keys():
        raise ValueError(
            f"the target has {sorted(target)} and its distractors {sorted(distractors)};"
            " give both the same"
        )
    mine, theirs = (jax.tree_util.tree_leaves_with_path(dict(x)) for x in (target, distractors))
    if [path for path, _ in mine] != [path for path, _ in theirs]:
        raise ValueError("the target and its distractors hold other arrays; give both the same")
    for (_, x), (path, y) in zip(mine, theirs, strict=True):
        if y.ndim != x.ndim + 1 or y.shape[:1] + y.shape[2:] != x.shape or not y.shape[1]:
            raise ValueError(
                f"distractors{jax.tree_util.keystr(path)} {list(y.shape)} must be [N, M, ...] with"
                f" M at least 1 where the target's are {list(x.shape)}"
            )
    check_choices(distractors, "distractors")


def _check(rationality: float) -> None:
    if told(rationality) and not 0 <= rationality <= 1:
        raise ValueError(f"rationality={rationality} must be from 0 to 1")


def _number(distractors: Context) -> int:
    return jax.tree.leaves(distractors)[0].shape[1]


def joined(tree: Any) -> Any:
    """Leaves [N, 1 + M, ...] -> [N (1 + M), ...]."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), tree)


def apart(tree: Any, streams: int) -> Any:
    """Leaves [N (1 + M), ...] -> [N, 1 + M, ...]."""
    return jax.tree.map(lambda x: x.reshape(-1, streams, *x.shape[1:]), tree)
