"""The matrix products of a compiled program."""

import re
from dataclasses import dataclass
from math import prod

from capjax.compiled.hlo import Computation, Instruction, Program, numbers


@dataclass(frozen=True)
class Product:
    """A matrix product, or a batch of them: [rows, inner] by [inner, columns]."""

    batch: float
    rows: int
    inner: int
    columns: int

    @property
    def work(self) -> float:
        """Floating-point operations."""
        return 2 * self.batch * self.rows * self.inner * self.columns

    def padded(self, rows: int, lanes: int) -> float:
        """The same on a unit that takes in rows in groups of so many, all else in so many lanes."""
        sizes = (self.rows, rows), (self.inner, lanes), (self.columns, lanes)
        return 2 * self.batch * prod(-(-n // to) * to for n, to in sizes)


class Products:
    """Finds the matrix products of a program's parts, each part's once."""

    def __init__(self, program: Program):
        self.program = program
        self._found: dict[str, list[Product]] = {}

    def of(self, one: Instruction, computation: Computation) -> list[Product]:
        """Those that one instruction stands for, fused ones included, loops left out."""
        if one.kind in ("while", "conditional"):
            return []
        own = product_of(one, computation)
        return [own] if own else [p for name in one.called for p in self._within(name)]

    def _within(self, name: str) -> list[Product]:
        if name not in self._found:
            inside = self.program.computations[name]
            self._found[name] = [p for one in inside.values() for p in self.of(one, inside)]
        return self._found[name]


def product_of(one: Instruction, computation: Computation) -> Product | None:
    """The matrix product that an instruction is, where it is one."""
    if one.kind not in ("dot", "convolution", "custom-call"):
        return None
    if one.kind == "custom-call" and "gemm" not in one.rest:
        return None
    sides = [_dims(computation.get(name)) for name in one.operands[:2]]
    if len(sides) < 2 or not one.arrays:
        return None
    if one.kind == "convolution":
        return _convolution(one, *sides)
    names = ("lhs_contracting", "lhs_batch", "rhs_contracting", "rhs_batch")
    axes = [_axes(one.rest, name) for name in names]
    size = lambda dims, axes: prod(dims[i] for i in axes)  # noqa: E731
    batch, inner = size(sides[0], axes[1]), size(sides[0], axes[0])
    rows, columns = (prod(dims) // max(batch * inner, 1) for dims in sides)
    return Product(batch, rows, inner, columns)


def _convolution(one: Instruction, left: tuple[int, ...], right: tuple[int, ...]) -> Product:
    """A TPU's products are convolutions, whose windows may be a batch of products."""
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", one.rest)
    out = one.arrays[0].dims
    if not labels:
        return Product(1, prod(out), 1, 1)
    inner = right[labels[2].index("i")]
    columns = right[labels[2].index("o")]
    spatial = [c for c in labels[3] if c.isdigit()]
    groups = re.search(r"batch_group_count=(\d+)", one.rest)
    rows = out[labels[3].index("b")] * int(groups[1] if groups else 1)
    valid = 1.0
    for i, digit in enumerate(spatial):
        valid *= _positions(
            one.rest,
            i,
            left[labels[1].index(digit)],
            right[labels[2].index(digit)],
            out[labels[3].index(digit)],
        )
    return Product(valid, rows, inner, columns)


def _positions(rest: str, i: int, left: int, window: int, out: int) -> int:
    """Pairs of a place in a window and one in the result that meet an entry, not padding."""
    found = re.search(r"window=\{([^}]*)\}", rest)
    given = dict(x.split("=") for x in found[1].split()) if found else {}

    def of(name: str, default: str) -> str:
        return given[name].split("x")[i] if name in given else default

    stride, hole, dilation = (int(of(name, "1")) for name in ("stride", "lhs_dilate", "rhs_dilate"))
    low = int(of("pad", "0_0").split("_")[0])
    places = (o * stride + k * dilation - low for o in range(out) for k in range(window))
    last = (left - 1) * hole
    return sum(0 <= at <= last and at % hole == 0 for at in places)


def _axes(rest: str, name: str) -> tuple[int, ...]:
    """Axes of a product, as HLO or as a library's settings spell them."""
    found = re.search(rf'{name}_(?:dims=\{{|dimensions":\[)([^\]}}]*)', rest)
    return numbers(found[1].replace('"', "")) if found else ()


def _dims(one: Instruction | None) -> tuple[int, ...]:
    return one.arrays[0].dims if one and one.arrays else ()
