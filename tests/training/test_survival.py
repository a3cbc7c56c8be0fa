"""However often a run is cut, and by what, it ends as the run that was never cut."""

import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import (
    MINUTES,
    Ended,
    apart,
    cut,
    end,
    metrics,
    past,
    same_end,
    start,
    steps_logged,
    writing,
)
from small_runs import train_here

from capjax.errors import InputError


@pytest.fixture(scope="module")
def never_cut(recipe, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("never") / "run"
    ended = end(start(recipe(), workdir))
    assert ended.status == 0, ended.errors
    return workdir


@pytest.fixture(scope="module", params=[2, pytest.param(5, marks=pytest.mark.slow)])
def often_cut(
    request, recipe, never_cut, tmp_path_factory
) -> tuple[Path, dict[str, Ended], set[str]]:
    """A run cut by so many signals and started again each time; how each ended, what SIGTERM
    left."""
    workdir = tmp_path_factory.mktemp("often") / "run"
    draw = random.Random(0)
    last, best = workdir / "checkpoints" / "last", workdir / "checkpoints" / "best"
    cuts = {
        "while it writes its first checkpoint": (writing(last), signal.SIGKILL),
        "early": (past(workdir, draw.randrange(6, 10, 2), draw.random() / 4), signal.SIGKILL),
        "while it writes the best": (writing(best), signal.SIGKILL),
        "asked to stop": (past(workdir, draw.randrange(16, 22, 2), 0), signal.SIGTERM),
        "late": (past(workdir, draw.randrange(28, 34, 2), draw.random() / 4), signal.SIGKILL),
    }
    if request.param == 2:
        cuts = {name: cuts[name] for name in ("while it writes the best", "asked to stop")}
    ended, left = {}, set()
    for name, (when, how) in cuts.items():
        ended[name] = cut(start(recipe(), workdir), when, how)
        if how == signal.SIGTERM:
            left = {found.name for found in last.iterdir()}
    ended["at last"] = end(start(recipe(), workdir))
    return workdir, ended, left


def test_a_run_killed_again_and_again_ends_with_the_same_bits(often_cut, never_cut):
    workdir, ended, _ = often_cut
    killed = {name for name, (status, _) in ended.items() if status == -signal.SIGKILL}
    assert len(killed) == len(ended) - 2  # one was asked to stop, and the last was not cut
    assert ended["at last"].status == 0, ended["at last"].errors
    same_end(workdir, never_cut)
    steps = [row["step"] for row in metrics(workdir) if "loss" in row]
    assert steps == list(range(2, 41, 2))


def test_what_a_killed_run_had_half_written_is_cleared_away(often_cut):
    workdir, _, _ = often_cut
    found = {p.name for p in workdir.rglob("*") if "tmp" in p.name or p.name.endswith(".new")}
    assert not found
    assert {p.name for p in (workdir / "checkpoints" / "last").iterdir()} == {"35", "40"}


def test_sigterm_saves_says_so_and_ends_well(often_cut):
    _, ended, left = often_cut
    status, errors = ended["asked to stop"]
    assert status == 0
    assert "Traceback" not in errors
    (told,) = (line for line in errors.splitlines() if line.startswith("capjax:"))
    step = told.partition("saved at step ")[2].split()[0]
    assert step in left


def test_a_log_tells_what_is_done_and_has_no_bar(often_cut):
    _, ended, _ = often_cut
    lines = ended["at last"].errors.splitlines()
    (told,) = (line for line in lines if line.startswith("mle: the captioner learns"))
    assert 0 < int(told.split()[-2]) < 40
    assert not [line for line in lines if "%|" in line]


def heeds(process: subprocess.Popen, number: signal.Signals) -> bool:
    """Whether a process does something of its own when a signal comes; on Linux."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux tells of handlers")
def test_a_run_stops_soon_wherever_it_is_and_loses_nothing(recipe, never_cut, tmp_path):
    """While it reads, compiles, trains, validates, evaluates or writes."""
    workdir, draw, stops = tmp_path / "run", random.Random(1), 0
    while True:
        process = start(recipe(), workdir)
        while process.poll() is None and not heeds(process, signal.SIGTERM):
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 1 + stops))
        if process.poll() is not None:
            break
        process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        ended = end(process)
        assert time.monotonic() - begun < 20
        assert ended.status == 0, ended.errors
        assert "Traceback" not in ended.errors
        stops += 1
    assert end(process).status == 0
    assert stops > 2
    same_end(workdir, never_cut)


def test_four_devices_train_what_one_does(trained, never_cut):
    for row, other in zip(metrics(trained), metrics(never_cut), strict=True):
        assert row["step"] == other["step"]
        if "nll" in row:
            assert row["nll"] == pytest.approx(other["nll"], abs=1e-3)
    assert apart(trained, never_cut) < 0.01


def back_to_35(reference: Path, workdir: Path) -> Path:
    """A copy of a run as it was when its checkpoint of step 35 was the newest."""
    shutil.copytree(reference, workdir)
    shutil.rmtree(workdir / "checkpoints" / "last" / "40")
    return workdir


def test_a_run_begun_on_one_device_goes_on_on_four(recipe, never_cut, tmp_path):
    workdir = back_to_35(never_cut, tmp_path / "run")
    train_here(recipe(), workdir)
    assert apart(workdir, never_cut) < 0.001


@pytest.mark.parametrize(
    "damage",
    [
        "cut short",
        pytest.param("a file gone", marks=pytest.mark.slow),
        pytest.param("the note gone", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_checkpoint_is_skipped_aloud(damage, recipe, trained, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    newest = workdir / "checkpoints" / "last" / "40"
    files = sorted((p for p in newest.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    if damage == "cut short":
        os.truncate(files[-1], files[-1].stat().st_size // 2)
    elif damage == "a file gone":
        files[-1].unlink()
    else:
        shutil.rmtree(newest / "note")
    train_here(recipe(), workdir)
    (told,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("capjax:"))
    assert "step 40" in told
    assert "step 35" in told
    assert (workdir / "checkpoints" / "damaged" / "last-40").is_dir()
    same_end(workdir, trained)


def test_where_all_checkpoints_are_damaged_nothing_is_touched(recipe, trained, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(trained, workdir)
    for folder in (workdir / "checkpoints" / "last").iterdir():
        shutil.rmtree(folder / "state")
    before = {path: path.stat().st_mtime_ns for path in workdir.rglob("*") if path.is_file()}
    for _ in range(2):
        with pytest.raises(InputError, match=r"no checkpoint in .* can be read, of step 40, 35"):
            train_here(recipe(), workdir)
        names = {path for path in workdir.rglob("*") if path.is_file()}
        assert names == set(before)
    assert (workdir / "metrics.jsonl").stat().st_mtime_ns == before[workdir / "metrics.jsonl"]


def test_a_damaged_line_of_the_metrics_is_left_out_aloud(recipe, trained, tmp_path, capsys):
    workdir = back_to_35(trained, tmp_path / "run")
    lines = (workdir / "metrics.jsonl").read_bytes().split(b"\n")
    lines[3] = b'{"step": \xff\xfe garbage'
    (workdir / "metrics.jsonl").write_bytes(b"\n".join(lines))
    train_here(recipe(), workdir)
    told = [x for x in capsys.readouterr().err.splitlines() if x.startswith("capjax:")]
    assert told == [f"capjax: line 4 of {workdir}/metrics.jsonl is damaged and left out"]
    expected = metrics(trained)
    assert metrics(workdir) == expected[:3] + expected[4:]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 20 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system can only be mounted by root, and not everywhere")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, shutil.disk_usage(folder).free - leave))
    return ballast


@pytest.mark.slow
def test_a_full_disk_costs_no_training_and_no_bits(recipe, trained, small_disk):
    workdir = small_disk / "run"
    ballast = fill(small_disk, leave=1_000_000)
    with pytest.raises(InputError, match=r"MB free and its checkpoints need"):
        train_here(recipe(), workdir)
    ballast.unlink()
    assert not (workdir / "config.json").exists()

    watcher = threading.Thread(
        target=lambda: cut_room(workdir, step=12, leave=200_000), name="fills the disk"
    )
    watcher.start()
    with pytest.raises(InputError, match="make room and run the same command again"):
        train_here(recipe(), workdir)
    watcher.join()
    (small_disk / "ballast").unlink()
    assert steps_logged(workdir) >= 12
    train_here(recipe(), workdir)
    same_end(workdir, trained)


def cut_room(workdir: Path, step: int, leave: int) -> None:
    until = time.monotonic() + 2 * MINUTES
    while time.monotonic() < until and not past(workdir, step, 0)():
        time.sleep(0.002)
    fill(workdir.parent, leave)
