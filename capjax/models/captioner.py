"""What recurrent captioners have in common: words in, words out, and dropout by one key a row."""

from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp

from capjax.models.convnet import network_on_pixels
from capjax.models.dense import dense
from capjax.models.dropout import drop
from capjax.models.lstm import LSTM, lstm, opened
from capjax.speaker import END

IMAGE_MASK = 2**31  # folded into a dropout key for the image's mask; no word stands so far on


class Captioner(nn.Module):
    """A recurrent captioner; a cell says how it starts and how it recurs.

    A concept is fed beside every word. Dropout is on the output before the vocabulary and, where
    asked, on the inputs of the recurrence (Zaremba et al., 2014), never between its steps.
    """

    vocab_size: int
    image: tuple
    dim: int = 512
    concepts: int = 0
    dropout: float = 0.5
    input_dropout: float = 0.0
    dtype: Any = jnp.float32
    noise: int = 0
    sight: str = "convnet"  # what looks at pixels, of SIGHTS

    regional = False  # whether it looks at regions: float[N, R, D]
    always = ("whole", "concept")  # what of the memory is fed beside every word
    opens: ClassVar[tuple[str, ...]] = LSTM  # kinds of its gates
    turns: ClassVar[tuple[str, ...]] = ()  # the dense layers that `turn` uses

    def setup(self):
        if self.image[0] == "pixels":
            self.see = network_on_pixels(self.sight, self.dim, self.regional)
        if self.concepts:
            self.concept = nn.Embed(self.concepts, self.dim)
        # As large as the image's first input: at 1 / sqrt(dim) learning starts far more slowly.
        words = nn.initializers.normal(0.35)
        self.table = nn.Embed(self.vocab_size, self.dim, embedding_init=words)
        self.words = dense(self.vocab_size, self.dtype)

    def start(self, context):
        """(memory, carry) before a word."""
        raise NotImplementedError

    def recur(self, memory, carry, x):
        """(carry, output float[N, dim]) after one input float[N, dim]."""
        always = [memory[name] for name in self.always if name in memory]
        gates = self.gates(jnp.concatenate([x, *always, carry["hidden"]], -1))
        new, out = self.turn(memory, carry, opened(self.opens, gates))
        return carry | new, out

    def turn(self, memory, state, gates):
        """(what of the carry is new, output float[N, dim]) by the opened gates float32[N, G].

        A plain LSTM's here. Memory has N / K rows, each for K rows of the gates in turn.
        """
        cell, hidden = lstm(gates, state["cell"])
        return {"cell": cell, "hidden": hidden}, hidden

    def seen(self, context):
        """The image as a cell takes it: float[N, R, D] or, where it does so at a glance, [N, D]."""
        image = context["image"]
        if self.image[0] == "pixels":
            image = self.see(image)
        elif self.image[0] == "regions" and not self.regional:
            # Pixels and regions may be stored in fewer bits than a mean needs.
            image = image.astype(jnp.float32).mean(1)
        return image.astype(jnp.float32)

    def blank(self, n):
        return {
            "cell": jnp.zeros((n, self.dim), jnp.float32),
            "hidden": jnp.zeros((n, self.dim), jnp.float32),
        }

    def beside(self, context):
        """What is fed beside every word, as memory."""
        return {"concept": self.concept(context["concept"])} if self.concepts else {}

    def drop_image(self, context, x):
        if "dropout" not in context or not self.input_dropout:
            return x
        keys = jax.vmap(jax.random.fold_in, (0, None))(context["dropout"], IMAGE_MASK)
        flat = drop(keys, x.reshape(x.shape[0], -1), self.input_dropout)
        return flat.reshape(x.shape)

    def with_keys(self, context, carry):
        if "dropout" not in context:
            return carry
        position = jnp.zeros(carry["cell"].shape[0], jnp.int32)
        return carry | {"dropout": context["dropout"], "position": position}

    def step(self, memory, carry, words):
        """(carry, hidden float[N, H]) after a word int32[N]."""
        return self.advance(memory, carry, self.embed(words))

    def advance(self, memory, carry, x):
        if "dropout" not in carry:
            return self.recur(memory, carry, x)
        keys = jax.vmap(jax.random.fold_in)(carry["dropout"], carry["position"])
        carry, out = self.recur(memory, carry, self.drop_inputs(keys, x))
        return carry | {"position": carry["position"] + 1}, self.drop_outputs(keys, out)

    def drop_inputs(self, keys, x):
        """Words float[N, dim] by a key each, as they enter the recurrence."""
        if not self.input_dropout:
            return x
        return drop(jax.vmap(jax.random.fold_in, (0, None))(keys, 1), x, self.input_dropout)

    def drop_outputs(self, keys, out):
        return drop(keys, out, self.dropout)

    def embed(self, words):
        return self.table(words)

    def logits(self, hidden):
        return self.words(hidden)

    def speak(self, context):
        memory, carry = self.start(context)
        words = jnp.full(carry["cell"].shape[:1], END)
        return self.logits(self.step(memory, carry, words)[1])
