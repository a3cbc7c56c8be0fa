"""A queue of captions to be completed, spoken side by side over a fixed number of lanes.

Jobs run in one compiled loop: a lane takes its next job the moment its sentence ends, so that
hardly any step is spent on padding; an evaluator reads along. What a completion draws depends on
its own key alone, so that the verdicts are the same, but for rounding, for any number of lanes.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.draw import draw, draw_several
from capjax.judging import Evaluator
from capjax.speaker import END, Params, Speaker
from capjax.teacher_forcing import pack, put, where_rows


class Load(NamedTuple):
    """What the lanes did."""

    steps: jax.Array  # float32[], of all lanes together: loop steps times lanes
    fed: jax.Array  # float32[], those that moved a completion on: words fed in and read
    ended: jax.Array  # float32[], completions that went through a lane

    @property
    def busy(self) -> jax.Array:
        """The share of the lanes' steps that moved a completion on: float32[]."""
        return jnp.where(self.steps > 0, self.fed / jnp.maximum(self.steps, 1), 1)


class Starts(NamedTuple):
    """P beginnings of captions, to be completed. Leaves lead with P."""

    row: jax.Array  # int32[P], the row of the context that each is spoken of
    carry: Any  # the speaker's, after the last word was fed in
    hidden: jax.Array  # float[P, H], which the next word comes out of
    reading: Any  # the evaluator's carry, after the last word was read
    position: jax.Array  # int32[P], where the next word stands, below max_len
    open: jax.Array  # bool[P], which are to be completed; of the others nothing is computed
    keys: jax.Array  # typed keys [P]


class Completed(NamedTuple):
    """How completions of P beginnings are judged."""

    value: jax.Array  # float32[P], the mean r of the completions; 0 where not open
    load: Load


class Completer(NamedTuple):
    """Who completes captions of N rows of a context and who judges them, and how."""

    speaker: Speaker
    params: Params
    memory: Any  # the speaker's
    evaluator: Evaluator
    evaluator_params: Params
    image: jax.Array  # float[N, D], as the evaluator sees it
    rollouts: int  # n, completions of each beginning
    max_len: int  # T, where a completion is cut


class _Work(NamedTuple):
    """What is to be done; the same throughout."""

    completer: Completer
    starts: Starts
    first: jax.Array  # int32[P, n], first words of the completions
    queue: jax.Array  # int32[P n], the jobs, -1 past the last; each is p * n + k
    jobs: jax.Array  # int32[], how many there are


class _Lanes(NamedTuple):
    """L completions under way. Leaves lead with L."""

    job: jax.Array  # int32[L], beginning p and rollout k as p * n + k; -1 for an idle lane
    word: jax.Array  # int32[L], drawn, and not yet fed to anyone
    position: jax.Array  # int32[L], of that word
    carry: Any
    reading: Any
    memory: Any


class _Ending(NamedTuple):
    """Completions that lack their last word's reading, in a ring of 2 * L. Leaves lead with 2L."""

    start: jax.Array  # int32[2L], p
    word: jax.Array  # int32[2L], the last word: the end, or the one at which they are cut
    reading: Any


class _Loop(NamedTuple):
    lanes: _Lanes
    ending: _Ending
    total: jax.Array  # float32[P], the verdicts' sum
    taken: jax.Array  # int32[], jobs taken from the queue
    ended: jax.Array  # int32[], completions put into the ring
    judged: jax.Array  # int32[], halves of the ring judged
    steps: jax.Array  # float32[], as of Load
    fed: jax.Array  # float32[], as of Load


def complete(completer: Completer, starts: Starts, lanes: int | None = None) -> Completed:
    """Completes beginnings of captions by drawing, and judges them.

    Args:
      lanes: as in `rollout_values`.
    Raises:
      ValueError: rollouts or lanes below 1.
    """
    if completer.rollouts < 1 or (lanes is not None and lanes < 1):
        raise ValueError(f"rollouts={completer.rollouts} and lanes={lanes} must be at least 1")
    count = starts.row.shape[0]
    if not count:
        return Completed(jnp.zeros(0), Load(*jnp.zeros(3)))
    most = count * completer.rollouts
    width = lanes or default_lanes(most)
    first, closed = _first_words(completer, starts)
    # Completions that end at once need no lane.
    total = closed * (first == END).sum(1, dtype=jnp.float32)
    waiting = (first != END) & starts.open[:, None]
    (queue,) = jnp.nonzero(waiting.reshape(-1), size=most, fill_value=-1)
    work = _Work(completer, starts, first, queue, waiting.sum())

    index = jnp.arange(width)
    jobs = jnp.where(index < work.jobs, queue[jnp.minimum(index, most - 1)], -1)
    under_way = jax.vmap(partial(_begun, work))(jobs)
    state = _Loop(
        lanes=under_way,
        ending=_ring(under_way),
        total=total,
        taken=jnp.minimum(width, work.jobs),
        ended=jnp.int32(0),
        judged=jnp.int32(0),
        steps=jnp.float32(0),
        fed=jnp.float32(0),
    )
    # What is left when the queue is empty moves together into a few lanes.
    few = width // 4
    state = _run(work, state, few)
    ended = state.ended
    if few:
        state = _run(work, _gathered(state, few), 0)
        ended += state.ended
    load = Load(state.steps, state.fed, ended.astype(jnp.float32))
    return Completed(state.total / completer.rollouts, load)


def _first_words(completer: Completer, starts: Starts) -> tuple[jax.Array, jax.Array]:
    """First words of all completions int32[P, n], and r float32[P] of what ends at once.

    A beginning's completions draw their first words out of one distribution, computed once.
    """
    packed, chunks = pack(starts.open)
    count = starts.row.shape[0]
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(
        starts.keys, jnp.arange(completer.rollouts)
    )

    def chunk(i, state):
        first, closed = state
        at = packed[i]  # -1 where there is no more: the last row is then computed, and dropped
        mine = jax.tree.map(lambda x: x[at], starts._replace(keys=keys))
        draws = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)))(mine.keys, mine.position)
        words = draw_several(draws, completer.speaker.logits(completer.params, mine.hidden))
        ends = jnp.full(at.shape, END, jnp.int32)
        reading = completer.evaluator.read(completer.evaluator_params, mine.reading, ends)
        score = completer.evaluator.score(
            completer.evaluator_params, completer.image[mine.row], reading
        )
        to = jnp.where(at < 0, count, at)
        first = first.at[to].set(words, mode="drop")
        return first, closed.at[to].set(jax.nn.sigmoid(score.astype(jnp.float32)), mode="drop")

    blank = jnp.full((count, completer.rollouts), END, jnp.int32), jnp.zeros(count)
    return lax.fori_loop(0, chunks, chunk, blank)


def _begun(work: _Work, job: jax.Array) -> _Lanes:
    """A lane's state for one job; -1 gives an idle one."""
    completer, starts = work.completer, work.starts
    p = jnp.maximum(job, 0) // completer.rollouts
    row = starts.row[p]
    return _Lanes(
        job=job,
        word=work.first[p, jnp.maximum(job, 0) % completer.rollouts],
        position=starts.position[p],
        carry=jax.tree.map(lambda x: x[p], starts.carry),
        reading=jax.tree.map(lambda x: x[p], starts.reading),
        memory=jax.tree.map(lambda x: x[row], completer.memory),
    )


def _run(work: _Work, state: _Loop, left: int) -> _Loop:
    """Runs until there are jobs for no more than so many lanes; then judges all that ended."""

    def many(state):
        return (state.lanes.job >= 0).sum() > left

    return _judge_half(work, lax.while_loop(many, partial(_step, work), state))


def _step(work: _Work, state: _Loop) -> _Loop:
    """Feeds every lane its word and draws the next; what is over makes room for other jobs."""
    completer, lanes = work.completer, state.lanes
    width = lanes.job.size
    idle = lanes.job < 0
    start = jnp.maximum(lanes.job, 0) // completer.rollouts
    keys = jax.vmap(jax.random.fold_in)(
        work.starts.keys[start], jnp.maximum(lanes.job, 0) % completer.rollouts
    )
    carry, hidden = completer.speaker.step(completer.params, lanes.memory, lanes.carry, lanes.word)
    reading = completer.evaluator.read(completer.evaluator_params, lanes.reading, lanes.word)
    position = lanes.position + 1
    draws = jax.vmap(jax.random.fold_in)(keys, position)
    word = draw(draws, completer.speaker.logits(completer.params, hidden))
    # Where the word that was fed in was the last that fits, this step was for nothing.
    full = lanes.position == completer.max_len - 1
    over = ~idle & (full | (word == END) | (position == completer.max_len - 1))
    last = _Ending(
        start, jnp.where(full, lanes.word, word), where_rows(full, lanes.reading, reading)
    )
    lanes = lanes._replace(word=word, position=position, carry=carry, reading=reading)
    state = _refill(work, state._replace(lanes=lanes), over, last)
    state = state._replace(
        steps=state.steps + width,
        fed=state.fed + (~idle & ~full).sum(dtype=jnp.float32),
    )
    full_half = state.ended >= (state.judged + 1) * width
    return lax.cond(full_half, partial(_judge_half, work), lambda state: state, state)


def _refill(work: _Work, state: _Loop, over: jax.Array, last: _Ending) -> _Loop:
    """Puts completions that are over into the ring, and their lanes' next jobs into the lanes."""
    width = over.shape[0]
    (order,) = jnp.nonzero(over, size=width, fill_value=0)
    number = over.sum()

    def swap(i, both):
        lanes, ending = both
        lane, place = order[i], (state.ended + i) % (2 * width)
        at = jnp.minimum(state.taken + i, work.queue.size - 1)
        job = jnp.where(state.taken + i < work.jobs, work.queue[at], -1)
        ending = put(ending, place, jax.tree.map(lambda x: x[lane], last))
        return put(lanes, lane, _begun(work, job)), ending

    lanes, ending = lax.fori_loop(0, number, swap, (state.lanes, state.ending))
    return state._replace(
        lanes=lanes,
        ending=ending,
        taken=state.taken + jnp.minimum(number, work.jobs - state.taken),
        ended=state.ended + number,
    )


def _judge_half(work: _Work, state: _Loop) -> _Loop:
    """Reads the last words of the ring's oldest half, and adds up the verdicts."""
    completer, width = work.completer, state.lanes.job.size
    at = state.judged % 2 * width
    ending = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, at, width), state.ending)
    reading = completer.evaluator.read(completer.evaluator_params, ending.reading, ending.word)
    seen = completer.image[work.starts.row[ending.start]]
    verdict = jax.nn.sigmoid(completer.evaluator.score(completer.evaluator_params, seen, reading))
    real = state.judged * width + jnp.arange(width) < state.ended
    verdict = jnp.where(real, verdict.astype(jnp.float32), 0)
    total = state.total.at[ending.start].add(verdict)
    return state._replace(total=total, judged=state.judged + 1)


def _gathered(state: _Loop, few: int) -> _Loop:
    """What is under way, in so few lanes, with an empty ring."""
    width = state.lanes.job.size
    (kept,) = jnp.nonzero(state.lanes.job >= 0, size=few, fill_value=width)
    moved: Any = jax.tree.map(lambda x: x[jnp.minimum(kept, width - 1)], state.lanes)
    moved = moved._replace(job=jnp.where(kept < width, moved.job, -1))
    return state._replace(lanes=moved, ending=_ring(moved), ended=jnp.int32(0), judged=jnp.int32(0))


def _ring(lanes: _Lanes) -> _Ending:
    """An empty ring for so many lanes."""
    blank = jnp.zeros(2 * lanes.job.size, jnp.int32)
    return _Ending(blank, blank, jax.tree.map(lambda x: jnp.concatenate([x, x]), lanes.reading))


def default_lanes(jobs: int) -> int:
    """Lanes for a queue of at most so many jobs: wide matmuls, and few lanes idle at its end."""
    if jax.default_backend() == "cpu":
        return max(1, min(320, jobs // 20))
    return max(1, min(8192, jobs // 20))
