"""How long the mean of a gradient over all chips takes, by what makers publish of their links.

A ring of n sends each byte 2 (n - 1) / n times (Patarasuk & Yuan, 2009); a torus runs rings along
each axis and both ways, so that all links of a chip work at once.
"""

from math import prod

from capjax.compiled.targets import HOST, shape_of

# Bytes/s that a TPU sends over all its links, each way, and the length of an axis that closes to a
# ring; a shorter one is a line, over which half of that goes.
ICI = {"v4": 300e9, "v5e": 200e9, "v5p": 600e9, "v6e": 400e9}
CLOSED = {"v4": 4, "v5e": 16, "v5p": 4, "v6e": 16}
DCN = {"v5e": 3.125e9, "v5p": 6.25e9}  # bytes/s a chip between slices
NVLINK, INFINIBAND = 450e9, 50e9  # bytes/s of an H100 each way: in its host, and out of it
HOP_S = {"tpu": 1e-6, "nvlink": 10e-6, "infiniband": 20e-6, "dcn": 50e-6}  # our own guesses


def mean_seconds(target: str, size: float, slices: int = 1) -> float:
    """Seconds that the mean of so many bytes over all chips takes, and each has it.

    A lower estimate: nothing else is sent, and links give what they are said to.

    Args:
      slices: of TPUs, of this form each, over the data center's network.
    """
    chip, shape = target.partition(":")[0], shape_of(target)
    if chip == "h100":
        hosts, cards = shape
        # In each host first; then each card means its share with those of other hosts.
        inside = 2 * (cards - 1) / cards * size / NVLINK + (cards > 1) * HOP_S["nvlink"]
        between = 2 * (hosts - 1) / hosts * size / cards / INFINIBAND
        return inside + between + (hosts > 1) * HOP_S["infiniband"] * (hosts - 1).bit_length()
    n, axes = prod(shape), [side for side in shape if side > 1]
    if n == 1:
        return 0.0
    sides = 2 if chip in ("v5e", "v6e") else 3
    used = sum(1.0 if side % CLOSED[chip] == 0 else 0.5 for side in axes) / sides
    hops = sum(side // 2 if side % CLOSED[chip] == 0 else side - 1 for side in axes)
    inside = 2 * (n - 1) / n * size / (used * ICI[chip]) + 2 * hops * HOP_S["tpu"]
    if slices == 1:
        return inside
    between = 2 * (slices - 1) / slices * size / (n * DCN[chip])
    return inside + between + 2 * (slices - 1) * HOP_S["dcn"]


def links(target: str) -> str:
    """In words, what `mean_seconds` takes a target's links to be."""
    chip = target.partition(":")[0]
    if chip == "h100":
        return f"NVLink {NVLINK / 1e9:.0f} GB/s in hosts of {HOST}, InfiniBand 400 Gbit/s a card"
    return f"links of {ICI[chip] * 8 / 1e9:,.0f} Gbit/s a chip each way"
