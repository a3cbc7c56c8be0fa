"""The ledger of the hot loops for a machine that is not here."""

import re
import time
from pathlib import Path
from typing import Any

import jax
import programs
import targets
from hot_loops import CASES, Size, hot_loop
from ledger import show
from trips import form_of

COLUMNS = (
    f"{'':20}{'compile':>8}{'launches':>10}{'asks':>8}{'TFLOP':>8}{'needed':>8}{'GB':>8}"
    f"{'MB tmp':>8}{'ms':>9}{'matmul':>8}{'needed':>8}{'ms bytes':>9}"
)


def predict(
    target: str, names: list[str] | None, verbose: bool, folder: str | None
) -> dict[str, Any]:
    machine, platform = targets.machine_of(target), targets.platform_of(target)
    devices = targets.devices(target)
    found: dict[str, Any] = {}
    print(COLUMNS)
    for name in names or CASES:
        with form_of(platform):
            loop = hot_loop(name, Size())
            program = programs.traced(loop, devices)
            built = programs.compiled(program)
        if folder:
            Path(folder, f"{re.sub(r'[^a-z0-9]+', '-', name)}.hlo").write_text(built.text)
        begin = time.perf_counter()
        counts = programs.counted(name, platform)
        part, untold = programs.account(built.text, program.loops, counts, machine)
        found[name] = programs.row(loop, program, built, part, machine) | {
            "count_s": time.perf_counter() - begin,
            "untold": untold,
        }
        print(line(name, found[name]))
        for one in untold:
            print(f"  NOT KNOWN: {one}")
        if verbose:
            print("\n".join(f"  {x}" for x in show(part)))
    return {"target": target, "chips": len(devices), "jax": jax.__version__, "loops": found}


def line(name: str, row: dict[str, Any]) -> str:
    return (
        f"{name:20}{row['compile_s']:8.1f}{row['launches']:10.0f}{row['asks']:8.0f}"
        f"{row['work'] / 1e12:8.3f}{row['needed'] / 1e12:8.3f}{row['bytes'] / 1e9:8.2f}"
        f"{row['temporary_bytes'] / 1e6:8.0f}{1e3 * row['predicted_s']:9.2f}"
        f"{row['share_executed']:8.1%}{row['share_needed']:8.1%}"
        f"{1e3 * row['predicted_by_bytes_s']:9.2f}  (count {row.get('count_s', 0):.0f} s)"
    )
