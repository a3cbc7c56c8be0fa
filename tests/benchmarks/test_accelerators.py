"""The hot loops for machines that are not here, and the command that tells of them."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import accelerators
import jax
import pytest
from hot_loops import CASES, SMALL, hot_loop, mapped
from jax import lax

import capjax
from capjax.compiled import targets

HOME = Path(capjax.__file__).parent
SCRIPT = Path(accelerators.__file__)
MARK = "only-on-a-cpu"
QUICK = {"training step"}


def lowered(name: str, platform: str) -> str:
    """A hot loop as it is handed to a platform's compiler, with names."""
    loop = hot_loop(name, SMALL)
    call = mapped(loop, jax.devices()[:1])[0]
    whole = jax.eval_shape(loop.init)
    with jax.numpy_dtype_promotion("standard"):  # as Optax wants it
        traced = jax.jit(lambda *args: call(*args)).trace(whole, loop.share, jax.random.key(0))
        return traced.lower(lowering_platforms=(platform,)).as_text(debug_info=True)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in CASES],
)
def test_what_is_lowered_for_decides_and_not_the_host(name, monkeypatch):
    """A form that is for CPUs is marked, and is not in what accelerators are handed."""
    plain = lax.platform_dependent

    def marked(*args, default, **forms):
        def form(*args):
            with jax.named_scope(MARK):
                return forms["cpu"](*args)

        return plain(*args, default=default, **(forms | {"cpu": form} if "cpu" in forms else forms))

    monkeypatch.setattr(lax, "platform_dependent", marked)
    jax.clear_caches()
    for_cuda, for_tpu = lowered(name, "cuda"), lowered(name, "tpu")
    assert MARK not in for_cuda
    assert MARK not in for_tpu
    jax.clear_caches()


def test_no_function_asks_what_the_host_has():
    asking = [path for path in HOME.rglob("*.py") if "default_backend" in path.read_text()]
    assert not asking


def test_all_loops_are_offered():
    assert set(accelerators.NAMES) == set(CASES)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--target=h10"], "or a slice"),
        (["--target=v5e"], "or a slice"),
        (["--target=h100", "--loop=samplin"], "is 'sampling' meant"),
        (["--here"], "no accelerator here"),
        ([], "no accelerator here"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(flags, words, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "argv", ["accelerators.py", *flags, f"--out={tmp_path}"])
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with pytest.raises(SystemExit, match=words):
        accelerators.main()


@pytest.mark.parametrize("target", ["h100", "v5e:2x2"])
def test_a_compiler_that_is_missing_is_named(target, monkeypatch):
    monkeypatch.setattr(targets, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["accelerators.py", f"--target={target}"])
    with pytest.raises(SystemExit, match=f"for {target} is not installed: pip install"):
        accelerators.main()


def run(*flags: str) -> None:
    """The command, as people run it."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in ("XLA_FLAGS", "NPROC", "JAX_NUM_CPU_DEVICES", "JAX_PLATFORMS")
    }
    subprocess.run(
        [sys.executable, SCRIPT, *flags], check=True, timeout=3600, env=environment,
        cwd=HOME.parent,
    )  # fmt: skip


def predicted(target: str, folder: Path, *flags: str) -> dict:
    if lacking := targets.missing(target):
        pytest.skip(f"the compiler for {target} is not here: {lacking}")
    run(f"--target={target}", f"--json={folder / 'found.json'}", *flags)
    return json.loads((folder / "found.json").read_text())


@pytest.mark.slow
def test_here_everything_is_measured_and_kept(tmp_path):
    loops = ("sampling", "rollouts 64")
    run("--here", "--small", f"--out={tmp_path}", *(f"--loop={name}" for name in loops))
    found = json.loads((tmp_path / "table.json").read_text())
    assert not found["left_out"]
    for name in loops:
        assert found["loops"][name]["measured_s"] > 0
        assert not found["loops"][name]["untold"]
        assert re.search(rf"(?m)^{name} .*\d$", (tmp_path / "table.txt").read_text())
    assert found["profiled"] in loops
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


@pytest.mark.slow
def test_what_does_not_fit_the_time_is_told(tmp_path):
    run("--here", "--small", f"--out={tmp_path}", "--minutes=0", "--loop=sampling")
    assert "sampling" in json.loads((tmp_path / "table.json").read_text())["left_out"][0]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["h100", "v5e:2x2", "v5e:16x16"])
def test_all_loops_compile_for_machines_that_are_not_here(target, tmp_path):
    found = predicted(target, tmp_path, "--small")
    assert found["loops"].keys() == CASES.keys()
    assert not [one for row in found["loops"].values() for one in row["untold"]]


# At most so many launches, and at least this share of the predicted time in matmuls.
ASKED = {
    "rollouts 64": (3000, 0.3),
    "rollouts 512": (None, 0.6),
    "G-GAN update": (6000, None),
    "training step": (None, 0.5),
    "sampling": (None, 0.4),
    "self-critical step": (None, 0.4),
    "beam": (None, 0.25),
    "emitter-suppressor": (None, 0.25),
}


@pytest.mark.slow
def test_an_h100_is_given_few_launches_and_much_arithmetic(tmp_path):
    found = predicted("h100", tmp_path)["loops"]
    for name, (launches, share) in ASKED.items():
        row = found[name]
        assert launches is None or row["launches"] <= launches, name
        assert share is None or row["share_executed"] >= share, name
    assert not [one for row in found.values() for one in row["untold"]]
