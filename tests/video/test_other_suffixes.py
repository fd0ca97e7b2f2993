"""Files passed over by their suffix: what decodes is used, what is not is named."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.extraction import find_sources
from gaitext.extraction.prepare.items import find_own
from gaitext.video import VIDEO_SUFFIXES, is_video
from gaitext.video.sources import find_videos
from tests.restoration.clips import film, numbered

pytest.importorskip("av")
images = pytest.importorskip("PIL.Image")

KNOWN = ".h264 .264 .h265 .265 .hevc .dav .m2ts .m2v .ogv .vob .asf .divx".split()  # noqa: SIM905


def named(caplog: pytest.LogCaptureFixture) -> str:
    found = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    return "\n".join(found)


def test_usual_suffixes_are_known_without_opening() -> None:
    assert set(KNOWN) <= VIDEO_SUFFIXES


def test_a_tree_takes_what_decodes_and_names_the_rest(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = film(tmp_path / "raw.h264", 3).read_bytes()
    for place, content in {
        "001/nm-01/000.mp4": film(tmp_path / "a.mp4", 3).read_bytes(),
        "001/nm-02/000.h264": raw,
        "001/nm-03/000.dav": raw,
        "001/nm-04/000.hik4": raw,
        "001/nm-05/000": None,
        "001/nm-05/000/recording.xyz": raw,
        "001/nm-06/000.none": b"no video",
        "001/nm-06/000.csv": b"1,1,0,0,5,5",
        "001/nm-06/notes.docx": b"words",
        "001/nm-06/.hidden": b"x",
        "001/readme.rtf": b"{\\rtf}",
    }.items():
        path = tmp_path / "tree" / place
        if content is None:
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    sources = find_videos(tmp_path / "tree")
    assert [source.name for source in sources] == [f"001/nm-0{number}/000" for number in range(1, 6)]
    assert [source.path.name for source in sources][-1] == "recording.xyz"
    said = named(caplog)
    assert said.count("passed over") == 1
    for name in ("001/nm-06/000.none", "001/nm-06/notes.docx", "001/readme.rtf"):
        assert name in said
    assert "csv" not in said
    assert "hidden" not in said
    assert [source.path for source in find_sources(tmp_path / "tree")] == [source.path for source in sources]


def test_what_stands_beside_a_video_of_its_name_is_no_twin(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "tree/001/nm-01"
    folder.mkdir(parents=True)
    film(folder / "000.mp4", 3)
    (folder / "000.thumb").write_bytes(film(tmp_path / "raw.h264", 3).read_bytes())
    pictures = folder / "090"
    pictures.mkdir()
    images.fromarray(numbered(0)).save(pictures / "1.png")
    (pictures / "preview.anim").write_bytes((tmp_path / "raw.h264").read_bytes())
    assert [source.name for source in find_videos(tmp_path / "tree")] == ["001/nm-01/000", "001/nm-01/090"]
    assert "000.thumb" in named(caplog)
    assert "preview.anim" in named(caplog)


def test_text_and_pictures_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.nfo").write_text("some text\n" * 200)
    (tmp_path / "b").write_text("#EXTM3U\n/etc/passwd\n")
    (tmp_path / "c").write_text("ffconcat version 1.0\nfile a.mp4\n")
    images.fromarray(numbered(0)).save(tmp_path / "d.png")
    (tmp_path / "d.png").rename(tmp_path / "d")
    film(tmp_path / "e.mp4", 3).rename(tmp_path / "e")
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_video(path)] == ["e"]


def test_own_clips_of_any_suffix(tmp_path: Path) -> None:
    raw = film(tmp_path / "raw.h264", 3).read_bytes()
    own = tmp_path / "own"
    own.mkdir()
    for name, content in {"a_nm-01_000.dav": raw, "b_nm-01_000.cam": raw, "c_nm-01_000.cam": b"none"}.items():
        (own / name).write_bytes(content)
    (own / "boxes.csv").write_text("")
    found = find_own(own)
    assert [clip.name for clip in found.clips] == ["a/nm-01/000", "b/nm-01/000"]
    assert found.left_out == {str(own / "c_nm-01_000.cam"): "is no video that decodes"}


def test_the_command_names_what_it_passes_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "tree/001/nm-01"
    folder.mkdir(parents=True)
    film(folder / "000.h264", 3)
    (folder / "090.cam").write_bytes(b"no video")
    done = CliRunner().invoke(app, ["degrade", str(tmp_path / "tree"), "--out", str(tmp_path / "out"), "-q"])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out/videos/001/nm-01/000.mp4").is_file()
    assert "001/nm-01/090.cam" in named(caplog)
