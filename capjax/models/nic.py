"""Show and Tell: the image enters once."""

import flax.linen as nn
import jax.numpy as jnp

from capjax.models.captioner import Captioner
from capjax.models.dense import dense


class NIC(Captioner):
    """Show and Tell (Vinyals et al., 2015) as in NeuralTalk2 and G-GAN.

    ReLU(W [image; noise] + b) is the LSTM's first input, before the start and the words.
    """

    def setup(self):
        super().setup()
        self.project = dense(self.dim, self.dtype)
        self.gates = dense(4 * self.dim, self.dtype)

    def start(self, context):
        seen = [self.seen(context)]
        if "noise" in context:
            seen.append(context["noise"].astype(jnp.float32))
        first = nn.relu(self.project(jnp.concatenate(seen, -1)))
        first = self.drop_image(context, first)
        memory = self.beside(context)
        carry, _ = self.recur(memory, self.blank(first.shape[0]), first)
        return memory, self.with_keys(context, carry)
