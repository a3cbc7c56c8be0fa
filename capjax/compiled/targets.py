"""Machines that are not here: what their compilers are told, and what they are taken to do."""

import os
from importlib.metadata import version
from importlib.util import find_spec
from math import prod
from typing import Any, NamedTuple

import jax
from jax.errors import JaxRuntimeError
from jax.experimental import topologies

from capjax.errors import InputError


class Machine(NamedTuple):
    """One chip, as predictions take it: all but its bandwidth by order of magnitude."""

    peak: float  # FLOP/s of a good bfloat16 matmul
    bandwidth: float  # bytes/s of its main memory
    launch_s: float  # seconds of the smallest launch
    ask_s: float  # seconds of an iteration whose being the last depends on data
    rows: int = 1  # a matmul's rows are taken in in groups of so many
    lanes: int = 1  # and what it adds up over, and its columns, in groups of so many
    memory: float = 0  # bytes of its main memory that a program may have


# Of the 79 GiB of an H100 JAX takes 75 % (XLA_PYTHON_CLIENT_MEM_FRACTION).
H100 = Machine(400e12, 3.35e12, 2.5e-6, 8e-6, memory=0.75 * 84978434048)
# A TPU runs a program's instructions by itself: no host launches them, or is asked whether a loop
# goes on. 0.5 and 1 us are our own guesses; peak and bandwidth are the maker's, memory is what the
# compiler lets a program have.
TPUS = {
    "v4": Machine(275e12, 1228e9, 5e-7, 1e-6, 16, 128, 30.5 * 2**30),
    "v5e": Machine(197e12, 819e9, 5e-7, 1e-6, 16, 128, 15.75 * 2**30),
    "v5p": Machine(459e12, 2765e9, 5e-7, 1e-6, 16, 128, 95.74 * 2**30),
    "v6e": Machine(918e12, 1640e9, 5e-7, 1e-6, 16, 256, 31.25 * 2**30),
}
HOST = 8  # H100s of one host

# Parts of what JAX calls chips, and what predictions take them to be.
KINDS = {"H200": H100._replace(bandwidth=4.8e12), "v5 lite": TPUS["v5e"], "v6 lite": TPUS["v6e"]}

# Facts of an H100 SXM in the form that XLA takes for a card that it cannot see.
FACTS = """
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  memory_bandwidth: 3352320000000 l2_cache_size: 52428800 device_memory_size: 84978434048
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 8 patch: 0 }
runtime_version { major: 13 }
device_description_str: "sm_90"
"""


def machine_of(target: str, dtype: str = "bfloat16") -> Machine:
    """What predictions take a target's chip to be, where products take in a dtype."""
    if _chip(target) in TPUS:
        return TPUS[_chip(target)]  # which round what float32 products take in to bfloat16
    return H100 if dtype == "bfloat16" else H100._replace(peak=H100.peak / 2)  # TF32's share


def like(kind: str) -> Machine:
    """What predictions take a chip that is here to be; of one that is not known, an H100."""
    named = {**TPUS, **KINDS}
    return next((machine for name, machine in named.items() if name in kind), H100)


def name_of(machine: Machine) -> str:
    named = {"h100": H100, **TPUS, **KINDS}
    return next(name for name, one in named.items() if one == machine)


def platform_of(target: str) -> str:
    return "cuda" if _chip(target) == "h100" else "tpu"


def shape_of(target: str) -> tuple[int, ...]:
    """How a target's chips lie: a slice's sides; of H100s hosts and cards of each."""
    chip, _, shape = target.partition(":")
    if chip == "h100":
        cards = int(shape or 1)
        return (1, cards) if cards <= HOST else (cards // HOST, HOST)
    return tuple(int(n) for n in shape.split("x"))


def chips_of(target: str) -> int:
    return prod(shape_of(target))


def check_target(target: str) -> None:
    """Raises InputError where a name is none of a target, or its compiler is not installed."""
    chip, _, shape = target.partition(":")
    sides = shape.split("x") if target != "h100" else ["1"]
    known = chip in ("h100", *TPUS) and all(side.isdigit() and int(side) > 0 for side in sides)
    if chip == "h100":
        known = known and len(sides) == 1 and (int(sides[0]) <= HOST or not int(sides[0]) % HOST)
    if not known:
        raise InputError(
            f"there is no machine {target!r} to compile for; give h100, h100:8, hosts of 8 as"
            f" h100:64, or a slice of {', '.join(TPUS)} as v5e:2x2 or v5p:2x2x2"
        )
    if lacking := missing(target):
        raise InputError(f"the compiler for {target} is not installed: {lacking}")


def missing(target: str) -> str | None:
    """What to install for a target's compiler; None where it is there."""
    if platform_of(target) == "cuda":
        if find_spec("jax_plugins") and find_spec("jax_plugins.xla_cuda13"):
            return None
        return f'pip install jax-cuda13-plugin=={version("jax")}, or pip install -e ".[aot]"'
    return None if find_spec("libtpu") else 'pip install libtpu, or pip install -e ".[aot]"'


def prepare(target: str) -> None:
    """Readies this process for a target's compiler; before it computes anything."""
    # What is here is a CPU, whatever else is: no chip is held by who only compiles.
    jax.config.update("jax_platforms", "cpu,cuda" if platform_of(target) == "cuda" else "cpu")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # that there is no card is no news
    os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # no CUDA libraries are to be found
    os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"
    os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # nobody is to be asked what TPU this is
    os.environ["TPU_WORKER_HOSTNAMES"] = "localhost"
    os.environ["TPU_WORKER_ID"] = "0"
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")  # any: else libtpu misses it aloud


def devices(target: str) -> list[Any]:
    """The devices of a target, which programs can be compiled for and nothing can run on.

    Raises InputError where the compiler knows no such slice.
    """
    try:
        if platform_of(target) == "cuda":
            hosts, cards = shape_of(target)
            found = topologies.get_topology_desc(
                platform="cuda",
                topology_name="h100",
                topology=f"1x{hosts}x{cards}",
                target_config=FACTS,
            )
        else:
            # Both cores of a chip are one device, as at run time.
            cores = {"chip_config_name": "megacore"} if _chip(target) == "v4" else {}
            found = topologies.get_topology_desc(platform="tpu", topology_name=target, **cores)
    except JaxRuntimeError as error:
        why = " ".join(str(error).split())
        raise InputError(f"{target} is no slice that the compiler knows: {why}") from error
    return list(found.devices)


def _chip(target: str) -> str:
    return target.partition(":")[0]
