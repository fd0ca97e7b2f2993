"""From a video to sequences on disk: places, filters, resuming, kills and errors."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import DataError, VideoError
from gaitext.extraction import ExtractSettings, extract_video, read_boxes
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.making import Records
from gaitext.store import LeafWriter, leaves, read_leaf
from gaitext.video import read_frames, write_video

pytest.importorskip("av")
pytest.importorskip("onnxruntime")
from tests.extraction.people import Counting, box, joints, make_boxes, make_video
from tests.pose.networks import dot_network

Image = pytest.importorskip("PIL.Image")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """walk.mp4 (24 frames, two persons, nobody visible in frames 6 and 7) and its boxes."""
    folder = tmp_path_factory.mktemp("scene")
    make_video(folder / "walk.mp4", hidden=(5, 6))
    make_boxes(folder / "boxes.csv")
    dot_network(folder / "dots.onnx")
    return folder


def manifest(out: Path) -> dict:
    return json.loads((out / "manifest.json").read_text())["leaves"]


def recorded(out: Path) -> dict:
    """What the records themselves say, which manifest.json repeats when a command ends."""
    return dict(Records(out).all())


def contents(out: Path) -> dict[str, list[np.ndarray]]:
    return {leaf.name: read_leaf(leaf) for leaf in leaves(out / "sequences")}


def test_peaks_stand_on_the_joints(scene: Path, tmp_path: Path) -> None:
    seen = []
    report = extract_video(
        scene / "walk.mp4",
        scene / "boxes.csv",
        f"onnx:{scene / 'dots.onnx'}",
        tmp_path,
        ExtractSettings(clip_frames=12, min_frames=5, batch_size=7),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert report.written == ["1/nm-01/000", "2/nm-01/000", "1/nm-02/000", "2/nm-02/000"]
    assert report.dropped == {"score": 4, "outside": 0}
    assert report.frames == 48
    assert seen[-1] == (48, 48)
    assert "4 sequences written" in str(report)
    for name, (heatmaps, poses, in_frame, crops) in contents(tmp_path).items():
        person, clip = int(name[0]) - 1, int(name[6])
        kept = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11] if clip == 1 else list(range(12, 24))
        assert heatmaps.shape == (len(kept), 17, 64, 48)
        assert heatmaps.dtype == np.float16
        assert (poses.dtype, in_frame.dtype, crops.dtype) == (np.float32,) * 3
        expected_crops = crop_boxes(np.stack([box(person, i) for i in kept]))
        np.testing.assert_allclose(crops, expected_crops, atol=1e-3)
        truth = np.stack([joints(person, i) for i in kept])
        # The answer is quantised to a quarter heatmap pixel either side, which is 0.9 frame pixels.
        assert np.abs(in_frame[..., :2] - truth).max() < 1.2
        assert np.abs((in_frame[..., :2] - truth).mean((0, 1))).max() < 0.2  # and not shifted
        in_map = apply(crop_matrices(expected_crops, 64, 48), truth)
        assert np.abs(poses[..., :2] - in_map).max() < 0.75
        np.testing.assert_array_equal(poses[..., 2], in_frame[..., 2])
        np.testing.assert_allclose(heatmaps.reshape(len(kept), 17, -1).max(-1), poses[..., 2], rtol=1e-3)
    entry = manifest(tmp_path)["1/nm-01/000"]
    assert entry["frames"] == "1-5,8-12"
    assert entry["dropped"] == {"score": "6-7"}
    assert entry["kept"] == 10
    assert entry["video"].endswith("walk.mp4")
    assert entry["sha256"] == hashlib.sha256((scene / "walk.mp4").read_bytes()).hexdigest()
    assert entry["made_with"]["track"] == 1
    assert entry["made_with"]["estimator"]["file"] == "dots.onnx"
    assert entry["made_with"]["crop_scale"] == 1.25
    assert entry["gaitext"]


def test_finished_leaves_are_not_done_again(scene: Path, tmp_path: Path) -> None:
    arguments = (scene / "walk.mp4", scene / "boxes.csv")
    settings = ExtractSettings(clip_frames=11, min_frames=5)
    first = Counting()
    report = extract_video(*arguments, first, tmp_path, settings)
    assert first.seen == 48
    assert sorted(report.skipped) == ["1/nm-03/000", "2/nm-03/000"]
    assert "2 usable of 2 frames, min_frames is 5" in report.skipped["1/nm-03/000"]
    assert manifest(tmp_path)["1/nm-03/000"]["skipped"] == report.skipped["1/nm-03/000"]

    again = Counting()
    report2 = extract_video(*arguments, again, tmp_path, settings)
    assert again.seen == 0
    assert (report2.written, len(report2.standing), report2.skipped) == ([], 4, report.skipped)

    # A lost leaf, another estimator, another threshold: exactly what is concerned is made again.
    (tmp_path / "sequences/2/nm-02/000/1_poses.pkl").unlink()
    os.rename(tmp_path / "sequences/2/nm-02", tmp_path / "gone")
    lost = Counting()
    assert extract_video(*arguments, lost, tmp_path, settings).written == ["2/nm-02/000"]
    assert lost.seen == 11
    other = Counting(name="other")
    assert len(extract_video(*arguments, other, tmp_path, settings).written) == 4
    assert other.seen == 48

    # Fewer frames than now asked for: the old leaf goes.
    report3 = extract_video(
        *arguments, Counting(), tmp_path, ExtractSettings(clip_frames=22, min_frames=12, type="nm-{clip:02d}")
    )
    assert sorted(report3.skipped) == ["1/nm-02/000", "2/nm-02/000"]
    assert [leaf.name for leaf in leaves(tmp_path / "sequences")] == ["1/nm-01/000", "2/nm-01/000"]
    assert report3.stale == []
    report4 = extract_video(*arguments, Counting(), tmp_path, ExtractSettings(identity="p{track}"))
    assert report4.stale == ["1/nm-01/000", "2/nm-01/000"]


KILLED = """
import sys
from tests.extraction.people import Counting
from gaitext.extraction import ExtractSettings, extract_video
settings = ExtractSettings(clip_frames=6, min_frames=1, batch_size=4)
extract_video(sys.argv[1], sys.argv[2], Counting(delay=0.15), sys.argv[3], settings)
"""


def test_a_kill_loses_nothing_finished(scene: Path, tmp_path: Path) -> None:
    video, boxes, out = scene / "walk.mp4", scene / "boxes.csv", tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(video), str(boxes), str(out)],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and process.poll() is None:
            if len(recorded(out)) >= 3:
                break
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == -signal.SIGKILL, "it finished before it was killed"
    finished = sorted(recorded(out))
    assert 3 <= len(finished) < 8
    before = {name: (out / "sequences" / name).stat().st_mtime_ns for name in finished}
    for name in finished:
        assert {len(s) for s in read_leaf(out / "sequences" / name)} == {6}
    # What a kill in the middle of a write leaves: a toolbox would take it for a view.
    LeafWriter(out / "sequences", "2", "nm-04", "000").append({"0": np.zeros((1, 2))})

    rest = Counting()
    settings = ExtractSettings(clip_frames=6, min_frames=1, batch_size=4)
    report = extract_video(video, boxes, rest, out, settings)
    assert sorted(report.standing) == finished
    assert rest.seen == 6 * (8 - len(finished))
    assert {name: (out / "sequences" / name).stat().st_mtime_ns for name in finished} == before
    assert not list(out.rglob(".*"))
    assert manifest(out) == recorded(out)
    # An uninterrupted run gives the same.
    extract_video(video, boxes, Counting(), tmp_path / "whole", settings)
    resumed, whole = contents(out), contents(tmp_path / "whole")
    assert resumed.keys() == whole.keys()
    for name, sequences in whole.items():
        for a, b in zip(sequences, resumed[name]):
            np.testing.assert_array_equal(a, b)


def test_boxes_beyond_the_video(scene: Path, tmp_path: Path) -> None:
    far = make_boxes(tmp_path / "far.csv", frames=25)
    with pytest.raises(DataError, match=r"far\.csv: track 1 has a box in frame 25, but .*walk\.mp4 has 24 frames"):
        extract_video(scene / "walk.mp4", far, Counting(), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    # Matroska does not count its frames, so this is found at the end; what was complete is kept.
    make_video(tmp_path / "walk.mkv")
    with pytest.raises(DataError, match=r"track 1 has a box in frame 25, but .*walk\.mkv ends before it"):
        extract_video(tmp_path / "walk.mkv", far, Counting(), tmp_path / "out", ExtractSettings(clip_frames=12))
    assert len(leaves(tmp_path / "out" / "sequences")) == 4


def test_a_cut_video_keeps_what_is_complete(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", (np.roll(noise, i, 1) for i in range(24)), crf=30, gop=8, preset="ultrafast")
    content = (tmp_path / "a.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(content[: len(content) * 7 // 10])
    boxes = make_boxes(tmp_path / "boxes.csv")
    settings = ExtractSettings(clip_frames=6, min_frames=1, batch_size=100)
    with pytest.raises(VideoError, match=r"cut\.mp4.*(ends early|cannot be decoded|damaged)"):
        extract_video(cut, boxes, Counting(), tmp_path / "out", settings)
    done = [leaf.name for leaf in leaves(tmp_path / "out" / "sequences")]
    assert "1/nm-01/000" in done
    assert "2/nm-02/000" in done
    assert "1/nm-04/000" not in done


def test_no_usable_frame(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no sequence could be made[\s\S]*24 below min_score 0\.4, best 0\.20"):
        extract_video(scene / "walk.mp4", scene / "boxes.csv", Counting(score=0.2), tmp_path)
    with pytest.raises(DataError, match="no sequence could be made"):  # and again when resumed
        extract_video(scene / "walk.mp4", scene / "boxes.csv", Counting(score=0.2), tmp_path)
    nan = Counting(score=float("nan"))
    with pytest.raises(DataError, match="24 below min_score"):
        extract_video(scene / "walk.mp4", scene / "boxes.csv", nan, tmp_path)


def test_one_track_outside_the_frame_is_reported(scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tracks = read_boxes(scene / "boxes.csv")
    tracks[2].boxes[:, 0] += 1000
    report = extract_video(scene / "walk.mp4", tracks, Counting(), tmp_path)
    assert report.written == ["1/nm-01/000"]
    assert report.dropped["outside"] == 24
    assert "24 outside the frame" in report.skipped["2/nm-01/000"]
    assert "2/nm-01/000: not written: 0 usable of 24" in caplog.text


def test_other_peoples_leaves_are_not_overwritten(scene: Path, tmp_path: Path) -> None:
    extract_video(scene / "walk.mp4", scene / "boxes.csv", Counting(), tmp_path)
    make_video(tmp_path / "second.mp4", frames=20)
    boxes = make_boxes(tmp_path / "second.csv", frames=20)
    with pytest.raises(DataError, match=r"1/nm-01/000: was made from track 1 of .*walk\.mp4[\s\S]*\{video\}-\{track\}"):
        extract_video(tmp_path / "second.mp4", boxes, Counting(), tmp_path)
    named = ExtractSettings(identity="{video}-{track}")
    assert len(extract_video(tmp_path / "second.mp4", boxes, Counting(), tmp_path, named).written) == 2
    assert len(manifest(tmp_path)) == 4
    # The same file with new content is the same source: made again.
    make_video(tmp_path / "second.mp4", frames=21)
    assert len(extract_video(tmp_path / "second.mp4", boxes, Counting(), tmp_path, named).written) == 2
    foreign = tmp_path / "foreign"
    (foreign / "sequences/1/nm-01/000").mkdir(parents=True)
    with pytest.raises(DataError, match="not of this command's making"):
        extract_video(scene / "walk.mp4", scene / "boxes.csv", Counting(), foreign)
    (tmp_path / "records/1/nm-01/000.json").write_text("{")
    with pytest.raises(DataError, match=r"000\.json: is no record"):
        extract_video(scene / "walk.mp4", scene / "boxes.csv", Counting(), tmp_path)


def test_no_video(scene: Path, tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no such file"):
        extract_video(tmp_path / "none.mp4", scene / "boxes.csv", Counting(), tmp_path)
    with pytest.raises(VideoError, match="cannot be opened"):
        extract_video(scene / "boxes.csv", scene / "boxes.csv", Counting(), tmp_path)


def test_another_video_of_the_same_size_ends_and_time_is_extracted_anew(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    make_video(tmp_path / "walk.mp4")
    for number, (_, frame) in enumerate(read_frames(tmp_path / "walk.mp4"), 1):
        Image.fromarray(frame).save(frames / f"{number:03d}.bmp")
    make_boxes(tmp_path / "boxes.csv")
    arguments = (frames, tmp_path / "boxes.csv")
    assert len(extract_video(*arguments, Counting(), tmp_path / "out").written) == 2
    assert len(extract_video(*arguments, Counting(), tmp_path / "out").standing) == 2
    middle = frames / "012.bmp"
    status, content = middle.stat(), bytearray(middle.read_bytes())
    content[-1] ^= 255
    middle.write_bytes(content)
    os.utime(middle, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = extract_video(*arguments, Counting(), tmp_path / "out")
    assert len(report.written) == 2
    assert not report.standing


def test_boxes_that_merely_fit_are_doubted(scene: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [f"{frame},1,2,2,12,16" for frame in range(1, 25)]  # where nobody is
    (tmp_path / "others.csv").write_text("\n".join(lines))
    settings = ExtractSettings(min_score=0)
    report = extract_video(
        scene / "walk.mp4", tmp_path / "others.csv", f"onnx:{scene / 'dots.onnx'}", tmp_path / "out", settings
    )
    assert list(report.doubtful) == ["1/nm-01/000"]
    assert "are these the boxes of this video?" in str(report)
    assert "others.csv" in caplog.text
    fine = extract_video(
        scene / "walk.mp4", scene / "boxes.csv", f"onnx:{scene / 'dots.onnx'}", tmp_path / "fine", settings
    )
    assert not fine.doubtful
