"""RG-Gait's adapters: what they draw, feed and check; toolbox models as extractors, on stand-ins."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError
from gaitext.models import GaitBase, OcclusionEvaluator
from gaitext.models.heads import BNNeck
from gaitext.models.signature import freeze_unused
from gaitext.occlusion import OCCLUSION_TYPES
from gaitext.toolboxes.adapter import Host, HostInputs, ModelAdapter
from gaitext.toolboxes.borrowed import ToolboxSignature, borrow
from gaitext.toolboxes.models import RGGaitAdapter, RGGaitOEMAdapter
from gaitext.toolboxes.parts import adapter_for

BASE = {"model": "GaitBase", "class_num": 4, "channels": [2, 2, 4, 4], "embedding_size": 6}
EVALUATOR = {"channels": [2, 4, 4], "feature_size": 5}


def batch(sequences: Tensor, lengths: list[int] | None = None) -> HostInputs:
    n = len(sequences) if lengths is None else len(lengths)
    packed = None if lengths is None else torch.tensor([lengths], dtype=torch.int32)
    return HostInputs([sequences], torch.arange(n), ["nm-01"] * n, [f"{i:03}" for i in range(n)], packed)


def silhouettes(n: int = 3, frames: int = 5) -> Tensor:
    maps = torch.zeros(n, frames, 64, 44)
    maps[:, :, 2:62, 8:36] = 1
    return maps


def built(model_cfg: dict[str, Any], host: Host | None = None) -> tuple[ModelAdapter, Any]:
    """The adapter of stage 3, or of stage 1 where no model is named, and its network."""
    adapter = adapter_for({"model": "RGGaitOEM", **model_cfg})
    return adapter, adapter.build(host)


# Stage 1 -----------------------------------------------------------------------------------------


def test_labels_and_pixels_agree_frame_by_frame() -> None:
    types = ["pole", "none", "middle", "dynamic"]
    model = {**EVALUATOR, "types": types, "occlusion": {"train": {"types": {"middle": 0.4, "pole": 0.4}}}}
    adapter, network = built(model)
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    torch.manual_seed(0)
    fed = adapter.run(network, batch(silhouettes(8, 12)), training=True).training["occlusion"]
    frames = seen[0][:, 0]
    assert frames.shape == (96, 64, 44)
    # A full frame shows what is missing.
    ones = adapter.run(network, batch(torch.ones(8, 12, 64, 44)), training=True)
    assert len(ones.training["occlusion"]["logits"]) == 96
    hidden = (1 - seen[1][:, 0]).mean((1, 2))
    torch.testing.assert_close(hidden, ones.training["occlusion"]["true_amount"], atol=1e-5, rtol=0)
    whole = seen[1][:, 0].flatten(1).all(1)
    kinds = ones.training["occlusion"]["types"]
    assert torch.equal(kinds == types.index("none"), whole)
    middle = (seen[1][:, 0, 32] == 0).all(1) & (seen[1][:, 0, 0] == 1).all(1)
    assert torch.equal(kinds == types.index("middle"), middle)
    assert {int(k) for k in fed["types"]} == {0, 1, 2}
    assert len({round(float(a), 3) for a in fed["true_amount"]}) > 5


def test_the_default_draws_every_type_alike() -> None:
    adapter, network = built({**EVALUATOR, "types": list(OCCLUSION_TYPES)})
    torch.manual_seed(0)
    fed = adapter.run(network, batch(silhouettes(120, 10)), training=True).training["occlusion"]
    counts = torch.bincount(fed["types"], minlength=6) / 1200
    assert ((counts - 1 / 6).abs() < 0.06).all(), counts
    cut = (fed["types"] == 1) | (fed["types"] == 2)
    assert 0.38 < fed["true_amount"][cut].min() < 0.45 < 0.55 < fed["true_amount"][cut].max() < 0.62
    with pytest.raises(ConfigError, match="pole, which types does not name"):
        RGGaitOEMAdapter({"occlusion": {"train": {"types": {"pole": 0.5}}}})


def test_at_test_a_sequence_is_occluded_the_same_wherever_it_comes() -> None:
    adapter, network = built({**EVALUATOR, "occlusion": {"test": {"types": {"top": 0.5, "dynamic": 0.5}}}})
    network.eval()
    lengths = [5, 9, 3]
    frames = silhouettes(1, 17)
    whole = batch(frames, lengths)
    with torch.no_grad():
        packed = adapter.run(network, whole, training=False).inference
        begin = 0
        for i, length in enumerate(lengths):
            alone = HostInputs(
                [frames[:, begin : begin + length]],
                whole.labels[i : i + 1],
                whole.types[i : i + 1],
                whole.views[i : i + 1],
                torch.tensor([[length]]),
            )
            one = adapter.run(network, alone, training=False).inference
            begin += length
            for name, value in one.items():
                torch.testing.assert_close(value[0], packed[name][i], atol=1e-6, rtol=1e-5)
    assert packed["classes"].tolist() == [[0, 1, 2]] * 3
    assert set(packed["true_type"].tolist()) <= {1, 4}
    assert all(len(value) == 3 for value in packed.values())


def test_a_trained_evaluator_loads_as_the_network() -> None:
    network: Any = RGGaitOEMAdapter(EVALUATOR).build()
    hosted = {"model": {f"network.{key}": value for key, value in network.state_dict().items()}}
    plain = checkpoints.load(OcclusionEvaluator(channels=(2, 4, 4), feature_size=5), hosted)
    assert torch.equal(plain.embed.weight, network.embed.weight)


# A toolbox's models -------------------------------------------------------------------------------


class SeparateBNNecks(nn.Module):
    """What the toolboxes call a BNNeck, in outline."""

    def __init__(self, parts: int, channels: int, classes: int, norm: bool = True) -> None:
        super().__init__()
        self.norm = norm
        self.fc_bin = nn.Parameter(torch.rand(parts, channels, classes))
        self.bn1d = nn.BatchNorm1d(parts * channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.bn1d(x.flatten(1)).view_as(x)
        if self.norm:
            x = nn.functional.normalize(x, dim=1)
        weight = nn.functional.normalize(self.fc_bin, dim=1) if self.norm else self.fc_bin
        return x, torch.einsum("ncp,pck->nkp", x, weight)


class Theirs(nn.Module):
    """A toolbox's model: behind its BNNeck at test, one part more than it hands out, an idle weight."""

    optimizer: Any  # reached for in training, and never there

    def build_network(self, model_cfg: dict[str, Any]) -> None:
        model_cfg["changed"] = True
        self.width = self.cfgs["data_cfg"]["width"]
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.idle = nn.Linear(3, 3)
        self.BNNecks = SeparateBNNecks(model_cfg["parts"], 4, 3, model_cfg.get("norm", True))
        self.parts = model_cfg["parts"]

    def init_parameters(self) -> None:
        nn.init.constant_(self.conv.bias, 7.0)

    def forward(self, inputs: Any) -> dict[str, Any]:
        if self.training:
            self.optimizer.step()
        sequences, labels, _, _, lengths = inputs
        assert len(labels) == 1
        x = sequences[0]
        assert x.shape[-1] == self.width
        maps = self.norm(self.conv(x.flatten(0, 1)[:, None])).unflatten(0, x.shape[:2])
        # A moving average over time, which would run from one packed sequence into the next.
        maps = (maps + maps.roll(1, 1)) / 2
        if lengths is not None:
            maps = torch.stack([part.amax(0) for part in maps[0].split(lengths[0].tolist())])
        else:
            maps = maps.amax(1)
        rows = maps.mean(3).unflatten(2, (self.parts, -1)).mean(3)  # [n, c, p]
        behind, logits = self.BNNecks(rows)
        return {"training_feat": {"logits": logits[:, :, :-1]}, "inference_feat": {"embeddings": behind[:, :, :-1]}}


def borrowed(kind: type, model_cfg: dict[str, Any], hooks: tuple[str, ...] = ()) -> ToolboxSignature:
    return ToolboxSignature(borrow(kind, model_cfg, {"cfgs": {"data_cfg": {"width": 44}}}, hooks), kind.__name__)


def theirs(**cfg: Any) -> ToolboxSignature:
    torch.manual_seed(0)
    model_cfg = {"parts": 4, **cfg}
    found = borrowed(Theirs, model_cfg, ("init_parameters",))
    assert "changed" not in model_cfg
    nn.init.uniform_(found.network.BNNecks.bn1d.running_mean)
    return found


def test_a_toolbox_model_gives_what_stands_before_its_neck_and_keeps_it() -> None:
    extractor = theirs()
    assert extractor.network.conv.bias[0].item() == 7
    names = set(extractor.state_dict())
    assert {"network.BNNecks.fc_bin", "network.BNNecks.bn1d.running_mean"} <= names
    before = extractor.network.BNNecks.bn1d.running_mean.clone()
    frames = batch(silhouettes())
    rows = extractor.eval()(frames)
    assert rows.shape == (3, 4, 3)
    assert not torch.allclose(rows.norm(dim=1), torch.ones(3, 3))
    assert torch.equal(extractor.network.BNNecks.bn1d.running_mean, before)
    neck = extractor.neck()
    assert isinstance(neck, BNNeck)
    reference = SeparateBNNecks(4, 4, 3)
    own = {k.removeprefix("network.BNNecks."): v for k, v in extractor.state_dict().items() if "BNNecks" in k}
    reference.load_state_dict(own)
    x = torch.rand(5, 4, 4)
    for ours, slow in zip(neck.eval()(x), reference.eval()(x)):
        torch.testing.assert_close(ours, slow)


def test_the_twin_of_a_toolbox_model_trains_on_its_inference_path() -> None:
    twin = theirs()
    twin.remove_neck()
    assert not any("BNNecks" in key for key in twin.state_dict())
    shape, frozen = freeze_unused(twin, batch(silhouettes()))
    assert shape == (4, 3)
    assert frozen == ["network.idle.weight", "network.idle.bias"]
    twin.train()
    before = twin.network.norm.running_mean.clone()
    twin(batch(silhouettes())).sum().backward()
    assert not torch.equal(twin.network.norm.running_mean, before)
    assert [n for n, p in twin.named_parameters() if p.requires_grad and p.grad is None] == []


def test_packed_sequences_do_not_run_into_each_other() -> None:
    extractor = theirs().eval()
    for lengths in ([4, 7, 2], [5, 5]):
        frames = torch.rand(sum(lengths), 64, 44)
        packed = extractor(batch(frames[None], lengths))
        alone = torch.cat([extractor(batch(part[None], [len(part)])) for part in frames.split(lengths)])
        torch.testing.assert_close(packed, alone)


def test_a_neck_that_is_set_otherwise_is_used_as_it_is() -> None:
    neck: Any = theirs(norm=False).neck()
    x = torch.rand(5, 4, 4)
    embedding, logits = neck.eval()(x)
    torch.testing.assert_close(logits, torch.einsum("ncp,pck->nkp", embedding, neck.classifier))
    assert not torch.allclose(embedding.norm(dim=1), torch.ones(5, 4))


def test_embeddings_that_come_out_of_a_batchnorm_are_found() -> None:
    class Late(Theirs):
        def forward(self, inputs: Any) -> dict[str, Any]:
            output = super().forward(inputs)["inference_feat"]["embeddings"]
            return {"inference_feat": {"embeddings": self.late(output)}}

        def build_network(self, model_cfg: dict[str, Any]) -> None:
            super().build_network(model_cfg)
            self.late = nn.BatchNorm1d(4)

    extractor = borrowed(Late, {"parts": 4})
    before = {key: value.clone() for key, value in extractor.state_dict().items()}
    assert extractor.normalised_by(batch(silhouettes())) == "late"
    assert theirs().normalised_by(batch(silhouettes())) is None
    assert all(torch.equal(value, before[key]) for key, value in extractor.state_dict().items())


# Stage 3 ------------------------------------------------------------------------------------------


class Remembering(Host):
    def __init__(self, fresh: bool, extractor: Any = None) -> None:
        super().__init__(fresh)
        self.said: list[str] = []
        self.extractor = extractor

    def signature(self, model_cfg: Any, *, where: str) -> Any:
        return self.extractor() if self.extractor else super().signature(model_cfg, where=where)

    def say(self, text: str) -> None:
        self.said.append(text)


def model(**settings: Any) -> dict[str, Any]:
    return {"model": "RGGait", "class_num": 3, "gse": {"model_cfg": {"model": "Theirs"}}, "oem": EVALUATOR, **settings}


def test_a_toolbox_model_in_the_system() -> None:
    host = Remembering(False, theirs)
    adapter, network = built(model(), host)
    # SwinGait's case: its neck has one part more than its embeddings.
    assert network.neck.classifier.shape == (3, 4, 3)
    full = theirs().neck()
    assert torch.equal(network.neck.classifier, full.classifier[:3])
    assert torch.equal(network.neck.norm.running_mean.view(4, 3), full.norm.running_mean.view(4, 4)[:, :3])
    assert any("2 weights of the FRN" in text for text in host.said)
    network.train()
    output = adapter.run(network, batch(silhouettes()), training=True)
    assert set(output.training) == {"triplet", "softmax"}
    assert output.training["softmax"]["logits"].shape == (3, 3, 3)
    (output.training["triplet"]["embeddings"].sum() + output.training["softmax"]["logits"].sum()).backward()
    assert [n for n, p in network.named_parameters() if p.requires_grad and p.grad is None] == []
    _, other = built(model(class_num=9), Remembering(False, theirs))
    assert other.neck.classifier.shape == (3, 4, 9)
    assert torch.equal(other.neck.norm.running_mean.view(4, 3), full.norm.running_mean.view(4, 4)[:, :3])


def test_stage_files_are_read_when_a_training_begins_only(tmp_path: Any) -> None:
    settings: dict[str, Any] = {"gse": {"model_cfg": BASE, "checkpoint": str(tmp_path / "gse.pt")}, "class_num": 4}
    oem = {**EVALUATOR, "checkpoint": str(tmp_path / "oem.pt")}
    built(model(**settings, oem=oem), Remembering(False))
    with pytest.raises(CheckpointError, match=r"(?s)gse\.pt: no such file.*model_cfg\.gse\.checkpoint"):
        built(model(**settings, oem=oem), Remembering(True))
    base = GaitBase(**{key: value for key, value in BASE.items() if key != "model"})
    evaluator = OcclusionEvaluator(**EVALUATOR)
    torch.save({"model": base.state_dict()}, tmp_path / "gse.pt")
    torch.save(evaluator.state_dict(), tmp_path / "oem.pt")
    _, network = built(model(**settings, oem=oem), Remembering(True))
    assert torch.equal(network.gse.network.stem.conv.weight, base.stem.conv.weight)
    assert torch.equal(network.frn.network.stem.conv.weight, base.stem.conv.weight)
    assert torch.equal(network.occlusion_evaluator.embed.weight, evaluator.embed.weight)
    assert torch.equal(network.neck.classifier, base.head.neck.classifier)
    swapped = {"gse": {**settings["gse"], "checkpoint": oem["checkpoint"]}, "class_num": 4}
    with pytest.raises(
        CheckpointError, match=r"(?s)oem\.pt: .*missing.*model_cfg\.gse\.checkpoint is to be .* stage 2"
    ):
        built(model(**swapped, oem=oem), Remembering(True))
    _, apart = built(model(**settings, oem=oem, init_from_gse=False), Remembering(True))
    assert not torch.equal(apart.frn.network.stem.conv.weight, base.stem.conv.weight)


def test_released_evaluators_keep_their_meaning_in_both_stages_and_their_checkpoints(tmp_path: Any) -> None:
    """The strength of correction is (1 − P(none)) (1 − head), of frames 0..255, mean over a sequence's frames."""
    torch.manual_seed(0)
    plain = OcclusionEvaluator(("bottom", "none", "top"), **EVALUATOR)
    nn.init.normal_(plain.type_head.weight, 0, 0.1)
    published = {key: value for key, value in plain.state_dict().items() if key != "published"}
    ours = ("convolutions.0", "convolutions.1", "convolutions.2", "embed", "type_head", "amount_head")
    theirs = ("layer1.0", "layer2.0", "layer3.0", "layer4.0", "classification_head.0", "layer_amount.0")
    for new, old in zip(theirs, ours):
        published = {key.replace(old, new): value for key, value in published.items()}
    torch.save(published, tmp_path / "released.pt")
    torch.save({"model": GaitBase(**{k: v for k, v in BASE.items() if k != "model"}).state_dict()}, tmp_path / "gse.pt")

    sequences = silhouettes()
    sequences[:, :2, 20:] = 0  # frames of a sequence differ, and so do sequences
    sequences[1, :, :, 20:] = 0
    with torch.no_grad():
        bare = plain(sequences.flatten(0, 1)[:, None] * 255)
        # Its logits are none, bottom, top as they stand in the file.
        none = bare.logits.exp()[:, 0] / bare.logits.exp().sum(1)
        expected = ((1 - none) * (1 - bare.amount)).view(3, 5).mean(1)
    assert float(expected.max() - expected.min()) > 1e-3

    first = checkpoints.load(RGGaitOEMAdapter(EVALUATOR).build(), tmp_path / "released.pt").eval()
    hosted = {"model": {f"network.{key}": value for key, value in first.state_dict().items()}}
    again = checkpoints.load(RGGaitOEMAdapter(EVALUATOR).build(), hosted).eval()
    for network in (first, again):
        unoccluded = RGGaitOEMAdapter({**EVALUATOR, "occlusion": {"test": {"types": {}}}})
        found = unoccluded.run(network, batch(sequences), training=False).inference["amount"]
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)

    settings: dict[str, Any] = {"class_num": 4, "gse": {"model_cfg": BASE, "checkpoint": str(tmp_path / "gse.pt")}}
    given = model(**settings, oem={**EVALUATOR, "checkpoint": str(tmp_path / "released.pt")})
    system = built(given, Remembering(True))[1].eval()
    reloaded = built(given, Remembering(False))[1].eval()
    reloaded.load_state_dict(system.state_dict())
    for network in (system, reloaded):
        with torch.no_grad():
            signature = network.gse(batch(sequences))
            strong = network(batch(sequences), [5] * 3, frames=sequences.flatten(0, 1)[:, None])
            network.adaptive = False
            whole = network(batch(sequences), [5] * 3, frames=sequences.flatten(0, 1)[:, None])
        torch.testing.assert_close(strong - signature, expected[:, None, None] * (whole - signature))


def test_one_batch_is_occluded_once_for_all_three() -> None:
    settings = {
        "gse": {"model_cfg": BASE},
        "class_num": 4,
        "occlusion": {"train": {"types": {"top": 0.5, "pole": 0.5}}},
    }
    adapter, network = built(model(**settings), Remembering(False))
    seen: dict[str, Tensor] = {}
    network.gse.network.stem.register_forward_pre_hook(lambda _m, args: seen.__setitem__("gse", args[0]))
    network.frn.network.stem.register_forward_pre_hook(lambda _m, args: seen.__setitem__("frn", args[0]))
    network.occlusion_evaluator.register_forward_pre_hook(lambda _m, args: seen.__setitem__("oem", args[0]))
    given = silhouettes().requires_grad_()
    adapter.run(network.train(), batch(given), training=True)
    assert torch.equal(seen["gse"], seen["frn"])
    assert torch.equal(seen["gse"], seen["oem"])
    assert not torch.equal(seen["oem"].view_as(given), given)
    assert torch.equal(given, silhouettes())


@pytest.mark.parametrize(
    ("settings", "fed"),
    [
        ({"gse": {"model_cfg": BASE}}, {"triplet", "softmax"}),
        ({"gse": {"model_cfg": {"model": "GaitPT"}}}, {"triplet"}),
        ({"gse": {"model_cfg": {"model": "Baseline", "SeparateBNNecks": {}}}}, {"triplet", "softmax"}),
        ({"gse": {"model_cfg": BASE}, "neck": "none"}, {"triplet"}),
        ({"gse": {"model_cfg": {"model": "GaitSet"}}, "neck": "new"}, {"triplet", "softmax"}),
    ],
)
def test_losses_are_known_before_anything_is_built(settings: dict[str, Any], fed: set[str]) -> None:
    assert set(adapter_for({"model": "RGGait", "class_num": 4, **settings}).loss_names or {}) == fed
    assert RGGaitAdapter({"class_num": 4, "gse": {"model_cfg": {"model": "GaitSet"}}}).loss_names is None


def test_a_model_that_cannot_be_run_is_named() -> None:
    class Stubborn(Theirs):
        def forward(self, inputs: Any) -> dict[str, Any]:
            raise ValueError("wants something else")

    def stubborn() -> ToolboxSignature:
        return borrowed(Stubborn, {"parts": 4})

    with pytest.raises(ConfigError, match=r"(?s)wants something else.*\[\[64, 44\]\]"):
        built(model(), Remembering(False, stubborn))
