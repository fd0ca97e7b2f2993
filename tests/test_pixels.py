"""Pixels that are not square, and pictures whose size changes: shown shapes are what counts, everywhere."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import DataError, VideoError
from gaitext.extraction import ExtractSettings, Track, extract_video
from gaitext.extraction.boxes import full_frame
from gaitext.extraction.detect import detect_video
from gaitext.inspect.footage import load_footage
from gaitext.inspect.overlay import write_overlay
from gaitext.restoration import ApplySettings, DegradeSettings, correct_dataset, degrade_video
from gaitext.restoration.crops import CROPS, prepare_crops
from gaitext.restoration.settings import CropSettings
from gaitext.restoration.targets import Pair, Targets
from gaitext.store import read_sequence
from gaitext.video import probe, read_frames, sizes, write_video
from gaitext.video.sources import find_videos
from tests.restoration.clips import film
from tests.restoration.test_apply import checkpoint

av = pytest.importorskip("av")
images = pytest.importorskip("PIL.Image")

#: Stored 48×128 and shown 96×128, or the other way round: width over height of a pixel.
ASPECTS = [Fraction(2), Fraction(1, 2), Fraction(16, 11)]
SETTINGS = ExtractSettings(min_score=-1, min_frames=1)


def disc(width: int, height: int, aspect: Fraction, radius: float) -> np.ndarray:
    """A white disc as it is shown, in stored pixels: as wide as ``aspect`` says."""
    y, x = np.mgrid[:height, :width]
    inside = ((x + 0.5 - width / 2) * float(aspect)) ** 2 + (y + 0.5 - height / 2) ** 2 < radius**2
    return np.repeat((inside * 255).astype(np.uint8)[..., None], 3, -1)


class Looking:
    """An estimator that keeps what it is given."""

    input_size = (256, 192)
    settings = {"estimator": "looking"}  # noqa: RUF012

    def __init__(self) -> None:
        self.crops: list[np.ndarray] = []

    def heatmaps(self, crops: Any) -> Any:
        self.crops += list(crops.numpy())
        return crops.new_full((len(crops), 17, 64, 48), 0.5)


def shape_of(crop: np.ndarray) -> float:
    """Width over height of what is bright in [3, H, W]."""
    bright = crop[0] > 0.5
    columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
    return float((columns[-1] - columns[0] + 1) / (rows[-1] - rows[0] + 1))


@pytest.mark.parametrize("aspect", ASPECTS)
@pytest.mark.parametrize("boxes", ["given", "full"])
def test_crops_have_the_shape_that_is_shown(tmp_path: Path, aspect: Fraction, boxes: str) -> None:
    frame = disc(160, 120, aspect, 36)
    video = tmp_path / "a.mp4"
    write_video(video, [frame] * 3, pixel_aspect=aspect, crf=5)
    assert probe(video).pixel_aspect == aspect
    half = 36 / float(aspect)
    box = [80 - half, 60 - 36, 2 * half, 72]
    track = Track(1, np.arange(1, 4), np.array([box] * 3, np.float64))
    looking = Looking()
    extract_video(video, "full" if boxes == "full" else {1: track}, looking, tmp_path / "out", SETTINGS)
    assert all(abs(shape_of(crop) - 1) < 0.03 for crop in looking.crops)
    crops = np.asarray(read_sequence(tmp_path / "out/sequences/1/nm-01/000/3_boxes.pkl"))
    assert np.allclose(crops[:, 2] * float(aspect) / crops[:, 3], 0.75, atol=1e-4)  # stored pixels
    if boxes == "given":
        assert np.allclose(crops[:, :2] + crops[:, 2:] / 2, (80, 60), atol=1e-3)


def test_a_turned_videos_pixels_turn_with_it(tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    write_video(video, [disc(96, 64, Fraction(2), 20)] * 2, pixel_aspect=Fraction(2))
    content = video.read_bytes()
    straight = np.array([65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30], ">i4").tobytes()
    turned = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    at = content.index(straight, content.index(b"tkhd"))
    video.write_bytes(content[:at] + turned + content[at + 36 :])
    info = probe(video)
    assert (info.width, info.height, info.pixel_aspect) == (64, 96, Fraction(1, 2))


def test_square_pixels_leave_records_as_they_were(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [disc(64, 64, Fraction(1), 20)] * 2)
    assert probe(tmp_path / "a.mp4").pixel_aspect == 1
    extract_video(tmp_path / "a.mp4", "full", Looking(), tmp_path / "out", SETTINGS)
    assert "pixel_aspect" not in (tmp_path / "out/records/1/nm-01/000.json").read_text()


class Bright:
    """A detector that boxes what is bright."""

    settings = {"detector": "bright"}  # noqa: RUF012

    def __init__(self) -> None:
        self.shapes: list[float] = []

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        found = []
        for frame in frames:
            bright = frame[..., 0] > 127
            columns, rows = np.flatnonzero(bright.any(0)), np.flatnonzero(bright.any(1))
            self.shapes.append(shape_of(frame.transpose(2, 0, 1) / 255))
            x, y = columns[0], rows[0]
            found.append(np.array([[x, y, columns[-1] + 1 - x, rows[-1] + 1 - y, 0.9]], np.float64))
        return found


@pytest.mark.parametrize("aspect", ASPECTS)
def test_a_detector_sees_what_is_shown_and_its_boxes_are_stored_pixels(tmp_path: Path, aspect: Fraction) -> None:
    write_video(tmp_path / "a.mp4", [disc(160, 120, aspect, 36)] * 3, pixel_aspect=aspect, crf=5)
    detector = Bright()
    half = 36 / float(aspect)
    for (box,) in detect_video(tmp_path / "a.mp4", detector, batch_size=2):
        assert np.abs(box[:4] - (80 - half, 24, 2 * half, 72)).max() < 1.5
        assert box[4] == 0.9
    assert len(detector.shapes) == 3
    assert all(abs(shape - 1) < 0.03 for shape in detector.shapes)


@pytest.mark.parametrize(
    ("resolution", "size", "aspect"),
    [(None, (160, 120), "1/2"), (60, (80, 60), "1/2"), ("80x120", (80, 120), "1"), ("160x60", (160, 60), "1/4")],
)
def test_degrading_keeps_what_is_shown(tmp_path: Path, resolution: Any, size: tuple[int, int], aspect: str) -> None:
    write_video(tmp_path / "a.mp4", [disc(160, 120, Fraction(1, 2), 36)] * 2, pixel_aspect=Fraction(1, 2))
    degrade_video(tmp_path / "a.mp4", tmp_path / "b.mp4", DegradeSettings(crf=20, resolution=resolution))
    info = probe(tmp_path / "b.mp4")
    assert (info.width, info.height) == size
    assert info.pixel_aspect == Fraction(aspect)
    assert info.width * info.pixel_aspect / info.height == Fraction(160, 240)


@pytest.mark.parametrize("write", ["video", "frames"])
def test_correcting_keeps_the_shape(tmp_path: Path, write: Any) -> None:
    write_video(tmp_path / "a.mp4", [disc(96, 64, Fraction(16, 11), 20)] * 2, pixel_aspect=Fraction(16, 11))
    identity = checkpoint(tmp_path / "identity.pt")
    settings = ApplySettings(write=write, device="cpu")
    correct_dataset(find_videos(tmp_path / "a.mp4"), identity, tmp_path / "out", settings, quiet=True)
    (made,) = (tmp_path / "out" / "videos").iterdir()
    assert probe(made).pixel_aspect == Fraction(16, 11)


def test_an_overlay_keeps_the_shape(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [disc(96, 64, Fraction(2), 20)] * 3, pixel_aspect=Fraction(2))
    extract_video(tmp_path / "a.mp4", "full", Looking(), tmp_path / "out", SETTINGS)
    write_overlay(load_footage(tmp_path / "out/sequences/1/nm-01/000"), tmp_path / "b.mp4")
    assert probe(tmp_path / "b.mp4").pixel_aspect == 2


@pytest.mark.parametrize("crop", ["box", "window"])
def test_crops_to_train_a_corrector_on_have_the_shape(tmp_path: Path, crop: Any) -> None:
    aspect = Fraction(1, 2)
    for name in ("a", "b"):
        write_video(tmp_path / f"{name}.mp4", [disc(160, 120, aspect, 36)] * 2, pixel_aspect=aspect, crf=5)
    box = np.array([[80 - 72, 24, 144, 72]] * 2, np.float64)
    pair = Pair(
        leaf="1/nm-01/000",
        original=tmp_path / "a.mp4",
        degraded=tmp_path / "b.mp4",
        original_frames=np.arange(2),
        degraded_frames=np.arange(2),
        poses=np.zeros((2, 17, 3), np.float32),
        crops=box.astype(np.float32),
        scale=(1.0, 1.0),
    )
    settings = CropSettings(crop=crop, window=(60, 90), window_for=None)
    prepare_crops([Targets(pair, box)], tmp_path / "crops", settings, quiet=True)
    leaf = tmp_path / "crops/sequences/1/nm-01/000"
    crops = np.asarray(read_sequence(leaf / f"{CROPS}.pkl"))
    assert np.allclose(crops[:, 2] / 2 / crops[:, 3], 0.75, atol=0.01)
    shown = np.asarray(read_sequence(leaf / "0_degraded.pkl"))[0] / 255
    if crop == "box":
        assert abs(shape_of(shown) - 1) < 0.03
    native = CropSettings(crop="window", window=(60, 90), window_for=None, correct_at="native")
    with pytest.raises(DataError, match=r"b\.mp4: its pixels are not square"):
        prepare_crops([Targets(pair, box)], tmp_path / "native", native, quiet=True)


@pytest.fixture
def changing(tmp_path: Path) -> Path:
    """Ten frames of 96×64, ten of 48×32, ten of 128×96."""
    path = tmp_path / "change.h264"
    parts = []
    for index, size in enumerate(((64, 96), (32, 48), (96, 128))):
        parts.append(film(tmp_path / f"{index}.h264", 10, size=size).read_bytes())
    path.write_bytes(b"".join(parts))
    return path


def test_sizes_that_change_are_followed(tmp_path: Path, changing: Path) -> None:
    wanted = [(96, 64)] * 10 + [(48, 32)] * 10 + [(128, 96)] * 10
    assert list(sizes(changing)) == wanted
    assert [frame.shape[1::-1] for _, frame in read_frames(changing)] == wanted
    assert full_frame(changing).boxes[:, 2:].tolist() == [list(size) for size in wanted]
    extract_video(changing, "full", Looking(), tmp_path / "out", SETTINGS)
    leaf = tmp_path / "out/sequences/1/nm-01/000"
    crops = np.asarray(pickle.loads((leaf / "3_boxes.pkl").read_bytes()))
    assert np.allclose(crops[[0, 10, 20], 2], (96, 48, 128))
    write_overlay(load_footage(leaf), tmp_path / "overlay.mp4")
    assert (probe(tmp_path / "overlay.mp4").width, probe(tmp_path / "overlay.mp4").height) == (128, 96)
    with pytest.raises(VideoError, match=r"change\.h264: frame 11 is 48×32, the first was 96×64"):
        degrade_video(changing, tmp_path / "b.mp4")
    for (box,), size in zip(detect_video(changing, Whole()), wanted):
        assert tuple(box[2:4]) == size


class Whole:
    """A detector that finds whole frames."""

    settings = {"detector": "whole"}  # noqa: RUF012

    def detect(self, frames: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.array([[0, 0, frame.shape[1], frame.shape[0], 1.0]]) for frame in frames]
