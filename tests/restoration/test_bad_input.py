"""What people have lying about: every command takes it rightly or refuses it in a sentence, and leaves nothing."""

from __future__ import annotations

import json
import os
import pickle
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import CheckpointError, ConfigError, DataError, GaitextError, VideoError
from gaitext.models import FBCNN
from gaitext.pose.movenet import MoveNet
from gaitext.restoration import ApplySettings, DegradeSettings, correct_dataset, degrade_video, load_corrector
from gaitext.transforms import ArtifactCorrection
from gaitext.video import frame_times, probe, read_frames, write_video
from gaitext.video.sources import find_videos
from tests.restoration.clips import film, number, numbered
from tests.restoration.test_apply import checkpoint

av = pytest.importorskip("av")
images = pytest.importorskip("PIL.Image")

COMMANDS = {
    "degrade": ["degrade"],
    "apply": ["correct", "apply", "CHECKPOINT", "--device", "cpu"],
    "frames": ["correct", "apply", "CHECKPOINT", "--device", "cpu", "--as", "frames"],
    "extract": [
        *("extract", "--estimator", "movenet:lightning", "--boxes", "full"),
        *("--min-score", "0", "--min-frames", "1", "--correct", "CHECKPOINT"),
    ],
}


@pytest.fixture(scope="module")
def corrector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint(tmp_path_factory.mktemp("corrector") / "identity.pt")


def run(command: str, corrector: Path, source: Path, out: Path, *options: str):
    """The command as it is typed: its result; errors meant for people are the result's exception."""
    words = [str(corrector) if word == "CHECKPOINT" else word for word in COMMANDS[command]]
    return CliRunner().invoke(app, [*words, str(source), "--out", str(out), "-q", *options])


def results(out: Path) -> set[str]:
    """Names of all results, half-written ones and staging folders included."""
    found = (path for kind in ("videos", "sequences") for path in (out / kind).rglob("*") if path.is_file())
    return {"/".join(path.relative_to(out).parts[1:]) for path in found}


def broken_png(folder: Path) -> Path:
    folder.mkdir()
    for index in range(3):
        images.fromarray(numbered(index)).save(folder / f"{index}.png")
    content = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(content[: len(content) // 2])
    return folder


def spoiled(path: Path, how: str) -> Path:
    """A video of 60 frames with its index in front, and something wrong."""
    write_video(path, (numbered(index) for index in range(60)), crf=10)
    content = bytearray(path.read_bytes())
    middle = (content.find(b"mdat") + len(content)) // 2
    if how == "cut":
        path.write_bytes(content[:middle])
    elif how == "noise":
        content[middle : middle + 400] = np.random.default_rng(0).bytes(400)
        path.write_bytes(content)
    else:  # an index behind the frames that was never written
        film(path, 60)
        content = bytearray(path.read_bytes())
        path.write_bytes(content[: content.find(b"moov") - 4])
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_of_a_tree_the_good_are_done_and_the_bad_named(corrector: Path, tmp_path: Path, command: str) -> None:
    tree = tmp_path / "tree" / "001" / "nm-01"
    tree.mkdir(parents=True)
    film(tree / "000.mp4", 12)
    film(tree / "sound.mp4", video=False)
    for how in ("cut", "noise", "moov"):
        spoiled(tree / f"{how}.mp4", how)
    film(tree / "jpegs.avi", 60, codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray((tree / "jpegs.avi").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = np.random.default_rng(0).bytes(300)
    (tree / "jpegs.avi").write_bytes(content)
    (tree / "text.mp4").write_text("no video at all\n" * 40)
    (tree / "nothing.mp4").write_bytes(b"")
    (tree / "folder.mp4").mkdir()
    broken_png(tree / "png")
    bad = {
        "sound": "has no video stream",
        "cut": "cannot be decoded after frame",
        "noise": "cannot be decoded after frame|is damaged",
        "moov": "cannot be opened as a video",
        "jpegs": "cannot be decoded after frame",
        "text": "cannot be opened as a video",
        "nothing": "is empty",
        "folder": "holds no pictures",
        "png": "frame 1 cannot be read",
    }
    done = run(command, corrector, tmp_path / "tree", tmp_path / "out")
    assert done.exit_code == 1
    assert "1 videos written" in done.output or "1 sequences written" in done.output
    left = results(tmp_path / "out")
    assert left
    assert all(name.startswith("001/nm-01/000") for name in left)
    failed = json.loads((tmp_path / "out/manifest.json").read_text())["failed"]
    assert len(failed) == len(bad)
    for name, why in bad.items():
        (said_of_it,) = (said for item, said in failed.items() if item.startswith(f"001/nm-01/{name}"))
        assert re.search(rf"({why})[^\n]*\nTo mend it: ", said_of_it)
    # Each kind is said once, with how to mend it, and everything is named.
    said = re.findall(r"FAILED: ([^:\n]*): [^\n]*\nTo mend it: [^\n]*(?:\n  also ([^\n]*))?", done.output)
    assert len(said) == done.output.count("FAILED: ") < len(bad)
    named = [name for first, others in said for name in (first.split()[-1], *filter(None, others.split(", ")))]
    assert sorted(named) == sorted(failed)
    assert "Errno" not in done.output


@pytest.mark.parametrize("command", ["degrade", "apply", "frames"])
@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        ("vp9.webm", {"codec": "libvpx-vp9", "pix_fmt": "yuva420p"}, "transparency is dropped"),
        ("qtrle.mov", {"codec": "qtrle", "pix_fmt": "argb"}, "transparency is dropped"),
        ("ten.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}, "10 bits are rounded to 8"),
        ("tenh264.mp4", {"pix_fmt": "yuv420p10le"}, "10 bits are rounded to 8"),
        ("sound.mp4", {"audio": True}, "sound is dropped"),
        ("one.mp4", {"count": 1}, ""),
        ("odd.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p", "size": (65, 97)}, "97×65 is odd"),
    ],
)
def test_unusual_video_keeps_its_frames(
    corrector: Path, tmp_path: Path, command: str, name: str, options: dict, note: str
) -> None:
    if options.get("codec", "ffv1") not in av.codecs_available:
        pytest.skip(f"PyAV without {options['codec']}")
    count = options.get("count", 12)
    source = film(tmp_path / name, **({"count": count} | options))
    done = run(command, corrector, source, tmp_path / "out")
    assert done.exit_code == 0, done.output
    (made,) = (tmp_path / "out" / "videos").iterdir()
    shown = [frame for _, frame in read_frames(made)]
    assert [number(frame) for frame in shown] == list(range(count))
    if command == "frames" and note.endswith("odd"):
        note = ""  # pictures may be of any size
    assert ("note: " in done.output) == bool(note)
    assert note in done.output
    if "size" in options:
        assert shown[0].shape == ((65, 97, 3) if command == "frames" else (66, 98, 3))


def test_a_folders_transparency_is_noted(tmp_path: Path) -> None:
    for name, mode in (("rgba", "RGBA"), ("palette", "P"), ("rgb", "RGB")):
        folder = tmp_path / name
        folder.mkdir()
        for index in range(3):
            picture = images.fromarray(numbered(index)).convert(mode)
            picture.save(folder / f"{index}.png", **({"transparency": 0} if mode == "P" else {}))
        assert probe(folder).alpha == (mode != "RGB")
        assert degrade_video(folder, tmp_path / "b.mp4").notes == ["transparency is dropped"] * (mode != "RGB")


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (16, 16)])
def test_very_small_video(corrector: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    source = film(tmp_path / "a.mkv", 5, codec="ffv1", pix_fmt="yuv444p", size=size)
    for command in ("degrade", "apply"):
        assert run(command, corrector, source, tmp_path / command).exit_code == 0
        video = tmp_path / command / "videos" / "a.mp4"
        shown = [frame.shape for _, frame in read_frames(video)]
        assert shown == [(size[0] + size[0] % 2, size[1] + size[1] % 2, 3)] * 5


def retimed(path: Path, times: list[int]) -> Path:
    """A Matroska video of numbered frames whose blocks say other times, milliseconds."""
    film(path, len(times), codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    # A SimpleBlock: track 1, its time in the cluster (16 bits, signed), flags; then the JPEG.
    blocks = [match.start() + 1 for match in re.finditer(rb"\x81..\x80\xff\xd8", content, re.DOTALL)]
    assert len(blocks) == len(times)
    for index, (at, time) in enumerate(zip(blocks, times)):
        cluster = 40 * index - int.from_bytes(content[at : at + 2], "big")
        content[at : at + 2] = (time - cluster).to_bytes(2, "big", signed=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "times", [[0, 40, 80, 60, 120, 160, 140, 240], [0, 40, 80, 80, 80, 160, 200, 240], [0] * 7 + [280]]
)
def test_times_that_stand_still_or_go_back(corrector: Path, tmp_path: Path, times: list[int]) -> None:
    source = retimed(tmp_path / "a.mkv", times)
    assert [round(1000 * time) for time in frame_times(source) if time is not None] != [40 * i for i in range(8)]
    for command in ("degrade", "apply"):
        done = run(command, corrector, source, tmp_path / command)
        assert done.exit_code == 0, done.output
        assert "do not rise" in done.output
        video = tmp_path / command / "videos" / "a.mp4"
        assert [number(frame) for _, frame in read_frames(video)] == list(range(8))
        shown = [time for time in frame_times(video) if time is not None]
        assert len(shown) == 8
        assert all(one < other for one, other in pairwise(shown))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_leaves_nothing(corrector: Path, tmp_path: Path, command: str) -> None:
    film(tmp_path / "a.mp4", 60)
    words = [str(corrector) if word == "CHECKPOINT" else word for word in COMMANDS[command]]
    words += [str(tmp_path / "a.mp4"), "--out", str(tmp_path / "out"), "-q"]
    script = (
        "import resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))\n"
        f"sys.argv = ['gaitext', *{words!r}]\n"
        "from gaitext.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert re.search(r"cannot be written: File too large\nTo mend it: free some space", done.stdout), done.stdout
    assert results(tmp_path / "out") == set()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read(corrector: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree" / "001" / "nm-01"
    tree.mkdir(parents=True)
    film(tree / "000.mp4", 3).chmod(0)
    done = run("degrade", corrector, tmp_path / "tree", tmp_path / "out")
    assert done.exit_code == 1
    assert "cannot be read (Permission denied)" in done.output


@pytest.mark.parametrize("command", COMMANDS)
def test_results_do_not_go_where_videos_are_looked_for(corrector: Path, tmp_path: Path, command: str) -> None:
    tree = tmp_path / "tree" / "001" / "nm-01"
    tree.mkdir(parents=True)
    film(tree / "000.mp4", 3)
    os.symlink(tmp_path / "tree", tmp_path / "link")
    for out in (tmp_path / "tree", tmp_path / "tree" / "out", tmp_path / "link" / "x" / "y"):
        done = run(command, corrector, tmp_path / "tree", out)
        assert isinstance(done.exception, DataError)
        assert "lies in the tree of videos" in str(done.exception)
    assert list((tmp_path / "tree").iterdir()) == [tmp_path / "tree" / "001"]
    (tmp_path / "file").write_text("")
    done = run(command, corrector, tmp_path / "tree", tmp_path / "file")
    assert "cannot be written to" in str(done.exception)
    assert run(command, corrector, tmp_path / "tree", tmp_path / "tree2").exit_code == 0
    # A single video's folder is no tree.
    assert run(command, corrector, tree / "000.mp4", tree / "out").exit_code == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"crf": float("nan")},
        {"fps": float("inf")},
        {"fps": 1e-9},
        {"gop": 10**11},
        {"bitrate": "99999999M"},
        {"resolution": "100000x100000"},
        {"resolution": "0x2"},
    ],
)
def test_numbers_that_the_encoder_would_not_take(wrong: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DegradeSettings.parse(wrong, where="degrade")


def test_what_no_video_can_be_corrected_with_is_said_once(corrector: Path, tmp_path: Path) -> None:
    source = find_videos(film(tmp_path / "a.mp4", 2))
    for wrong, match in (({"tile": 5, "overlap": 3}, "hardly get on"), ({"tile": 1, "overlap": 0}, "hardly get on")):
        with pytest.raises(ConfigError, match=match):
            ApplySettings.parse(wrong, where="apply")
    for device in ("nonsense", "meta", "cuda:99"):
        with pytest.raises(ConfigError, match=f"device '{device}'"):
            correct_dataset(source, corrector, tmp_path / "out", ApplySettings(device=device), quiet=True)
    assert not (tmp_path / "out").exists()


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("touch exploded",)


def bad_checkpoint(path: Path, good: Path, kind: str) -> None:
    content = torch.load(good, weights_only=True)
    weights = content["model"]
    if kind == "pickle":
        path.write_bytes(pickle.dumps({"model": Bomb()}))
    elif kind == "bomb":
        torch.save({"model": {"head.weight": Bomb()}}, path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "cut":
        path.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    elif kind == "other network":
        torch.save({"model": MoveNet().state_dict()}, path)
    elif kind == "not a layer":
        torch.save({"model": {"head.weight": torch.zeros(4)}}, path)
    elif kind == "one missing":
        torch.save({"model": {name: value for name, value in weights.items() if name != "tail.bias"}}, path)
    elif kind == "other size":
        torch.save({"model": weights | {"tail.bias": torch.zeros(7)}}, path)
    elif kind == "NaN":
        torch.save(content | {"model": weights | {"tail.bias": torch.full((3,), torch.nan)}}, path)
    elif kind == "grey":
        torch.save(FBCNN(image_channels=1, channels=(4, 5), blocks=1, embedding_size=3).state_dict(), path)
    elif kind == "a list":
        torch.save([1, 2], path)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("pickle", "not opened because it can run code"),
        ("bomb", "not opened because it can run code"),
        ("folder", "is a folder"),
        ("cut", "is damaged"),
        ("other network", "holds no FBCNN"),
        ("not a layer", "holds no FBCNN"),
        ("one missing", "1 weights are missing, such as 'tail.bias'"),
        ("other size", "another shape, such as 'tail.bias'"),
        ("NaN", "NaN or infinity"),
        ("grey", "1 channels, no RGB"),
        ("a list", "no state dict"),
    ],
)
def test_checkpoints_that_are_no_corrector(
    corrector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, match: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.pt"
    bad_checkpoint(path, corrector, kind)
    source = film(tmp_path / "a.mp4", 2)
    for command in ("apply", "extract"):
        done = run(command, path, source, tmp_path / "out")
        assert isinstance(done.exception, CheckpointError)
        assert re.match(rf"{re.escape(str(path))}: .*{match}", str(done.exception))
    with pytest.raises(GaitextError, match=rf"bad\.pt.*{match}"):
        ArtifactCorrection(str(path), device="cpu")(np.zeros((1, 3, 16, 16), np.uint8))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "exploded").exists()


def test_a_checkpoint_with_something_else_under_our_name(corrector: Path, tmp_path: Path) -> None:
    torch.save(torch.load(corrector, weights_only=True) | {"gaitext": 3}, tmp_path / "a.pt")
    assert load_corrector(tmp_path / "a.pt").quality == 0.5


def test_the_error_of_mixed_sizes_names_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(3):
        images.fromarray(numbered(index, 64 + 2 * (index == 1))).save(folder / f"{index}.png")
    with pytest.raises(VideoError, match=r"frames: frame 2 is 96×66"):
        degrade_video(folder, tmp_path / "b.mp4")
