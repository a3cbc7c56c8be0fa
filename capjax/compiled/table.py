"""What a recipe's programs are for a machine that is not here, as lines for a terminal."""

from collections.abc import Iterator, Mapping
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
  often as they did here in networks {narrow} wide, of captions as long as COCO's (10.5 words)
ms, by bytes: predicted: {launch:g} us a launch, {ask:g} us an ask, products at {peak:.0f} TFLOP/s;
  and where a launch takes as long as its bytes at {bandwidth:,.0f} GB/s
means ms: {links}"""


def show(found: RecipePrograms, config: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Lines as they come, and of each whether all that it tells of fits on a chip."""
    for line in _head(found, config):
        yield line, True
    for one in found.stages:
        yield _row(one, found.target), True
        for line in _notes(one):
            yield line, True
        if not fits(one, found.target):
            yield f"capjax: {_mend(one, found, config[one.name])}", False
    yield _legend(found.target), True


def fits(one: StageProgram, target: str) -> bool:
    """Whether a chip has the memory."""
    return one.memory is not None and one.memory.whole <= targets.machine_of(target).memory


def _head(found: RecipePrograms, config: Mapping[str, Any]) -> Iterator[str]:
    sizes, chip = found.sizes, targets.machine_of(found.target)
    form = "x".join(map(str, sizes.form.shape))
    yield (
        f"{config['recipe']} of {config['data']['name']} for {found.target}, {found.chips}"
        f" chip{'s' * (found.chips > 1)} of {chip.memory / 1e9:.1f} GB; jax {jax.__version__}"
    )
    yield (
        f"{sizes.whence}: {sizes.vocabulary:,} ids, {sizes.captions:,} captions,"
        f" {sizes.images:,} images of {form} {sizes.form.dtype}, {sizes.image_bytes / 1e6:,.0f} MB,"
        f" {'on each chip' if found.resident else 'sent as they are needed'}"
    )
    yield "".join(f"{name:{'' if not i else '>'}{n}}" for i, (name, n) in enumerate(COLUMNS))


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


def _notes(one: StageProgram) -> Iterator[str]:
    """What of a stage is otherwise than of most."""
    for x in one.collectives:
        if x.kind != "all-reduce":
            yield f"  of its collectives {x.number:.0f} are {x.kind}, {x.bytes / 1e6:.2f} MB"
    for text in one.untold:
        yield f"  NOT KNOWN: {text}"


def _mend(one: StageProgram, found: RecipePrograms, settings: Mapping[str, Any]) -> str:
    """The sentence of a stage that does not fit."""
    has = targets.machine_of(found.target).memory / 1e9
    needs = f"a chip needs {one.memory.whole / 1e9:.1f} GB" if one.memory else one.refused
    lower = []
    if one.batch > one.chips:
        raised = f" or raise --config.{one.name}.accumulate" * ("accumulate" in settings)
        lower.append(f"--config.{one.name}.batch={one.batch}{raised}")
    if found.resident and found.sizes.image_bytes > 2**27:
        lower.append("--config.data.resident (0 sends images as they are needed)")
    lower.append("--config.dim")
    return (
        f"stage {one.name} does not fit on a chip of {found.target} ({needs}; it has {has:.1f} GB);"
        f" lower {', or '.join(lower)}"
    )


def _legend(target: str) -> str:
    chip = targets.machine_of(target)
    return LEGEND.format(
        narrow=NARROW,
        launch=1e6 * chip.launch_s,
        ask=1e6 * chip.ask_s,
        peak=chip.peak / 1e12,
        bandwidth=chip.bandwidth / 1e9,
        links=links(target),
    )
