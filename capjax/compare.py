"""`python -m capjax.compare DIR DIR ...`: runs side by side, in tables and plots."""

import argparse
import io
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from capjax.command import command
from capjax.comparison.differences import differences
from capjax.comparison.measures import DISTINCTIVENESS, DIVERSITY, QUALITY
from capjax.comparison.plain import long_csv, markdown, terminal
from capjax.comparison.scorefiles import read
from capjax.comparison.side_by_side import comparison_page
from capjax.comparison.tables import Table, compare
from capjax.comparison.tradeoff import Plot, choose, plots
from capjax.errors import InputError
from capjax.files.paths import check_path
from capjax.files.places import place, stored
from capjax.files.whole import whole
from capjax.report.plots import png


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="capjax.compare", description=__doc__)
    parser.add_argument("runs", nargs="*", help="folders with scores*.json, or such files")
    parser.add_argument("--out", default="compare", help="the folder to write")
    parser.add_argument("--quality", help="the measure to plot; default: cider_d")
    parser.add_argument("--diversity", help="default: self_cider, else distinct_words")
    parser.add_argument(
        "--distinctiveness",
        help="default: listener_accuracy, else a retrieval_r1, else identifies",
    )
    parser.add_argument(
        "--against",
        metavar="RUN",
        help="one of the runs: how far the others are from it, with standard errors",
    )
    flags = parser.parse_args(argv)
    wanted = {kind: getattr(flags, kind) for kind in (QUALITY, DIVERSITY, DISTINCTIVENESS)}
    try:
        if flags.against == "":
            raise InputError("--against= is empty; name one of the runs, or leave --against out")
        check_path("--out", flags.out, "new")
        rows, notes = read(flags.runs)
        tables = compare(rows)
        if flags.against is not None:
            tables = differences(tables, flags.against)
        drawn = plots(tables, choose(tables, wanted))
        out = place(flags.out)
        written, unplotted = write_comparison(out, tables, drawn, notes)
    except InputError as error:
        print(f"capjax: {error}", file=sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):  # names may hold what the terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    print(terminal(tables, shutil.get_terminal_size((120, 24)).columns), flush=True)
    for note in [*notes, *(note for plot in drawn for note in plot.missing), *unplotted]:
        print(f"capjax: {note}", file=sys.stderr)
    print(f"\nwritten: {', '.join(map(str, written))}")
    return 0


def write_comparison(
    out: Path, tables: Sequence[Table], drawn: Sequence[Plot], notes: Sequence[str]
) -> tuple[list[Path], list[str]]:
    """Writes compare.html, table.md, table.csv and the plots as PNG.

    A picture of an earlier comparison is removed where this one has none in its place.

    Arguments: out, the folder, made where there is none; notes, what is left out, for the page.

    Returns:
      The files, and why plots are not among them.
    Raises:
      InputError: the folder cannot be made or written.
    """
    try:
        if not stored(out):
            out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot make the folder {out}: {error.strerror}; name another --out"
        ) from error
    pictures, unplotted = _pictures(drawn)
    contents = {f"{stem}.png": picture for stem, picture in pictures.items()}
    texts = {
        "table.md": markdown(
            tables, [(stem.replace("-", " against "), f"{stem}.png") for stem in pictures]
        ),
        "table.csv": long_csv(tables),
        "compare.html": comparison_page(tables, drawn, notes, footer="python -m capjax.compare"),
    }
    # The names of files may hold bytes that are no text.
    contents |= {name: text.encode(errors="backslashreplace") for name, text in texts.items()}
    for plot in drawn:
        if plot.stem not in pictures and (old := out / f"{plot.stem}.png").is_file():
            _remove(old)
    for name, content in contents.items():
        with whole(out / name) as draft:
            draft.write_bytes(content)
    return [out / name for name in contents], unplotted


def _pictures(drawn: Sequence[Plot]) -> tuple[dict[str, bytes], list[str]]:
    pictures: dict[str, bytes] = {}
    for plot in drawn:
        panels = [(f"{table.title}; {table.settings}", panel) for table, panel in plot.panels]
        if panels:
            try:
                pictures[plot.stem] = png(panels)
            except InputError as error:  # the rest needs no matplotlib
                return {}, [f"{error}; the page has the plots all the same"]
    return pictures, []


def _remove(path: Path) -> None:
    try:
        path.unlink()
    except OSError as error:
        raise InputError(
            f"cannot remove {path}, which is of an earlier comparison: {error.strerror}"
        ) from error


if __name__ == "__main__":
    command(main, compiles=False)
