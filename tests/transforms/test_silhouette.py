"""SilhouetteInput does what the toolboxes' transform does to 8-bit frames, and says what it cannot take."""

from __future__ import annotations

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.transforms import SilhouetteInput


def test_cuts_and_divides() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8)
    before = frames.copy()
    done = SilhouetteInput()(frames)
    assert done.dtype == np.float32
    np.testing.assert_allclose(done, frames[:, :, 10:54] / 255.0, rtol=1e-6)
    np.testing.assert_array_equal(frames, before)
    assert SilhouetteInput(cut=0)(frames).shape == (3, 64, 64)
    np.testing.assert_array_equal(SilhouetteInput(cut=0, divisor=1)(frames), frames)
    halves = (frames / 255).astype(np.float16)
    np.testing.assert_array_equal(SilhouetteInput(cut=10)(halves), halves[:, :, 10:54].astype(np.float32))
    np.testing.assert_array_equal(SilhouetteInput(cut=0)(frames > 9), (frames > 9).astype(np.float32))


@pytest.mark.parametrize(
    ("frames", "named"),
    [
        (np.zeros((2, 64, 20), np.uint8), "cannot lose 20"),
        (np.full((2, 64, 64), 255.0), "floats from 255 to 255"),
        (np.full((2, 64, 64), np.nan), "NaN"),
        (np.zeros((0, 64, 64), np.uint8), "without a frame"),
        (np.zeros((2, 1, 64, 64), np.uint8), "shape"),
    ],
)
def test_what_it_cannot_take_is_named(frames: np.ndarray, named: str) -> None:
    with pytest.raises(DataError, match=named):
        SilhouetteInput()(frames)
    for wrong, where in (({"cut": -1}, "cut is -1"), ({"cut": 0.5}, "cut is 0.5"), ({"divisor": 0}, "divisor is 0")):
        with pytest.raises(ConfigError, match=where):
            SilhouetteInput(**wrong)
