"""One run in many processes: how do they find one another, and which of them is this one?

JAX's own runtime joins them. Alone, a process needs nothing of all this.
"""

import os
import warnings
from typing import Any

import jax
from jax._src import clusters, distributed

from capjax.errors import InputError

ADDRESS, COUNT, INDEX = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
PATIENCE = "CAPJAX_JOIN_SECONDS"  # how long a process waits for the others to be started
SILENCE = 40  # seconds without a sign of life after which a process is taken to be gone


def count() -> int:
    """How many processes there are."""
    return jax.process_count()


def index() -> int:
    """Which of them this one is, from 0."""
    return jax.process_index()


def first() -> bool:
    """Whether it is the one that writes what people read."""
    return jax.process_index() == 0


def joined() -> bool:
    """Whether this process has joined others; asks no device."""
    return distributed.global_state.client is not None


def wanted() -> tuple[str, int, int] | None:
    """What the environment says of the processes of a run: (address of the first, how many, which
    is this one); None where it is alone.

    On a TPU pod, in Slurm, in an indexed job of Kubernetes and under Open MPI JAX knows; elsewhere
    three variables tell. JAX_NUM_PROCESSES=1 says that a process is alone, wherever it runs.

    Raises:
      InputError: variables that lack or make no sense.
    """
    given = {name: os.environ.get(name, "") for name in (ADDRESS, COUNT, INDEX)}
    if given[COUNT] == "1":
        return None
    if all(given.values()):
        return _given(given)
    if (cluster := _cluster()) is None:
        if any(given.values()):
            lacks = ", ".join(name for name, value in given.items() if not value)
            raise InputError(
                f"the environment has {' and '.join(n for n, v in given.items() if v)} without"
                f" {lacks}; set all three, or none for one process alone"
            )
        return None
    try:
        number = int(given[COUNT] or cluster.get_process_count())
        if number == 1:
            return None
        port = os.environ.get("JAX_COORDINATOR_PORT")
        place = given[ADDRESS] or cluster.get_coordinator_address(patience(), port)
        return place, number, int(given[INDEX] or cluster.get_process_id())
    except Exception as error:  # what clusters raise has many kinds
        told = " ".join(str(error).split())[:300]
        raise InputError(
            f"the processes of this {cluster.name or cluster.__name__} job cannot be told ({told});"
            f" set {ADDRESS}, {COUNT} and {INDEX}"
        ) from error


def patience() -> int:
    """Seconds that a process waits for the others to be started: CAPJAX_JOIN_SECONDS, or 45."""
    given = os.environ.get(PATIENCE, "45")
    if not given.isdigit() or not int(given):
        raise InputError(f"{PATIENCE}={given} is no number of seconds; give one, as 300")
    return int(given)


def join(place: str, number: int, which: int) -> None:
    """Joins the other processes, before JAX has looked for devices.

    Where they do not all come within `patience`, JAX's runtime ends the process by itself
    (`parting` says why).
    """
    # Signals are heeded by the run itself, which knows what there is to save.
    jax.config.update("jax_enable_preemption_service", False)
    told = all(os.environ.get(name) for name in (ADDRESS, COUNT, INDEX))
    jax.distributed.initialize(
        place,
        number,
        which,
        # Elsewhere JAX asks the scheduler for the devices of this process.
        cluster_detection_method="deactivate" if told else None,
        initialization_timeout=patience(),
        heartbeat_timeout_seconds=SILENCE,
        shutdown_timeout_seconds=60,
    )


def _given(given: dict[str, str]) -> tuple[str, int, int]:
    place, number, which = given.values()
    host, _, port = place.rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"{ADDRESS}={place} must be HOST:PORT of the first process")
    if not (number.isdigit() and which.isdigit() and int(which) < int(number)):
        raise InputError(
            f"{COUNT}={number} and {INDEX}={which} must be how many processes there are and which"
            " of them this one is, from 0"
        )
    return place, int(number), int(which)


def _cluster() -> Any:
    """The scheduler that this process runs under, as JAX knows them; None for none."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            # In JAX's order: a TPU pod of Kubernetes is a TPU pod first.
            return next(
                (kind for kind in clusters.ClusterEnv._cluster_types if _is_here(kind)), None
            )
        except UserWarning as error:
            raise InputError(
                "this is a pod of an indexed job, and the package kubernetes that would find the"
                f" others is not installed; pip install kubernetes, or set {ADDRESS}, {COUNT} and"
                f" {INDEX} ({COUNT}=1 for a process alone)"
            ) from error
        except Exception as error:  # of a cluster's own client
            told = " ".join(str(error).split())[:300]
            raise InputError(
                f"which scheduler this process runs under cannot be told ({told}); set {ADDRESS},"
                f" {COUNT} and {INDEX} ({COUNT}=1 for a process alone)"
            ) from error


def _is_here(kind: Any) -> bool:
    if kind is clusters.K8sCluster and "JOB_COMPLETION_INDEX" not in os.environ:
        return False  # a pod of its own, or of another scheduler
    return not kind.opt_in_only_method and kind.is_env_present()
