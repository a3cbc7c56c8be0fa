"""What a step of a loop computes anew: the same numbers, and nothing that could be had before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from capjax.decoding.hoist import hoisted
from capjax.models.generator import generator

V, D, N, T = 11, 4, 3, 5


@pytest.mark.parametrize("cell", ["nic", pytest.param("att2in", marks=pytest.mark.slow)])
def test_a_loop_of_a_hoisted_step_is_that_of_the_step(cell, key):
    speaker = generator(V, ("regions", 2, D), cell=cell, dim=8, dtype="bfloat16")
    params = speaker.init(key)
    memory, carry = speaker.start(params, {"image": jax.random.normal(key, (N, 2, D))})
    words = jax.random.randint(key, (T, N), 0, V)

    def spoken(before):
        @jax.jit
        def run(params, memory, carry, words):
            def step(carry, word):
                carry, hidden = speaker.step(params, memory, carry, word)
                return carry, speaker.logits(params, hidden)

            step = hoisted(step, carry, words[0]) if before else step
            return lax.scan(step, carry, words)

        return run

    given = params, memory, carry, words
    jax.tree.map(np.testing.assert_array_equal, spoken(True)(*given), spoken(False)(*given))

    def rounds_kernels(run):
        """Whether the loop rounds the kernel of the largest product."""
        (call,) = jax.make_jaxpr(run)(*given).eqns
        (loop,) = [e for e in call.params["jaxpr"].eqns if e.primitive.name == "scan"]
        return f"bf16[8,{V}] = convert_element_type" in str(loop.params["jaxpr"])

    assert rounds_kernels(spoken(False))
    assert not rounds_kernels(spoken(True))


def test_what_grows_stays_where_it_is(key):
    """A product of constants is taken before the loop, and its copies for every row are not."""
    weight, scale = jax.random.normal(key, (2, 4))

    def step(x):
        return x + jnp.broadcast_to(weight * scale, x.shape), jnp.arange(3.0)

    def run(x):
        return hoisted(step, x)(x)

    x = jnp.ones((1000, 4))
    jax.tree.map(np.testing.assert_array_equal, run(x), step(x))
    after = jax.make_jaxpr(lambda x, held: held(x), static_argnums=1)(x, hoisted(step, x))
    names = [eqn.primitive.name for eqn in after.eqns]
    assert "mul" not in names
    assert "broadcast_in_dim" in names


def test_a_function_with_a_derivative_of_its_own_keeps_it():
    """That of ReLU at 0 is 0, by decree."""

    def step(x):
        return jax.nn.relu(x) * jnp.ones(())

    zero, one = jnp.zeros(1), jnp.ones(1)
    assert jax.jvp(step, (zero,), (one,))[1] == 0
    assert jax.jvp(hoisted(step, zero), (zero,), (one,))[1] == 0
