"""One video, or frames in memory, degraded: every frame in its place, and every odd kind of video."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, ShapeError, VideoError
from gaitext.restoration import DegradeSettings, degrade_frames, degrade_video
from gaitext.video import frame_times, probe, read_frames, read_timed, write_video
from tests.restoration.clips import film, number, numbered

av = pytest.importorskip("av")


def frames_of(path: Path) -> np.ndarray:
    return np.stack([frame for _, frame in read_frames(path)])


def test_every_frame_comes_back_in_order_and_at_its_time(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 60)
    seen: list[tuple[int, int | None]] = []
    done = degrade_video(source, tmp_path / "b.mp4", progress=lambda *step: seen.append(step))
    result = frames_of(tmp_path / "b.mp4")
    assert [number(frame) for frame in result] == list(range(60))
    assert list(frame_times(tmp_path / "b.mp4")) == [Fraction(i, 25) for i in range(60)]
    assert done.frames == list(range(1, 61))
    assert (done.size, done.original_size, done.notes) == ((96, 64), (96, 64), [])
    assert seen == [(i, 60) for i in range(1, 61)]
    # It is as bad as it should be.
    original = frames_of(source).astype(int)
    loss = np.abs(result - original).mean()
    assert loss > 3
    degrade_video(source, tmp_path / "c.mp4", DegradeSettings(crf=20))
    assert np.abs(frames_of(tmp_path / "c.mp4") - original).mean() < loss / 2


@pytest.mark.parametrize("options", [{}, {"crf": 51}, {"bitrate": "20k"}, {"preset": "ultrafast", "gop": 5}])
def test_in_memory_equals_by_file(tmp_path: Path, options: dict) -> None:
    source = tmp_path / "a.mp4"
    write_video(source, (numbered(i) for i in range(30)), crf=10)
    degrade_video(source, tmp_path / "b.mp4", DegradeSettings(**options))
    expected = frames_of(tmp_path / "b.mp4")
    np.testing.assert_array_equal(degrade_frames(frames_of(source), **options), expected)
    other = degrade_frames(frames_of(source), crf=30)
    assert (other != expected).any()


def test_the_settings_reach_the_encoder(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    write_video(source, (numbered(i) for i in range(40)), crf=10)
    degrade_video(source, tmp_path / "b.mp4", DegradeSettings(gop=8))
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size) == 5
    content = (tmp_path / "b.mp4").read_bytes()
    assert b"crf=45.0" in content
    assert b" threads=1 " in content
    degrade_video(source, tmp_path / "c.mp4", DegradeSettings(bitrate="30k", preset="veryfast"))
    content = (tmp_path / "c.mp4").read_bytes()
    assert b"rc=abr" in content
    assert b"bitrate=30 " in content
    assert b"subme=2" in content


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 12), st.integers(16, 40), st.integers(16, 40), st.sampled_from([None, 1, 3]))
def test_any_size_and_length_keeps_its_shape(count: int, height: int, width: int, gop: int | None) -> None:
    frames = np.stack([numbered(i, height, width) for i in range(count)])
    result = degrade_frames(frames, crf=12, gop=gop)
    assert result.shape == frames.shape
    errors = np.abs(result[:, None].astype(int) - frames[None]).mean((2, 3, 4))
    assert errors.argmin(1).tolist() == list(range(count))


def test_variable_frame_rate_keeps_its_times(tmp_path: Path) -> None:
    times = np.cumsum([0, 33, 34, 33, 200, 10, 33, 33, 500, 33]).tolist()
    for suffix in ("mkv", "mp4"):
        source = film(tmp_path / f"a.{suffix}", len(times), times=times)
        done = degrade_video(source, tmp_path / "b.mp4")
        assert [number(frame) for frame in frames_of(tmp_path / "b.mp4")] == list(range(len(times)))
        shown = list(frame_times(tmp_path / "b.mp4"))
        assert [float(t) * 1000 for t in shown if t is not None] == pytest.approx(times, abs=0.6)
        assert done.notes == []


def test_times_that_do_not_rise_are_made_even(tmp_path: Path) -> None:
    from gaitext.restoration.degrade import _Clock
    from gaitext.video import VideoInfo

    clock = _Clock(VideoInfo(4, 4, 10.0, None, rate=Fraction(10), time_base=Fraction(1, 100)))
    seconds = [Fraction(0), Fraction(1, 10), Fraction(1, 10), None, Fraction(1, 2)]
    ticks = [tick for tick, _ in clock.timed((s, np.zeros(1, np.uint8)) for s in seconds)]
    assert ticks == [9000 * frame for frame in (0, 1, 2, 3, 5)]
    assert "do not rise" in clock.note


def test_a_raw_stream_has_no_times(tmp_path: Path) -> None:
    source = film(tmp_path / "a.h264", 20)
    done = degrade_video(source, tmp_path / "b.mp4")
    assert "times are missing" in done.notes[0]
    assert [number(frame) for frame in frames_of(tmp_path / "b.mp4")] == list(range(20))


@pytest.mark.parametrize(
    ("name", "options", "note"),
    [
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv420p10le"}, "10 bits"),
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuva420p"}, "transparency"),
        ("a.mp4", {"audio": True}, "sound"),
        ("a.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p", "size": (65, 97)}, "97×65 is odd"),
    ],
)
def test_other_kinds_of_video(tmp_path: Path, name: str, options: dict, note: str) -> None:
    source = film(tmp_path / name, 12, **options)
    done = degrade_video(source, tmp_path / "b.mp4")
    assert len(done.notes) == 1
    assert note in done.notes[0]
    assert [number(frame) for frame in frames_of(tmp_path / "b.mp4")] == list(range(12))
    info = probe(tmp_path / "b.mp4")
    assert (info.audio, info.bits, info.alpha) == (False, 8, False)
    assert (info.width, info.height) == ((98, 66) if "size" in options else (96, 64))


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    folder = tmp_path / "frames"
    folder.mkdir()
    for index in range(12):
        alpha = np.full((64, 96, 1), 128, np.uint8)
        images.fromarray(np.concatenate((numbered(index), alpha), 2)).save(folder / f"{index + 1}.png")
    degrade_video(folder, tmp_path / "b.mp4")
    assert [number(frame) for frame in frames_of(tmp_path / "b.mp4")] == list(range(12))
    assert probe(tmp_path / "b.mp4").fps == 25
    images.fromarray(numbered(0, 48, 40)).save(folder / "13.png")
    with pytest.raises(VideoError, match="frame 13 is 40×48, the first was 96×64"):
        degrade_video(folder, tmp_path / "c.mp4", DegradeSettings(resolution="32x32"))
    assert not (tmp_path / "c.mp4").exists()


def test_fewer_pixels(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 10, size=(120, 160))
    done = degrade_video(source, tmp_path / "b.mp4", DegradeSettings(resolution="60p", crf=20))
    assert (done.original_size, done.size) == ((160, 120), (80, 60))
    result = frames_of(tmp_path / "b.mp4")
    assert result.shape == (10, 60, 80, 3)
    averaged = frames_of(source).reshape(10, 60, 2, 80, 2, 3).mean((2, 4))
    assert np.abs(result - averaged).mean() < 12
    assert degrade_frames(frames_of(source), resolution=(64, 48)).shape == (10, 48, 64, 3)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.sampled_from([5, 10, 24, 25, 30]), st.sampled_from([1, 4, 7.5, 10, 12.5, 25, 60]))
def test_fewer_frames_are_spread_evenly(count: int, rate: int, wanted: float) -> None:
    from gaitext.restoration.degrade import Degraded, _Clock, _prepared
    from gaitext.video import VideoInfo

    clock = _Clock(VideoInfo(16, 16, rate, None, rate=Fraction(rate), time_base=Fraction(1, 1000)))
    frames = ((Fraction(round(1000 * i / rate), 1000), np.zeros((16, 16, 3), np.uint8)) for i in range(count))
    done = Degraded()
    list(_prepared(clock.timed(frames), clock.rate, DegradeSettings(fps=wanted), done))
    kept = done.frames
    assert kept[0] == 1
    if wanted >= rate:
        assert kept == list(range(1, count + 1))
        return
    # k wanted frames' times fit into the clip, and every gap is that long, to a source frame.
    assert abs(len(kept) - count * wanted / rate) < 1.2
    gaps = np.diff(kept) / rate
    assert (np.abs(gaps - 1 / wanted) < 1 / rate + 1e-9).all()


def test_thinned_frames_keep_their_times(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mp4", 20)
    done = degrade_video(source, tmp_path / "b.mp4", DegradeSettings(fps=12.5))
    assert done.frames == list(range(1, 21, 2))
    timed = list(read_timed(tmp_path / "b.mp4"))
    assert [number(frame) for _, frame in timed] == list(range(0, 20, 2))
    assert [time for time, _ in timed] == [Fraction(2 * i, 25) for i in range(10)]


def test_bad_videos_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out" / "b.mp4"
    with pytest.raises(VideoError, match="no video stream"):
        degrade_video(film(tmp_path / "sound.mp4", video=False), target)
    with pytest.raises(VideoError, match="no such file"):
        degrade_video(tmp_path / "none.mp4", target)
    whole = film(tmp_path / "a.mp4", 60).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"cut\.mp4"):
        degrade_video(tmp_path / "cut.mp4", target)
    write_video(tmp_path / "good.mkv", (numbered(i) for i in range(60)), crf=10)
    whole = (tmp_path / "good.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(VideoError, match=r"cut\.mkv.*(frame|after) \d+"):
        degrade_video(tmp_path / "cut.mkv", target)
    (tmp_path / "empty").mkdir()
    with pytest.raises(VideoError, match="no pictures"):
        degrade_video(tmp_path / "empty", target)
    assert not target.parent.exists() or list(target.parent.iterdir()) == []


def test_a_video_without_frames(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        out.start_encoding()
    with pytest.raises(VideoError, match=r"no frame that decodes|cannot be opened"):
        degrade_video(tmp_path / "a.mkv", tmp_path / "b.mp4")


def test_frames_that_are_lost_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import gaitext.restoration.degrade as module

    source = film(tmp_path / "a.mp4", 12)
    encode = module.encode

    def losing(target, frames, **options):
        return encode(target, (f for i, f in enumerate(frames) if i != 5), **options)

    def shifting(target, frames, **options):
        return encode(target, ((t + (t > 3), f) for t, f in frames), **options)

    for spoiled, message in ((losing, "12 frames were encoded, 11"), (shifting, "another time")):
        monkeypatch.setattr(module, "encode", spoiled)
        with pytest.raises(VideoError, match=message):
            degrade_video(source, tmp_path / "b.mp4")
        assert not (tmp_path / "b.mp4").exists()


def test_settings_that_are_refused() -> None:
    for wrong, message in [
        ({"crf": 52}, "crf"),
        ({"crf": 30, "bitrate": "10k"}, "give one"),
        ({"bitrate": "fast"}, "write 200k"),
        ({"resolution": "641x360"}, "641 is not even"),
        ({"resolution": "big"}, "640x360"),
        ({"preset": "fastest"}, "preset"),
        ({"cfr": 45}, "crf"),
    ]:
        with pytest.raises(ConfigError, match=message):
            DegradeSettings.parse(wrong, where="degrade")
    assert DegradeSettings(bitrate="1.5M").bitrate == 1_500_000
    assert DegradeSettings(resolution="640x360").size(10, 10) == (640, 360)
    assert DegradeSettings(resolution=240).size(640, 480) == (320, 240)
    with pytest.raises(ShapeError, match=r"float64 \[2, 3\]"):
        degrade_frames(np.zeros((2, 3)))
    with pytest.raises(ShapeError, match=r"\[0, 4, 4, 3\]"):
        degrade_frames(np.zeros((0, 4, 4, 3), np.uint8))


def test_the_result_is_the_same_every_time_and_for_any_number_of_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = film(tmp_path / "a.mp4", 20)
    results = set()
    for threads in ("1", "4") * 4:
        monkeypatch.setenv("OMP_NUM_THREADS", threads)
        degrade_video(source, tmp_path / "b.mp4")
        results.add((tmp_path / "b.mp4").read_bytes())
    assert len(results) == 1
