"""Is E what the equation says, whoever captioned and however the work is cut into batches?"""

import json
from contextlib import closing
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import capjax
from capjax import evaluate as command
from capjax.data.prepare import prepare
from capjax.data.split import Split
from capjax.data.vocabulary import Vocabulary
from capjax.evaluation.judge_runs import fingerprint, judge_of
from capjax.evaluation.of_speaker import Captioner, evaluate
from capjax.evaluation.terminal import show
from capjax.evaluation.verdicts import Judge, evaluator_scores, verdicts
from capjax.files.whole import write_json
from capjax.judging import Evaluator, judge
from capjax.models.encoders import pixels
from capjax.run import Recipe, open_run
from capjax.run.checkpoint import Checkpoints
from capjax.run.trained import evaluator_of, speaker_of

WORDS = Vocabulary(("", "<unk>", "red", "blue", "wall", "a"))
OTHER = Vocabulary(("", "<unk>", "a", "wall", "blue", "red"))  # the same words, other ids


def counting() -> Evaluator:
    """A judge by hand: <image [N, V], how often each word was read>. No `recite`, no parameters."""

    def read(params, carry, words):
        return carry + jax.nn.one_hot(words, len(WORDS))

    return Evaluator(
        init=lambda key: (),
        image=lambda params, context: context["image"],
        start=lambda params, n: jnp.zeros((n, len(WORDS))),
        read=read,
        score=lambda params, image, carry: (image * carry).sum(-1),
    )


def sigmoid(x):
    return 1 / (1 + np.exp(-np.asarray(x)))


IMAGES = np.array([[0.5, 0, 2, -3, 0, 0], [0, -1, -1, 1, 0.25, 0], [0, 0, 0, 0, 0, 1]], np.float32)


def test_r_is_the_logistic_of_the_product_of_image_and_words():
    texts = [["a red wall", "Blue wall."], ["blue blue", "a green wall"], ["", "a a a a a a"]]
    found = verdicts(counting(), (), WORDS, IMAGES, texts, max_len=4)
    # Words and the end are read; a green one is unknown; the last is cut at four words.
    wanted = [[2 + 0.5, -3 + 0.5], [2, -1 + 0.25], [0, 4]]
    np.testing.assert_allclose(found, sigmoid(wanted), rtol=1e-6)
    assert found.dtype == np.float32


def test_images_may_have_different_numbers_of_captions():
    found = verdicts(counting(), (), WORDS, IMAGES, [["red"], ["red", "blue"], ["a"]])
    np.testing.assert_allclose(np.isnan(found), [[False, True], [False, False], [False, True]])
    np.testing.assert_allclose(found[1], sigmoid([-1, 1]), rtol=1e-6)
    for captions in ([["red"]], [[], [], []]):
        with pytest.raises(ValueError, match=r"captions? "):
            verdicts(counting(), (), WORDS, IMAGES, captions)


@pytest.fixture(scope="module")
def trained_like() -> tuple[Evaluator, dict, np.ndarray, list[list[str]]]:
    made = capjax.evaluator(len(WORDS), ("features", 5), dim=8)
    rng = np.random.default_rng(0)
    texts = [
        [" ".join(rng.choice(WORDS.words[2:], rng.integers(0, 6))) for _ in range(3)]
        for _ in range(7)
    ]
    return (
        made,
        jax.jit(made.init)(jax.random.key(0)),
        rng.normal(size=(7, 5)).astype(np.float32),
        texts,
    )


def test_batches_change_nothing_and_one_program_serves_them(trained_like):
    made, params, images, texts = trained_like
    ids = WORDS.encode_all([text for row in texts for text in row], 5)
    context = {"image": jnp.asarray(images.repeat(3, 0))}
    wanted = sigmoid(judge(made, params, context, jnp.asarray(ids))).reshape(7, 3)
    for batch in (6, 400):
        calls = []
        counted = made._replace(
            image=lambda *a, calls=calls: (calls.append(0), made.image(*a))[1]  # once a program
        )
        found = verdicts(counted, params, WORDS, images, texts, max_len=5, batch=batch)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        assert len(calls) == 1


def test_scores_of_all_pairs_are_the_scores_of_each(trained_like, monkeypatch):
    made, params, images, texts = trained_like
    monkeypatch.setattr("capjax.evaluation.verdicts.BATCH", 3)
    monkeypatch.setattr("capjax.evaluation.verdicts.TOGETHER", 2)
    captions = WORDS.encode_all([row[0] for row in texts[:4]], 5)
    found = evaluator_scores(made, params, images, captions)
    assert found.shape == (4, 7)
    q, j = np.indices(found.shape).reshape(2, -1)
    wanted = judge(made, params, {"image": jnp.asarray(images[j])}, jnp.asarray(captions[q]))
    np.testing.assert_allclose(found[q, j], wanted, rtol=1e-4, atol=1e-5)
    by_hand = evaluator_scores(counting(), (), IMAGES, WORDS.encode_all(["red", "blue wall"], 3))
    np.testing.assert_allclose(by_hand, [[2.5, -1, 0], [-2.5, 1.25, 0]])


def test_evaluate_reads_captions_in_the_judges_own_words_and_images():
    speaker = capjax.generator(len(OTHER), ("features", 3), dim=4, dropout=0.0)
    params = jax.jit(speaker.init)(jax.random.key(0))
    split = Split(
        ("x", "y", "z"),
        (("a red wall", "red"), ("blue",), ("a wall", "a", "a a a")),
        lambda i: np.zeros((2, 2, 3), np.uint8),
    )
    images = np.eye(3, dtype=np.float32)
    named = {"e_ngan": Judge(counting(), (), WORDS, 5, IMAGES)}
    decoding = {"method": "sample", "samples": 2, "max_len": 4}
    captioner = Captioner(speaker, params, OTHER)
    found = evaluate(captioner, split, images, decoding, judges=named, retrieval=3)
    said = [row["captions"] for row in found.rows]
    wanted = verdicts(counting(), (), WORDS, IMAGES, said, 5)
    np.testing.assert_allclose([row["e_ngan"] for row in found.rows], wanted)
    assert found.scores["e_ngan"] == pytest.approx(wanted.mean())
    people = [sigmoid([2.5, 2.5]), sigmoid([1]), sigmoid([1, 1, 3])]
    assert found.scores["e_ngan_people"] == pytest.approx(np.concatenate(people).mean())
    first = WORDS.encode_all([texts[0] for texts in said], 5)
    scores = evaluator_scores(counting(), (), IMAGES, first)
    ranks = np.asarray(capjax.metrics.retrieval_ranks(jnp.asarray(scores)))
    assert [row["e_ngan_retrieval_rank@3"] for row in found.rows] == ranks.tolist()
    assert found.scores["e_ngan_retrieval_r1@3"] == pytest.approx((ranks <= 1).mean())
    told = show(found.scores, "val")
    quality = told[told.index("quality") : told.index("diversity")].split()
    assert "e_ngan" in quality
    assert "e_ngan_people" in quality


@pytest.fixture(scope="module")
def run_of(recipe, tmp_path_factory):
    """(name, stages, pixels) -> the folder of a run that learnt nothing."""

    def anything(init) -> dict:  # parameters, without the time to compile how they are made
        rng = np.random.default_rng(0)
        like = jax.eval_shape(init, jax.random.key(0))
        return jax.tree.map(lambda x: rng.normal(0, 0.3, x.shape).astype(x.dtype), like)

    def made(name: str, stages: list[str], pixels: int = 64) -> Path:
        workdir = tmp_path_factory.mktemp(name) / name
        workdir.mkdir()
        config = recipe(**{"data.encoder": f"pixels{pixels}"}) | {"stages": stages}
        config |= {"evaluator_dim": 8, "evaluator_dropout": 0.0}
        image, words = ("pixels", pixels, pixels), Vocabulary.build(["this wall is a red wall"], 1)
        run = Recipe.of(config)
        keep = {"params": anything(speaker_of(run, len(words), image).init)}
        if judged := evaluator_of(run, len(words), image):
            keep["evaluator"] = anything(judged.init)
        write_json(workdir / "config.json", config)
        words.save(workdir / "vocabulary.json")
        with closing(Checkpoints(workdir / "checkpoints" / "best")) as best:
            best.save(3, keep, {"image": list(image), "evaluator": "evaluator" in keep})
        return workdir

    return made


def test_the_command_judges_by_its_own_evaluator_and_by_another_runs(
    run_of, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(
        "capjax.evaluation.judge_runs.encoder_named", lambda name: pixels(int(name[6:]))
    )
    plain = run_of("plain", ["mle"])
    gan = run_of("gan", ["evaluator", "adversarial"])
    other = run_of("other", ["evaluator"], pixels=16)  # sees smaller images

    def scores_of(*flags: object) -> dict:
        assert command.main([*map(str, flags), f"--out={tmp_path}", "--quick"]) == 0
        return json.loads((tmp_path / "scores.json").read_text())

    both = scores_of(f"--workdir={gan}", f"--evaluator={other}")
    assert 0 < both["e_gan"] < 1
    told = both["judges"]["e_ngan"]
    assert (told["run"], told["step"]) == (str(other), 3)
    assert told["parameters"] == fingerprint(open_run(other).evaluator_params)
    assert told["parameters"] != fingerprint(open_run(gan).evaluator_params)
    rows = json.loads((tmp_path / "captions.json").read_text())
    judge = judge_of(open_run(other))
    prepared = prepare("folder", open_run(other).recipe.data.path, None, pixels(16))
    said = [[row["caption"]] for row in rows]
    r = verdicts(*judge[:3], prepared.images["val"], said, judge.max_len)
    np.testing.assert_allclose([row["e_ngan"] for row in rows], r[:, 0])
    capsys.readouterr()
    for flags, words in (
        ([f"--workdir={gan}", f"--evaluator={plain}"], (str(plain), "configs/evaluator.py")),
        ([f"--workdir={gan}", f"--evaluator={tmp_path / 'no'}"], (str(tmp_path / "no"),)),
        (["--predictions=a", "--references=b", f"--evaluator={gan}"], ("--evaluator",)),
    ):
        assert command.main(flags) == 2
        [line] = capsys.readouterr().err.splitlines()
        for word in words:
            assert word in line
