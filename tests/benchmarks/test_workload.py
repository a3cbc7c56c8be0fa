"""What the benchmarks feed, and the work that they hold to be needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hot_loops import CASES, SMALL, hot_loop
from work import Networks, completions, end_odds
from workload import work

import capjax
from capjax.compiled.endings import CERTAIN, end_later, ending
from capjax.compiled.lengths import LENGTHS, STEPS, captions_like_coco, end_logits
from capjax.speaker import scored

VOCABULARY = 30


@pytest.fixture(name="speaker", scope="module")
def fixture_speaker():
    plain = capjax.generator(VOCABULARY, ("features", 4), dim=8)
    return ending(plain, CERTAIN)


def lengths_of(words):
    return np.asarray((words > 0).sum(-1))


@pytest.mark.slow
def test_captions_end_where_they_are_told_to_however_they_are_found(speaker, key):
    params = speaker.init(key)
    lengths = np.array([7, 20, 12, 19])
    image = jnp.ones((4, 4))
    context = {"image": image, "place": jnp.asarray(end_later(lengths))}
    for words in (
        capjax.sample(speaker, params, context, key).words,
        capjax.beam_search(speaker, params, context, width=2).words[:, 0],
    ):
        np.testing.assert_array_equal(lengths_of(words), lengths)


@pytest.mark.slow
def test_drawn_captions_have_coco_s_lengths(key):
    plain = capjax.generator(VOCABULARY, ("features", 4), dim=8)
    speaker = ending(plain, end_logits(VOCABULARY))
    context = {"image": jnp.zeros((500, 4))}
    lengths = lengths_of(capjax.sample(speaker, speaker.init(key), context, key).words)
    shares = np.array(LENGTHS) / sum(LENGTHS)
    mean = (shares * np.arange(21)).sum()
    deviation = np.sqrt((shares * (np.arange(21) - mean) ** 2).sum() / 500)
    # Other words' logits are only about 0.
    assert abs(lengths.mean() - mean) < 4 * deviation + 0.2


def test_completions_are_as_long_as_simulated_ones():
    rng = np.random.default_rng(0)
    captions = captions_like_coco(rng, 50)
    odds, fed, through, n = end_odds(), 0, 0, 200
    for length in (captions > 0).sum(1):
        for t in range(1, min(length, STEPS - 1) + 1):
            over = np.zeros(n, bool)
            for q in range(t, STEPS):
                ends = rng.random(n) < odds[q]
                through += (~ends).sum() if q == t else 0
                over |= ends
                fed += (~over).sum() if q < STEPS - 1 else 0
    expected = completions(captions)
    assert fed / n == pytest.approx(expected[0], rel=0.02)
    assert through / n == pytest.approx(expected[1], rel=0.02)


def test_work_of_training_is_that_of_the_benchmark_of_training():
    captions = captions_like_coco(np.random.default_rng(0), 32)
    words = int(scored(jnp.asarray(captions)).sum())
    assert Networks(512, 2048, 9487).train(captions, 32) == 3 * work(words, 32)


@pytest.mark.parametrize("name", sorted(CASES))
def test_every_loop_tells_its_work(name):
    loop = hot_loop(name, SMALL)
    assert loop.work > 0
    assert jax.tree.leaves(loop.share)
