"""A call as a program for machines that need not be here: traced, numbered, compiled, reckoned."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jax.sharding import NamedSharding

from capjax.compiled import hlo
from capjax.compiled.ledger import Account, Part
from capjax.compiled.targets import Machine
from capjax.compiled.trips import Counts, Loop, numbered


class Traced(NamedTuple):
    """A program over some devices, its loops numbered."""

    closed: ClosedJaxpr
    loops: list[Loop]
    call: Any  # jitted, of flat arguments
    args: list[jax.ShapeDtypeStruct]
    donated: int  # the first of them, which are given up for as many results
    seconds: float


class Compiled(NamedTuple):
    """A traced program, compiled."""

    executable: Any
    text: str
    seconds: float


def traced(call: Callable, args: Sequence[Any]) -> Traced:
    """A jitted call of arguments that are forms; where a `shard_map` wants them, they lie."""
    begin = time.perf_counter()
    closed = jax.make_jaxpr(call)(*args)
    (outer,) = closed.jaxpr.eqns
    assert outer.invars == closed.jaxpr.invars, "the program takes its arguments as they are"
    donated = [i for i, gone in enumerate(outer.params["donated_invars"]) if gone]
    inner, loops = numbered(outer.params["jaxpr"])
    flat = jax.jit(jaxpr_as_fun(inner), donate_argnums=donated)
    taken = time.perf_counter() - begin
    return Traced(inner, loops, flat, _placed(inner, jax.tree.leaves(args)), len(donated), taken)


def compiled(program: Traced) -> Compiled:
    """Compiles it for the devices that it was traced for."""
    begin = time.perf_counter()
    executable = program.call.lower(*program.args).compile()
    taken = time.perf_counter() - begin
    return Compiled(executable, executable.as_text(), taken)


def _placed(closed: ClosedJaxpr, args: list[Any]) -> list[Any]:
    """The forms of arguments where the mapped body that the program is expects them."""
    for eqn in closed.jaxpr.eqns:
        if eqn.primitive.name == "shard_map":
            taken = zip(map(id, eqn.invars), eqn.params["in_specs"], strict=True)
            places = {x: NamedSharding(eqn.params["mesh"], spec) for x, spec in taken}
            if all(id(x) in places for x in closed.jaxpr.invars):
                return [
                    jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=places[id(var)])
                    for x, var in zip(args, closed.jaxpr.invars, strict=True)
                ]
    return args


def structs(tree: Any, sharding: NamedSharding, chips: int = 1) -> Any:
    """The forms of arrays, the leading axis as many times as long as there are chips."""

    def one(x: Any) -> jax.ShapeDtypeStruct:
        shape = (x.shape[0] * chips, *x.shape[1:]) if chips > 1 else x.shape
        return jax.ShapeDtypeStruct(shape, x.dtype, sharding=sharding)

    return jax.tree.map(one, tree)


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
