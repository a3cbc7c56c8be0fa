"""The reasoning speaker a word at a time: rational speech acts with a literal listener."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from capjax.decoding.suppressor import apart, joined
from capjax.speaker import Carry, Context, Params, Speaker


class _Carry(NamedTuple):
    """What a caption so far leaves behind."""

    carry: Carry  # the speaker's, leaves [N, 1 + M, ...]
    belief: jax.Array  # float32[N, 1 + M]: log L(image | what was said)
    log_p: jax.Array  # float32[N, 1 + M, V]: log p(word | image, what was said)
    begun: jax.Array  # bool[N]: whether there is a word to be believed


def incremental(speaker: Speaker, number: int = 1, rationality: float = 0.5) -> Speaker:
    """The speaker of targets among a number of distractors that reasons at every word.

    Cohn-Gordon et al. (2018): a literal listener L(i | s w) ~ p(w | i, s) L(i | s), even before the
    first word, hears each word that might come, and the pragmatic speaker says w with probability ~
    p(w | target, s) L(target | s w) ** alpha. With alpha = (1 - rationality) / rationality that is
    rationality log p + (1 - rationality) log L, as the `reasoning_speaker` weighs whole captions:
    1/2 is the paper's alpha of 1, and 1 the speaker itself.

    Its contexts are `together(target, distractors)`; what decodes any speaker takes it.

    Args:
      number: M, distractors of each target.
      rationality: lambda, above 0 and at most 1.
    Returns:
      Speaker, whose parameters are those of the speaker given.
    Raises:
      ValueError: rationality out of range, or number below 1.
    """
    if not 0 < rationality <= 1:
        raise ValueError(f"rationality={rationality} must be above 0 and at most 1")
    if number < 1:
        raise ValueError(f"number={number} must be at least 1")
    streams = 1 + number
    alpha = (1 - rationality) / rationality

    def start(params: Params, context: Context) -> tuple[Any, Carry]:
        memory, carry = apart(speaker.start(params, joined(context)), streams)
        n = jax.tree.leaves(context)[0].shape[0]
        first = jax.tree.map(lambda x: x[:1, 0], (memory, carry))
        _, hidden = jax.eval_shape(speaker.step, params, *first, jnp.zeros(1, jnp.int32))
        vocabulary = jax.eval_shape(speaker.logits, params, hidden).shape[-1]
        return memory, _Carry(
            carry,
            jnp.full((n, streams), -jnp.log(jnp.float32(streams))),
            jnp.zeros((n, streams, vocabulary), jnp.float32),
            jnp.zeros(n, bool),
        )

    def step(params: Params, memory: Any, state: _Carry, words: jax.Array):
        fed = jnp.take_along_axis(state.log_p, words[:, None, None], 2)[..., 0]
        fed = jnp.where(state.begun[:, None], fed, 0)  # what is fed in first was not said
        belief = jax.nn.log_softmax(state.belief + fed)
        carry, hidden = speaker.step(
            params, joined(memory), joined(state.carry), jnp.repeat(words, streams, 0)
        )
        carry, hidden = apart((carry, hidden), streams)
        log_p = _log_p(speaker, params, hidden)
        listener = jax.nn.log_softmax(log_p + belief[..., None], 1)
        scores = log_p[:, 0] + (alpha * listener[:, 0] if alpha else 0)
        return _Carry(carry, belief, log_p, jnp.ones_like(state.begun)), scores

    def logits(params: Params, hidden: jax.Array) -> jax.Array:
        return hidden  # the next word's scores already: hearing it takes them, too

    return Speaker(speaker.init, start, step, logits)


def _log_p(speaker: Speaker, params: Params, hidden: jax.Array) -> jax.Array:
    """Of the next word: float[N, 1 + M, H] -> float32[N, 1 + M, V], an image's words at a time."""

    def one(hidden: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(speaker.logits(params, hidden).astype(jnp.float32))

    return jnp.moveaxis(lax.map(one, jnp.moveaxis(hidden, 1, 0)), 0, 1)
