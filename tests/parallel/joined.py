"""A command of two processes, for tests: `python joined.py WHAT FOLDER`."""

import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from capjax.command import command, tell
from capjax.errors import InputError
from capjax.parallel import by_first, first_before_others, own_rows, processes, shared_out
from capjax.parallel.together import gathered, leader


def share() -> None:
    """What is gathered and shared out is what one process would have."""
    which = processes.index()
    assert gathered({"process": which, "rows": np.arange(which + 1)})[1]["rows"].tolist() == [0, 1]
    worked: list[int] = []

    def square(n: int) -> int:
        worked.append(n)
        return n * n

    for count in range(5):
        assert list(shared_out(square, range(count))) == [n * n for n in range(count)]
    assert sorted(n for each in gathered(worked) for n in each) == [0, 0, 0, 0, 1, 1, 1, 2, 2, 3]
    assert by_first(processes.index) == 0
    rows = np.arange(24).reshape(8, 3)
    np.testing.assert_array_equal(np.concatenate(gathered(own_rows(rows))), rows)


def folders(folder: Path) -> None:
    """Of processes that see one folder the first comes first; else each makes its own."""
    made = folder / "made"

    def make() -> int:
        found = made.exists()
        made.write_text(str(processes.index()))
        return int(found)

    assert gathered(first_before_others(folder, make)) == [0, 1]
    assert gathered(leader(folder)) == [0, 0]
    assert gathered(leader(folder / str(processes.index()))) == [0, 1]
    assert not list(folder.glob("**/.seen*"))


def refused(part: int) -> int:
    """Refuses part 0."""
    if not part:
        raise InputError("the photo is none; take it out")
    return part


def main() -> int:
    try:
        return run()
    except InputError as error:
        return tell(error, 2)


def run() -> int:
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "share":
        share()
        folders(folder)
        print("all is well")
        return 0
    if what == "refuse":
        return tell("the recipe is bad; mend it", 2)
    if what == "refused":
        by_first(partial(refused, 0))
    if what == "shared":
        list(shared_out(refused, [2, 0, 2]))
    if what == "fault" and processes.index():
        raise TypeError("no such thing")
    (folder / f"up{processes.index()}").touch()
    if what == "killed":
        signal.pause()
    while what == "gathers":
        gathered(None)
    time.sleep(600)
    return 0


if __name__ == "__main__":
    command(main, compiles=False, together=True)
