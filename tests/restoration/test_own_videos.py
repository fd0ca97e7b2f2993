"""One's own video without labels: who is found in it, what it teaches, alone and beside labelled crops."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import ConfigError, DataError
from gaitext.restoration import load_corrector, train_correction
from gaitext.restoration.crop_data import CropData
from gaitext.restoration.fit import chosen_by
from gaitext.restoration.own_videos import held_out, own_sources
from gaitext.restoration.settings import CorrectionConfig
from gaitext.restoration.train import prepare_correction, read_correction
from gaitext.store import write_leaf
from gaitext.video.sources import find_clips, find_videos


@pytest.fixture(scope="module")
def videos(world, tmp_path_factory) -> Path:
    """Two people's clips, the boxes beside them, so that nobody has to be looked for."""
    root = tmp_path_factory.mktemp("own") / "clips"
    for identity in ("001", "002"):
        place = Path(identity) / "nm-01"
        shutil.copytree(world.walkers / "videos" / place, root / place)
        for boxes in (world.walkers / "boxes" / place).iterdir():
            shutil.copy(boxes, root / place)
    return root


def config(cache: Path, **data: object) -> dict:
    return {
        "estimator": "movenet:lightning",
        "data": {"cache": str(cache), **data},
        "model": {"channels": [6, 8], "blocks": 1, "embedding_size": 5},
        "objective": {"coordinate_weight": 0.0, "distillation_weight": 1.0, "pixel_weight": 0.5},
        "trainer": {
            "iterations": 3,
            "batch_size": 2,
            "lr": 1e-3,
            "log_every": 1,
            "validate_every": 3,
            "validation_frames": 2,
        },
    }


def test_a_flat_folder_and_a_tree_are_both_sources(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert [source.name for source in own_sources(videos)][:2] == ["001/nm-01/045", "001/nm-01/090"]
    flat = tmp_path / "flat"
    flat.mkdir()
    for name in ("b.mp4", "a.mp4", "notes.txt"):
        shutil.copy(videos / "001" / "nm-01" / "045.mp4", flat / name)
    assert [source.name for source in own_sources(flat)] == ["a/video/000", "b/video/000"]
    assert own_sources(flat / "a.mp4")[0].name == "a/video/000"
    assert [clip.place for clip in find_clips(flat)] == [None, None]  # as the restorer and a study's domain take them
    assert find_clips(videos) == find_videos(videos)
    with pytest.raises(DataError, match="lies in the tree of videos"):
        find_clips(flat, flat / "out")
    (flat / "001").mkdir()
    (flat / "clip.bin").write_text("no video")
    caplog.clear()
    assert len(find_clips(flat)) == 2
    assert "001, clip.bin" in caplog.text
    with pytest.raises(DataError, match="no such file"):
        own_sources(tmp_path / "nowhere")


def test_held_out_is_one_in_five() -> None:
    names = [f"{number:02d}" for number in range(20)]
    assert held_out(names) == ["04", "09", "14", "19"]
    assert held_out(["one"]) == ["one"]


def test_it_teaches_alone(videos: Path, tmp_path: Path) -> None:
    run = train_correction(config(tmp_path / "crops", videos=str(videos)), output=tmp_path / "out", quiet=True)
    assert [row["iteration"] for row in run.validations] == [0, 3]
    assert all(row["distillation"] > 0 and row["coordinates"] == 0 for row in run.rows)
    assert load_corrector(run.best).network is not None
    leaves = sorted(path.name for path in (tmp_path / "crops" / "sequences").iterdir())
    assert leaves == ["001-1", "002-1"]
    # What the estimator finds in the originals is what is right there.
    assert run.validations[0]["AP"] > 0


def test_of_a_shared_cache_the_videos_that_are_named_are_taken(videos: Path, tmp_path: Path) -> None:
    given = config(tmp_path / "crops", videos=str(videos))
    made = prepare_correction(given, quiet=True)
    assert {name.split("/")[0] for name in made.leaves} == {"001-1", "002-1"}
    fewer = tmp_path / "fewer"
    shutil.copytree(videos / "001", fewer / "001", copy_function=os.symlink)
    shutil.copytree(videos / "002", fewer / "003", copy_function=os.symlink)
    made = prepare_correction(config(tmp_path / "crops", videos=str(fewer)), quiet=True)
    assert {name.split("/")[0] for name in made.leaves} == {"001-1", "003-1"}


def test_it_teaches_beside_labels(world, videos: Path, tmp_path: Path) -> None:
    labelled = {"degraded": str(world.degraded), "truth": str(world.walkers), "split": str(world.split)}
    mixed = config(tmp_path / "crops", videos=str(videos), crops={"window": [120, 180], "window_for": 240}, **labelled)
    mixed["objective"]["coordinate_weight"] = 1.0
    mixed["trainer"]["videos_share"] = 0.5
    run = train_correction(mixed, output=tmp_path / "out", quiet=True)
    assert any(row["coordinates"] > 0 for row in run.rows)
    assert sorted(path.name for path in (tmp_path / "crops" / "sequences").iterdir()) == [
        "001",
        "001-1",
        "002",
        "002-1",
    ]


def test_shares_of_what_is_drawn(tmp_path: Path) -> None:
    """Unlabelled crops have no weights, come as often as asked for, and the originals are the same frames."""
    generator = np.random.default_rng(0)
    for name, frames in (("a", 30), ("b", 2)):
        better = generator.integers(0, 256, (frames, 3, 8, 6), dtype=np.uint8)
        leaf = {
            "0_degraded": better // 2,
            "1_original": better,
            "2_poses": np.ones((frames, 17, 3), np.float32),
            "3_boxes": np.ones((frames, 4), np.float32),
        }
        write_leaf(tmp_path / "sequences", name, "nm", "000", leaf)
    data = CropData(tmp_path, {"a/nm/000": 30, "b/nm/000": 2}, input_size=(8, 6), unlabelled=("b/nm/000",))
    assert data.is_mixed
    drawn = [data.draw(40, 0, k, bare_share=0.25, mirror=0.5, paired=True) for k in range(50)]
    bare = torch.cat([(batch.weights == 0).all(-1) for batch in drawn])
    assert float(bare.float().mean()) == pytest.approx(0.25, abs=0.03)
    for batch in drawn[:3]:
        assert batch.originals is not None
        assert torch.equal(batch.images, batch.originals // 2)
    parts = [data.draw(5, 3, 7, rank=rank, world=2, bare_share=0.5) for rank in (0, 1)]
    whole = data.draw(5, 3, 7, bare_share=0.5)
    assert torch.equal(whole.images[0::2], parts[0].images)
    assert torch.equal(whole.weights[1::2], parts[1].weights)


def test_what_cannot_teach_is_refused(videos: Path, tmp_path: Path) -> None:
    own = config(tmp_path, videos=str(videos))
    for change, message in (
        ({"objective": {}}, "no labels"),
        ({"mode": "finetune"}, "fine-tuned by"),
        ({"data": {"cache": "c"}}, "truth and degraded, or videos"),
        ({"data": {"cache": "c", "truth": "t", "videos": "v"}}, "belong together"),
        ({"data": {"cache": "c", "videos": "v", "crops": {"correct_at": "native"}}}, "correct_at"),
    ):
        with pytest.raises(ConfigError, match=message):
            CorrectionConfig.parse({**own, **change}, where="config")
    with pytest.raises(ConfigError, match="fine-tuned by"):
        train_correction(own, finetune=True, output=tmp_path / "out")
    with pytest.raises(ConfigError, match="nothing to train by"):
        read_correction(None)
    (tmp_path / "odd.yaml").write_text("data: [1]\n")
    for folder in (None, videos):
        with pytest.raises(ConfigError, match=r"odd\.yaml(.|\n)*data"):
            read_correction(tmp_path / "odd.yaml", folder)


def test_the_command_needs_no_config(videos: Path) -> None:
    config = read_correction(None, videos)
    assert config.data.videos == videos
    assert config.objective.distillation_weight > 0
    result = CliRunner().invoke(app, ["correct", "train"])
    assert result.exit_code != 0


def test_the_best_is_by_both_where_both_are_measured() -> None:
    assert chosen_by({"AP": 60.0, "AP-original": 100.0}) > chosen_by({"AP": 63.0, "AP-original": 90.0})
    assert chosen_by({"AP": 63.0}) == 63.0
