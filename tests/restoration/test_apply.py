"""Correcting video, and crops inside the extraction."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from gaitext import pose
from gaitext.errors import CheckpointError, ConfigError
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources, read_boxes
from gaitext.extraction.crops import crop_images
from gaitext.geometry import crop_boxes
from gaitext.inspect.show import show
from gaitext.inspect.show_settings import ShowSettings
from gaitext.making import Records
from gaitext.models import FBCNN
from gaitext.restoration import (
    ApplyReport,
    ApplySettings,
    CorrectionConfig,
    appearance,
    correct_dataset,
    correct_frames,
    correction_of_crops,
    load_correction,
    load_corrector,
)
from gaitext.restoration.appearance import Finished, write_preview
from gaitext.store import read_sequence
from gaitext.video import frame_times, probe, read_frames, write_video
from gaitext.video.sources import find_videos
from tests.inspect.data import boxes, make_leaf, make_record
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


def test_how_far_pictures_are_from_their_input_is_said_of_all_videos(tmp_path):
    darker, tree = checkpoint(tmp_path / "darker.pt", changed=True), tmp_path / "tree/001/nm-01"
    tree.mkdir(parents=True)
    film(tree / "000.mp4", 5)
    film(tree / "090.mp4", 3, size=(48, 64))
    sources = find_videos(tmp_path / "tree")
    squared, absolute, values = [], [], []
    settings = ApplySettings(write="frames", tile=0, batch_size=2)
    report = correct_dataset(sources, darker, tmp_path / "out", settings, quiet=True)
    for source in sources:
        for row, frame in read_frames(source.path):
            with Image.open(tmp_path / f"out/videos/{source.name}/{row + 1:06d}.png") as image:
                apart = np.asarray(image, np.float64) - frame
            squared.append(np.square(apart).sum())
            absolute.append(np.abs(apart).sum())
            values.append(apart.size)
    psnr, mean = 10 * math.log10(255**2 / (sum(squared) / sum(values))), sum(absolute) / sum(values)
    assert (report.change.psnr, report.change.mean) == pytest.approx((psnr, mean), rel=1e-12)
    said = f"against their input, not an original: PSNR {psnr:.2f} dB, mean absolute difference {mean:.2f} grey levels"
    assert 5 < psnr < 15
    assert said in str(report)
    entry = Records(tmp_path / "out").get("001/nm-01/000")["change"]
    assert entry["psnr"] == round(10 * math.log10(255**2 * sum(values[:5]) / sum(squared[:5])), 3)
    assert entry["mean"] == round(sum(absolute[:5]) / sum(values[:5]), 4)
    # One more video: what stands counts, and how many go through at a time changes nothing.
    film(tree / "180.mp4", 4)
    sources = find_videos(tmp_path / "tree")
    more = correct_dataset(sources, darker, tmp_path / "out", settings, quiet=True)
    assert (len(more.written), len(more.standing)) == (1, 2)
    again = correct_dataset(
        sources, darker, tmp_path / "again", settings.model_copy(update={"batch_size": 3}), quiet=True, workers=2
    )
    assert more.change == again.change != report.change


def test_what_goes_through_as_it_is_is_unchanged(identity, tmp_path):
    film(tmp_path / "a.mp4", 3)
    sources, settings = find_videos(tmp_path / "a.mp4"), ApplySettings(tile=0)
    report = correct_dataset(sources, identity, tmp_path / "out", settings, quiet=True)
    assert "not an original: unchanged" in str(report)  # whatever is lost when it is compressed again
    assert report.change.psnr == math.inf
    record = tmp_path / "out/records/a.json"
    entry = json.loads(record.read_text())
    assert (entry["change"]["psnr"], entry["change"]["mean"]) == (None, 0)
    # A record of an earlier version.
    del entry["change"]
    record.write_text(json.dumps(entry))
    report = correct_dataset(sources, identity, tmp_path / "out", settings, quiet=True)
    assert report.standing == ["a"]
    assert "is not known: an earlier gaitext has corrected it: a" in str(report)
    assert "unchanged" not in str(report)


def test_a_preview_shows_frames_before_and_after(tmp_path):
    darker, tree = checkpoint(tmp_path / "darker.pt", changed=True), tmp_path / "tree/001/nm-01"
    tree.mkdir(parents=True)
    film(tree / "000.mp4", 6)
    film(tree / "090.mp4", 2)
    (tree / "180.mp4").write_bytes(b"nothing")
    sources, settings = find_videos(tmp_path / "tree"), ApplySettings(write="frames")
    report = correct_dataset(sources, darker, tmp_path / "out", settings, quiet=True)
    assert report.preview is None
    settings = ApplySettings(write="frames", preview=True)
    report = correct_dataset(sources, darker, tmp_path / "out", settings, quiet=True)
    assert (len(report.standing), len(report.failed)) == (2, 1)  # a preview alone makes nothing again
    assert report.preview == tmp_path / "out/preview.png"
    assert f"before and after: {report.preview}" in str(report)
    with Image.open(report.preview) as image:
        picture = np.asarray(image)
    # Of 8 frames the 2nd, 4th, 6th and 8th, each under a line of text, with a little room below; enlarged twice.
    shown = [("000", 1), ("000", 3), ("000", 5), ("090", 1)]
    height, width = 2 * 64, 2 * 96
    rows = np.split(picture, 4)
    gains = []
    for row, (video, frame) in zip(rows, shown):
        before = dict(read_frames(tree / f"{video}.mp4"))[frame].repeat(2, 0).repeat(2, 1)
        with Image.open(tmp_path / f"out/videos/001/nm-01/{video}/{frame + 1:06d}.png") as image:
            after = np.asarray(image).repeat(2, 0).repeat(2, 1)
        tiles = row[22 : 22 + height].transpose(1, 0, 2)
        one, two, three = (tiles[k * (width + 4) : k * (width + 4) + width].transpose(1, 0, 2) for k in range(3))
        below = slice(30, None)  # the names are written above
        assert np.array_equal(one[below], before[below])
        assert np.array_equal(two[below], after[below])
        apart = np.abs(before.astype(int) - after)[below]
        gains.append(three[below].sum() / apart.sum())
        assert np.array_equal(three[below], (apart * round(gains[-1])).clip(0, 255))
        assert (row[:22] > 200).any()
    assert len(set(gains)) == 1


def test_of_a_large_frame_the_part_is_shown_whose_change_varies_most(tmp_path):
    rng = np.random.default_rng(0)
    before = rng.integers(0, 200, (500, 700, 3), dtype=np.uint8)
    after = before + 1  # of all pixels together that is more than of those few
    after[410:440, 600:640] += 10
    for name, frame in (("before", before), ("after", after)):
        (tmp_path / name).mkdir()
        Image.fromarray(frame).save(tmp_path / name / "000001.png")
    path = write_preview([Finished("a", tmp_path / "before", tmp_path / "after", 1)], tmp_path / "p.png")
    with Image.open(path) as image:
        picture = np.asarray(image)
    assert picture.shape == (22 + 360 + 4, 3 * (480 + 4), 3)
    one, two = rng.integers(0, 256, (2, 9, 11, 3), dtype=np.uint8)
    change = two.astype(float) - one
    varies = {(y, x): change[y : y + 4, x : x + 5].var((0, 1)).sum() for y in range(6) for x in range(7)}
    assert appearance._most_changed(one, two, 4, 5) == max(varies, key=varies.__getitem__)
    difference = picture[22 + 30 : 22 + 360, 2 * 484 : 2 * 484 + 480]
    assert difference[difference > 16].size == 30 * 40 * 3
    assert set(np.unique(difference)) == {16, 11 * 16}


def test_without_a_result_there_is_no_preview(identity, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    report = correct_dataset(
        find_videos(tmp_path / "a.mp4"), identity, tmp_path / "out", ApplySettings(preview=True), quiet=True
    )
    assert isinstance(report, ApplyReport)
    assert report.preview is None
    assert not (tmp_path / "out/preview.png").exists()
    assert "against their input" not in str(report)


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
    apply = runner.invoke(app, ["correct", "apply", best, video, "--out", str(tmp_path / "fixed"), "-q", "--preview"])
    assert apply.exit_code == 0, apply.output
    assert "corrected pictures against their input, not an original: PSNR" in apply.output
    assert f"before and after: {tmp_path / 'fixed' / 'preview.png'}" in apply.output
    assert (tmp_path / "fixed" / "videos" / "090.mp4").is_file()
    boxes = str(world.walkers / "boxes" / "001/nm-01/090.csv")
    options = ["--boxes", boxes, "--estimator", "movenet:lightning", "--min-score", "0", "--min-frames", "1", "-q"]
    extract = runner.invoke(app, ["extract", video, *options, "--out", str(tmp_path / "x"), "--correct", best])
    assert extract.exit_code == 0, extract.output


def test_corrected_frames_are_shown(tmp_path):
    """The second row's picture is what the corrector makes of the estimator's input."""
    darker, video = checkpoint(tmp_path / "darker.pt", changed=True), tmp_path / "walk.mp4"
    noise = np.random.default_rng(1).integers(60, 255, (20, 26, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    write_video(video, [noise] * 3, crf=1)
    leaf = make_leaf(tmp_path, "7/nm-01/090", 3)
    make_record(tmp_path, "7/nm-01/090", video, "1-3", 3)
    shown = show(
        leaf,
        tmp_path / "a.png",
        ShowSettings(what=("rgb", "heatmap"), frames=1),
        correction=load_correction(darker, "cpu"),
        estimator="movenet:lightning",
    )
    assert (shown.rows, shown.columns) == (2, ["RGB", "heatmap"])
    ((_, frame),) = read_frames(video, frozenset({1}))
    crop = crop_images(frame, boxes(3)[1:2].astype(np.float32))
    with torch.inference_mode():
        after = load_corrector(darker).fixed()(crop)
    picture = np.asarray(Image.open(shown.path))
    for images, top in ((crop, 0), (after, 262)):
        tile = (images[0].clamp(0, 1).permute(1, 2, 0) * 255).round().byte().numpy()
        places = [
            (y, x)
            for y in range(top, top + 60)
            for x in range(picture.shape[1] - 192)
            if np.array_equal(picture[y, x : x + 192], tile[0])
        ]
        assert len(places) == 1
        y, x = places[0]
        np.testing.assert_array_equal(picture[y : y + 256, x : x + 192], tile)
    assert (crop - after).abs().mean() > 0.05
