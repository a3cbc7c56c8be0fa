"""Evaluators: judges of captions behind the Evaluator contract."""

from typing import Any, ClassVar

import flax.linen as nn
import jax.numpy as jnp

from capjax.judging import Evaluator
from capjax.models.convnet import network_on_pixels
from capjax.models.dense import check_dtype, dense
from capjax.models.dropout import drop
from capjax.models.image_kind import blank_image, check_image, check_images, check_vocab_size
from capjax.models.lstm import LSTM, lstm, opened
from capjax.models.recite import reciter


class Matcher(nn.Module):
    """The evaluator of G-GAN (Dai et al., 2017): f(I) = ReLU(W I + b), h(S) an LSTM's last state.

    Embedding, LSTM and image projection are its own; no layer lies between them and the product.
    """

    vocab_size: int
    image: tuple
    dim: int = 512
    dropout: float = 0.0
    dtype: Any = jnp.float32
    sight: str = "convnet"  # what looks at pixels, of SIGHTS

    always: ClassVar[tuple[str, ...]] = ()  # nothing is fed beside a word
    opens: ClassVar[tuple[str, ...]] = LSTM
    turns: ClassVar[tuple[str, ...]] = ()  # and the gates are all that a step multiplies

    def setup(self):
        if self.image[0] == "pixels":
            self.see = network_on_pixels(self.sight, self.dim)
        self.project = dense(self.dim, self.dtype)
        words = nn.initializers.normal(0.35)
        self.table = nn.Embed(self.vocab_size, self.dim, embedding_init=words)
        self.gates = dense(4 * self.dim, self.dtype)

    def see_all(self, context):
        """The image's vector, with dropout where it is on."""
        image = context["image"]
        if self.image[0] == "pixels":
            image = self.see(image)
        elif self.image[0] == "regions":
            # Regions may be stored in fewer bits than a mean needs.
            image = image.astype(jnp.float32).mean(1)
        image = image.astype(jnp.float32)
        if "dropout" in context and self.dropout:
            image = drop(context["dropout"], image, self.dropout)
        return image

    def look(self, context):
        return nn.relu(self.project(self.see_all(context)))

    def start(self, n):
        blank = jnp.zeros((n, self.dim), jnp.float32)
        return {"cell": blank, "hidden": blank}

    def embed(self, words):
        return self.table(words)

    def advance(self, memory, carry, x):
        gates = self.gates(jnp.concatenate([x, carry["hidden"]], -1))
        return self.turn(memory, carry, opened(self.opens, gates))

    def turn(self, memory, state, gates):
        cell, hidden = lstm(gates, state["cell"])
        return {"cell": cell, "hidden": hidden}, hidden

    def match(self, image, hidden):
        return (image.astype(jnp.float32) * hidden.astype(jnp.float32)).sum(-1)

    def read(self, carry, words):
        return self.advance({}, carry, self.embed(words))[0]

    def score(self, image, carry):
        return self.match(image, carry["hidden"])

    def judge(self, context, words):
        return self.score(self.look(context), self.read(self.start(words.shape[0]), words))


def evaluator(
    vocab_size: int,
    image: tuple,
    *,
    dim: int = 512,
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    sight: str = "convnet",
) -> Evaluator:
    """A judge of captions to train: r(I, S) = sigmoid(<f(I), h(S)>) (Dai et al., 2017).

    Args:
      vocab_size, image, dtype, sight: as in `generator`.
      dim: width of f, of word embeddings and of the LSTM.
      dropout: share of the image's vector dropped where the context has `dropout` keys.
    Raises:
      ValueError: an unknown kind of image, dtype or sight, or a size that does not fit.
    """
    return evaluator_of(made(Matcher, vocab_size, image, dim, dropout, dtype, sight))


def made(
    kind: type[Matcher],
    vocab_size: int,
    image: tuple,
    dim: int,
    dropout: float,
    dtype: Any,
    sight: str,
) -> Matcher:
    """A matcher of one kind, of arguments that fit; these and the errors as of `evaluator`."""
    check_image(image, sight)
    check_dtype(dtype)
    check_vocab_size(vocab_size)
    if vocab_size < 2 or dim < 1 or not 0 <= dropout < 1:
        raise ValueError(f"vocab_size={vocab_size}, dim={dim}, dropout={dropout} do not fit")
    return kind(vocab_size, tuple(image), dim, dropout, dtype, sight)


def evaluator_of(module: Matcher) -> Evaluator:
    """A matcher's functions of its parameters."""
    image = module.image
    recite_hidden = reciter(module)

    def init(key):
        context = {"image": blank_image(image)}
        return module.init(key, context, jnp.zeros(1, jnp.int32), method=module.judge)

    def look(params, context):
        check_images(image, context)
        context = {name: context[name] for name in {"image", "dropout"} & set(context)}
        return module.apply(params, context, method=module.look)

    def start(params, n):
        return module.apply(params, n, method=module.start)

    def read(params, carry, words):
        return module.apply(params, carry, words, method=module.read)

    def score(params, image, carry):
        return module.apply(params, image, carry, method=module.score)

    def recite(params, words, lengths):
        hidden = recite_hidden(params, {}, start(params, words.shape[0]), words, lengths)
        last = jnp.maximum(lengths - 1, 0)[:, None, None]
        return {"hidden": jnp.take_along_axis(hidden, last, 1)[:, 0]}

    return Evaluator(init, look, start, read, score, recite, module.vocab_size)
