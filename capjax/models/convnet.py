"""The networks that look at pixels, trained together with the speaker."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from capjax.models.eyes import Eyes


class ConvNet(nn.Module):
    """Image features from pixels: uint8[N, H, W, 3] -> float[N, width]; H and W multiples of 16.

    With `grid`, regions float[N, H / 16 * W / 16, width], row by row, which know their places.
    Otherwise the last grid is flattened, not pooled, so that positions survive: "left of" can only
    be told by a network that knows where it looks. Each layer is normalised over its channels:
    without that the speaker learns to do without the image before it has anything to say.
    """

    width: int = 512
    channels: tuple[int, ...] = (32, 64, 128)
    grid: bool = False

    @nn.compact
    def __call__(self, pixels: jax.Array) -> jax.Array:
        x = pixels.astype(jnp.float32) / 127.5 - 1
        for i, channels in enumerate(self.channels):
            size = (4, 4) if i == 0 else (3, 3)
            stride = (4, 4) if i == 0 else (2, 2)
            x = nn.relu(nn.LayerNorm()(nn.Conv(channels, size, stride)(x)))
        if self.grid:
            regions = nn.Dense(self.width)(x.reshape(x.shape[0], -1, x.shape[-1]))
            places = self.param("places", nn.initializers.normal(0.02), regions.shape[1:])
            return nn.LayerNorm()(regions + places[None])
        return nn.LayerNorm()(nn.Dense(self.width)(x.reshape(x.shape[0], -1)))


def network_on_pixels(sight: str, width: int, grid: bool = False) -> nn.Module:
    """The network of a sight, a `ConvNet` of some width, or `Eyes`, which have their own."""
    return Eyes() if sight == "eyes" else ConvNet(width, grid=grid)
