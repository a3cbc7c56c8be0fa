"""Early feedback: what an evaluator will say of captions that are not finished (Dai et al., 2017).

Every prefix of a caption is completed n times, from its stored state, and the evaluator reads on
from where it had read (`complete`). `plain_values` says the same in a few lines, at many times the
cost.
"""

import jax
import jax.numpy as jnp
from jax import lax

from capjax.agreement import check_key
from capjax.decoding.completions import Load, complete
from capjax.decoding.draw import draw
from capjax.decoding.hoist import hoisted
from capjax.decoding.verdicts import Completer, Starts
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
)


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
      ValueError: rollouts or lanes below 1; captions, key and context do not agree
        (`capjax.agreement`), an id is not the speaker's, or the evaluator knows other ids.
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
    check_words(speaker, params, context, captions)
    check_vocabulary(speaker, params, context, evaluator)
    n, steps = captions.shape
    check_key(key, n)
    image = evaluator.image(evaluator_params, context)
    final = jax.nn.sigmoid(score_read(evaluator, evaluator_params, image, captions))
    memory, carry = speaker.start(params, context)
    completer = Completer(
        speaker, params, memory, evaluator, evaluator_params, image, rollouts, max_len=steps
    )
    keys = key if key.ndim else jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
    done = complete(completer, _prefixes(completer, carry, captions, keys), lanes)
    values = jnp.concatenate([done.value.reshape(-1, n).T, jnp.zeros((n, 1))], 1)
    real = scored(captions)
    last = jnp.arange(steps)[None] == real.sum(1, keepdims=True) - 1
    values = jnp.where(last, final[:, None], jnp.where(real, values, 0))
    return values, done.load


def _prefixes(completer: Completer, carry: Carry, captions: jax.Array, keys: jax.Array) -> Starts:
    """The prefixes of captions int32[N, T] to be completed, from the carry before the first word.

    Row p is the prefix of words 0..p // N of caption p % N. Long completions come first in the
    queue, so that its end leaves few lanes waiting for others.
    """
    n, steps = captions.shape
    carry, _ = completer.speaker.step(
        completer.params, completer.memory, carry, jnp.full(n, END, jnp.int32)
    )

    def one(state, word):
        carry, reading = state
        carry, hidden = completer.speaker.step(completer.params, completer.memory, carry, word)
        reading = completer.evaluator.read(completer.evaluator_params, reading, word)
        return (carry, reading), (carry, hidden, reading)

    start = carry, completer.evaluator.start(completer.evaluator_params, n)
    stored = lax.scan(hoisted(one, start, captions[:, 0]), start, captions.T[:-1])[1]
    carry, hidden, reading = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), stored)
    place = jnp.arange((steps - 1) * n)
    return Starts(
        row=place % n,
        carry=carry,
        hidden=hidden,
        reading=reading,
        position=place // n + 1,
        open=spoken(captions).T[:-1].reshape(-1),
        keys=jax.vmap(jax.random.fold_in)(keys[place % n], place // n),
    )


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
