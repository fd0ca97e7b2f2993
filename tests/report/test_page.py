"""A report's forms: they hold the same numbers, need nothing from outside, and no name becomes code."""

from __future__ import annotations

import csv
import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitext.report.charts import _coloured, forest, luminance, plot
from gaitext.report.document import (
    Axis,
    Block,
    Chart,
    Code,
    Document,
    Forest,
    Heatmap,
    Line,
    Mark,
    Number,
    Picture,
    Row,
    Section,
    Strips,
    Table,
    Text,
)
from gaitext.report.page import html
from gaitext.report.writing import comma_separated, latex, markdown, plain, tex
from tests.report.reading import read

NAN = math.nan


def document(name: str = "a run", *blocks: Block) -> Document:
    """With a block of each kind, every text of which is ``name``."""
    rows = (
        Row(name, (Number(50.125, low=40.5, high=61.25), Number(NAN), name)),
        Row(name, (Number(7.0, digits=0), Number(-1.5, 0.25, signed=True), "–"), published=name),
    )
    every: tuple[Block, ...] = (
        Table(name, (name, "two", "words"), rows, (name,), ((name, (name,)),), corner=name),
        Heatmap(name, (name, "b"), (name, "d"), np.array([[NAN, 12.5], [100.0, 0.0]]), name, name),
        Chart(name, Axis(name), Axis(name), (Line(name, np.arange(3), np.array([1.0, NAN, 2.0])),)),
        Forest(name, name, (Mark(name, 1.0, 0.5, 2.0, (0.75, 1.25), name, "holds", 0.5),), 0.0),
        Strips(name, ((name, (Picture(b"\x89PNG", name),)),), (name,)),
        Text((name,), warning=True),
        Text((name,)),
        Code(name, name),
    )
    return Document(name, (Section(name, blocks or every), Section("second", ())), {name: name})


def test_every_number_is_in_every_form() -> None:
    made = document()
    page, text = read(html(made)), markdown(made)
    lines = csv.DictReader(io.StringIO(comma_separated(made)))
    marked = latex(made)
    assert len(page.tables) == len(list(made.tables())) == 2
    for (section, table), shown, kept in zip(made.tables(), page.tables, plain(made)["tables"]):
        assert [" ".join(cell.split()) for cell in shown[0][1:]] == list(table.columns)
        for row, cells, record in zip(table.rows, shown[1:], kept["rows"]):
            assert cells[0].startswith(row.name)
            assert [" ".join(cell.split()) for cell in cells[1:]] == [str(cell) for cell in row.cells]
            for column, cell, value in zip(table.columns, row.cells, record["cells"]):
                found = next(lines)
                place = [section, table.title, row.name, column, row.published]
                assert [found[key] for key in ("section", "table", "row", "column", "published")] == place
                assert found["text"] == str(cell)
                if isinstance(cell, Number):
                    known = None if math.isnan(cell.value) else cell.value
                    assert (float(found["value"]) if found["value"] else None) == known == value["value"]
                    assert (float(found["low"]) if found["low"] else None) == value["low"]
                assert f"| {cell} |" in text
                assert tex(str(cell)) in marked
    assert "50.12 [40.50, 61.25]" in page.text
    assert "−" not in text
    assert marked.count("\\toprule") == marked.count("\\bottomrule") == marked.count("\\midrule") == 2
    assert "a run$^{\\dagger 1}$" in marked
    assert "a run †1" in text


def test_nothing_is_asked_of_anywhere() -> None:
    page = read(html(document()))
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action", "data", "srcset", "poster", "xlink:href"):
            assert value.startswith(("data:", "#")), (tag, name, value)
    whole = html(document())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", whole)
    assert "default-src 'none'" in whole
    assert not {"iframe", "object", "embed", "form"} & set(page.tags)


_PLAIN = read(html(document("x")))
#: Characters that end a name, or begin something else, wherever it stands.
_NASTY = st.sampled_from(
    [
        "</script><script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "' onmouseover='x",
        "{{ 7 * 7 }}",
        "--> ]]> </title> </pre> &lt; &amp;",
        "\x00\x1b\x85",
        "a\nb",
        "\u202e | \\ ````",
        "% # $ _ ^ ~ { }",
    ]
)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30) | _NASTY)
def test_a_name_stays_a_name(name: str) -> None:
    """Whatever a name holds, the page has the elements and attributes that it has with another, and shows it."""
    page = read(html(document(name)))
    assert page.tags == _PLAIN.tags
    assert [a[:2] for a in page.attributes] == [a[:2] for a in _PLAIN.attributes]
    assert page.scripts == _PLAIN.scripts
    if name.strip() and name.isprintable():
        assert " ".join(name.split()) in page.text
    lines = list(csv.reader(io.StringIO(comma_separated(document(name)))))
    assert {len(line) for line in lines} == {10}
    assert len(lines) == 1 + 2 * 3 + 2 * 2
    if name.strip() and name.isprintable():
        assert {line[2] for line in lines[1:7]} == {" ".join(name.split()) if "\xa0" in name else name}
    rows = [line for line in markdown(document(name)).split("\n") if line.startswith("| ") and line.endswith(" |")]
    table = [line for line in rows if "[40.50, 61.25]" in line]
    assert len(table) == 1
    assert len(re.findall(r"(?<!\\)\|", table[0])) == 5
    marked = latex(document(name))
    assert marked.count("\\begin{") == marked.count("\\end{") == 4
    body = re.sub(r"\\[{}]", "", "\n".join(line for line in marked.split("\n") if not line.startswith("%")))
    assert body.count("{") == body.count("}")


def test_tex_escapes() -> None:
    assert tex("\\input{x} 50% a_b") == r"\textbackslash{}input\{x\} 50\% a\_b"


def test_colours_can_be_read() -> None:
    """WCAG asks for a contrast of 4.5 between a text and its ground."""
    for value in np.linspace(0, 100, 101):
        cell = _coloured(float(value))
        ground, ink = (luminance(np.array([int(c[i : i + 2], 16) for i in (1, 3, 5)])) for c in (cell.ground, cell.ink))
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5, value
    # More is lighter, so that it can be read without colours, too.
    light = [luminance(np.array([int(_coloured(v).ground[i : i + 2], 16) for i in (1, 3, 5)])) for v in range(101)]
    assert light == sorted(light)


def test_a_chart_puts_points_where_they_belong() -> None:
    line = Line("l", np.array([0.0, 5.0, 10.0]), np.array([0.0, 100.0, 50.0]))
    drawn = plot(Chart("c", Axis("x"), Axis("y"), (line,)))
    middle, half = (drawn.left + drawn.right) / 2, (drawn.top + drawn.bottom) / 2
    assert drawn.lines[0].path == (
        f"M{drawn.left:.1f} {drawn.bottom:.1f}L{middle:.1f} {drawn.top:.1f}L{drawn.right:.1f} {half:.1f}"
    )
    assert [tick.text for tick in drawn.x_ticks] == ["0", "2", "4", "6", "8", "10"]
    assert [tick.at for tick in drawn.x_ticks] == pytest.approx(np.linspace(drawn.left, drawn.right, 6))
    steep = Line("l", np.array([0.1, 1.0, 10.0, 100.0]), np.array([100.0, NAN, 1.0, 0.1]))
    drawn = plot(Chart("c", Axis("x", log=True), Axis("y", log=True), (steep,)))
    assert [tick.text for tick in drawn.x_ticks] == ["0.1", "1", "10", "100"]
    narrow = Chart("c", Axis("x"), Axis("y", high=100.0, log=True), (Line("l", np.arange(2), np.array([90.0, 60.0])),))
    assert [(tick.text, tick.at) for tick in plot(narrow).y_ticks] == [("10", drawn.bottom), ("100", drawn.top)]
    assert drawn.lines[0].path.count("M") == 2  # it is broken where there is no number
    assert [tick.at for tick in drawn.x_ticks] == pytest.approx(np.linspace(drawn.left, drawn.right, 4))


@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=5),
    st.booleans(),
)
def test_a_chart_of_anything_can_be_drawn(values: list[float], log: bool) -> None:
    line = Line("l", np.arange(float(len(values))), np.array(values))
    drawn = plot(Chart("c", Axis("x"), Axis("y", log=log), (line,)))
    assert "nan" not in drawn.lines[0].path
    assert "inf" not in drawn.lines[0].path
    assert len(drawn.y_ticks) < 400


def test_a_forest_plot() -> None:
    drawn = forest(Forest("t", "points", (Mark("a", 1.0, 0.0, 2.0), Mark("b", NAN, NAN, NAN)), 0.0))
    first, second = drawn.rows
    assert first.low == drawn.line
    assert first.low is not None
    assert first.high is not None
    assert first.value == pytest.approx((first.low + first.high) / 2)
    assert (second.value, second.low, second.high, second.seeds) == (None, None, None, [])
