"""What drawn captions teach a speaker, each word by its weight, and people's captions beside it."""

from typing import Any

import jax
import jax.numpy as jnp

from capjax.objectives.maximum_likelihood import caption_loss
from capjax.objectives.parts import in_parts, words_of_part
from capjax.speaker import Context, Params, Speaker, shift, weighted_score


def drawn_gradient(
    speaker: Speaker,
    params: Params,
    context: Context,
    captions: jax.Array,
    weights: jax.Array,
    people: tuple[Context, jax.Array] | None = None,
    likelihood: float = 0.0,
    parts: int = 1,
) -> tuple[jax.Array, Params]:
    """A weighted sum of the log-probabilities of drawn captions' words, and its gradient.

    Args:
      captions: int32[N, T], or [N, K, T] with K captions for each row of the context.
      weights: float32 like captions; no gradient flows to it.
      people: captions that people wrote, with their context; None for none.
      likelihood: weight of maximum likelihood of these, nats a word.
      parts: of a device's share, read one after another (`in_parts`).
    Returns:
      (float32[], gradient), one device's share.
    """
    weights = weights * parts
    total = words_of_part(people[1], parts) if people else jnp.ones(())

    def means(rows: Any) -> tuple[jax.Array, Params]:
        context, captions, weights, people = rows

        def loss(params: Params) -> jax.Array:
            value, _ = weighted_score(speaker, params, context, shift(captions), captions, weights)
            if people:
                masked, true = people
                value += caption_loss(speaker, params, masked, true, likelihood, total)
            return value

        return jax.value_and_grad(loss)(params)

    return in_parts(means, (context, captions, weights, people), parts)
