"""The ledger of the hot loops for a machine that is not here."""

import re
from pathlib import Path
from typing import Any

import jax
import programs
from counting import Counting
from hot_loops import SMALL, Size, hot_loop

from capjax.compiled import targets
from capjax.compiled.ledger import show
from capjax.compiled.programs import account, compiled
from capjax.compiled.trips import form_of


def predict(
    target: str,
    names: list[str],
    verbose: bool = False,
    folder: str | None = None,
    small: bool = False,
) -> dict[str, Any]:
    """Compiles hot loops for a target and predicts them, printing as it goes.

    Args:
      verbose: whether to print every program loop by loop.
      folder: where to write the compiled programs, too.
      small: tiny sizes.
    Returns:
      {"target", "chips", "jax", "loops": {name: figures as of `programs.row`}}.
    """
    machine, platform = targets.machine_of(target), targets.platform_of(target)
    devices = targets.devices(target)
    found: dict[str, Any] = {}
    counting = Counting(platform, names, small)
    print(f"{target}, {len(devices)} chips, jax {jax.__version__}: predicted\n{COLUMNS}")
    try:
        for name in names:
            with form_of(platform):
                loop = hot_loop(name, SMALL if small else Size())
                program = programs.program_of(loop, devices)
                built = compiled(program)
            if folder:
                file = f"{re.sub(r'[^a-z0-9]+', '-', name.lower())}.hlo"
                Path(folder, file).write_text(built.text)
            part, untold = account(built.text, program.loops, counting.of(name), machine)
            found[name] = programs.row(loop, program, built, part, machine)
            found[name]["untold"] = untold
            print(line(name, found[name]), flush=True)
            for one in untold:
                print(f"  NOT KNOWN: {one}")
            if verbose:
                print("\n".join(f"  {x}" for x in show(part, machine)))
    finally:
        counting.stop()
    return {"target": target, "chips": len(devices), "jax": jax.__version__, "loops": found}


COLUMNS = (
    f"{'':20}{'compile':>8}{'launches':>10}{'asks':>8}{'TFLOP':>8}{'needed':>8}{'padded':>8}"
    f"{'GB':>8}{'tmp MB':>8}{'chip MB':>8}{'ms':>9}{'matmul':>8}{'needed':>8}{'by bytes':>9}"
)


def line(name: str, row: dict[str, Any]) -> str:
    """A row of the table."""
    return (
        f"{name:20}{row['compile_s']:7.1f}s{row['launches']:10.0f}{row['asks']:8.0f}"
        f"{row['work'] / 1e12:8.3f}{row['needed'] / 1e12:8.3f}{row['padded'] / 1e12:8.3f}"
        f"{row['bytes'] / 1e9:8.2f}{row['temporary_bytes'] / 1e6:8.0f}"
        f"{(row['temporary_bytes'] + row['argument_bytes']) / 1e6:8.0f}"
        f"{1e3 * row['predicted_s']:9.2f}{row['share_executed']:8.1%}{row['share_needed']:8.1%}"
        f"{1e3 * row['predicted_by_bytes_s']:9.2f}"
    )
