"""A run on gs://, against an emulator: the same bits as in a folder, whatever cuts it."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest
from processes import cut, end, same_end, start
from store import emulated

from capjax.evaluate import main as evaluate
from capjax.files.checksums import check_sums, write_sums
from capjax.files.places import files_in, place
from capjax.files.whole import read_json, whole, write_json
from capjax.run.folder import WHOLE, saved
from capjax.run.metrics_log import MetricsLog

# What aiohttp says of more than a megabyte at once.
pytestmark = pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    with emulated() as address:
        yield place(address)


def rows_there(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_log_that_cannot_be_added_to_loses_nothing_at_a_save(store):
    path = store / "log" / "metrics.jsonl"
    rows = [{"step": step, "loss": 1 / step} for step in range(1, 8)]
    log = MetricsLog(path, 0)
    for row in rows[:4]:
        log.add(row)
    assert rows_there(path) == rows[:1]  # the others wait
    log.keep()
    assert rows_there(path) == rows[:4]
    log.add(rows[4])
    again = MetricsLog(path, 3)  # a run that was cut after its save of step 3
    assert again.rows == rows_there(path) == rows[:3]
    for row in rows[3:]:
        again.add(row)
    again.keep()
    assert MetricsLog(path, 7).rows == rows


def test_a_file_is_written_whole_or_not_at_all(store):
    write_json(store / "whole" / "a.json", {"x": "ä"})

    def half() -> None:
        with whole(store / "whole" / "a.json") as draft:
            draft.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert read_json(store / "whole" / "a.json") == {"x": "ä"}
    assert [str(path) for path in files_in(store / "whole")] == ["gs://bucket/whole/a.json"]


def test_sums_tell_what_is_gone_or_other_here_and_where_it_was_copied(store, tmp_path):
    folder = store / "sums"
    for name in ("a", "deep/b"):
        (folder / name).write_text(name)
    assert not check_sums(folder)
    write_sums(folder)
    assert check_sums(folder)
    files = fsspec.filesystem("gs", use_listings_cache=False)
    files.get(str(folder), str(tmp_path / "sums"), recursive=True)
    assert check_sums(tmp_path / "sums")
    (tmp_path / "sums" / "a").write_text("c")
    with pytest.raises(ValueError, match="its file a is not as"):
        check_sums(tmp_path / "sums")
    write_sums(tmp_path / "sums")
    files.put(f"{tmp_path}/sums", str(store / "back"), recursive=True)
    assert check_sums(store / "back")
    (store / "back" / "a").write_text("a")
    with pytest.raises(ValueError, match="its file a is not as"):
        check_sums(store / "back")
    (folder / "deep" / "b").unlink()
    with pytest.raises(ValueError, match="its file deep/b is gone"):
        check_sums(folder)


def test_a_checkpoint_that_is_being_written_is_none(store):
    step = store / "half" / "checkpoints" / "last" / "5"
    (step / "state" / "manifest").write_text("x")
    assert not saved(store / "half")
    (step / WHOLE).write_text("x")
    assert saved(store / "half", "last")


@pytest.fixture(scope="module")
def never_cut(recipe, tmp_path_factory) -> Path:
    workdir = tmp_path_factory.mktemp("never") / "run"
    ended = end(start(recipe(), workdir))
    assert ended.status == 0, ended.errors
    return workdir


def steps(last: Path) -> dict[int, bool]:
    """Which steps have a folder there, and whether it is whole."""
    time.sleep(0.05)  # who asks and who answers are one process
    try:
        found = [path for path in last.iterdir() if path.name.isdigit()]
    except FileNotFoundError:
        return {}
    return {int(path.name): (path / WHOLE).exists() for path in found}


def whole_at(last: Path, step: int) -> Callable[[], bool]:
    return lambda: any(number >= step and whole for number, whole in steps(last).items())


def writing(last: Path, after: int) -> Callable[[], bool]:
    return lambda: any(number > after and not whole for number, whole in steps(last).items())


def brought(run: Path, folder: Path) -> Path:
    """A copy of a run on this machine."""
    files = fsspec.filesystem("gs", use_listings_cache=False)
    files.get(str(run), str(folder / "run"), recursive=True)
    return folder / "run"


@pytest.mark.slow
def test_a_run_on_a_store_that_is_cut_ends_with_the_bits_of_one_in_a_folder(
    store, recipe, never_cut, tmp_path
):
    run = store / "runs" / "run"
    last = run / "checkpoints" / "last"
    cuts = [
        (whole_at(last, 5), signal.SIGKILL),
        (writing(last, 10), signal.SIGKILL),
        (whole_at(last, 15), signal.SIGTERM),
        (writing(last, 20), signal.SIGKILL),
    ]
    for when, how in cuts:
        ended = cut(start(recipe(), run, beside=tmp_path), when, how)
        assert ended.status == (0 if how == signal.SIGTERM else -how), ended.errors
        assert "Traceback" not in ended.errors
    ended = end(start(recipe(), run, beside=tmp_path))
    assert ended.status == 0, ended.errors
    assert steps(last) == {35: True, 40: True}
    same_end(brought(run, tmp_path), never_cut)
    assert not [path for path in files_in(run) if "tmp" in path.name or path.name.startswith(".")]

    out = tmp_path / "scores"
    flags = ["--quick", "--distractors=1", "--seed=3", f"--out={out}"]
    assert evaluate([f"--workdir={run}", *flags]) == 0
    (scores,) = out.glob("scores*.json")
    there = read_json(scores)
    assert evaluate([f"--workdir={never_cut}", *flags]) == 0
    assert read_json(scores) == there


@pytest.mark.slow
def test_a_run_that_was_copied_to_a_store_goes_on_and_skips_what_is_damaged(
    store, recipe, never_cut, tmp_path
):
    run = store / "copies" / "run"
    files = fsspec.filesystem("gs", use_listings_cache=False)
    files.put(str(never_cut), str(run), recursive=True)
    newest = run / "checkpoints" / "last" / "40"
    biggest = max(files_in(newest), key=lambda path: len(path.read_bytes()))
    content = biggest.read_bytes()
    biggest.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    ended = end(start(recipe(), run, beside=tmp_path))
    assert ended.status == 0, ended.errors
    (told,) = (x for x in ended.errors.splitlines() if x.startswith("capjax:"))
    assert "step 40" in told
    assert "damaged/last-40" in told
    assert (run / "checkpoints" / "damaged" / "last-40" / WHOLE).exists()
    same_end(brought(run, tmp_path), never_cut)
