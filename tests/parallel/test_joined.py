"""Processes that have joined: they share work, and end together, each with a sentence."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import end_all, free_port


def joined(what: str, folder: Path, devices: str = "2") -> list[subprocess.Popen]:
    command = [sys.executable, str(Path(__file__).with_name("joined.py")), what, str(folder)]
    place = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    return [
        subprocess.Popen(
            command,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": devices} | place | {"JAX_PROCESS_ID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]


def sentences(errors: str) -> list[str]:
    return [line for line in errors.splitlines() if line.strip()]


def test_work_is_shared_and_folders_are_made_once(tmp_path):
    processes = joined("share", tmp_path)
    said = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert said == [("all is well\n", ""), ("", "")]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("refuse", "the recipe is bad; mend it"),
        ("refused", "the photo is none; take it out"),  # by the first alone
        ("shared", "the photo is none; take it out"),  # by the second alone
    ],
)
def test_what_refuses_one_of_them_refuses_all_and_is_said_once(what, said, tmp_path):
    first, second = end_all(joined(what, tmp_path))
    assert (first.status, second.status) == (2, 2)
    assert sentences(first.errors) == [f"capjax: {said}"]
    assert not sentences(second.errors)


def test_a_fault_of_one_ends_the_other_with_its_reason(tmp_path):
    first, second = end_all(joined("fault", tmp_path))
    assert (first.status, second.status) == (1, 1)
    (said,) = sentences(first.errors)
    assert "process 1 of 2 has ended (TypeError: no such thing)" in said
    assert "Traceback" in second.errors


@pytest.mark.parametrize(
    ("victim", "what", "devices"),
    [
        (0, "killed", "2"),
        pytest.param(1, "killed", "2", marks=pytest.mark.slow),
        # With one device a process gloo tells of it as a ValueError.
        pytest.param(1, "gathers", "1", marks=pytest.mark.slow),
        pytest.param(1, "gathers", "2", marks=pytest.mark.slow),
    ],
)
def test_a_killed_process_ends_the_other_with_a_sentence_within_a_minute(
    victim, what, devices, tmp_path
):
    processes = joined(what, tmp_path, devices)
    while not all((tmp_path / f"up{i}").exists() for i in range(2)):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)
    processes[victim].kill()
    begun = time.monotonic()
    ended = end_all(processes)[1 - victim]
    assert time.monotonic() - begun < 60
    assert ended.status == 1
    assert sentences(ended.errors) == [
        f"capjax: process {victim} of 2 is gone (killed, or its machine has failed), and so process"
        f" {1 - victim} ends; run the same command again to go on"
    ]


def test_who_cannot_reach_the_others_says_so(tmp_path):
    place = {"JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{free_port()}", "JAX_NUM_PROCESSES": "2"}
    command = [sys.executable, str(Path(__file__).with_name("joined.py")), "share", str(tmp_path)]
    alone = subprocess.run(
        command,
        env=os.environ | place | {"JAX_PROCESS_ID": "1", "CAPJAX_JOIN_SECONDS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert alone.returncode == 1
    (said,) = sentences(alone.stderr)
    assert "process 1 of 2 could not reach the others at 127.0.0.1:" in said
    assert "within 1 seconds" in said


def test_a_port_that_another_listens_at_is_told_of(tmp_path):
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::", 0))
        other.listen()
        place = f"127.0.0.1:{other.getsockname()[1]}"
        alone = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("joined.py")), "share", str(tmp_path)],
            env=os.environ
            | {"JAX_COORDINATOR_ADDRESS": place, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "0"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert alone.returncode == 1
    (said,) = sentences(alone.stderr)
    assert f"process 0 of 2 cannot be found at {place} (Address already in use)" in said
