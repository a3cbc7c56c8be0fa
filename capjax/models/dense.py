"""Dense layers whose products may take in fewer bits than they add up in."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

DTYPES = ("float32", "bfloat16")


def check_dtype(dtype: Any) -> None:
    """Raises ValueError where a dtype is none of DTYPES."""
    try:
        known = jnp.dtype(dtype).name in DTYPES
    except TypeError:
        known = False
    if not known:
        raise ValueError(f"dtype={dtype!r} is not one of {', '.join(DTYPES)}")


def dense(features: int, dtype: Any, use_bias: bool = True, scale: float = 1.0) -> nn.Dense:
    """Flax's dense layer, whose products take in a dtype and add up in float32.

    In bfloat16 what comes in, the kernel, and in the backward pass what comes back, are rounded to
    it; all else is float32 (mixed precision as in Micikevicius et al., 2018). So the matrix units
    of processors want it, CPUs' too.

    scale: how much larger its outputs begin than its inputs are.
    """
    init = nn.initializers.variance_scaling(scale**2, "fan_in", "truncated_normal")
    if not _narrow(dtype):
        return nn.Dense(features, use_bias, kernel_init=init)
    product = partial(_general, dtype)
    return nn.Dense(
        features, use_bias, kernel_init=init, promote_dtype=_widened, dot_general=product
    )


def _widened(*arrays: jax.Array | None, dtype: Any = None, inexact: bool = True) -> list:
    return [None if x is None else x.astype(jnp.float32) for x in arrays]


def _general(dtype, x, kernel, axes, precision=None):
    return _product(dtype, x, kernel)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _product(dtype, x, kernel):
    return _dot(dtype, x, kernel, x.ndim - 1, 0)


def product(dtype: Any, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """What a dense layer without a bias gives: [..., X], [X, Y] -> [..., Y]."""
    return _product(dtype, x, kernel) if _narrow(dtype) else x @ kernel


def _product_backward(dtype, saved, d_out):
    x, kernel = saved
    return input_gradient(dtype, d_out, kernel), kernel_gradient(dtype, x, d_out)


_product.defvjp(lambda dtype, *pair: (_product(dtype, *pair), pair), _product_backward)


def input_gradient(dtype: Any, d_out: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient of a dense layer's input from its output's: [..., Y], [X, Y] -> [..., X]."""
    return _dot(dtype, d_out, kernel, d_out.ndim - 1, 1)


def kernel_gradient(dtype: Any, x: jax.Array, d_out: jax.Array) -> jax.Array:
    """The gradient of a dense layer's kernel: [..., X], [..., Y] -> [X, Y]."""
    x, d_out = (a.reshape(-1, a.shape[-1]) for a in (x, d_out))
    over_rows = lambda x, d_out: _dot(dtype, x, d_out, 0, 0)  # noqa: E731
    if not _narrow(dtype):
        return over_rows(x, d_out)

    def turned(x, d_out):
        # On a CPU, XLA widens the factors of a product over rows, and of a transpose it can see.
        flat = lax.optimization_barrier(x.astype(dtype).T.reshape(-1))
        return _dot(dtype, flat.reshape(x.shape[::-1]), d_out, 1, 0)

    return lax.platform_dependent(x, d_out, cpu=turned, default=over_rows)


def layer_gradient(
    dtype: Any, layer: dict[str, jax.Array], x: jax.Array, d_out: jax.Array
) -> dict[str, jax.Array]:
    """The gradient of a layer's kernel and bias from its inputs and the gradient of its outputs."""
    bias = {"bias": d_out.sum(0)} if "bias" in layer else {}
    return {"kernel": kernel_gradient(dtype, x, d_out)} | bias


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def known_output(dtype: Any, kernel: jax.Array, x: jax.Array, out: jax.Array) -> jax.Array:
    """A dense layer's output that is known already: its input and itself get gradients."""
    return out


def _known_backward(dtype, kernel, d_out):
    return None, input_gradient(dtype, d_out, kernel), d_out


known_output.defvjp(lambda dtype, kernel, x, out: (out, kernel), _known_backward)


def _dot(dtype, a, b, i, j):
    """The product over axis i of a and axis j of b."""
    axes = (((i,), (j,)), ((), ()))
    if not _narrow(dtype):
        return lax.dot_general(a, b, axes)
    a, b = a.astype(dtype), b.astype(dtype)
    return lax.dot_general(a, b, axes, preferred_element_type=jnp.float32)


def _narrow(dtype):
    return jnp.dtype(dtype) != jnp.float32
