"""Products of bfloat16: exact but for the rounding of their factors, backwards too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.models.dense import dense
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.models.listener import listener
from capjax.speaker import log_probs, score, scored, shift

N, X, Y, V, DIM = 7, 300, 5, 13, 16
LAYER = dense(Y, "bfloat16")


def rounded(x) -> np.ndarray:
    """What bfloat16 keeps, exactly, in float64."""
    return np.asarray(jnp.asarray(x, jnp.bfloat16).astype(jnp.float32), np.float64)


def assert_added_up_in_float32(found, a, b):
    """found is the product of a and b but for float32's rounding of each of its sums."""
    assert found.dtype == jnp.float32
    bound = a.shape[-1] * np.finfo(np.float32).eps * (abs(a) @ abs(b))
    assert (abs(np.asarray(found, np.float64) - a @ b) <= bound).all()


@pytest.fixture
def pair(key):
    x = jax.random.normal(key, (N, X))
    params = LAYER.init(key, x)
    bias = jax.random.normal(jax.random.fold_in(key, 1), (Y,))
    return {"params": params["params"] | {"bias": bias}}, x


def test_a_product_is_exact_but_for_the_rounding_of_its_factors(pair):
    params, x = pair
    kernel, bias = params["params"]["kernel"], params["params"]["bias"]
    assert kernel.dtype == bias.dtype == jnp.float32
    # A bias of 0, so that the bound is that of the sums alone.
    still = {"params": {"kernel": kernel, "bias": jnp.zeros(Y)}}
    assert_added_up_in_float32(LAYER.apply(still, x), rounded(x), rounded(kernel))
    np.testing.assert_array_equal(LAYER.apply(params, x), LAYER.apply(still, x) + bias[None])


def test_so_are_its_gradients(pair, key):
    params, x = pair
    d_out = jax.random.normal(jax.random.fold_in(key, 2), (N, Y))
    out, pull = jax.vjp(LAYER.apply, params, x)
    d_params, d_x = pull(d_out.astype(out.dtype))
    d_kernel, kernel = d_params["params"]["kernel"], rounded(params["params"]["kernel"])
    assert_added_up_in_float32(d_kernel, rounded(x).T, rounded(d_out))
    assert_added_up_in_float32(d_x, rounded(d_out), kernel.T)
    np.testing.assert_allclose(d_params["params"]["bias"], d_out.sum(0), rtol=1e-5)


def test_leading_axes_are_rows(pair):
    params, x = pair
    loss = lambda params, x: jnp.square(LAYER.apply(params, x)).sum()  # noqa: E731
    flat, folded = (jax.grad(loss, (0, 1))(params, x.reshape(s, -1, X)) for s in (1, N))
    np.testing.assert_allclose(folded[1].reshape(N, X), flat[1].reshape(N, X), rtol=1e-6, atol=1e-6)
    kernels = [g[0]["params"]["kernel"] for g in (flat, folded)]
    np.testing.assert_allclose(*kernels, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    "form", ["cpu", pytest.param("accelerator", marks=pytest.mark.slow)], indirect=True
)
@pytest.mark.parametrize(
    "cell", ["nic", *(pytest.param(c, marks=pytest.mark.slow) for c in ("att2in", "adaptive"))]
)
def test_a_speaker_is_read_alike_by_blocks_and_step_by_step(cell, key, form):
    """Reciting spares the second product; the first is rounded as it is in a plain scan."""
    image = ("regions", 4, 6)
    speaker = generator(V, image, cell=cell, dim=DIM, dtype="bfloat16")
    exact = generator(V, image, cell=cell, dim=DIM)
    params = jax.jit(speaker.init)(key)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    lengths = np.array([1, 3, 7, 5, 2, 7, 4])
    drawn = jax.random.randint(jax.random.fold_in(key, 1), (N, 7), 1, V)
    captions = jnp.where(jnp.arange(7)[None] < lengths[:, None], drawn, 0)
    context = {"image": jax.random.normal(key, (N, 4, 6))}

    def gradient(speaker):
        def loss(params):
            found = score(speaker, params, context, shift(captions), captions)[0]
            return jnp.where(scored(captions), found, 0).sum()

        return jax.tree.leaves(jax.jit(jax.grad(loss))(params))

    fast, plain, wide = (gradient(s) for s in (speaker, speaker._replace(recite=None), exact))
    far = lambda a, b: np.sqrt(sum(jnp.square(x - y).sum() for x, y in zip(a, b, strict=True)))  # noqa: E731
    # Sums in another order may tip a factor over to its neighbour in bfloat16, but few.
    assert far(fast, plain) < far(plain, wide) / 3
    assert far(plain, wide) < 0.02 * far(wide, jax.tree.map(jnp.zeros_like, wide))


def test_what_a_speaker_says_is_float32_and_near(key):
    context = {"image": jax.random.normal(key, (N, X))}
    words = jax.random.randint(key, (N, 6), 1, V)
    found = []
    for dtype in ("float32", "bfloat16"):
        speaker = generator(V, ("features", X), dim=DIM, dtype=dtype)
        params = jax.jit(speaker.init)(key)
        found.append(jax.jit(log_probs, static_argnums=0)(speaker, params, context, words))
    assert found[1].dtype == jnp.float32
    # Factors are off by 2**-9 at most of themselves, and a sum by less of its terms' size.
    np.testing.assert_allclose(*found, atol=0.05)
    assert (found[0] != found[1]).any()


@pytest.mark.parametrize("kind", [generator, evaluator, listener])
@pytest.mark.parametrize("dtype", ["float16", "int8", "bf16"])
def test_an_unknown_dtype_is_named(kind, dtype):
    with pytest.raises(ValueError, match=dtype):
        kind(V, ("features", X), dtype=dtype)
