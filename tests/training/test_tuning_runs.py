"""Runs that tune a captioner: a listener, self-critical training by it, contrastive learning."""

import json
import runpy
import shutil
import signal
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import processes
import pytest
from processes import same_end
from small_runs import paint_photos, train_here

from capjax import compare, evaluate
from capjax.data.vocabulary import Vocabulary, tokenize
from capjax.errors import InputError
from capjax.metrics import cider_d, ngram_table
from capjax.metrics.ids import encode
from capjax.run import open_run
from capjax.training.stages.self_critical import packed_references

SMALL = {
    "data.encoder": "pixels64",
    "data.min_count": 1,
    "data.max_len": 5,
    "dim": 16,
    "decoding.max_len": 5,
    "log_every": 1,
    "save_every": 3,
    "validate_every": 100,
    "report_images": 2,
}
RETRIEVAL = {
    "evaluator_dim": 16,
    "listener.epochs": 2.0,
    "listener.batch": 8,
    "listener.distractors": 2,
    "listener.mined": 4,
    "listener.decoding.max_len": 5,
    "self_critical.epochs": 3.0,
    "self_critical.batch": 8,
    "self_critical.distractors": 2,
    "self_critical.mined": 4,
}
CONTRASTIVE = {
    "contrastive.epochs": 2.0,
    "contrastive.batch": 8,
    "contrastive.negatives": 2,
    "contrastive.mined": 4,
    "contrastive.rounds": 2,
}


def recipe(name: str, photos: Path, **changes: Any) -> dict:
    path = Path(__file__).parents[2] / "configs" / f"{name}.py"
    preset = "folder/retrieval" if name == "self_critical" else "folder"
    config = runpy.run_path(str(path))["get_config"](preset)
    sizes = RETRIEVAL if name == "self_critical" else CONTRASTIVE
    config.update_from_flattened_dict(SMALL | sizes | {"data.path": str(photos)} | changes)
    return config.to_dict() | {"stages": list(config.stages)}


@pytest.fixture(scope="module")
def start(photos, recipe_of_mle, caches, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("start") / "run"
    train_here(recipe_of_mle, workdir)
    return workdir


@pytest.fixture(scope="module")
def recipe_of_mle(photos) -> dict:
    path = Path(__file__).parents[2] / "configs" / "mle.py"
    config = runpy.run_path(str(path))["get_config"]("folder")
    more = {"data.path": str(photos), "cell": "att2in", "mle.epochs": 3.0, "mle.batch": 8}
    config.update_from_flattened_dict(SMALL | more)
    return config.to_dict() | {"stages": ["mle"]}


@pytest.fixture(scope="module")
def tuned(start, photos, tmp_path_factory) -> Path:
    """Listener, then self-critical by it, from an attention captioner; images on the device."""
    workdir = tmp_path_factory.mktemp("tuned") / "run"
    train_here(recipe("self_critical", photos, cell="att2in", init_from=str(start)), workdir)
    return workdir


def test_a_run_that_goes_on_in_its_last_stage_ends_with_the_same_bits(
    tuned, start, photos, tmp_path
):
    workdir = tmp_path / "run"
    shutil.copytree(tuned, workdir)
    last = workdir / "checkpoints" / "last"
    before, newest = sorted(int(folder.name) for folder in last.iterdir())
    shutil.rmtree(last / str(newest))
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert any(row["step"] <= before and row["stage"] == "self_critical" for row in rows)
    train_here(recipe("self_critical", photos, cell="att2in", init_from=str(start)), workdir)
    same_end(workdir, tuned)


@pytest.mark.slow
def test_images_from_the_disk_and_a_cut_change_no_bit(start, photos, tmp_path, monkeypatch):
    """Of runs that are compiled as a user's: otherwise a sum may be rounded in another way."""
    monkeypatch.setenv("XLA_FLAGS", "")
    whole, workdir = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    tune = partial(recipe, "self_critical", photos, cell="att2in", init_from=str(start))
    ended = processes.end(processes.start(tune(), whole))
    assert ended.status == 0, ended.errors
    log, config = workdir / "metrics.jsonl", tune(**{"data.resident": 0})

    def in_its_last_stage() -> bool:
        return log.exists() and '"stage": "self_critical"' in log.read_text()

    ended = processes.cut(processes.start(config, workdir), in_its_last_stage, signal.SIGTERM)
    assert ended.status == 0, ended.errors
    assert "saved at step" in ended.errors
    ended = processes.end(processes.start(config, workdir))
    assert ended.status == 0, ended.errors
    same_end(workdir, whole)


def test_what_a_tuned_run_leaves(tuned, photos, capsys, tmp_path):
    """Its listener, captions after each stage, where words looked; it can be evaluated by them."""
    run = open_run(tuned)
    assert run.evaluator is not None
    page = (tuned / "report.html").read_text()
    for told in ("Where each word looked", "after listener", "CIDEr-D of drawn captions"):
        assert told in page
    rows = [json.loads(line) for line in (tuned / "metrics.jsonl").read_text().splitlines()]
    last = [row for row in rows if row["stage"] == "self_critical" and "reward" in row][-1]
    total = last["cider"] + 0.05 * last["self_retrieval"]  # the recipe's weights
    np.testing.assert_allclose(last["reward"], total, rtol=1e-4, atol=1e-5)
    command = [f"--workdir={tuned}", "--quick", "--retrieval=4", f"--out={tmp_path}"]
    assert evaluate.main([*command, f"--listener={tuned}"]) == 0
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["listener_retrieval_r3@4"] == scores["own_listener_retrieval_r3@4"] >= 0
    assert "listener" not in scores  # the logistic of its scores means nothing
    capsys.readouterr()
    assert evaluate.main([f"--workdir={tuned}", "--quick", f"--listener={tuned}"]) == 2
    assert "--retrieval=1000" in capsys.readouterr().err
    assert evaluate.main([*command, f"--evaluator={tuned}"]) == 2
    assert "trained no evaluator" in capsys.readouterr().err


def told_apart(run: Path, out: Path, speaker: str, *more: str) -> dict:
    """The scores of an evaluation that tells images from two that are near."""
    flags = ["--quick", f"--out={out}", "--distractors=2", f"--speaker={speaker}", *more]
    assert evaluate.main([f"--workdir={run}", *flags]) == 0
    method = "-greedy" if speaker == "incremental" else ""
    guide = f"-by-{run.name}" if speaker == "reasoning" else ""
    name = f"scores-val{method}-nearest2-{speaker}{guide}-l0.5.json"
    scores = json.loads((out / name).read_text())
    assert scores["decoding"]["speaker"] == speaker
    assert scores["decoding"].get("candidates", 10) == 10
    return scores


@pytest.fixture
def no_rationalities(monkeypatch):
    monkeypatch.setattr("capjax.evaluation.told_apart.RATIONALITIES", ())  # pages of one caption


def test_captions_told_from_distractors_are_evaluated(tuned, capsys, tmp_path, no_rationalities):
    run = [f"--workdir={tuned}", "--quick", f"--out={tmp_path}", f"--listener={tuned}"]
    found = {}
    for rationality in ("0.0", "1.0"):
        flags = ["--distractors=2", "--hard", f"--rationality={rationality}"]
        assert evaluate.main([*run, *flags]) == 0
        name = f"scores-val-hard2-l{rationality}.json"
        found[rationality] = json.loads((tmp_path / name).read_text())
        for kind in ("listener_accuracy@3", "listener_people_accuracy@3"):
            assert 0 <= found[rationality][kind] <= 1
    scores = told_apart(tuned, tmp_path, "incremental", "--decoding=greedy")
    assert "own_listener_accuracy@3" in scores
    ids = json.loads((tmp_path / "distractors-val-hard2.json").read_text())
    assert len(ids) == 4
    assert all(len(set(row)) == 2 and name not in row for name, row in ids.items())
    assert compare.main([str(tmp_path), f"--out={tmp_path / 'compared'}"]) == 0
    told = (tmp_path / "compared" / "table.md").read_text()  # a terminal has no room for all
    words = ("rationality=0", "rationality=1", "distractors=hard 2", "speaker=incremental")
    for word in words:
        assert word in told
    plain = json.loads((tuned / "scores.json").read_text())
    assert found["1.0"]["cider_d"] == plain["cider_d"]


@pytest.mark.slow
@pytest.mark.parametrize("speaker", ["introspective", "reasoning"])
def test_each_speaker_that_tells_apart_is_evaluated(speaker, tuned, tmp_path, no_rationalities):
    guide = [f"--guide={tuned}"] if speaker == "reasoning" else []
    scores = told_apart(tuned, tmp_path, speaker, *guide)
    # Its own listener judges, but where it guides.
    assert ("own_listener_accuracy@3" in scores) == (not guide)


def test_what_tells_no_images_apart_is_refused(tuned, capsys, tmp_path):
    run = [f"--workdir={tuned}", "--quick", f"--out={tmp_path}", f"--listener={tuned}"]
    for flags, told in (
        (["--distractors=4"], "--distractors=4 must be from 1 to 3"),
        (["--rationality=0.5"], "--rationality has no meaning without --distractors"),
        (["--distractors=1", "--rationality=2"], "--rationality=2.0 must be from 0 to 1"),
        (["--distractors=1", "--twins"], "an image of this split has 0 near twins"),
        (["--distractors=1", "--hard", "--decoding=beam", "--samples=5"], "has no 5 captions"),
        (["--distractors=1", "--decoding=best_of"], "tells no images apart"),
        (["--distractors=1", "--speaker=introspective", "--width=5"], "give --candidates"),
        (["--distractors=1", "--speaker=introspective", "--top-k=5"], "--top-k has no meaning"),
        (["--distractors=1", "--speaker=introspective", "--decoding=greedy"], "greedy decoding"),
        (["--distractors=1", "--twins", "--hard"], "name different distractors"),
        (["--distractors=1", "--speaker=reasoning"], "name its run with --guide=RUN"),
        (["--distractors=1", f"--guide={tuned}"], "no meaning without --speaker=reasoning"),
        (["--distractors=1", "--speaker=incremental", "--rationality=0"], "give it more than 0"),
        (["--distractors=1", "--speaker=introspective", "--candidates=0"], "at least 1"),
    ):
        capsys.readouterr()
        assert evaluate.main([*run[:-1], *flags]) == 2
        assert told in capsys.readouterr().err
    both = ["--distractors=1", "--speaker=reasoning", f"--guide={tuned}"]
    assert evaluate.main([*run, *both]) == 2
    assert "cannot judge it" in capsys.readouterr().err


def test_contrastive_learning_in_rounds_from_a_tuned_run(tuned, photos, tmp_path):
    changes = {"cell": "att2in", "init_from": str(tuned), "contrastive.average": 0.0}
    train_here(recipe("contrastive", photos, **changes), tmp_path / "run")
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line) for line in rows if "log_ratio" in line]
    # Equal models at the start and, since the reference was replaced, half-way.
    half = len(steps) // 2
    assert [abs(steps[i]["log_ratio"]) < 1e-3 for i in (0, half - 1, half)] == [True, False, True]


@pytest.mark.parametrize(
    ("name", "changes", "told"),
    [
        ("contrastive", {}, "contrastive learning starts from a captioner"),
        ("self_critical", {}, "self-critical training starts from a captioner"),
        ("self_critical", {"stages": ("self_critical",)}, "trained none; name a run that did"),
        ("self_critical", {"judge": "evaluator"}, "needs config.judge='listener'"),
        ("self_critical", {"self_critical.rewards.cider": -1.0}, "must be at least 0"),
        ("self_critical", {"self_critical.samples": 1}, "samples=2 or more"),
        ("contrastive", {"contrastive.reference": "x"}, "take one of the two"),
        (
            "contrastive",
            {"contrastive.pairs": "introspective", "contrastive.rounds": 1}
            | {"contrastive.likelihood": 1.0},
            "pairs that have a reference",
        ),
        ("contrastive", {"data.encoder": "efficientnet_lite0"}, "efficientnet_lite0_grid"),
    ],
)
def test_recipes_that_cannot_work_are_refused_before_any_work(
    name, changes, told, start, photos, tmp_path
):
    begun = {} if "starts from" in told else {"init_from": str(start)}
    stages = {"stages": changes["stages"]} if "stages" in changes else {}
    rest = {key: value for key, value in changes.items() if key != "stages"}
    config = recipe(name, photos, cell="att2in", **begun, **rest) | stages
    with pytest.raises(InputError, match=told):
        train_here(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_an_unknown_word_is_no_match_in_the_reward(tmp_path):
    """References hold the words that the vocabulary lacks under ids that no speaker says."""
    texts = (("a red dog runs", "one dog"), ("a blue dog runs", "a zebra"))
    words = Vocabulary.build(["a dog runs red"] * 5, 1)
    packed = packed_references(texts, words.ids, count_end=False)
    said = np.stack([words.encode(t, 6) for t in ("a zebra dog runs", "a dog runs")])
    got = cider_d(jax.numpy.asarray(said), packed["references"], packed["table"])
    split = [[" ".join(tokenize(t)) for t in every] for every in texts]
    truth, known = encode(split)
    plain, _ = encode([["a <unk> dog runs"], ["a dog runs"]], known)
    expected = cider_d(plain[:, 0], truth, ngram_table(truth))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_photos_of_one_image_have_no_others(caches, tmp_path, start):
    folder = paint_photos(tmp_path / "photos", images=5)
    with pytest.raises(InputError, match="has one image"):
        train_here(
            recipe("contrastive", folder, cell="att2in", init_from=str(start)), tmp_path / "run"
        )
