"""Evaluation on made-up embeddings, beside OpenGait's functions in the same run, both on the CPU.

    OPENGAIT_ROOT=… OMP_NUM_THREADS=1 python tools/bench_evaluation.py [--large 20000] [--load 2]

Without OPENGAIT_ROOT only gaitext is timed. On a busy machine compare CPU seconds, or the ratio: the two take turns.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitext.evaluation import analyse, distances, evaluate_Gait3D, evaluate_indoor_dataset, evaluate_PsyMo
from gaitext.evaluation.result import Gait
from gaitext.evaluation.searches import Search, run
from gaitext.evaluation.verification import verification

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.evaluation.toolbox import functions

#: Names in the order in which they are written.
CASIA = ([*(f"nm-{i:02d}" for i in range(1, 7)), "bg-01", "bg-02", "cl-01", "cl-02"], range(0, 181, 18))
PSYMO = (["nm-01", "nm-02", "bg", "cl", "wss", "wsf", "ph", "txt"], (0, 45, 90, 180, 225, 270))


def walks(identities: int, names: tuple[Any, Any], shape: tuple[int, int], noise: float) -> dict[str, Any]:
    """Every type and view of each identity, noisy around its own embedding [c, p]."""
    generator = np.random.default_rng(0)
    rows = [(i, kind, view) for i in range(identities) for kind in names[0] for view in names[1]]
    people = np.array([row[0] for row in rows])
    centre = generator.normal(size=(identities, *shape)).astype(np.float32)
    return {
        "embeddings": centre[people] + np.float32(noise) * generator.standard_normal((len(rows), *shape), np.float32),
        "labels": [f"{i:05d}" for i in people],
        "types": [row[1] for row in rows],
        "views": [f"{row[2]:03d}" for row in rows],
    }


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """CPU seconds of this process, seconds by the clock, and what came out."""
    cpu, clock = time.process_time(), time.perf_counter()
    result = work()
    return time.process_time() - cpu, time.perf_counter() - clock, result


def _spin() -> None:
    while True:
        pass


@contextmanager
def load(processes: int) -> Iterator[None]:
    """Busy processes beside this one."""
    busy = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()


def say(*words: Any) -> None:
    print(*words, flush=True)  # noqa: T201


def beside(title: str, ours: Callable[[], Any], theirs: Callable[[], Any] | None, turns: int, key: str) -> None:
    """Both take turns; the least of each, as all else on the machine only adds."""
    cpu: dict[str, list[float]] = {"gaitext": [], "OpenGait": []}
    clock: dict[str, list[float]] = {"gaitext": [], "OpenGait": []}
    found: dict[str, Any] = {}
    for _ in range(turns):
        for name, work in (("gaitext", ours), ("OpenGait", theirs)):
            if work is not None:
                one, two, result = timed(work)
                cpu[name].append(one)
                clock[name].append(two)
                found[name] = (result.scalars if name == "gaitext" else result)[key]
    for name in found:
        say(f"{title}: {name} {min(cpu[name]):.2f} s CPU, {min(clock[name]):.2f} s; {key} {float(found[name]):.3f}")
    if theirs is not None:
        say(f"{title}: ratio {min(cpu['OpenGait']) / min(cpu['gaitext']):.1f} in CPU seconds")


def casia_b(opengait: Any, busy: int) -> None:
    data = walks(50, CASIA, (256, 16), 12)
    key = "scalar/test_accuracy/NM@R1"
    theirs = None if opengait is None else lambda: opengait.evaluator.evaluate_indoor_dataset(data, "CASIA-B")
    title = "CASIA-B, 5,500 × 256 × 16"
    beside(title, lambda: evaluate_indoor_dataset(data, "CASIA-B"), theirs, 3, key)
    cpu, clock, _ = timed(lambda: analyse(data, "CASIA-B"))
    say(f"{title}, with mAP, mINP, DET, open set and intervals (analyse): {cpu:.2f} s CPU, {clock:.2f} s")
    if busy:
        alone = min(timed(lambda: evaluate_indoor_dataset(data, "CASIA-B"))[1] for _ in range(3))
        with load(busy):
            loaded = min(timed(lambda: evaluate_indoor_dataset(data, "CASIA-B"))[1] for _ in range(3))
        say(f"{title}: {alone:.2f} s, beside {busy} busy processes {loaded:.2f} s, ratio {loaded / alone:.1f}")


def large(opengait: Any, size: int) -> None:
    """``size`` probes in as many gallery sequences: rank-1, mAP, mINP as Gait3D's, and the DET."""
    data = walks(size // 10, (["a", "b", "c", "d"], range(5)), (256, 16), 12)
    names = ["-".join(each) for each in zip(data["labels"], data["types"], data["views"])]
    title = f"{size:,} × {size:,} × 256 × 16"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "datasets/Gait3D/Gait3D.json")
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps({"PROBE_SET": names[::2]}))
        here = os.getcwd()
        os.chdir(folder)
        try:
            ours = timed(lambda: evaluate_Gait3D(data))
            numbers = _numbers(ours[2].scalars)
            say(f"{title}: gaitext {ours[0]:.0f} s CPU, {ours[1]:.0f} s, to {_peak():.1f} GiB: {numbers}")
            gait = Gait.of_data(data)
            every = np.arange(len(names))
            cpu, clock, found = timed(lambda: verification(run(gait, Search("", every[::2], every[1::2])).pairs))
            said = f"EER {found.eer:.3f}, FNMR at FMR 0.1 % {found.fnmr_at[0.001]:.3f}"
            say(f"{title}: with DET and open set {cpu:.0f} s CPU, {clock:.0f} s, to {_peak():.1f} GiB: {said}")
            if opengait is not None:
                theirs = timed(lambda: opengait.evaluator.evaluate_Gait3D(data, "Gait3D"))
                numbers = _numbers(theirs[2])
                say(f"{title}: OpenGait {theirs[0]:.0f} s CPU, {theirs[1]:.0f} s, to {_peak():.1f} GiB: {numbers}")
                say(f"{title}: ratio {theirs[0] / ours[0]:.1f} in CPU seconds")
        finally:
            os.chdir(here)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def _numbers(scalars: dict[str, Any]) -> str:
    return ", ".join(f"{name.rpartition('/')[2]} {float(value):.4f}" for name, value in scalars.items())


def psymo() -> None:
    data = walks(312, PSYMO, (256, 1), 2)
    for gallery in ("nm", "same", "all"):
        cpu, clock, result = timed(lambda g=gallery: evaluate_PsyMo(data, gallery=g))  # type: ignore[misc]
        say(f"PsyMo, gallery {gallery}, {len(data['labels']):,} × 256: {cpu:.2f} s CPU, {clock:.2f} s")
        assert result.scalars


def plain(count: int = 2000) -> None:
    embeddings = np.random.default_rng(0).standard_normal((count, 256, 16), np.float32)
    cpu, clock, _ = timed(lambda: distances(embeddings, embeddings))
    say(f"distances, {count:,} × {count:,} × 256 × 16: {cpu:.2f} s CPU, {clock:.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", type=int, metavar="N", help="also N probes in N gallery sequences")
    parser.add_argument("--only-large", action="store_true", help="nothing else")
    parser.add_argument("--load", type=int, default=0, metavar="N", help="also beside N busy processes")
    options = parser.parse_args()
    say(f"{torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with functions("OpenGait") as opengait:
        if not options.only_large:
            casia_b(opengait, options.load)
            plain()
            psymo()
        if options.large:
            large(opengait, options.large)


if __name__ == "__main__":
    main()
