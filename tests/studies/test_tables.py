"""What a study writes, read back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError
from gaitext.studies.cells import Cell, Cells
from gaitext.studies.settings import TableSettings
from gaitext.studies.statistics import compare, summarise
from gaitext.studies.tables import grid, write_claims, write_results, write_tables
from tests.studies.made_up import study

ABOUT = {"study": "A study", "seeds": "0 1 2"}


def markdown(path: Path) -> list[list[str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.replace("\\|", "¦").strip("|").split("|")] for line in lines]


def test_tables_for_people(tmp_path: Path) -> None:
    tables, _, cells = study()
    write_tables(tables, cells, tmp_path, ABOUT)
    found = markdown(tmp_path / "one.md")
    assert found[0] == ["", "all mean", "x mean"]
    ours = [cell.scalars["mean"] for cell in cells.of("ours", "x")]
    summary = summarise(cells, "ours", "x", "mean")
    text = f"{np.mean(ours):.1f} ± {np.std(ours, ddof=1):.1f} [{summary.low:.1f}, {summary.high:.1f}]"
    assert found[1] == ["ours¦best", text, text]
    assert found[2][:2] == ["theirs", "–"]  # it names no condition, and the column none
    assert found[2][2].endswith("]")
    assert found[3][1] == found[3][2]
    assert "±" in found[3][1]
    assert "[" not in found[3][1]  # nobody knows its people
    assert found[4] == ["absent@x", "–", "–"]
    text = (tmp_path / "one.md").read_text(encoding="utf-8")
    assert "95% bootstrap interval over 12 test identities" in text
    assert "standard deviation over seeds" in text
    assert text.index("Published, not run here") < text.index("* Paper, Table 1: 88.17")
    assert text.index("silent@x") < text.index("Published")


def test_tables_for_programs(tmp_path: Path) -> None:
    tables, _, cells = study()
    files = write_tables(tables, cells, tmp_path, ABOUT)
    assert [file.name for file in files] == ["one.md", "one.csv", "one.json"]
    assert all(file.exists() for file in files)
    read = json.loads((tmp_path / "one.json").read_text())
    assert read["protocol"] == "A study"
    assert read["about"]["interval"] == "95% bootstrap interval over 12 test identities"
    assert read["about"]["seeds"] == "0 1 2"
    assert read["notes"] == ["published: Paper, Table 1: 88.17"]
    of = {part["title"].split(": ")[1]: {row["name"]: row["values"] for row in part["rows"]} for part in read["tables"]}
    summary = summarise(cells, "ours", "x", "mean")
    for part, value in (
        ("mean over seeds", summary.mean),
        ("standard deviation over seeds", summary.sd),
        ("low end of the interval", summary.low),
        ("high end of the interval", summary.high),
    ):
        assert of[part]["ours|best"] == [value, value]
        assert of[part]["absent@x"] == [None, None]
    assert of["low end of the interval"]["silent@x"] == [None, None]
    with (tmp_path / "one.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 4 * 4 * 2
    mean = next(x for x in lines if x["table"] == "A table: mean over seeds" and x["row"] == "silent@x")
    assert (mean["column"], float(mean["value"])) == ("all mean", summarise(cells, "silent", "x", "mean").mean)


def test_groups_repeat_the_rows(tmp_path: Path) -> None:
    """A paper's table of scenarios: each row once a group, the group's name in its metrics."""
    numbers = {"NM": 1.0, "NM-045": 2.0, "BG": 3.0, "BG-045": 4.0}
    made = Cells([Cell(system, "x", 0, {k: v * (s + 1) for k, v in numbers.items()}) for s, system in enumerate("ab")])
    given = {
        "name": "t",
        "title": "T",
        "rows": [{"first": "a"}, "b"],
        "groups": ["NM", "BG"],
        "columns": [
            {
                "condition": "x",
                "label": "",
                "metrics": ["{group}-045", "{group}"],
                "names": {"{group}-045": "45°", "{group}": "mean"},
            }
        ],
    }
    write_tables([TableSettings.parse(given, where="table")], made, tmp_path)
    assert markdown(tmp_path / "t.md") == [
        ["", "45°", "mean"],
        ["NM: first", "2.0", "1.0"],
        ["NM: b", "4.0", "2.0"],
        ["BG: first", "4.0", "3.0"],
        ["BG: b", "8.0", "6.0"],
    ]
    with pytest.raises(ConfigError, match="there are no groups"):
        TableSettings.parse({**given, "groups": []}, where="table")
    with pytest.raises(ConfigError, match="groups: one is there twice"):
        TableSettings.parse({**given, "groups": ["NM", "NM"]}, where="table")


def test_claims_are_decided_and_written(tmp_path: Path) -> None:
    _, claims, cells = study()
    comparisons = write_claims(claims, cells, tmp_path)
    assert all(found is compare(cells, claim) for found, claim in zip(comparisons, claims))
    assert [c.verdict for c in comparisons] == ["holds", "does not hold", "undecided", "not run"]
    first, mirrored, silent, _ = comparisons
    assert (mirrored.low, mirrored.high) == (-first.high, -first.low)
    assert silent.difference > 0  # it has the lower number
    head, *lines = markdown(tmp_path / "claims.md")
    assert head[4:8] == ["difference", "interval", "over seeds", "verdict"]
    assert lines[0][4] == f"{first.difference:+.2f} ± {first.sd:.2f}"
    assert lines[0][5:7] == [
        f"[{first.low:+.2f}, {first.high:+.2f}]",
        f"[{first.seed_low:+.2f}, {first.seed_high:+.2f}]",
    ]
    assert lines[0][7:] == ["holds", "Table 1", "by 5"]
    assert lines[1][0] == "theirs is better (by more than 2)"
    assert lines[2][3] == "mean, px (lower is better)"
    assert (lines[2][5], lines[2][7]) == ("–", "undecided (1)")
    assert lines[3][4:8] == ["–", "–", "–", "not run"]
    text = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert "holds: 1, does not hold: 1, undecided: 1, not run: 1." in text
    assert "over 12 test identities" in text
    assert "* (1) no interval: the host keeps identities' numbers to itself" in text
    read = json.loads((tmp_path / "claims.json").read_text())
    assert [claim["verdict"] for claim in read] == [c.verdict for c in comparisons]
    assert read[0]["by_seed"] == {str(seed): value for seed, value in first.by_seed.items()}
    assert (read[2]["low"], read[3]["difference"], read[3]["seed_low"]) == (None, None, None)
    assert (read[0]["seed_low"], read[0]["seed_high"]) == (first.seed_low, first.seed_high)
    with (tmp_path / "claims.csv").open(encoding="utf-8", newline="") as stream:
        table = list(csv.DictReader(stream))
    assert [float(line["low"]) if line["low"] else None for line in table] == [claim["low"] for claim in read]
    assert [line["claim"] for line in table] == [claim.name for claim in claims]
    assert (table[2]["lower_is_better"], table[2]["note"]) == ("True", silent.note)


def test_no_claims_write_nothing(tmp_path: Path) -> None:
    assert write_claims([], Cells([]), tmp_path) == []
    assert not list(tmp_path.iterdir())


def test_everything_in_one_file(tmp_path: Path) -> None:
    tables, claims, cells = study()
    nan = Cell("nan", "x", 0, {"mean": float("nan")}, {"mean": {"00": float("nan")}})
    cells = Cells([*cells, nan])
    path = write_results(tables, claims, cells, tmp_path, ABOUT)
    assert path == tmp_path / "study_results.json"

    def refuse(name: str) -> Any:
        raise AssertionError(f"{name} is no JSON")

    read = json.loads(path.read_text(), parse_constant=refuse)
    assert (read["kind"], read["version"], read["about"]) == ("gaitext study", 1, ABOUT)
    table = read["tables"][0]
    assert (table["columns"], table["published"]) == (tables[0].headers(), list(tables[0].published))
    assert [row["name"] for row in table["rows"]] == list(tables[0].rows)
    own = table["rows"][0]["cells"][1]
    summary = grid(tables[0], cells)[0][1][1]
    assert own == {
        **{"system": "ours", "condition": "x", "metric": "mean", "mean": summary.mean, "sd": summary.sd},
        **{"low": summary.low, "high": summary.high, "seeds": 3, "identities": 12},
    }
    assert [claim["verdict"] for claim in read["claims"]] == ["holds", "does not hold", "undecided", "not run"]
    back = Cells(Cell(c["system"], c["condition"], c["seed"], c["scalars"], c["people"]) for c in read["cells"][:-1])
    assert list(back) == list(cells)[:-1]
    assert read["cells"][-1] == {**nan.plain(), "scalars": {"mean": None}, "people": {"mean": {"00": None}}}


def test_uneven_tests_and_small_numbers_are_told(tmp_path: Path) -> None:
    table = TableSettings(name="t", title="T", rows={"a": "a"}, columns=({"condition": "x"},), unit="pixels")
    cells = Cells([Cell("a", "x", 0, {"mean": 0.125}, {"mean": {"p": 0.25, "q": 0.25}})])
    write_tables([table], cells, tmp_path)
    text = (tmp_path / "t.md").read_text()
    assert markdown(tmp_path / "t.md")[1] == ["a", "0.12 [0.25, 0.25]"]
    assert "the interval is of the mean over identities" in text
    assert "±" not in text  # of one seed


def test_an_unknown_metric_is_named(tmp_path: Path) -> None:
    table = TableSettings(name="t", title="T", rows={"ours": "ours@x"}, columns=({"metrics": ("meen",)},))
    with pytest.raises(ConfigError, match="did you mean 'mean'"):
        write_tables([table], study()[2], tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "a/b"}, "pattern"),
        ({"name": "claims"}, "another file"),
        ({"rows": ["a", {"a": "b"}]}, "row 'a' is there twice"),
    ],
)
def test_tables_that_would_lose_something_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        TableSettings.parse({"name": "t", "title": "T", "rows": ["a@x"], "columns": [{}], **change}, where="table")
