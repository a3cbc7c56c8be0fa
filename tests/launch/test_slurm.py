"""launch/slurm.sbatch on a Slurm of two idle nodes, where there is one."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "launch" / "slurm.sbatch"


def idle_nodes() -> int:
    if shutil.which("sbatch") is None:
        return 0
    told = subprocess.run(
        ["sinfo", "--noheader", "--Node", "--states=idle"], capture_output=True, text=True
    )
    return len(told.stdout.splitlines())


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(idle_nodes() < 2, reason="no Slurm with two idle nodes here"),
]


def job(folder: Path, starts: list[str]) -> tuple[int, str]:
    """(exit status, log) of a job whose n-th start runs the n-th of these on each node."""
    cases = "".join(f"{number}) {what} ;;\n" for number, what in enumerate(starts))
    command = folder / "command"
    command.write_text(
        'echo "start ${SLURM_RESTART_COUNT:-0} of $SLURM_PROCID"\n'
        f"case ${{SLURM_RESTART_COUNT:-0}} in\n{cases}esac\n"
    )
    number = subprocess.check_output(
        ["sbatch", "--parsable", SCRIPT, "bash", command], cwd=folder, text=True
    ).strip()
    show = ["scontrol", "show", "job", number]
    until = time.monotonic() + 600  # a job that was requeued waits two minutes
    while time.monotonic() < until:
        facts = dict(
            word.split("=", 1)
            for word in subprocess.check_output(show, text=True).split()
            if "=" in word
        )
        if facts["JobState"] in ("COMPLETED", "FAILED", "CANCELLED"):
            status = int(facts["ExitCode"].partition(":")[0])
            return status, (folder / f"slurm-{number}.log").read_text()
        if facts.get("Reason") == "BeginTime":
            subprocess.run(["scontrol", "update", f"JobId={number}", "StartTime=now"], check=True)
        time.sleep(1)
    subprocess.run(["scancel", number], check=True)
    raise AssertionError(f"job {number} has not ended")


def test_stopped_and_crashed_it_is_queued_again_until_it_has_finished(tmp_path):
    status, log = job(tmp_path, ["exit 75", "exit $SLURM_PROCID", "exit 0"])
    assert status == 0
    told = {line for line in log.splitlines() if line.startswith("start")}
    assert told == {f"start {start} of {rank}" for start in range(3) for rank in range(2)}
    assert not list(tmp_path.glob("*.crashes"))


def test_refused_it_is_not_queued_again(tmp_path):
    status, log = job(tmp_path, ["exit 2", "exit 0"])
    assert status == 2
    assert "start 1" not in log
    assert "refused" in log


def test_a_signal_to_its_tasks_stops_and_queues_it_again(tmp_path):
    stop = (
        'trap "exit 75" TERM\n'
        '[ "$SLURM_PROCID" = 1 ] || (sleep 1; scancel --signal=TERM "$SLURM_JOB_ID")\n'
        "while true; do sleep 0.1; done"
    )
    status, log = job(tmp_path, [stop, "exit 0"])
    assert status == 0
    assert {"start 1 of 0", "start 1 of 1"} <= {*log.splitlines()}
