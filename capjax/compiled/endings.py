"""Speakers that end their captions as COCO's end, whatever their parameters.

One unit of the hidden state says nothing but how likely the end is, which costs a program no matrix
product and no launch of its own.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from capjax.compiled.lengths import STEPS
from capjax.speaker import Speaker


def end_later(lengths: np.ndarray) -> np.ndarray:
    """Where captions of given lengths stand in a table that ends all of them at one place."""
    return (STEPS - lengths).astype(np.int32)


# The end's logit at places that `end_later` gives: at STEPS certain, before it out of the question.
CERTAIN = np.array([-30.0] * STEPS + [30.0])


def ending(speaker: Speaker, table: np.ndarray) -> Speaker:
    """A speaker whose captions end as a table of the end's logit by place says.

    A caption's first word stands at context["place"], or 0. Known words are read back as if the
    end were as likely anywhere.
    """

    def init(key: jax.Array) -> Any:
        params = speaker.init(key)
        words = params["params"]["words"]
        kernel = words["kernel"].at[:, 0].set(0).at[0].set(0).at[0, 0].set(1)
        words = {**words, "kernel": kernel, "bias": words["bias"].at[0].set(0)}
        return {"params": {**params["params"], "words": words}}

    def start(params, context):
        rest = {name: x for name, x in context.items() if name != "place"}
        memory, carry = speaker.start(params, rest)
        place = context.get("place", jnp.zeros(context["image"].shape[0], jnp.int32))
        return memory, (carry, place)

    def step(params, memory, carry, words):
        inner, place = carry
        inner, hidden = speaker.step(params, memory, inner, words)
        logit = jnp.asarray(table, hidden.dtype)[jnp.minimum(place, len(table) - 1)]
        return (inner, place + 1), hidden.at[:, 0].set(logit)

    plain = speaker.recite

    def recite(params, memory, carry, inputs, lengths):
        assert plain is not None
        return plain(params, memory, carry[0], inputs, lengths)

    return Speaker(init, start, step, speaker.logits, recite if plain else None)
