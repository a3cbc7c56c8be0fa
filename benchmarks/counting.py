"""Counts the trips of hot loops beside whatever else goes on: a process of its own, on the CPU.

    python benchmarks/counting.py PLATFORM small|full LOOP ...

Writes a line of JSON for each loop.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Condition, Thread

import numpy as np

from capjax.compiled.trips import Counts, Loop


class Counting:
    """The process that counts, and what it has told so far."""

    def __init__(self, platform: str, names: list[str], small: bool):
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        size = "small" if small else "full"
        command = [sys.executable, str(Path(__file__)), platform, size, *names]
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, text=True
        )
        self._told: dict[str, tuple[list[Loop], Counts]] = {}
        self._listening = Thread(target=self._listen, daemon=True)
        self._news = Condition()
        self._listening.start()

    def of(self, name: str) -> tuple[list[Loop], Counts]:
        """What a loop has counted; waits for it."""
        with self._news:
            while name not in self._told and self._listening.is_alive():
                self._news.wait(1)
        if name not in self._told:
            raise RuntimeError(f"the trips of {name} could not be counted; see above")
        return self._told[name]

    def over(self, seconds: float) -> bool:
        """Whether all is counted, after so many seconds at most."""
        self._listening.join(max(seconds, 0))
        return not self._listening.is_alive()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                told = json.loads(line)
                loops = [Loop(*rest, tuple(within)) for *rest, within in told["loops"]]
                counts = Counts(*(np.array(told[x], np.float64) for x in Counts._fields))
                with self._news:
                    self._told[told["name"]] = loops, counts
                    self._news.notify_all()


def main(platform: str, size: str, *names: str) -> None:
    from hot_loops import NARROW, SMALL
    from programs import counted

    for name in names:
        loops, counts = counted(name, platform, SMALL if size == "small" else NARROW)
        told = {key: x.tolist() for key, x in counts._asdict().items()}
        print(json.dumps({"name": name, "loops": loops, **told}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
