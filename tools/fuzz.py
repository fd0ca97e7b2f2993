#!/usr/bin/env python3
# ruff: noqa: T201
"""Tries mutated inputs of every kind in tests/fuzz and says what became of them.

    python tools/fuzz.py --count 10000
    python tools/fuzz.py --count 500 --kind leaf --seed 3 --keep found

A finding's number names it: its file is written to --keep.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzz import running


def main() -> None:
    known = running.kinds()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="cases of each kind")
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", action="append", choices=sorted(known), help="may be given several times")
    parser.add_argument("--keep", type=Path, help="folder for the files that went wrong")
    parser.add_argument("--show", type=int, default=5, help="findings shown in full")
    given = parser.parse_args()
    wrong = 0
    for kind in given.kind or sorted(known):
        tally = running.run([kind], given.count, given.seed, given.first)[kind]
        print(f"{kind}: {given.count} cases: {tally}", flush=True)
        for position, finding in enumerate(tally.findings):
            if position < given.show:
                print(f"  {finding.number}: {finding.fault}: {finding.text.strip()}")
            if given.keep is not None:
                given.keep.mkdir(parents=True, exist_ok=True)
                content, suffix = running.content_of(kind, given.seed, finding.number)
                (given.keep / f"{kind}{finding.number}{suffix}").write_bytes(content)
        wrong += len(tally.findings)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
