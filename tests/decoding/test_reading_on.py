"""Rollouts of paragraphs, which their evaluator reads at once from where beginnings were left."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoding.rollouts import plain_values, rollout_values
from capjax.models.paragraph_evaluator import paragraph_evaluator
from capjax.models.paragraphs import paragraph_generator

V, D, R, T = 5, 4, 3, 6

CAPTIONS = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [3, 4, 2, 3, 0, 0],
        [2, 3, 2, 2, 4, 0],
        [4, 2, 0, 3, 1, 2],  # words after the end are not its own
        [3, 2, 4, 2, 1, 2],  # cut
        [4, 3, 1, 3, 4, 3],
    ],
    np.int32,
)
N = len(CAPTIONS)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"look": "attend"}, {"look": "attend", "hears": True}])
def test_values_are_those_of_reading_and_speaking_word_by_word(options, form, key):
    """Of the same draws, with dropout and noise in parts, for more sentences than are planned."""
    speaker = paragraph_generator(
        V, ("regions", R, D), dim=8, noise=4, noise_parts=2, sentences=2, **options
    )
    judge = paragraph_evaluator(V, ("regions", R, D), dim=6, dropout=0.3, sentences=2)
    keys = jax.random.split(key, 4)
    params = jax.jit(speaker.init)(keys[0]), jax.jit(judge.init)(keys[1])
    params = jax.tree.map(lambda x: 3 * x, params)
    context = {
        "image": jax.random.normal(keys[2], (N, R, D)),
        "noise": jax.random.normal(keys[3], (N, 4)),
        "dropout": jax.random.split(key, N),
    }

    def values(judge, of=rollout_values, **lanes):
        def run(params, context):
            return of(
                speaker, params[0], judge, params[1], context, jnp.asarray(CAPTIONS), key,
                rollouts=5, **lanes,
            )  # fmt: skip

        return np.asarray(jax.jit(run)(params, context))

    expected = values(judge, plain_values)
    assert np.ptp(expected[expected > 0]) > 0.1
    for reader in judge, judge._replace(read_on=None):
        np.testing.assert_allclose(values(reader, lanes=7), expected, atol=1e-5)
