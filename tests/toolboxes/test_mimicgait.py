"""MimicGait's adapter: who sees what, what the loss is fed, and what is refused before anything is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gaitext.errors import ConfigError
from gaitext.losses import AllTripletsLoss
from gaitext.models import MimicGait
from gaitext.toolboxes.adapter import Host, HostInputs, ModelAdapter
from gaitext.toolboxes.models import mimicgait
from gaitext.toolboxes.parts import adapter_for
from gaitext.toolboxes.validate import check_losses

BASE = {"model": "GaitBase", "class_num": 4, "channels": [2, 2, 4, 4], "embedding_size": 6}
EVALUATOR = {"channels": [2, 4, 4], "feature_size": 5}


def batch(sequences: Tensor, lengths: list[int] | None = None) -> HostInputs:
    n = len(sequences) if lengths is None else len(lengths)
    packed = None if lengths is None else torch.tensor([lengths], dtype=torch.int32)
    return HostInputs([sequences], torch.arange(n) // 2, ["nm-01"] * n, [f"{i:03}" for i in range(n)], packed)


def silhouettes(n: int = 4, frames: int = 5) -> Tensor:
    maps = torch.zeros(n, frames, 64, 44)
    for i in range(n):
        maps[i, :, 2:62, 8 + i : 36] = 1
    return maps


def model(**settings: Any) -> dict[str, Any]:
    return {"model": "MimicGait", "gse": {"model_cfg": BASE}, "oem": EVALUATOR, **settings}


def build(**settings: Any) -> tuple[ModelAdapter, Any]:
    torch.manual_seed(0)
    adapter = adapter_for(model(**settings))
    network = adapter.build(Host(fresh=False))
    assert isinstance(network, MimicGait)
    return adapter, network


@pytest.mark.parametrize("lengths", [None, [5, 5, 6, 4]])
def test_the_teacher_sees_the_walkers_whole(lengths: list[int] | None) -> None:
    adapter, network = build(occlusion={"train": {"types": {"middle": 1.0}}})
    seen: dict[str, list[Tensor]] = {"gse": [], "frn": [], "oem": []}  # frames may go through by some at a time
    for part in ("gse", "frn"):
        module = getattr(network, part).network.stem
        module.register_forward_pre_hook(lambda _m, args, part=part: seen[part].append(args[0].detach().clone()))
    network.occlusion_evaluator.register_forward_pre_hook(lambda _m, args: seen["oem"].append(args[0]))
    given = silhouettes() if lengths is None else silhouettes(1, 20)
    given.requires_grad_()  # as the toolboxes' inputs do
    fed = adapter.run(network.train(), batch(given, lengths), training=True).training
    hidden = given.detach().clone()
    hidden[..., 16:48, :] = 0
    for part, expected in (("gse", given), ("frn", hidden), ("oem", hidden)):
        assert torch.equal(torch.cat(seen[part]).reshape(given.shape), expected), part
    assert set(fed) == {"triplet"}
    embeddings, labels = fed["triplet"]["embeddings"], fed["triplet"]["labels"]
    assert embeddings.shape == (8, 6, 16)
    assert labels.tolist() == [0, 0, 1, 1] * 2
    with torch.no_grad():
        torch.testing.assert_close(embeddings[4:], network.gse(batch(given.detach(), lengths)))
    loss, _ = AllTripletsLoss(margin=0.2)(**fed["triplet"])
    loss.mean().backward()
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    assert given.grad is None


def test_it_logs_under_its_own_name(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _, network = build()
    files = {"gse": network.gse.network, "oem": network.occlusion_evaluator}
    for name, part in files.items():
        torch.save(part.state_dict(), tmp_path / f"{name}.pt")
    restored = {
        "gse": {"model_cfg": BASE, "checkpoint": str(tmp_path / "gse.pt")},
        "oem": {**EVALUATOR, "checkpoint": str(tmp_path / "oem.pt")},
    }
    with caplog.at_level("INFO", logger="gaitext"):
        adapter_for(model(**restored)).build(Host(fresh=True))
    assert len(caplog.messages) >= 2
    assert all(line.startswith("MimicGait: ") for line in caplog.messages), caplog.messages


def test_instances_are_told_apart_in_all_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    adapter, network = build(labels="instance")
    found = []
    for process in range(2):
        monkeypatch.setattr(mimicgait, "rank", lambda process=process: process)
        found.append(adapter.run(network.train(), batch(silhouettes()), training=True).training["triplet"]["labels"])
    assert [labels.tolist() for labels in found] == [[0, 1, 2, 3] * 2, [4, 5, 6, 7] * 2]


def test_at_test_it_is_occluded_as_rg_gait_is_and_hands_out_the_students_embeddings() -> None:
    adapter, network = build(occlusion={"test": {"types": {"top": 0.5, "dynamic": 0.5}, "seed": 1}})
    network.eval()
    lengths = [5, 9, 2, 4]
    with torch.no_grad():
        output = adapter.run(network, batch(silhouettes(1, 20), lengths), training=False)
        again = adapter.run(network, batch(silhouettes(1, 20), lengths), training=False)
    assert set(output.inference) == {"embeddings"}
    assert not output.training
    assert output.inference["embeddings"].shape == (4, 6, 16)
    assert torch.equal(output.inference["embeddings"], again.inference["embeddings"])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"class_num": 4}, "unknown key 'model_cfg.class_num'"),
        ({"residual": False}, "unknown key 'model_cfg.residual'"),
        ({"label": "instance"}, "did you mean 'labels'"),
        ({"labels": "instances"}, "instances"),
        ({"gse": {"model_cfg": {**BASE, "chanels": [1]}}}, "did you mean 'channels'"),
        ({"gse": {"model_cfg": {"model": "RGGait"}}}, "could correct"),
        ({"gse": {"model_cfg": {"model": "MimicGait"}}}, "could correct"),
        ({"oem": {"typs": []}}, "did you mean 'types'"),
    ],
)
def test_wrong_settings_are_named_before_anything_is_built(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        adapter_for(model(**settings))


def test_its_loss_is_checked() -> None:
    fed = adapter_for(model()).loss_names
    check_losses([{"type": "AllTripletsLoss", "log_prefix": "triplet", "margin": 0.2}], fed)
    with pytest.raises(ConfigError, match="feeds no loss named 'softmax'"):
        check_losses(
            [
                {"type": "AllTripletsLoss", "log_prefix": "triplet"},
                {"type": "CrossEntropyLoss", "log_prefix": "softmax"},
            ],
            fed,
        )
    assert adapter_for(model()).class_count is None
