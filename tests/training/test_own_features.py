"""Features of a user's: a run knows them by what they hold, wherever their folder lies."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from small_runs import train_here

from capjax import evaluate
from capjax.errors import InputError


def made(folder: Path, seed: int, width: int = 6) -> Path:
    """A vector for each of the twenty photos."""
    folder.mkdir()
    rows = np.random.default_rng(seed).normal(size=(20, width)).astype(np.float32)
    for i, row in enumerate(rows):
        np.save(folder / f"{i}.npy", row)
    return folder


@pytest.fixture(scope="module")
def seen(recipe, tmp_path_factory) -> Path:
    """A folder with `features` and a `run` that sees them."""
    folder = tmp_path_factory.mktemp("own")
    features = made(folder / "features", 0)
    train_here(recipe(**{"data.encoder": f"files:{features}", "mle.epochs": 1.0}), folder / "run")
    return folder


@pytest.fixture
def moved(seen, tmp_path) -> Path:
    """The same after the features went elsewhere: they are in `moved` now."""
    shutil.copytree(seen / "run", tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    gone = str(tmp_path / "gone")
    config.write_text(config.read_text().replace(str(seen / "features"), gone))
    shutil.copytree(seen / "features", tmp_path / "moved")
    return tmp_path


def refused(capsys: pytest.CaptureFixture, status: int, *words: str) -> None:
    told = capsys.readouterr().err
    assert status == 2
    (said,) = [line for line in told.splitlines() if line.startswith("capjax:")]
    assert all(word in said for word in words), said


def test_features_that_have_moved_are_named_and_are_the_same(moved, capsys):
    run = [f"--workdir={moved / 'run'}", "--quick"]
    before = (moved / "run" / "scores.json").read_bytes()
    refused(capsys, evaluate.main(run), str(moved / "gone"), "--features=DIR")
    assert evaluate.main([*run, f"--features={moved / 'moved'}"]) == 0
    assert (moved / "run" / "scores.json").read_bytes() == before
    assert len(list((moved / "run").glob("scores*.json"))) == 1


def test_other_features_are_refused_in_their_place_and_scored_beside_them(moved, capsys):
    other = made(moved / "gone", 1)
    run = [f"--workdir={moved / 'run'}", "--quick"]
    before = (moved / "run" / "scores.json").read_bytes()
    refused(capsys, evaluate.main(run), "features of folder", "--features=DIR")
    assert evaluate.main([*run, f"--features={other}"]) == 0
    assert (moved / "run" / "scores.json").read_bytes() == before
    (beside,) = (moved / "run").glob("scores-val-data-*.json")
    told = json.loads(beside.read_text())
    assert told["data"] == {"features": str(other), "differ": ["val features"]}
    assert "other data than the run's" in told["notes"][0]


def test_features_that_a_run_cannot_see_are_refused(moved, trained, capsys):
    wide = made(moved / "wide", 1, width=7)
    run = f"--workdir={moved / 'run'}"
    refused(capsys, evaluate.main([run, f"--features={wide}"]), "cannot be done")
    refused(capsys, evaluate.main([f"--workdir={trained}", f"--features={wide}"]), "pixels64")
    refused(capsys, evaluate.main([run, f"--features={moved / 'none'}"]), "--features=")
    (moved / "run" / "data.json").unlink()
    refused(capsys, evaluate.main([run, f"--features={moved / 'moved'}"]), "does not tell")


def test_training_goes_on_with_the_same_features_from_anywhere(moved, recipe, capsys):
    def again(folder: Path) -> None:
        changed = {"data.encoder": f"files:{folder}", "mle.epochs": 1.0}
        train_here(recipe(**changed), moved / "run")

    before = (moved / "run" / "scores.json").read_bytes()
    again(moved / "moved")
    assert (moved / "run" / "scores.json").read_bytes() == before
    config = json.loads((moved / "run" / "config.json").read_text())
    assert config["data"]["encoder"] == f"files:{moved / 'moved'}"
    with pytest.raises(
        InputError, match=r"the features of folder .*--config\.data\.encoder=files:DIR"
    ):
        again(made(moved / "other", 1))
    assert json.loads((moved / "run" / "config.json").read_text()) == config


@pytest.mark.slow
def test_a_start_that_saw_the_same_features_elsewhere_is_taken(moved, recipe):
    def begun(folder: Path, name: str) -> None:
        start = {"init_from": str(moved / "run"), "mle.epochs": 0.5}
        train_here(recipe(**{"data.encoder": f"files:{folder}"} | start), moved / name)

    begun(moved / "moved", "second")
    with pytest.raises(InputError, match="hold other numbers"):
        begun(made(moved / "other", 1), "third")


def test_features_of_two_shapes_are_told(tmp_path, recipe):
    folder = made(tmp_path / "features", 0)
    for i in range(16, 20):  # those of val
        np.save(folder / f"{i}.npy", np.ones(5, np.float32))
    with pytest.raises(InputError, match=r"features of val .* are \[5\] where those of train"):
        train_here(recipe(**{"data.encoder": f"files:{folder}"}), tmp_path / "run")
