"""What accelerators are given to do by the hot loops, predicted for machines that are not here.

python benchmarks/accelerators.py --target=h100|v5e:2x2|v5e:16x16|... [--loop=NAME] [-v]
"""

import argparse
import json
import sys
import time

import targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", required=True, help="h100, or a slice of TPUs: v5e:2x2")
    parser.add_argument("--loop", action="append", help="only such loops; may be repeated")
    parser.add_argument("--json", help="also write the figures to this file")
    parser.add_argument("--text", help="write the compiled programs to this folder")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell loop by loop")
    flags = parser.parse_args()
    if not targets.known(flags.target):
        sys.exit(f"--target={flags.target} is none: h100, or a slice as v5e:2x2 or v5p:2x2x2")
    if lacking := targets.missing(flags.target):
        sys.exit(f"the compiler for {flags.target} is not installed: {lacking}")
    targets.prepare(flags.target)
    from predicted import predict

    start = time.perf_counter()
    found = predict(flags.target, flags.loop, flags.verbose, flags.text)
    print(f"{time.perf_counter() - start:.0f} s in all")
    if flags.json:
        with open(flags.json, "w", encoding="utf-8") as file:
            json.dump(found, file, indent=1)


if __name__ == "__main__":
    main()
