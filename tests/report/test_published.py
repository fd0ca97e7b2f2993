"""Published tables: what can be recomputed of them is, and they are what the studies' YAML says beneath its tables."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from gaitext.report.document import Table
from gaitext.report.publications import PublishedTable, publications, published_rows
from gaitext.report.study import study_sections

CONFIGS = Path(__file__).parents[2] / "configs"
TABLES = [(paper.name, table) for paper in publications() for table in paper.tables]


def test_all_papers_are_there() -> None:
    assert [paper.name for paper in publications()] == ["artifact-correction", "gaitheat", "gaitpt", "rg-gait"]
    named = {(name, table.table.partition(" (")[0]) for name, table in TABLES}
    # GaitHeat's Table 2 is in no text that this project has.
    assert {("gaitheat", f"Table {number}") for number in (1, 3, 4, 5)} <= named
    assert ("gaitheat", "Table 2") not in named
    assert {("artifact-correction", f"Table {number}") for number in ("I", "II", "III")} <= named


@pytest.mark.parametrize(("name", "table"), TABLES, ids=lambda x: x if isinstance(x, str) else x.table)
def test_means_are_of_what_stands_beside_them(name: str, table: PublishedTable) -> None:
    """To half of the last digit that is printed, or, in Table 1's rows, to one of it."""
    for row in table.rows:
        numbers = row.numbers
        assert all(0 <= value <= 100 for value in numbers.values())
        if {"NM", "BG", "CL", "mean"} <= numbers.keys():
            assert sum(numbers[key] for key in ("NM", "BG", "CL")) / 3 == pytest.approx(numbers["mean"], abs=0.0101)
        for key in [key for key in numbers if f"{key}-090" in numbers]:
            angles = [value for angle, value in numbers.items() if angle.startswith(f"{key}-")]
            assert len(angles) == 6
            assert sum(angles) / 6 == pytest.approx(numbers[key], abs=0.0101)
        for key in numbers:
            if f"{key}@R5" in numbers:
                assert numbers[key] < numbers[f"{key}@R5"]


def test_the_text_of_table_three_has_its_means() -> None:
    """IV-B: 42.35, 40.35 and 45.73 are the means of Table III."""
    table = next(t for name, t in TABLES if name == "artifact-correction" and t.table == "Table III")
    means = [sum(v for k, v in row.numbers.items() if "-" not in k) / 7 for row in table.rows]
    assert means == pytest.approx([42.35, 40.35, 45.73], abs=0.0051)


def _studies() -> list[tuple[str, dict[str, Any]]]:
    paths = [*sorted((CONFIGS / "studies").glob("*.yaml")), CONFIGS / "correction" / "walkers.yaml"]
    return [(path.stem, yaml.safe_load(path.read_text(encoding="utf-8"))) for path in paths]


def test_studies_say_the_same() -> None:
    """Every number with two decimals beneath a study's tables is one of these, but for what is no table's."""
    known = {f"{value:.2f}" for _, table in TABLES for row in table.rows for value in row.numbers.values()}
    differences = {"13.06", "29.65"}  # of §4.2, whose table is not here
    distances = {"173.32", "107.53", "79.13"}  # of Fig. 4
    means = {"28.71", "35.41", "40.91", "42.35", "40.35", "45.73"}
    found = 0
    for name, study in _studies():
        for table in study.get("tables", []):
            for number in re.findall(r"\d+\.\d\d", " ".join(table.get("published", []))):
                assert number in known | differences | distances | means, (name, table["name"], number)
                found += 1
    assert found > 300


def test_a_study_of_rg_gait_shows_the_poster() -> None:
    results = {"level": 0.95, "cells": [], "tables": [], "claims": [], "settings": {"kind": "rg-gait"}}
    published, _ = study_sections(results)
    tables = [block for block in published.blocks if isinstance(block, Table)]
    assert [str(cell) for cell in tables[0].rows[2].cells] == ["37.70", "55.25", "39.12", "55.45"]
    assert all(row.published for table in tables for row in table.rows)
    assert [s.title for s in study_sections({**results, "settings": {"kind": "recognition"}})] == ["Settings"]


def test_rows_are_aligned_by_protocol() -> None:
    rows = published_rows("CASIA-B", {"NM", "mean"})
    assert {row.system for _, row in rows} >= {"GaitSet", "GaitHeat", "GaitHeat++", "GaitPT", "SkeletonGait"}
    assert not any("trained on" in source for source, _ in rows)
    crossed = published_rows("CASIA-B", {"NM"}, trained_on={"CCPG"})
    assert len(crossed) == len(published_rows("CASIA-B", {"NM"})) + 7
    assert published_rows("CCPG", {"CL"}) == []  # another protocol than the papers' re-identification
    assert len(published_rows("CCPG", {"CL-ReID@mAP"})) == 11
    assert published_rows("OUMVLP", {"NM"}) == []
    assert all(source.count("Table") or "summary" in source for source, _ in rows)
