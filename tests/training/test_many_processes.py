"""However many processes train a run, and whichever of them is cut: it is the same run."""

import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from processes import apart, end_all, leaves, past, same_end, start_several
from small_runs import train_here

CONFIGS = Path(__file__).parents[2] / "configs"
SOON = 20.0  # seconds in which a run ends that a signal asks to stop


@pytest.fixture(scope="module")
def pair(recipe, tmp_path_factory) -> Path:
    """The run of two processes with two devices each."""
    workdir = tmp_path_factory.mktemp("pair") / "run"
    ended = end_all(start_several(recipe(), workdir, 2, 2))
    assert [one.status for one in ended] == [0, 0], ended
    assert "step" not in ended[1].errors  # the first one alone shows how far it is
    return workdir


def same_scores(workdir: Path, reference: Path, rel: float = 0.0) -> None:
    ours, theirs = (json.loads((d / "scores.json").read_text()) for d in (workdir, reference))
    numbers = {k: v for k, v in theirs.items() if isinstance(v, float)}
    assert {k: ours[k] for k in numbers} == pytest.approx(numbers, rel=rel, abs=rel)
    for name in ("digests", "decoding", "n-1"):
        if name != "n-1" or not rel:
            assert ours.get(name) == theirs.get(name)


def test_two_processes_train_what_one_with_as_many_devices_does(pair, trained):
    assert apart(pair, trained) < 1e-5
    assert (pair / "captions.json").read_bytes() == (trained / "captions.json").read_bytes()
    same_scores(pair, trained)
    left = {path.relative_to(pair).parts[0] for path in pair.iterdir()}
    assert left == {path.name for path in trained.iterdir()}


def test_each_line_of_the_log_tells_the_slowest_process(pair):
    rows = map(json.loads, (pair / "metrics.jsonl").read_text().splitlines())
    rows = [row for row in rows if "loss" in row]
    assert rows
    for row in rows:
        assert row["slowest_process"] in (0, 1)
        assert row["slowest_s"] >= row["median_s"] > 0


def back_to_35(reference: Path, workdir: Path) -> Path:
    """A copy of a run as it was when its checkpoint of step 35 was the newest."""
    shutil.copytree(reference, workdir)
    shutil.rmtree(workdir / "checkpoints" / "last" / "40")
    for name in ("captions.json", "scores.json", "report.html"):
        (workdir / name).unlink()
    return workdir


def test_a_run_of_two_processes_is_finished_by_one(recipe, pair, trained, tmp_path):
    workdir = back_to_35(pair, tmp_path / "run")
    train_here(recipe(), workdir)
    assert apart(workdir, trained) < 1e-5


@pytest.mark.slow
def test_a_run_of_one_process_is_finished_by_two(recipe, trained, tmp_path):
    workdir = back_to_35(trained, tmp_path / "run")
    ended = end_all(start_several(recipe(), workdir, 2, 2))
    assert [one.status for one in ended] == [0, 0], ended
    assert apart(workdir, trained) < 1e-5


@pytest.mark.slow
def test_several_processes_evaluate_what_one_does(trained, tmp_path):
    scores = []
    for number in (1, 2):
        out = tmp_path / str(number)
        flags = f"--workdir={trained} --out={out} --split=train --samples=3 --retrieval=12"
        command = [sys.executable, "-m", "capjax.evaluate", *flags.split(), "--decoding=sample"]
        local = str(Path(__file__).parents[2] / "launch" / "local.sh")
        found = subprocess.run(
            [local, str(number), *command], capture_output=True, text=True, timeout=300
        )
        assert found.returncode == 0, found.stderr
        scores.append([path.read_bytes() for path in sorted(out.glob("*.json"))])
        assert found.stdout.count("scores:") == 1
    assert scores[0] == scores[1]
    assert len(scores[0]) == 2


SMALL = {
    "data.encoder": "pixels64",
    "data.min_count": 1,
    "data.max_len": 5,
    "dim": 16,
    "log_every": 2,
    "save_every": 7,
    "report_images": 2,
    "decoding.max_len": 5,
}
GAN = {
    "evaluator_dim": 16,
    "noise": 3,
    "validate_every": 20,
    "mle.decoding.max_len": 5,
    "evaluator.decoding.max_len": 5,
    "evaluator.steps": 10,
    "evaluator.batch": 8,
    "adversarial.steps": 30,
    "adversarial.batch": 8,
    "adversarial.rollouts": 2,
}
CONTRASTIVE = {
    "contrastive.steps": 30,
    "contrastive.batch": 8,
    "contrastive.mined": 4,
    "validate_every": 20,
}


@pytest.fixture(scope="module")
def tiny(photos, trained) -> Callable[..., dict]:
    """(name, **changes) -> the configuration of a tiny run of a recipe."""

    def configuration(name: str, **changes: Any) -> dict:
        config = runpy.run_path(str(CONFIGS / f"{name}.py"))["get_config"]("folder")
        config.update_from_flattened_dict(SMALL | (GAN if name == "gan" else CONTRASTIVE))
        config.update_from_flattened_dict({"data.path": str(photos)} | changes)
        stages = ["evaluator", "adversarial"]
        if name == "contrastive":
            config.init_from, stages = str(trained), ["contrastive"]
        return config.to_dict() | {"stages": stages}

    return configuration


@pytest.mark.slow
@pytest.mark.parametrize("how", ["pmap", "shard_map"])
@pytest.mark.parametrize("name", ["gan", "contrastive"])
def test_thirty_updates_of_two_processes_are_those_of_one(name, how, tiny, tmp_path):
    config = tiny(name, parallel=how)
    train_here(config, tmp_path / "one")
    ended = end_all(start_several(config, tmp_path / "two" / "run", 2, 2))
    assert [one.status for one in ended] == [0, 0], ended
    ours, theirs = (
        leaves(d / "checkpoints" / "last") for d in (tmp_path / "two" / "run", tmp_path / "one")
    )
    assert ours.keys() == theirs.keys()
    for leaf, x in theirs.items():
        if x.dtype.kind == "f":
            # Of single numbers little can be said: Adam makes steps of what is but rounding.
            off = np.linalg.norm(ours[leaf] - x)
            assert off <= 1e-5 * max(np.linalg.norm(x), 1e-3), leaf
    same_scores(tmp_path / "two" / "run", tmp_path / "one", rel=1e-5)


@pytest.mark.slow
def test_a_run_whose_processes_are_killed_again_and_again_ends_with_the_same_bits(tiny, tmp_path):
    config, draw = tiny("gan"), random.Random(0)
    whole, workdir = tmp_path / "whole" / "run", tmp_path / "cut" / "run"
    assert [one.status for one in end_all(start_several(config, whole, 2, 2))] == [0, 0]
    for step in (0, 6, 10, 16, 24, 36):
        processes = start_several(config, workdir, 2, 2)
        until = past(workdir, step, draw.random())
        while step and not until():
            assert all(process.poll() is None for process in processes), end_all(processes)
            time.sleep(0.05)
        time.sleep(draw.uniform(2, 6) * (not step))
        victim, how = draw.randrange(2), draw.choice([signal.SIGKILL, signal.SIGTERM])
        processes[victim].send_signal(how)
        begun = time.monotonic()
        ended = end_all(processes)
        took = time.monotonic() - begun
        other = ended[1 - victim]
        said = [line for line in other.errors.splitlines() if line.startswith("capjax:")]
        if how == signal.SIGTERM:
            assert took < SOON
            assert [one.status for one in ended] == [0, 0], ended
        else:
            assert took < 60
            assert other.status == 1, ended
            assert len(said) == 1
            assert f"process {victim} of 2 is gone" in said[0]
        assert "Traceback" not in other.errors
    assert [one.status for one in end_all(start_several(config, workdir, 2, 2))] == [0, 0]
    same_end(workdir, whole)


@pytest.mark.slow
def test_a_stop_has_a_status_of_its_own_where_that_is_asked_for(tiny, tmp_path):
    workdir = tmp_path / "run"
    processes = start_several(tiny("gan"), workdir, 2, 2, "--stop_status=75")
    until = past(workdir, 4, 0.0)
    while not until():
        time.sleep(0.05)
    os.kill(processes[1].pid, signal.SIGTERM)
    first, second = end_all(processes)
    assert (first.status, second.status) == (75, 75)
    assert "SIGTERM: saved at step" in first.errors
    assert not [line for line in second.errors.splitlines() if line.startswith("capjax:")]
