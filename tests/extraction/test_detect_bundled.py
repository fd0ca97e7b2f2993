"""The detector in the package: its decoding by hand, and rendered walkers whose places are known."""

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError
from gaitext.extraction.detect import Detector, load_detector, overlap
from gaitext.extraction.detect.bundled import _decode
from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_company

CAMERA = CameraSettings(width=320, height=240, focal=260, distance=5.0, elevation=1.2)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return load_detector("bundled?size=256")


def test_peaks_become_boxes_worked_by_hand() -> None:
    centres, sizes, offsets = torch.zeros(6, 8), torch.zeros(2, 6, 8), torch.zeros(2, 6, 8)
    centres[2, 3], centres[2, 4] = 0.9, 0.6  # the second is on the slope of the first
    centres[5, 7] = 0.3
    centres[0, 0] = 0.19
    sizes[:, 2, 3], offsets[:, 2, 3] = torch.tensor([4.0, 2.0]), torch.tensor([0.5, -0.25])
    sizes[:, 5, 7] = torch.tensor([2.0, 2.0])
    # Middle (3 - 0.25, 2 + 0.5) = (2.75, 2.5), half (1, 2): in cells 1.75, 0.5, 3.75, 4.5; a cell is four pixels.
    assert _decode(centres, sizes, offsets, 0.2).tolist() == [
        pytest.approx([7, 2, 15, 18, 0.9]),
        pytest.approx([24, 16, 32, 24, 0.3]),
    ]
    assert _decode(torch.zeros(6, 8), sizes, offsets, 0.0).shape == (0, 5)


@pytest.mark.parametrize("view", ["000", "090", "234"])
def test_walkers_are_found_where_they_are(detector: Detector, view: str) -> None:
    settings = WalkerSettings(identities=3, frames=20, people=2, camera=CAMERA, box_jitter=0)
    company = make_company(settings, 2, "nm-01", view)
    scene = Scene(company[0], 0, company[1:])
    seen = found = 0
    overlaps = []
    for t in range(0, 20, 3):
        boxes = np.stack([walk.boxes[t] for walk in company])[scene.shares_seen(t) > 0.7]
        shared = overlap(boxes, detector.detect([scene.frame(t)[0]])[0])
        best = shared.max(1) if shared.shape[1] else np.zeros(len(boxes))
        seen, found = seen + len(boxes), found + int((best >= 0.5).sum())
        overlaps += best[best >= 0.5].tolist()
    assert found >= 0.8 * seen > 0
    assert np.mean(overlaps) > 0.75


def test_boxes_scale_and_move_with_the_picture(detector: Detector) -> None:
    """A picture twice as large, and one with a black strip below, tell of the same people."""
    settings = WalkerSettings(identities=2, frames=3, camera=CAMERA)
    scene = Scene(make_company(settings, 1, "nm-01", "090")[0], 0)
    frame = scene.frame(1)[0]
    (one,) = detector.detect([frame])
    assert len(one) >= 1
    (twice,) = detector.detect([np.kron(frame, np.ones((2, 2, 1), np.uint8))])
    assert overlap(one[:1] * [2, 2, 2, 2, 1], twice[:1])[0, 0] > 0.9
    (longer,) = detector.detect([np.pad(frame, ((0, 60), (0, 0), (0, 0)))])
    assert overlap(one[:1], longer[:1])[0, 0] > 0.85


def test_frames_alone_and_among_others_of_any_size(detector: Detector) -> None:
    settings = WalkerSettings(identities=2, frames=3, camera=CAMERA)
    scene = Scene(make_company(settings, 1, "nm-01", "090")[0], 0)
    wide = scene.frame(0)[0]
    tall = np.ascontiguousarray(wide[:, 80:240])
    nothing = np.zeros((90, 33, 3), np.uint8)
    frames = [wide, tall, tall, nothing, wide]
    together = detector.detect(frames)
    for frame, boxes in zip(frames, together):
        assert np.allclose(boxes, detector.detect([frame])[0], atol=1e-2)
        height, width = frame.shape[:2]
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 0] + boxes[:, 2] <= width + 1e-6).all()
        assert (boxes[:, 1] + boxes[:, 3] <= height + 1e-6).all()
        assert (np.diff(boxes[:, 4]) <= 0).all()
    assert len(together[0])
    assert together[3].shape == (0, 5)
    assert detector.detect([]) == []


def test_options() -> None:
    settings = load_detector("bundled?size=320&score=0.5").settings
    assert (settings["detector"], settings["size"], settings["score"]) == ("bundled", 320, 0.5)
    for text, message in (
        ("bundled?size=500", "multiple of 32"),
        ("bundled?sise=512", "did you mean 'size'"),
        ("bundled:movenet", "write bundled"),
        ("bundled?iou=0", "iou"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_detector(text)
