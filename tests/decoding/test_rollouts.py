"""Rollouts, against the enumeration of all completions and against lengths known by hand."""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from capjax.decoding.rollouts import plain_values, rollout_values, values_and_load
from capjax.decoding.sample import sample
from capjax.judging import Evaluator, judge
from capjax.models.evaluator import evaluator
from capjax.models.generator import generator
from capjax.models.paragraph_evaluator import paragraph_evaluator
from capjax.models.paragraphs import paragraph_generator
from capjax.parallel.devices import over_devices
from capjax.speaker import SENTENCE, Speaker, log_probs, scored

V, D, T = 4, 3, 4
slow = pytest.mark.slow

# Empty, ended early and late, cut at T, and one with words after its end, which are not its own.
CAPTIONS = np.array(
    [[0, 0, 0, 0], [2, 0, 0, 0], [3, 1, 0, 0], [2, 2, 1, 0], [1, 2, 3, 1], [3, 0, 2, 1]], np.int32
)
N = len(CAPTIONS)


class Pair(NamedTuple):
    """Who speaks and who judges."""

    speaker: Speaker
    params: dict
    evaluator: Evaluator
    evaluator_params: dict


def library_pair(dropout=0.0):
    """Of capjax's own models, words far from equally likely and verdicts far from one another."""
    speaker = generator(V, ("features", D), dim=8, dropout=dropout)
    critic = evaluator(V, ("features", D), dim=6, dropout=dropout)
    params = jax.jit(speaker.init)(jax.random.key(1)), jax.jit(critic.init)(jax.random.key(2))
    params = jax.tree.map(lambda x: x * 3, params)
    return Pair(speaker, params[0], critic, params[1])


def paragraph_pair():
    """Of several sentences, planned beforehand, and read as such."""
    speaker = paragraph_generator(V, ("features", D), dim=8, dropout=0.0, sentences=2)
    critic = paragraph_evaluator(V, ("features", D), dim=6, sentences=3)
    params = jax.jit(speaker.init)(jax.random.key(1)), jax.jit(critic.init)(jax.random.key(2))
    params = jax.tree.map(lambda x: x * 3, params)
    return Pair(speaker, params[0], critic, params[1])


def foreign_speaker():
    """Plain JAX: the carry has integers, a pair and matrices; what the image says is in memory."""

    def init(key):
        see, words = jax.random.split(key)
        return {
            "see": jax.random.normal(see, (D, V)),
            "words": jax.random.normal(words, (5 * V, V)),
        }

    def start(params, context):
        n = context["image"].shape[0]
        blank = jnp.zeros((n, V))
        carry = {"said": jnp.zeros(n, jnp.int32), "recent": (blank, blank)}
        carry["pairs"] = jnp.zeros((n, V, V))
        return {"liked": context["image"] @ params["see"]}, carry

    def step(params, memory, carry, words):
        now, (before, _) = jax.nn.one_hot(words, V), carry["recent"]
        pairs = 0.5 * carry["pairs"] + before[:, :, None] * now[:, None]
        said = carry["said"] + 1
        liked = memory["liked"] / said[:, None].astype(jnp.float32)
        hidden = jnp.concatenate([liked, now, before, pairs.sum(1), pairs.sum(2)], -1)
        return {"said": said, "recent": (now, before), "pairs": pairs}, hidden

    return Speaker(init, start, step, lambda params, hidden: hidden @ params["words"])


def foreign_evaluator():
    """Plain JAX: an order-sensitive trace of the words; to read past the end makes it NaN."""

    def init(key):
        return {"table": 2 * jax.random.normal(key, (V, D))}

    def start(params, n):
        return jnp.zeros((n, D)), jnp.zeros(n, bool)

    def read(params, carry, words):
        trace, closed = carry
        trace = jnp.where(closed[:, None], jnp.nan, 0.5 * trace + params["table"][words])
        return trace, closed | (words == 0)

    def score(params, image, carry):
        return (image * carry[0]).sum(-1)

    return Evaluator(init, lambda params, context: context["image"], start, read, score)


def foreign_pair():
    speaker, critic = foreign_speaker(), foreign_evaluator()
    return Pair(speaker, speaker.init(jax.random.key(3)), critic, critic.init(jax.random.key(4)))


def exact_speaker():
    """Says as many words in all as its context tells it to, any words, and then ends."""

    def start(params, context):
        length = context["length"]
        return {"length": length}, {"said": -jnp.ones_like(length)}  # -1: the start is no word

    def step(params, memory, carry, words):
        said = carry["said"] + 1
        return {"said": said}, (memory["length"] - said).astype(jnp.float32)[:, None]

    def logits(params, left):
        return jnp.where(jnp.arange(V) == 0, -1e6 * left + 5e5, 0.0)

    return Speaker(lambda key: {}, start, step, logits)


def counting_evaluator():
    """r is a tenth of the number of words and ends read; NaN where one is read past the end."""

    def start(params, n):
        return {"reads": jnp.zeros(n, jnp.int32), "closed": jnp.zeros(n, bool)}

    def read(params, carry, words):
        reads = jnp.where(carry["closed"], -100, carry["reads"] + 1)
        return {"reads": reads, "closed": carry["closed"] | (words == 0)}

    def score(params, image, carry):
        r = carry["reads"].astype(jnp.float32) / 10
        return jnp.log(r / (1 - r))

    look = lambda params, context: context["image"]  # noqa: E731
    return Evaluator(lambda key: {}, look, start, read, score)


def make_context(key, n=N, **more):
    return {"image": jax.random.normal(key, (n, D)), **more}


# Most of the time here goes to compiling: half of it unoptimised.
watched = jax.jit(
    values_and_load, static_argnums=(0, 2), static_argnames=("rollouts", "lanes", "after")
)
plain = jax.jit(plain_values, static_argnums=(0, 2), static_argnames=("rollouts", "after"))
verdict = jax.jit(lambda *args: jax.nn.sigmoid(judge(*args)), static_argnums=0)


def values(*args, **options):
    return watched(*args, **options)[0]


@pytest.fixture(scope="module")
def pairs():
    return {
        "library": library_pair(),
        "foreign": foreign_pair(),
        "paragraphs": paragraph_pair(),
    }


@pytest.fixture(scope="module")
def dropping():
    return library_pair(dropout=0.3)


@pytest.fixture(scope="module")
def exact(pairs):
    """(name of a pair) -> (mean, variance) of r given words 0..t, by enumeration: float64[N, T]."""

    @cache
    def of(name):
        pair = pairs[name]
        grid = np.stack(np.meshgrid(*[np.arange(V)] * T, indexing="ij"), -1).reshape(-1, T)
        closed = (grid == 0).cumsum(1) > 0
        every = grid[((grid == 0) | ~closed).all(1)]  # each once: after its end only ends
        rows, count = np.repeat(np.arange(N), len(every)), len(every)
        context = jax.tree.map(lambda x: x[rows], make_context(jax.random.key(0)))
        words = jnp.asarray(np.tile(every, (N, 1)), jnp.int32)
        p = np.asarray(jax.jit(log_probs, static_argnums=0)(*pair[:2], context, words))
        p = np.exp(p.astype(np.float64).sum(1)).reshape(N, count)
        r = np.asarray(verdict(*pair[2:], context, words), np.float64).reshape(N, count)
        np.testing.assert_allclose(p.sum(1), 1, atol=1e-5)
        real = np.asarray(scored(jnp.asarray(CAPTIONS)))
        mean, variance = np.zeros((2, N, T))
        for i, t in np.argwhere(real):
            same = (every[:, : t + 1] == CAPTIONS[i, : t + 1]).all(1)
            weight = p[i] * same / (p[i] * same).sum()
            mean[i, t] = weight @ r[i]
            variance[i, t] = weight @ (r[i] - mean[i, t]) ** 2
        return mean, variance

    return of


@pytest.mark.parametrize(
    ("name", "lanes"), [("foreign", 7), pytest.param("library", None, marks=pytest.mark.slow)]
)
def test_values_are_the_expectation_over_all_completions(name, lanes, pairs, exact, form, key):
    n = 10_000
    draws = jax.random.fold_in(key, lanes or 0)
    got = values(*pairs[name], make_context(key), CAPTIONS, draws, rollouts=n, lanes=lanes)
    assert got.dtype == jnp.float32
    mean, variance = exact(name)
    unfinished = variance > 0
    assert np.ptp(mean[unfinished]) > 0.1  # or else little is compared
    error = np.abs(np.asarray(got) - mean)
    assert (error <= 5 * np.sqrt(variance / n) + 1e-4).all()
    # They are as far off as independent draws leave them, now and then at least.
    assert (error[unfinished] / np.sqrt(variance[unfinished] / n)).max() > 0.3


@pytest.mark.parametrize("lanes", [1, pytest.param(1000, marks=pytest.mark.slow)])
def test_values_do_not_depend_on_the_number_of_lanes(lanes, dropping, form, key):
    """With dropout in both models; `plain_values` has no lanes, and draws the same words."""
    context = make_context(key, dropout=jax.random.split(key, N))
    got = values(*dropping, context, CAPTIONS, key, rollouts=6, lanes=lanes)
    expected = plain(*dropping, context, CAPTIONS, key, rollouts=6)
    np.testing.assert_allclose(got, expected, atol=1e-5)


def at_the_next(values, after=SENTENCE):
    """Of values [N, T] of every word of CAPTIONS those where the id next stands, else the last."""
    found = np.zeros_like(values)
    for i, t in np.argwhere(np.asarray(scored(jnp.asarray(CAPTIONS)))):
        end = np.flatnonzero(np.append(CAPTIONS[i], 0) == 0)[0]
        marks = [u for u in range(t, min(end, T)) if CAPTIONS[i, u] == after]
        found[i, t] = values[i, [*marks, min(end, T - 1)][0]]
    return found


@pytest.mark.parametrize(
    ("name", "lanes"),
    [
        ("foreign", 3),
        *(pytest.param("paragraphs", lanes, marks=slow) for lanes in (1, 17, 400, None)),
        pytest.param("library", None, marks=slow),
    ],
)
def test_values_after_an_id_are_the_expectation_where_it_next_stands(
    name, lanes, pairs, exact, form, key
):
    n, draws = 5_000, jax.random.fold_in(key, lanes or 0)
    options = {"rollouts": n, "lanes": lanes, "after": SENTENCE}
    got = np.asarray(values(*pairs[name], make_context(key), CAPTIONS, draws, **options))
    mean, variance = map(at_the_next, exact(name))
    error = np.abs(got - mean)
    assert (error <= 5 * np.sqrt(variance / n) + 1e-4).all()
    unfinished = variance > 0
    assert (error[unfinished] / np.sqrt(variance[unfinished] / n)).max() > 0.3
    assert unfinished.sum() == 5  # the words up to each 2 that has words after it


@pytest.mark.parametrize("lanes", [1, pytest.param(1000, marks=slow)])
def test_completions_after_an_id_are_those_after_every_word(lanes, dropping, form, key):
    """The same draws for the same prefix; `plain_values` has no lanes."""
    context = make_context(key, dropout=jax.random.split(key, N))
    given = *dropping, context, CAPTIONS, key
    got = values(*given, rollouts=6, lanes=lanes, after=SENTENCE)
    every = np.asarray(values(*given, rollouts=6, lanes=lanes))
    np.testing.assert_allclose(got, at_the_next(every), atol=1e-6)
    plainly = plain(*given, rollouts=6, after=SENTENCE)
    np.testing.assert_allclose(got, plainly, atol=1e-5)


@pytest.mark.parametrize("after", [-1, V, True, 2.0])
def test_an_id_that_the_speaker_does_not_know_is_refused(after, pairs, key):
    given = *pairs["foreign"], make_context(key), CAPTIONS, key
    with pytest.raises(ValueError, match=f"after={after} is no id of the speaker"):
        rollout_values(*given, after=after)


def test_a_finished_caption_has_its_own_verdict(pairs, key):
    """To a unit in the last place, whatever is drawn of the others; after the end there is 0."""
    context = make_context(key)
    got = np.asarray(values(*pairs["library"], context, CAPTIONS, key, rollouts=3, lanes=5))
    expected = np.asarray(verdict(*pairs["library"][2:], context, CAPTIONS))
    real = np.asarray(scored(jnp.asarray(CAPTIONS)))
    last = got[np.arange(N), real.sum(1) - 1]
    np.testing.assert_array_max_ulp(last, expected, maxulp=1)
    assert (got[~real] == 0).all()
    assert (got[real] > 0).all()


def test_the_same_image_and_caption_are_drawn_anew_in_each_row(pairs, key):
    """One key for the batch is not one key for each row."""
    context = {"image": jnp.broadcast_to(jax.random.normal(key, (1, D)), (N, D))}
    captions = np.broadcast_to(CAPTIONS[4], (N, T))
    got = np.asarray(values(*pairs["library"], context, captions, key, rollouts=3, lanes=5))
    assert (np.ptp(got[:, :-1], 0) > 1e-3).all()
    assert np.ptp(got[:, -1]) < 1e-6


@pytest.fixture(scope="module")
def on_one(pairs):
    """Four rows with keys of their own, and their values on one device."""
    rows = make_context(jax.random.key(5), 4), jnp.asarray(CAPTIONS)[1:5]
    rows = *rows, jax.random.split(jax.random.key(6), 4)
    return rows, values(*pairs["foreign"], *rows, rollouts=4, lanes=3)


@pytest.mark.parametrize("n", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_a_row_with_its_own_key_has_the_values_it_has_alone(n, on_one, pairs):
    """On any number of devices, of which each has a queue of its own; on four a row is alone."""

    def update(state, data, batch, key):
        got = rollout_values(*pairs["foreign"], *batch, rollouts=4, lanes=3)
        return state, lax.all_gather(got, "data", tiled=True)

    rows, expected = on_one
    run = over_devices(update, devices=jax.devices()[:n])
    got = run(jnp.float32(0), {}, rows, jax.random.key(0))[1]
    np.testing.assert_allclose(got, expected, atol=1e-6)


LENGTHS = np.array([0, 1, 2, 3, 5, 9, 4, 5], np.int32)  # words in all, where a caption goes on
LONG = 5  # T of these captions
PREFIXES = np.array(
    [
        [2, 0, 0, 0, 0],
        [1, 2, 3, 0, 0],
        [3, 0, 0, 0, 0],
        [2, 0, 0, 0, 0],
        [1, 2, 1, 2, 3],
        [1, 1, 0, 0, 0],
        [3, 2, 1, 3, 0],
        [0, 0, 0, 0, 0],
    ],
    np.int32,
)


@pytest.fixture(scope="module")
def spoken_exactly():
    """(lanes) -> (values, load) of 3 rollouts by a speaker whose captions' lengths are given."""
    pair = exact_speaker(), {}, counting_evaluator(), {}

    def run(lanes, lengths=LENGTHS, captions=PREFIXES, after=None):
        context = {"image": jnp.zeros((len(lengths), D)), "length": jnp.asarray(lengths)}
        options = {"rollouts": 3, "lanes": lanes, "after": after}
        return watched(*pair, context, captions, jax.random.key(0), **options)

    return run


def after_each_word(after=None):
    """(row, words so far k, words in all) of every unfinished beginning that ends in an id."""
    for i, caption in enumerate(PREFIXES):
        for k in range(1, min((caption != 0).sum(), LONG - 1) + 1):
            if after in (None, caption[k - 1]):
                yield i, k, max(LENGTHS[i], k)


@pytest.mark.parametrize("lanes", [1, 4])
def test_a_completion_stops_at_its_end_or_at_the_last_place(lanes, spoken_exactly, form):
    """By hand: all its words are read, and its end where there is room, and nothing else."""
    expected = np.zeros(PREFIXES.shape)
    for i, caption in enumerate(PREFIXES):
        reads = min((caption != 0).sum() + 1, LONG)
        expected[i, reads - 1] = reads / 10
    for i, k, words in after_each_word():
        expected[i, k - 1] = min(words + 1, LONG) / 10
    np.testing.assert_allclose(spoken_exactly(lanes)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("lanes", "after"), [(1, None), (4, None), (1, 2), (4, 2)])
def test_what_the_lanes_did_is_told(lanes, after, spoken_exactly, form):
    """By hand: a lane is fed the words after the beginning, but for the word in the last place.

    Of beginnings that are not completed it is fed none.
    """
    fed = ended = 0
    for _, k, words in after_each_word(after):
        if (
            words > k
        ):  # an end that follows at once needs no lane, nor does a word in the last place
            ended += 3
            fed += 3 * (min(words, LONG - 1) - k)
    load = jax.device_get(spoken_exactly(lanes, after=after)[1])
    assert load.fed == fed
    assert load.ended == ended
    assert load.steps >= fed
    assert load.busy == pytest.approx(fed / load.steps)
    assert 0 < load.busy <= 1
    if lanes == 1:
        assert load.steps == fed


@pytest.mark.parametrize("after", [None, 2])
def test_a_queue_without_a_gap_is_worked_off_once(after, spoken_exactly):
    """Every beginning is open, and no completion ends at once.

    So many end in the id that there is room for some of them at a time.
    """
    captions = np.full_like(PREFIXES, 2)
    got, load = jax.device_get(spoken_exactly(4, np.full_like(LENGTHS, 9), captions, after))
    np.testing.assert_allclose(got, LONG / 10, atol=1e-6)
    assert load.ended == 3 * len(captions) * (LONG - 1)
    assert load.fed == 3 * len(captions) * (3 + 2 + 1 + 0)


def test_captions_of_one_word_are_judged_as_they_are(pairs, key):
    captions = jnp.arange(V)[:, None]
    for pair in pairs["library"], pairs["foreign"]:
        context = make_context(key, V)
        got, load = watched(*pair, context, captions, key, rollouts=3)
        assert got.shape == (V, 1)
        np.testing.assert_array_max_ulp(
            np.asarray(got[:, 0]), np.asarray(verdict(*pair[2:], context, captions)), maxulp=1
        )
        assert load.ended == load.steps == 0


def test_empty_captions_have_nothing_to_complete(pairs, key):
    pair, context = pairs["library"], make_context(key)
    got, load = watched(*pair, context, jnp.zeros((N, T), jnp.int32), key, rollouts=3, lanes=5)
    expected = np.zeros((N, T), np.float32)
    expected[:, 0] = verdict(*pair[2:], context, jnp.zeros((N, T), jnp.int32))
    np.testing.assert_array_max_ulp(np.asarray(got), expected, maxulp=1)
    assert load.fed == load.ended == load.steps == 0
    assert load.busy == 1


@pytest.mark.parametrize(
    ("length", "option"), [(T, {"rollouts": 0}), (T, {"lanes": 0}), (1, {"rollouts": 0})]
)
def test_an_option_out_of_range_is_named(length, option, pairs, key):
    ((name, value),) = option.items()
    with pytest.raises(ValueError, match=f"{name}={value}"):
        values(*pairs["foreign"], make_context(key), CAPTIONS[:, :length], key, **option)


def test_a_loss_may_draw_and_value_what_it_learns_from(pairs, key):
    """REINFORCE in one function: no gradient flows to what is drawn, nor to what it is worth."""
    speaker, params, critic, critic_params = pairs["library"]
    context = make_context(key)

    def taught(params, drawn_by):
        words = sample(speaker, drawn_by, context, key, max_len=T).words
        given = context, words, key
        worth = rollout_values(speaker, drawn_by, critic, critic_params, *given, rollouts=2)
        worth = lax.stop_gradient(worth)
        return (worth * log_probs(speaker, params, context, words)).sum()

    together = jax.grad(lambda params: taught(params, params))(params)
    apart = jax.grad(lambda params: taught(params, lax.stop_gradient(params)))(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), together, apart)
    assert max(abs(x).max() for x in jax.tree.leaves(apart)) > 1e-3
