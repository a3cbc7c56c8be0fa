"""What of a loop's step does not change from word to word, computed once and before the loop.

Networks whose products take bfloat16 round their kernels at every step; compilers leave that in
the loop, where it costs a launch and a look at every kernel for each word.
"""

import itertools
from collections.abc import Callable
from typing import Any

import jax
from jax.api_util import debug_info
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

# Calls that are looked into; those with derivatives of their own only where some of what they are
# given stays and some does not, as a product of what changes and a kernel.
CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}

Operation = tuple[JaxprEqn, list[int], list[int]]  # an equation, and the places it reads and writes


def hoisted(function: Callable, *like: Any) -> Callable:
    """The same function of its arguments; what of it depends on none of them is computed here.

    What that would make larger stays where it was.

    Args:
      function: (*args) -> a tree of arrays; parameters and all else that stays are closed over.
      like: arrays or their shapes, as the arguments will be.
    """
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(*like)
    count = itertools.count()
    arguments = [next(count) for _ in closed.jaxpr.invars]
    values: dict[int, Any] = {}  # by place, of what stays
    operations: list[Operation] = []
    outs = _inline(closed, arguments, values, operations, count)
    left = [op for op in operations if not _computed(op, values)]

    def rest(*args: Any) -> Any:
        places = values | dict(zip(arguments, jax.tree.leaves(args), strict=True))
        for eqn, ins, to in left:
            places.update(zip(to, _apply(eqn, [places[i] for i in ins]), strict=True))
        return jax.tree.unflatten(jax.tree.structure(shapes), [places[i] for i in outs])

    return rest


def _inline(
    closed: ClosedJaxpr,
    given: list[int],
    values: dict[int, Any],
    operations: list[Operation],
    count: itertools.count,
) -> list[int]:
    """Adds a program's constants and operations, those of its calls too; the places it returns."""
    place = dict(zip(closed.jaxpr.invars, given, strict=True))

    def constant(value: Any) -> int:
        values[new := next(count)] = value
        return new

    def stays(i: int) -> bool:
        return i in values

    def of(atom: Any) -> int:
        return constant(atom.val) if isinstance(atom, Literal) else place[atom]

    place.update(zip(closed.jaxpr.constvars, map(constant, closed.consts), strict=True))
    for eqn in closed.jaxpr.eqns:
        ins = [of(atom) for atom in eqn.invars]
        inner = eqn.params.get(CALLS.get(eqn.primitive.name))
        if inner and (not eqn.primitive.name.startswith("custom") or len({*map(stays, ins)}) > 1):
            to = _inline(inner, ins, values, operations, count)
        else:
            to = [next(count) for _ in eqn.outvars]
            operations.append((eqn, ins, to))
        place.update(zip(eqn.outvars, to, strict=True))
    return [of(atom) for atom in closed.jaxpr.outvars]


def _computed(operation: Operation, values: dict[int, Any]) -> bool:
    """Whether an operation reads only what stays and makes no more of it; then it is computed."""
    eqn, ins, to = operation
    if not ins or eqn.effects or any(i not in values for i in ins):
        return False
    if sum(map(_size, eqn.outvars)) > sum(map(_size, eqn.invars)):
        return False
    values.update(zip(to, _apply(eqn, [values[i] for i in ins]), strict=True))
    return True


def _size(atom: Any) -> int:
    """Bytes; of keys, entries."""
    return atom.aval.size * getattr(atom.aval.dtype, "itemsize", 1)


def _apply(eqn: JaxprEqn, values: list) -> list:
    pairs = zip(eqn.invars, values, strict=True)
    variables = {v: x for v, x in pairs if not isinstance(v, Literal)}
    given, results = tuple(variables.values()), tuple("" for _ in eqn.outvars)
    about = debug_info("hoisted", _values, given, {}, result_paths_thunk=lambda: results)
    alone = Jaxpr((), [*variables], eqn.outvars, [eqn], eqn.effects, about)
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*given)


def _values(*values: jax.Array) -> None:
    """Names what an operation is given, for JAX's messages."""
