"""PsyMo's protocol on made-up embeddings, and against the obvious way: python tools/bench_evaluation.py"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gaitext.evaluation import distances, evaluate_PsyMo
from gaitext.evaluation.psymo import GALLERIES

TYPES = ("nm-01", "nm-02", "bg", "cl", "wss", "wsf", "ph", "txt")
VIEWS = (0, 45, 90, 180, 225, 270)


def walks(identities: int, size: int) -> dict[str, Any]:
    """All 48 sequences of each identity, noisy around its own embedding [size]."""
    generator = np.random.default_rng(0)
    rows = [(i, kind, view) for i in range(identities) for kind in TYPES for view in VIEWS]
    people = np.array([row[0] for row in rows])
    centre = generator.normal(size=(identities, size)).astype(np.float32)
    return {
        "embeddings": centre[people] + 2 * generator.normal(size=(len(rows), size)).astype(np.float32),
        "labels": [f"{i:03d}" for i in people],
        "types": [row[1] for row in rows],
        "views": [f"{row[2]:03d}" for row in rows],
    }


def obvious(data: dict[str, Any], gallery: str) -> float:
    """Mean rank-1 and mAP, added: each probe's gallery picked by masks and sorted in full."""
    labels, types, views = (np.array(data[name]) for name in ("labels", "types", "views"))
    variation = np.array([kind.split("-")[0] for kind in types])
    of_variation = []
    for name in sorted(set(variation)):
        of_angle = []
        for here in sorted(set(views)):
            cells = []
            for there in sorted(set(views) - {here}):
                numbers = []
                for i in np.flatnonzero((variation == name) & (views == here)):
                    if gallery == "nm" and types[i] == "nm-01":
                        continue
                    shown = views == there
                    if gallery != "all":
                        shown &= types == "nm-01" if gallery == "nm" else variation == name
                    apart = distances(data["embeddings"][i : i + 1], data["embeddings"][shown])[0]
                    right = labels[shown][np.argsort(apart, kind="stable")] == labels[i]
                    places = np.flatnonzero(right) + 1
                    numbers.append(right[0] + np.mean(np.arange(1, len(places) + 1) / places))
                cells.append(np.mean(numbers))
            of_angle.append(np.mean(cells))
        of_variation.append(np.mean(of_angle))
    return 100 * float(np.mean(of_variation))


def timed(work: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Median seconds, and what came out."""
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        result = work()
        taken.append(time.perf_counter() - begun)
    return statistics.median(taken), result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--identities", type=int, default=312)
    parser.add_argument("--subset", type=int, default=30, help="identities for the obvious way")
    parser.add_argument("--size", type=int, default=256, help="of an embedding")
    options = parser.parse_args()
    whole, subset = walks(options.identities, options.size), walks(options.subset, options.size)
    for gallery in GALLERIES:
        seconds, _ = timed(lambda g=gallery: evaluate_PsyMo(whole, gallery=g), 3)
        count = len(whole["labels"])
        print(f"{gallery:>4}: {count} sequences [{options.size}] in {seconds:.2f} s", end="; ")  # noqa: T201
        fast, result = timed(lambda g=gallery: evaluate_PsyMo(subset, gallery=g), 3)
        slow, expected = timed(lambda g=gallery: obvious(subset, g), 1)
        found = sum(result.scalars[f"scalar/test_accuracy/mean@{number}"] for number in ("R1", "mAP"))
        print(  # noqa: T201
            f"{len(subset['labels'])} of them {fast:.3f} s, the obvious way {slow:.2f} s, ratio {slow / fast:.0f}, "
            f"R1 + mAP {found:.4f} and {expected:.4f}"
        )


if __name__ == "__main__":
    main()
