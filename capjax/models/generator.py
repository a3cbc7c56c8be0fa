"""Generators: captioners behind the Speaker contract."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from capjax.models.convnet import ConvNet
from capjax.models.dropout import drop
from capjax.models.image_kind import blank_image, check_image
from capjax.models.lstm import lstm
from capjax.models.recite import reciter
from capjax.speaker import END, Speaker

IMAGE_MASK = 2**31  # folded into a dropout key for the image's mask; no word stands so far on


class NIC(nn.Module):
    """Show and Tell (Vinyals et al., 2015) as in NeuralTalk2 and G-GAN: the image enters once.

    ReLU(W [image; noise] + b) is the LSTM's first input, before the start and the words; a concept
    is fed beside every word. Dropout is on the hidden state before the vocabulary and, where asked,
    on the LSTM's inputs (Zaremba et al., 2014), never between its steps.
    """

    vocab_size: int
    image: tuple
    dim: int = 512
    concepts: int = 0
    dropout: float = 0.5
    input_dropout: float = 0.0
    dtype: Any = jnp.float32

    def setup(self):
        if self.image[0] == "pixels":
            self.see = ConvNet(self.dim)
        if self.concepts:
            self.concept = nn.Embed(self.concepts, self.dim, dtype=self.dtype)
        self.project = nn.Dense(self.dim, dtype=self.dtype)
        # As large as the image's first input: at 1 / sqrt(dim) learning starts far more slowly.
        words = nn.initializers.normal(0.35)
        self.table = nn.Embed(self.vocab_size, self.dim, embedding_init=words, dtype=self.dtype)
        self.gates = nn.Dense(4 * self.dim, dtype=self.dtype)
        self.words = nn.Dense(self.vocab_size, dtype=self.dtype)

    def start(self, context):
        image = context["image"]
        if self.image[0] == "pixels":
            image = self.see(image)
        elif self.image[0] == "regions":
            image = image.mean(1)
        seen = [image.astype(self.dtype)]
        if "noise" in context:
            seen.append(context["noise"].astype(self.dtype))
        first = nn.relu(self.project(jnp.concatenate(seen, -1)))
        if "dropout" in context and self.input_dropout:
            keys = jax.vmap(jax.random.fold_in, (0, None))(context["dropout"], IMAGE_MASK)
            first = drop(keys, first, self.input_dropout)
        n = first.shape[0]
        memory = {"concept": self.concept(context["concept"])} if self.concepts else {}
        carry = {
            "cell": jnp.zeros((n, self.dim), jnp.float32),
            "hidden": jnp.zeros((n, self.dim), self.dtype),
        }
        carry = self.recur(memory, carry, first)
        if "dropout" in context:
            carry |= {"dropout": context["dropout"], "position": jnp.zeros(n, jnp.int32)}
        return memory, carry

    def recur(self, memory, carry, x):
        inputs = [x, *memory.values(), carry["hidden"]]
        cell, hidden = lstm(self.gates(jnp.concatenate(inputs, -1)), carry["cell"])
        return carry | {"cell": cell, "hidden": hidden.astype(self.dtype)}

    def advance(self, memory, carry, x):
        if "dropout" not in carry:
            carry = self.recur(memory, carry, x)
            return carry, carry["hidden"]
        keys = jax.vmap(jax.random.fold_in)(carry["dropout"], carry["position"])
        if self.input_dropout:
            x = drop(jax.vmap(jax.random.fold_in, (0, None))(keys, 1), x, self.input_dropout)
        carry = self.recur(memory, carry, x)
        hidden = drop(keys, carry["hidden"], self.dropout)
        return carry | {"position": carry["position"] + 1}, hidden

    def embed(self, words):
        return self.table(words)

    def logits(self, hidden):
        return self.words(hidden)

    def speak(self, context):
        memory, carry = self.start(context)
        words = jnp.full(carry["cell"].shape[:1], END)
        return self.logits(self.advance(memory, carry, self.embed(words))[1])


CELLS = {"nic": NIC}


def generator(
    vocab_size: int,
    image: tuple,
    *,
    cell: str = "nic",
    dim: int = 512,
    noise: int = 0,
    concepts: int = 0,
    dropout: float = 0.5,
    input_dropout: float = 0.0,
    dtype: Any = jnp.float32,
) -> Speaker:
    """A captioner to train, as a Speaker (Vinyals et al., 2015, in the form of Dai et al., 2017).

    Args:
      vocab_size: number of ids, the end and the unknown word included.
      image: what `context["image"]` holds: ("features", D) for float[N, D], ("regions", R, D) for
        float[N, R, D], ("pixels", H, W) for uint8[N, H, W, 3], H and W multiples of 16.
      cell: "nic".
      dim: width of embeddings, LSTM and hidden states.
      noise: width Z of `context["noise"]` float[N, Z]; 0 for none.
      concepts: number of classes of `context["concept"]` int32[N]; 0 for none.
      dropout: share of hidden units dropped where the context has `dropout` keys.
      input_dropout: the same of the LSTM's inputs, the image's and the words'.
      dtype: of the computation; parameters stay float32.
    Raises:
      ValueError: an unknown cell or kind of image, or a size that does not fit.
    """
    if cell not in CELLS:
        raise ValueError(f"cell {cell!r} is unknown; choose one of {', '.join(CELLS)}")
    check_image(image)
    if vocab_size < 2 or dim < 1 or not 0 <= dropout < 1 or not 0 <= input_dropout < 1:
        raise ValueError(
            f"vocab_size={vocab_size}, dim={dim}, dropout={dropout}, input_dropout={input_dropout}"
            " do not fit"
        )
    if noise < 0 or concepts < 0:
        raise ValueError(f"noise={noise} and concepts={concepts} must be at least 0")
    module = CELLS[cell](vocab_size, tuple(image), dim, concepts, dropout, input_dropout, dtype)

    def init(key):
        context = {"image": blank_image(image)}
        if noise:
            context["noise"] = jnp.zeros((1, noise))
        if concepts:
            context["concept"] = jnp.zeros(1, jnp.int32)
        return module.init(key, context, method=module.speak)

    def start(params, context):
        wanted = {"image"} | ({"noise"} if noise else set()) | ({"concept"} if concepts else set())
        if missing := wanted - set(context):
            raise ValueError(f"the context lacks {sorted(missing)}, which this generator reads")
        context = {name: context[name] for name in wanted | ({"dropout"} & set(context))}
        return module.apply(params, context, method=module.start)

    embed = partial(module.apply, method=module.embed)
    advance = partial(module.apply, method=module.advance)

    def step(params, memory, carry, words):
        return advance(params, memory, carry, embed(params, words))

    def logits(params, hidden):
        return module.apply(params, hidden, method=module.logits)

    return Speaker(init, start, step, logits, reciter(module))
