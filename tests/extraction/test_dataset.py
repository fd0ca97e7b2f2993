"""Trees of videos: places, workers, shards, failures, detection, kills and memory."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import DataError
from gaitext.execution import parse_shard
from gaitext.extraction import ExtractSettings, Source, extract_dataset, find_sources, read_boxes
from gaitext.extraction.boxes import find_tracks
from gaitext.extraction.detect import overlap
from gaitext.extraction.tracker import longest
from gaitext.making import Records
from gaitext.store import CompactSequence, leaves, open_sequence, read_leaf
from gaitext.video import read_frames, write_video

pytest.importorskip("av")
pytest.importorskip("onnxruntime")
from tests.extraction.people import Counting, make_boxes, make_video
from tests.pose.networks import dot_network

REPOSITORY = Path(__file__).parents[2]
PLACES = ["001/nm-01/000", "001/nm-01/090", "002/bg-01/000", "002/nm-01/090"]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four videos of one person, 12 to 15 frames, boxes in a tree of their own, and a network."""
    root = tmp_path_factory.mktemp("tree")
    for number, place in enumerate(PLACES):
        video = root / "videos" / f"{place}.mp4"
        video.parent.mkdir(parents=True, exist_ok=True)
        make_video(video, frames=12 + number, people=1)
        boxes = root / "boxes" / f"{place}.csv"
        boxes.parent.mkdir(parents=True, exist_ok=True)
        make_boxes(boxes, frames=12 + number, people=1)
    dot_network(root / "dots.onnx")
    return root


def contents(out: Path) -> dict[str, list[np.ndarray]]:
    return {leaf.name: read_leaf(leaf) for leaf in leaves(out / "sequences")}


def same(one: dict[str, list[np.ndarray]], two: dict[str, list[np.ndarray]]) -> None:
    assert one.keys() == two.keys()
    for name, sequences in one.items():
        for a, b in zip(sequences, two[name]):
            np.testing.assert_array_equal(a, b)


def test_a_tree_keeps_its_names(tree: Path, tmp_path: Path) -> None:
    sources = find_sources(tree / "videos", tree / "boxes")
    report = extract_dataset(sources, f"onnx:{tree / 'dots.onnx'}", tmp_path, quiet=True)
    assert report.written == PLACES
    assert not report.failed
    assert {name: len(s[0]) for name, s in contents(tmp_path).items()} == dict(zip(PLACES, (12, 13, 14, 15)))
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert sorted(written["leaves"]) == PLACES
    assert written["failed"] == {}


def test_processes_and_shards_make_the_same(tree: Path, tmp_path: Path) -> None:
    sources, estimator = find_sources(tree / "videos", tree / "boxes"), f"onnx:{tree / 'dots.onnx'}"
    extract_dataset(sources, estimator, tmp_path / "one", quiet=True)
    assert len(extract_dataset(sources, estimator, tmp_path / "two", workers=2, quiet=True).written) == 4
    same(contents(tmp_path / "one"), contents(tmp_path / "two"))
    for shard in ("1/3", "2/3", "3/3"):
        mine = [source.name for source in parse_shard(shard).of(sources)]
        assert extract_dataset(sources, estimator, tmp_path / "three", shard=shard, quiet=True).written == mine
        assert not (tmp_path / "three" / "manifest.json").exists()
    same(contents(tmp_path / "one"), contents(tmp_path / "three"))
    # The whole once more finds everything done, and gathers the manifest.
    assert len(extract_dataset(sources, estimator, tmp_path / "three", quiet=True).standing) == 4
    assert (tmp_path / "three" / "manifest.json").exists()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_broken_stops_nobody_else(tree: Path, tmp_path: Path, workers: int) -> None:
    shutil.copytree(tree / "videos", tmp_path / "videos")
    shutil.copytree(tree / "boxes", tmp_path / "boxes")
    broken = tmp_path / "videos" / f"{PLACES[1]}.mp4"
    broken.write_bytes(broken.read_bytes()[:700])
    (tmp_path / "boxes" / f"{PLACES[2]}.csv").unlink()  # so the detector in the package looks for people
    sources = find_sources(tmp_path / "videos", tmp_path / "boxes")
    estimator = f"onnx:{tree / 'dots.onnx'}"
    report = extract_dataset(sources, estimator, tmp_path / "out", workers=workers, quiet=True)
    assert report.written == [PLACES[0], PLACES[3]]
    assert sorted(report.failed) == PLACES[1:3]
    assert "000.mp4: no sequence could be made from it" in report.failed[PLACES[2]]
    assert "090.mp4" in report.failed[PLACES[1]]
    assert all(f"FAILED: {name}" in str(report) for name in PLACES[1:3])
    assert sorted(json.loads((tmp_path / "out/manifest.json").read_text())["failed"]) == PLACES[1:3]
    # Mended, and the same again: only they are done.
    shutil.copy(tree / "videos" / f"{PLACES[1]}.mp4", broken)
    shutil.copy(tree / "boxes" / f"{PLACES[2]}.csv", tmp_path / "boxes" / f"{PLACES[2]}.csv")
    sources = find_sources(tmp_path / "videos", tmp_path / "boxes")
    report = extract_dataset(sources, estimator, tmp_path / "out", quiet=True)
    assert report.written == PLACES[1:3]
    assert not report.failed
    assert json.loads((tmp_path / "out/manifest.json").read_text())["failed"] == {}


def test_the_command_ends_with_1_and_names_what_failed(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "videos", tmp_path / "videos")
    (tmp_path / "videos" / f"{PLACES[3]}.mp4").write_bytes(b"no video")
    command = ["extract", tmp_path / "videos", "--boxes", tree / "boxes", "--out", tmp_path / "out", "--quiet"]
    command += ["--estimator", f"onnx:{tree / 'dots.onnx'}"]
    done = subprocess.run(
        [sys.executable, "-c", "from gaitext.cli import main; main()", *map(str, command)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=180,
    )
    assert done.returncode == 1, done.stderr
    assert "3 sequences written" in done.stdout
    assert f"FAILED: {PLACES[3]}" in done.stdout


def test_forms_and_merging(tree: Path, tmp_path: Path) -> None:
    sources, estimator = find_sources(tree / "videos", tree / "boxes")[:1], f"onnx:{tree / 'dots.onnx'}"
    extract_dataset(sources, estimator, tmp_path / "plain", quiet=True)
    plain = read_leaf(tmp_path / "plain/sequences" / PLACES[0])
    settings = ExtractSettings(form="lossless")
    extract_dataset(sources, estimator, tmp_path / "lossless", settings, quiet=True)
    assert isinstance(open_sequence(tmp_path / f"lossless/sequences/{PLACES[0]}/0_heatmaps.pkl"), CompactSequence)
    same({"": plain}, {"": read_leaf(tmp_path / "lossless/sequences" / PLACES[0])})
    settings = ExtractSettings(form="compact", merge="upper_lower")
    extract_dataset(sources, estimator, tmp_path / "merged", settings, quiet=True)
    merged = read_leaf(tmp_path / "merged/sequences" / PLACES[0])
    upper, lower = plain[0][:, :11].max(1), plain[0][:, 11:].max(1)
    np.testing.assert_allclose(merged[0], np.stack((upper, lower), 1), atol=0.5 / 255 + 1e-3)
    for one, two in zip(plain[1:], merged[1:]):
        np.testing.assert_array_equal(one, two)
    # Another form of what is there is made anew, not taken for finished.
    assert extract_dataset(sources, estimator, tmp_path / "plain", settings, quiet=True).written == PLACES[:1]


def test_whole_frames_are_not_grown(tree: Path, tmp_path: Path) -> None:
    source = find_sources(tree / "videos", "full")[0]
    extract_dataset([source], Counting(), tmp_path, quiet=True)
    crops = read_leaf(tmp_path / "sequences" / PLACES[0])[3]
    # 320×240 widened to 3:4 around its centre: 320 wide, 426.7 high.
    np.testing.assert_allclose(crops, [[0, 120 - 640 / 3, 320, 1280 / 3]] * 12, rtol=1e-5)
    extract_dataset([source], Counting(), tmp_path, ExtractSettings(crop_scale=1.25), quiet=True)
    np.testing.assert_allclose(read_leaf(tmp_path / "sequences" / PLACES[0])[3][:, 2:], [[400, 1600 / 3]] * 12)


class Finder:
    """A detector that knows where the people are, and counts frames."""

    def __init__(self, people: int = 2) -> None:
        self.settings = {"detector": "finder", "people": people}
        self.people, self.seen = people, 0

    def detect(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        from tests.extraction.people import box

        found = []
        for _ in frames:
            # The second person comes late: the shorter track.
            here = range(self.people if self.seen >= 4 else 1)
            found.append(np.array([[*box(person, self.seen), 0.9] for person in here]))
            self.seen += 1
        return found


def test_a_detector_finds_the_longest_track_once(tmp_path: Path) -> None:
    (tmp_path / "tree/001/nm-01").mkdir(parents=True)
    make_video(tmp_path / "tree/001/nm-01/000.mp4", frames=14)
    sources = find_sources(tmp_path / "tree")
    report = extract_dataset(sources, Counting(), tmp_path / "out", detector=Finder(), quiet=True)
    assert report.written == PLACES[:1]
    assert report.left_out == {"001/nm-01/000 track 2": 10}
    lines = (tmp_path / "out/boxes/001/nm-01/000.csv").read_text().splitlines()
    assert len(lines) == 24
    again = Finder()
    report = extract_dataset(sources, Counting(), tmp_path / "out", detector=again, quiet=True)
    assert (report.standing, again.seen) == (PLACES[:1], 0)
    # Another detector looks again; nobody there is a failure that says so.
    nobody = Finder(people=0)
    nobody.detect = lambda frames: [np.zeros((0, 5)) for _ in frames]  # type: ignore[method-assign]
    report = extract_dataset(sources, Counting(), tmp_path / "out", detector=nobody, quiet=True)
    assert "no person could be followed: detections in 0 of 14 frames" in report.failed["001/nm-01/000"]
    # What was found can be given as boxes.
    source = Source(sources[0].path, "001", "nm-01", "000", tmp_path / "out/boxes/001/nm-01/000.csv")
    tracks, _ = find_tracks(sources[0], Finder(), tmp_path / "out2")
    given = source.tracks()
    assert given is not None
    np.testing.assert_allclose(given[1].boxes, tracks[1].boxes)


def test_the_detector_in_the_package_is_asked_where_none_is_named_and_no_boxes_are(tmp_path: Path) -> None:
    from gaitext.extraction.tracker import load_tracker
    from gaitext.walkers import CameraSettings, WalkerSettings, write_dataset

    camera = CameraSettings(width=320, height=240, focal=260, distance=5.0, elevation=1.2)
    settings = WalkerSettings(
        identities=2, protocol="own", types=("nm-01",), views=("090",), frames=12, content=("video",), camera=camera
    )
    write_dataset(settings, tmp_path / "films", quiet=True)
    video = tmp_path / "films/videos/001/nm-01/090.mp4"
    (true,) = read_boxes(tmp_path / "films/boxes/001/nm-01/090.csv").values()
    out = tmp_path / "out"
    source = Source(video, "001", "nm-01", "090")
    report = extract_dataset([source], Counting(), out, tracker=load_tracker("overlap?min_length=6"), quiet=True)
    assert report.written == ["001/nm-01/090"]
    entry = json.loads((out / "records/001/nm-01/090.json").read_text())["made_with"]["detector"]
    assert (entry["detector"]["detector"], entry["tracker"]["min_length"]) == ("bundled", 6)
    (found,) = read_boxes(out / "boxes/001/nm-01/090.csv").values()
    assert len(found.frames) >= 10
    shared = [overlap(a[None], b[None])[0, 0] for a, b in zip(found.boxes, true.boxes[found.frames - 1])]
    assert np.mean(shared) > 0.75


def test_two_sources_for_one_sequence(tree: Path, tmp_path: Path) -> None:
    source = find_sources(tree / "videos", tree / "boxes")[0]
    with pytest.raises(DataError, match="2 sources are called 001/nm-01/000"):
        extract_dataset([source, source], Counting(), tmp_path, quiet=True)


def test_a_full_disk_is_seen_before_work_begins(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    estimator = Counting()
    report = extract_dataset(find_sources(tree / "videos", tree / "boxes")[:1], estimator, tmp_path, quiet=True)
    assert "need 1 MB and 1 MB are free" in report.failed[PLACES[0]]
    assert estimator.seen == 0
    assert not (tmp_path / "sequences").exists()


ZYGOTE = """
# Imports once, then lets a child extract and kills it, again and again.
import os, random, signal, sys, time
from pathlib import Path
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources
from tests.extraction.people import Counting

tree, out, kills = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
sources = find_sources(tree / "videos", tree / "boxes")
chance = random.Random(5)
killed = 0
while killed < kills:
    pid = os.fork()
    if pid == 0:
        settings = ExtractSettings(clip_frames=3, min_frames=1, batch_size=2, type="{type}-{clip}")
        report = extract_dataset(sources, Counting(delay=0.03), out, settings, quiet=True)
        os._exit(1 if report.failed else 0)
    time.sleep(chance.uniform(0, 0.2))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        assert os.WEXITSTATUS(status) == 0
        break
    killed += 1
print(killed)
"""


def test_twenty_kills_lose_and_corrupt_nothing(tree: Path, tmp_path: Path) -> None:
    settings = ExtractSettings(clip_frames=3, min_frames=1, batch_size=2, type="{type}-{clip}")
    sources = find_sources(tree / "videos", tree / "boxes")
    whole = extract_dataset(sources, Counting(), tmp_path / "whole", settings, quiet=True)
    assert len(whole.written) == 4 + 5 + 5 + 5
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", ZYGOTE, str(tree), str(out), "20"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15, "it was done before it was killed often"
    finished = contents(out) if (out / "sequences").exists() else {}
    for name, sequences in finished.items():
        assert {len(s) for s in sequences} == {len(contents(tmp_path / "whole")[name][0])}
    rest = Counting()
    report = extract_dataset(sources, rest, out, settings, quiet=True)
    assert len(report.standing) >= len(finished) - 1  # one may have been moved but not recorded
    assert len(report.standing) + len(report.written) == 19
    assert rest.seen <= 54 - sum(len(finished[name][0]) for name in report.standing)
    same(contents(tmp_path / "whole"), contents(out))
    assert not list(out.rglob(".*"))


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    """More frames take no more memory, though their heatmaps alone would be 130 MB."""
    _, first = next(read_frames(make_video(tmp_path / "a.mp4", frames=1, people=1)))
    peaks = []
    for frames in (600, 1900):  # the first fills all buffers
        video, boxes = tmp_path / f"{frames}.mp4", tmp_path / f"{frames}.csv"
        write_video(video, (first for _ in range(frames)), preset="ultrafast")
        boxes.write_text("".join(f"{i + 1},1,20,30,90,130\n" for i in range(frames)))
        code = """
import resource, sys
from gaitext.extraction import ExtractSettings, extract_video
from tests.extraction.people import Counting
extract_video(sys.argv[1], sys.argv[2], Counting(), sys.argv[3], ExtractSettings(form="compact"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
        done = subprocess.run(
            [sys.executable, "-c", code, str(video), str(boxes), str(tmp_path / f"out{frames}")],
            cwd=REPOSITORY,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
        peaks.append(int(done.stdout) / 1024)
        assert len(open_sequence(tmp_path / f"out{frames}/sequences/1/nm-01/000/0_heatmaps.pkl")) == frames
    assert peaks[1] - peaks[0] < 60, peaks


def test_two_videos_for_one_sequence_are_refused_before_work(tree: Path, tmp_path: Path) -> None:
    sources = find_sources(tree / "videos", tree / "boxes")
    with pytest.raises(DataError, match=r"000\.mp4 and .*090\.mp4 would both be written to 001/nm-01/x"):
        extract_dataset(sources, Counting(), tmp_path, ExtractSettings(view="x"), quiet=True)


def test_one_video_with_a_worker_and_a_progress_bar(tree: Path, tmp_path: Path) -> None:
    source = find_sources(tree / "videos", tree / "boxes")[:1]
    report = extract_dataset(source, Counting(), tmp_path, workers=1, quiet=True, progress=lambda done, total: None)
    assert report.written == PLACES[:1]


def test_a_video_of_the_same_name_elsewhere_is_another(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for day, frames in (("one", 12), ("two", 14)):
        (tmp_path / day).mkdir()
        make_video(tmp_path / day / "walk.mp4", frames=frames, people=1)
        make_boxes(tmp_path / day / "walk.csv", frames=frames, people=1)
    monkeypatch.chdir(tmp_path / "one")
    assert extract_dataset(find_sources("walk.mp4"), Counting(), tmp_path / "out", quiet=True).written
    monkeypatch.chdir(tmp_path / "two")
    report = extract_dataset(find_sources("walk.mp4"), Counting(), tmp_path / "out", quiet=True)
    assert "was made from track 1 of" in report.failed["walk.mp4"]
    assert len(contents(tmp_path / "out")["1/nm-01/000"][0]) == 12


def test_a_kill_between_other_settings_and_their_record(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A leaf of settings B must not stand for A's, whose record lay there."""
    source = find_sources(tree / "videos", tree / "boxes")[:1]
    extract_dataset(source, Counting(), tmp_path, quiet=True)
    before = contents(tmp_path)

    class Killed(BaseException):
        pass

    def dies(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Records, "put", dies)
        with pytest.raises(Killed):
            extract_dataset(source, Counting(), tmp_path, ExtractSettings(crop_scale=2), quiet=True)
    assert not np.array_equal(contents(tmp_path)[PLACES[0]][3], before[PLACES[0]][3])  # B's boxes are there
    assert extract_dataset(source, Counting(), tmp_path, quiet=True).written == PLACES[:1]
    same(before, contents(tmp_path))


def test_what_kills_leave_of_records_and_boxes_is_removed(tree: Path, tmp_path: Path) -> None:
    shutil.copytree(tree / "videos", tmp_path / "videos")
    sources, out = find_sources(tmp_path / "videos")[:2], tmp_path / "out"
    extract_dataset(sources, Counting(), out, detector=Finder(people=1), quiet=True)
    first, second = (out / "records" / f"{place}.json" for place in PLACES[:2])
    boxes = out / "boxes" / f"{PLACES[0]}.csv"
    # As atomic_path names them; the last one is of a sequence that stands, whose name begins alike.
    rests = [path.with_name(f".{path.stem}.ab_d3fgh.tmp{path.suffix}") for path in (first, boxes)]
    other = second.with_name(".000.x.ab_d3fgh.tmp.json")
    for path in (*rests, other):
        path.write_text("{")
    first.unlink()
    boxes.unlink()
    report = extract_dataset(sources, Counting(), out, detector=Finder(people=1), quiet=True)
    assert (report.written, report.standing) == (PLACES[:1], PLACES[1:2])
    assert not any(rest.exists() for rest in rests)
    assert other.exists()


def test_a_damaged_record_is_named_and_the_rest_reported(tree: Path, tmp_path: Path) -> None:
    sources = find_sources(tree / "videos", tree / "boxes")
    extract_dataset(sources, Counting(), tmp_path, quiet=True)
    (tmp_path / "records" / f"{PLACES[2]}.json").write_text("{")
    report = extract_dataset(sources, Counting(), tmp_path, quiet=True)
    assert len(report.standing) == 3
    assert "is no record" in report.failed[PLACES[2]]


def test_an_output_folder_that_cannot_be_written(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written to"):
        extract_dataset(find_sources(tree / "videos", tree / "boxes"), Counting(), tmp_path / "file", quiet=True)


def test_boxes_that_a_hand_has_mended_are_kept(tmp_path: Path) -> None:
    make_video(tmp_path / "walk.mp4", frames=14)
    (source,) = find_sources(tmp_path / "walk.mp4")
    find_tracks(source, Finder(), tmp_path / "out")
    boxes = tmp_path / "out/boxes/walk.csv"
    lines = boxes.read_text().splitlines()
    boxes.write_text("\n".join(line for line in lines if line.split(",")[1] == "2") + "\n")
    mended, found_by = find_tracks(source, Finder(people=1), tmp_path / "out")  # whatever the detector
    assert list(mended) == [2]
    assert "mended_by_hand" in found_by
    assert find_sources(tmp_path / "walk.mp4", tmp_path / "out/boxes")[0].boxes == boxes  # and can be given back


def test_filled_gaps_do_not_make_a_track_longer(tmp_path: Path) -> None:
    """Ten detections spread over 14 frames are fewer than eleven in a row."""
    make_video(tmp_path / "walk.mp4", frames=14)

    class Gaps(Finder):
        def detect(self, frames: list[np.ndarray]) -> list[np.ndarray]:
            found = []
            for boxes in super().detect(frames):
                frame = self.seen - len(frames) + len(found)
                here = [frame not in (3, 6, 9, 11), frame < 11]
                both = np.array([[*box(person, frame), 0.9] for person in (0, 1)])
                found.append(both[here] if len(boxes) else boxes)
            return found

    from tests.extraction.people import box

    (source,) = find_sources(tmp_path / "walk.mp4")
    tracks, _ = find_tracks(source, Gaps(), tmp_path / "out")
    assert [len(track.frames) for track in tracks.values()] == [14, 11]
    assert longest(tracks)[0].id == 2


def test_two_commands_at_once_share_the_work(tree: Path, tmp_path: Path) -> None:
    out, code = tmp_path / "out", "from gaitext.cli import main; main()"
    command = [sys.executable, "-c", code, "extract", str(tree / "videos"), "--boxes", str(tree / "boxes")]
    command += ["--estimator", f"onnx:{tree / 'dots.onnx'}", "--out", str(out), "-q"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    extract_dataset(
        find_sources(tree / "videos", tree / "boxes"), f"onnx:{tree / 'dots.onnx'}", tmp_path / "one", quiet=True
    )
    same(contents(out), contents(tmp_path / "one"))
    assert sorted(json.loads((out / "manifest.json").read_text())["leaves"]) == PLACES
    assert not list(out.rglob(".*"))
