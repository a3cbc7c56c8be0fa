"""An algorithm more is an objective, a stage file and a config, and nothing else is touched."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from capjax.run import open_run

HOME = Path(__file__).parents[2]
ADDED = {
    "objective.py": "capjax/objectives/toy.py",
    "stage.py": "capjax/training/stages/toy.py",
    "config.py": "configs/toy.py",
}
SMALL = {
    "data.encoder": "pixels64",
    "data.min_count": 1,
    "data.max_len": 5,
    "dim": 16,
    "dropout": 0.0,
    "toy.epochs": 10.0,
    "toy.batch": 8,
    "toy.learning_rate": 0.01,
    "toy.warmup": 2,
    "decoding.method": "greedy",
    "decoding.max_len": 5,
    "validate_every": 20,
    "log_every": 5,
}


def command(tree: Path, photos: Path, workdir: Path, **changes: object) -> list[str]:
    settings = SMALL | {"data.path": photos} | changes
    flags = [f"--config.{name}={value}" for name, value in settings.items()]
    recipe = f"--config={tree}/configs/toy.py:folder"
    return [sys.executable, "-m", "capjax.train", recipe, f"--workdir={workdir}", *flags]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This library and three files more."""
    tree = tmp_path_factory.mktemp("tree")
    for name in ("capjax", "configs"):
        shutil.copytree(HOME / name, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
    for source, place in ADDED.items():
        assert not (tree / place).exists()
        shutil.copy(Path(__file__).parent / "toy" / source, tree / place)
    return tree


def run(words: list[str], tree: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": str(tree), "JAX_NUM_CPU_DEVICES": "1"}
    return subprocess.run(words, cwd=tree, env=env, capture_output=True, text=True)


def test_a_toy_algorithm_trains_speaks_and_is_scored(tree, photos, caches, tmp_path):
    workdir = tmp_path / "run"
    ended = run(command(tree, photos, workdir), tree)
    assert ended.returncode == 0, ended.stderr
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {row["stage"] for row in rows} == {"toy"}
    nll = [row["val_nll"] for row in rows if "val_nll" in row]
    assert len(nll) == 2
    assert nll[1] < nll[0]
    assert json.loads((workdir / "scores.json").read_text())["n_images"] == 4
    assert open_run(workdir).step in (20, 40)  # by a library that does not have the stage


def test_its_settings_are_checked_as_all_are(tree, photos, caches, tmp_path):
    ended = run(command(tree, photos, tmp_path / "run", **{"toy.penalty": -1.0}), tree)
    assert ended.returncode == 2
    assert "config.toy.penalty=-1.0 must be at least 0" in ended.stderr
