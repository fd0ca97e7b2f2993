"""Progress where nobody watches a bar: lines in a log."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gaitext.execution import progress, sequences


def test_without_a_terminal_lines_say_how_far_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = iter([0.0, 29.0, 31.0, 31.0, 40.0, 70.0, 70.0])
    monkeypatch.setattr(sequences, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(sequences, "_BETWEEN_LINES", 30.0)
    with progress("crops", 5) as update:
        for done in (1, 2, 3, 4):
            update(done, note="[b] 3/s")
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if line.startswith("crops ") and "━" not in line] == [
        "crops 2/5 [b] 3/s",
        "crops 4/5 [b] 3/s",
    ]
