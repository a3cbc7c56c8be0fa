"""What GPUs and TPUs are given to do by the hot loops: predicted, or measured where one is here.

    python benchmarks/accelerators.py --target=h100 [--loop=NAME] [--json FILE] [-v]
    python benchmarks/accelerators.py --here [--out FOLDER]

A target is h100 or a slice of TPUs (v5e:2x2, v5e:16x16, v5p:2x2x2); its compiler runs on a CPU.
On a slice every chip has the whole batch, and figures are those of one chip. Trips of loops that
depend on data are counted in a run here of the same captions, with narrow networks. `--here` takes
less than 8 minutes, and writes its table and a profile of the worst loop to a folder.
"""

import argparse
import json
import os
import sys
from difflib import get_close_matches

from capjax.compiled import targets
from capjax.errors import InputError, named

NAMES = (
    *("training step", "sampling", "greedy", "beam", "emitter-suppressor", "self-retrieval"),
    *("contrastive step", "rollouts 64", "rollouts 512", "self-critical step", "G-GAN update"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", help="h100, or a slice of TPUs: v5e:2x2")
    parser.add_argument("--here", action="store_true", help="measure on the accelerator here")
    parser.add_argument("--loop", action="append", help=f"one of: {', '.join(NAMES)}")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--programs", help="also write the compiled programs to this folder")
    parser.add_argument("--out", default="accelerators", help="the folder that --here writes")
    parser.add_argument("--minutes", type=float, default=7.0, help="what --here may take, about")
    parser.add_argument("--small", action="store_true", help="tiny sizes, for tests")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell loop by loop")
    flags = parser.parse_args()
    names = flags.loop or list(NAMES)
    for name in names:
        if name not in NAMES:
            near = get_close_matches(name, NAMES, 1)
            sys.exit(f"there is no loop {name!r}" + (f"; is {near[0]!r} meant?" if near else ""))
    if flags.target and not flags.here:
        found = _predicted(flags, names)
    else:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs some, too
        from measured import measure

        found = measure(flags.out, names, 60 * flags.minutes, small=flags.small)
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


def _predicted(flags: argparse.Namespace, names: list[str]) -> dict:
    try:
        with named("--target", flags.target):
            targets.check_target(flags.target)
            targets.prepare(flags.target)
            from predicted import predict

            return predict(flags.target, names, flags.verbose, flags.programs, flags.small)
    except InputError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
