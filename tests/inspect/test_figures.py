"""Figures are drawn from what they are given."""

from pathlib import Path

import numpy as np
import pytest

from gaitext.inspect.figures import distances_figure

pytest.importorskip("matplotlib")


def test_histograms_of_distances(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    methods = {"base": rng.exponential(60, 500), "corrected": np.append(rng.exponential(30, 300), np.nan)}
    path = distances_figure(methods, tmp_path / "h.svg", unit="pixels of the crop")
    text = path.read_text()
    for name, values in methods.items():
        assert f"{name} (mean: {np.nanmean(values):.2f})" in text
    assert "pixels of the crop" in text
    few = distances_figure({"none": np.array([]), "exact": np.zeros(3)}, tmp_path / "few.png")
    assert few.stat().st_size > 1000
