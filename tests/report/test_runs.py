"""A report of runs, against the numbers that it is made of; and runs compared."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import analyse, compare, evaluate_file
from gaitext.evaluation.saved import read_saved
from gaitext.inspect.contents import spread
from gaitext.report.comparison import compare_files
from gaitext.report.document import Chart, Code, Document, Heatmap, Number, Strips, Table, Text
from gaitext.report.page import html
from gaitext.report.runs import report
from gaitext.report.study import curves, read_study
from gaitext.report.writing import write_document
from gaitext.store import write_leaf
from tests.report.made_up import CONFIG, embeddings, studied, training
from tests.report.reading import read
from tests.test_cli import gaitext


def blocks(document: Document, kind: type, section: str = "") -> list:
    return [b for s in document.sections for b in s.blocks if isinstance(b, kind) and s.title.startswith(section)]


def table(document: Document, title: str) -> Table:
    return next(b for b in blocks(document, Table) if b.title.startswith(title))


def test_a_report_has_the_evaluations_numbers(tmp_path: Path) -> None:
    paths = [embeddings(tmp_path / "one.npz"), embeddings(tmp_path / "two.npz", noise=1.3, seed=1)]
    made = report(paths, resamples=40)
    page = read(write_document(made, tmp_path / "r.html"))
    shown = table(made, "rank-1")
    assert shown.columns == ("NM", "BG", "CL", "mean")
    for path, row in zip(paths, shown.rows):
        result = evaluate_file(path)
        found = analyse(read_saved(path), resamples=40)
        for condition, cell in zip(found.conditions, row.cells):
            assert isinstance(cell, Number)
            assert cell.value == result.scalars[f"scalar/test_accuracy/{condition.name}@R1"]
            assert (cell.low, cell.high) == condition.intervals["rank-1"]
        mean = np.mean([result.scalars[f"scalar/test_accuracy/{name}@R1"] for name in ("NM", "BG", "CL")])
        assert row.cells[3] == Number(pytest.approx(mean))  # type: ignore[arg-type]
        for each in result.tables:
            for name, values in each.rows:
                assert name in page.text
                assert all(f"{value:.2f}" in page.text for value in values if not math.isnan(value))
        assert all(note in page.text for note in result.notes)
    assert [row.name for row in shown.rows[:3]] == ["one", "two", "chance"]
    assert shown.rows[2].cells[0].value == 25.0  # type: ignore[union-attr]
    published = {row.name: row for row in shown.rows[3:]}
    assert [str(c) for c in published["GaitSet, silhouettes"].cells] == ["95.00", "87.20", "70.40", "84.20"]
    assert all("Table" in row.published or "summary" in row.published for row in published.values())
    assert "4 identities, 60 sequences" in page.text
    assert "4 people were searched for: few" in page.text
    # A matrix, curves and histograms of every condition of both runs; a config in full.
    assert len(blocks(made, Heatmap)) == 6
    charts = [chart.title for chart in blocks(made, Chart, "one")]
    assert [title.split(":")[0] for title in charts] == ["CMC", "DET", "Open set", "NM", "BG", "CL"]
    assert len(blocks(made, Code)) == 2
    assert "class_num: 74" in page.text
    first = analyse(read_saved(paths[0]), resamples=40).conditions[0]
    cmc = blocks(made, Chart, "one")[0].lines[0]
    assert np.array_equal(cmc.y, first.cmc)
    assert first.verification is not None
    errors = table(made, "Verification")
    assert errors.rows[0].cells[0] == Number(first.verification.eer)
    counts = blocks(made, Chart, "one")[3].lines[0]
    assert counts.y[::2].sum() == pytest.approx(100)


def test_mistakes_are_shown_where_the_walks_are_at_hand(tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    root = tmp_path / "data"
    path = embeddings(tmp_path / "one.npz", noise=1.6, paths=root)
    made = report([path], resamples=20)
    (gone,) = blocks(made, Strips)
    assert gone.pairs == ()
    assert "No pictures" in gone.notes[0]
    saved = read_saved(path)
    assert saved.paths is not None
    rng = np.random.default_rng(0)
    for place in saved.paths.tolist():
        write_leaf(root, *Path(place).parts[-3:], {"0_heatmaps.pkl": rng.random((3, 17, 8, 6)).astype(np.float32)})
    made = report([path], resamples=20)
    (seen,) = blocks(made, Strips)
    assert len(seen.pairs) == 9  # three of each condition
    assert len(spread(3, 8)) == 3
    name, pictures = seen.pairs[0]
    worst = analyse(saved, resamples=20).conditions[0].confusions[0]
    assert name.startswith(f"NM: {saved.labels[worst.probe]}/{saved.types[worst.probe]}/{saved.views[worst.probe]}")
    assert all(picture.data.startswith(b"\x89PNG") for picture in pictures)
    page = read(html(made))
    assert sum(value.startswith("data:image/png;base64,iVBOR") for _, _, value in page.attributes) == 18
    assert not [b for b in blocks(report([path], resamples=20, pictures=False), Strips) if b.pairs]


def test_a_training_and_a_study(tmp_path: Path) -> None:
    run, study = training(tmp_path / "run"), studied(tmp_path / "study")
    embeddings(run / "test.npz")
    (study / "runs" / "ours-1234" / "seed-0" / "x").mkdir(parents=True)
    (study / "runs" / "ours-1234" / "seed-0" / "x" / "log.csv").write_text("iteration,lr,loss\n5,0.1,3.5\n10,0.1,2.5\n")
    (study / "curves.csv").write_text("system,seed,crops,AP,AP-original\nours,0,10,50.5,\nours,0,20,60.5,80.5\n")
    made = report([run, study], resamples=20)
    losses = next(b for b in blocks(made, Chart, "Training") if b.title == "run: losses")
    assert {line.name: line.y.tolist() for line in losses.lines} == {"loss": [2.5, 1.25], "triplet/loss": [1.5, 0.75]}
    assert losses.lines[0].x.tolist() == [10, 20]  # the row that a kill cut short is left out
    assert table(made, "run: checkpoints").rows[0].cells == ("1.5 MB",)
    assert table(made, "rank-1").rows[0].name == "run"
    loss, degraded, original = blocks(made, Chart, "study: Trainings")
    assert (loss.lines[0].name, loss.lines[0].y.tolist()) == ("ours", [3.5, 2.5])
    assert degraded.lines[0].y.tolist() == [50.5, 60.5]
    assert np.isnan(original.lines[0].y[0])
    claims = table(made, "Claims")
    assert [row.cells[6] for row in claims.rows] == ["holds", "does not hold", "undecided (1)", "not run"]
    text = read(html(made)).text
    for record in read_study(study)["tables"][0]["rows"]:
        for cell in record["cells"]:
            if cell["mean"] is not None:
                assert f"{cell['mean']:.1f} ± {cell['sd']:.1f}" in text
    assert "Paper, Table 1: 88.17" in text
    assert report([study]).title == "A study"


def test_amounts_are_curves() -> None:
    """Columns that differ by one number alone, in its order; a dash is a gap."""
    cells = [{"mean": value} for value in (3.0, None, 1.0, 9.0, 8.0)]
    columns = ["crf 45 AP", "crf 37 AP", "crf 23 AP", "original AP", "AP50"]
    record = {"title": "T", "unit": "%", "columns": columns, "rows": [{"name": "r", "cells": cells}]}
    (chart,) = curves(record)
    assert chart.x.label == "crf … AP"
    assert chart.lines[0].x.tolist() == [23, 37, 45]
    assert np.array_equal(chart.lines[0].y, [1.0, np.nan, 3.0], equal_nan=True)
    assert curves({**record, "columns": ["a 1", "a 2", "b 3", "c", "d"]}) == []


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        report([tmp_path / "none"])
    with pytest.raises(DataError, match="holds no run"):
        report([tmp_path])
    one = embeddings(tmp_path / "one.npz", about={})
    with pytest.raises(ConfigError, match="is given twice"):
        report([one, tmp_path / "." / "one.npz"])
    with pytest.raises(ConfigError, match="does not say whose protocol"):
        report([one])
    assert report([one], dataset="CASIA-B", resamples=20).sections
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "study_results.json").write_text('{"kind": "else"}')
    with pytest.raises(DataError, match="holds no study's results"):
        report([tmp_path / "bad"])
    with pytest.raises(ConfigError, match="no form of a report"):
        write_document(Document("t", ()), tmp_path / "r.pdf")


def test_files_are_compared(tmp_path: Path) -> None:
    paths = [embeddings(tmp_path / "a.npz"), embeddings(tmp_path / "b.npz", noise=1.5, seed=2)]
    made = compare_files(paths, resamples=50)
    found = compare([analyse(read_saved(path), resamples=50) for path in paths], ["a", "b"], resamples=50)
    shown = {row.name: row.cells for row in table(made, "Differences").rows}
    for of in found.differences["b"]:
        cells = shown[f"{of.condition}, rank-1"]
        numbers = [cell.value for cell in cells if isinstance(cell, Number)]
        expected = [of.first["rank-1"], of.other["rank-1"], of.difference["rank-1"], of.p["rank-1"]]
        assert numbers == [*expected, len(of.gained), len(of.lost)]
        assert (cells[2].low, cells[2].high) == of.intervals["rank-1"]  # type: ignore[union-attr]
    text = " ".join(line for block in blocks(made, Text) for line in block.lines)
    lost = [name for of in found.differences["b"] for name in of.lost]
    assert lost
    assert all(name in text for name in lost)


def test_the_command_lines(tmp_path: Path) -> None:
    one, two = embeddings(tmp_path / "a.npz"), embeddings(tmp_path / "b.npz", noise=1.5, seed=2)
    said = gaitext("compare", one, two, "--resamples", 20, "--table", tmp_path / "c.tex")
    assert "b against a" in said
    assert "NM, better by b" in said
    assert "\\toprule" in (tmp_path / "c.tex").read_text()
    read_again = json.loads(gaitext("compare", one, two, "--resamples", 20, "--json"))
    assert read_again["tables"][0]["columns"][:3] == ["a", "b", "difference"]
    assert "give two results" in gaitext("compare", one, "--resamples", 20, code=1)
    for suffix in ("html", "md", "tex", "csv", "json"):
        out = tmp_path / f"r.{suffix}"
        assert f"report in {out}" in gaitext("report", one, "--resamples", 20, "--out", out)
        assert "87.20" in out.read_text() or suffix in ("csv", "json")
    assert "no form of a report" in gaitext("report", one, "--out", tmp_path / "r.doc", code=1)
    assert not (tmp_path / "r.doc").exists()
    assert CONFIG["model_cfg"]["model"] in (tmp_path / "r.md").read_text()
