"""Poses found in originals, brought together with degraded versions of the same videos."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import DataError
from gaitext.extraction import ExtractSettings, extract_video
from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.restoration.targets import pair_up
from gaitext.store import read_sequence, write_sequence
from gaitext.video import read_frames
from gaitext.video.sources import find_videos
from tests.extraction.people import Counting, make_boxes, make_video

pytest.importorskip("av")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A video and its extraction: two tracks, the first cut into two clips."""
    root = tmp_path_factory.mktemp("truth")
    video = make_video(root / "walk.mp4", 24)
    boxes = make_boxes(root / "walk.csv", 24)
    settings = ExtractSettings(clip_frames=14, min_frames=1)
    extract_video(video, boxes, Counting(), root / "extracted", settings)
    return video, root / "extracted"


def test_every_sequence_meets_its_degraded_video(original: tuple[Path, Path], tmp_path: Path) -> None:
    video, extracted = original
    degrade_dataset(find_videos(video), tmp_path, DegradeSettings(preset="ultrafast"))
    pairs = pair_up(extracted, tmp_path)
    assert [(pair.leaf, len(pair)) for pair in pairs] == [
        ("1/nm-01/000", 14),
        ("1/nm-02/000", 10),
        ("2/nm-01/000", 14),
        ("2/nm-02/000", 10),
    ]
    second = pairs[1]
    assert second.original == video
    assert second.degraded == tmp_path / "videos/walk.mp4"
    assert second.original_frames.tolist() == second.degraded_frames.tolist() == list(range(14, 24))
    assert second.scale == (1.0, 1.0)
    stored = read_sequence(extracted / "sequences/1/nm-02/000/2_poses_frame.pkl")
    np.testing.assert_array_equal(second.poses, stored)
    np.testing.assert_array_equal(second.crops, read_sequence(extracted / "sequences/1/nm-02/000/3_boxes.pkl"))


def test_fewer_frames_and_pixels_are_followed(original: tuple[Path, Path], tmp_path: Path) -> None:
    video, extracted = original
    settings = DegradeSettings(preset="ultrafast", crf=10, fps=12.5, resolution="160x80")
    degrade_dataset(find_videos(video), tmp_path, settings)
    pair = pair_up(extracted, tmp_path)[1]
    assert pair.original_frames.tolist() == [14, 16, 18, 20, 22]
    assert pair.degraded_frames.tolist() == [7, 8, 9, 10, 11]
    assert pair.scale == (0.5, 1 / 3)
    stored = read_sequence(extracted / "sequences/1/nm-02/000/2_poses_frame.pkl")[::2]
    np.testing.assert_allclose(pair.poses[..., 0], (stored[..., 0] + 0.5) / 2 - 0.5, rtol=1e-5)
    np.testing.assert_allclose(pair.poses[..., 1], (stored[..., 1] + 0.5) / 3 - 0.5, rtol=1e-5)
    np.testing.assert_array_equal(pair.poses[..., 2], stored[..., 2])
    # The frames it names are the same pictures, shrunk.
    before = dict(read_frames(video, set(pair.original_frames.tolist())))
    after = dict(read_frames(pair.degraded, set(pair.degraded_frames.tolist())))
    for one, other in zip(pair.original_frames.tolist(), pair.degraded_frames.tolist()):
        shrunk = before[one].reshape(80, 3, 160, 2, 3).mean((1, 3))
        apart = {index: np.abs(frame - shrunk).mean() for index, frame in after.items()}
        assert min(apart, key=apart.__getitem__) == other


def test_missing_joints_stay_missing(original: tuple[Path, Path], tmp_path: Path) -> None:
    import shutil

    video, extracted = original
    copy = shutil.copytree(extracted, tmp_path / "copy")
    file = copy / "sequences/1/nm-01/000/2_poses_frame.pkl"
    poses = np.array(read_sequence(file))
    poses[3, 5] = 0
    write_sequence(file, poses)
    degrade_dataset(find_videos(video), tmp_path, DegradeSettings(preset="ultrafast", resolution="160x120"))
    assert not pair_up(copy, tmp_path)[0].poses[3, 5].any()
    write_sequence(file, poses[:-1])
    with pytest.raises(DataError, match="13 poses, its record names 14"):
        pair_up(copy, tmp_path)


def test_what_does_not_belong_together(original: tuple[Path, Path], tmp_path: Path) -> None:
    _, extracted = original
    with pytest.raises(DataError, match="no records of degraded videos"):
        pair_up(extracted, tmp_path)
    other = make_video(tmp_path / "walk.mp4", 5, people=1)
    degrade_dataset(find_videos(other), tmp_path / "out", DegradeSettings(preset="ultrafast"))
    with pytest.raises(DataError, match="none of its sequences"):
        pair_up(extracted, tmp_path / "out")
    with pytest.raises(DataError, match="no records of sequences"):
        pair_up(tmp_path / "nothing", tmp_path / "out")


def test_poses_that_are_no_numbers_are_refused(original: tuple[Path, Path], tmp_path: Path) -> None:
    video, extracted = original
    degrade_dataset(find_videos(video), tmp_path / "out", DegradeSettings(preset="ultrafast"))
    copy = tmp_path / "extracted"
    shutil.copytree(extracted, copy)
    file = copy / "sequences/1/nm-01/000/2_poses_frame.pkl"
    poses = np.array(read_sequence(file))
    poses[3, 4, 1] = np.nan
    poses[3, 4, 2] = 0.5
    write_sequence(file, poses)
    with pytest.raises(DataError, match=r"1/nm-01/000: has true poses .* no numbers"):
        pair_up(copy, tmp_path / "out")
