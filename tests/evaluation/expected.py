"""Ranking metrics over all orders of equally near sequences, the slow way, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def groups(apart: Sequence[float]) -> list[list[int]]:
    """Places by distance, the equally near ones together."""
    found: list[list[int]] = []
    for place in sorted(range(len(apart)), key=lambda j: apart[j]):
        if found and apart[place] - apart[found[-1][-1]] <= 1e-9 * apart[found[-1][-1]]:
            found[-1].append(place)
        else:
            found.append([place])
    return found


def enumerated(apart: Sequence[float], right: Sequence[bool], ranks: int) -> dict[str, Any]:
    """Means over every order of the equals: ``cmc`` [ranks], ``ap``, ``inp``."""
    every = [
        list(itertools.chain(*order))
        for order in itertools.product(*(list(itertools.permutations(group)) for group in groups(apart)))
    ]
    cmc, ap, inp = [], [], []
    for order in every:
        hits = [place for place, j in enumerate(order, 1) if right[j]]
        cmc.append([bool(hits) and hits[0] <= k for k in range(1, ranks + 1)])
        ap.append(np.mean([k / place for k, place in enumerate(hits, 1)]) if hits else math.nan)
        inp.append(len(hits) / hits[-1] if hits else math.nan)
    return {"cmc": np.mean(cmc, axis=0), "ap": float(np.mean(ap)), "inp": float(np.mean(inp))}


def summed(apart: Sequence[float], right: Sequence[bool], ranks: int) -> tuple[list[float], float]:
    """``cmc`` and ``ap`` of :func:`enumerated` by probabilities, for sets too large to enumerate."""
    cmc, ap, before, matched, total = [0.0] * ranks, 0.0, 0, 0, sum(map(bool, right))
    for group in groups(apart):
        t, m = len(group), sum(bool(right[j]) for j in group)
        if m and not matched:
            for k in range(1, ranks + 1):
                j = min(max(k - before, 0), t)
                cmc[k - 1] = 1 - math.comb(t - m, j) / math.comb(t, j)
        for r in range(1, t + 1):
            others = (r - 1) * (m - 1) / (t - 1) if t > 1 else 0
            ap += m / t * (matched + 1 + others) / (before + r)
        before, matched = before + t, matched + m
    return cmc, ap / total if total else math.nan


def plain_distances(probe: Any, gallery: Any, metric: str = "euc") -> Any:
    """[n, m]: differences, number by number, of [n, c, p] and [m, c, p] in float64."""
    found = np.zeros((len(probe), len(gallery)))
    for i, x in enumerate(np.asarray(probe, float)):
        for j, y in enumerate(np.asarray(gallery, float)):
            if metric == "euc":
                found[i, j] = np.mean(np.sqrt(((x - y) ** 2).sum(0)))
            else:
                lengths = np.linalg.norm(x, axis=0), np.linalg.norm(y, axis=0)
                units = [a / np.where(b > 0, b, 1) for a, b in zip((x, y), lengths)]
                both = (lengths[0] > 0) & (lengths[1] > 0)
                found[i, j] = np.mean(np.where(both, ((units[0] - units[1]) ** 2).sum(0) / 2, 1))
    return found
