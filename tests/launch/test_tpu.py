"""launch/tpu.sh: what it would ask of Google, and how it goes on where Google is a folder."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
GCLOUD = Path(__file__).parent / "gcloud"
SLICE = ["--name=gan", "--zone=us-west4-a", "--type=v5litepod-16"]
TRAIN = ["python", "-m", "capjax.train", "--config=configs/gan.py", "--workdir=gs://b/it's"]


def tpu(*words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["bash", HOME / "launch" / "tpu.sh", *words],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def failing(tmp_path: Path) -> str:
    """A PATH whose gcloud leaves a file behind and fails."""
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(f"#!/bin/sh\ntouch {tmp_path}/called\nexit 1\n")
    gcloud.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


def test_a_dry_run_prints_every_command_and_runs_none(failing, tmp_path):
    done = tpu(*SLICE, "--project=p", "--spot", "--dry-run", *TRAIN, PATH=failing)
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "called").exists()
    verbs = [
        line.split()[4]
        for line in done.stdout.splitlines()
        if line.startswith("gcloud compute tpus queued-resources ")
    ]
    assert verbs == ["describe", "create", "describe", "scp", *["ssh"] * 4, "delete"]
    created = next(line for line in done.stdout.splitlines() if " create " in line).split()
    assert {
        *("--zone=us-west4-a", "--project=p", "--accelerator-type=v5litepod-16", "--spot"),
        *("--runtime-version=v2-alpha-tpuv5-lite", "--node-id=gan"),
    } <= {*created}


def test_the_command_reaches_the_hosts_word_by_word(failing):
    done = tpu(*SLICE, "--dry-run", *TRAIN, "two words", PATH=failing)
    (line,) = [line for line in done.stdout.splitlines() if "tpu-host.sh start " in line]
    by_shell = ["bash", "-c", f"printf '%s\\n' {line}"]
    (command,) = [
        word
        for word in subprocess.check_output(by_shell, text=True).splitlines()
        if word.startswith("--command=")
    ]
    on_host = ["bash", "-c", "printf '%s\\n' " + command.removeprefix("--command=")]
    words = subprocess.check_output(on_host, text=True).splitlines()
    # A run that was stopped must be told from one that has finished.
    assert words[3:] == [*TRAIN, "two words", "--stop_status=75"]


def test_several_slices_are_nodes_of_one_request(failing):
    done = tpu(*SLICE, "--slices=4", "--dry-run", *TRAIN, PATH=failing)
    assert "--node-count=4 --node-prefix=gan" in done.stdout
    assert "--node-id" not in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--zone=z", "--type=v5p-8", "x"], "--name"),
        (["--name=Gan", "--zone=z", "--type=v5p-8", "x"], "lower-case"),
        (["--name=gan", "--type=v5p-8", "x"], "--zone is missing"),
        (["--name=gan", "--zone=z", "x"], "--type is missing"),
        (["--name=gan", "--zone=z", "--type=v9-8", "x"], "--runtime"),
        (["--name=gan", "--zone=z", "--type=v5p-8"], "command is missing"),
        (["--name=gan", "--zone=z", "--type=v5p-8", "--slices=0", "x"], "--slices=0"),
        (["--spots"], "--spots is no flag"),
    ],
)
def test_bad_flags_are_told_in_a_sentence(words, told, failing, tmp_path):
    done = tpu(*words, PATH=failing)
    assert done.returncode == 2
    assert told in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "called").exists()


@pytest.fixture
def google(tmp_path: Path):
    """(flags, what the hosts' command does at each start) -> what tpu.sh did, what it asked for.

    `leave`: with Ctrl-C as soon as the command runs, and then the same line again.
    """
    (tmp_path / "bin").mkdir()
    shutil.copy(GCLOUD, tmp_path / "bin" / "gcloud")

    def run(
        flags: list[str], starts: list[str], leave: bool = False
    ) -> tuple[subprocess.CompletedProcess, list[str]]:
        command = tmp_path / "command"
        cases = "".join(f"{number}) {what} ;;\n" for number, what in enumerate(starts))
        command.write_text(
            'count=$SLICE/$(basename "$HOME").starts\n'
            'number=$(cat "$count" 2>/dev/null || echo 0)\n'
            'echo $((number + 1)) >"$count"\n'
            f'echo "start $number of $(basename "$HOME")"\ncase $number in\n{cases}esac\n'
        )
        words = [*SLICE, *flags, "bash", str(command)]
        there = {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "SLICE": str(tmp_path),
            "TPU_POLL": "0.1",
        }
        if leave:
            first = subprocess.Popen(
                ["bash", HOME / "launch" / "tpu.sh", *words],
                env=os.environ | there,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            for line in first.stdout:
                if line.startswith("start"):
                    break
            os.killpg(first.pid, signal.SIGINT)  # as a terminal's Ctrl-C does
            assert "goes on" in first.communicate(timeout=60)[1]
            assert first.returncode == 130
        done = tpu(*words, **there)
        return done, (tmp_path / "asked").read_text().split()

    return run


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("setsid") is None, reason="hosts need setsid")
class TestWithAFolderForGoogle:
    def test_it_goes_on_after_a_crash_a_stop_and_a_preemption_and_deletes_what_it_asked_for(
        self, google, tmp_path
    ):
        done, asked = google(
            [], ["exit 1", "exit 75", 'echo SUSPENDED >"$SLICE/state"; sleep 1; exit 75', "exit 0"]
        )
        assert done.returncode == 0, done.stderr
        assert "start 3 of host0" in done.stdout  # the log is followed
        for host in ("host0", "host1"):
            assert (tmp_path / f"{host}.starts").read_text() == "4\n"  # all start again together
        for told in ("crashed", "stopped", "preempted", "finished"):
            assert told in done.stderr
        assert (asked.count("create"), asked.count("delete"), asked[-1]) == (2, 2, "delete")
        assert asked.count("scp") == 2  # once a slice

    def test_what_is_refused_is_not_tried_again(self, google, tmp_path):
        done, asked = google([], ["exit 2", "exit 0"])
        assert done.returncode == 2
        assert "status 2" in done.stderr
        assert (tmp_path / "host0.starts").read_text() == "1\n"
        assert asked[-1] == "delete"

    def test_crashes_are_tried_again_as_often_as_was_said(self, google, tmp_path):
        done, asked = google(["--retries=1", "--keep"], ["exit 3"] * 5)
        assert done.returncode == 1
        assert (tmp_path / "host0.starts").read_text() == "2\n"
        assert "delete" not in asked
        assert "--delete" in done.stderr  # what it costs to keep is told

    def test_left_and_called_again_it_follows_what_runs(self, google, tmp_path):
        done, asked = google([], ["sleep 2; echo said later; exit 0", "exit 3"], leave=True)
        assert done.returncode == 0, done.stderr
        assert "said later" in done.stdout
        assert (tmp_path / "host1.starts").read_text() == "1\n"
        assert (asked.count("create"), asked.count("scp")) == (1, 1)
