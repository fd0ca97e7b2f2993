"""Plots show what they are given."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gaitext.errors import MissingDependencyError
from gaitext.studies.cells import Cells
from gaitext.studies.plots import claims_figure, table_figure
from gaitext.studies.statistics import compare, summarise
from tests.studies.made_up import study


def test_claims_with_verdicts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = _figures(monkeypatch)
    _, claims, cells = study()
    comparisons = [compare(cells, claim) for claim in claims]
    assert claims_figure(comparisons, tmp_path / "claims.png") == tmp_path / "claims.png"
    assert (tmp_path / "claims.png").stat().st_size > 5000
    percent, pixels = drawn[0].axes
    assert [label.get_text() for label in percent.get_yticklabels()] == [claims[i].name for i in (0, 1, 3)]
    assert [label.get_text() for label in pixels.get_yticklabels()] == ["silent is better"]
    words = [text.get_text() for axis in (percent, pixels) for text in axis.texts]
    first, second, silent, _ = comparisons
    assert words[0] == f"+{first.difference:.1f} ± {first.sd:.1f}  holds"
    assert words[1] == f"−{-second.difference:.1f} ± {second.sd:.1f}  does not hold"
    assert words[2:] == ["not run", f"+{silent.difference:.1f} ± {silent.sd:.1f}  undecided"]
    bars = [list(line.get_xdata()) for line in percent.lines]
    assert [first.low, first.high] in bars
    assert [second.low, second.high] in bars
    assert [2, 2] in bars  # the least difference of the second
    seeds = percent.collections[0].get_offsets()
    assert sorted(seeds[:, 0]) == pytest.approx(sorted(first.by_seed.values()))
    assert len(pixels.lines) == 1  # the line at zero: there is no interval
    assert percent.get_ylim()[0] > percent.get_ylim()[1]  # the first claim is on top


def test_a_table_with_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = _figures(monkeypatch)
    (table,), _, cells = study()
    table_figure(table, cells, tmp_path / "one.svg")
    assert (tmp_path / "one.svg").read_text().startswith("<?xml")
    left, right = drawn[0].axes
    assert [axis.get_title() for axis in (left, right)] == ["all mean (%)", "x mean (%)"]
    assert [label.get_text() for label in left.get_yticklabels()] == list(table.rows)
    assert not any(label.get_text() for label in right.get_yticklabels())
    ours, theirs = (summarise(cells, system, "x", "mean") for system in ("ours", "theirs"))
    bars = [list(line.get_xdata()) for line in right.lines]
    assert [ours.low, ours.high] in bars
    assert [theirs.low, theirs.high] in bars
    assert [text.get_text() for text in right.texts] == ["not run"]
    assert [text.get_text() for text in left.texts] == ["not run", "not run"]
    dots = [tuple(group.get_offsets()[0]) for group in right.collections if len(group.get_offsets()) == 1]
    assert dots[:2] == [pytest.approx((ours.mean, 0)), pytest.approx((theirs.mean, 1))]


def test_a_table_of_many_columns_goes_on_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = _figures(monkeypatch)
    (table,), _, cells = study()
    wide = table.model_copy(update={"columns": table.columns * 3})
    table_figure(wide, cells, tmp_path / "wide.png")
    shown = [axis for axis in drawn[0].axes if axis.axison]
    assert (len(drawn[0].axes), len(shown)) == (8, 6)
    assert [bool(axis.get_yticklabels()[0].get_text()) for axis in shown] == [True, False, False, False, True, False]
    table_figure(table, Cells([]), tmp_path / "empty.png")
    assert (tmp_path / "empty.png").exists()


def test_without_matplotlib_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (table,), claims, cells = study()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[plot\]"):
        table_figure(table, cells, tmp_path / "t.png")
    with pytest.raises(MissingDependencyError, match=r"gaitext\[plot\]"):
        claims_figure([compare(cells, claim) for claim in claims], tmp_path / "c.png")
    assert not list(tmp_path.iterdir())


def _figures(monkeypatch: pytest.MonkeyPatch) -> list:
    """All that are drawn from now on."""
    pytest.importorskip("matplotlib")
    from gaitext.inspect.figures import pyplot

    plt, drawn = pyplot(), []
    make = plt.subplots

    def subplots(*given, **options):  # type: ignore[no-untyped-def]
        figure, axes = make(*given, **options)
        drawn.append(figure)
        return figure, axes

    monkeypatch.setattr(plt, "subplots", subplots)
    return drawn
