"""Cells with numbers that tests can reckon with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gaitext.studies.cells import Cell, Cells
from gaitext.studies.settings import ClaimSettings, TableSettings

CLAIM = ClaimSettings(name="a beats b", better="a@x", than="b@x")


def cell(system: str, condition: str, seed: int, people: Mapping[str, float]) -> Cell:
    """A cell of a protocol whose scalar is the mean over identities."""
    return Cell(system, condition, seed, {"mean": float(np.nanmean(list(people.values())))}, {"mean": people})


def cells(of: Mapping[tuple[str, str], Sequence[Mapping[str, float]]]) -> Cells:
    """Place -> people of seeds 0, 1, ..."""
    return Cells(cell(*place, seed, people) for place, seeds in of.items() for seed, people in enumerate(seeds))


def study() -> tuple[list[TableSettings], list[ClaimSettings], Cells]:
    """Two systems with people, one without, one that has not been run; a table and four claims."""
    rng = np.random.default_rng(4)
    ability = rng.normal(60, 10, 12)
    made = []
    for system, shift in (("ours", 9), ("theirs", 0), ("silent", -20)):
        for seed in (0, 1, 2):
            people = {f"{i:02d}": float(shift + seed + x) for i, x in enumerate(ability + rng.normal(0, 2, 12))}
            full = cell(system, "x", seed, people)
            made.append(full if system != "silent" else Cell(system, "x", seed, full.scalars))
    table = TableSettings.parse(
        {
            "name": "one",
            "title": "A table",
            "rows": [{"ours|best": "ours@x"}, "theirs", "silent@x", "absent@x"],
            "columns": [{"label": "all"}, {"condition": "x", "metrics": ["mean"]}],
            "published": ["Paper, Table 1: 88.17"],
        },
        where="test",
    )
    claims = [
        ClaimSettings(name="ours is better", better="ours@x", than="theirs@x", source="Table 1", published="by 5"),
        ClaimSettings(name="theirs is better", better="theirs@x", than="ours@x", by=2),
        ClaimSettings(name="silent is better", better="silent@x", than="ours@x", unit="px", lower_is_better=True),
        ClaimSettings(name="absent is better", better="absent@x", than="ours@x"),
    ]
    return [table], claims, Cells(made)
