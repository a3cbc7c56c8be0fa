"""Early feedback: what an evaluator will say of captions that are not finished (Dai et al., 2017).

Every prefix of a caption, or every one that ends a sentence, is completed n times, from its stored
state, and the evaluator reads on from where it had read (`complete`). `plain_values` says the same
in a few lines, at many times the cost.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from capjax.agreement import check_key
from capjax.decoding.completions import Load, complete
from capjax.decoding.draw import draw
from capjax.decoding.prefixes import every_prefix, some_prefixes
from capjax.decoding.verdicts import Completer
from capjax.judging import Evaluator, check_vocabulary, score_read
from capjax.speaker import (
    END,
    Carry,
    Context,
    Params,
    Speaker,
    check_words,
    scored,
    spoken,
    vocabulary_size,
)

# Words of a sentence, its end among them, for whose prefixes there is room at once; where sentences
# are shorter, some wait.
SHORT = 4


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
    after: int | None = None,
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
      after: only prefixes that end in this id are completed, which is cheaper: `SENTENCE`, where
        captions are paragraphs. None: all.
    Returns:
      float32[N, T]: at t the expected r given words 0..t; 0 after the end. With `after` a word has
      the value of the next prefix that ends in it (its own, where it is that id), and words after
      the last one have the verdict on the finished caption.
    Raises:
      ValueError: rollouts or lanes below 1; captions, key and context do not agree
        (`capjax.agreement`), an id is not the speaker's, `after` neither, or the evaluator knows
        other ids.
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
        after=after,
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
    after: int | None = None,
) -> tuple[jax.Array, Load]:
    """`rollout_values`, and how busy the lanes were. Arguments and errors as there."""
    check_words(speaker, params, context, captions)
    check_vocabulary(speaker, params, context, evaluator)
    check_after(speaker, params, context, after)
    n, steps = captions.shape
    check_key(key, n)
    image = evaluator.image(evaluator_params, context)
    final = jax.nn.sigmoid(score_read(evaluator, evaluator_params, image, captions))
    memory, carry = speaker.start(params, context)
    completer = Completer(
        speaker, params, memory, evaluator, evaluator_params, image, rollouts, max_len=steps
    )
    keys = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
    if after is None or steps == 1:
        done = complete(completer, every_prefix(completer, carry, captions, keys), lanes)
        values, load = done.value.reshape(-1, n).T, done.load
    else:
        values, load = _values_after(completer, carry, captions, keys, after, lanes)
    values = jnp.concatenate([values, jnp.zeros((n, 1))], 1)
    real = scored(captions)
    last = jnp.arange(steps)[None] == real.sum(1, keepdims=True) - 1
    values = jnp.where(last, final[:, None], jnp.where(real, values, 0))
    return values if after is None else _of_the_next(values, captions, after), load


def check_after(speaker: Speaker, params: Params, context: Context, after: int | None) -> None:
    """Raises ValueError where `after` is neither None nor an id of the speaker."""
    if after is None:
        return
    size = vocabulary_size(speaker, params, context)
    whole = isinstance(after, (int, np.integer)) and not isinstance(after, bool)
    if not whole or after < 0 or (size is not None and after >= size):
        known = "0 and up" if size is None else f"0 to {size - 1}"
        raise ValueError(
            f"after={after!r} is no id of the speaker, which knows {known}; give capjax.SENTENCE"
            " where captions are paragraphs, or None for every word"
        )


def _values_after(
    completer: Completer,
    carry: Carry,
    captions: jax.Array,
    keys: jax.Array,
    after: int,
    lanes: int | None,
) -> tuple[jax.Array, Load]:
    """V of the prefixes of captions int32[N, T] that end in an id: float32[N, T - 1], else 0."""
    n, steps = captions.shape
    chosen = ((captions == after) & spoken(captions)).T[:-1]
    room = n * -(-(steps - 1) // SHORT)

    def some(i: jax.Array, state: tuple[jax.Array, Load]) -> tuple[jax.Array, Load]:
        starts, place = some_prefixes(completer, carry, captions, keys, chosen, i * room, room)
        done = complete(completer, starts, lanes)
        values = state[0].at[place].set(done.value, mode="drop")
        return values, jax.tree.map(jnp.add, state[1], done.load)

    nothing = jnp.zeros(chosen.size), Load(*jnp.zeros(3))
    values, load = lax.fori_loop(0, -(-chosen.sum(dtype=jnp.int32) // room), some, nothing)
    return values.reshape(-1, n).T, load


def _of_the_next(values: jax.Array, captions: jax.Array, after: int) -> jax.Array:
    """Of float32[N, T], at each word the value where the id next stands, or else of the last."""
    real, steps = scored(captions), captions.shape[1]
    last = jnp.arange(steps)[None] == real.sum(1, keepdims=True) - 1
    place = jnp.where((captions == after) & real | last, jnp.arange(steps)[None], steps - 1)
    place = lax.cummin(place, axis=1, reverse=True)
    return jnp.where(real, jnp.take_along_axis(values, place, 1), 0)


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
    after: int | None = None,
) -> jax.Array:
    """`rollout_values` without a queue: every completion a scan over all T words. To read and test.

    The same draws for the same keys.
    """
    check_after(speaker, params, context, after)
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

    def mean(context, caption, key, t):
        key = jax.random.fold_in(key, t)
        each = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rollouts))
        return jax.vmap(completion, (None, None, 0, None))(context, caption, each, t).mean()

    values = jax.vmap(jax.vmap(mean, (None, None, None, 0)), (0, 0, 0, None))(
        context, captions, keys, jnp.arange(steps)
    )
    values = jnp.where(scored(captions), values, 0)
    return values if after is None else _of_the_next(values, captions, after)
