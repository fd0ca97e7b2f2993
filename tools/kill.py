"""Kill a command again and again, and compare what is left with a run that was left alone.

    python tools/kill.py [extract convert prepare degrade train study …] [--kills 20] [--seed 0]

Each command runs once without interruption. Then the same command is started, killed with SIGKILL (its
workers are not: they must see it) at a random moment and started again, until it has been killed so often. A
run that ends by itself must have made every file, byte for byte, and leave nothing else; the next one then begins
with nothing there. Files that say when they were written are left out of the comparison: TensorBoard's.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from gaitext.store import write_json
from gaitext.walkers import WalkerSettings, write_dataset

ROOT = Path(__file__).resolve().parents[1]
WALKERS: dict[str, Any] = {
    "identities": 4,
    "train_identities": 2,
    "types": ["nm-01", "nm-05"],
    "views": ["000", "090"],
    "frames": 30,
    "content": ["video", "heatmaps"],
}


def training(folder: Path) -> Path:
    """A config that trains a small GaitHeat on the walkers in some tens of seconds."""
    config = yaml.safe_load((ROOT / "configs/gaitheat/tiny.yaml").read_text(encoding="utf-8"))
    config["data_cfg"].update(
        dataset_root=str(folder / "walkers/sequences"), dataset_partition=str(folder / "walkers/partition.json")
    )
    config["model_cfg"].update(class_num=2, channels=[16, 16, 16, 16], embedding_size=8)
    config["trainer_cfg"].update(total_iter=60, save_iter=3, log_iter=2)
    config["trainer_cfg"]["sampler"].update(batch_size=[2, 2])
    write_json(folder / "train.yaml", config)
    return folder / "train.yaml"


def study(folder: Path) -> Path:
    """A study of one system and two seeds on walkers of its own."""
    short = {
        "model_cfg": {"channels": [16, 16, 16, 16], "bins": 2, "embedding_size": 8, "class_num": 2},
        "trainer_cfg": {
            "total_iter": 20, "save_iter": 2, "log_iter": 2,
            "sampler": {"batch_size": [2, 2], "frames_num_fixed": 4},
        },
        "evaluator_cfg": {"restore_hint": 20},
        "fabric_cfg": {"tensorboard": False},
    }  # fmt: skip
    content = {
        "kind": "recognition",
        "title": "Killed",
        "seeds": [0, 1],
        "data": {"level": {"walkers": {**WALKERS, "content": ["heatmaps"], "frames": 6}}},
        "configs": {"gaitheat": {"file": str(ROOT / "configs/gaitheat/tiny.yaml"), "set": short}},
        "systems": {"gaitheat": {"config": "gaitheat", "data": "level"}},
        "tables": [{"name": "t", "title": "T", "rows": ["gaitheat"], "columns": [{"condition": "level"}]}],
    }
    write_json(folder / "study.yaml", content)
    return folder / "study.yaml"


#: Name -> the command's words, of the folder that holds the walkers and of its output.
COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "extract": lambda folder, out: [
        *("extract", str(folder / "walkers/videos"), "--boxes", str(folder / "walkers/boxes")),
        *(
            "--estimator",
            "movenet:lightning",
            "--form",
            "compact",
            "--clip-frames",
            "15",
            "--type",
            "{type}-{clip:02d}",
        ),
        *("--out", str(out), "--quiet"),
    ],
    "convert": lambda folder, out: ["convert", str(folder / "walkers/sequences"), str(out), "--form", "compact", "-q"],
    "prepare": lambda folder, out: ["prepare", "own", str(folder / "own"), "--copy", "--out", str(out), "-q"],
    "degrade": lambda folder, out: ["degrade", str(folder / "walkers/videos"), "--out", str(out), "--quiet"],
    "walkers": lambda folder, out: ["walkers", str(out), "--config", str(folder / "walkers.yaml"), "--quiet"],
    "train": lambda folder, out: [
        *("train", str(training(folder)), "--resume", "--device", "cpu", "--output", str(out), "--quiet")
    ],
    "study": lambda folder, out: ["study", str(study(folder)), "--out", str(out), "--device", "cpu", "--quiet"],
}


def files(folder: Path) -> dict[str, bytes]:
    """All files below a folder that equal runs make alike."""
    found = sorted(file for file in folder.rglob("*") if file.is_file() and "tfevents" not in file.name)
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def compare(whole: dict[str, bytes], made: dict[str, bytes]) -> None:
    if made.keys() != whole.keys():
        raise SystemExit(f"files differ: {sorted(made.keys() ^ whole.keys())[:5]}")
    differing = [name for name, data in whole.items() if made[name] != data]
    if differing:
        raise SystemExit(f"{len(differing)} files differ: {differing[:5]}")


def kill(name: str, folder: Path, kills: int, chance: random.Random) -> str:
    """Do it with one command; what was found."""
    out = folder / f"{name}-out"  # always the same, as some files name the place they were written to
    words = COMMANDS[name](folder, out)
    command = [sys.executable, "-c", "from gaitext.cli import main; main()", *words]

    def run() -> float:
        begun = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{name} ended with {done.returncode} without having been killed:\n{done.stdout}")
        return time.perf_counter() - begun

    long = run()
    idle = run()  # everything is there: what starting costs
    whole = files(out)
    out.rename(folder / f"{name}-whole")
    killed, finished = 0, 0
    while killed < kills:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # A tenth of the work in the middle, so that most kills find a part of it done.
        time.sleep(chance.uniform(0.7 * idle, idle + max(0.2, long - idle) / 5))
        running.send_signal(signal.SIGKILL)
        code = running.wait()
        if code == -signal.SIGKILL:
            killed += 1
            continue
        if code != 0:
            raise SystemExit(f"{name} ended with {code} after {killed} kills")
        compare(whole, files(out))
        finished += 1
        shutil.rmtree(out)
    run()
    compare(whole, files(out))
    return f"{name}: {killed} kills, {finished} runs that ended before theirs; {len(whole)} files equal, no others"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", metavar="COMMAND", help=f"of {', '.join(COMMANDS)}; default: all")
    parser.add_argument("--kills", type=int, default=20, help="of each command")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    if unknown := set(asked.commands) - set(COMMANDS):
        parser.error(f"no command {', '.join(sorted(unknown))}")
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_json(folder / "walkers.yaml", WALKERS)
        walkers = write_dataset(WalkerSettings.parse(WALKERS, where="walkers"), folder / "walkers", quiet=True)
        assert walkers.videos is not None
        (folder / "own").mkdir()
        for video in walkers.videos.rglob("*.mp4"):
            shutil.copy(video, folder / "own" / ("_".join(video.parts[-3:])))
        for name in asked.commands or COMMANDS:
            print(kill(name, folder, asked.kills, chance), flush=True)


if __name__ == "__main__":
    main()
