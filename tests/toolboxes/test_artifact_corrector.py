"""ArtifactCorrector's adapter: the model contract, what stays frozen, padding, and data that are not what it reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import CheckpointError, ConfigError, DataError
from gaitext.evaluation import evaluate_pose
from gaitext.losses import CoordinateL1Loss
from gaitext.models import FBCNN
from gaitext.pose import decode_heatmaps, load_estimator, soft_argmax
from gaitext.restoration.terms import missing_mass
from gaitext.standalone.building import LossSum
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import Host, HostModel
from gaitext.toolboxes.models import ArtifactCorrectorAdapter
from gaitext.toolboxes.models.artifact_corrector import HostedCorrector, pad_sequences
from gaitext.toolboxes.validate import listed_transforms, validate_config
from tests.fake_gpu import fake_gpu

SIZES = {"channels": [4, 6], "blocks": 1, "embedding_size": 5}
TINY: dict[str, Any] = {
    "model": "ArtifactCorrector",
    "corrector": SIZES,
    "estimator": "movenet:lightning",
    "test_frames": 9,
}


class Model(HostModel, torch.nn.Module):
    pass


def model(fresh: bool = False, **more: Any) -> Any:
    """With weights at random, as where a training goes on; or as one begins."""
    torch.manual_seed(0)
    made = Model()
    made.set_up(ArtifactCorrectorAdapter({**TINY, **more}), Host(fresh))
    made.init_parameters()
    return made


def data(frames: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Crops, poses of which some joints are not known, and boxes, of one sequence."""
    generator = torch.Generator().manual_seed(seed)
    crops = torch.rand(frames, 3, 256, 192, generator=generator)
    poses = torch.rand(frames, 17, 3, generator=generator) * torch.tensor([191.0, 255.0, 1.0])
    poses[torch.rand(frames, 17, generator=generator) < 0.2] = 0
    boxes = torch.tensor([40.0, 20.0, 110.0, 220.0]).expand(frames, 4)
    return crops, poses, boxes


def batch(*inputs: torch.Tensor, lengths: list[int] | None = None) -> list[Any]:
    count = len(inputs[0]) if lengths is None else len(lengths)
    seqL = None if lengths is None else torch.tensor([lengths], dtype=torch.int32)
    return [list(inputs), torch.arange(count), ["nm-01"] * count, ["000"] * count, seqL]


def test_it_is_registered_under_its_name() -> None:
    assert parts.MODELS["ArtifactCorrector"] is ArtifactCorrectorAdapter
    assert ArtifactCorrectorAdapter(TINY).class_count is None


def test_training_feeds_the_loss_with_keypoints_by_soft_argmax() -> None:
    hosted = model(temperature=0.2, min_score=0.3).train()
    one, other = data(2), data(2, 1)
    inputs = [torch.stack(pair).requires_grad_() for pair in zip(one[:2], other[:2])]
    output = hosted(batch(*inputs))
    assert tuple(output["training_feat"]["coordinates"]) == ArtifactCorrectorAdapter(TINY).loss_names["coordinates"]
    assert output["training_feat"].keys() == {"coordinates"}
    fed = output["training_feat"]["coordinates"]
    estimator = load_estimator("movenet:lightning", device="cpu")
    crops, poses = torch.cat((one[0], other[0])), torch.cat((one[1], other[1]))
    # A pixel of the heatmap is four of the crop, its centre at 1.5.
    wanted = soft_argmax(estimator.heatmaps(hosted.network.corrector(crops, 0.5)), 0.2) * 4 + 1.5
    torch.testing.assert_close(fed["coordinates"], wanted, atol=1e-3, rtol=0)
    assert torch.equal(fed["targets"], poses[..., :2])
    assert torch.equal(fed["weights"], (poses[..., 2] >= 0.3).float())
    assert 0.3 < fed["weights"].mean() < 0.9
    images = output["visual_summary"]
    assert images.keys() == {"image/degraded", "image/corrected"}
    assert torch.equal(images["image/degraded"], crops)
    assert images["image/corrected"].shape == crops.shape
    assert 0 <= images["image/corrected"].min() <= images["image/corrected"].max() <= 1
    assert not images["image/corrected"].requires_grad
    loss, _ = CoordinateL1Loss()(**fed)
    loss.backward()
    assert all(each.grad is None for each in inputs)  # detached: nobody reads it


def test_the_heatmaps_term_is_a_loss_of_its_own() -> None:
    crops, poses, _ = data(2)
    losses = LossSum([{"type": "CoordinateL1Loss", "log_prefix": "coordinates", "loss_term_weight": 0.5}])
    without, with_term = (
        losses(model(heatmap_weight=weight).train()(batch(crops[None], poses[None]))["training_feat"])
        for weight in (0.0, 3.0)
    )
    assert "heatmaps" not in without[1]
    heatmaps = load_estimator("movenet:lightning", device="cpu").heatmaps(model().network.corrector(crops, 0.5))
    y, x = np.mgrid[:64, :48]
    total = 0.0
    for maps, pose in zip(heatmaps.detach().numpy(), poses.numpy()):
        for one, (px, py, score) in zip(maps, pose):
            if score > 0:
                total += np.square(one - np.exp(-((x - (px - 1.5) / 4) ** 2 + (y - (py - 1.5) / 4) ** 2) / 8)).sum()
    term = 3.0 * total / heatmaps.numel()
    assert float(with_term[1]["heatmaps"]) == pytest.approx(term, rel=1e-4)
    assert float(with_term[1]["loss"]) == pytest.approx(float(without[1]["loss"]) + term, rel=1e-5)


def test_terms_that_compare_with_original_crops() -> None:
    terms = {"mass_weight": 2.0, "distillation_weight": 0.5, "pixel_weight": 3.0, "temperature_start": 0.2}
    hosted = model(**terms).train()
    hosted.trained_share = 0.5
    crops, poses, boxes = (value[None] for value in data(2))
    better = data(2, 1)[0][None]
    fed = hosted(batch(crops, better, poses, boxes))["training_feat"]
    corrector = hosted.network
    assert corrector.temperature == pytest.approx(0.1)  # of 0.2 to 0.05, half way
    with torch.no_grad():
        corrected = corrector.corrector(crops[0], 0.5)
        found, wanted = (corrector.estimator.heatmaps(images) for images in (corrected, better[0]))
        there = (poses[0, ..., :2] + 0.5) / 4 - 0.5
        known = (poses[0, ..., 2] > 0).float()
        mass = missing_mass(found, there, known, temperature=0.1, radius=2.0)
    assert set(fed) == {"coordinates", "mass", "distillation", "pixels"}
    assert float(fed["mass"]) == pytest.approx(2 * float(mass), rel=1e-3)
    assert float(fed["distillation"]) == pytest.approx(0.5 * float((found - wanted).square().sum() / 34), rel=1e-3)
    assert float(fed["pixels"]) == pytest.approx(3 * float((corrected - better[0]).abs().mean()), rel=1e-3)
    sum(loss for name, loss in fed.items() if name != "coordinates").backward()
    assert all(parameter.grad is not None for parameter in corrector.corrector.reconstruction_parameters())
    with pytest.raises(DataError, match="no original crops"):
        hosted(batch(crops, poses, boxes))
    # A test needs none, and reads over those that are there.
    results = hosted.eval()(batch(crops, better, poses, boxes))["inference_feat"]
    alone = hosted(batch(crops, poses, boxes))["inference_feat"]
    assert torch.equal(results["predictions"].nan_to_num(), alone["predictions"].nan_to_num())


def test_only_the_reconstruction_moves_whatever_the_host_does() -> None:
    hosted = model(heatmap_weight=1.0)
    network: HostedCorrector = hosted.network
    estimator = network.estimator.network  # type: ignore[attr-defined]
    hosted.train()
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(hosted)
    hosted.requires_grad_(True)  # no toolbox does, but it could not reach the estimator either
    network.corrector.freeze_all_but_reconstruction()
    frozen = {name: value.clone() for name, value in estimator.state_dict().items()}
    before = {name: value.clone() for name, value in hosted.state_dict().items()}
    assert all(name.startswith("network.corrector.") for name in before)
    assert set(before) == {f"network.corrector.{name}" for name in FBCNN(**SIZES).state_dict()}
    optimizer = torch.optim.SGD([p for p in hosted.parameters() if p.requires_grad], lr=1e-6, momentum=0.9)
    crops, poses, _ = data(2)
    for _ in range(3):
        hosted.train()
        fed = hosted(batch(crops[None], poses[None]))["training_feat"]
        optimizer.zero_grad()
        (CoordinateL1Loss()(**fed["coordinates"])[0] + fed["heatmaps"]).backward()
        # DistributedDataParallel without find_unused_parameters needs a gradient for each.
        assert [n for n, p in hosted.named_parameters() if p.requires_grad and p.grad is None] == []
        optimizer.step()
    assert not estimator.training
    # The others are torch.fx's, made where normalisation was folded in, and compute nothing.
    assert not any(module.training for module in estimator.modules() if list(module.parameters(recurse=False)))
    assert not any(p.requires_grad or p.grad is not None for p in estimator.parameters())
    for name, value in estimator.state_dict().items():
        assert torch.equal(value, frozen[name]), name
    moved = {name.split(".")[2] for name, value in hosted.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"head", "down", "encoder", "decoder", "up", "tail"}


def test_training_begins_with_a_checkpoint_or_where_nothing_is_changed(tmp_path: Path) -> None:
    torch.manual_seed(5)
    weights = FBCNN(**SIZES).state_dict()
    path = str(tmp_path / "run.pt")
    torch.save({"model": {f"network.corrector.{k}": v for k, v in weights.items()}}, path)
    begun = model(fresh=True, checkpoint=path).network.corrector.state_dict()
    assert all(torch.equal(begun[name], value) for name, value in weights.items())
    going = model(checkpoint=str(tmp_path / "gone.pt")).network.corrector.state_dict()
    assert not torch.equal(going["head.weight"], weights["head.weight"])
    with pytest.raises(CheckpointError, match="no such file"):
        model(fresh=True, checkpoint=str(tmp_path / "gone.pt"))
    with pytest.raises(CheckpointError, match="shape"):
        model(fresh=True, checkpoint=path, corrector={**SIZES, "channels": [3, 6]})
    crops, poses, _ = data(2)
    shown = model(fresh=True, quality=0.7).train()(batch(crops[None], poses[None]))["visual_summary"]
    torch.testing.assert_close(shown["image/corrected"], shown["image/degraded"], atol=1e-5, rtol=0)


def test_parts_of_a_batch_give_the_same_numbers_and_gradients() -> None:
    crops, poses, _ = data(5)
    results = []
    for limit in (64, 2):
        hosted = model(frames_per_step=limit, heatmap_weight=1.0).train()
        fed = hosted(batch(crops[None], poses[None]))["training_feat"]
        (CoordinateL1Loss()(**fed["coordinates"])[0] + fed["heatmaps"]).backward()
        results.append((fed["coordinates"]["coordinates"], [p.grad for p in hosted.parameters() if p.requires_grad]))
        with torch.no_grad():
            results[-1] += (hosted.eval()(batch(crops[None], poses[None]))["inference_feat"]["predictions"],)
    torch.testing.assert_close(results[0][0], results[1][0], atol=2e-3, rtol=0)
    torch.testing.assert_close(results[0][2], results[1][2], atol=1e-3, rtol=0, equal_nan=True)
    for one, other in zip(results[0][1], results[1][1]):
        torch.testing.assert_close(one, other, atol=1e-3 * float(one.abs().max()), rtol=0)


def test_mixed_precision_trains_and_estimates() -> None:
    crops, poses, _ = data(3)
    hosted = model(frames_per_step=2, heatmap_weight=1.0).train()
    with torch.autocast("cpu", torch.bfloat16):
        fed = hosted(batch(crops[None], poses[None]))["training_feat"]
        found = hosted.eval()(batch(crops[None], poses[None]))["inference_feat"]["predictions"]
    assert fed["coordinates"]["coordinates"].dtype == found.dtype == torch.float32
    (CoordinateL1Loss()(**fed["coordinates"])[0] + fed["heatmaps"]).backward()
    for name, parameter in hosted.named_parameters():
        assert not parameter.requires_grad or bool(parameter.grad.isfinite().all()), name
    exact = hosted.train()(batch(crops[None], poses[None]))["training_feat"]
    apart = (fed["coordinates"]["coordinates"] - exact["coordinates"]["coordinates"]).abs()
    assert 0 < apart.median() < 4


@pytest.mark.parametrize("training", [True, False])
def test_mixed_precision_is_the_correctors_alone(training: bool) -> None:
    hosted = model().train(training)
    kinds: dict[str, set[torch.dtype]] = {"corrector": set(), "estimator": set()}
    for name, network in (("corrector", hosted.network.corrector), ("estimator", hosted.network.estimator.network)):
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.register_forward_hook(lambda *call, name=name: kinds[name].add(call[2].dtype))
    crops, poses, _ = data(2)
    with torch.autocast("cpu", torch.bfloat16):
        hosted(batch(crops[None], poses[None]))
    assert kinds == {"corrector": {torch.bfloat16}, "estimator": {torch.float32}}


def test_crops_on_a_gpu_are_corrected_estimated_and_decoded_there() -> None:
    hosted = model(frames_per_step=3)
    network: HostedCorrector = hosted.network
    with fake_gpu():
        hosted.to("cuda")
        crops = torch.empty(5, 3, 256, 192)
        found, decoded = network.found(crops), network.decoded(crops)
        assert {p.device.type for p in network.estimator.network.parameters()} == {"cuda"}  # type: ignore[attr-defined]
        for each in (*found, decoded):
            assert each.device.type == "cuda"
        assert decoded.shape == (5, 17, 3)


@pytest.mark.parametrize("with_boxes", [True, False])
def test_what_tests_gather_evaluates_as_the_frames_themselves(with_boxes: bool) -> None:
    """Sequences of different lengths, alone, packed in twos, and as two processes would gather them."""
    hosted = model().eval()
    lengths = [4, 7, 1, 9]
    sequences = [data(frames, seed)[: 2 + with_boxes] for seed, frames in enumerate(lengths)]
    with torch.no_grad():
        alone = [hosted(batch(*(each[None] for each in s), lengths=[len(s[0])]))["inference_feat"] for s in sequences]
        packed = [
            hosted(batch(*(torch.cat(each)[None] for each in zip(*pair)), lengths=[len(s[0]) for s in pair]))
            for pair in (sequences[:2], sequences[2:])
        ]
    names = {"predictions", "targets", *(["boxes"] if with_boxes else [])}
    assert all(feat.keys() == names for feat in alone)
    gathered = {name: np.concatenate([feat[name].numpy() for feat in alone]) for name in names}
    for name in names:
        assert gathered[name].shape[:2] == (4, 9)
        together = np.concatenate([output["inference_feat"][name].numpy() for output in packed])
        np.testing.assert_allclose(together, gathered[name], atol=1e-4)
        for row, frames in zip(gathered[name], lengths):
            assert np.isnan(row[frames:]).all()
            assert np.isfinite(row[:frames]).all()
    estimator, found = load_estimator("movenet:lightning", device="cpu"), []
    with torch.no_grad():
        for crops, *_ in sequences:
            poses = decode_heatmaps(estimator.heatmaps(hosted.network.corrector(crops, 0.5)).numpy())
            poses[..., :2] = np.where(poses[..., 2:] > 0, poses[..., :2] * 4 + 1.5, 0)
            found.append(poses)
    predictions = np.concatenate(found)
    np.testing.assert_allclose(
        np.concatenate([row[:frames] for row, frames in zip(gathered["predictions"], lengths)]), predictions, atol=1e-4
    )
    targets = torch.cat([s[1] for s in sequences]).numpy()
    direct: dict[str, Any] = {"predictions": predictions, "targets": targets}
    if with_boxes:
        direct["boxes"] = torch.cat([s[2] for s in sequences]).numpy()
    one, other = evaluate_pose(gathered), evaluate_pose(direct)
    assert one.scalars == pytest.approx(other.scalars, abs=1e-3)
    assert one.about["frames"] == sum(lengths)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 6), min_size=1, max_size=5), st.integers(6, 9))
def test_padding_keeps_every_frame_in_its_sequence(lengths: list[int], limit: int) -> None:
    frames = torch.arange(sum(lengths) * 2.0).reshape(-1, 2)
    padded = pad_sequences(frames, lengths, limit)
    assert padded.shape == (len(lengths), limit, 2)
    assert torch.equal(padded[~padded.isnan().any(-1)], frames)
    assert (~padded.isnan()).all(-1).sum(-1).tolist() == lengths
    with pytest.raises(DataError, match=r"model_cfg\.test_frames"):
        pad_sequences(frames, [*lengths[:-1], lengths[-1]], max(lengths) - 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c, p, b: (c, p * torch.tensor([0.25, 0.25, 1]), b), "pixels of heatmaps"),
        (lambda c, p, b: (c, p + torch.tensor([500.0, 0, 0]), b), "pixels of the frame"),
        (lambda c, p, b: (c[..., :128], p, b), r"crops are \[T, 3, 256, 128\]"),
        (lambda c, p, b: (c, p[..., :2], b), r"poses are \[T, 17, 2\]"),
        (lambda c, p, b: (c, p, b[..., :3]), r"boxes are \[T, 3\]"),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_data_of_another_kind_are_refused(change: Any, said: str, training: bool) -> None:
    with pytest.raises(DataError, match=said):
        model().train(training)(batch(*(each[None] for each in change(*data(3)))))


def test_data_as_they_are_meant_pass() -> None:
    crops, poses, boxes = data(3)
    for fine in (poses, poses * 0, torch.where(torch.rand(3, 17, 1) < 0.2, poses + 400, poses)):
        model().train()(batch(crops[None], fine[None], boxes[None]))


def cfgs(**changes: Any) -> dict[str, Any]:
    lists = [{"type": "CropInput"}, {"type": "PoseInput"}]
    return {
        "model_cfg": dict(TINY),
        "loss_cfg": [{"type": "CoordinateL1Loss", "log_prefix": "coordinates", "reduction": "frame"}],
        "trainer_cfg": {
            "transform": lists,
            "with_test": True,
            "sampler": {"type": "TripletSampler", "sample_type": "fixed_unordered", "frames_num_fixed": 4},
        },
        "evaluator_cfg": {
            "transform": lists,
            "eval_func": "evaluate_pose",
            "sampler": {"type": "InferenceSampler", "sample_type": "all_ordered", "frames_all_limit": 9},
        },
        **changes,
    }


def test_the_config_is_checked() -> None:
    assert validate_config(cfgs(), True) == []
    for model_cfg, said in (
        ({"quality": 2}, r"model_cfg\.quality"),
        ({"corrector": {"chanels": [1]}}, "did you mean .channels"),
        ({"frames": 3}, r"unknown key .model_cfg\.frames"),
        ({"test_frames": 8}, r"evaluator_cfg\.sampler\.frames_all_limit"),
    ):
        with pytest.raises(ConfigError, match=said):
            validate_config(cfgs(model_cfg={**TINY, **model_cfg}), True)
    with pytest.raises(ConfigError, match="no loss named 'coordinate'"):
        validate_config(cfgs(loss_cfg=[{"type": "CoordinateL1Loss", "log_prefix": "coordinate"}]), True)


def test_its_inputs_and_their_transforms_are_checked() -> None:
    crops, poses, boxes = {"type": "CropInput"}, {"type": "PoseInput"}, {"type": "PoseBoxInput"}
    for fine in ([crops, poses], [crops, poses, boxes], [{"type": "Compose", "trf_cfg": [crops]}, poses]):
        ArtifactCorrectorAdapter(TINY).check_transforms(listed_transforms(fine, "trainer_cfg.transform"))
    with pytest.raises(ConfigError, match="two to four inputs"):
        ArtifactCorrectorAdapter(TINY).check_transforms(listed_transforms([crops], "trainer_cfg.transform"))
    with pytest.raises(ConfigError, match="begin with CropInput"):
        ArtifactCorrectorAdapter(TINY).check_transforms(listed_transforms([poses, poses], "trainer_cfg.transform"))


def test_an_estimator_without_gradients_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    estimator = load_estimator("movenet:lightning", device="cpu")
    estimator.differentiable = False
    monkeypatch.setattr("gaitext.toolboxes.models.artifact_corrector.load_estimator", lambda *_, **__: estimator)
    with pytest.raises(ConfigError, match="no gradients"):
        model()


def test_the_estimator_follows_the_images() -> None:
    """Built before a toolbox chooses the rank's GPU; here moved to where nothing is computed."""
    estimator = load_estimator("movenet:lightning", device="cpu")
    estimator.to(torch.device("meta"))  # type: ignore[attr-defined]
    assert {p.device.type for p in estimator.network.parameters()} == {"meta"}  # type: ignore[attr-defined]
    assert estimator.heatmaps(torch.zeros(1, 3, 256, 192, device="meta")).device.type == "meta"
