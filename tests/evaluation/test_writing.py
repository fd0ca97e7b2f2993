"""Results as files."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import (
    EvaluationResult,
    Table,
    evaluate_CCPG,
    evaluate_file,
    evaluate_indoor_dataset,
    evaluate_PsyMo,
    write_result,
)

RESULT = EvaluationResult(
    "PsyMo, gallery nm (one run; others)",
    [Table("Rank-1, %", ["000", "mean"], [("NM", [100 / 3, 1.0]), ("BG", [math.nan, 2.0])])],
    {"scalar/test_accuracy/NM@R1": 1.0, "scalar/test_accuracy/BG@R1": math.nan},
    {"NM": 25.0},
    ["BG: odd", "and more"],
    {"metric": "euc", "exclude_same_walk": False, "sequences": 12},
)


def data(types: list[str], views: list[str]) -> dict[str, Any]:
    rows = [(i, t, v) for i in "abc" for t in types for v in views]
    embeddings = np.random.default_rng(0).normal(size=(len(rows), 4))
    labels, kinds, angles = (list(column) for column in zip(*rows))
    return {"embeddings": embeddings, "labels": labels, "types": kinds, "views": angles}


def test_markdown_is_what_is_printed(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "deep" / "a.md")
    text = (tmp_path / "deep" / "a.md").read_text()
    assert text.startswith("# PsyMo, gallery nm")
    for line in ("* metric: euc", "* exclude_same_walk: no", "* sequences: 12", "| NM | 33.33 | 1.00 |"):
        assert line in text.splitlines()
    assert "| BG | – | 2.00 |" in text
    assert text.endswith("Note: and more\n")


def test_csv_has_a_line_per_number(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "a.CSV")
    with (tmp_path / "a.CSV").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["row"], line["column"]) for line in lines] == [
        (r, c) for r in ("NM", "BG") for c in ("000", "mean")
    ]  # fmt: skip
    assert float(lines[0]["value"]) == 100 / 3
    assert lines[2]["value"] == ""
    assert [line["notes"] for line in lines] == ["BG: odd; and more", "", "", ""]
    for line in lines:
        assert line["protocol"] == RESULT.protocol
        assert (line["metric"], line["exclude_same_walk"], line["sequences"]) == ("euc", "no", "12")
        assert line["table"] == "Rank-1, %"


def test_json_has_everything(tmp_path: Path) -> None:
    write_result(RESULT, tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    assert found["about"] == RESULT.about
    assert found["tables"][0]["rows"][1] == {"name": "BG", "values": [None, 2.0]}
    assert found["scalars"]["scalar/test_accuracy/BG@R1"] is None
    assert found["notes"] == RESULT.notes
    assert found["chance"] == RESULT.chance


def test_every_protocol_writes(tmp_path: Path) -> None:
    casia = data(["nm-01", "nm-05"], ["000", "090"])
    ccpg = data(["U0_D0", "U0_D0_BG"], ["00_a", "01_b"])
    results = [
        evaluate_indoor_dataset(casia, "CASIA-B", table=tmp_path / "0.json"),
        evaluate_CCPG(ccpg, table=tmp_path / "1.json"),
        evaluate_PsyMo(data(["nm-01", "bg"], ["000", "090"]), table=tmp_path / "2.json"),
    ]
    for place, (result, name) in enumerate(zip(results, ("CASIA-B", "CCPG", "PsyMo"))):
        found = json.loads((tmp_path / f"{place}.json").read_text())
        assert found["protocol"] == result.protocol
        assert found["about"] == result.about
        assert (found["about"]["dataset"], found["about"]["metric"]) == (name, "euc")
        assert (found["about"]["identities"], found["about"]["sequences"]) == (3, 12)


def test_an_old_table_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.csv").write_text("old")

    def torn(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gaitext.evaluation.result._lines", torn)
    with pytest.raises(DataError, match="Permission denied"):
        write_result(RESULT, tmp_path / "a.csv")
    assert [file.name for file in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "old"


def test_places_for_no_file_are_refused_before_anything_is_evaluated(tmp_path: Path) -> None:
    (tmp_path / "folder.md").mkdir()
    (tmp_path / "file").touch()
    for table, named in (
        (tmp_path / "a.xlsx", r"\.md, \.csv or \.json"),
        (tmp_path / "folder.md", "is a folder"),
        (tmp_path / "file" / "a.md", "is a file"),
        (3, "names no kind"),
    ):
        for evaluate, name in ((evaluate_PsyMo, "PsyMo"), (evaluate_CCPG, "CCPG"), (evaluate_indoor_dataset, "OUMVLP")):
            with pytest.raises(ConfigError, match=named):
                evaluate({}, name, table=table)


def test_saved_embeddings(tmp_path: Path) -> None:
    walks = data(["nm-01", "nm-02", "bg"], ["000", "045", "180"])
    np.savez(tmp_path / "saved.npz", **{key: np.asarray(value) for key, value in walks.items()})
    for gallery in ("nm", "same", "all"):
        found = evaluate_file(
            tmp_path / "saved.npz", "PsyMo", gallery=gallery, exclude_same_walk=True, table=tmp_path / "a.md"
        )
        expected = evaluate_PsyMo(walks, gallery=gallery, exclude_same_walk=True)
        assert found.scalars == pytest.approx(expected.scalars, nan_ok=True)
        assert (tmp_path / "a.md").read_text().startswith(f"# {expected.protocol}\n")
    with pytest.raises(ConfigError, match=r"CASIA-B has no 'gallery'(.|\n)*for PsyMo"):
        evaluate_file(tmp_path / "saved.npz", "CASIA-B", gallery="all")
    with pytest.raises(ConfigError, match="no 'rerank'"):
        evaluate_file(tmp_path / "saved.npz", "PsyMo", rerank=True)
