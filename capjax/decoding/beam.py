"""Beam search over any Speaker."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_context, check_some, told
from capjax.decoding.hoist import hoisted
from capjax.decoding.sample import forbid
from capjax.decoding.trigrams import blocking
from capjax.speaker import END, UNKNOWN, Captions, Context, Params, Speaker, rows_of


class Beams(NamedTuple):
    """The state of a search for N examples with W hypotheses each; no caption is ever copied."""

    carry: Any  # leaves [N, W, ...], of the hypotheses of the step before
    scores: jax.Array  # float32[N, 2, groups, 2 G]: of the best ended hypotheses, and of those that
    # go on, -inf where there is none; as a step's sort gives them, of which the first G count
    trellis: jax.Array  # int32[T, 3, N, W]: the word added at step t; the hypothesis of step t - 1
    # that it was added to; where the best ended hypotheses then stand (`Ended`)

    def last(self, t: jax.Array) -> jax.Array:
        """What step t - 1 wrote, int32[3, N, W]; before the first step, what all begin with."""
        return lax.dynamic_index_in_dim(self.trellis, jnp.maximum(t - 1, 0), 0, False)


class Ended(NamedTuple):
    """Hypotheses that have ended, each named by where it stands in the trellis."""

    score: jax.Array  # float32[N, W]; -inf where there is none
    place: jax.Array  # int32[N, W], t * W + w: words before the end, and where it stood after them


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
    block_trigrams: bool = False,
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
      max_len: T, words at most.
      groups: how many beams of width / groups search one after another at every step.
      diversity: nats, at least 0; used with groups > 1. It may be traced: one program for all.
      forbid_unknown: never speak `<unk>`.
      block_trigrams: never add a word that would complete a trigram which the hypothesis holds
        already. Scores stay the speaker's own log-probabilities.
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
    if told(diversity) and diversity < 0:
        raise ValueError(f"diversity={diversity} must be at least 0")
    check_some(check_context(context))
    memory, carry = speaker.start(params, context)

    def extend(carry, words):
        carry, hidden = step_beams(speaker)(params, memory, carry, words)
        logits = speaker.logits(params, hidden).astype(jnp.float32)
        scores = jax.nn.log_softmax(logits)
        return carry, forbid(scores, UNKNOWN) if forbid_unknown else scores

    n = rows_of(carry, context)
    return search(
        extend, carry, width, max_len, groups, diversity, n=n, block_trigrams=block_trigrams
    )


def step_beams(speaker: Speaker) -> Callable:
    """`speaker.step` of W hypotheses each: carry [N, W, ...], words int32[N, W], hidden [N, W, H].

    The hypotheses of an example share its memory: it is neither copied nor moved.
    """

    def step(params: Params, memory: Any, carry: Any, words: jax.Array) -> tuple[Any, jax.Array]:
        if jax.tree.leaves(memory):
            return jax.vmap(speaker.step, (None, None, 1, 1), (1, 1))(params, memory, carry, words)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), carry)
        made = speaker.step(params, memory, flat, words.reshape(-1))
        return jax.tree.map(lambda x: x.reshape(*words.shape, *x.shape[1:]), made)

    return step


def search(
    extend: Callable,
    carry: Any,
    width: int,
    max_len: int,
    groups: int = 1,
    diversity: float = 0.0,
    falling: bool = True,
    n: int | None = None,
    block_trigrams: bool = False,
) -> Captions:
    """Beam search by any score that adds up over words.

    Args:
      extend: (carry [N, W, ...], words int32[N, W]) -> (carry, score of each next word [N, W, V]).
      carry: leaves [N, ...], before the first word.
      falling: no word's score is above 0, so that a search may stop when no live hypothesis can
        still pass an ended one.
      n: N; None for that of the carry.
      block_trigrams: as in `beam_search`.
    Returns:
      As `beam_search`, the summed scores in place of log-probabilities.
    """
    n = jax.tree.leaves(carry)[0].shape[0] if n is None else n
    each = width // groups
    group = [slice(first, first + each) for first in range(0, width, each)]
    if block_trigrams:
        extend, carry = blocking(extend, carry, n, max_len)
    start = _begin(carry, n, width, each, max_len)
    extend = hoisted(extend, start.carry, jnp.zeros((n, width), jnp.int32))

    def one(t_and_state):
        t, state = t_and_state
        words, parents, places = state.last(t)
        carry, scores = extend(_of_parents(state.carry, parents), words)
        ended, live = _counted(state.scores)
        total = live.reshape(n, width)[..., None] + scores
        counts = jnp.zeros((n, scores.shape[-1]))
        grown = []
        for number, mine in enumerate(group):
            before = Ended(ended[:, number], places[:, mine])
            penalty = diversity * counts if groups > 1 else None
            new, ends = _grow(total[:, mine], before, mine.start, t * width, penalty)
            grown.append(new)
            if groups > 1:
                counts += _choices(new, ends, scores.shape[-1])
        added = jnp.concatenate([x for _, x in grown], -1)
        trellis = lax.dynamic_update_index_in_dim(state.trellis, added, t, 0)
        return t + 1, Beams(carry, jnp.stack([x for x, _ in grown], 2), trellis)

    def hopeful(t_and_state):
        t, state = t_and_state
        if not falling:
            return t < max_len
        ended, live = _counted(state.scores)
        return (t < max_len) & (live.max(-1) > ended.min(-1)).any()

    t, state = lax.while_loop(hopeful, one, (jnp.int32(0), start))
    scores = [x.reshape(n, width) for x in _counted(state.scores)]
    ended = Ended(scores[0], state.last(t)[2])
    # What is live after the last step was cut there; before it, it has lost to all that ended.
    place = jnp.broadcast_to(t * width + jnp.arange(width), (n, width))
    cut = Ended(scores[1], place)
    grouped = [_best(_beside(_columns(ended, mine), _columns(cut, mine)), each) for mine in group]
    best = _best(jax.tree.map(lambda *x: jnp.concatenate(x, 1), *grouped), width)
    return Captions(_trace(state.trellis, best), best.score)


def _begin(carry: Any, n: int, width: int, each: int, max_len: int) -> Beams:
    """The beams before the first word."""
    place = jnp.arange(width, dtype=jnp.int32)
    # A group starts from one empty hypothesis.
    scores = jnp.full((n, 2, width // each, 2 * each), -jnp.inf).at[:, 1, :, 0].set(0.0)
    first = jnp.stack([jnp.full_like(place, END), place, jnp.zeros_like(place)])
    return Beams(
        carry=jax.tree.map(lambda x: jnp.repeat(x[:, None], width, 1), carry),
        scores=scores,
        trellis=jnp.broadcast_to(first[None, :, None], (max_len, 3, n, width)),
    )


def _counted(scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Scores of the best ended and of the live hypotheses, float32[N, groups, G] each."""
    counted = scores[..., : scores.shape[-1] // 2]
    return counted[:, 0], counted[:, 1]


def _of_parents(carry: Any, parents: jax.Array) -> Any:
    """Leaves [N, W, ...] of the hypotheses int32[N, W] that others go on from."""
    n, width = parents.shape
    rows = (jnp.arange(n)[:, None] * width + parents).reshape(-1)

    def of(x: jax.Array) -> jax.Array:
        return x.reshape(n * width, *x.shape[2:]).at[rows].get(mode="clip").reshape(x.shape)

    return jax.tree.map(of, carry)


def _grow(
    scores: jax.Array, ended: Ended, first: int, place: jax.Array, penalty: jax.Array | None
) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
    """One group's step.

    Args:
      scores: float32[N, G, V], of the extensions of the group's G hypotheses.
      first: where the group's first hypothesis stands among all W.
      place: int32[], t * W.
      penalty: float32[N, V], by which words rank lower; None for none.
    Returns:
      ((its scores float32[N, 2, 2 G] and its columns int32[3, N, G] of the trellis, as in Beams),
      how many of its G best extensions ended int32[N]).
    """
    n, each, vocabulary = scores.shape
    ranked = scores if penalty is None else scores - penalty[:, None]
    # A hypothesis has one end, so of twice as many candidates at least `each` go on.
    rank, index = lax.top_k(ranked.reshape(n, -1), 2 * each)
    score = rank
    if penalty is not None:
        score = jnp.take_along_axis(scores.reshape(n, -1), index, 1)
    parent, word = first + index // vocabulary, index % vocabulary
    closes = word == END
    # Of those that end, the best beside what ended before; of the others, the best: in one sort.
    ends = jnp.where(closes, score, -jnp.inf)[:, :each]
    going = jnp.where(closes, -jnp.inf, rank)
    both = jnp.stack([jnp.concatenate([ended.score, ends], 1), going], 1)
    top, order = lax.top_k(both, 2 * each)
    if penalty is not None:
        live = jnp.take_along_axis(jnp.where(closes, -jnp.inf, score), order[:, 1], 1)
        top = jnp.stack([top[:, 0], live], 1)
    places = jnp.concatenate([ended.place, place + parent[:, :each]], 1)
    kept = jnp.stack([order[:, 1], order[:, 1], order[:, 0]])[..., :each]
    added = jnp.take_along_axis(jnp.stack([word, parent, places]), kept, 2)
    return (top, added), (ends > -jnp.inf).sum(1)


def _choices(grown: tuple[jax.Array, jax.Array], ends: jax.Array, vocabulary: int) -> jax.Array:
    """How often a group chose each word, to go on with it or to end: float32[N, V]."""
    scores, (words, _, _) = grown
    chosen = jnp.where(scores[:, 1, : words.shape[1]] > -jnp.inf, words, -1)
    return jax.nn.one_hot(chosen, vocabulary).sum(1).at[:, END].add(ends.astype(jnp.float32))


def _columns(ended: Ended, mine: slice) -> Ended:
    return jax.tree.map(lambda x: x[:, mine], ended)


def _beside(a: Ended, b: Ended) -> Ended:
    return jax.tree.map(lambda x, y: jnp.concatenate([x, y], 1), a, b)


def _best(ended: Ended, k: int) -> Ended:
    """The k best, the earlier before the later where they are equal."""
    order = lax.top_k(ended.score, k)[1]
    return jax.tree.map(lambda x: jnp.take_along_axis(x, order, 1), ended)


def _trace(trellis: jax.Array, ended: Ended) -> jax.Array:
    """Reads hypotheses back through the trellis: int32[N, W, T]."""
    width = trellis.shape[-1]

    def back(beam, step):
        t, (words, parents, _) = step
        inside = t < ended.place // width
        word = jnp.where(inside, jnp.take_along_axis(words, beam, 1), END)
        return jnp.where(inside, jnp.take_along_axis(parents, beam, 1), beam), word

    steps = (jnp.arange(len(trellis)), trellis)
    return jnp.moveaxis(lax.scan(back, ended.place % width, steps, reverse=True)[1], 0, -1)
