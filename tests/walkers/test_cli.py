"""`gaitext walkers`: what its options choose."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from gaitext.cli import app
from gaitext.errors import ConfigError

FEW = ["--identities", "2", "--types", "nm-01", "--views", "090", "--frames", "3", "-q"]


def walkers(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["walkers", *map(str, arguments)], catch_exceptions=True)


def settings(out: Path) -> dict[str, object]:
    return json.loads((out / "walkers.json").read_text())["settings"]


def test_content_and_video(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text("camera: {width: 64, height: 48, focal: 64.0}\nvideo: {preset: ultrafast}\n")
    out = tmp_path / "out"
    result = walkers(out, *FEW, "--config", config, "--content", "keypoints, silhouettes", "--video", "--crf", 30)
    assert result.exit_code == 0, result.output
    assert f"videos: {out / 'videos'}" in result.output
    assert settings(out)["content"] == ["silhouettes", "keypoints", "video"]
    assert settings(out)["video"] == {"crf": 30.0, "preset": "ultrafast"}
    files = sorted(str(file.relative_to(out)) for file in out.glob("*/001/**/*") if file.is_file())
    leaf = "001/nm-01/090"
    assert files == [
        f"boxes/{leaf}.csv",
        f"sequences/{leaf}/4_silhouettes.pkl",
        f"sequences/{leaf}/5_keypoints.pkl",
        f"videos/{leaf}.mp4",
    ]


def test_video_adds_to_the_default(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert walkers(out, *FEW, "--video").exit_code == 0
    assert settings(out)["content"] == ["heatmaps", "poses", "poses_frame", "boxes", "video"]


def test_video_alone_names_no_dataset_root(tmp_path: Path) -> None:
    result = walkers(tmp_path / "out", *FEW, "--content", "video")
    assert result.exit_code == 0
    assert "dataset_root" not in result.output


@pytest.mark.parametrize("content", ["videos", "", "heatmaps,pixels"])
def test_unknown_content_is_refused(tmp_path: Path, content: str) -> None:
    result = walkers(tmp_path / "out", *FEW, "--content", content)
    assert isinstance(result.exception, ConfigError)
    assert "content" in str(result.exception)
    assert not (tmp_path / "out").exists()
