"""Each stage of a recipe as a program for a machine that is not here: what every chip must hold,
send and compute.

The update is the one that `training.loop` runs (`update_of`), by `shard_map`; `pmap` maps the same
body. Nothing runs but, once, the update of one chip's share with networks 16 wide: it counts how
often those loops run whose end depends on data, of captions as long as COCO's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
from jax.sharding import AxisType, NamedSharding

from capjax.compiled import targets
from capjax.compiled.ledger import Collective, predicted
from capjax.compiled.network import mean_seconds
from capjax.compiled.programs import Compiled, Traced, account, compiled, structs, traced
from capjax.compiled.sizes import Sizes
from capjax.compiled.stand_in import data_forms, resident
from capjax.compiled.trips import Counts, Loop, counts_of, form_of
from capjax.data.batches import images_of
from capjax.errors import InputError
from capjax.parallel import no_memory, over_devices
from capjax.training.plan import Planned
from capjax.training.stage import Learnt, Run, Stage, update_of

NARROW = 16  # units of the networks that count


class Memory(NamedTuple):
    """Bytes on one chip."""

    state: int  # parameters, their averages, optimizers
    data: int  # captions, and images where they are resident
    batch: int  # what is sent at each step
    temporary: int
    output: int  # results that do not take the place of what was given up
    program: int

    @property
    def whole(self) -> int:
        return sum(self)


class StageProgram(NamedTuple):
    """What one stage's update is for one chip, at each step."""

    name: str
    batch: int  # of all chips
    chips: int
    refused: str  # why it does not compile: no memory; "" where it does, else all below is empty
    memory: Memory | None = None
    trace_s: float = 0
    compile_s: float = 0
    launches: float = 0
    asks: float = 0  # iterations that may be the last, and conditionals
    work: float = 0  # floating-point operations of matrix products
    collectives: tuple[Collective, ...] = ()  # by kind
    compute_s: float = 0  # predicted, by launches and matrix products
    by_bytes_s: float = 0  # the same where launches take as long as their bytes do
    mean_s: float = 0  # predicted, of the collectives
    untold: tuple[str, ...] = ()


class Asked(NamedTuple):
    """What is to be compiled, and for what."""

    target: str
    devices: list[Any]
    wide: Run  # of the recipe's networks, with few data
    narrow: Run  # of narrow networks whose captions end as people's do
    sizes: Sizes  # of all data


def each_stage(asked: Asked, stages: Sequence[Planned]) -> Iterator[StageProgram]:
    """Compiles the stages of a plan, one after another.

    Raises:
      InputError: a stage cannot be made of what a chip has of its batch.
    """
    small, chips = Learnt(), len(asked.devices)
    for planned, stage, state in forms_of(asked.wide, stages):
        share = replace(planned.settings, batch=planned.settings.batch // chips)
        narrow = planned.stage(asked.narrow, share)
        begun = jax.jit(narrow.init)(jax.random.key(0), small)
        try:
            yield _one(asked, planned, (stage, state), (narrow, begun))
        except InputError:
            raise
        except ValueError as error:
            raise InputError(
                f"stage {planned.name} cannot share config.{planned.name}.batch="
                f"{planned.settings.batch} over {chips} chips: {error}"
            ) from error
        small = narrow.trained(begun)


def forms_of(run: Run, stages: Sequence[Planned]) -> Iterator[tuple[Planned, Stage, Any]]:
    """Each stage of a plan, and the forms of the state that it starts from."""
    learnt = Learnt()
    for planned in stages:
        stage = planned.stage(run, planned.settings)
        state = jax.eval_shape(stage.init, jax.random.key(0), learnt)
        yield planned, stage, state
        learnt = jax.eval_shape(stage.trained, state)


def _one(
    asked: Asked, planned: Planned, wide: tuple[Stage, Any], narrow: tuple[Stage, Any]
) -> StageProgram:
    """One stage's program; `wide` and `narrow` are (stage, the state that it starts from)."""
    platform, chips = targets.platform_of(asked.target), len(asked.devices)
    machine = targets.machine_of(asked.target, asked.wide.recipe.dtype)
    told = planned.name, planned.settings.batch, chips
    with form_of(platform):
        program, parts = update_program(asked, *wide)
        try:
            built = compiled(program)
        except Exception as error:
            if not no_memory(error):
                raise
            return StageProgram(*told, refused=_in_a_line(error))
    with form_of(platform):
        found = _counted(asked.narrow, *narrow)
    part, untold = account(built.text, program.loops, found, machine)
    launches, asks, work = (part.total(name) for name in ("launches", "asks", "work"))
    sent = tuple(part.sent().values())
    return StageProgram(
        *told,
        refused="",
        memory=_memory(built, parts),
        trace_s=program.seconds,
        compile_s=built.seconds,
        launches=launches,
        asks=asks,
        work=work,
        collectives=sent,
        compute_s=predicted(machine, launches, asks, work),
        by_bytes_s=part.total("memory_s") + asks * machine.ask_s + work / machine.peak,
        mean_s=sum(
            x.number * mean_seconds(asked.target, x.bytes / x.number) for x in sent if x.number
        ),
        untold=tuple(untold),
    )


def update_program(asked: Asked, stage: Stage, state: Any) -> tuple[Traced, tuple[int, int, int]]:
    """A stage's update over all devices, and bytes of state, data and batch on one chip."""
    axes = (AxisType.Auto,)
    devices = asked.devices
    mesh = jax.make_mesh((len(devices),), ("data",), axis_types=axes, devices=devices)
    whole, share = NamedSharding(mesh, jax.P()), NamedSharding(mesh, jax.P("data"))
    run, sizes = asked.wide, asked.sizes
    rows = stage.rows(0)
    batch: dict[str, Any] = {"rows": rows}
    if not resident(run.recipe, sizes):
        wanted = images_of(stage.kind, run.training.arrays["of"], rows)
        batch["taken"] = {
            name: jax.ShapeDtypeStruct((*index.shape, *sizes.form.shape), sizes.form.dtype)
            for name, index in wanted.items()
        }
    data = data_forms(run, stage.beside, sizes)
    key = jax.eval_shape(lambda: jax.random.key(0))
    call = over_devices(update_of(stage), how="shard_map", devices=devices)
    trees = (state, whole), (data, whole), (batch, share), (key, whole)
    program = traced(call, [structs(tree, sharding) for tree, sharding in trees])
    return program, (_bytes(state), _bytes(data), _bytes(batch) // len(devices))


def _counted(run: Run, stage: Stage, state: Any) -> tuple[list[Loop], Counts]:
    """Runs an update here, in the form that is traced now, and counts its loops' trips."""
    device = jax.devices("cpu")[0]
    with jax.default_device(device):
        rows = stage.rows(0)
        data = run.training.arrays | dict(stage.beside)
        wanted = images_of(stage.kind, run.training.arrays["of"], rows)
        images = {name: run.training.images[index] for name, index in wanted.items()}
        batch = {"rows": rows, "taken": images}
        args = state, data, batch, jax.random.key(1)
        call = over_devices(update_of(stage), how="shard_map", devices=[device])
        program = traced(call, args)
        return program.loops, counts_of(program.closed, program.loops, jax.tree.leaves(args))


def _memory(built: Compiled, parts: tuple[int, int, int]) -> Memory:
    found = built.executable.memory_analysis()
    output = max(0, found.output_size_in_bytes - found.alias_size_in_bytes)
    program = found.generated_code_size_in_bytes
    state, data, batch = parts
    # What compilers pad arguments to counts as the state's.
    state = max(state, found.argument_size_in_bytes - data - batch)
    return Memory(state, data, batch, found.temp_size_in_bytes, output, program)


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400]
