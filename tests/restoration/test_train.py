"""Training: what changes and what must not, going on after a kill, the best weights."""

from __future__ import annotations

import copy

import pytest
import torch

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError, DataError
from gaitext.models import FBCNN
from gaitext.pose import load_estimator
from gaitext.pose.movenet import MoveNet
from gaitext.restoration import fit, learner, load_corrector, train_correction
from gaitext.restoration.crop_data import CropData
from gaitext.restoration.settings import AugmentSettings
from gaitext.restoration.validation import Poses
from gaitext.store import read_sequence
from gaitext.training.best import Average


def config(world, cache, **trainer):
    return {
        "estimator": "movenet:lightning",
        "data": {
            "degraded": str(world.degraded),
            "truth": str(world.walkers),
            "split": str(world.split),
            "cache": str(cache),
            "crops": {"window": [120, 180], "window_for": 240},
        },
        "model": {"channels": [6, 8], "blocks": 1, "embedding_size": 5},
        "trainer": {
            "iterations": 6,
            "batch_size": 2,
            "lr": 2e-3,
            "log_every": 2,
            "save_every": 2,
            "validate_every": 2,
            "validation_frames": 4,
            **trainer,
        },
    }


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def run(world, cache, tmp_path_factory):
    return train_correction(config(world, cache), output=tmp_path_factory.mktemp("run"), quiet=True, seed=1)


def weights(path):
    return torch.load(path, weights_only=True)["model"]


def test_a_run_leaves_checkpoints_and_logs(run):
    assert sorted(p.name for p in (run.folder / "checkpoints").iterdir()) == [
        f"correction-0000{i}.pt" for i in (2, 4, 6)
    ]
    assert [row["iteration"] for row in run.rows] == [2, 4, 6]
    assert {"loss", "coordinates", "l2", "lr"} <= run.rows[0].keys()
    assert [row["iteration"] for row in run.validations] == [0, 2, 4, 6]
    assert any((run.folder / "summary").iterdir())
    corrector = load_corrector(run.best)
    assert corrector.network.settings.channels == (6, 8)
    assert corrector.quality == 0.5


def test_only_the_reconstruction_part_has_changed(run, world, cache):
    torch.manual_seed(1)
    settings = fit.CorrectionConfig.parse(config(world, cache), where="test")
    before = learner.build_corrector(settings)
    after = FBCNN(channels=(6, 8), blocks=1, embedding_size=5)
    checkpoints.load(after, run.checkpoint)
    trained = {id(p) for p in before.reconstruction_parameters()}
    names = {name: id(p) in trained for name, p in before.named_parameters()}
    changed = {name: not torch.equal(a, b) for (name, a), b in zip(before.named_parameters(), after.parameters())}
    assert not any(changed[name] for name, inside in names.items() if not inside)
    assert any(changed.values())
    assert changed["tail.weight"]


def test_the_estimator_is_the_same_bit_for_bit(world, cache, tmp_path, monkeypatch):
    seen = []

    def watched(settings, device):
        built = learner.build_learner(settings, device)
        seen.append((built.objective.estimator.network, copy.deepcopy(built.objective.estimator.network.state_dict())))
        return built

    monkeypatch.setattr(fit, "build_learner", watched)
    train_correction(config(world, cache), output=tmp_path, quiet=True)
    ((network, before),) = seen
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_the_loss_falls(world, cache, tmp_path):
    steps = {"iterations": 24, "batch_size": 4, "lr": 1e-3, "warmup": 0.0, "validate_every": 24, "save_every": 24}
    long = config(world, cache, **steps, log_every=6)
    long["model"]["skip"] = True
    long["objective"] = {"coordinate_weight": 0.0, "distillation_weight": 1.0, "pixel_weight": 10.0}
    rows = train_correction(long, output=tmp_path, quiet=True).rows
    assert rows[-1]["loss"] < 0.98 * rows[0]["loss"]


def test_averaged_weights_are_the_recursion():
    network = torch.nn.Linear(1, 1, bias=False)
    average, wanted = Average(network, 0.5), None
    for iteration, value in enumerate((1.0, 3.0, -2.0, 8.0), 1):
        torch.nn.init.constant_(network.weight, value)
        average.add(iteration)
        kept = min(0.5, (1 + iteration) / (10 + iteration))
        wanted = value if wanted is None else kept * wanted + (1 - kept) * value
    with average.in_use():
        assert float(network.weight.detach()) == pytest.approx(wanted)
    assert float(network.weight.detach()) == 8.0
    off = Average(network, 0.0)
    off.add(1)
    assert off.weights == {}


@pytest.mark.parametrize("average", [0.0, 0.6])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(world, cache, tmp_path, monkeypatch, average):
    settings = config(world, cache, average=average)
    run = train_correction(settings, output=tmp_path / "whole", quiet=True, seed=1)
    step = fit.CorrectionTraining.step

    def killed(self, batch):
        if self.iteration == 5:
            raise KeyboardInterrupt
        step(self, batch)

    monkeypatch.setattr(fit.CorrectionTraining, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_correction(settings, output=tmp_path, quiet=True, seed=1)
    monkeypatch.undo()
    with pytest.raises(ConfigError, match="--resume or --overwrite"):
        train_correction(settings, output=tmp_path, quiet=True, seed=1)
    resumed = train_correction(settings, output=tmp_path, quiet=True, seed=1, resume=True)
    assert resumed.rows == run.rows
    assert resumed.validations == run.validations
    for one, other in ((run.checkpoint, resumed.checkpoint), (run.best, resumed.best)):
        ours, theirs = weights(one), weights(other)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    # Another model must not be resumed.
    other = config(world, cache) | {"model": {"channels": [6, 6], "blocks": 1, "embedding_size": 5}}
    with pytest.raises(CheckpointError, match="another model"):
        train_correction(other, output=tmp_path, quiet=True, resume=True)


def test_the_best_is_the_one_of_the_highest_precision(world, cache, tmp_path, monkeypatch):
    scores = iter([(5.0, 1.0), (10.0, 1.0), (30.0, 1.0), (20.0, 1.0)])
    monkeypatch.setattr(Poses, "precision", lambda self: next(scores))
    run = train_correction(config(world, cache), output=tmp_path, quiet=True)
    best = torch.load(run.best, weights_only=True)
    assert best["iteration"] == 4
    middle = weights(run.folder / "checkpoints" / "correction-00004.pt")
    assert all(torch.equal(value, middle[name]) for name, value in best["model"].items())


def test_overwriting_sets_the_old_run_aside(world, cache, tmp_path):
    short = config(world, cache, iterations=1)
    train_correction(short, output=tmp_path, quiet=True)
    train_correction(short, output=tmp_path, quiet=True, overwrite=True)
    assert (tmp_path / "correction.old-1" / "best.pt").is_file()


def test_finetuning_trains_the_estimator_and_it_is_loaded_again(world, cache, tmp_path):
    run = train_correction(config(world, cache), finetune=True, output=tmp_path, quiet=True)
    assert run.folder.name == "correction-finetuned"
    trained = load_estimator("movenet:lightning", device="cpu", trainable=True)
    # The last weights: a few steps make nothing better, so that the best are those before any.
    trained.network.load_state_dict(weights(run.checkpoint))
    images = torch.rand(2, 3, 256, 192)
    tuned = load_estimator(f"tuned:{run.checkpoint}", device="cpu")
    assert torch.allclose(tuned.heatmaps(images), trained.heatmaps(images), atol=1e-4)
    assert not torch.allclose(
        tuned.heatmaps(images), load_estimator("movenet:lightning", device="cpu").heatmaps(images), atol=1e-3
    )
    assert tuned.settings["of"] == "movenet:lightning"
    with pytest.raises(CheckpointError, match="fine-tuned estimator"):
        load_corrector(run.best)


HRNETS = {
    "iterations": 4,
    "warmup": 0.0,
    "mirror": 0.5,
    "steps": {"at": [170, 200], "of": 210},
    "augment": {"rotation": 45, "scale": 0.35, "half_body": 0.3},
}


def test_finetuning_by_hrnets_recipe(world, cache, tmp_path, monkeypatch):
    """The network is shown moved crops, with the targets that go with them, and goes on after a kill as if never."""
    shown = []
    forward = learner.FinetuneObjective.forward

    def watched(self, images, targets=None, weights=None, originals=None):
        if targets is not None:
            shown.append((images, targets, weights))
        return forward(self, images, targets, weights, originals)

    monkeypatch.setattr(learner.FinetuneObjective, "forward", watched)
    settings = config(world, cache) | {"finetune_trainer": config(world, cache, **HRNETS)["trainer"]}
    run = train_correction(settings, finetune=True, output=tmp_path / "whole", quiet=True, seed=1)
    assert [row["lr"] for row in run.rows] == pytest.approx([2e-3, 2e-5])  # after two of four, and at the end
    data = CropData(cache, {n: f for n, f in cut(cache).items() if n.startswith("001/")})
    for iteration, (images, targets, weights_) in enumerate(shown):
        drawn = data.draw(2, 1, iteration, mirror=0.5)
        augment = AugmentSettings(rotation=45, scale=0.35, half_body=0.3)
        moved = drawn.moved(data.views(drawn, augment, 2, 1, iteration), 3 * 2 * 4)
        assert torch.equal(images, moved.images)
        assert torch.equal(targets, moved.targets)
        assert torch.equal(weights_, moved.weights)
        assert not torch.equal(images, drawn.images)
    step = fit.CorrectionTraining.step

    def killed(self, batch):
        if self.iteration == 3:
            raise KeyboardInterrupt
        step(self, batch)

    monkeypatch.setattr(fit.CorrectionTraining, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train_correction(settings, finetune=True, output=tmp_path, quiet=True, seed=1)
    monkeypatch.setattr(fit.CorrectionTraining, "step", step)
    resumed = train_correction(settings, finetune=True, output=tmp_path, quiet=True, seed=1, resume=True)
    ours, theirs = weights(run.checkpoint), weights(resumed.checkpoint)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def cut(cache):
    """Leaf -> frames of what is in the cache."""
    leaves = sorted((cache / "sequences").glob("*/*/*"))
    return {str(leaf.relative_to(cache / "sequences")): len(read_sequence(leaf / "2_poses.pkl")) for leaf in leaves}


def test_epochs_are_so_many_crops(world, cache, tmp_path):
    settings = config(world, cache)
    del settings["trainer"]["iterations"]
    settings["trainer"] |= {"epochs": 1.5, "batch_size": 3, "validate_every": 100}
    run = train_correction(settings, output=tmp_path, quiet=True)
    crops = sum(frames for name, frames in cut(cache).items() if name.startswith("001/"))
    assert run.iteration == -(-int(1.5 * crops) // 3)


def test_what_cannot_be_trained_is_refused(world, cache, tmp_path):
    for wrong, match in (
        ({"estimator": "onnx:x.onnx"}, "no gradients"),
        ({"trainer": {"iteration": 5}}, "did you mean 'iterations'"),
        ({"objective": {"quality": 2}}, "objective.quality"),
        ({"name": ".."}, "name"),
        ({"name": "../outside"}, "name"),
    ):
        with pytest.raises(ConfigError, match=match):
            train_correction(config(world, cache) | wrong, output=tmp_path, quiet=True)


def test_weights_and_folders_are_looked_at_before_crops_are_cut(world, tmp_path):
    torch.save({"model": MoveNet().state_dict()}, tmp_path / "other.pt")
    sizes = {"channels": [6, 8], "blocks": 1, "embedding_size": 5}
    fresh = config(world, tmp_path / "fresh")
    for weights_file, match in (("other.pt", "other.pt: .* missing"), ("none.pt", "no such file")):
        wrong = fresh | {"model": sizes | {"weights": str(tmp_path / weights_file)}}
        with pytest.raises(CheckpointError, match=match):
            train_correction(wrong, output=tmp_path / "run", quiet=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: cannot be made"):
        train_correction(fresh, output=tmp_path / "file", quiet=True)
    assert not (tmp_path / "fresh").exists()


def test_a_fresh_network_begins_as_the_identity():
    torch.manual_seed(0)
    network = FBCNN(channels=(5, 6, 7), blocks=2, embedding_size=4).start_as_identity(0.5)
    images = torch.rand(2, 3, 17, 30)
    assert torch.allclose(network(images, 0.5), images, atol=1e-5)
    network.freeze_all_but_reconstruction()
    network(images, 0.5).square().sum().backward()
    assert network.tail.weight.grad[:, 3:].abs().min() > 0
    assert network.up[0].blocks[-1].conv2.weight.grad[:3].abs().max() > 0
    with pytest.raises(ConfigError, match="2 channels"):
        FBCNN(channels=(2, 3), blocks=1, embedding_size=4).start_as_identity(0.5)
