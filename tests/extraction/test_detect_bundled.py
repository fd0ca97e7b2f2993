"""The detector in the package: its decoding by hand, and rendered walkers whose places are known."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError
from gaitext.extraction.detect import Detector, load_detector, overlap
from gaitext.extraction.detect.bundled import BundledDetector, _decode, _joined
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


def small_in_a_large_picture() -> tuple[np.ndarray, np.ndarray]:
    """A walker of 80 pixels in a picture of 1920, and the box."""
    settings = WalkerSettings(identities=2, frames=3, camera=CAMERA, box_jitter=0)
    walk = make_company(settings, 1, "nm-01", "090")[0]
    frame = Scene(walk, 0).frame(1)[0]
    share = 80 / walk.boxes[1][3]
    pixels = torch.from_numpy(frame).permute(2, 0, 1)[None].float()
    shown = torch.nn.functional.interpolate(pixels, scale_factor=share, mode="bilinear", antialias=True)[0]
    picture = np.full((1080, 1920, 3), 114, np.uint8)
    height, width = shown.shape[1:]
    picture[300 : 300 + height, 700 : 700 + width] = shown.round().byte().permute(1, 2, 0).numpy()
    return picture, walk.boxes[1][None, :4] * share + [700, 300, 0, 0]


def test_the_small_are_looked_at_from_nearer(monkeypatch: pytest.MonkeyPatch) -> None:
    picture, box = small_in_a_large_picture()
    near = np.ascontiguousarray(picture[300:420, 700:900])  # large in it
    both = load_detector("bundled?score=0.4")
    assert isinstance(both, BundledDetector)
    assert overlap(box, both.detect([picture])[0]).max() > 0.5
    looks: list[tuple[int, int]] = []
    detect = both._detect

    def counted(frames: list[np.ndarray], size: int, score: float) -> Iterator[np.ndarray]:
        looks.append((len(frames), size))
        return detect(frames, size, score)

    monkeypatch.setattr(both, "_detect", counted)
    together = both.detect([picture, np.zeros_like(picture), picture, near])
    assert looks == [(3, 512), (3, 1024), (1, 512)]
    assert len(together[3]) == 1
    for frame, boxes in zip((picture, near), (together[2], together[3])):
        assert np.allclose(boxes, both.detect([frame])[0], atol=1e-2)


def test_parts_of_people_are_left_out_worked_by_hand() -> None:
    boxes = np.array([[100, 100, 100, 300, 0.8]])
    nearer = np.array(
        [
            [110, 110, 80, 100, 0.9],  # in it: a head and shoulders
            [180, 100, 80, 100, 0.7],  # a quarter of it is in it: somebody else
            [400, 100, 50, 150, 0.6],
            [101, 99, 99, 300, 0.5],  # the same person
        ]
    )
    assert _joined(boxes, nearer, 0.65).tolist() == [boxes[0].tolist(), nearer[1].tolist(), nearer[2].tolist()]
    assert _joined(boxes[:0], nearer[2:3], 0.65).tolist() == nearer[2:3].tolist()
    assert _joined(boxes, nearer[:0], 0.65).tolist() == boxes.tolist()


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
