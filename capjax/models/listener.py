"""Listeners: what picks the image that a caption is of, behind the Evaluator contract."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from capjax.judging import Evaluator
from capjax.models.dense import dense
from capjax.models.evaluator import Matcher, evaluator_of, made

SHARPNESS = 2.66  # ln(1 / 0.07), what the logarithm of the scale begins with


class Listener(Matcher):
    """The cosine of an image's vector and a caption's, times a scale that is learnt.

    W I + b against U h(S) + c, h(S) an LSTM's last state (Kiros et al., 2014; the scale as in
    Radford et al., 2021).
    """

    def setup(self):
        super().setup()
        self.hear = dense(self.dim, self.dtype)
        self.scale = self.param("scale", nn.initializers.constant(SHARPNESS), (), jnp.float32)

    def look(self, context):
        return unit(self.project(self.see_all(context)))

    def match(self, image, hidden):
        return jnp.exp(self.scale) * (image * unit(self.hear(hidden))).sum(-1)


def unit(x):
    """Vectors of length 1, in float32."""
    x = x.astype(jnp.float32)
    return x / jnp.sqrt(jnp.square(x).sum(-1, keepdims=True) + 1e-12)


def listener(
    vocab_size: int,
    image: tuple,
    *,
    dim: int = 512,
    dropout: float = 0.0,
    dtype: Any = jnp.float32,
    sight: str = "convnet",
) -> Evaluator:
    """A listener to train: its scores' softmax over images is how probable each is (`listen`).

    Args:
      vocab_size, image, dtype, sight: as in `generator`.
      dim: width of the vectors, of word embeddings and of the LSTM.
      dropout: share of the image's vector dropped where the context has `dropout` keys.
    Raises:
      ValueError: an unknown kind of image, dtype or sight, or a size that does not fit.
    """
    return evaluator_of(made(Listener, vocab_size, image, dim, dropout, dtype, sight))
