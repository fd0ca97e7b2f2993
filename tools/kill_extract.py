"""Kill ``gaitext extract`` again and again, and compare what is left with a run that was left alone.

    python tools/kill_extract.py [--kills 20] [--workers 0] [--form compact] [--seed 0]

A tree of filmed walkers is extracted once without interruption. Then the same command is started,
killed with SIGKILL at a random moment and started again. After every kill each sequence that stands
must equal the uninterrupted one byte for byte; a run that ends by itself must have made all of them, with
their records, and leave nothing else behind, and the next one begins with an empty folder.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from gaitext.walkers import WalkerSettings, write_dataset

WALKERS = {
    "identities": 3,
    "train_identities": 2,
    "types": ["nm-01", "cl-01"],
    "views": ["000", "090"],
    "frames": 60,
    "content": ["video"],
}


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for manifests that were being written: several commands may write to one
    folder at a time, so that none removes those of others."""
    found = sorted(file for file in folder.rglob("*") if file.is_file() and not file.match(".manifest.*.tmp.json"))
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--form", default="compact")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        walkers = write_dataset(WalkerSettings.parse(WALKERS, where="walkers"), folder / "walkers", quiet=True)
        out = folder / "out"  # always the same, as compact files name the place they were written to
        command = [sys.executable, "-c", "from gaitext.cli import main; main()", "extract", str(walkers.videos)]
        command += ["--boxes", str(walkers.boxes), "--estimator", "bundled", "--out", str(out), "--quiet"]
        command += ["--form", asked.form, "--workers", str(asked.workers), "--clip-frames", "15"]
        command += ["--type", "{type}-{clip:02d}", "--batch-size", "8"]

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, stdout=subprocess.DEVNULL)

        def seconds() -> float:
            begun = time.perf_counter()
            if start().wait() != 0:
                raise SystemExit("it failed without having been killed")
            return time.perf_counter() - begun

        long = seconds()
        idle = seconds()  # everything is there: what starting costs
        whole = files(out)
        out.rename(folder / "whole")
        killed, finished, standing = 0, 0, []
        while killed < asked.kills:
            running = start()
            # A tenth of the work in the middle, so that most kills find a part of it done.
            time.sleep(chance.uniform(0.7 * idle, idle + (long - idle) / 5))
            running.send_signal(signal.SIGKILL)
            code = running.wait()
            time.sleep(1.0 if asked.workers else 0.0)  # its workers see it, and end
            if code == -signal.SIGKILL:
                killed += 1
                left = {name: data for name, data in files(out / "sequences").items() if not hidden(name)}
                for name, data in left.items():
                    assert data == whole[f"sequences/{name}"], f"{name} is not what it should be"
                standing.append(len(left))
            else:
                assert code == 0, f"it ended with {code}"
                compare(whole, files(out))
                finished += 1
                shutil.rmtree(out)
        seconds()
        compare(whole, files(out))
        print(f"{killed} kills, {finished} runs that ended before theirs, {asked.workers} workers, {asked.form}")
        print(f"files of sequences that stood after each kill: {standing} of {count(whole)}")
        print(f"in the end {len(whole)} files of {', '.join(kinds(whole))}: all equal byte for byte, and no others")


def hidden(name: str) -> bool:
    return any(part.startswith(".") for part in Path(name).parts)


def compare(whole: dict[str, bytes], made: dict[str, bytes]) -> None:
    assert made.keys() == whole.keys(), f"files differ: {sorted(made.keys() ^ whole.keys())[:5]}"
    for name, data in whole.items():
        assert made[name] == data, f"{name} differs"


def count(whole: dict[str, bytes]) -> int:
    return sum(name.startswith("sequences/") for name in whole)


def kinds(whole: dict[str, bytes]) -> list[str]:
    return sorted({name.split("/")[0] for name in whole})


if __name__ == "__main__":
    main()
