"""What a compiled program costs: its launches, trips, work and bytes added up over its loops.

A launch is an instruction that the device is handed: a fusion, a library's call, a copy, a sort.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from capjax.compiled.hlo import Computation, Instruction, Program
from capjax.compiled.products import Products
from capjax.compiled.targets import Machine
from capjax.compiled.traffic import moved
from capjax.compiled.trips import NUMBER, Counts, Loop

FREE = {
    *("parameter", "constant", "get-tuple-element", "tuple", "bitcast", "iota", "after-all"),
    *("partition-id", "replica-id", "opt-barrier", "add-dependency", "domain"),
}


COLLECTIVES = (
    *("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute"),
    *("collective-broadcast", "ragged-all-to-all"),
)


class Collective(NamedTuple):
    """What devices send one another in one launch."""

    kind: str  # one of COLLECTIVES
    bytes: float  # what one device gives
    number: float = 1


@dataclass
class Part:
    """A program, a loop's body or condition, or a branch: what one run of it does itself."""

    label: str
    times: float  # how often it runs
    launches: int = 0
    asks: float = 0  # how often a run of it waits for an answer that depends on data
    work: float = 0  # floating-point operations of matrix products
    padded: float = 0  # the same with sizes rounded up to what the units take in
    bytes: float = 0
    memory_s: float = 0  # launches that take as long as their bytes do, but never less than one
    kinds: Counter = field(default_factory=Counter)
    collectives: list["Collective"] = field(default_factory=list)
    parts: list["Part"] = field(default_factory=list)

    def walk(self, depth: int = 0) -> Iterator[tuple[int, "Part"]]:
        yield depth, self
        for part in self.parts:
            yield from part.walk(depth + 1)

    def total(self, name: str) -> float:
        return sum(part.times * getattr(part, name) for _, part in self.walk())

    def sent(self) -> dict[str, Collective]:
        """The collectives of all parts by their kind, as often as they run."""
        found: dict[str, Collective] = {}
        for _, part in self.walk():
            for one in part.collectives:
                before = found.get(one.kind, Collective(one.kind, 0, 0))
                number, size = part.times * one.number, part.times * one.bytes
                found[one.kind] = Collective(one.kind, before.bytes + size, before.number + number)
        return found


@dataclass
class Account:
    """A program's parts, and what could not be told of them."""

    program: Program
    machine: Machine
    loops: list[Loop]
    counts: Counts
    untold: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.products = Products(self.program)

    def whole(self) -> Part:
        return self._part(self.program.entry, 1.0, "program")

    def _part(self, name: str, times: float, label: str) -> Part:
        part = Part(label, times)
        computation = self.program.computations[name]
        for one in computation.values():
            self._add(part, one, computation)
        return part

    def _add(self, part: Part, one: Instruction, computation: Computation) -> None:
        part.collectives += self._collectives(one, computation)
        if one.kind in FREE or one.kind.endswith("-done") or _of_scalars(one):
            return
        if one.kind == "while":
            return self._add_loop(part, one)
        if one.kind == "conditional":
            return self._add_branches(part, one)
        if one.kind in ("call", "async-start") and one.called:
            part.parts += [self._part(name, part.times, one.kind) for name in one.called]
            return None
        size = moved(self.program, one, computation)
        products = self.products.of(one, computation)
        part.launches += 1
        part.kinds[one.kind] += 1
        part.work += sum(p.work for p in products)
        part.padded += sum(p.padded(self.machine.rows, self.machine.lanes) for p in products)
        part.bytes += size
        part.memory_s += max(self.machine.launch_s, size / self.machine.bandwidth)
        return None

    def _collectives(self, one: Instruction, computation: Computation) -> list[Collective]:
        """The collective that an instruction is; of a fusion those in it."""
        kind = one.kind.removesuffix("-start")
        if kind in COLLECTIVES:
            given = [computation[name] for name in one.operands if name in computation]
            return [Collective(kind, sum(x.size for one in given for x in one.arrays))]
        if one.kind not in ("fusion", "custom-call"):
            return []
        inside = [self.program.computations[name] for name in one.called]
        return [
            x for within in inside for y in within.values() for x in self._collectives(y, within)
        ]

    def _add_loop(self, part: Part, one: Instruction) -> None:
        number = self._number(one)
        trips: float | None = one.trips
        # A scan's length is known when it is traced, though not every compiler tells it.
        if trips is None and number is not None:
            trips = self.loops[number].length
        known = trips is not None
        if trips is None:
            if number is not None and self.counts.entries[number]:
                trips = self.counts.turns[number] / self.counts.entries[number]
            else:
                trips = 1.0
                self._untold(part, one, number, "counted as one iteration")
        label = "loop of the compiler's" if number is None else self._label("loop", number)
        body = self._part(one.attribute("body"), part.times * trips, label)
        part.parts.append(body)
        if not known:
            # The condition is asked once more than the body runs.
            body.asks += 1
            asked = self._part(one.attribute("condition"), part.times * (trips + 1), "condition")
            if asked.launches:
                body.parts.append(asked)

    def _add_branches(self, part: Part, one: Instruction) -> None:
        """Each branch as often as it was taken; where that is not known the costliest."""
        part.asks += 1
        number, names = self._number(one), one.branches
        branches = [self._part(name, part.times, f"branch {i}") for i, name in enumerate(names)]
        if number is not None and self.counts.entries[number]:
            for i, branch in enumerate(branches):
                share = self.counts.taken[number, i] / self.counts.entries[number]
                for _, inner in branch.walk():
                    inner.times *= share
                branch.label = f"{self._label(f'branch {i} of', number)}, taken {share:.1%}"
                part.parts.append(branch)
            return
        self._untold(part, one, number, "its costliest branch is counted")
        part.parts.append(max(branches, key=lambda x: x.total("launches")))

    def _untold(self, part: Part, one: Instruction, number: int | None, instead: str) -> None:
        if part.times:  # what stands in a branch that is never taken need not be known
            why = "has no number" if number is None else "was never met in the run here"
            self.untold.append(f"{one.name} ({one.op_name}) {why}: {instead}")

    def _label(self, kind: str, number: int) -> str:
        return f"{kind} {number} {self.loops[number].place}"

    def _number(self, one: Instruction) -> int | None:
        """The number that a loop or conditional was traced with; None for the compiler's own."""
        found = re.search(rf"{NUMBER}(\d+)\)*/(?:while|scan|cond)$", one.op_name)
        kinds = {"while": ("while", "scan"), "conditional": ("cond",)}[one.kind]
        number = int(found[1]) if found else None
        return number if number is not None and self.loops[number].kind in kinds else None


def _of_scalars(one: Instruction) -> bool:
    """Whether an instruction is of single numbers, which a TPU's scalar unit does meanwhile."""
    launched = one.kind in ("fusion", "custom-call", "copy", "call", "while", "conditional")
    return not launched and all(not array.dims for array in one.arrays)


def predicted(machine: Machine, launches: float, asks: float, work: float) -> float:
    """Seconds that so much takes."""
    return launches * machine.launch_s + asks * machine.ask_s + work / machine.peak


def show(part: Part, machine: Machine) -> Iterator[str]:
    """A line for each part, indented as they are nested; times are without the parts in it."""
    for depth, one in part.walk():
        taken = one.times * predicted(machine, one.launches, one.asks, one.work)
        kinds = ", ".join(f"{n} {kind}" for kind, n in one.kinds.most_common(4))
        yield (
            f"{'  ' * depth}{one.label} x{one.times:.6g}, {1e3 * taken:.3g} ms:"
            f" {one.launches} launches, {one.work / 1e9:.3g} GFLOP, {one.bytes / 1e6:.3g} MB each"
            f" ({kinds})"
        )
