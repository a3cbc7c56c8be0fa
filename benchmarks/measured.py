"""The hot loops on the accelerator that is here: measured, beside what is predicted and PyTorch."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs
from counting import Counting
from hot_loops import SMALL, HotLoop, Size, hot_loop
from predicted import COLUMNS, line

from capjax.compiled import targets
from capjax.compiled.programs import Compiled, Traced, account, compiled
from capjax.compiled.trips import form_of


class Clock:
    """How much of the time is left."""

    def __init__(self, seconds: float):
        self._start, self._seconds = time.perf_counter(), seconds

    @property
    def spent(self) -> float:
        return time.perf_counter() - self._start

    def left(self, share: float = 1.0) -> float:
        """Seconds until a share of the time is spent."""
        return share * self._seconds - self.spent


class Report:
    """What is printed, and kept in a folder as it comes."""

    def __init__(self, folder: str):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "table.txt").write_text("")
        self.found: dict[str, Any] = {"loops": {}, "torch": {}, "left_out": []}

    def say(self, text: str) -> None:
        print(text, flush=True)
        with (self.folder / "table.txt").open("a", encoding="utf-8") as file:
            file.write(text + "\n")

    def left_out(self, what: str) -> None:
        self.found["left_out"].append(what)
        self.say(f"LEFT OUT: {what}")

    @contextmanager
    def told(self, what: str) -> Iterator[None]:
        """What goes wrong is told, and the rest goes on: the machine may not be there again."""
        try:
            yield
        except Exception as error:
            self.left_out(f"{what}: {type(error).__name__}: {str(error)[:500]}")

    def keep(self) -> None:
        (self.folder / "table.json").write_text(json.dumps(self.found, indent=1))


def measure(folder: str, names: list[str], seconds: float, small: bool = False) -> dict[str, Any]:
    """Compiles, measures and predicts hot loops on the first accelerator here.

    Args:
      folder: where table.txt, table.json and the profile of the worst loop go.
      seconds: what all of it may take; what does not fit is told.
      small: tiny sizes, on a CPU as well.
    Returns:
      What table.json holds.
    """
    clock, report, device = Clock(seconds), Report(folder), jax.devices()[0]
    if device.platform == "cpu" and not small:
        sys.exit("there is no accelerator here; predict with --target=h100 or --target=v5e:2x2")
    peak = matmul_peak(64 if small else 8192)
    report.found |= {"device": device.device_kind, "jax": jax.__version__, "peak": peak}
    report.say(
        f"{device.device_kind}, jax {jax.__version__}, bfloat16 peak {peak / 1e12:.1f} TFLOP/s"
    )
    platform = {"gpu": "cuda"}.get(device.platform, device.platform)
    counting = Counting(platform, names, small)
    try:
        built = build(names, platform, SMALL if small else Size(), clock, report)
        if not counting.over(clock.left(0.5)):
            report.say("trips are still being counted on the CPU while loops are measured")
        run_all(built, peak, clock, report)
        with report.told("PyTorch"):
            beside_torch(device.platform, small, clock, report)
        with report.told("a profile of the worst loop"):
            profile(built, clock, report)
        with report.told("the prediction"):
            predict(built, counting, clock, report)
    finally:
        counting.stop()
        report.say(f"{clock.spent:.0f} s in all")
        report.keep()
    return report.found


Built = dict[str, tuple[HotLoop, Traced, Compiled]]


def build(names: list[str], platform: str, size: Size, clock: Clock, report: Report) -> Built:
    """Compiles, until half of the time is spent."""
    built: Built = {}
    for name in names:
        if clock.left(0.5) < 0:
            report.left_out(f"{name}: no time is left to compile it")
            continue
        with report.told(name), form_of(platform):
            loop = hot_loop(name, size)
            program = programs.program_of(loop, jax.devices()[:1])
            built[name] = loop, program, compiled(program)
            report.say(f"compiled {name} in {built[name][2].seconds:.1f} s")
    return built


def run_all(built: Built, peak: float, clock: Clock, report: Report) -> None:
    """Times what was compiled."""
    report.say(f"{'measured':20}{'compile':>8}{'ms':>10}{'of peak':>9}   (needed work)")
    for name, (loop, program, one) in built.items():
        if clock.left(0.75) < 0:
            report.left_out(f"{name}: no time is left to measure it")
            continue
        with report.told(name):
            taken = Runs(loop, program, one).median(min(20, clock.left(0.75)))
            row = {"measured_s": taken, "compile_s": one.seconds, "needed": loop.work}
            row["share_measured"] = loop.work / peak / taken
            report.found["loops"][name] = row
            shown = f"{row['share_measured']:9.1%}   {loop.size}"
            report.say(f"{name:20}{one.seconds:7.1f}s{1e3 * taken:10.2f}{shown}")
            report.keep()


class Runs:
    """A compiled program and what it is fed; a run gives up what it must and takes it back."""

    def __init__(self, loop: HotLoop, program: Traced, one: Compiled):
        self._call, self._donated = one.executable, program.donated
        self._args = programs.arguments(loop)

    def once(self) -> float:
        begin = time.perf_counter()
        out = jax.block_until_ready(self._call(*self._args))
        taken = time.perf_counter() - begin
        self._args[: self._donated] = out[: self._donated]
        return taken

    def median(self, seconds: float, most: int = 7) -> float:
        """Of some runs after the first, at least one, as many as fit."""
        self.once()
        times = [self.once()]
        while len(times) < most and sum(times) + times[-1] < seconds:
            times.append(self.once())
        return float(np.median(times))


def beside_torch(platform: str, small: bool, clock: Clock, report: Report) -> None:
    """The same by plain PyTorch, where that is installed, on the same card."""
    if find_spec("torch") is None or platform not in ("gpu", "cpu"):
        report.say("PyTorch is not here, or not for this device: no comparison")
        return
    script = Path(__file__).with_name("peers_torch.py")
    device = {"gpu": "cuda"}.get(platform, platform)
    command = [sys.executable, str(script), device, "small" if small else "full"]
    limit = clock.left(0.88)
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=max(limit, 1))
        told = done.stdout
        if done.returncode:
            report.left_out(f"PyTorch came to an end with {done.returncode}; see above")
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
        told = out.decode() if isinstance(out, bytes) else out
        report.left_out(f"PyTorch had {limit:.0f} s; what it had not done by then")
    for text in told.splitlines():
        one = json.loads(text)
        report.found["torch"][one["name"]] = one["seconds"]
        report.say(f"torch, {one['name']}: {1e3 * one['seconds']:.1f} ms")
    report.keep()


def profile(built: Built, clock: Clock, report: Report) -> None:
    """A profile of the loop that uses least of the card."""
    loops = report.found["loops"]
    if not loops or clock.left(0.92) < 0:
        report.left_out("a profile of the worst loop: no time is left")
        return
    name = min(loops, key=lambda name: loops[name]["share_measured"])
    runs = Runs(*built[name])
    runs.once()
    with jax.profiler.trace(str(report.folder / "profile")):
        runs.once()
    report.found["profiled"] = name
    report.say(f"the worst loop is {name}; its profile is in {report.folder / 'profile'}")


def predict(built: Built, counting: Counting, clock: Clock, report: Report) -> None:
    """What would be predicted of the programs that were measured, as they were compiled here."""
    kind = report.found["device"]
    machine = targets.like(kind)
    report.say(f"predicted, as for {targets.name_of(machine)}\n{COLUMNS}   {'measured ms':>12}")
    for name, (loop, program, one) in built.items():
        if clock.left() < 0:
            report.left_out(f"{name}: no time is left to predict it")
            continue
        part, untold = account(one.text, program.loops, counting.of(name), machine)
        row = programs.row(loop, program, one, part, machine)
        kept = report.found["loops"].setdefault(name, {})
        kept |= row | {"untold": untold}
        beside = f"{1e3 * kept['measured_s']:12.2f}" if "measured_s" in kept else f"{'-':>12}"
        report.say(f"{line(name, row)}   {beside}")
        for text in untold:
            report.say(f"  NOT KNOWN: {text}")
    report.keep()


def matmul_peak(size: int) -> float:
    """FLOP/s of the fastest of 20 bfloat16 products of square matrices."""
    a = jax.random.normal(jax.random.key(0), (size, size), jnp.bfloat16)
    product = jax.jit(lambda a: jnp.matmul(a, a, preferred_element_type=jnp.bfloat16))
    times = []
    for _ in range(21):
        begin = time.perf_counter()
        product(a).block_until_ready()
        times.append(time.perf_counter() - begin)
    return 2 * size**3 / min(times[1:])
