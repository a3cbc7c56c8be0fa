"""Bytes that a program's instructions take and give: an upper estimate of what is moved."""

from collections.abc import Iterator

from capjax.compiled.hlo import Computation, Instruction, Program


def moved(program: Program, one: Instruction, computation: Computation) -> float:
    """Bytes of what an instruction takes and gives; of what it only slices, the slice."""
    taken = [_bytes(computation.get(name)) for name in one.operands]
    if one.kind in ("dynamic-slice", "gather"):
        return 2 * _bytes(one)
    if one.kind == "dynamic-update-slice":
        return 2 * taken[1]
    if one.kind != "fusion" or not one.called:
        return sum(taken) + _bytes(one)
    inside = program.computations[one.called[0]]
    return sum(_taken(inside, i, whole) for i, whole in enumerate(taken)) + _given(inside, one)


def _bytes(one: Instruction | None) -> float:
    return sum(array.bytes for array in one.arrays) if one else 0.0


def _users(computation: Computation, name: str) -> Iterator[tuple[Instruction, int]]:
    for one in computation.values():
        for place, operand in enumerate(one.operands):
            if operand == name:
                if one.kind == "bitcast":
                    yield from _users(computation, one.name)
                else:
                    yield one, place


def _taken(inside: Computation, i: int, whole: float) -> float:
    """Bytes of its operand i that a fusion reads."""
    mine = (x.name for x in inside.values() if x.kind == "parameter" and x.given == str(i))
    name = next(mine, None)
    if name is None:
        return whole
    read = 0.0
    for user, place in _users(inside, name):
        if user.kind in ("dynamic-slice", "gather") and place == 0:
            read += _bytes(user)
        elif not (user.kind in ("dynamic-update-slice", "scatter") and place == 0):
            return whole
    return min(read, whole)


def _given(inside: Computation, fusion: Instruction) -> float:
    """Bytes that a fusion writes."""
    root = next((x for x in inside.values() if x.root), None)
    if root is None:
        return _bytes(fusion)
    parts = [inside.get(n) for n in root.operands] if root.kind == "tuple" else [root]
    return sum(_written(inside, part) for part in parts)


def _written(inside: Computation, one: Instruction | None) -> float:
    while one and one.kind == "bitcast":
        one = inside.get(one.operands[0])
    if one and one.kind == "dynamic-update-slice":
        return _bytes(inside.get(one.operands[1]))
    return _bytes(one)
