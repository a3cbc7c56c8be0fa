"""A hot loop as a program, its trips counted here, and its figures."""

from typing import Any

import jax
from hot_loops import NARROW, HotLoop, Size, hot_loop, mapped
from jax.sharding import NamedSharding

from capjax.compiled.ledger import Part, predicted
from capjax.compiled.programs import Compiled, Traced, structs, traced
from capjax.compiled.targets import Machine
from capjax.compiled.trips import Counts, Loop, counts_of, form_of

KEY = 2


def program_of(loop: HotLoop, devices: list[Any]) -> Traced:
    """A hot loop over devices, which need not be here; each has the loop's share."""
    call, mesh = mapped(loop, devices)
    whole, key = jax.eval_shape(lambda: (loop.init(), jax.random.key(KEY)))
    args = (
        structs(whole, NamedSharding(mesh, jax.P())),
        structs(loop.share, NamedSharding(mesh, jax.P("data")), len(devices)),
        structs(key, NamedSharding(mesh, jax.P())),
    )
    return traced(call, args)


def arguments(loop: HotLoop) -> list[jax.Array]:
    """What a program of one device is fed, flat."""
    whole = jax.jit(loop.init)()
    return jax.tree.leaves((whole, jax.device_put(loop.share), jax.random.key(KEY)))


def counted(name: str, platform: str, size: Size = NARROW) -> tuple[list[Loop], Counts]:
    """Runs the accelerator's form of a hot loop here, of narrow networks, and counts."""
    device = jax.devices("cpu")[0]
    with form_of(platform), jax.default_device(device):
        loop = hot_loop(name, size)
        program = program_of(loop, [device])
        counts = counts_of(program.closed, program.loops, arguments(loop))
    return program.loops, counts


def row(
    loop: HotLoop, program: Traced, built: Compiled, part: Part, machine: Machine
) -> dict[str, Any]:
    """The figures of one loop, of one chip."""
    launches, asks, work = (part.total(name) for name in ("launches", "asks", "work"))
    memory = built.executable.memory_analysis()
    waits = asks * machine.ask_s
    seconds = predicted(machine, launches, asks, work)
    by_bytes = part.total("memory_s") + waits + work / machine.peak
    return {
        "size": loop.size,
        "trace_s": program.seconds,
        "compile_s": built.seconds,
        "launches": launches,
        "asks": asks,
        "work": work,
        "needed": loop.work,
        "padded": part.total("padded"),
        "bytes": part.total("bytes"),
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "predicted_s": seconds,
        "predicted_by_bytes_s": by_bytes,
        "share_executed": work / machine.peak / seconds,
        "share_needed": loop.work / machine.peak / seconds,
    }
