"""How often the loops of a traced program run: every loop is given a number, and a run counts.

A compiled program tells how often a loop runs only where that does not depend on data. So loops and
conditionals are numbered in the program as it is traced (`numbered`); the number is part of the
name under which XLA knows them. The same program, of narrower networks, is then run here, and
counts (`counts_of`).
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr

LOOPS = ("while", "scan", "cond")
NUMBER = "loop#"  # before a loop's number, in names
BRANCHES = 8  # of a conditional, at most, that are counted apart


class Loop(NamedTuple):
    """A loop or conditional of a traced program."""

    kind: str  # one of LOOPS
    branches: int  # of a conditional
    length: int | None  # of a scan
    place: str  # where it stands in the code
    within: tuple[int, ...]  # the loops around it, the outermost first


class Counts(NamedTuple):
    """What a run has counted, by the loops' numbers."""

    entries: np.ndarray  # float[L], how often a loop was entered or a conditional met
    turns: np.ndarray  # float[L], iterations in all; of a conditional 0
    taken: np.ndarray  # float[L, BRANCHES], how often each branch was taken


@contextmanager
def form_of(platform: str) -> Iterator[None]:
    """While tracing, what CPUs and accelerators want differently has the form of "cuda" or "tpu".

    Decided as in lowering for it, so that the form is part of what is numbered.
    """

    def chosen(*args: Any, default: Callable | None = None, **forms: Callable) -> Any:
        form = forms.get(platform, default)
        if form is None:
            raise NotImplementedError(f"there is no form for {platform} and none by default")
        return form(*args)

    jax.clear_caches()  # what was traced before may hold another form
    with mock.patch.object(lax, "platform_dependent", chosen):
        yield
    jax.clear_caches()


def numbered(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, list[Loop]]:
    """The program with its loops and conditionals numbered in their names, and what they are."""
    loops: list[Loop] = []

    def inside(value: Any, within: tuple[int, ...]) -> Any:
        if isinstance(value, Jaxpr):  # since JAX 0.11 all are, closed or not
            return one(value, within)
        if isinstance(value, ClosedJaxpr):
            return ClosedJaxpr(one(value.jaxpr, within), value.consts)
        if isinstance(value, tuple) and any(isinstance(x, ClosedJaxpr | Jaxpr) for x in value):
            return tuple(inside(x, within) for x in value)
        return value

    def one(jaxpr: Jaxpr, within: tuple[int, ...]) -> Jaxpr:
        return jaxpr.replace(eqns=[renamed(eqn, within) for eqn in jaxpr.eqns])

    def renamed(eqn: Any, within: tuple[int, ...]) -> Any:
        source = eqn.source_info
        if (kind := eqn.primitive.name) in LOOPS:
            stack = source.name_stack.extend(f"{NUMBER}{len(loops)}")
            source = source.replace(name_stack=stack)
            within = (*within, len(loops))
            branches = len(eqn.params.get("branches", ()))
            length = eqn.params.get("length")
            loops.append(Loop(kind, branches, length, _place(source.traceback), within[:-1]))
        params = {name: inside(value, within) for name, value in eqn.params.items()}
        return eqn.replace(params=params, source_info=source)

    return inside(closed, ()), loops


def counts_of(closed: ClosedJaxpr, loops: list[Loop], args: list[jax.Array]) -> Counts:
    """Runs a numbered program and counts."""
    none = jnp.zeros((len(loops), 2 + BRANCHES), jnp.float32)
    run = jax.jit(lambda *args: _run(closed.jaxpr, closed.consts, args, none)[1])
    found = np.asarray(run(*args), np.float64)
    return Counts(found[:, 0], found[:, 1], found[:, 2:])


def _number(eqn: Any) -> int:
    """Of a loop in a numbered program."""
    return int(re.findall(rf"{NUMBER}(\d+)", str(eqn.source_info.name_stack))[-1])


def _place(traceback: Any) -> str:
    """The innermost line of the library, or else of all code, in a traceback."""
    frames = traceback.frames if traceback else []
    own = [x for x in frames if "/capjax/" in x.file_name] or list(frames)
    if not own:
        return "?"
    file = re.sub(r".*/(?:capjax|site-packages)/", "", own[0].file_name)
    return f"{file}:{own[0].line_num} {own[0].function_name}"


def _holds_loops(jaxpr: Jaxpr) -> bool:
    return any(
        eqn.primitive.name in LOOPS or any(map(_holds_loops, _jaxprs(eqn))) for eqn in jaxpr.eqns
    )


def _jaxprs(eqn: Any) -> Iterator[Jaxpr]:
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, ClosedJaxpr):
                yield one.jaxpr
            elif isinstance(one, Jaxpr):
                yield one


def _run(jaxpr: Jaxpr, consts: Any, args: Any, counts: jax.Array) -> tuple[list, jax.Array]:
    """The outputs of a program, and the counts after it: float32[L, 2 + BRANCHES]."""
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *args), strict=True))
    for eqn in jaxpr.eqns:
        given = [values[x] if not hasattr(x, "val") else x.val for x in eqn.invars]
        if eqn.primitive.name in LOOPS or any(map(_holds_loops, _jaxprs(eqn))):
            out, counts = RULES[eqn.primitive.name](eqn, given, counts)
        else:
            out = eqn.primitive.bind(*given, **eqn.primitive.get_bind_params(eqn.params))
            out = out if eqn.primitive.multiple_results else [out]
        values.update(zip(eqn.outvars, out, strict=True))
    return [values[x] if not hasattr(x, "val") else x.val for x in jaxpr.outvars], counts


def _while(eqn, given, counts):
    p, i = eqn.params, _number(eqn)
    first = p["cond_nconsts"]
    last = first + p["body_nconsts"]
    asked, fed, start = given[:first], given[first:last], given[last:]
    goes_on, body = p["cond_jaxpr"], p["body_jaxpr"]

    def step(state):
        counts, carry = state
        out, counts = _run(body.jaxpr, body.consts, [*fed, *carry], counts.at[i, 1].add(1))
        return counts, out

    def more(state):
        return _run(goes_on.jaxpr, goes_on.consts, [*asked, *state[1]], state[0])[0][0]

    counts, out = lax.while_loop(more, step, (counts.at[i, 0].add(1), start))
    return out, counts


def _scan(eqn, given, counts):
    p, i, body = eqn.params, _number(eqn), eqn.params["jaxpr"]
    # JAX's versions tell differently which are stacked; what is has one axis more outside.
    many = sum(
        x.aval.ndim == y.aval.ndim for x, y in zip(eqn.outvars, body.jaxpr.outvars, strict=True)
    )
    whole = sum(
        x.aval.ndim == y.aval.ndim for x, y in zip(eqn.invars, body.jaxpr.invars, strict=True)
    )
    first = whole - many
    fed, start, each = given[:first], given[first : first + many], given[first + many :]

    def step(state, each):
        counts, carry = state
        out, counts = _run(body.jaxpr, body.consts, [*fed, *carry, *each], counts.at[i, 1].add(1))
        return (counts, out[:many]), out[many:]

    state = counts.at[i, 0].add(1), start
    (counts, out), stacked = lax.scan(
        step, state, each, length=p["length"], reverse=p["reverse"], unroll=1
    )
    return [*out, *stacked], counts


def _cond(eqn, given, counts):
    i, branches = _number(eqn), eqn.params["branches"]
    which = jnp.clip(given[0].astype(jnp.int32), 0, len(branches) - 1)
    counts = counts.at[i, 0].add(1).at[i, 2 + jnp.minimum(which, BRANCHES - 1)].add(1)
    each = [partial(_run, b.jaxpr, b.consts) for b in branches]
    return lax.switch(which, each, given[1:], counts)


def _called(eqn, given, counts):
    inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
    closed = isinstance(inner, ClosedJaxpr)
    jaxpr, consts = (inner.jaxpr, inner.consts) if closed else (inner, ())
    return _run(jaxpr, consts, given, counts)


def _shard_map(eqn, given, counts):
    p = eqn.params
    whole = jax.P()
    mapped = jax.shard_map(
        lambda counts, *args: _run(p["jaxpr"], (), args, counts),
        mesh=p["mesh"],
        in_specs=(whole, *p["in_specs"]),
        out_specs=(list(p["out_specs"]), whole),
        check_vma=False,
    )
    return mapped(counts, *given)


RULES = {
    "while": _while,
    "scan": _scan,
    "cond": _cond,
    "shard_map": _shard_map,
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call", "remat2", "checkpoint"), _called),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"), _called),
}
