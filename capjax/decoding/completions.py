"""A queue of captions to be completed, spoken side by side over a fixed number of lanes.

A lane takes its next job the moment its sentence ends, so that hardly any step is spent on padding;
what is under way when the queue is empty goes on in a quarter of the lanes. What was said is then
read to an evaluator (`verdicts.py`). What a completion draws depends on its own key alone, so that
the verdicts are the same, but for rounding, for any number of lanes.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.draw import draw, draw_several
from capjax.decoding.hoist import hoisted
from capjax.decoding.verdicts import Completer, Starts, reads_of, verdicts_of
from capjax.speaker import END
from capjax.teacher_forcing import put, where_rows


class Load(NamedTuple):
    """What the lanes did."""

    steps: jax.Array  # float32[], of all lanes together: loop steps times lanes
    fed: jax.Array  # float32[], those that moved a completion on: words fed in
    ended: jax.Array  # float32[], completions that did not end at once

    @property
    def busy(self) -> jax.Array:
        """The share of the lanes' steps that moved a completion on: float32[]."""
        return jnp.where(self.steps > 0, self.fed / jnp.maximum(self.steps, 1), 1)


class Completed(NamedTuple):
    """How completions of P beginnings are judged."""

    value: jax.Array  # float32[P], the mean r of the completions; 0 where not open
    load: Load


class _Form(NamedTuple):
    """What suits the hardware."""

    lanes: int  # L
    rows: int  # that are read, or projected, side by side
    # Whether a lane is handed what its job begins with and its image's memory, lane by lane, or
    # looks them up at every word: a CPU's gathers are slow, an accelerator's loops are.
    holds: bool


class _Work(NamedTuple):
    """What is to be done; the same throughout. A job p * n + k is completion k of beginning p."""

    completer: Completer
    starts: Starts
    first: jax.Array  # int32[P n], first words of the completions
    queue: jax.Array  # int32[P n], the jobs that go on after it, 0 past the last
    jobs: jax.Array  # int32[], how many these are


class _Lanes(NamedTuple):
    """L completions under way. Leaves lead with L."""

    job: jax.Array  # int32[L]; -1 for an idle lane
    word: jax.Array  # int32[L], drawn, and not yet fed in
    fed: jax.Array  # int32[L], words of this completion before it
    carry: Any  # of no meaning before the first word is fed in, unless lanes hold it
    memory: Any  # where lanes hold it


class _Loop(NamedTuple):
    lanes: _Lanes
    said: jax.Array  # int32[T P n], word t of a job at t P n + job, ends where nothing was said
    taken: jax.Array  # int32[], jobs taken from the queue
    steps: jax.Array  # int32[], of the loop


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
    jobs = count * completer.rollouts
    # Wide matmuls, and few lanes idle at the queue's end.
    cpu = _Form(lanes or max(1, min(320, jobs // 20)), 320, True)
    accelerator = _Form(lanes or max(1, min(8192, jobs // 10)), max(1, min(8192, jobs // 4)), False)
    return lax.platform_dependent(
        cpu=partial(_complete, cpu, completer, starts),
        default=partial(_complete, accelerator, completer, starts),
    )


def _complete(form: _Form, completer: Completer, starts: Starts) -> Completed:
    first = _first_words(form, completer, starts).reshape(-1)
    goes_on = starts.open & (starts.position < completer.max_len - 1)
    waiting = (first != END) & jnp.repeat(goes_on, completer.rollouts)
    (queue,) = jnp.nonzero(waiting, size=first.size, fill_value=0)
    work = _Work(completer, starts, first, queue, waiting.sum())

    index = jnp.arange(form.lanes)
    jobs = jnp.where(index < work.jobs, queue[jnp.minimum(index, first.size - 1)], -1)
    said = jnp.zeros(completer.max_len * first.size, jnp.int32).at[: first.size].set(first)
    state = _Loop(
        lanes=_begun(form, work, jobs),
        said=said,
        taken=jnp.minimum(form.lanes, work.jobs),
        steps=jnp.int32(0),
    )
    # What is left when the queue is empty moves together into a few lanes.
    few = form.lanes // 4
    state = _run(form, work, state, few)
    steps = form.lanes * state.steps.astype(jnp.float32)
    if few:
        last = state._replace(lanes=_gathered(state.lanes, few), steps=jnp.int32(0))
        state = _run(form, work, last, 0)
        steps += few * state.steps.astype(jnp.float32)
    said = state.said.reshape(completer.max_len, -1)
    reads = reads_of(completer, starts, said)
    value = (
        verdicts_of(completer, starts, said, reads, form.rows)
        .reshape(-1, completer.rollouts)
        .mean(1)
    )
    # All that is read was fed in before, but for the last.
    fed = jnp.where(waiting, reads - 1, 0).sum(dtype=jnp.float32)
    ended = (first != END) & (reads > 0)
    return Completed(value, Load(steps, fed, ended.sum(dtype=jnp.float32)))


def _first_words(form: _Form, completer: Completer, starts: Starts) -> jax.Array:
    """First words of all completions: int32[P, n], ends where not open.

    A beginning's completions draw their first words out of one distribution, computed once.
    """
    count = starts.row.shape[0]
    rows = min(form.rows, count)
    (order,) = jnp.nonzero(starts.open, size=count + -count % rows, fill_value=count)
    project = hoisted(partial(completer.speaker.logits, completer.params), starts.hidden[:rows])
    every = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))

    def chunk(i: jax.Array, first: jax.Array) -> jax.Array:
        at = lax.dynamic_slice_in_dim(order, i * rows, rows)
        mine = jnp.minimum(at, count - 1)
        keys = every(starts.keys[mine], jnp.arange(completer.rollouts))
        keys = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)))(keys, starts.position[mine])
        words = draw_several(keys, project(starts.hidden[mine]))
        return first.at[at].set(words, mode="drop")

    chunks = -(-starts.open.sum() // rows)
    return lax.fori_loop(0, chunks, chunk, jnp.full((count, completer.rollouts), END, jnp.int32))


def _begun(form: _Form, work: _Work, job: jax.Array) -> _Lanes:
    """Lanes at the beginning of jobs int32[L]; -1 gives an idle one."""
    place = jnp.maximum(job, 0)
    p = place // work.completer.rollouts
    row = work.starts.row[p]
    return _Lanes(
        job=job,
        word=work.first[place],
        fed=jnp.zeros_like(job),
        carry=jax.tree.map(lambda x: x[p], work.starts.carry),
        memory=jax.tree.map(lambda x: x[row], work.completer.memory) if form.holds else (),
    )


def _run(form: _Form, work: _Work, state: _Loop, left: int) -> _Loop:
    """Runs until there are jobs for no more than so many lanes."""
    completer, starts, lanes = work.completer, work.starts, state.lanes

    def extend(memory: Any, carry: Any, word: jax.Array) -> tuple[Any, jax.Array]:
        carry, hidden = completer.speaker.step(completer.params, memory, carry, word)
        return carry, completer.speaker.logits(completer.params, hidden)

    def looked_up(lanes: _Lanes, p: jax.Array) -> tuple[Any, Any]:
        if form.holds:
            return lanes.memory, lanes.carry
        memory = jax.tree.map(lambda x: x[starts.row[p]], completer.memory)
        begun = jax.tree.map(lambda x: x[p], starts.carry)
        return memory, where_rows(lanes.fed == 0, begun, lanes.carry)

    extend = hoisted(extend, *looked_up(lanes, jnp.zeros_like(lanes.job)), lanes.word)

    def step(state: _Loop) -> _Loop:
        """Feeds every lane its word and draws the next; what is over makes room for other jobs."""
        lanes = state.lanes
        p = jnp.maximum(lanes.job, 0) // completer.rollouts
        carry, logits = extend(*looked_up(lanes, p), lanes.word)
        position = starts.position[p] + lanes.fed + 1
        word = draw(_keys(work, lanes.job, p, position), logits)
        over = (lanes.job >= 0) & ((word == END) | (position == completer.max_len - 1))
        jobs = work.first.size
        place = jnp.where(lanes.job < 0, state.said.size, (lanes.fed + 1) * jobs + lanes.job)
        said = state.said.at[place].set(word, mode="drop")
        taken = state.taken + jnp.cumsum(over, dtype=jnp.int32)
        job = work.queue[jnp.minimum(taken - 1, jobs - 1)]
        job = jnp.where(over, jnp.where(taken <= work.jobs, job, -1), lanes.job)
        word = jnp.where(over, work.first[jnp.maximum(job, 0)], word)
        lanes = _Lanes(job, word, jnp.where(over, 0, lanes.fed + 1), carry, lanes.memory)
        if form.holds:
            lanes = _handed(work, lanes, over)
        return _Loop(lanes, said, jnp.minimum(taken[-1], work.jobs), state.steps + 1)

    def many(state: _Loop) -> jax.Array:
        return (state.lanes.job >= 0).sum() > left

    return lax.while_loop(many, step, state)


def _keys(work: _Work, job: jax.Array, p: jax.Array, position: jax.Array) -> jax.Array:
    """What the words at positions int32[L] of jobs int32[L] are drawn by: typed keys [L]."""
    fold_in = jax.vmap(jax.random.fold_in)
    return fold_in(fold_in(work.starts.keys[p], job % work.completer.rollouts), position)


def _handed(work: _Work, lanes: _Lanes, over: jax.Array) -> _Lanes:
    """Lanes that hold what their new jobs begin with, where the old ones are over."""
    (those,) = jnp.nonzero(over, size=over.size, fill_value=0)

    def hand(i: jax.Array, held: tuple[Any, Any]) -> tuple[Any, Any]:
        lane = those[i]
        p = jnp.maximum(lanes.job[lane], 0) // work.completer.rollouts
        carry = jax.tree.map(lambda x: x[p], work.starts.carry)
        memory = jax.tree.map(lambda x: x[work.starts.row[p]], work.completer.memory)
        return put(held, lane, (carry, memory))

    carry, memory = lax.fori_loop(0, over.sum(), hand, (lanes.carry, lanes.memory))
    return lanes._replace(carry=carry, memory=memory)


def _gathered(lanes: _Lanes, few: int) -> _Lanes:
    """What is under way, in so few lanes."""
    width = lanes.job.size
    (kept,) = jnp.nonzero(lanes.job >= 0, size=few, fill_value=width)
    moved: Any = jax.tree.map(lambda x: x[jnp.minimum(kept, width - 1)], lanes)
    return moved._replace(job=jnp.where(kept < width, moved.job, -1))
