"""Trees of videos degraded: places, resuming, kills, workers, shards, failures and what is said of them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.making import Records
from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.video import count_frames, read_frames
from gaitext.video.sources import find_videos
from tests.restoration.clips import film, number, numbered

pytest.importorskip("av")
FAST = DegradeSettings(preset="ultrafast")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three videos and a folder of pictures; one of the videos is no video."""
    images = pytest.importorskip("PIL.Image")
    root = tmp_path / "tree"
    for view in ("000", "090"):
        (root / "001" / "nm-01").mkdir(parents=True, exist_ok=True)
        film(root / "001" / "nm-01" / f"{view}.mp4", 12, audio=view == "090")
    folder = root / "002" / "nm-01" / "000"
    folder.mkdir(parents=True)
    for index in range(8):
        images.fromarray(numbered(index)).save(folder / f"{index}.png")
    (root / "002" / "nm-01" / "090.mkv").write_bytes(b"no video")
    return root


def test_a_tree_is_mirrored_and_recorded(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = degrade_dataset(find_videos(tree), out, FAST, quiet=True)
    names = ["001/nm-01/000", "001/nm-01/090", "002/nm-01/000"]
    assert report.written == names
    assert list(report.failed) == ["002/nm-01/090"]
    assert "cannot be opened" in report.failed["002/nm-01/090"]
    assert report.notes == {"001/nm-01/090": ["sound is dropped"]}
    assert report.frames == 32
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == ["manifest.json", *(f"records/{n}.json" for n in names), *(f"videos/{n}.mp4" for n in names)]
    for name, count in zip(names, (12, 12, 8)):
        assert [number(frame) for _, frame in read_frames(out / "videos" / f"{name}.mp4")] == list(range(count))
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["failed"] == report.failed
    entry = manifest["leaves"]["001/nm-01/090"]
    assert (entry["frames"], entry["kept"], entry["size"]) == ("1-12", 12, [96, 64])
    assert entry["video"] == str(tree / "001/nm-01/090.mp4")
    assert entry["made_with"]["settings"]["preset"] == "ultrafast"
    assert entry["made_with"]["settings"]["crf"] == 45
    said = str(report)
    assert "3 videos written" in said
    assert "note: sound is dropped: 001/nm-01/090" in said
    # What it wrote is itself a tree.
    assert [video.name for video in find_videos(out / "videos")] == names


def test_what_is_finished_is_not_done_again(tree: Path, tmp_path: Path) -> None:
    out, sources = tmp_path / "out", find_videos(tree)
    degrade_dataset(sources, out, FAST, quiet=True)
    stamps = {path: path.stat().st_mtime_ns for path in (out / "videos").rglob("*.mp4")}
    again = degrade_dataset(sources, out, FAST, quiet=True)
    assert (again.written, len(again.standing), len(again.failed)) == ([], 3, 1)
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    # 45 is what stands for nothing given.
    assert len(degrade_dataset(sources, out, DegradeSettings(crf=45, preset="ultrafast"), quiet=True).standing) == 3
    # Other settings, a changed source, a lost file and --overwrite do things again.
    film(tree / "001/nm-01/000.mp4", 9)
    (out / "videos/002/nm-01/000.mp4").unlink()
    again = degrade_dataset(find_videos(tree), out, FAST, quiet=True)
    assert again.written == ["001/nm-01/000", "002/nm-01/000"]
    assert count_frames(out / "videos/001/nm-01/000.mp4") == 9
    assert len(degrade_dataset(sources, out, FAST, resume=False, quiet=True).written) == 3
    assert len(degrade_dataset(sources, out, DegradeSettings(crf=30, preset="ultrafast"), quiet=True).written) == 3


def test_workers_and_shards_give_the_same(tree: Path, tmp_path: Path) -> None:
    sources = find_videos(tree)
    degrade_dataset(sources, tmp_path / "here", FAST, quiet=True)
    degrade_dataset(sources, tmp_path / "workers", FAST, workers=2, quiet=True)
    for shard in ("1/2", "2/2"):
        degrade_dataset(sources, tmp_path / "shards", FAST, shard=shard, quiet=True)
    assert not (tmp_path / "shards/manifest.json").exists()
    degrade_dataset(sources, tmp_path / "shards", FAST, quiet=True)
    expected = {p.relative_to(tmp_path / "here"): p.read_bytes() for p in (tmp_path / "here").rglob("*.mp4")}
    assert len(expected) == 3
    for other in ("workers", "shards"):
        got = {p.relative_to(tmp_path / other): p.read_bytes() for p in (tmp_path / other).rglob("*.mp4")}
        assert got == expected
    assert (tmp_path / "shards/manifest.json").exists()
    with pytest.raises(ConfigError, match="shard"):
        degrade_dataset(sources, tmp_path / "shards", FAST, shard="3/2", quiet=True)


def test_nobody_elses_video_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = film(tmp_path / "a.mp4", 6)
    assert degrade_dataset(find_videos(one), out, FAST).written == ["a"]
    (tmp_path / "other").mkdir()
    two = film(tmp_path / "other" / "a.mp4", 7)
    assert "was made from" in degrade_dataset(find_videos(two), out, FAST).failed["a"]
    assert count_frames(out / "videos/a.mp4") == 6
    # A result is never its own source, and a stranger's file is left alone.
    assert "is the video itself" in degrade_dataset(find_videos(out / "videos/a.mp4"), out, FAST).failed["a"]
    (tmp_path / "strange/videos").mkdir(parents=True)
    (tmp_path / "strange/videos/a.mp4").write_bytes(b"mine")
    assert "not of this command's" in degrade_dataset(find_videos(one), tmp_path / "strange", FAST).failed["a"]
    assert (tmp_path / "strange/videos/a.mp4").read_bytes() == b"mine"
    with pytest.raises(DataError, match=r"would both be a\.mp4"):
        degrade_dataset([*find_videos(one), *find_videos(two)], out, FAST)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        degrade_dataset(find_videos(one), tmp_path / "file", FAST)


_KILLED = """
import os, signal, sys, threading, time
from pathlib import Path
from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.video.sources import find_videos
import av, torch
sources, out, kills = find_videos(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
settings = DegradeSettings(preset="ultrafast")
killed = 0
for turn in range(kills):
    child = os.fork()
    if child == 0:
        degrade_dataset(sources, out, settings, quiet=True)
        os._exit(0)
    time.sleep(0.02 + 0.02 * turn)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    killed += os.WIFSIGNALED(status)
print(killed)
"""


@pytest.mark.slow
def test_kills_lose_and_corrupt_nothing(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    for view in range(8):
        (tree / "001" / "nm-01").mkdir(parents=True, exist_ok=True)
        film(tree / "001" / "nm-01" / f"{view:03d}.mp4", 30)
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(tree), str(out), "8"], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) >= 4, "it was done before it was killed often"
    # What is recorded is whole, already now.
    for name in Records(out).names():
        assert count_frames(out / "videos" / f"{name}.mp4") == 30
    report = degrade_dataset(find_videos(tree), out, FAST, quiet=True)
    assert len(report.written) + len(report.standing) == 8
    degrade_dataset(find_videos(tree), tmp_path / "whole", FAST, quiet=True)
    for path in (tmp_path / "whole/videos").rglob("*.mp4"):
        assert (out / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    assert not list(out.rglob(".*"))


def test_two_commands_at_once_share_the_work(tmp_path: Path) -> None:
    tree, out = tmp_path / "tree", tmp_path / "out"
    for view in range(5):
        (tree / "001" / "nm-01").mkdir(parents=True, exist_ok=True)
        film(tree / "001" / "nm-01" / f"{view:03d}.mp4", 40)
    code = "from gaitext.cli import main; main()"
    command = [sys.executable, "-c", code, "degrade", str(tree), "--out", str(out), "--preset", "ultrafast", "-q"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    counts = [[int(number) for number in re.findall(r"\d+(?= videos written|(?= already))", text)] for text in said]
    assert [sum(pair) for pair in counts] == [5, 5]
    assert sum(written for written, _ in counts) == 5  # each was made once
    assert len(json.loads((out / "manifest.json").read_text())["leaves"]) == 5
    degrade_dataset(find_videos(tree), tmp_path / "alone", FAST, quiet=True)
    for path in (tmp_path / "alone/videos").rglob("*.mp4"):
        assert (out / path.relative_to(tmp_path / "alone")).read_bytes() == path.read_bytes()
    assert not list(out.rglob(".*"))
