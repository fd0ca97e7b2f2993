"""The demo, made very small."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitext import demo
from gaitext.config import load_yaml, merge


@pytest.mark.slow
def test_demo_makes_its_table_and_figures_and_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        "demo_walkers.yaml": {
            "identities": 4,
            "train_identities": 2,
            "views": ["000", "036", "090"],
            "frames": 4,
        },
        "demo.yaml": {
            "model_cfg": {"class_num": 2, "channels": [2, 2, 4, 4], "embedding_size": 4},
            "trainer_cfg": {"total_iter": 2, "save_iter": 1, "log_iter": 1, "sampler": {"batch_size": [2, 2]}},
        },
    }
    monkeypatch.setattr(demo, "load_yaml", lambda path: merge(small[path.name], load_yaml(path)))
    first = demo.run_demo(tmp_path, quiet=True)
    assert first.columns == ["NM", "BG", "CL"]
    assert [name for name, _ in first.rows] == ["GaitHeat, trained", "the same, untrained", "chance"]
    assert first.rows[2][1] == [50.0, 50.0, 50.0]
    for figure in ("frames.png", "alignment.png", "curves.png"):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    again = demo.run_demo(tmp_path, quiet=True)
    assert again.rows == first.rows
