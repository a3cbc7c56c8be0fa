"""How the commands print and end: any name on any terminal, readers that stop, Ctrl-C."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from processes import start

import capjax.command  # noqa: F401  it registers how what cannot be encoded is written
from capjax.files.whole import read_json, write_json

ASCII = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
BUFFERED = os.environ | {"PYTHONUNBUFFERED": ""}  # as it is for most
STATUS_OF_HELP = {"caption": 0, "evaluate": 0, "compare": 0, "demo": 0, "train": 1}  # absl's is 1


def begun(name: str, *flags: str, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"capjax.{name}", *flags],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": BUFFERED} | options,
    )


def closed_pipe() -> int:
    """What writes to a pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.fixture(scope="module")
def hindi(trained, tmp_path_factory) -> Path:
    """A run that speaks Hindi: the other run, with its words exchanged."""
    workdir = tmp_path_factory.mktemp("runs") / "hindi"
    shutil.copytree(trained, workdir)
    text = (workdir / "vocabulary.json").read_text("utf-8")
    for word, other in {"red": "लाल", "blue": "नीली", "wall": "दीवार"}.items():
        text = text.replace(f'"{word}"', f'"{other}"')
    (workdir / "vocabulary.json").write_text(text, "utf-8")
    return workdir


@pytest.mark.parametrize("flags", [(), pytest.param(("--json",), marks=pytest.mark.slow)])
def test_names_and_captions_can_be_printed_on_a_strict_terminal(flags, hindi, tmp_path):
    names = [b"caf\xe9.png", "caf\u00e9.png".encode(), b"plain.png"]
    for name in names:
        Image.new("RGB", (8, 8), "red").save(tmp_path / os.fsdecode(name))
    ran = begun("caption", f"--workdir={hindi}", *flags, str(tmp_path), env=BUFFERED | ASCII)
    out, errors = ran.communicate()
    assert (ran.returncode, errors) == (0, b"")
    lines = out.splitlines()
    assert len(lines) == 3
    if flags:
        assert out.isascii()
        rows = [json.loads(line) for line in lines]
        said = [os.fsencode(row["photo"]) for row in rows]
        assert all("लाल" in row["captions"][0]["caption"] for row in rows)
    else:
        said = [line.partition(b"\t")[0] for line in lines]
        assert all("लाल".encode("ascii", "backslashreplace") in line for line in lines)
    assert {Path(os.fsdecode(name)).name for name in said} == set(map(os.fsdecode, names))


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=20))
def test_the_bytes_of_a_name_are_printed_as_they_are(name):
    for encoding in "utf-8", "ascii", "latin-1":
        text = name.decode(encoding, "surrogateescape")
        assert text.encode(encoding, "capjax.command") == name


@settings(derandomize=True, deadline=None)
@given(st.text(st.characters(), max_size=20))
def test_any_text_can_be_printed_and_written(text):
    shown = text.encode("ascii", "capjax.command")
    if not any(0xDC80 <= ord(letter) <= 0xDCFF for letter in text):
        assert shown == text.encode("ascii", "backslashreplace")


def test_what_is_no_text_is_read_back_from_json_the_same(tmp_path):
    content = {"run": "caf\udce9", "लाल": ["\ud83d", "😀"]}
    write_json(tmp_path / "scores.json", content)
    assert read_json(tmp_path / "scores.json") == content
    write_json(tmp_path / "plain.json", {"word": "लाल"})
    assert "लाल" in (tmp_path / "plain.json").read_text("utf-8")


@pytest.mark.parametrize(
    "name",
    [
        "train",
        *(
            pytest.param(n, marks=pytest.mark.slow)
            for n in ("compare", "caption", "demo", "evaluate")
        ),
    ],
)
def test_a_reader_that_stops_is_no_error(name):
    writer = closed_pipe()
    ran = begun(name, "--help", stdout=writer)
    errors = ran.communicate()[1]
    os.close(writer)
    assert (ran.returncode, errors) == (STATUS_OF_HELP[name], b"")


def test_a_command_whose_readers_have_gone_does_its_work(tmp_path):
    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"id": 1, "caption": "a red wall"}\n{"id": 2, "caption": "a wall"}\n')
    writer = closed_pipe()
    flags = [f"--predictions={captions}", f"--references={captions}", f"--out={tmp_path}"]
    ran = begun("evaluate", *flags, "--quick", stdout=writer, stderr=writer)
    ran.communicate()
    os.close(writer)
    assert ran.returncode == 0
    assert (tmp_path / "scores.json").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_full_disk_under_the_output_is_told():
    with open("/dev/full", "w") as full:
        ran = begun("compare", "--help", stdout=full)
        errors = ran.communicate()[1].decode()
    assert ran.returncode == 2
    assert errors.startswith("capjax: cannot print: ")
    assert errors.count("\n") == 1


def stopped(ran: subprocess.Popen) -> str:
    """Sends Ctrl-C, which must end the process by the signal: what it has told."""
    ran.send_signal(signal.SIGINT)
    errors = ran.communicate(timeout=300)[1]
    assert ran.returncode == -signal.SIGINT
    errors = errors if isinstance(errors, str) else errors.decode()
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors
    return errors


@pytest.mark.slow
def test_ctrl_c_in_a_command_tells_one_line(tmp_path):
    """While it waits for what comes through a pipe."""
    pipe, captions = tmp_path / "pipe", tmp_path / "captions.jsonl"
    os.mkfifo(pipe)
    captions.write_text('{"id": 1, "caption": "a wall"}\n')
    ran = begun("evaluate", f"--predictions={pipe}", f"--references={captions}")
    with pipe.open("wb"):  # it has opened it, too
        assert stopped(ran).strip() == "capjax: stopped by Ctrl-C"


WAITS = """
import os, signal, threading, time
from capjax.command import command

def to_another_thread():
    time.sleep(0.5)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

def unseen():
    threading.Thread(target=to_another_thread, daemon=True).start()

def swallowed():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        print("goes on")
    except KeyboardInterrupt:
        pass

def main():
    how()
    os.read(os.pipe()[0], 1)

how = {how}
command(main, compiles=False)
"""


@pytest.mark.parametrize("how", ["unseen", "swallowed"])
def test_ctrl_c_ends_a_command_that_python_would_let_wait(how):
    """A signal that no system call heeds, and an interrupt that some code catches."""
    code = WAITS.replace("{how}", how)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (-signal.SIGINT, b"")
    assert ran.stderr.decode().strip() == "capjax: stopped by Ctrl-C"


def test_ctrl_c_before_training_tells_one_line(recipe, tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    with (workdir / "run.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ran = start(recipe(), workdir)
        assert ran.stderr is not None
        while "waiting for the process" not in ran.stderr.readline():
            assert ran.poll() is None
        assert stopped(ran).strip() == "capjax: stopped by Ctrl-C"
