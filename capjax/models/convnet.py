"""A small convolutional network on pixels, trained together with the speaker."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class ConvNet(nn.Module):
    """Image features from pixels: uint8[N, H, W, 3] -> float[N, width]; H and W multiples of 16.

    Four strided stages. The last grid is flattened, not pooled, so that positions survive:
    "left of" can only be told by a network that knows where it looks.
    """

    width: int = 512
    channels: tuple[int, ...] = (32, 64, 128)

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        x = pixels.astype(jnp.float32) / 127.5 - 1
        x = nn.relu(nn.Conv(self.channels[0], (4, 4), (4, 4))(x))
        for channels in self.channels[1:]:
            x = nn.relu(nn.Conv(channels, (3, 3), (2, 2))(x))
        return nn.relu(nn.Dense(self.width)(x.reshape(x.shape[0], -1)))
