"""Workers that are killed while they extract: what they had is done again, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gaitext.extraction import ExtractSettings, extract_dataset, find_sources

pytest.importorskip("av")
from tests.execution.test_actors import cluster  # noqa: F401 (a fixture)
from tests.extraction.people import Counting, Dying
from tests.extraction.test_dataset import contents, same, tree  # noqa: F401 (a fixture)

#: Three clips a video, two batches each: the second dies with one clip written or on its way.
SETTINGS = ExtractSettings(clip_frames=5, min_frames=1, batch_size=4, type="{type}-{clip}")


def check(tree: Path, out: Path, **how: Any) -> None:  # noqa: F811
    sources = find_sources(tree / "videos", tree / "boxes")
    extract_dataset(sources, Counting(), out / "whole", SETTINGS, quiet=True)
    report = extract_dataset(sources, Dying(out), out / "killed", SETTINGS, quiet=True, **how)
    assert (out / "died").is_dir(), "no worker was killed"
    assert not report.failed
    assert len(report.written) + len(report.standing) == 12
    same(contents(out / "whole"), contents(out / "killed"))
    assert not list((out / "killed").rglob(".*"))


def test_a_killed_process(tree: Path, tmp_path: Path) -> None:  # noqa: F811
    check(tree, tmp_path, workers=2)


def test_a_killed_actor(cluster: Any, tree: Path, tmp_path: Path) -> None:  # noqa: F811
    check(tree, tmp_path, workers=2, engine="ray")
