"""The page in a real browser: no complaint, no request, sorting by keyboard, at a desk and on a phone."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitext.report.runs import report
from gaitext.report.writing import write_document
from tests.report.browser import browser, find
from tests.report.made_up import embeddings, studied, training

pytestmark = pytest.mark.skipif(find() is None, reason="no Chromium here: apt-get install chromium")
_FIRST = "document.querySelector('table.sortable')"
_NAMES = f"[...{_FIRST}.tBodies[0].rows].map(row => row.cells[0].firstChild.textContent.trim())"
_NUMBERS = f"[...{_FIRST}.tBodies[0].rows].map(row => row.cells[1].dataset.value)"


def test_the_page_in_chromium(tmp_path: Path) -> None:
    one = embeddings(tmp_path / "<b>one.npz")
    two = embeddings(tmp_path / "two.npz", noise=1.2, seed=1)
    runs = [one, two, training(tmp_path / "run"), studied(tmp_path / "study")]
    page = write_document(report(runs, title="</title><script>throw 1</script>", resamples=20), tmp_path / "r.html")
    with browser(tmp_path / "profile") as tab:
        tab.resize(1280, 900)
        tab.open(page)
        assert tab.value("document.title") == "</title><script>throw 1</script>"
        assert tab.value("document.querySelectorAll('svg').length") > 5
        before = tab.value(_NAMES)
        assert before[:3] == ["<b>one", "two", "chance"]
        # From the first heading's button to the second by the Tab key, then Enter: the largest first.
        tab.value(f"{_FIRST}.querySelector('button').focus()")
        tab.press("Tab")
        tab.press("Enter")
        numbers = tab.value(_NUMBERS)
        known = [float(number) for number in numbers if number]
        assert len(known) > 8
        assert known == sorted(known, reverse=True)
        assert numbers[len(known) :] == [""] * (len(numbers) - len(known))  # GaitPT's mean alone is published
        heads = f"[...{_FIRST}.tHead.rows[0].cells].map(head => head.getAttribute('aria-sort'))"
        assert tab.value(heads)[:3] == [None, "descending", None]
        tab.press(" ")
        known = [float(number) for number in tab.value(_NUMBERS) if number]
        assert known == sorted(known)
        assert tab.value(heads)[1] == "ascending"
        assert sorted(tab.value(_NAMES)) == sorted(before)
        assert tab.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"  # seen where one is
        assert tab.screenshot(tmp_path / "desk.png").stat().st_size > 20_000
        tab.resize(360, 740, mobile=True)
        assert tab.value("document.documentElement.scrollWidth") <= 360  # what is wider scrolls by itself
        assert tab.screenshot(tmp_path / "phone.png").stat().st_size > 20_000
        tab.call("Emulation.setEmulatedMedia", media="print")
        assert tab.value("getComputedStyle(document.querySelector('nav')).display") == "none"
        assert tab.complaints() == []
        assert tab.requests() == []
