"""A report begins with what the captioner said that the run began with, where that is known."""

import json
from pathlib import Path

import pytest

from capjax.evaluation import Evaluation
from capjax.run import Recipe
from capjax.training.before import said_before

SCORES = {"decoding": {"method": "beam"}, "n_images": 2, "unavailable": {}, "cider_d": 0.5}
SCORES |= {"digests": {"references": "same"}}
ROWS = [{"id": "a", "caption": "one"}, {"id": "b", "caption": "two"}]
FOUND = Evaluation(SCORES | {"cider_d": 0.75}, ROWS[::-1])


def started_from(folder: Path | str) -> Recipe:
    data = {"name": "scenes", "encoder": "pixels64", "max_len": 5}
    speaker = {"cell": "nic", "dim": 8, "noise": 0, "dropout": 0.0, "decoding": {}}
    return Recipe.of({"data": data, "init_from": str(folder), **speaker})


@pytest.fixture
def start(tmp_path) -> Path:
    folder = tmp_path / "mle-scenes"
    folder.mkdir()
    (folder / "scores.json").write_text(json.dumps(SCORES))
    (folder / "captions.json").write_text(json.dumps(ROWS))
    return folder


def test_what_was_said_before_has_the_name_of_its_run(start):
    assert said_before(started_from(start), FOUND, ["mle"]) == {
        "mle-scenes": Evaluation(SCORES, ROWS)
    }


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("scores.json", SCORES | {"digests": {"references": "others"}}),
        ("scores.json", {"cider_d": 0.5}),  # of an older version
        ("scores.json", None),
        ("captions.json", ROWS[:1]),
        ("captions.json", [1, 2]),
        ("captions.json", None),
    ],
)
def test_what_is_of_something_else_or_has_gone_is_not_told(file, content, start):
    (start / file).unlink()
    if content is not None:
        (start / file).write_text(json.dumps(content))
    assert said_before(started_from(start), FOUND, ["mle"]) == {}


def test_nothing_was_said_before_a_run_that_begins_with_nothing(start):
    assert said_before(started_from(""), FOUND, []) == {}
    assert said_before(started_from(start), FOUND, ["mle-scenes"]) == {}  # which is a stage's name
