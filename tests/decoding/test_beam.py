"""Beam search, against exhaustive search and a plain Python beam search in float64."""

import re
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.decoding.beam import beam_search
from capjax.models.generator import generator
from capjax.speaker import UNKNOWN, Speaker, log_probs

D, DIM, SEEN = 4, 6, 997  # SEEN: a width of the memory that nothing else has


def step(params, memory, carry, words):
    carry = 0.5 * carry + params["read"][words]
    return carry, jnp.tanh(carry + memory @ params["look"])


# A speaker whose memory (what it sees) is large and whose carry (what it said) is small.
speaker = Speaker(
    init=lambda key: {
        "see": jax.random.normal(jax.random.fold_in(key, 0), (D, SEEN)),
        "look": jax.random.normal(jax.random.fold_in(key, 1), (SEEN, DIM)) / SEEN**0.5,
    },
    start=lambda params, context: (
        context["image"] @ params["see"],
        jnp.zeros((context["image"].shape[0], DIM)),
    ),
    step=step,
    logits=lambda params, hidden: hidden @ params["say"],
)


def make_params(vocabulary, seed=0):
    key = jax.random.key(seed)
    params = speaker.init(key)
    params["read"] = jax.random.normal(jax.random.fold_in(key, 2), (vocabulary, DIM))
    params["say"] = jax.random.normal(jax.random.fold_in(key, 3), (DIM, vocabulary))
    return params


search = jax.jit(
    partial(beam_search, speaker),
    static_argnames=("width", "max_len", "groups", "diversity", "forbid_unknown"),
)


def next_word(params, image):
    """The words so far -> log-probabilities float64[V] of the next one, in plain numpy."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), params)
    look = np.asarray(image, np.float64) @ p["see"] @ p["look"]

    def log_p(words):
        carry = np.zeros(DIM)
        for word in (0, *words):
            carry = 0.5 * carry + p["read"][word]
        z = np.tanh(carry + look) @ p["say"]
        return z - np.log(np.exp(z).sum())

    return log_p


def exhaustive(log_p, vocabulary, max_len, forbid_unknown=False):
    """All captions with their log-probabilities, best first."""
    words = [w for w in range(1, vocabulary) if not (forbid_unknown and w == UNKNOWN)]
    found = []
    for length in range(max_len + 1):
        for caption in product(words, repeat=length):
            read = (*caption, 0)[:max_len]
            score = sum(log_p(read[:t])[w] for t, w in enumerate(read))
            found.append((score, caption + (0,) * (max_len - length)))
    return sorted(found, reverse=True)


def reference(log_p, width, max_len, groups=1, diversity=0.0, forbid_unknown=False):
    """`beam_search` as its docstring says, for one example, without its early stop."""
    each = width // groups
    live = [[(0.0, ())] for _ in range(groups)]
    ended = [[] for _ in range(groups)]
    for _ in range(max_len):
        chosen = {}
        for group in range(groups):
            extensions = []
            for score, words in live[group]:
                for word, more in enumerate(log_p(words)):
                    if not (forbid_unknown and word == UNKNOWN):
                        rank = score + more - diversity * chosen.get(word, 0)
                        extensions.append((rank, score + more, (*words, word)))
            extensions.sort(key=lambda x: -x[0])
            best = extensions[:each]
            ended[group] += [(score, words) for _, score, words in best if words[-1] == 0]
            ended[group] = sorted(ended[group], key=lambda x: -x[0])[:each]
            live[group] = [(s, w) for _, s, w in extensions if w[-1] != 0][:each]
            ends = [words for _, _, words in best if words[-1] == 0]
            for words in ends + [words for _, words in live[group]]:
                chosen[words[-1]] = chosen.get(words[-1], 0) + 1
    found = []
    for group in range(groups):
        found += sorted(ended[group] + live[group], key=lambda x: -x[0])[:each]
    return [
        (score, words + (0,) * (max_len - len(words)))
        for score, words in sorted(found, key=lambda x: -x[0])
    ]


def assert_found(words, log_prob, expected):
    """The captions are the expected ones in their order, up to rounding."""
    scores, captions = zip(*expected, strict=True)
    gaps = -np.diff(scores)
    assert ((gaps > 1e-4) | (gaps < 1e-9)).all(), "no test: two captions are too nearly equal"
    np.testing.assert_allclose(log_prob, scores, atol=2e-5)
    np.testing.assert_array_equal(words, captions)


@pytest.mark.parametrize(("vocabulary", "max_len"), [(2, 4), (5, 1), (4, 3)])
def test_a_beam_as_wide_as_all_captions_is_exhaustive_search(vocabulary, max_len, key):
    params = make_params(vocabulary)
    image = jax.random.normal(key, (2, D))
    expected = [exhaustive(next_word(params, x), vocabulary, max_len) for x in image]
    found = search(params, {"image": image}, width=len(expected[0]), max_len=max_len)
    for row in range(2):
        assert_found(found.words[row], found.log_prob[row], expected[row])


def test_captions_that_do_not_exist_have_no_probability(key):
    """Wider than all captions: all are found, the rest have log-probability -inf."""
    params = make_params(4)
    image = jax.random.normal(key, (2, D))
    for forbid_unknown in False, True:
        found = search(params, {"image": image}, width=50, max_len=3, forbid_unknown=forbid_unknown)
        for row in range(2):
            expected = exhaustive(next_word(params, image[row]), 4, 3, forbid_unknown)
            n = len(expected)
            assert_found(found.words[row, :n], found.log_prob[row, :n], expected)
            assert (found.log_prob[row, n:] == -jnp.inf).all()


@pytest.mark.parametrize(
    "options",
    [
        {"width": 1},
        {"width": 5},
        {"width": 5, "forbid_unknown": True},
        {"width": 6, "groups": 2, "diversity": 0.7},
        {"width": 4, "groups": 4, "diversity": 2.0},
    ],
)
def test_it_is_the_plain_beam_search(options, key):
    params = make_params(12)
    image = jax.random.normal(key, (24, D))
    words, log_prob = search(params, {"image": image}, max_len=7, **options)
    lengths = set()
    for row in range(len(image)):
        expected = reference(next_word(params, image[row]), max_len=7, **options)
        assert_found(words[row], log_prob[row], expected)
        lengths |= set(np.count_nonzero(words[row], axis=-1).tolist())
    assert {0, 7} <= lengths or len(lengths) > 3  # ends at once, cuts, and what lies between


def test_groups_without_diversity_are_equal_beams(key):
    params = make_params(12)
    image = {"image": jax.random.normal(key, (24, D))}
    grouped = search(params, image, width=6, max_len=7, groups=2)
    single = search(params, image, width=3, max_len=7)
    np.testing.assert_array_equal(grouped.words, np.repeat(single.words, 2, 1))
    np.testing.assert_allclose(grouped.log_prob, np.repeat(single.log_prob, 2, 1), atol=1e-6)


def test_diversity_gives_groups_other_first_words(key):
    """A strong penalty: as many first words as groups."""
    params = make_params(12)
    image = {"image": jax.random.normal(key, (24, D))}
    found = search(params, image, width=4, max_len=7, groups=4, diversity=100.0)
    for captions in np.asarray(found.words):
        assert len(set(captions[:, 0])) == 4


def test_one_program_serves_every_diversity(key):
    params, image = make_params(5), jax.random.normal(key, (2, D))
    options = {"width": 4, "groups": 2, "max_len": 3}

    @jax.jit
    def dragged(diversity):
        return beam_search(speaker, params, {"image": image}, diversity=diversity, **options)

    expected = search(params, {"image": image}, diversity=0.7, **options)
    got = dragged(jnp.float32(0.7))
    np.testing.assert_array_equal(got.words, expected.words)
    np.testing.assert_allclose(got.log_prob, expected.log_prob, atol=1e-6)
    assert (dragged(jnp.float32(0)).words != got.words).any()


@pytest.mark.parametrize("options", [{"width": 5}, {"width": 6, "groups": 2, "diversity": 0.7}])
def test_rows_do_not_influence_one_another(options, key):
    params = make_params(12)
    image = jax.random.normal(key, (24, D))
    together = search(params, {"image": image}, max_len=7, **options)
    for row in 0, 11, 23:
        alone = search(params, {"image": image[row : row + 1]}, max_len=7, **options)
        np.testing.assert_array_equal(alone.words[0], together.words[row])
        np.testing.assert_allclose(alone.log_prob[0], together.log_prob[row], atol=1e-5)


def test_captions_of_a_generator_are_distinct_sorted_and_worth_their_log_probs(key):
    nic = generator(20, ("features", D), dim=8)
    params = jax.tree.map(lambda x: 3 * x, jax.jit(nic.init)(key))
    image = jax.random.normal(key, (16, D))
    find = jax.jit(partial(beam_search, nic, width=5, max_len=6))
    words, log_prob = find(params, {"image": image})
    assert words.dtype == jnp.int32
    rows = {"image": jnp.repeat(image, 5, 0)}
    expected = jax.jit(partial(log_probs, nic))(params, rows, words.reshape(-1, 6)).sum(-1)
    np.testing.assert_allclose(log_prob.reshape(-1), expected, atol=2e-5)
    assert (jnp.diff(log_prob) <= 0).all()
    assert all(len(np.unique(captions, axis=0)) == 5 for captions in np.asarray(words))


def test_no_hypothesis_has_a_copy_of_the_memory(key):
    """Every array as wide as the memory has one row an example, or is a parameter."""
    params = make_params(12)
    image = jnp.zeros((3, D))
    jaxpr = str(jax.make_jaxpr(partial(beam_search, speaker, width=5))(params, {"image": image}))
    shapes = set(re.findall(rf"f32\[([\d,]*\b{SEEN}\b[\d,]*)\]", jaxpr))
    assert shapes == {f"{D},{SEEN}", f"{SEEN},{DIM}", f"3,{SEEN}"}


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"width": 0}, "width"),
        ({"max_len": 0}, "max_len"),
        ({"width": 5, "groups": 2}, "groups"),
        ({"groups": 0}, "groups"),
        ({"groups": 5, "diversity": -1.0}, "diversity"),
    ],
)
def test_an_option_out_of_range_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        beam_search(speaker, make_params(4), {"image": jnp.zeros((1, D))}, **options)
