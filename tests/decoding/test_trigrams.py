"""No decoder says a trigram twice where it is told not to, and nothing else changes."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from enumerated import every_caption

from capjax.decoding.beam import beam_search
from capjax.decoding.best_of import best_of
from capjax.decoding.guided import guided_search
from capjax.decoding.incremental import incremental
from capjax.decoding.justify import justify
from capjax.decoding.reasoning import introspective_speaker, reasoning_speaker
from capjax.decoding.sample import greedy, sample
from capjax.decoding.suppressor import emitter_suppressor, together
from capjax.decoding.trigrams import block_trigrams
from capjax.judging import Evaluator
from capjax.speaker import Speaker, log_probs, spoken

V, D, T, N, M = 5, 4, 14, 24, 2
slow = pytest.mark.slow


def start(params, context):
    seen = context["image"] @ params["see"]
    if "concept" in context:
        seen += params["told"][context["concept"]]
    return {"seen": seen}, jnp.zeros_like(seen)


def step(params, memory, carry, words):
    carry = 0.3 * carry + params["read"][words]
    return carry, carry + 0.5 * memory["seen"]


# It hardly remembers, seldom ends and so repeats itself.
speaker = Speaker(lambda key: {}, start, step, lambda params, hidden: hidden @ params["say"])


def make_params(vocabulary, seed=0):
    keys = jax.random.split(jax.random.key(seed), 4)
    say = 2 * jax.random.normal(keys[2], (D, vocabulary))
    return {
        "see": jax.random.normal(keys[0], (D, D)),
        "read": jax.random.normal(keys[1], (vocabulary, D)),
        "say": say.at[:, 0].multiply(0.5),
        "told": jax.random.normal(keys[3], (3, D)),
    }


params = make_params(V)
critic = Evaluator(
    init=lambda key: {},
    image=lambda params, context: context["image"],
    start=lambda params, n: jnp.zeros((n, D)),
    read=lambda params, carry, words: 0.7 * carry + params["read"][words],
    score=lambda params, image, carry: (image * carry).sum(-1),
)


def trigrams(caption):
    words = [*caption, 0][: [*caption, 0].index(0)]
    return list(zip(words, words[1:], words[2:], strict=False))


def repeats(captions):
    """Whether captions int[..., T] say a trigram twice: bool[...]."""
    flat = np.asarray(captions).reshape(-1, captions.shape[-1]).tolist()
    found = [len(set(trigrams(c))) < len(trigrams(c)) for c in flat]
    return np.reshape(found, captions.shape[:-1])


TARGET = {"image": jax.random.normal(jax.random.key(1), (N, D))}
OTHERS = {"image": jax.random.normal(jax.random.key(2), (N, M, D))}
KEY = jax.random.key(3)


def telling(find, **options):
    return lambda **more: find(speaker, params, TARGET, OTHERS, max_len=T, **options, **more)


def ranked(find, *listener, key=None):
    call = partial(find, speaker, params, *listener, TARGET, OTHERS, key)
    return lambda **more: call(candidates=4, max_len=T, **more)


def justified(blind):
    classes = jnp.arange(N) % 3, (jnp.arange(N) + 1) % 3
    unseeing = speaker._replace(
        start=lambda p, c: start(p, c | {"image": c["image"] @ p["see"][:1]})
    )
    other = (unseeing, params) if blind else None
    find = partial(justify, speaker, params, TARGET, *classes, blind=other)
    return lambda **more: find(width=3, max_len=T, **more)


plainly = partial(greedy, speaker, params, TARGET, max_len=T)
drawn = partial(sample, speaker, params, TARGET, KEY, max_len=T)
beamed = partial(beam_search, speaker, params, TARGET, max_len=T)
length = lambda context, captions: spoken(captions).sum(-1).astype(jnp.float32)  # noqa: E731
SPEAKING = {
    "greedy": plainly,
    "sample": drawn,
    "truncated": partial(drawn, temperature=0.7, top_k=3, top_p=0.9),
    "best_of": lambda **more: best_of(speaker, params, TARGET, KEY, length, 3, max_len=T, **more),
    "beam": partial(beamed, width=4),
    "groups": partial(beamed, width=4, groups=2, diversity=0.5),
    "guided": lambda **more: guided_search(
        speaker, params, critic, params, TARGET, KEY, width=2, branch=2, max_len=T, **more
    ),
    "suppressed": telling(emitter_suppressor, rationality=0.5, width=3),
    "not suppressed": telling(emitter_suppressor, rationality=1.0, width=3),
    "incremental": lambda **more: greedy(
        incremental(speaker, M), params, together(TARGET, OTHERS), max_len=T, **more
    ),
    "reasoning": ranked(reasoning_speaker, critic, params),
    "reasoning, drawn": ranked(reasoning_speaker, critic, params, key=KEY),
    "introspective": ranked(introspective_speaker),
    "justify": justified(blind=False),
    "semi-blind": justified(blind=True),
}
QUICK = ("greedy", "truncated", "groups", "suppressed", "semi-blind")
OWN = ("greedy", "sample", "truncated", "best_of", "beam", "groups")  # worth their log-probability
read = jax.jit(log_probs, static_argnums=0)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=slow) for name in SPEAKING]
)
def test_no_decoder_says_a_trigram_twice(name):
    speak = SPEAKING[name]
    assert repeats(jax.jit(speak)().words).any()  # or there is nothing to be seen
    said = jax.jit(partial(speak, block_trigrams=True))()
    found = np.asarray(said.words)
    real = np.isfinite(said[1]) if found.ndim == 3 else np.ones(N, bool)
    assert not repeats(found)[real].any()
    assert real.mean() > 0.9
    ended = (found == 0).cumsum(-1) > 0
    assert (found[ended] == 0).all()
    assert np.asarray(spoken(said.words)).sum(-1)[real].mean() > 4
    if name in OWN:
        each = found.shape[1] if found.ndim == 3 else 1
        rows = jax.tree.map(lambda x: jnp.repeat(x, each, 0), TARGET)
        own = read(speaker, params, rows, said.words.reshape(-1, T)).sum(-1)
        np.testing.assert_allclose(own, said.log_prob.reshape(-1), atol=1e-4)


def test_greedy_changes_nothing_where_nothing_would_be_repeated():
    """And goes on as it would up to where something would."""
    free, held = (jax.jit(partial(plainly, block_trigrams=x))() for x in (False, True))
    again = repeats(free.words)
    assert 0 < again.sum() < N
    np.testing.assert_array_equal(held.words[~again], free.words[~again])
    np.testing.assert_allclose(held.log_prob[~again], free.log_prob[~again], rtol=1e-5)
    for mine, theirs in zip(held.words[again].tolist(), free.words[again].tolist(), strict=True):
        first = next(t for t in range(T) if repeats(np.array(theirs[: t + 1])))
        assert mine[:first] == theirs[:first]
        assert mine[first] != theirs[first]


def test_draws_with_the_same_key_are_the_same_where_no_word_is_ruled_out(form):
    """Which is where no pair of words comes twice before the last word."""
    free, held = (jax.jit(partial(drawn, block_trigrams=x))() for x in (False, True))
    never = 0
    for mine, theirs in zip(held.words.tolist(), free.words.tolist(), strict=True):
        words = [*theirs, 0][: [*theirs, 0].index(0)][: T - 1]
        pairs = list(pairwise(words))
        if len(set(pairs)) == len(pairs):
            never += 1
            assert mine == theirs
    assert 0 < never < N


def exact_law(small, image, steps, power=1.0):
    """{caption: its probability} by the words that are left at each step, to a power."""
    p = jax.tree.map(lambda x: np.asarray(x, np.float64), small)
    found = {}

    def extend(words, carry, probability):
        if len(words) == steps or 0 in words:
            found[words + (0,) * (steps - len(words))] = probability
            return
        carry = 0.3 * carry + p["read"][words[-1] if words else 0]
        z = power * ((carry + 0.5 * image @ p["see"]) @ p["say"])
        for word in range(1, len(z)):
            if repeats(np.array([*words, word])):
                z[word] = -np.inf
        for word, share in enumerate(np.exp(z) / np.exp(z).sum()):
            if share:
                extend((*words, word), carry, probability * share)

    extend((), np.zeros(D), 1.0)
    return found


@pytest.mark.parametrize("form", [pytest.param("cpu", marks=slow), "accelerator"], indirect=True)
@pytest.mark.parametrize("temperature", [1.0, pytest.param(0.6, marks=slow)])
def test_draws_are_as_frequent_as_the_words_that_are_left_are_probable(temperature, form):
    """A word at a time, by enumeration of all captions of 2 words and an end."""
    small, image, draws, steps = make_params(3), TARGET["image"][:1], 8_000, 6
    exact = exact_law(small, np.asarray(image[0], np.float64), steps, 1 / temperature)
    assert sum(exact.values()) == pytest.approx(1)
    rows = {"image": jnp.repeat(image, draws, 0)}
    options = {"max_len": steps, "temperature": temperature, "block_trigrams": True}
    words = jax.jit(partial(sample, speaker, **options))(small, rows, KEY).words
    found, counts = np.unique(words, axis=0, return_counts=True)
    seen = dict(zip(map(tuple, found.tolist()), counts.tolist(), strict=True))
    assert seen.keys() <= exact.keys()
    # Each share within 5 of its standard deviations: of so few a right one is not beyond.
    for caption, share in exact.items():
        deviation = np.sqrt(draws * share * (1 - share))
        assert abs(seen.get(caption, 0) - draws * share) <= 5 * deviation + 3


@pytest.mark.parametrize("groups", [1, pytest.param(2, marks=slow)])
def test_a_beam_as_wide_as_all_captions_finds_those_that_repeat_nothing(groups):
    """In order, each worth what it is to the speaker; the rest of the beam holds none."""
    captions = every_caption(3, 6)
    small, image = make_params(3), {"image": TARGET["image"][:2]}
    allowed = captions[~repeats(captions)]
    assert 0 < len(allowed) < len(captions) - 5
    find = partial(beam_search, speaker, width=groups * len(captions), groups=groups, max_len=6)
    found = jax.jit(partial(find, block_trigrams=True))(small, image)
    for row in range(2):
        rows = {"image": jnp.repeat(image["image"][row : row + 1], len(allowed), 0)}
        scores = np.asarray(read(speaker, small, rows, allowed).sum(1))
        order = np.argsort(-scores)
        n = groups * len(allowed)
        np.testing.assert_allclose(
            found.log_prob[row, :n], np.repeat(scores[order], groups), atol=2e-5
        )
        assert {tuple(c) for c in found.words[row, :n].tolist()} == set(
            map(tuple, allowed.tolist())
        )
        assert (found.log_prob[row, n:] == -jnp.inf).all()


def test_where_all_else_would_repeat_the_caption_ends():
    """A speaker of one word says it three times, and of two words as many as there are trigrams."""
    one = make_params(2)
    one["say"] = one["say"].at[:, 1].set(0.0).at[:, 0].set(-jnp.abs(one["say"][:, 0]))
    likely = speaker._replace(
        logits=lambda p, h: jnp.full((*h.shape[:-1], 2), 5.0).at[..., 0].set(0)
    )
    said = greedy(likely, one, TARGET, max_len=8, block_trigrams=True)
    np.testing.assert_array_equal(said.words, np.tile([1, 1, 1, 0, 0, 0, 0, 0], (N, 1)))
    own = 3 * jax.nn.log_sigmoid(5.0) + jax.nn.log_sigmoid(-5.0)
    np.testing.assert_allclose(said.log_prob, own, rtol=1e-5)


def test_words_are_ruled_out_by_what_followed_their_pair(key):
    """Against a loop, of captions of every length up to T."""
    said = np.asarray(jax.random.randint(key, (T, 50), 1, 4))
    block = jax.jit(block_trigrams)
    for t in range(T + 1):
        got = np.asarray(block(jnp.zeros((50, 4)), said, t)) == -np.inf
        for row, words in zip(got, said[:t].T.tolist(), strict=True):
            after = {c for *pair, c in trigrams(words) if t > 1 and pair == words[-2:]}
            assert set(np.flatnonzero(row).tolist()) == after
