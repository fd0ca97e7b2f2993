"""GaitPT's adapter: the model contract, settings that must agree, and poses in pixels."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.models import GaitPT
from gaitext.skeleton import POSE_ORDERS
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import HostModel, ListedTransform
from gaitext.toolboxes.models import GaitPTAdapter
from gaitext.toolboxes.validate import listed_transforms, validate_config

TINY: dict[str, Any] = {
    "model": "GaitPT",
    "frames": 6,
    "dims": [8, 8, 16, 16],
    "depths": [1, 1, 1, 1],
    "embedding_size": 8,
}


class Model(HostModel, torch.nn.Module):
    pass


def model(**more: Any) -> Model:
    torch.manual_seed(0)
    made = Model()
    made.set_up(GaitPTAdapter({**TINY, **more}))
    made.init_parameters()
    return made


def batch(poses: torch.Tensor, lengths: list[int] | None = None, count: int = 1) -> list[Any]:
    seqL = None if lengths is None else torch.tensor([lengths], dtype=torch.int32)
    return [[poses], torch.arange(count), ["nm-01"] * count, ["000"] * count, seqL]


def test_it_is_registered_under_its_name() -> None:
    assert parts.MODELS["GaitPT"] is GaitPTAdapter
    assert isinstance(GaitPTAdapter({"model": "GaitPT"}).build(), GaitPT)
    assert GaitPTAdapter(TINY).class_count is None


def test_training_feeds_a_triplet_loss_and_gives_gradients() -> None:
    hosted = model().train()
    poses = torch.rand(4, 6, 18, 2, requires_grad=True)
    output = hosted(batch(poses, count=4))
    fed = output["training_feat"]["triplet"]
    assert output["training_feat"].keys() == GaitPTAdapter(TINY).loss_names.keys() == {"triplet"}
    assert tuple(fed) == GaitPTAdapter(TINY).loss_names["triplet"]
    assert fed["embeddings"].shape == (4, 8, 1)
    assert fed["labels"].tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(fed["embeddings"].norm(dim=1), torch.ones(4, 1))
    assert output["visual_summary"] == {}
    (fed["embeddings"] * torch.arange(8)[:, None]).sum().backward()
    assert [n for n, p in hosted.named_parameters() if p.grad is None] == []
    assert poses.grad is None  # detached: nobody reads it


def test_inference_takes_fixed_and_packed_raw_and_ordered() -> None:
    hosted = model().eval()
    raw = torch.rand(1, 20, 17, 3)
    rows = [0 if i == 17 else i for i in POSE_ORDERS["head_upper_lower"]]
    ordered = raw[:, :, rows, :2]
    lengths = [4, 9, 7]
    with torch.no_grad():
        packed = hosted(batch(ordered, lengths, 3))["inference_feat"]
        assert packed.keys() == {"embeddings"}
        assert packed["embeddings"].shape == (3, 8, 1)
        again = hosted(batch(raw, lengths, 3))["inference_feat"]["embeddings"]
        assert torch.equal(again, packed["embeddings"])
        alone = hosted(batch(ordered[:, 4:13]))["inference_feat"]["embeddings"]
    torch.testing.assert_close(alone[0], packed["embeddings"][1], atol=1e-6, rtol=0)
    with pytest.raises(ShapeError, match=r"\[n, T, 18, 2\]"):
        hosted(batch(torch.rand(1, 5, 16, 2)))


@pytest.mark.parametrize("training", [True, False])
def test_pixels_are_told_from_shares(training: bool) -> None:
    pixels = torch.rand(2, 6, 18, 2) * 320
    with pytest.raises(DataError, match=r"(?s)pixels.*PoseNormalize"):
        model().train(training)(batch(pixels, count=2))
    fine = model().train(training)
    for poses in (
        pixels / 320,
        torch.zeros(2, 6, 18, 2),  # nothing seen at all
        torch.where(torch.rand(2, 6, 18, 1) < 0.2, pixels, pixels / 320),  # some wild joints
    ):
        fine._batch_checked = False
        fine(batch(poses, count=2))
    # most joints missing: the few that are there tell
    with pytest.raises(DataError, match="pixels"):
        model().train(training)(batch(pixels * (torch.arange(18) < 3)[:, None], count=2))


def listed(*entries: dict[str, Any]) -> list[list[ListedTransform]]:
    return listed_transforms([list(entries)], "trainer_cfg.transform")


def test_the_order_must_be_the_transforms() -> None:
    own = list(POSE_ORDERS["head_opposite"])
    for model_cfg, entry in (
        ({}, {}),
        ({}, {"partition": list(POSE_ORDERS["head_upper_lower"])}),
        ({"partition": own}, {"partition": "head_opposite"}),
    ):
        GaitPTAdapter({**TINY, **model_cfg}).check_transforms(listed({"type": "PoseOrder", **entry}))
    GaitPTAdapter({**TINY, "partition": own}).check_transforms(listed({"type": "PoseInput"}))
    for model_cfg, entry in (({"partition": own}, {}), ({}, {"partition": own})):
        with pytest.raises(ConfigError, match=r"model_cfg\.partition") as caught:
            GaitPTAdapter({**TINY, **model_cfg}).check_transforms(
                listed({"type": "PoseInput"}, {"type": "PoseOrder", **entry})
            )
        assert "trainer_cfg.transform[0][1].partition" in str(caught.value)
    with pytest.raises(ConfigError, match="did you mean 'head_opposite'"):
        GaitPTAdapter(TINY).check_transforms(listed({"type": "PoseOrder", "partition": "head_oposite"}))


def test_settings_and_losses_are_checked_with_the_config() -> None:
    cfgs: dict[str, Any] = {
        "model_cfg": dict(TINY),
        "loss_cfg": [{"type": "TripletLoss", "log_prefix": "triplet", "margin": 0.01}],
        "trainer_cfg": {"transform": [{"type": "PoseInput"}], "sampler": {"type": "TripletSampler"}},
    }
    assert validate_config(cfgs, True) == []
    with pytest.raises(ConfigError, match=r"unknown key .model_cfg\.frame.*\n.*did you mean .frames"):
        validate_config({**cfgs, "model_cfg": {**TINY, "frame": 3}}, True)
    with pytest.raises(ConfigError, match="no loss named 'triplets'"):
        validate_config({**cfgs, "loss_cfg": [{"type": "TripletLoss", "log_prefix": "triplets"}]}, True)
