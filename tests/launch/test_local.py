"""launch/local.sh: a command in several processes on this machine."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

LOCAL = Path(__file__).parents[2] / "launch" / "local.sh"


def local(*words: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        ["bash", str(LOCAL), *words],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_with(word: str) -> list[str]:
    """The command lines on this machine that hold a word, but for zombies'."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace").replace("\0", " ")
        except OSError:
            continue
        found += [line] if word in line else []
    return found


def test_each_process_has_a_number_of_its_own_and_all_one_address():
    tell = (
        "import os; words = [os.environ['JAX_' + name]"
        " for name in ('PROCESS_ID', 'NUM_PROCESSES', 'COORDINATOR_ADDRESS')];"
        " os.write(1, f'{words[0]} {words[1]} {words[2]}\\n'.encode())"  # in one piece
    )
    out, errors = local("3", sys.executable, "-S", "-c", tell).communicate(timeout=60)
    rows = sorted(line.split() for line in out.splitlines())
    assert [row[:2] for row in rows] == [["0", "3"], ["1", "3"], ["2", "3"]]
    (address,) = {row[2] for row in rows}
    assert address.startswith("127.0.0.1:")
    assert errors == ""


@pytest.mark.parametrize(
    ("number", "command", "status"),
    [
        ("1", "exit 0", 0),
        ("1", "exit 75", 75),
        ("3", "exit $((JAX_PROCESS_ID % 2))", 1),
        ("2", "exit $((2 - JAX_PROCESS_ID))", 2),
        ("2", '[ "$JAX_PROCESS_ID" = 0 ] || kill -KILL $$', 128 + signal.SIGKILL),
    ],
)
def test_it_ends_with_the_worst_status(number, command, status):
    process = local(number, "bash", "-c", command)
    process.communicate(timeout=60)
    assert process.returncode == status


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_signals_reach_all_and_nothing_is_left(how, tmp_path):
    mark = f"{time.time():.6f}"  # of seconds to sleep: finds the processes of this test
    name = how.name.removeprefix("SIG")
    command = (
        f"trap 'touch {tmp_path}/$JAX_PROCESS_ID; exit 7' {name};"
        f" sleep {mark} & touch {tmp_path}/ready$JAX_PROCESS_ID; wait"
    )
    process = local("2", "bash", "-c", command)
    until = time.monotonic() + 30
    while len(list(tmp_path.glob("ready*"))) < 2:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate(timeout=60)
    assert process.returncode == 7
    assert {path.name for path in tmp_path.glob("[01]")} == {"0", "1"}
    assert processes_with(mark) == []


def test_others_are_ended_when_one_has_failed_and_they_do_not_end():
    mark = f"{time.time():.6f}"
    process = local(
        *("2", "bash", "-c", f"[ $JAX_PROCESS_ID = 1 ] && exit 3; sleep {mark}"),
        LOCAL_PATIENCE="1",
    )
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert processes_with(mark) == []


@pytest.mark.parametrize("words", [[], ["2"], ["0", "true"], ["two", "true"], ["-1", "true"]])
def test_without_a_number_and_a_command_it_says_how_it_is_called(words):
    process = local(*words)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "launch/local.sh 2 python" in errors


@pytest.mark.slow
def test_jax_finds_the_others():
    program = (
        "import os, jax\n"
        "jax.distributed.initialize(os.environ['JAX_COORDINATOR_ADDRESS'],"
        " int(os.environ['JAX_NUM_PROCESSES']), int(os.environ['JAX_PROCESS_ID']),"
        " cluster_detection_method='deactivate')\n"
        "share = jax.numpy.full(jax.local_device_count(), jax.process_index() + 1)\n"
        "total = jax.pmap(lambda one: jax.lax.psum(one, 'i'), axis_name='i')(share)\n"
        "line = f'{jax.process_index()} {jax.process_count()} {total.tolist()}\\n'\n"
        "os.write(1, line.encode())\n"
    )
    process = local("2", sys.executable, "-c", program, JAX_NUM_CPU_DEVICES="2")
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert {"0 2 [6, 6]", "1 2 [6, 6]"} <= {*out.splitlines()}
