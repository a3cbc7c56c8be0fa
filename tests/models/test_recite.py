"""Teacher forcing of every cell: nothing that stands after a caption is read, on any machine."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.models.blocks import sorted_by_length, whole
from capjax.models.generator import generator
from capjax.models.recurrence import recurrence
from capjax.models.sentence_lstm import SentenceLSTM
from capjax.speaker import log_probs
from capjax.teacher_forcing import where_rows

V, R, D, DIM, T = 11, 3, 5, 8, 6
LENGTHS = jnp.array([0, 3, 6, 1, 2, 0])  # two captions an image


@pytest.mark.parametrize(
    "cell", ["nic", *(pytest.param(c, marks=pytest.mark.slow) for c in ("att2in", "adaptive"))]
)
def test_what_stands_after_a_caption_changes_nothing(cell, key, form):
    """Not even a word whose embedding is not a number: neither values nor gradients notice."""
    keys = jax.random.split(key, 4)
    speaker = generator(
        V, ("regions", R, D), cell=cell, dim=DIM, concepts=2, dropout=0.2, input_dropout=0.2
    )
    params = jax.jit(speaker.init)(keys[0])
    image = jax.random.normal(keys[1], (3, R, D))
    context = {"concept": jnp.array([0, 1, 1]), "dropout": jax.random.split(keys[2], 3)}
    words = jax.random.randint(keys[3], (6, T), 0, V - 1)
    real = jnp.arange(T)[None] < LENGTHS[:, None]

    def total(params, image, words):
        hidden = speaker.recite(
            params, *speaker.start(params, context | {"image": image}), words, LENGTHS
        )
        weights = jnp.cos(jnp.arange(hidden.size)).reshape(hidden.shape)
        # What comes back to the padding counts as little.
        return (hidden * weights).sum(), hidden

    both = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
    expected = both(params, image, jnp.where(real, words, 0))
    table = params["params"]["table"]["embedding"].at[V - 1].set(jnp.nan)
    spoilt = {"params": params["params"] | {"table": {"embedding": table}}}
    got = both(spoilt, image, jnp.where(real, words, V - 1))
    jax.tree.map(np.testing.assert_array_equal, got, expected)
    hidden = expected[0][1]
    assert (hidden[~real] == 0).all()
    assert (hidden[real] != 0).any(-1).all()


def test_a_state_begins_anew_where_it_does_not_go_on(key, form):
    """Values and gradients are those of a loop over single steps, to the longest row."""
    module, n, longest = SentenceLSTM(DIM), 6, 5
    keys = jax.random.split(key, 4)
    inputs = jax.random.normal(keys[0], (T, n, D))
    state = {"cell": jax.random.normal(keys[1], (n, DIM)), "hidden": jnp.ones((n, DIM))}
    keep = jax.random.bernoulli(keys[2], 0.6, (T, n))
    lengths = jnp.minimum(LENGTHS, longest)
    params = jax.jit(module.init)(keys[3], state, inputs[0])
    weights = jnp.cos(jnp.arange(T * n * 2 * DIM, dtype=jnp.float32)).reshape(T, n, -1)

    def plainly(params, memory, state, inputs, lengths, keep):
        out = []
        for x, going in zip(inputs, keep, strict=True):
            state = where_rows(going, state, jax.tree.map(jnp.zeros_like, state))
            state = module.apply(params, state, x)
            out.append(jnp.concatenate([state["hidden"], state["cell"]], -1))
        real = jnp.arange(T)[:, None] < lengths[None]
        return jnp.where(real[..., None], jnp.stack(out), 0)

    def gradient(run):
        def total(params, state, inputs):
            out = run(params, {}, state, inputs, lengths, keep)
            return (out * weights).sum(), out

        return jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(params, state, inputs)

    expected = gradient(plainly)
    for run in recurrence(module), recurrence(module, ends=True):
        check = lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5)  # noqa: E731
        jax.tree.map(check, gradient(run), expected)


@pytest.mark.parametrize("layout_of", [whole, sorted_by_length])
@pytest.mark.parametrize("n", [1, 7, 600])
def test_a_layout_holds_every_word_once(layout_of, n):
    """What is dealt is gathered again, and summed over slots is summed over words."""
    lengths = jnp.asarray(np.random.default_rng(n).integers(0, T + 1, n))
    layout = layout_of(lengths, T)
    x = jnp.arange(1.0, T * n + 1).reshape(T, n, 1)
    real = np.asarray(jnp.arange(T)[:, None] < lengths[None])
    dealt = layout.deal(x)
    expected = np.where(real[..., None], x, 0)
    np.testing.assert_array_equal(layout.gather(dealt), expected)
    np.testing.assert_array_equal(layout.gather(layout.map(lambda x: 2 * x, dealt)), 2 * expected)
    np.testing.assert_allclose(layout.sum(lambda x: x.sum(), dealt), expected.sum(), rtol=1e-6)
    state = jnp.arange(1.0, n + 1)[:, None]
    add = lambda b, total: layout.add(total, b, layout.take(state, b))  # noqa: E731
    once = layout.blocks(add, jnp.zeros_like(state))
    np.testing.assert_array_equal(once[1:], state[1:])  # row 0 fills up the last block


@pytest.mark.parametrize("cell", ["nic", pytest.param("att2in", marks=pytest.mark.slow)])
def test_parameters_may_be_frozen_or_stored_in_fewer_bits(cell, key):
    """Frozen dictionaries have the gradients of others; those of bfloat16 are bfloat16."""
    speaker = generator(V, ("regions", R, D), cell=cell, dim=DIM, dropout=0.0)
    params = jax.jit(speaker.init)(key)
    context = {"image": jax.random.normal(key, (3, R, D))}
    words = jax.random.randint(key, (3, T), 0, V)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: log_probs(speaker, p, context, words).sum())(params)

    expected = gradient(params)
    frozen = flax.core.unfreeze(gradient(flax.core.freeze(params)))
    jax.tree.map(np.testing.assert_array_equal, frozen, expected)
    with jax.numpy_dtype_promotion("standard"):
        few = gradient(jax.tree.map(lambda x: x.astype(jnp.bfloat16), params))
    assert all(x.dtype == jnp.bfloat16 for x in jax.tree.leaves(few))
    scale = max(abs(x).max() for x in jax.tree.leaves(expected))
    for a, b in zip(jax.tree.leaves(few), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a.astype(jnp.float32), b, atol=0.05 * scale)
