"""GaitHeat's adapter: settings that must agree, inputs, and poses in the wrong pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext import geometry
from gaitext.errors import ConfigError, DataError
from gaitext.standalone.data import build_chains
from gaitext.toolboxes.adapter import HostModel
from gaitext.toolboxes.models import GaitHeatAdapter
from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox
from gaitext.toolboxes.validate import validate_config

from . import data

Section = dict[str, Any]
HEATMAPS: list[Section] = [{"type": "HeatmapInput"}]
MERGED = [*HEATMAPS, {"type": "HeatmapMerge"}]
POSES = [{"type": "PoseInput"}]
MATRICES = [*POSES, {"type": "PoseToAlignment"}]
PRETREATED = [*HEATMAPS, {"type": "HeatmapPretreatment", "threshold": 0.2}]
REGENERATED = [*HEATMAPS, {"type": "HeatmapRegenerate", "sigma": 1.5, "scores": False}]
DRAWN = [*POSES, {"type": "PoseToHeatmap", "size": [48, 64], "sigma": 2, "min_score": 0.1}]
OFFLINE = {"merge": "offline", "keypoints": "matrices"}


@pytest.fixture
def leaves(tmp_path: Path) -> Path:
    """A dataset whose leaves hold heatmaps, poses, poses in frame pixels and boxes."""
    for identity in data.TRAIN + data.TEST:
        leaf = tmp_path / "data" / identity / "nm-01" / "000"
        leaf.mkdir(parents=True)
        for name in ("0_heatmap", "1_pose", "2_pose_frame", "3_boxes"):
            (leaf / f"{name}.pkl").touch()
    (tmp_path / "partition.json").write_text(f'{{"TRAIN_SET": {data.TRAIN}, "TEST_SET": []}}'.replace("'", '"'))
    return tmp_path


def check(
    leaves: Path,
    alignment: dict[str, Any],
    transform: list[Any],
    use: list[bool],
    *,
    training: bool = True,
    **more: Any,
) -> None:
    cfgs = data.config(leaves)
    cfgs["data_cfg"]["data_in_use"] = use
    cfgs["model_cfg"].update(alignment=alignment, **more)
    cfgs["trainer_cfg" if training else "evaluator_cfg"]["transform"] = transform
    if not training:
        (leaves / "partition.json").write_text(f'{{"TRAIN_SET": [], "TEST_SET": {data.TEST}}}'.replace("'", '"'))
    validate_config(cfgs, training)


TWO = [True, True, False, False]
THREE = [True, False, True, True]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("alignment", "transform", "use"),
    [
        ({}, [HEATMAPS], [True, False, False, False]),
        (OFFLINE, [MERGED, MATRICES], TWO),
        # merged on disk
        (OFFLINE, [HEATMAPS, {"type": "Compose", "trf_cfg": MATRICES}], TWO),
        (
            {"keypoints": "matrices", "anchor": [20, 12]},
            [HEATMAPS, [*POSES, {"type": "PoseToAlignment", "anchor": [20.0, 12]}]],
            TWO,
        ),
        ({"keypoints": "poses"}, [HEATMAPS, POSES], TWO),
        ({"keypoints": "poses", "pose_pixels": "frame"}, [HEATMAPS, POSES, []], THREE),
        ({"enabled": False, "keypoints": "poses"}, [HEATMAPS], [True, False, False, False]),
        ({}, [PRETREATED], [True, False, False, False]),
        ({"enabled": False, "keypoints": "poses"}, [PRETREATED], [True, False, False, False]),
        ({"keypoints": "poses"}, [REGENERATED, POSES], TWO),
        ({}, [DRAWN], [False, True, False, False]),
    ],
)
def test_accepts(leaves: Path, training: bool, alignment: Section, transform: list[Any], use: list[bool]) -> None:
    check(leaves, alignment, transform, use, training=training)


@pytest.mark.parametrize("host", [*TOOLBOXES, None], ids=lambda host: host.name if host else "embedded")
@pytest.mark.parametrize("transform", [PRETREATED, REGENERATED, DRAWN], ids=lambda listed: listed[1]["type"])
def test_what_the_paper_compares_with_is_for_every_host_and_sampling(
    dataset: Path, host: Toolbox | None, transform: list[Section]
) -> None:
    cfgs = data.config(dataset)
    cfgs["trainer_cfg"]["transform"] = cfgs["evaluator_cfg"]["transform"] = [transform]
    for sampling in ("fixed_unordered", "unfixed_ordered", "all_ordered"):
        cfgs["trainer_cfg"]["sampler"]["sample_type"] = sampling
        for training in (True, False):
            assert validate_config(cfgs, training, toolbox=host) == []
    cfgs["trainer_cfg"]["transform"] = [[transform[0], {**transform[1], "sigm": 1}]]
    with pytest.raises(ConfigError, match=rf"transform\[0\]\[1\]\.sigm: {transform[1]['type']} has no argument"):
        validate_config(cfgs, True, toolbox=host)


@pytest.mark.parametrize("transform", [PRETREATED, REGENERATED, DRAWN], ids=lambda listed: listed[1]["type"])
def test_what_the_paper_compares_with_feeds_the_network(transform: list[Section]) -> None:
    generator = np.random.default_rng(0)
    joints = generator.uniform((12, 8), (36, 56), (17, 2))
    poses = np.concatenate((np.broadcast_to(joints, (3, 17, 2)), np.full((3, 17, 1), 0.9)), -1)
    (chain,) = build_chains([transform], where="trainer_cfg.transform")
    made = chain(poses if transform is DRAWN else data.heatmaps(generator, 3, joints), generator)
    assert made.dtype == np.float32
    model = data.config(Path())["model_cfg"]
    network = GaitHeatAdapter(model).build().eval()
    with torch.no_grad():
        embedding = network(torch.from_numpy(made)[None])
    assert embedding.shape == (1, 8, 16)
    assert embedding.isfinite().all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("alignment", "transform", "use", "places"),
    [
        (
            {"keypoints": "matrices", "anchor": [20, 12]},
            [HEATMAPS, MATRICES],
            TWO,
            ("transform[1][1].anchor", "model_cfg.alignment.anchor"),
        ),
        (
            {"keypoints": "matrices"},
            [HEATMAPS, [*POSES, {"type": "PoseToAlignment", "anchor": [24, 15]}]],
            TWO,
            ("transform[1][1].anchor", "model_cfg.alignment.anchor"),
        ),
        (
            {"keypoints": "matrices", "min_score": 0.2},
            [HEATMAPS, MATRICES],
            TWO,
            ("transform[1][1].min_score", "model_cfg.alignment.min_score"),
        ),
        (
            OFFLINE,
            [[*HEATMAPS, {"type": "HeatmapMerge", "partition": "left_right"}], MATRICES],
            TWO,
            ("transform[0][1].partition", "model_cfg.partition"),
        ),
        ({}, [MERGED], [True, False, False, False], ("transform[0][1]", "model_cfg.alignment.merge")),
        ({"keypoints": "matrices"}, [HEATMAPS, POSES], TWO, ("model_cfg.alignment.keypoints", "PoseToAlignment")),
        ({"keypoints": "matrices"}, [MATRICES, HEATMAPS], TWO, ("model_cfg.alignment.keypoints", "second input")),
        ({"keypoints": "poses"}, [HEATMAPS, MATRICES], TWO, ("model_cfg.alignment.keypoints", "PoseToAlignment")),
        ({"keypoints": "poses"}, [PRETREATED, POSES], TWO, ("transform[0][1]", "HeatmapPretreatment moves the person")),
        ({"keypoints": "matrices"}, [PRETREATED, MATRICES], TWO, ("transform[0][1]", "keypoints to 'heatmaps'")),
        ({"keypoints": "poses"}, [HEATMAPS, POSES, []], THREE, ("data_cfg.data_in_use", "pose_pixels to 'frame'")),
        (
            {"keypoints": "poses", "pose_pixels": "frame"},
            [HEATMAPS, POSES],
            [True, False, True, False],
            ("data_cfg.data_in_use", "crop boxes"),
        ),
    ],
)
def test_names_what_does_not_agree(
    leaves: Path,
    training: bool,
    alignment: dict[str, Any],
    transform: list[Any],
    use: list[bool],
    places: tuple[str, str],
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(leaves, alignment, transform, use, training=training)
    assert [place in str(caught.value) for place in places] == [True, True]


def test_equal_partitions_written_differently(leaves: Path) -> None:
    lower, upper = [16, 15, 14, 13, 12, 11], list(range(11))
    merge = {"type": "HeatmapMerge", "partition": [upper, lower]}
    check(leaves, OFFLINE, [[*HEATMAPS, merge], MATRICES], TWO)
    merge = {"type": "HeatmapMerge", "partition": [lower, upper]}
    with pytest.raises(ConfigError, match="same order"):
        check(leaves, OFFLINE, [[*HEATMAPS, merge], MATRICES], TWO)


class Model(HostModel, torch.nn.Module):
    pass


def model(**alignment: Any) -> Model:
    made = Model()
    settings = {"model": "GaitHeat", "class_num": 2, "channels": [4, 4, 8, 8], "embedding_size": 8}
    made.set_up(GaitHeatAdapter({**settings, "alignment": {"keypoints": "poses", **alignment}}))
    return made.eval()


def batch(*inputs: torch.Tensor) -> list[Any]:
    return [list(inputs), torch.zeros(1, dtype=torch.int64), ["nm-01"], ["000"], None]


CROPS = torch.tensor([800.0, 300.0, 240.0, 320.0]).expand(1, 3, 4)


def poses() -> tuple[torch.Tensor, torch.Tensor]:
    """The same poses in pixels of the heatmap and of the frame."""
    generator = torch.Generator().manual_seed(0)
    inside = torch.rand(1, 3, 17, 3, generator=generator) * torch.tensor([47.0, 63.0, 1.0])
    to_frame = geometry.invert(geometry.crop_matrices(CROPS[0], 64, 48))
    return inside, torch.cat((geometry.apply(to_frame, inside[..., :2]), inside[..., 2:]), -1)


@pytest.mark.parametrize("training", [True, False])
def test_poses_in_pixels_of_the_frame_without_crops(training: bool) -> None:
    heatmaps = torch.rand(1, 3, 17, 64, 48)
    inside, frame = poses()
    wrong = model().train(training)
    with pytest.raises(DataError, match="look like pixels of the frame") as caught:
        wrong(batch(heatmaps, frame))
    assert "model_cfg.alignment.pose_pixels" in str(caught.value)
    with pytest.raises(DataError, match="look like pixels of the heatmap"):
        model(pose_pixels="frame").train(training)(batch(heatmaps, inside, CROPS))


def test_both_kinds_of_pixels_give_the_same_embeddings() -> None:
    heatmaps = torch.rand(1, 3, 17, 64, 48)
    inside, frame = poses()
    one, other = model(), model(pose_pixels="frame")
    other.load_state_dict(one.state_dict())
    expected = one(batch(heatmaps, inside))["inference_feat"]["embeddings"]
    found = other(batch(heatmaps, frame, CROPS))["inference_feat"]["embeddings"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)


def test_wrong_number_of_inputs() -> None:
    heatmaps = torch.rand(1, 3, 17, 64, 48)
    inside, frame = poses()
    with pytest.raises(ConfigError, match="nothing is read of a third"):
        model()(batch(heatmaps, inside, CROPS))
    with pytest.raises(ConfigError, match="crop boxes"):
        model(pose_pixels="frame")(batch(heatmaps, frame))


def test_bad_poses_are_no_mistake_and_are_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    heatmaps = torch.rand(1, 3, 17, 64, 48)
    inside, frame = poses()
    missing = torch.zeros_like(inside)
    fine = model()
    for some in (inside, missing, torch.where(torch.arange(17)[:, None] == 5, frame, inside)):
        fine._batch_checked = False
        fine(batch(heatmaps, some))
    monkeypatch.setattr(GaitHeatAdapter, "check_batch", lambda *_: pytest.fail("looked twice"))
    fine(batch(heatmaps, inside))
