"""Every packet gives its picture or is refused: kinds of containers, sound and damaged, on any number of threads."""

from __future__ import annotations

import hashlib
import logging
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import VideoError
from gaitext.video import count_frames, frame_times, probe, read_frames
from gaitext.video import reading as video
from tests.restoration.clips import film, number, numbered

av = pytest.importorskip("av")
SAYS = r"cannot be decoded after frame \d+|frame \d+ is damaged|ends early: frame \d+ is the last"


@pytest.fixture(autouse=True)
def _nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_warned", set())


def coded(path: Path, count: int = 40, codec: str = "libx264", **options: str) -> Path:
    """Numbered frames in short groups of pictures, with pictures that are predicted from later ones."""
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV without {codec}")
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        stream.options = options
        for index in range(count):
            picture = av.VideoFrame.from_ndarray(numbered(index), format="rgb24")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def h264(path: Path, **more: str) -> Path:
    return coded(path, **{"g": "12", "bf": "2", "x264-params": "threads=1", **more})


def h265(path: Path) -> Path:
    return coded(path, codec="libx265", **{"x265-params": "log-level=none:keyint=40:bframes=2:pools=none"})


def remuxed(
    source: Path, path: Path, keep: Callable[[int], bool] = lambda index: True, later: float = 0, audio: bool = False
) -> Path:
    """Packets as they are in another file: those that are kept, ``later`` seconds later, with sound from 0."""
    with av.open(str(source)) as given, av.open(str(path), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        sound = out.add_stream("aac", rate=16000) if audio else None
        if sound is not None:
            for block in range(5):
                piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                piece.rate, piece.pts = 16000, block * 1024
                out.mux(sound.encode(piece))
            out.mux(sound.encode())
        for index, packet in enumerate(given.demux(stream)):
            if packet.dts is not None and keep(index):
                shift = round(later / float(packet.time_base))
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, copy
                out.mux(packet)
    return path


def seen(path: Path) -> list[int]:
    return [number(frame) for _, frame in read_frames(path)]


def key_frames(path: Path) -> list[int]:
    with av.open(str(path)) as given:
        return [i for i, p in enumerate(given.demux(given.streams.video[0])) if p.is_keyframe]


SOUND = {
    "mp4": lambda at: h264(at / "a.mp4"),
    "hevc": lambda at: h265(at / "a.mp4"),
    "hevc mkv": lambda at: remuxed(h265(at / "a.mp4"), at / "a.mkv"),
    "mkv": lambda at: remuxed(h264(at / "a.mp4"), at / "a.mkv"),
    "ts": lambda at: remuxed(h264(at / "a.mp4"), at / "a.ts"),
    "flv": lambda at: remuxed(h264(at / "a.mp4"), at / "a.flv"),
    "raw": lambda at: h264(at / "a.h264"),
    "mkv that starts after 0": lambda at: remuxed(h264(at / "a.mp4"), at / "a.mkv", later=3),
    "mkv with sound first": lambda at: remuxed(h264(at / "a.mp4"), at / "a.mkv", later=0.7, audio=True),
    "mp4 that starts after 0": lambda at: remuxed(h264(at / "a.mp4"), at / "a.mp4.mp4", later=3),
    "fragments": lambda at: remuxed_fragments(h264(at / "a.mp4"), at / "b.mp4"),
    "open groups": lambda at: h264(at / "a.mp4", **{"x264-params": "open-gop=1:threads=1"}),
    "intra refresh": lambda at: h264(at / "a.mp4", **{"intra-refresh": "1"}),
    "slices": lambda at: h264(at / "a.mp4", **{"x264-params": "slices=4:threads=1"}),
    "interlaced": lambda at: h264(at / "a.mp4", **{"x264-params": "tff=1:threads=1"}),
    "avi": lambda at: coded(at / "a.avi", codec="mpeg4", bf="2"),
    "h264 avi": lambda at: h264(at / "a.avi"),
    "mjpeg": lambda at: film(at / "a.avi", 40, codec="mjpeg", pix_fmt="yuvj420p"),
    "mpeg 2": lambda at: coded(at / "a.mpg", codec="mpeg2video", bf="2"),
    "vob": lambda at: coded(at / "a.vob", codec="mpeg2video", bf="2"),
    "vp8": lambda at: coded(at / "a.webm", codec="libvpx", **{"auto-alt-ref": "1", "lag-in-frames": "16", "b": "200k"}),
    "vp9": lambda at: coded(at / "a.webm", codec="libvpx-vp9", **{"lag-in-frames": "16", "b": "200k"}),
    "wmv": lambda at: coded(at / "a.wmv", codec="wmv2"),
    "ffv1": lambda at: film(at / "a.mkv", 40, codec="ffv1"),
    "varying rate": lambda at: film(at / "a.mkv", 40, times=[37 * i + 29 * (i // 3) + 20 * (i % 2) for i in range(40)]),
    "a pause": lambda at: film(at / "a.mp4", 40, times=[40 * i + 800 * (i > 9) for i in range(40)]),
    "avi with empty chunks": lambda at: film(
        at / "a.avi", 40, codec="mpeg4", times=[40 * (i + (i > 9) + 3 * (i > 20)) for i in range(40)],
        time_base=Fraction(1, 1000),
    ),
}  # fmt: skip


def remuxed_fragments(source: Path, path: Path) -> Path:
    with (
        av.open(str(source)) as given,
        av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as out,
    ):
        copy = out.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = copy
                out.mux(packet)
    return path


@pytest.mark.parametrize("kind", SOUND)
def test_what_is_sound_is_read_whole(tmp_path: Path, kind: str) -> None:
    path = SOUND[kind](tmp_path)
    assert seen(path) == list(range(40))
    assert count_frames(path) == 40


def test_recordings_put_together_or_joined_midway(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = h264(tmp_path / "a.mp4")
    stream = remuxed(source, tmp_path / "a.ts").read_bytes()
    both = tmp_path / "both.ts"
    both.write_bytes(stream + stream)
    assert seen(both) == list(range(40)) * 2
    # The second starts at a picture that needs none before it, and so do parts of a recording.
    second = key_frames(source)[1]
    part = remuxed(source, tmp_path / "part.mkv", lambda index: index >= second)
    assert seen(part)[-1] == 39
    assert not caplog.records
    midway = remuxed(source, tmp_path / "midway.ts", lambda index: index > 3)
    assert seen(midway) == list(range(12, 40))
    (record,) = caplog.records
    assert "midway.ts: begins in the middle of a recording: its first" in record.message


def test_open_groups_cut_at_their_beginning(tmp_path: Path) -> None:
    source = h264(tmp_path / "a.mp4", **{"x264-params": "open-gop=1:threads=1"})
    second = key_frames(source)[1]
    found = seen(remuxed(source, tmp_path / "part.mkv", lambda index: index >= second, later=1))
    assert found == list(range(found[0], 40))


def test_clips_trimmed_by_an_edit_list(tmp_path: Path) -> None:
    content = h264(tmp_path / "a.mp4").read_bytes()
    place = content.index(b"elst") + 12  # version and flags, count; then the segment's duration and its start
    start = int.from_bytes(content[place + 4 : place + 8], "big")
    with av.open(str(tmp_path / "a.mp4")) as given:
        tick = float(given.streams.video[0].time_base)
    later = start + round(15 / 25 / tick)
    trimmed = tmp_path / "trimmed.mp4"
    # Of 1600 ms it shows 1000.
    trimmed.write_bytes(content[:place] + (1000).to_bytes(4, "big") + later.to_bytes(4, "big") + content[place + 8 :])
    assert seen(trimmed) == list(range(15, 40))


LOST = {"one": {17}, "two": {16, 17}, "three": {14, 15, 16}, "the last but one": {38}}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
@pytest.mark.parametrize("make", [h264, h265])
@pytest.mark.parametrize("lost", LOST)
def test_lost_packets_never_pass_in_silence(
    tmp_path: Path, make: Callable[[Path], Path], lost: str, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Either the numbers after the loss are never reached, or a warning says where time passes unseen."""
    whole = make(tmp_path / "whole.mp4")
    path = remuxed(whole, tmp_path / f"lost.{suffix}", lambda index: index not in LOST[lost])
    found: list[int] = []
    error = ""
    try:
        found.extend(number(frame) for _, frame in read_frames(path))
    except VideoError as raised:
        error = str(raised)
    # Nobody can miss a picture that no other needs; a later frame's number may be too low by those.
    assert all(shown - index <= len(LOST[lost]) for index, shown in enumerate(found))
    if error:
        assert f"lost.{suffix}" in error
        assert re.search(rf"after frame {len(found)}|frame {len(found)} is|frame {len(found) + 1} is", error)
        return
    assert any("time after frame" in record.message for record in caplog.records) or lost == "the last but one"


@pytest.mark.parametrize("params", ["bframes=0:ref=1:threads=1", "bframes=3:b-pyramid=normal:threads=1"])
@pytest.mark.parametrize("suffix", ["mp4", "h264"])
def test_a_lost_picture_that_others_need_is_an_error(tmp_path: Path, params: str, suffix: str) -> None:
    """FFmpeg puts its neighbour in its place and goes on."""
    whole = coded(tmp_path / "whole.mp4", **{"g": "40", "x264-params": params})
    with av.open(str(whole)) as given:
        sizes = [packet.size for packet in given.demux(given.streams.video[0])]
    # A large one is one that others are predicted from; x264's numbers begin anew after 16 of those.
    needed = int(np.argmax(sizes[5:13])) + 5
    path = remuxed(whole, tmp_path / f"lost.{suffix}", lambda index: index != needed)
    with pytest.raises(VideoError, match=rf"lost\.{suffix}: cannot be decoded after frame \d+ \(pictures before it"):
        seen(path)


def test_a_recorder_that_writes_mkv_by_other_rules(tmp_path: Path) -> None:
    """mkvmerge's DURATION is how long the stream is; FFmpeg's, when it ends. Both in files that start after 0."""
    source = remuxed(h264(tmp_path / "a.mp4"), tmp_path / "a.mkv", later=3)
    assert seen(source) == list(range(40))
    content = source.read_bytes()
    with av.open(str(source)) as given:
        stated = given.streams.video[0].metadata["DURATION"]
    assert stated.startswith("00:00:04.6")
    other = content.replace(b"Lavf", b"libe").replace(stated.encode(), b"00:00:01.600000000")
    path = tmp_path / "b.mkv"
    path.write_bytes(other)
    assert seen(path) == list(range(40))
    # A Segment whose size is not known, cut between two blocks: DURATION alone tells.
    for name, whole in (("a", content), ("b", other)):
        with av.open(str(tmp_path / f"{name}.mkv")) as given:
            places = [packet.pos for packet in given.demux(given.streams.video[0]) if packet.dts is not None]
        at, end = whole.index(b"\x18\x53\x80\x67") + 4, whole.rindex(b"\xa3", 0, places[30])
        cut = tmp_path / "cut.mkv"
        cut.write_bytes(whole[:at] + b"\x01" + b"\xff" * 7 + whole[at + 8 : end])
        with pytest.raises(VideoError, match=SAYS):
            seen(cut)


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi", "ts", "ogv", "fragments"])
def test_cut_files_are_refused(tmp_path: Path, suffix: str) -> None:
    if suffix == "ogv":
        whole = coded(tmp_path / "a.ogv", codec="libtheora")
    elif suffix == "fragments":
        whole = remuxed_fragments(h264(tmp_path / "a.mp4"), tmp_path / "b.mp4")
    else:
        whole = h264(tmp_path / f"a.{suffix}")
    content, good = whole.read_bytes(), seen(whole)
    rng = random.Random(0)
    for _ in range(6):
        path = tmp_path / f"cut{whole.suffix}"
        path.write_bytes(content[: rng.randrange(len(content) // 2, len(content) * 9 // 10)])
        found = []
        with pytest.raises(VideoError, match=SAYS + "|cannot be opened"):
            found.extend(number(frame) for _, frame in read_frames(path))
        assert found == good[: len(found)]


def test_interlaced_video_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = h264(tmp_path / "a.mp4", **{"x264-params": "tff=1:threads=1"})
    for _ in range(2):
        seen(path)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "a.mp4: is interlaced" in record.message
    assert "bwdif" in record.message


DAMAGE = {
    "mp4": lambda at: h264(at / "a.mp4"),
    "hevc.mp4": lambda at: h265(at / "a.mp4"),
    "mkv": lambda at: h264(at / "a.mkv"),
    "avi": lambda at: coded(at / "a.avi", codec="mpeg4", bf="2"),
    "vp9.webm": lambda at: coded(at / "a.webm", codec="libvpx-vp9"),
    "slices.mp4": lambda at: h264(at / "a.mp4", **{"x264-params": "slices=4:threads=1"}),
}

OUTCOME = """
import hashlib, sys
from gaitext.errors import VideoError
from gaitext.video import read_frames
for path in sys.argv[1:]:
    said, frames = "", hashlib.sha256()
    try:
        for index, frame in read_frames(path):
            frames.update(frame.tobytes())
    except VideoError as error:
        said = str(error)
    print(frames.hexdigest(), repr(said))
"""


def damaged(folder: Path) -> Iterator[Path]:
    for name, make in DAMAGE.items():
        try:
            whole = make(folder)
        except pytest.skip.Exception:
            continue
        content = whole.read_bytes()
        rng = np.random.default_rng(len(name))
        for kind in ("whole", "cut", "noise", "bytes", "zeros"):
            data = bytearray(content)
            at = len(data) * 6 // 10
            if kind == "cut":
                del data[at:]
            elif kind == "noise":
                data[at : at + 400] = rng.bytes(400)
            elif kind == "zeros":
                data[at : at + 400] = bytes(400)
            elif kind == "bytes":
                for place in rng.integers(len(data) // 3, len(data) - 1, 30):
                    data[place] ^= 0x5A
            path = folder / f"{kind}.{name}"
            path.write_bytes(data)
            yield path


def test_what_is_decoded_does_not_depend_on_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = list(damaged(tmp_path))
    environment = {key: value for key, value in os.environ.items() if "NUM_THREADS" not in key}
    answers = set()
    for more in ({}, {"OMP_NUM_THREADS": "4"}):  # as a user's process has it from the beginning
        command = [sys.executable, "-c", OUTCOME, *map(str, paths)]
        answers.add(subprocess.run(command, capture_output=True, text=True, check=True, env=environment | more).stdout)
    for threads in ("0", "1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        monkeypatch.setattr(sys, "argv", ["", *map(str, paths)])
        capsys.readouterr()
        exec(OUTCOME, {})
        answers.add(capsys.readouterr().out)
    (answer,) = answers
    said = [line.split(" ", 1)[1] for line in answer.splitlines()]
    assert len(said) == len(paths)
    for path, what in zip(paths, said):
        kind = path.name.split(".")[0]
        if kind in ("whole", "cut"):  # other bytes may be a picture, too: nothing sums them up
            assert (what == "''") == (kind == "whole"), (path, what)


def test_the_decoder_has_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with video._open(h264(tmp_path / "a.mp4")) as (container, stream):
        next(container.decode(stream))
        assert stream.codec_context.thread_count == 1


def test_times_are_those_of_the_packets(tmp_path: Path) -> None:
    times = [0, 40, 81, 200, 240, 275, 300, 355]
    path = film(tmp_path / "a.mkv", 8, times=times)
    assert [round(1000 * float(time)) for time in frame_times(path) if time is not None] == times
    # Without times of showing, as in an AVI, pictures follow one another in the order of decoding.
    path = h264(tmp_path / "a.avi")
    shown = [float(time) for time in frame_times(path) if time is not None]
    assert np.allclose(np.diff(shown), 0.04)
    assert len(shown) == 40


def test_names_that_are_no_text_and_codecs_that_nobody_knows(tmp_path: Path) -> None:
    content = h264(tmp_path / "a.mp4").read_bytes()
    (tmp_path / "b.mp4").write_bytes(content.replace(b"isom", b"\xff\xffom", 2))
    assert seen(tmp_path / "b.mp4") == list(range(40))
    (tmp_path / "c.mp4").write_bytes(content.replace(b"avc1", b"zzzz"))
    with pytest.raises(VideoError, match=r"c\.mp4: is coded in a way unknown to FFmpeg"):
        probe(tmp_path / "c.mp4")


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    class Stream:
        def __init__(self, disposition: int) -> None:
            self.disposition = disposition

    class Container:
        class streams:
            video: tuple[Any, ...] = (Stream(0x400), Stream(1))

    assert video._stream(Container).disposition == 1


def test_equal_files_give_equal_frames(tmp_path: Path) -> None:
    path = h264(tmp_path / "a.mp4")
    one, two = (hashlib.sha256(b"".join(frame.tobytes() for _, frame in read_frames(path))).digest() for _ in "12")
    assert one == two
