"""A hot loop as a program: traced, its loops numbered, compiled, and its trips counted here."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import hlo
import jax
import numpy as np
from hot_loops import NARROW, HotLoop, Size, hot_loop, mapped
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import NamedSharding
from ledger import Account, Part, predicted
from targets import Machine
from trips import Counts, Loop, counts_of, form_of, numbered

KEY = 2


class Traced(NamedTuple):
    """A hot loop over some devices, its loops numbered."""

    closed: ClosedJaxpr
    loops: list[Loop]
    call: Callable  # jitted, of flat arguments
    args: list[jax.ShapeDtypeStruct]
    donated: int  # the first of them, which are given up for as many results
    seconds: float


class Compiled(NamedTuple):
    """A traced program, compiled."""

    executable: Any
    text: str
    seconds: float


def traced(loop: HotLoop, devices: list[Any]) -> Traced:
    """A hot loop over devices, which need not be here; each has the loop's share."""
    begin = time.perf_counter()
    call, mesh = mapped(loop, devices)
    whole, key = jax.eval_shape(lambda: (loop.init(), jax.random.key(KEY)))
    args = (
        _structs(whole, NamedSharding(mesh, jax.P())),
        _structs(loop.share, NamedSharding(mesh, jax.P("data")), len(devices)),
        _structs(key, NamedSharding(mesh, jax.P())),
    )
    closed = jax.make_jaxpr(call)(*args)
    (outer,) = closed.jaxpr.eqns
    assert outer.invars == closed.jaxpr.invars, "the program takes its arguments as they are"
    donated = [i for i, gone in enumerate(outer.params["donated_invars"]) if gone]
    inner, loops = numbered(outer.params["jaxpr"])
    call = jax.jit(jaxpr_as_fun(inner), donate_argnums=donated)
    return Traced(
        inner, loops, call, jax.tree.leaves(args), len(donated), time.perf_counter() - begin
    )


def compiled(program: Traced) -> Compiled:
    """Compiles it for the devices that it was traced for."""
    begin = time.perf_counter()
    executable = program.call.lower(*program.args).compile()
    taken = time.perf_counter() - begin
    return Compiled(executable, executable.as_text(), taken)


def arguments(loop: HotLoop) -> list[jax.Array]:
    """What a program of one device is fed, flat."""
    whole = jax.jit(loop.init)()
    return jax.tree.leaves((whole, jax.device_put(loop.share), jax.random.key(KEY)))


def counted(name: str, platform: str, size: Size = NARROW) -> tuple[list[Loop], Counts]:
    """Runs the accelerator's form of a hot loop here, of narrow networks, and counts."""
    device = jax.devices("cpu")[0]
    with form_of(platform), jax.default_device(device):
        loop = hot_loop(name, size)
        program = traced(loop, [device])
        counts = counts_of(program.closed, program.loops, arguments(loop))
    return program.loops, counts


def account(
    text: str, loops: list[Loop], found: tuple[list[Loop], Counts], machine: Machine
) -> tuple[Part, list[str]]:
    """What a compiled program does, given what the same program of narrower networks has counted.

    Returns:
      (the program's parts, what could not be told).
    """
    narrow, counts = found
    untold = []
    shapeless = [[x._replace(length=None) for x in some] for some in (narrow, loops)]
    if shapeless[0] != shapeless[1]:
        untold.append("the narrow program has other loops than the wide one: no trips are known")
        nothing = np.zeros(len(loops))
        counts = Counts(nothing, nothing, np.zeros((len(loops), counts.taken.shape[1])))
    else:
        untold += [
            f"{a.place} runs {a.length} times, {b.length} in the narrow program: the loops in it"
            " may run otherwise than counted"
            for i, (a, b) in enumerate(zip(loops, narrow, strict=True))
            if a.length != b.length and any(i in x.within and x.kind == "while" for x in loops)
        ]
    book = Account(hlo.read(text), machine, loops, counts, untold)
    return book.whole(), book.untold


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


def _structs(tree: Any, sharding: NamedSharding, chips: int = 1) -> Any:
    """Shapes, the leading axis as many times as long as there are chips."""

    def one(x: Any) -> jax.ShapeDtypeStruct:
        shape = (x.shape[0] * chips, *x.shape[1:]) if chips > 1 else x.shape
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)

    return jax.tree.map(one, tree)
