"""Correcting video, and crops inside the extraction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from gaitext import pose
from gaitext.errors import CheckpointError, ConfigError
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources, read_boxes
from gaitext.extraction.crops import crop_images
from gaitext.geometry import crop_boxes
from gaitext.making import Records
from gaitext.models import FBCNN
from gaitext.restoration import (
    ApplySettings,
    CorrectionConfig,
    correct_dataset,
    correct_frames,
    correction_of_crops,
    load_corrector,
)
from gaitext.store import read_sequence
from gaitext.video import frame_times, probe, read_frames
from gaitext.video.sources import find_videos
from tests.restoration.clips import film, number


def checkpoint(path, *, changed: bool = False):
    """A corrector that changes nothing, or makes everything darker."""
    torch.manual_seed(0)
    network = FBCNN(channels=(4, 5), blocks=1, embedding_size=3).start_as_identity(0.5)
    if changed:
        with torch.no_grad():
            network.tail.weight *= 0.5
    config = CorrectionConfig.parse(
        {
            "estimator": "movenet:lightning",
            "data": {"degraded": "a", "truth": "b", "cache": "c"},
            "model": {"channels": [4, 5], "blocks": 1, "embedding_size": 3},
        },
        where="test",
    )
    own = {"kind": "corrector", "config": config.model_dump(mode="json")}
    torch.save({"model": network.state_dict(), "gaitext": own}, path)
    return path


@pytest.fixture
def identity(tmp_path):
    return checkpoint(tmp_path / "identity.pt")


def test_every_frame_comes_back_in_order_and_at_its_time(identity, tmp_path):
    times = [0, 40, 95, 120, 200, 240, 275, 300, 340, 400, 420]
    film(tmp_path / "a.mp4", 11, times=times)
    report = correct_dataset(find_videos(tmp_path / "a.mp4"), identity, tmp_path / "out", quiet=True)
    assert not report.failed
    video = tmp_path / "out" / "videos" / "a.mp4"
    assert [number(frame) for _, frame in read_frames(video)] == list(range(11))
    found = [float(t) for t in frame_times(video)]
    assert found == pytest.approx([t / 1000 for t in times], abs=1e-4)
    original, corrected = (np.stack([f for _, f in read_frames(v)]) for v in (tmp_path / "a.mp4", video))
    assert np.abs(original.astype(int) - corrected).mean() < 3  # crf 10


def test_pictures_lose_nothing(identity, tmp_path):
    film(tmp_path / "a.mp4", 5)
    settings = ApplySettings(write="frames", tile=0)
    correct_dataset(find_videos(tmp_path / "a.mp4"), identity, tmp_path / "out", settings, quiet=True)
    for row, frame in read_frames(tmp_path / "a.mp4"):
        with Image.open(tmp_path / "out" / "videos" / "a" / f"{row + 1:06d}.png") as image:
            assert np.array_equal(np.asarray(image), frame)
    assert probe(tmp_path / "out" / "videos" / "a").frames == 5


def test_what_stands_is_kept_until_the_corrector_changes(identity, tmp_path):
    film(tmp_path / "a.mp4", 4)
    sources = find_videos(tmp_path / "a.mp4")
    assert correct_dataset(sources, identity, tmp_path / "out", quiet=True).written == ["a"]
    assert correct_dataset(sources, identity, tmp_path / "out", quiet=True).standing == ["a"]
    darker = checkpoint(tmp_path / "darker.pt", changed=True)
    assert correct_dataset(sources, darker, tmp_path / "out", quiet=True).written == ["a"]
    entry = Records(tmp_path / "out").get("a")
    assert entry["made_with"]["settings"]["corrector"] == load_corrector(darker).settings
    before, after = (
        np.stack([f for _, f in read_frames(v)]).mean() for v in (tmp_path / "a.mp4", tmp_path / "out/videos/a.mp4")
    )
    assert after == pytest.approx(before / 2, abs=3)


def test_other_weights_under_the_same_name_are_loaded_anew(identity, tmp_path):
    film(tmp_path / "a.mp4", 4)
    sources = find_videos(tmp_path / "a.mp4")
    assert correct_dataset(sources, identity, tmp_path / "out", quiet=True).written == ["a"]
    before = np.stack([f for _, f in read_frames(tmp_path / "out/videos/a.mp4")]).mean()
    checkpoint(identity, changed=True)
    assert correct_dataset(sources, identity, tmp_path / "out", quiet=True).written == ["a"]
    after = np.stack([f for _, f in read_frames(tmp_path / "out/videos/a.mp4")]).mean()
    assert after == pytest.approx(before / 2, abs=3)


def test_tiles_change_nothing_but_memory(tmp_path):
    torch.manual_seed(1)
    network = FBCNN(channels=(4, 5), blocks=1, embedding_size=3)
    frames = np.random.default_rng(0).integers(0, 256, (2, 80, 96, 3), dtype=np.uint8)
    from gaitext.models import Tiles

    whole = correct_frames(network.fixed(0.5), frames)
    tiled = correct_frames(network.fixed(0.5, tiles=Tiles(64, 48), batch_size=3), frames)
    assert np.abs(whole.astype(int) - tiled).max() <= 1
    with pytest.raises(ConfigError, match="cannot overlap"):
        ApplySettings.parse({"tile": 32, "overlap": 32}, where="apply")


def test_a_video_that_cannot_be_used_leaves_nothing(identity, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    for write in ("video", "frames"):
        out = tmp_path / write
        report = correct_dataset(find_videos(tmp_path / "a.mp4"), identity, out, ApplySettings(write=write), quiet=True)
        assert list(report.failed) == ["a"]
        assert not list((out / "videos").glob("*")) + list((out / "videos").glob(".*"))
    with pytest.raises(CheckpointError):
        correct_dataset(find_videos(tmp_path / "a.mp4"), tmp_path / "none.pt", tmp_path / "out", quiet=True)


def test_extraction_corrects_crops_before_the_estimator_sees_them(world, tmp_path):
    darker = checkpoint(tmp_path / "darker.pt", changed=True)
    video = world.degraded / "videos" / "001/nm-01/090.mp4"
    boxes = world.walkers / "boxes" / "001/nm-01/090.csv"
    sources = find_sources(video, boxes)
    settings = ExtractSettings(min_score=0, min_frames=1)

    def correction():
        return correction_of_crops(darker, "cpu")

    report = extract_dataset(
        sources, "movenet:lightning", tmp_path / "out", settings, correction=correction, quiet=True
    )
    assert len(report.written) == 1
    leaf = tmp_path / "out" / "sequences" / report.written[0]
    maps = read_sequence(leaf / "0_heatmaps.pkl")
    (track,) = read_boxes(boxes).values()
    crops = crop_boxes(track.boxes)
    network = load_corrector(darker).network
    estimator = pose.load_estimator("movenet:lightning", device="cpu")
    for row, frame in read_frames(video):
        seen = network(crop_images(frame, crops[row : row + 1]), 0.5)
        assert np.allclose(maps[row], estimator.heatmaps(seen)[0].half().numpy(), atol=2e-3)
    entry = Records(tmp_path / "out").get(report.written[0])
    assert entry["made_with"]["corrector"] == load_corrector(darker).settings
    assert not list(tmp_path.glob("out/**/*.mp4")) + list(tmp_path.glob("out/**/*.png"))
    again = extract_dataset(sources, "movenet:lightning", tmp_path / "out", settings, correction=correction, quiet=True)
    assert len(again.standing) == 1
    # Without the corrector it is another result, and made again.
    plain = extract_dataset(sources, "movenet:lightning", tmp_path / "out", settings, quiet=True)
    assert len(plain.written) == 1
    assert "corrector" not in Records(tmp_path / "out").get(report.written[0])["made_with"]


def test_the_command_line_trains_applies_and_extracts(world, tmp_path):
    from typer.testing import CliRunner

    from gaitext.cli import app

    config = tmp_path / "c.yaml"
    config.write_text(
        f"""
estimator: movenet:lightning
data:
  degraded: {world.degraded}
  truth: {world.walkers}
  split: {world.split}
  cache: {tmp_path}/cache
  crops: {{window: [120, 180], window_for: 240}}
model: {{channels: [4, 4], blocks: 1, embedding_size: 3}}
trainer: {{iterations: 1, batch_size: 2, validation_frames: 2}}
""",
        encoding="utf-8",
    )
    runner, out = CliRunner(), str(tmp_path / "run")
    train = runner.invoke(app, ["correct", "train", str(config), "--output", out, "-q", "--device", "cpu"])
    assert train.exit_code == 0, train.output
    assert "best: AP" in train.output
    best = str(tmp_path / "run" / "correction" / "best.pt")
    video = str(world.degraded / "videos" / "001/nm-01/090.mp4")
    apply = runner.invoke(app, ["correct", "apply", best, video, "--out", str(tmp_path / "fixed"), "-q"])
    assert apply.exit_code == 0, apply.output
    assert (tmp_path / "fixed" / "videos" / "090.mp4").is_file()
    boxes = str(world.walkers / "boxes" / "001/nm-01/090.csv")
    options = ["--boxes", boxes, "--estimator", "movenet:lightning", "--min-score", "0", "--min-frames", "1", "-q"]
    extract = runner.invoke(app, ["extract", video, *options, "--out", str(tmp_path / "x"), "--correct", best])
    assert extract.exit_code == 0, extract.output
