"""What a process finds out of its surroundings about the others."""

import pytest

from capjax.errors import InputError
from capjax.parallel import processes

JAX = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_COORDINATOR_PORT")
SLURM = {
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_NODELIST": "node[003-006]",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
}
OTHERS = (*SLURM, "KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX", "OMPI_MCA_orte_hnp_uri")


@pytest.fixture
def surroundings(monkeypatch):
    """(**variables) -> what is found with these and no others that tell of processes."""

    def found(**variables: str):
        for name in (*JAX, *OTHERS):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return processes.wanted()

    return found


def three(place: str, number: str, which: str) -> dict[str, str]:
    return dict(zip(JAX, (place, number, which), strict=False))


def test_a_process_alone_needs_nothing(surroundings):
    assert surroundings() is None
    assert surroundings(KUBERNETES_SERVICE_HOST="10.0.0.1") is None  # a pod of its own
    assert surroundings(**SLURM | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}) is None
    assert surroundings(SLURM_JOB_ID="71", SLURM_NTASKS="4") is None  # no task of srun


def test_three_variables_tell(surroundings):
    assert surroundings(**three("host:1234", "4", "3")) == ("host:1234", 4, 3)
    assert surroundings(**three("[::1]:1234", "2", "0")) == ("[::1]:1234", 2, 0)


def test_slurm_tells(surroundings):
    place, number, which = surroundings(**SLURM)
    assert (place.partition(":")[0], number, which) == ("node003", 4, 2)
    assert surroundings(**SLURM, JAX_COORDINATOR_PORT="99") == ("node003:99", 4, 2)
    in_a_pod = surroundings(**SLURM, KUBERNETES_SERVICE_HOST="10.0.0.1")
    assert in_a_pod == (place, number, which)


def test_a_process_can_be_told_that_it_is_alone(surroundings):
    assert surroundings(**SLURM, JAX_NUM_PROCESSES="1") is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        (three("host:1", "", ""), "without JAX_NUM_PROCESSES, JAX_PROCESS_ID"),
        ({"JAX_PROCESS_ID": "1"}, "without JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES"),
        (three("host", "2", "0"), "must be HOST:PORT"),
        (three("host:port", "2", "0"), "must be HOST:PORT"),
        (three("host:1", "2", "2"), "JAX_PROCESS_ID=2 must be"),
        (three("host:1", "two", "0"), "JAX_NUM_PROCESSES=two"),
        (SLURM | {"SLURM_NTASKS": "many"}, "the processes of this slurm job cannot be told"),
    ],
)
def test_what_makes_no_sense_is_refused(variables, said, surroundings):
    with pytest.raises(InputError, match=said):
        surroundings(**variables)


def test_how_long_others_are_waited_for(monkeypatch):
    monkeypatch.delenv(processes.PATIENCE, raising=False)
    assert processes.patience() == 45
    monkeypatch.setenv(processes.PATIENCE, "600")
    assert processes.patience() == 600
    monkeypatch.setenv(processes.PATIENCE, "soon")
    with pytest.raises(InputError, match="CAPJAX_JOIN_SECONDS=soon is no number of seconds"):
        processes.patience()
