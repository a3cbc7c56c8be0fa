"""The lift of a word is what the suppressor weighs, and the page shows each word with its own."""

import html
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.decoding.beam import beam_search
from capjax.decoding.suppressor import emitter_suppressor, introspective_score
from capjax.evaluation.distractors import Distractors
from capjax.evaluation.lifted_words import (
    false_places,
    lifts,
    pairs_section,
    shaded_words,
    write_pairs,
)
from capjax.models.generator import generator
from capjax.report.pairs import nats
from capjax.run import Recipe, Trained
from capjax.speaker import Speaker, log_probs

WORDS = ("dog", "</span><b>", "\u05db\u05dc\u05d1", "runs")
VOCABULARY = Vocabulary(("", "<unk>", *WORDS))
V, D, T, N, M = len(VOCABULARY), 3, 4, 7, 5
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(N, D)).astype(np.float32)
ROWS = (np.arange(N)[:, None] + np.arange(1, 1 + M)) % N  # whoever comes after it
NEAR = Distractors("nearest", ROWS)
CAPTIONS = jnp.array([[2, 3, 0, 0], [5, 5, 4, 1], [0, 0, 0, 0]])
SPLIT = Split(
    tuple(f"{i}.png" for i in range(N)),
    tuple(("people",) for _ in range(N)),
    lambda i: np.full((4, 5, 3), i, np.uint8),
)
DECODING = {"method": "beam", "width": 3, "max_len": T}


@pytest.fixture(
    scope="module",
    params=[pytest.param(0, marks=pytest.mark.slow, id="plain"), pytest.param(2, id="noise")],
)
def run(request) -> Trained:
    speaker = generator(V, ("features", D), dim=8, noise=request.param)
    params = jax.tree.map(lambda x: 3 * x, jax.jit(speaker.init)(jax.random.key(1)))
    given = {"noise": request.param, "decoding": DECODING}
    data = {"name": "scenes", "encoder": "pixels64", "max_len": T}
    recipe = Recipe.of({"data": data, "cell": "nic", "dim": 8, "dropout": 0.0, **given})
    return Trained(recipe, VOCABULARY, speaker, params, 1)


lifted = jax.jit(lifts, static_argnums=0)
read = jax.jit(log_probs, static_argnums=0)


def context(run: Trained, images: np.ndarray) -> dict:
    noise = run.recipe.noise
    zeros = {"noise": jnp.zeros((*images.shape[:-1], noise))} if noise else {}
    return {"image": jnp.asarray(images)} | zeros


def test_a_lift_is_the_difference_of_log_probabilities_after_the_same_words(run):
    target, rest = context(run, IMAGES[:3]), context(run, IMAGES[ROWS[:3]])
    found = lifted(run.speaker, run.params, target, rest, CAPTIONS)
    assert (found > 0).any()
    assert (found < 0).any()

    @jax.jit
    def hear(memory, carry, word):
        carry, hidden = run.speaker.step(run.params, memory, carry, word[None])
        return carry, jax.nn.log_softmax(run.speaker.logits(run.params, hidden)[0])

    begin = jax.jit(run.speaker.start)

    def word_by_word(seen, caption):
        memory, carry = begin(run.params, seen)
        before, told = 0, []
        for word in caption.tolist():
            carry, log_p = hear(memory, carry, jnp.int32(before))
            told.append(float(log_p[word]))
            before = word
            if word == 0:
                break
        return np.pad(told, (0, T - len(told)))

    for i, caption in enumerate(CAPTIONS):
        own = word_by_word(context(run, IMAGES[[i]]), caption)
        others = [word_by_word(context(run, IMAGES[[j]]), caption) for j in ROWS[i]]
        np.testing.assert_allclose(found[i], own - np.mean(others, 0), atol=2e-5)


def test_nothing_is_lifted_from_the_targets_own_doubles(run):
    rows = np.repeat(np.arange(3)[:, None], M, 1)
    target, rest = context(run, IMAGES[:3]), context(run, IMAGES[rows])
    found = lifted(run.speaker, run.params, target, rest, CAPTIONS)
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_lifts_add_up_to_what_the_suppressor_scores(run):
    target, rest = context(run, IMAGES), context(run, IMAGES[ROWS])
    search = jax.jit(partial(emitter_suppressor, run.speaker, rationality=0.3, max_len=T))
    said = search(run.params, target, rest)
    words = said.words[:, 0]
    total = lifted(run.speaker, run.params, target, rest, words).sum(1)
    own = read(run.speaker, run.params, target, words).sum(1)
    np.testing.assert_allclose(0.3 * own + 0.7 * total, said.log_prob[:, 0], rtol=1e-4, atol=1e-5)
    score = jax.jit(partial(introspective_score, run.speaker, rationality=0))
    worth = score(run.params, target, rest, words)
    np.testing.assert_allclose(total, worth, rtol=1e-4, atol=1e-5)


def test_a_word_that_a_distractor_never_says_is_lifted_by_what_the_distractor_lacks():
    # Every word is drawn alike, by the image's own probabilities.
    speaker = Speaker(
        init=lambda key: None,
        start=lambda params, seen: (seen["image"], seen["image"]),
        step=lambda params, memory, carry, words: (carry, memory),
        logits=lambda params, hidden: hidden,
    )
    target = {"image": jnp.zeros((1, V))}
    never = jnp.zeros((1, 2, V)).at[:, 0, 2].set(-20.0)  # the first of two never says dog
    found = lifts(speaker, None, target, {"image": never}, jnp.array([[2, 5, 0]]))
    held = -0.5 * np.log(V / (V - 1))  # the rest of its words are a little more likely for it
    np.testing.assert_allclose(found, [[10 + held, held, held]], atol=1e-5)


def test_words_line_up_with_their_ids_up_to_the_first_end():
    values = np.arange(4.0)
    one = shaded_words(VOCABULARY, np.array([2, 1, 0, 5]), values)
    assert one.words == ["dog", "<unk>", "(end)"]
    assert one.lifts == [0, 1, 2]
    assert one.ends
    cut = shaded_words(VOCABULARY, np.array([2, 3, 4, 5]), values)
    assert " ".join(cut.words) == VOCABULARY.decode([2, 3, 4, 5])
    assert len(cut.lifts) == 4
    assert not cut.ends
    assert shaded_words(VOCABULARY, np.zeros(4, int), values).words == ["(end)"]


def told(page: str) -> list[list[list[tuple[str, str]]]]:
    """Of every pair and caption of a page its words, each with what is told of it."""
    word = re.compile(r'<span class="word \w+" style="[^"]*" title="([^"]*)">([^<]*)<')
    return [
        [
            [(html.unescape(text), number) for number, text in word.findall(caption)]
            for caption in article.split("<dd")[1:]
        ]
        for article in page.split("<article")[1:]
    ]


def test_the_page_has_every_word_of_every_rationality_once_with_its_lift(run, tmp_path):
    chosen = np.array([0, 3, 6])  # evenly
    target, rest = context(run, IMAGES[chosen]), context(run, IMAGES[ROWS[chosen]])
    path = tmp_path / "pairs.html"
    more = {"rationalities": (1.0, 0.4), "number": 3}
    assert write_pairs(path, "<i>title</i>", run, SPLIT, IMAGES, NEAR, **more) == path
    page = path.read_text("utf-8")
    options = {"width": 3, "max_len": T}
    plain = jax.jit(partial(beam_search, run.speaker, **options))(run.params, target)
    search = jax.jit(partial(emitter_suppressor, run.speaker, rationality=0.4, **options))
    wanted: list[list] = [[], [], []]
    for found in (plain, search(run.params, target, rest)):
        words = found.words[:, 0]
        values = np.asarray(lifted(run.speaker, run.params, target, rest, words))
        for captions, ids, each in zip(wanted, np.asarray(words), values, strict=True):
            one = shaded_words(VOCABULARY, ids, each)
            captions.append(list(zip(one.words, map(nats, one.lifts), strict=True)))
    assert told(page) == wanted
    assert re.findall("<dt>([^<]*)", page) == ["\u03bb = 1", "\u03bb = 0.4"] * 3
    names = [re.findall(r"<bdi>(\d)\.png", article) for article in page.split("<article")[1:]]
    assert names == [[str(i), *(str(j) for j in ROWS[i][:4])] for i in chosen]
    assert page.count(f"and {M - 4} more") == 3
    assert "<b>" not in page
    assert "<i>" not in page


def test_there_is_no_page_where_nothing_can_be_told_apart(run, tmp_path):
    drawn = DECODING | {"method": "sample"}
    assert pairs_section(run, SPLIT, IMAGES, NEAR, decoding=drawn) is None
    path, none = tmp_path / "pairs.html", Distractors("nearest", ROWS[:0])
    assert write_pairs(path, "none", run, SPLIT, IMAGES[:0], none) is None
    assert not path.exists()


def test_false_words_of_a_paragraph_stand_where_they_are_among_words_and_stops():
    circle = {"shape": "circle", "colour": "red", "size": "small", "texture": "plain"}
    scene = {"background": "grey", "objects": [circle | {"x": 30, "y": 30}]}
    split = SPLIT._replace(truth=({"scene": scene, "distractors": []},) * N)
    said = "a red circle . . two circles . circle red . a blue circle on grey"
    words = said.split()
    assert false_places(split, 0, words, paragraph=True) == (5, 8, 9, 12)
    assert false_places(split, 0, [".", "two", "circles", ".", "."], paragraph=True) == (1,)
    assert false_places(split, 0, ["circle", "red", ".", "."], paragraph=True) == (0, 1)
    assert false_places(split, 0, words[-5:], paragraph=False) == (1,)
    assert false_places(SPLIT, 0, words, paragraph=True) == ()
