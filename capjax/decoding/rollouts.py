"""Early feedback: what an evaluator will say of captions that are not finished (Dai et al., 2017).

Every prefix of a caption is completed n times, from its stored state, and the evaluator reads
along. Completions are jobs in a queue over a fixed number of lanes, in one compiled loop: a lane
takes its next job the moment its sentence ends, so that hardly any step is spent on padding.

What a completion draws depends on its own key alone, so that the values are the same, but for
rounding, for any number of lanes or devices. `plain_values` says the same without a queue.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.draw import draw, draw_several
from capjax.judging import Evaluator, score_read
from capjax.speaker import END, Context, Params, Speaker, scored, spoken
from capjax.teacher_forcing import pack, put


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


def rollout_values(
    speaker: Speaker,
    params: Params,
    evaluator: Evaluator,
    evaluator_params: Params,
    context: Context,
    captions: jax.Array,
    key: jax.Array,
    *,
    rollouts: int = 16,
    lanes: int | None = None,
) -> jax.Array:
    """The expected verdict on a caption after each of its words (Dai et al., 2017, section 3.3).

    V(I, z, S_1:t) = E[r(I, S_1:t + S_t+1:T)] over completions that the speaker draws with the same
    image and noise, estimated from n of them; exact where the caption is finished.

    Args:
      context: of both; with `dropout` the speaker's completions have dropout, too.
      captions: int32[N, T]; a completion is cut at T words.
      key: one typed key, or one a row [N].
      rollouts: n, completions of each prefix.
      lanes: how many are spoken side by side; None: as many as suit the hardware.
    Returns:
      float32[N, T]: at t the expected r given words 0..t; 0 after the end.
    Raises:
      ValueError: rollouts or lanes below 1.
    """
    return values_and_load(
        speaker,
        params,
        evaluator,
        evaluator_params,
        context,
        captions,
        key,
        rollouts=rollouts,
        lanes=lanes,
    )[0]


def values_and_load(
    speaker: Speaker,
    params: Params,
    evaluator: Evaluator,
    evaluator_params: Params,
    context: Context,
    captions: jax.Array,
    key: jax.Array,
    *,
    rollouts: int = 16,
    lanes: int | None = None,
) -> tuple[jax.Array, Load]:
    """`rollout_values`, and how busy the lanes were. Arguments and errors as there."""
    n, steps = captions.shape
    image = evaluator.image(evaluator_params, context)
    memory, carry = speaker.start(params, context)
    carry, hidden = speaker.step(params, memory, carry, jnp.full(n, END, jnp.int32))

    def one(state, word):
        carry, reading = state
        carry, hidden = speaker.step(params, memory, carry, word)
        reading = evaluator.read(evaluator_params, reading, word)
        return (carry, reading), (carry, hidden, reading)

    # Row p of what is flattened: the prefix of words 0..p // n of caption p % n. Long completions
    # come first in the queue, so that its end leaves few lanes waiting for others.
    start = carry, evaluator.start(evaluator_params, n)
    stored = lax.scan(one, start, captions.T[:-1])[1]
    carry, hidden, reading = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stored)
    keys = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
    place = jnp.arange((steps - 1) * n)
    starts = Starts(
        row=place % n,
        carry=carry,
        hidden=hidden,
        reading=reading,
        position=place // n + 1,
        open=spoken(captions).T[:-1].reshape(-1),
        keys=jax.vmap(jax.random.fold_in)(keys[place % n], place // n),
    )
    done = complete(
        speaker,
        params,
        evaluator,
        evaluator_params,
        memory,
        image,
        starts,
        rollouts=rollouts,
        max_len=steps,
        lanes=lanes,
    )
    values = jnp.concatenate([done.value.reshape(-1, n).T, jnp.zeros((n, 1))], 1)
    real = scored(captions)
    last = jnp.arange(steps)[None] == real.sum(1, keepdims=True) - 1
    final = jax.nn.sigmoid(score_read(evaluator, evaluator_params, image, captions))
    values = jnp.where(last, final[:, None], jnp.where(real, values, 0))
    return values, done.load


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
    steps: jax.Array  # int32[]
    fed: jax.Array  # float32[], as of Load


def complete(
    speaker: Speaker,
    params: Params,
    evaluator: Evaluator,
    evaluator_params: Params,
    memory: Any,
    image: jax.Array,
    starts: Starts,
    *,
    rollouts: int,
    max_len: int,
    lanes: int | None = None,
) -> Completed:
    """Completes beginnings of captions by drawing, and judges them.

    Args:
      memory: the speaker's, of the context's rows.
      image: float[N, D], as the evaluator sees the context's rows.
      rollouts: completions of each beginning.
      max_len: T, where a completion is cut.
      lanes: as in `rollout_values`.
    Raises:
      ValueError: rollouts or lanes below 1.
    """
    if rollouts < 1 or (lanes is not None and lanes < 1):
        raise ValueError(f"rollouts={rollouts} and lanes={lanes} must be at least 1")
    count = starts.row.shape[0]
    if not count:
        return Completed(jnp.zeros(0), Load(*jnp.zeros(3)))
    width = lanes or default_lanes(count * rollouts)
    first, closed = _first_words(
        speaker, params, evaluator, evaluator_params, image, starts, rollouts
    )
    # Completions that end at once need no lane.
    total = closed * (first == END).sum(1, dtype=jnp.float32)
    waiting = (first != END) & starts.open[:, None]
    (queue,) = jnp.nonzero(waiting.reshape(-1), size=count * rollouts, fill_value=-1)
    jobs = waiting.sum()

    def begun(job):
        """A lane's state for one job; -1 gives an idle one."""
        p = jnp.maximum(job, 0) // rollouts
        row = starts.row[p]
        return _Lanes(
            job=job,
            word=first[p, jnp.maximum(job, 0) % rollouts],
            position=starts.position[p],
            carry=jax.tree.map(lambda x: x[p], starts.carry),
            reading=jax.tree.map(lambda x: x[p], starts.reading),
            memory=jax.tree.map(lambda x: x[row], memory),
        )

    def judge_half(state):
        """Reads the last words of the ring's oldest half, and adds up the verdicts."""
        at = state.judged % 2 * width
        ending = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, at, width), state.ending)
        reading = evaluator.read(evaluator_params, ending.reading, ending.word)
        seen = image[starts.row[ending.start]]
        verdict = jax.nn.sigmoid(evaluator.score(evaluator_params, seen, reading))
        real = state.judged * width + jnp.arange(width) < state.ended
        verdict = jnp.where(real, verdict.astype(jnp.float32), 0)
        total = state.total.at[ending.start].add(verdict)
        return state._replace(total=total, judged=state.judged + 1)

    def one(state):
        lanes = state.lanes
        idle = lanes.job < 0
        start = jnp.maximum(lanes.job, 0) // rollouts
        keys = jax.vmap(jax.random.fold_in)(
            starts.keys[start], jnp.maximum(lanes.job, 0) % rollouts
        )
        carry, hidden = speaker.step(params, lanes.memory, lanes.carry, lanes.word)
        reading = evaluator.read(evaluator_params, lanes.reading, lanes.word)
        position = lanes.position + 1
        word = draw(jax.vmap(jax.random.fold_in)(keys, position), speaker.logits(params, hidden))
        # Where the word that was fed in was the last that fits, this step was for nothing.
        full = lanes.position == max_len - 1
        over = ~idle & (full | (word == END) | (position == max_len - 1))
        last = _Ending(
            start, jnp.where(full, lanes.word, word), _where(full, lanes.reading, reading)
        )
        lanes = lanes._replace(word=word, position=position, carry=carry, reading=reading)
        lanes, ending, number = _replace(lanes, state.ending, over, last, state, queue, jobs, begun)
        state = state._replace(
            lanes=lanes,
            ending=ending,
            taken=state.taken + jnp.minimum(number, jobs - state.taken),
            ended=state.ended + number,
            steps=state.steps + 1,
            fed=state.fed + (~idle & ~full).sum(dtype=jnp.float32),
        )
        full_half = state.ended >= (state.judged + 1) * width
        return lax.cond(full_half, judge_half, lambda state: state, state)

    index = jnp.arange(width)
    first_jobs = jnp.where(index < jobs, queue[jnp.minimum(index, count * rollouts - 1)], -1)
    under_way = jax.vmap(begun)(first_jobs)
    state = _Loop(
        lanes=under_way,
        ending=_Ending(
            jnp.zeros(2 * width, jnp.int32),
            jnp.zeros(2 * width, jnp.int32),
            jax.tree.map(lambda x: jnp.concatenate([x, x]), under_way.reading),
        ),
        total=total,
        taken=jnp.minimum(width, jobs),
        ended=jnp.int32(0),
        judged=jnp.int32(0),
        steps=jnp.int32(0),
        fed=jnp.float32(0),
    )
    state = lax.while_loop(lambda s: (s.lanes.job >= 0).any(), one, state)
    state = judge_half(state)
    steps = state.steps.astype(jnp.float32) * width
    return Completed(
        state.total / rollouts, Load(steps, state.fed, state.ended.astype(jnp.float32))
    )


def _first_words(speaker, params, evaluator, evaluator_params, image, starts, rollouts):
    """First words of all completions int32[P, n], and r float32[P] of what ends at once.

    A beginning's completions draw their first words out of one distribution, computed once.
    """
    packed, chunks = pack(starts.open)
    count = starts.row.shape[0]
    keys = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(
        starts.keys, jnp.arange(rollouts)
    )

    def chunk(i, state):
        first, closed = state
        at = packed[i]  # -1 where there is no more: the last row is then computed, and dropped
        mine = jax.tree.map(lambda x: x[at], starts._replace(keys=keys))
        draws = jax.vmap(jax.vmap(jax.random.fold_in, (0, None)))(mine.keys, mine.position)
        words = draw_several(draws, speaker.logits(params, mine.hidden))
        ends = jnp.full(at.shape, END, jnp.int32)
        reading = evaluator.read(evaluator_params, mine.reading, ends)
        score = evaluator.score(evaluator_params, image[mine.row], reading)
        to = jnp.where(at < 0, count, at)
        first = first.at[to].set(words, mode="drop")
        return first, closed.at[to].set(jax.nn.sigmoid(score.astype(jnp.float32)), mode="drop")

    blank = jnp.full((count, rollouts), END, jnp.int32), jnp.zeros(count)
    return lax.fori_loop(0, chunks, chunk, blank)


def _replace(lanes, ending, over, last, state, queue, jobs, begun):
    """Puts completions that are over into the ring, and their lanes' next jobs into the lanes."""
    width = over.shape[0]
    (order,) = jnp.nonzero(over, size=width, fill_value=0)
    number = over.sum()

    def swap(i, both):
        lanes, ending = both
        lane, place = order[i], (state.ended + i) % (2 * width)
        at = jnp.minimum(state.taken + i, queue.size - 1)
        job = jnp.where(state.taken + i < jobs, queue[at], -1)
        ending = put(ending, place, jax.tree.map(lambda x: x[lane], last))
        return put(lanes, lane, begun(job)), ending

    return *lax.fori_loop(0, number, swap, (lanes, ending)), number


def _where(mask, a, b):
    return jax.tree.map(lambda x, y: jnp.where(mask.reshape(-1, *(1,) * (x.ndim - 1)), x, y), a, b)


def default_lanes(jobs: int) -> int:
    """Lanes for a queue of at most so many jobs: wide matmuls, and few lanes idle at its end."""
    if jax.default_backend() == "cpu":
        return max(1, min(320, jobs // 32))
    return max(1, min(8192, jobs // 32))


def plain_values(
    speaker: Speaker,
    params: Params,
    evaluator: Evaluator,
    evaluator_params: Params,
    context: Context,
    captions: jax.Array,
    key: jax.Array,
    *,
    rollouts: int = 16,
) -> jax.Array:
    """`rollout_values` without a queue: every completion a scan over all T words. To read and test.

    The same draws for the same keys.
    """
    steps = captions.shape[1]
    keys = key
    if not key.ndim:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(len(captions)))

    def completion(context, caption, key, t):
        """r of one completion of words 0..t of one caption."""
        context = jax.tree.map(lambda x: x[None], context)
        memory, carry = speaker.start(params, context)
        reading = evaluator.start(evaluator_params, 1)

        def one(state, inputs):
            carry, reading, fed, done = state
            q, given = inputs
            carry, hidden = speaker.step(params, memory, carry, fed)
            drawn = draw(jax.random.fold_in(key, q)[None], speaker.logits(params, hidden))
            word = jnp.where(q <= t, given, drawn)
            read = evaluator.read(evaluator_params, reading, word)
            reading = jax.tree.map(lambda a, b: jnp.where(done, a, b), reading, read)
            return (carry, reading, word, done | (word[0] == END)), None

        state = carry, reading, jnp.zeros(1, jnp.int32), jnp.bool_(False)
        carry, reading, *_ = lax.scan(one, state, (jnp.arange(steps), caption))[0]
        image = evaluator.image(evaluator_params, context)
        return jax.nn.sigmoid(evaluator.score(evaluator_params, image, reading))[0]

    def after(context, caption, key, t):
        key = jax.random.fold_in(key, t)
        each = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rollouts))
        return jax.vmap(completion, (None, None, 0, None))(context, caption, each, t).mean()

    values = jax.vmap(jax.vmap(after, (None, None, None, 0)), (0, 0, 0, None))(
        context, captions, keys, jnp.arange(steps)
    )
    return jnp.where(scored(captions), values, 0)
