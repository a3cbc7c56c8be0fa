"""What a recipe's programs are for a machine that is not here, as lines for a terminal."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from capjax.compiled import targets
from capjax.compiled.network import links
from capjax.compiled.of_recipe import RecipePrograms
from capjax.compiled.stage_programs import NARROW, StageProgram

COLUMNS = (
    ("stage", 14), ("batch", 6), ("a chip", 7), ("state", 7), ("data", 7), ("sent", 7),
    ("temp", 7), ("rest", 6), ("in all", 8), ("of chip", 8), ("means", 6), ("MB", 7),
    ("GFLOP", 8), ("launches", 9), ("asks", 6), ("ms", 8), ("by bytes", 9), ("means ms", 9),
    ("trace", 7), ("compile", 8),
)  # fmt: skip
LEGEND = """\
state, data, sent, temp, rest: MB of a chip's memory: parameters, averages and optimizers; captions,
  and images where they are resident; what a batch sends; temporary; results and the program
means, MB: collectives a step, and what a chip gives to them
GFLOP, launches, asks: of a chip and step: matrix products that are run; instructions that it is
  handed; iterations that may be the last, and branches. Loops whose end depends on data run as
  often as they did here in networks {narrow} wide, of captions as long as COCO's (10.5 words),
  and so less often than of paragraphs
ms, by bytes: predicted: {launch:g} us a launch, {ask:g} us an ask, products at {peak:.0f} TFLOP/s;
  and where a launch takes as long as its bytes at {bandwidth:,.0f} GB/s
means ms: {links}"""


def record(found: RecipePrograms, stages: Sequence[StageProgram]) -> dict[str, Any]:
    """The same for JSON, in bytes and seconds of one chip."""
    sizes = found.sizes._asdict() | {"form": list(found.sizes.form.shape)}
    rows = [
        one._asdict()
        | {
            "memory": one.memory._asdict() if one.memory else None,
            "collectives": [x._asdict() for x in one.collectives],
            "fits": fits(one, found.target),
        }
        for one in stages
    ]
    return {"target": found.target, "chips": found.chips, "sizes": sizes, "stages": rows}


def fits(one: StageProgram, target: str) -> bool:
    """Whether a chip has the memory."""
    return one.memory is not None and one.memory.whole <= targets.machine_of(target).memory


def head(found: RecipePrograms) -> Iterator[str]:
    """What stands above the stages."""
    recipe, sizes, chip = found.recipe, found.sizes, targets.machine_of(found.target)
    form = "x".join(map(str, sizes.form.shape))
    yield (
        f"{recipe.recipe} of {recipe.data.name} in {recipe.dtype} for {found.target},"
        f" {found.chips} chip{'s' * (found.chips > 1)} of {chip.memory / 1e9:.1f} GB;"
        f" jax {jax.__version__}"
    )
    yield (
        f"{sizes.whence}: {sizes.vocabulary:,} ids, {sizes.captions:,} captions,"
        f" {sizes.images:,} images of {form} {sizes.form.dtype}, {sizes.image_bytes / 1e6:,.0f} MB,"
        f" {'on each chip' if found.resident else 'sent as they are needed'}"
    )
    yield "".join(f"{name:{'' if not i else '>'}{n}}" for i, (name, n) in enumerate(COLUMNS))


def lines(one: StageProgram, found: RecipePrograms) -> Iterator[str]:
    """What is told of a stage: its row, what is otherwise than of most, and whether it fits."""
    yield _row(one, found.target)
    for x in one.collectives:
        if x.kind != "all-reduce":
            yield f"  of its collectives {x.number:.0f} are {x.kind}, {x.bytes / 1e6:.2f} MB"
    for text in one.untold:
        yield f"  NOT KNOWN: {text}"
    if not fits(one, found.target):
        yield f"capjax: {_mend(one, found)}"


def _row(one: StageProgram, target: str) -> str:
    first = f"{one.name:14}{one.batch:6}{one.batch // one.chips:7}"
    if one.memory is None:
        return f"{first}  does not fit"
    memory, sent = one.memory, one.collectives
    state, data, batch, temporary, output, program = (x / 1e6 for x in memory)
    share = memory.whole / targets.machine_of(target).memory
    return (
        f"{first}{state:7.0f}{data:7.0f}{batch:7.2f}{temporary:7.0f}{output + program:6.0f}"
        f"{memory.whole / 1e6:8.0f}{share:8.1%}{sum(x.number for x in sent):6.0f}"
        f"{sum(x.bytes for x in sent) / 1e6:7.1f}{one.work / 1e9:8.1f}{one.launches:9.0f}"
        f"{one.asks:6.0f}{1e3 * one.compute_s:8.2f}{1e3 * one.by_bytes_s:9.2f}"
        f"{1e3 * one.mean_s:9.2f}{one.trace_s:6.1f}s{one.compile_s:7.1f}s"
    )


def _mend(one: StageProgram, found: RecipePrograms) -> str:
    """The sentence of a stage that does not fit."""
    has = targets.machine_of(found.target).memory / 1e9
    needs = f"a chip needs {one.memory.whole / 1e9:.1f} GB" if one.memory else one.refused
    lower = []
    if one.batch > one.chips:
        parts = "accumulate" in found.recipe.given[one.name]
        more = f" or raise --config.{one.name}.accumulate" * parts
        lower.append(f"--config.{one.name}.batch={one.batch}{more}")
    if found.resident and found.sizes.image_bytes > 2**27:
        lower.append("--config.data.resident (0 sends images as they are needed)")
    lower.append("--config.dim")
    return (
        f"stage {one.name} does not fit on a chip of {found.target} ({needs}; it has {has:.1f} GB);"
        f" lower {', or '.join(lower)}"
    )


def legend(found: RecipePrograms) -> str:
    """What the columns are."""
    chip = targets.machine_of(found.target, found.recipe.dtype)
    return LEGEND.format(
        narrow=NARROW,
        launch=1e6 * chip.launch_s,
        ask=1e6 * chip.ask_s,
        peak=chip.peak / 1e12,
        bandwidth=chip.bandwidth / 1e9,
        links=links(found.target),
    )
