"""How far training goes: docs/scaling.md's tables, made anew from what `capjax.compile` tells.

    python benchmarks/scaling.py [--only=outputs|sweep]

Needs the extra [aot], and half an hour. Every table of the page stands after a mark of its name; it
is replaced, and the text around it left as it is.
"""

import argparse
import json
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from capjax.compiled.network import mean_seconds

HOME = Path(__file__).parents[1]
PAGE = HOME / "docs" / "scaling.md"
GAN, CONTRASTIVE = "--config=configs/gan.py:coco", "--config=configs/contrastive.py:coco"
# The recipes' batches are of 64 and 128 rows: for 256 chips of 256, the next that they can share.
OUTPUTS = {
    "gan v5e:2x2": f"{GAN} --topology=v5e:2x2",
    "gan v5e:16x16": (
        f"{GAN} --topology=v5e:16x16 --config.mle.batch=256 --config.evaluator.batch=256"
        " --config.adversarial.batch=256"
    ),
    "gan v5p:4x4x4": f"{GAN} --topology=v5p:4x4x4",
    "gan h100:8": f"{GAN} --topology=h100:8",
    "contrastive v5e:2x2": f"{CONTRASTIVE} --topology=v5e:2x2",
    "contrastive v5e:16x16": f"{CONTRASTIVE} --topology=v5e:16x16 --config.contrastive.batch=256",
    "contrastive v5p:4x4x4": f"{CONTRASTIVE} --topology=v5p:4x4x4",
    "contrastive h100:8": f"{CONTRASTIVE} --topology=h100:8",
}
STAGES = {"gan": "adversarial", "contrastive": "contrastive"}
# What a chip computes with so many rows is compiled for the fewest chips that send one another
# anything: of H100s two, of v5e four.
FEWEST = {"v5e": ("v5e:2x2", 4), "h100": ("h100:2", 2)}
SHARES = (1, 4, 16, 64, 256)
SLICES = {1: "1x1", 4: "2x2", 16: "4x4", 64: "8x8", 256: "16x16"}
CHIPS = (1, 4, 16, 64, 256, 1024)
FIXED = (64, 1024)  # batches that ever more chips share


def compiled(flags: str, file: Path | None = None) -> str:
    """What the command prints; its figures go to a file."""
    command = [sys.executable, "-m", "capjax.compile", *shlex.split(flags)]
    command += [f"--json={file}"] if file else []
    done = subprocess.run(command, cwd=HOME, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def outputs() -> Iterator[tuple[str, str]]:
    """Each command and what it prints, by the name of its place on the page."""
    for name, flags in OUTPUTS.items():
        told = compiled(flags)
        if name != "gan v5e:2x2":  # the columns are told of once
            told = told[: told.index("state, data, sent")]
        yield name, f"$ python -m capjax.compile {flags}\n{told}"


def of_shares(name: str, chip: str) -> dict[int, dict]:
    """What a chip has to do with so many rows, by their number."""
    target, chips = FEWEST[chip]
    stage, found = STAGES[name], {}
    with tempfile.TemporaryDirectory() as folder:
        for share in SHARES:
            file = Path(folder, "found.json")
            compiled(
                f"--config=configs/{name}.py:coco --config.dtype=bfloat16 --topology={target}"
                f" --config.stages=\"('{stage}',)\" --config.{stage}.batch={share * chips}",
                file,
            )
            (found[share],) = json.loads(file.read_text())["stages"]
            print(name, chip, share, f"{1e3 * found[share]['by_bytes_s']:.2f} ms", flush=True)
    return found


def means(chip: str, chips: int, one: dict) -> float:
    """Seconds that an update's collectives take over so many chips."""
    slices = max(1, chips // 256) if chip == "v5e" else 1
    target = f"v5e:{SLICES[chips // slices]}" if chip == "v5e" else f"h100:{chips}"
    sent = one["collectives"]
    return sum(x["number"] * mean_seconds(target, x["bytes"] / x["number"], slices) for x in sent)


def row(chip: str, chips: int, share: int, one: dict, alone: dict) -> str:
    """A line: a step of so many chips, and its speed as a share of as many times one chip's."""
    sent = means(chip, chips, one)
    ends = one["compute_s"], one["by_bytes_s"]
    steps = [sent + x for x in ends]
    ideal = [alone["compute_s"] / alone["rows"], alone["by_bytes_s"] / alone["rows"]]
    shares = sorted(share * x / step for x, step in zip(ideal, steps, strict=True))
    speeds = sorted(chips * share / step for step in steps)
    reached = "" if chips == 1 else f"{shares[0]:.0%} to {shares[1]:.0%}"
    return (
        f"{chips:6}{share:12}{chips * share:9,}{1e3 * ends[0]:9.2f} to {1e3 * ends[1]:<7.2f}"
        f"{1e3 * sent:9.2f}{speeds[0]:14,.0f} to {speeds[1]:<11,.0f}{reached:>14}"
    )


HEAD = (
    f"{'chips':>6}{'rows a chip':>12}{'batch':>9}{'compute ms':>16}{'means ms':>13}"
    f"{'images/s':>20}{'of ideal':>22}"
)


def sweep() -> Iterator[tuple[str, str]]:
    """Weak and strong scaling, by the names of their places on the page."""
    for name in STAGES:
        for chip in FEWEST:
            found = of_shares(name, chip)
            megabytes = sum(x["bytes"] for x in found[64]["collectives"]) / 1e6
            lines = [f"{name}, {chip}: {megabytes:.1f} MB a step and chip are meant", HEAD]
            for chips in CHIPS:
                lines.append(row(chip, chips, 64, found[64], found[64] | {"rows": 64}))
            for batch in FIXED:
                lines.append("")
                # One chip is taken to have as many rows as were compiled at most.
                most = min(batch, max(SHARES))
                for chips in CHIPS:
                    if (share := batch // chips) in found:
                        alone = found[most] | {"rows": most}
                        lines.append(row(chip, chips, share, found[share], alone))
            yield f"scaling {name} {chip}", "\n".join(lines)


def write(name: str, text: str) -> None:
    """Puts a table in its place on the page."""
    page = PAGE.read_text(encoding="utf-8")
    mark = rf"(<!-- {re.escape(name)} -->\n```\n).*?(```\n)"
    new, count = re.subn(
        mark, lambda m: f"{m[1]}{text.rstrip()}\n{m[2]}", page, count=1, flags=re.S
    )
    if not count:
        sys.exit(f"{PAGE} has no place marked <!-- {name} --> before a block of code")
    PAGE.write_text(new, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=("outputs", "sweep"))
    only = parser.parse_args().only
    for kind, tables in (("outputs", outputs), ("sweep", sweep)):
        if only in (None, kind):
            for name, text in tables():
                write(name, text)
                print(text, flush=True)


if __name__ == "__main__":
    main()
