"""Runs in processes of their own, that can be cut, and what they leave."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

MINUTES = 60.0
TIMES = ("captions_per_s", "slowest_process", "slowest_s", "median_s")  # of two runs never the same


class Ended(NamedTuple):
    """A process that has ended."""

    status: int
    errors: str


def start(
    config: dict,
    workdir: Path,
    *flags: str,
    beside: Path | None = None,
    devices: int = 1,
    which: Mapping[str, str] = MappingProxyType({}),
) -> subprocess.Popen:
    """The training command, with a configuration given as a file.

    beside: a folder for that file; None: the one above `workdir`.
    which: variables that tell which of several processes it is.
    """
    beside = beside or workdir.parent
    beside.mkdir(parents=True, exist_ok=True)
    recipe = beside / f"recipe{which.get('JAX_PROCESS_ID', '')}.py"
    recipe.write_text(
        "from ml_collections import ConfigDict\n"
        f"def get_config():\n    return ConfigDict({config!r})\n"
    )
    command = [sys.executable, "-m", "capjax.train", f"--config={recipe}", f"--workdir={workdir}"]
    return subprocess.Popen(
        [*command, *flags],
        env=os.environ | {"JAX_NUM_CPU_DEVICES": str(devices)} | which,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_several(
    config: dict, workdir: Path, number: int, devices: int, *flags: str
) -> list[subprocess.Popen]:
    """The training command in several processes that join."""
    place = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}"}
    place["JAX_NUM_PROCESSES"] = str(number)
    which = [place | {"JAX_PROCESS_ID": str(i)} for i in range(number)]
    return [start(config, workdir, *flags, devices=devices, which=one) for one in which]


def free_port() -> int:
    """One below those that systems give to outgoing connections, as other tests run beside."""
    while True:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def end_all(processes: Sequence[subprocess.Popen]) -> list[Ended]:
    """How each ended; all are waited for at once, as each may fill its pipe."""
    with ThreadPoolExecutor(len(processes)) as pool:
        return list(pool.map(end, processes))


def end(process: subprocess.Popen) -> Ended:
    errors = process.communicate(timeout=5 * MINUTES)[1]
    return Ended(process.returncode, errors.replace("\r", "\n"))


def cut(process: subprocess.Popen, when: Callable[[], bool], how: signal.Signals) -> Ended:
    """Sends a signal as soon as something is so; the process must still be at work."""
    until = time.monotonic() + 5 * MINUTES
    while not when():
        assert process.poll() is None, end(process).errors
        assert time.monotonic() < until
        time.sleep(0.002)
    process.send_signal(how)
    return end(process)


def steps_logged(workdir: Path) -> int:
    lines = (workdir / "metrics.jsonl").read_text().splitlines() if workdir.exists() else []
    return json.loads(lines[-1])["step"] if lines and lines[-1].endswith("}") else 0


def past(workdir: Path, step: int, delay: float) -> Callable[[], bool]:
    """Whether a step has been logged, then some seconds later."""

    def when() -> bool:
        if not (workdir / "metrics.jsonl").exists() or steps_logged(workdir) < step:
            return False
        time.sleep(delay)
        return True

    return when


def writing(folder: Path) -> Callable[[], bool]:
    """Whether a checkpoint is being written to a folder."""
    return lambda: any("tmp" in found.name for found in folder.glob("*"))


def leaves(folder: Path) -> dict[str, np.ndarray]:
    """All arrays of the newest checkpoint in a folder, and its step."""
    step = max(int(found.name) for found in folder.iterdir() if found.name.isdigit())
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.metadata(folder / str(step) / "state").item_metadata.tree
        whole = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
        found = checkpointer.restore(folder / str(step) / "state", restore_args=whole)
    named = {jax.tree_util.keystr(path): x for path, x in jax.tree.leaves_with_path(found)}
    return named | {"the checkpoint's step": np.asarray(step)}


def apart(workdir: Path, reference: Path) -> float:
    """How far the final parameters of two runs lie apart, over the length of the parameters.

    Of single ones little can be said: Adam makes whole steps of the rounding of small gradients.
    """
    ours, theirs = (leaves(d / "checkpoints" / "last") for d in (workdir, reference))
    assert ours.keys() == theirs.keys()
    names = [name for name in ours if name.startswith("['params']")]
    assert names
    a, b = (np.concatenate([tree[name].ravel() for name in names]) for tree in (ours, theirs))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def metrics(workdir: Path) -> list[dict]:
    rows = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if k not in TIMES} for row in rows]


def same_end(workdir: Path, reference: Path) -> None:
    """Both runs have the same bits in all that they measured and kept."""
    assert metrics(workdir) == metrics(reference)
    for kind in ("last", "best"):
        ours, theirs = (leaves(d / "checkpoints" / kind) for d in (workdir, reference))
        assert ours.keys() == theirs.keys()
        for name, x in ours.items():
            np.testing.assert_array_equal(x, theirs[name], err_msg=f"{kind} {name}")
    for name in ("captions.json", "vocabulary.json"):
        assert (workdir / name).read_bytes() == (reference / name).read_bytes()
    ours, theirs = (json.loads((d / "scores.json").read_text()) for d in (workdir, reference))
    assert ours == theirs | {"run": workdir.name}


def told(capsys: pytest.CaptureFixture, status: int, *words: str) -> None:
    """A command has refused in one line that holds the words."""
    out, errors = capsys.readouterr()
    lines = [line for line in errors.replace("\r", "\n").splitlines() if line.strip()]
    assert status == 2
    assert not out
    said = [line for line in lines if line.startswith("capjax:")]
    assert len(said) == 1
    assert not [line for line in lines if "Traceback" in line]
    for word in words:
        assert word in said[0]
