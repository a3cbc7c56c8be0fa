"""A compiled program, read out of the text that `compiled.as_text()` gives."""

import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import NamedTuple

BYTES = {"pred": 1, "s4": 0.5, "u4": 0.5, "bf16": 2, "c64": 8, "c128": 16}
_ARRAY = re.compile(r"\b(pred|bf16|[fsuc]\d+\w*)\[([\d,]*)\](\{[^}]*\})?")


@dataclass(frozen=True)
class Array:
    """An array of some type that an instruction takes or gives."""

    dtype: str
    dims: tuple[int, ...]
    far: bool  # whether it lies in the device's main memory, not in a TPU core's own

    @property
    def size(self) -> float:
        """Bytes, wherever it lies."""
        bits = re.search(r"\d+", self.dtype)
        return (BYTES.get(self.dtype) or int(bits[0] if bits else 8) / 8) * prod(self.dims)

    @property
    def bytes(self) -> float:
        """Bytes of main memory."""
        return self.size if self.far else 0


@dataclass(frozen=True)
class Instruction:
    """One line of a program."""

    name: str
    kind: str
    type: str
    operands: tuple[str, ...]
    given: str  # what stands in its brackets
    rest: str  # its attributes
    root: bool

    @cached_property
    def arrays(self) -> list[Array]:
        found = _ARRAY.findall(self.type)
        return [Array(t, numbers(dims), "S(1)" not in layout) for t, dims, layout in found]

    @cached_property
    def called(self) -> list[str]:
        """The computations that it calls as a part of itself."""
        return re.findall(r"\b(?:calls|to_apply)=%?([\w.\-]+)", self.rest)

    @property
    def branches(self) -> list[str]:
        """Of a conditional, by the number that chooses them."""
        listed = re.search(r"branch_computations=\{([^}]*)\}", self.rest)
        if listed:
            return re.findall(r"%?([\w.\-]+)", listed[1])
        return [self.attribute("false_computation"), self.attribute("true_computation")]

    def attribute(self, name: str) -> str:
        found = re.search(rf"\b{name}=\{{?%?([\w.\-]*)", self.rest)
        return found[1] if found else ""

    @property
    def op_name(self) -> str:
        """The name that JAX gave it."""
        found = re.search(r'op_name="([^"]*)"', self.rest)
        return found[1] if found else ""

    @property
    def trips(self) -> int | None:
        """How often a loop runs, where the compiler knows."""
        found = re.search(r'known_trip_count":\{"n":"(\d+)"', self.rest)
        return int(found[1]) if found else None


Computation = dict[str, Instruction]


class Program(NamedTuple):
    """A compiled program."""

    computations: dict[str, Computation]
    entry: str


def read(text: str) -> Program:
    """A program out of its text."""
    computations: dict[str, Computation] = {}
    entry = name = ""
    for line in text.splitlines():
        head = re.match(r"(ENTRY )?%?([\w.\-]+) .*\{$", line)
        if head and not line.startswith(" "):
            name = head[2]
            computations[name] = {}
            entry = name if head[1] else entry
        elif name and (one := _instruction(line)):
            computations[name][one.name] = one
    if not entry:
        raise ValueError("there is no ENTRY in this text: it is no compiled program")
    return Program(computations, entry)


def _instruction(line: str) -> Instruction | None:
    found = re.match(r"\s+(ROOT )?%([\w.\-]+) = ", line)
    if not found:
        return None
    rest = line[found.end() :]
    end = _closed(rest) if rest.startswith("(") else rest.index(" ")
    kind = re.match(r"\s*([a-z][\w\-]*)(?=\()", rest[end:])
    if not kind:
        return None
    inside = rest[end + kind.end() :]
    close = _closed(inside)
    given = inside[1 : close - 1]
    operands = tuple(re.findall(r"%([\w.\-]+)", given))
    root = bool(found[1])
    return Instruction(found[2], kind[1], rest[:end], operands, given, inside[close:], root)


def _closed(text: str) -> int:
    """Where the first bracket of a text is closed: the place after it."""
    depth = 0
    for i, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return i + 1
    return len(text)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(n) for n in text.split(",") if n)
