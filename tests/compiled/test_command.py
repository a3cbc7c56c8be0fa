"""The command with the compilers, as people run it; skipped where a compiler lacks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capjax.compiled.targets import missing

HOME = Path(__file__).parents[2]
SMALL = ("--config.dim=16", "--vocabulary=97", "--config.data.encoder=none")


def ended(*flags):
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("XLA_FLAGS", "NPROC", "JAX_NUM_CPU_DEVICES", "JAX_PLATFORMS")
    }
    return subprocess.run(
        [sys.executable, "-m", "capjax.compile", *flags],
        timeout=1800, env=environment, cwd=HOME, capture_output=True, text=True, check=False,
    )  # fmt: skip


def needs(target):
    if lacking := missing(target):
        pytest.skip(f"the compiler for {target} is not here: {lacking}")


@pytest.mark.slow
@pytest.mark.parametrize("target", ["h100:8", "h100:16", "v5e:2x2", "v5e:4x4", "v5p:2x2x2"])
@pytest.mark.parametrize("name", ["gan", "contrastive"])
def test_all_stages_compile_and_send_means_alone(name, target, tmp_path):
    needs(target)
    file = tmp_path / "found.json"
    small = (*SMALL, "--config.evaluator_dim=16") if name == "gan" else SMALL
    flags = f"--topology={target}", f"--json={file}", *small
    done = ended(f"--config=configs/{name}.py:coco", *flags)
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    stages = ["mle", "evaluator", "adversarial"] if name == "gan" else ["contrastive"]
    assert [one["name"] for one in found["stages"]] == stages
    for one in found["stages"]:
        assert one["fits"]
        assert not one["untold"]
        assert {x["kind"] for x in one["collectives"]} == {"all-reduce"}
        assert one["work"] > 0


@pytest.mark.slow
def test_what_does_not_fit_is_told_and_ends_with_1():
    needs("v5e:2x2")
    flags = ("--config.dim=8192", "--config.mle.batch=8192")
    done = ended("--config=configs/mle.py:coco", "--topology=v5e:2x2", *flags)
    assert done.returncode == 1
    assert "stage mle does not fit on a chip of v5e:2x2" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--topology=v5e:2x3"], "is no slice that the compiler knows"),
        (["--topology=v5e:16x16"], "--config.mle.batch=256"),
        (["--topology=v5"], "--topology=v5: there is no machine"),
        (["--topology=v5e:2x2", "--features=2x"], "--features=2x: give the form"),
    ],
)
def test_what_cannot_be_is_told_in_a_sentence(flags, words):
    needs("v5e:2x2")
    done = ended("--config=configs/mle.py:coco", "--config.mle.batch=192", *flags)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
