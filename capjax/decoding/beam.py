"""Beam search over any Speaker."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_context, check_some
from capjax.decoding.sample import forbid
from capjax.speaker import END, UNKNOWN, Captions, Context, Params, Speaker, rows_of


class Ended(NamedTuple):
    """The best ended hypotheses, each named by where it stands in the trellis."""

    score: jax.Array  # float32[N, W]; -inf where there is none
    length: jax.Array  # int32[N, W], words before the end
    beam: jax.Array  # int32[N, W], where it stood after its last word


class Beams(NamedTuple):
    """The state of a search for N examples with W hypotheses each; no caption is ever copied."""

    carry: Any  # leaves [N, W, ...]
    live: jax.Array  # float32[N, W], scores of the hypotheses that go on; -inf where there is none
    words: jax.Array  # int32[T, N, W], the word added at step t
    parents: jax.Array  # int32[T, N, W], and the hypothesis of step t - 1 that it was added to
    ended: Ended


def beam_search(
    speaker: Speaker,
    params: Params,
    context: Context,
    *,
    width: int = 5,
    max_len: int = 20,
    groups: int = 1,
    diversity: float = 0.0,
    forbid_unknown: bool = False,
) -> Captions:
    """The likeliest captions that beam search finds, best first, without a length penalty.

    An end among the `width` best extensions of a step ends its hypothesis, which is kept while it
    is one of the `width` best ended; the `width` best others go on. A hypothesis that has not ended
    after `max_len` words is a caption cut there. With groups it is diverse beam search (Vijayakumar
    et al., 2018): each group is a beam of its own, and at every step its extensions are ranked
    `diversity` lower for each choice of the same word by an earlier group at that step. Scores stay
    log-probabilities.

    Args:
      width: W, hypotheses in all; a multiple of groups.
      groups: how many beams of width / groups search one after another at every step.
      diversity: nats, at least 0; used with groups > 1.
      forbid_unknown: never speak `<unk>`.
    Returns:
      Captions(words int32[N, W, T], log_prob float32[N, W]); log_prob is -inf for a caption that
      does not exist (fewer than W captions are possible).
    Raises:
      ValueError: width, groups, diversity or max_len out of range, or a context that does not agree
        (`capjax.agreement`).
    """
    if width < 1 or max_len < 1:
        raise ValueError(f"width={width} and max_len={max_len} must be at least 1")
    if groups < 1 or width % groups:
        raise ValueError(f"groups={groups} must divide width={width}")
    if diversity < 0:
        raise ValueError(f"diversity={diversity} must be at least 0")
    check_some(check_context(context))
    memory, carry = speaker.start(params, context)

    def extend(carry, words):
        carry, hidden = step_beams(speaker)(params, memory, carry, words)
        logits = speaker.logits(params, hidden).astype(jnp.float32)
        scores = jax.nn.log_softmax(logits)
        return carry, forbid(scores, UNKNOWN) if forbid_unknown else scores

    n = rows_of(carry, context)
    return search(extend, carry, width, max_len, groups, diversity, n=n)


def step_beams(speaker: Speaker) -> Callable:
    """`speaker.step` of W hypotheses each: carry [N, W, ...], words int32[N, W], hidden [N, W, H].

    The hypotheses of an example share its memory: it is neither copied nor moved.
    """
    return jax.vmap(speaker.step, (None, None, 1, 1), (1, 1))


def search(
    extend: Callable,
    carry: Any,
    width: int,
    max_len: int,
    groups: int = 1,
    diversity: float = 0.0,
    falling: bool = True,
    n: int | None = None,
) -> Captions:
    """Beam search by any score that adds up over words.

    Args:
      extend: (carry [N, W, ...], words int32[N, W]) -> (carry, score of each next word [N, W, V]).
      carry: leaves [N, ...], before the first word.
      falling: no word's score is above 0, so that a search may stop when no live hypothesis can
        still pass an ended one.
      n: N; None for that of the carry.
    Returns:
      As `beam_search`, the summed scores in place of log-probabilities.
    """
    n = jax.tree.leaves(carry)[0].shape[0] if n is None else n
    each = width // groups
    group = [slice(first, first + each) for first in range(0, width, each)]

    def one(t_and_state):
        t, state = t_and_state
        last = state.words[jnp.maximum(t - 1, 0)]  # ends at first
        carry, scores = extend(state.carry, last)
        total = state.live[..., None] + scores
        counts = jnp.zeros((n, scores.shape[-1]))
        grown = []
        for mine in group:
            ended = _columns(state.ended, mine)
            new, tried = _grow(total[:, mine], ended, t, mine.start, diversity * counts)
            grown.append(new)
            if groups > 1:
                counts += _choices(new, tried, scores.shape[-1])
        live, word, parent, ended = jax.tree.map(lambda *x: jnp.concatenate(x, 1), *grown)
        carry = jax.tree.map(lambda x: jax.vmap(lambda row, i: row[i])(x, parent), carry)
        words = lax.dynamic_update_index_in_dim(state.words, word, t, 0)
        parents = lax.dynamic_update_index_in_dim(state.parents, parent, t, 0)
        return t + 1, Beams(carry, live, words, parents, ended)

    def hopeful(t_and_state):
        t, state = t_and_state
        if not falling:
            return t < max_len
        live, ended = (x.reshape(n, groups, each) for x in (state.live, state.ended.score))
        return (t < max_len) & (live.max(-1) > ended.min(-1)).any()

    start = _begin(carry, n, width, each, max_len)
    t, state = lax.while_loop(hopeful, one, (jnp.int32(0), start))
    # What is live after the last step was cut there; before it, it has lost to all that ended.
    blank = jnp.zeros((n, width), jnp.int32)
    cut = Ended(
        state.live, jnp.full_like(blank, t), jnp.broadcast_to(jnp.arange(width), (n, width))
    )
    grouped = [
        _best(_beside(_columns(state.ended, mine), _columns(cut, mine)), each) for mine in group
    ]
    best = _best(jax.tree.map(lambda *x: jnp.concatenate(x, 1), *grouped), width)
    return Captions(_trace(state.words, state.parents, best), best.score)


class _Grown(NamedTuple):
    """A group of G hypotheses after one more word; see Beams."""

    live: jax.Array  # float32[N, G]
    word: jax.Array  # int32[N, G]
    parent: jax.Array  # int32[N, G]
    ended: Ended


def _begin(carry: Any, n: int, width: int, each: int, max_len: int) -> Beams:
    """The beams before the first word."""
    blank = jnp.zeros((n, width), jnp.int32)
    return Beams(
        carry=jax.tree.map(lambda x: jnp.repeat(x[:, None], width, 1), carry),
        # A group starts from one empty hypothesis.
        live=jnp.broadcast_to(jnp.where(jnp.arange(width) % each, -jnp.inf, 0.0), (n, width)),
        words=jnp.full((max_len, n, width), END, jnp.int32),
        parents=jnp.zeros((max_len, n, width), jnp.int32),
        ended=Ended(jnp.full((n, width), -jnp.inf), blank, blank),
    )


def _grow(
    scores: jax.Array, ended: Ended, t: jax.Array, first: int, penalty: jax.Array
) -> tuple[_Grown, Ended]:
    """One group's step.

    Args:
      scores: float32[N, G, V], of the extensions of the group's G hypotheses.
      first: where the group's first hypothesis stands among all.
      penalty: float32[N, V], by which words rank lower.
    Returns:
      (the group after it, its 2 G best extensions as hypotheses ended here).
    """
    n, each, vocabulary = scores.shape
    ranked = (scores - penalty[:, None]).reshape(n, -1)
    # A hypothesis has one end, so of twice as many candidates at least `each` go on.
    rank, index = lax.top_k(ranked, 2 * each)
    score = jnp.take_along_axis(scores.reshape(n, -1), index, 1)
    parent, word = first + index // vocabulary, index % vocabulary
    closes = word == END
    new = Ended(jnp.where(closes, score, -jnp.inf), jnp.full_like(word, t), parent)
    ended = _best(_beside(ended, _columns(new, slice(each))), each)
    order = lax.top_k(jnp.where(closes, -jnp.inf, rank), each)[1]
    live = jnp.where(closes, -jnp.inf, score)
    live, word, parent = (jnp.take_along_axis(x, order, 1) for x in (live, word, parent))
    return _Grown(live, word, parent, ended), new


def _choices(grown: _Grown, tried: Ended, vocabulary: int) -> jax.Array:
    """How often a group chose each word, to go on with it or to end: float32[N, V]."""
    chosen = jnp.where(grown.live > -jnp.inf, grown.word, -1)
    each = grown.word.shape[1]
    ends = (tried.score[:, :each] > -jnp.inf).astype(jnp.float32).sum(1)
    return jax.nn.one_hot(chosen, vocabulary).sum(1).at[:, END].add(ends)


def _columns(ended: Ended, mine: slice) -> Ended:
    return jax.tree.map(lambda x: x[:, mine], ended)


def _beside(a: Ended, b: Ended) -> Ended:
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), a, b)


def _best(ended: Ended, k: int) -> Ended:
    """The k best, the earlier before the later where they are equal."""
    order = lax.top_k(ended.score, k)[1]
    return jax.tree.map(lambda x: jnp.take_along_axis(x, order, 1), ended)


def _trace(words: jax.Array, parents: jax.Array, ended: Ended) -> jax.Array:
    """Reads hypotheses back through the trellis: int32[N, W, T]."""

    def back(beam, step):
        t, words, parents = step
        inside = t < ended.length
        word = jnp.where(inside, jnp.take_along_axis(words, beam, 1), END)
        return jnp.where(inside, jnp.take_along_axis(parents, beam, 1), beam), word

    steps = (jnp.arange(words.shape[0]), words, parents)
    return jnp.moveaxis(lax.scan(back, ended.beam, steps, reverse=True)[1], 0, -1)
