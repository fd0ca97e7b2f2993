"""A toolbox's models without its trainer: how they are made, fed and tried out; on stand-ins."""

from __future__ import annotations

import random
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gaitext import store
from gaitext.errors import ConfigError
from gaitext.toolboxes.adapter import Host, HostInputs
from gaitext.toolboxes.borrowed import ToolboxSignature, borrow, own_inputs, quiet_randomness
from gaitext.toolboxes.models import RGGaitAdapter
from gaitext.toolboxes.rehearsal import sample_batch


class BaseModel(nn.Module):
    """What the toolboxes call a trainer, in outline."""

    def __init__(self, cfgs: Any, training: bool) -> None:
        raise AssertionError("the trainer is not wanted")

    def inputs_pretreament(self, inputs: Any) -> Any:
        raise AssertionError("the trainer is not wanted")


class Pair(BaseModel):
    """Makes one input of two: maps [T, 2, H, W] and silhouettes [T, H, W]."""

    def build_network(self, model_cfg: dict[str, Any]) -> None:
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def init_parameters(self) -> None:
        self.fc = nn.Linear(4, 6)  # as BigGait makes its backbone

    def inputs_pretreament(self, inputs: Any) -> Any:
        assert not self.training
        maps, silhouettes = inputs[0]
        whole = [np.concatenate([m, s[:, np.newaxis]], axis=1) for m, s in zip(maps, silhouettes)]
        return super().inputs_pretreament([[whole], *inputs[1:]])

    def forward(self, inputs: Any) -> dict[str, Any]:
        (x,), _, _, _, lengths = inputs
        assert x.shape[2] == 3
        x.sub_(0.1)  # as DenoisingGait writes into its mask
        maps = self.conv(x.flatten(0, 1)).mean((2, 3)).unflatten(0, x.shape[:2])
        rows = (
            maps.amax(1)
            if lengths is None
            else torch.stack([part.amax(0) for part in maps[0].split(lengths[0].tolist())])
        )
        return {"inference_feat": {"embeddings": self.fc(rows)[:, :, None]}}


HOOKS = ("init_parameters",)
CFGS: dict[str, Any] = {"trainer_cfg": {}}


def signature(kind: type = Pair, hooks: Any = HOOKS, cfgs: Any = None) -> ToolboxSignature:
    torch.manual_seed(0)
    return ToolboxSignature(borrow(kind, {}, {"cfgs": CFGS if cfgs is None else cfgs}, hooks), kind.__name__)


def inputs(*sequences: Tensor, lengths: Tensor | None = None) -> HostInputs:
    n = len(sequences[0]) if lengths is None else lengths.numel()
    return HostInputs(list(sequences), torch.arange(n), ["nm-01"] * n, ["000"] * n, lengths)


def pair(n: int = 2, frames: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    maps = torch.rand(n, frames, 2, 16, 12, generator=generator)
    silhouettes = torch.zeros(n, frames, 16, 12)
    silhouettes[:, :, 2:14, 3:9] = 1
    return maps, silhouettes


def slow(extractor: ToolboxSignature, maps: Tensor, silhouettes: Tensor) -> Tensor:
    """What the model gives for inputs that it did not make itself."""
    together = torch.cat((maps, silhouettes[:, :, None]), 2)
    network: Any = extractor.network
    found: Tensor = network(([together], torch.zeros(1), [], [], None))["inference_feat"]["embeddings"]
    return found


def test_a_model_that_makes_its_inputs_sees_all_of_them() -> None:
    extractor = signature().eval()
    assert extractor.makes_inputs
    maps, silhouettes = pair()
    found = extractor(inputs(maps, silhouettes))
    assert torch.equal(found, slow(extractor, maps, silhouettes))
    assert not torch.allclose(found, extractor(inputs(maps, torch.zeros_like(silhouettes))))
    # What the model wrote into its input did not reach the next network's.
    assert torch.equal(extractor(inputs(maps, silhouettes)), found)
    prepared = extractor.prepare(inputs(maps, silhouettes))
    assert torch.equal(extractor(prepared), found)
    assert torch.equal(extractor(prepared), found)
    packed = inputs(maps.flatten(0, 1)[None], silhouettes.flatten(0, 1)[None], lengths=torch.tensor([[3, 7]]))
    rows = extractor(packed)
    long = (maps.flatten(0, 1)[None, 3:], silhouettes.flatten(0, 1)[None, 3:])
    torch.testing.assert_close(rows[1:], slow(extractor, *long))


def test_transforms_are_listed_as_for_the_model_alone_or_one_for_each_input() -> None:
    extractor = signature()
    maps, silhouettes = (list(each.numpy()) for each in pair())
    batch = ([maps, silhouettes], torch.zeros(2), ["nm"] * 2, ["000"] * 2, None)
    seen: list[Any] = []

    def base(given: Any) -> str:
        seen.append(given)
        return "transformed"

    assert extractor.pretreat(batch, base, 1) == "transformed"
    assert len(seen) == 1
    assert seen[0][0][0][0].shape == (5, 3, 16, 12)
    assert extractor.pretreat(batch, base, 2) is None
    with pytest.raises(ConfigError, match="3 transforms for 2 inputs, of which Pair makes 1"):
        extractor.pretreat(batch, base, 3)
    assert len(seen) == 1


def test_both_networks_of_the_system_see_both_inputs_occluded() -> None:
    adapter, system = rg_gait(signature)
    maps, silhouettes = pair()
    given = inputs(maps, silhouettes)
    outputs = [adapter.run(system.eval(), given, training=False).inference["embeddings"]]
    assert torch.equal(outputs[0], slow(system.gse, maps, silhouettes))
    blank = inputs(maps, torch.zeros_like(silhouettes))
    outputs.append(adapter.run(system, blank, training=False).inference["embeddings"])
    assert not torch.allclose(*outputs)


def rg_gait(make: Any, host: Host | None = None, **settings: Any) -> tuple[RGGaitAdapter, Any]:
    model = {
        **{"class_num": 3, "oem": {"channels": [2, 4, 4], "feature_size": 5}, "mix_init": "zero", "neck": "none"},
        "gse": {"model_cfg": {"model": "Stranger"}, "input_shapes": [[2, 16, 12], [16, 12]]},
    }
    adapter = RGGaitAdapter({**model, **settings})
    return adapter, adapter.build(host or Stand(make))


class Stand(Host):
    """A host of one model."""

    def __init__(self, make: Any, where: str = "cpu", packs: bool = False, sample: HostInputs | None = None) -> None:
        super().__init__(False)
        self.make, self.where, self.packed, self.batch = make, where, packs, sample
        self.said: list[str] = []

    def signature(self, model_cfg: Any, *, where: str) -> Any:
        return self.make()

    def say(self, text: str) -> None:
        self.said.append(text)

    @property
    def device(self) -> torch.device:
        return torch.device(self.where)

    @property
    def packs(self) -> bool:
        return self.packed

    def sample(self, extractor: Any) -> HostInputs | None:
        return self.batch


# How they are made --------------------------------------------------------------------------------


def test_an_init_of_its_own_runs_round_the_trainers() -> None:
    class Own(Pair):
        def __init__(self, cfgs: Any, training: bool) -> None:
            self.before = cfgs["trainer_cfg"]["before"]
            super().__init__(cfgs, training)
            self.after = self.conv.out_channels

    network: Any = signature(Own, cfgs={"trainer_cfg": {"before": 7}}).network
    assert (network.before, network.after, network.training) == (7, 4, False)
    # What it wants of a trainer's config may be of no use at test: it is built without.
    network = signature(Own).network
    assert not hasattr(network, "before")
    assert "KeyError" in network._init_failed


def test_an_init_that_does_the_trainers_work_is_left_out() -> None:
    class Whole(Pair):
        def __init__(self, cfgs: Any, training: bool) -> None:
            nn.Module.__init__(self)
            self.build_network({})
            self.loader = self.get_loader(cfgs)

        def get_loader(self, cfgs: Any) -> Any:
            raise AssertionError("read the whole dataset")

    assert hasattr(signature(Whole).network, "fc")


def test_what_keeps_a_model_from_being_built_is_said() -> None:
    class Wanting(Pair):
        def init_parameters(self) -> None:
            torch.load("pretrained/backbone.pth")

    with pytest.raises(ConfigError, match=r"(?s)Wanting cannot be built.*FileNotFoundError.*pretrained/backbone\.pth"):
        signature(Wanting)


def test_only_models_that_override_it_make_their_inputs() -> None:
    class Plain(BaseModel):
        def build_network(self, model_cfg: Any) -> None:
            self.fc = nn.Linear(2, 2)

    assert not own_inputs(borrow(Plain, {}, {}))
    assert own_inputs(borrow(Pair, {}, {}))


# How they are tried out ---------------------------------------------------------------------------


def test_the_trial_runs_where_the_model_will_live() -> None:
    class Placed(Pair):
        def inputs_pretreament(self, inputs: Any) -> Any:  # numbers on no device cannot be had
            raise AssertionError

        def forward(self, inputs: Any) -> dict[str, Any]:
            assert inputs[0][0].device.type == self.conv.weight.device.type == "meta"
            return {"inference_feat": {"embeddings": self.fc(self.conv(inputs[0][0].flatten(0, 1)).mean((2, 3)))}}

    def make() -> ToolboxSignature:
        made = signature(Placed)
        made.prepare = lambda given: given  # type: ignore[method-assign]
        made.normalised_by = lambda *_: None  # type: ignore[method-assign]
        moved.append(made)
        return made

    moved: list[ToolboxSignature] = []
    gse = {"model_cfg": {"model": "Stranger"}, "input_shapes": [[3, 16, 12]]}
    with pytest.raises(NotImplementedError, match="meta"):  # only the way back is barred there
        rg_gait(make, Stand(make, "meta"), gse=gse)
    with pytest.raises(ConfigError, match=r"cannot be run on cpu.*AssertionError"):
        rg_gait(make, gse=gse)


def test_a_model_that_compares_by_what_it_never_trains_has_a_trainable_twin() -> None:
    class Averaged(Pair):
        def init_parameters(self) -> None:
            super().init_parameters()
            self.student = nn.Linear(4, 6)
            for part in (self.conv, self.fc):
                part.requires_grad_(False)

    host = Stand(lambda: signature(Averaged))
    _, system = rg_gait(None, host)
    assert system.frn.network.conv.weight.requires_grad
    assert not system.gse.network.conv.weight.requires_grad
    assert not system.frn.network.student.weight.requires_grad
    assert "network.student.weight" in " ".join(host.said)


def test_a_model_that_cannot_tell_packs_apart_is_refused_before_training() -> None:
    class Deaf(Pair):
        def forward(self, inputs: Any) -> dict[str, Any]:
            return super().forward((*inputs[:4], None))

    rg_gait(lambda: signature(Deaf))
    with pytest.raises(ConfigError, match="Deaf does not tell packed sequences apart"):
        rg_gait(None, Stand(lambda: signature(Deaf), packs=True))
    rg_gait(None, Stand(signature, packs=True))


def test_a_model_without_embeddings_is_named_with_what_it_gives() -> None:
    class Masks(Pair):
        def forward(self, inputs: Any) -> dict[str, Any]:
            return {"inference_feat": {"pred": inputs[0][0]}}

    with pytest.raises(ConfigError, match="Masks gives no embeddings at test, only pred"):
        rg_gait(lambda: signature(Masks))


@pytest.mark.parametrize(
    ("sequences", "said"),
    [
        ([torch.randn(2, 6, 3, 16, 12)], r"reads images only \(images \[3, 16, 12\]\)"),
        ([torch.rand(2, 6, 10, 17, 1)], "Stranger.*bones, angles and motion"),
        ([torch.rand(2, 6, 200, 3)], "Stranger.*points"),
        ([torch.zeros(2, 6, 64, 44), torch.rand(2, 6, 85)], "Stranger.*input number 1.*numbers of each frame"),
        ([torch.rand(2, 6, 1)], "none of Stranger's inputs"),
    ],
)
def test_inputs_that_cannot_be_occluded_or_judged_are_refused(sequences: list[Tensor], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rg_gait(None, Stand(signature, sample=inputs(*sequences)))


def test_the_hosts_own_frames_tell_what_the_inputs_show() -> None:
    parts = torch.arange(12.0)[:, None].expand(16, 12, 12).movedim(0, 1).contiguous()[:, :16]
    numbers = torch.zeros(2, 6, 16, 12) + torch.arange(16.0).remainder(12)[:, None]
    assert parts.shape[-1] == 12
    sample = inputs(torch.rand(2, 6, 2, 16, 12), numbers)
    assert rg_gait(None, Stand(signature, sample=sample))[0].kinds == ["heatmaps", "parsing"]
    images = inputs(torch.randn(2, 6, 2, 16, 12), torch.ones(2, 6, 16, 12))
    assert rg_gait(None, Stand(signature, sample=images))[0].kinds == ["images", "silhouettes"]


def test_images_are_corrected_where_nothing_is_judged() -> None:
    class One(BaseModel):
        build_network, init_parameters, forward = Pair.build_network, Pair.init_parameters, Pair.forward

    gse = {"model_cfg": {"model": "Stranger"}}
    sample = inputs(torch.randn(2, 6, 3, 16, 12))
    host = Stand(lambda: signature(One), sample=sample)
    with pytest.raises(ConfigError, match="images only"):
        rg_gait(None, host, gse=gse)
    adapter, system = rg_gait(None, host, gse=gse, adaptive=False, occlusion_aware=False)
    found = adapter.run(system.train(), sample, training=True).training["triplet"]
    assert found["embeddings"].shape == (2, 6, 1)  # type: ignore[index]


# The dataset's first sequence ---------------------------------------------------------------------


class _Collate:
    def __init__(self, labels: list[str], sampler: dict[str, Any]) -> None:
        self.frames = sampler["frames_num_fixed"]

    def __call__(self, batch: Any) -> Any:
        count = len(batch[0][0])
        frames = [
            [np.asarray(parts[i])[np.arange(self.frames) % len(parts[i])] for parts, _ in batch] for i in range(count)
        ]
        return [frames, [0] * len(batch), [of[1] for _, of in batch], [of[2] for _, of in batch], None]


@pytest.fixture
def toolbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A toolbox's data package, and a config of its."""
    collate, transform = types.ModuleType("data.collate_fn"), types.ModuleType("data.transform")
    collate.CollateFn = _Collate  # type: ignore[attr-defined]

    def noisy(x: Any) -> Any:
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return x / 255.0

    transform.get_transform = lambda lists: [noisy for _ in lists]  # type: ignore[attr-defined]
    for module in (types.ModuleType("data"), collate, transform):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    maps, silhouettes = (np.asarray(each[0] * 255).astype(np.uint8) for each in pair(frames=9))
    store.write_leaf(tmp_path / "data", "007", "negative", "090", {"0_maps": maps, "1_sils": silhouettes})
    store.write_json(tmp_path / "partition.json", {"TRAIN_SET": ["001", "007"], "TEST_SET": ["002"]})
    data = {"dataset_root": str(tmp_path / "data"), "dataset_partition": str(tmp_path / "partition.json")}
    engine = {"sampler": {"sample_type": "fixed_ordered", "frames_num_fixed": 30}, "transform": [{}]}
    return {"data_cfg": data, "trainer_cfg": engine, "evaluator_cfg": engine}


def test_the_first_sequence_is_tried_as_the_run_makes_it(toolbox: dict[str, Any]) -> None:
    extractor = signature()
    before = random.getstate(), np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
    batch = sample_batch(toolbox, "trainer_cfg", extractor)
    assert batch is not None
    assert batch.prepared
    assert [tuple(each.shape) for each in batch.sequences] == [(2, 6, 3, 16, 12)]
    assert 0 < batch.sequences[0].max() <= 1
    assert (batch.types, batch.views) == (["negative"] * 2, ["090"] * 2)
    assert random.getstate() == before[0]
    assert np.random.get_state()[2] == before[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[2])
    toolbox["trainer_cfg"]["transform"] = [{}, {}]
    apart = sample_batch(toolbox, "trainer_cfg", signature())
    assert apart is not None
    assert not apart.prepared
    assert [each.ndim for each in apart.sequences] == [5, 4]
    # Packs are tried as fixed batches of what is there.
    toolbox["trainer_cfg"]["sampler"] = {"sample_type": "all_ordered"}
    packed = sample_batch(toolbox, "trainer_cfg", signature())
    assert packed is not None
    assert packed.lengths is None
    assert packed.sequences[0].shape[:2] == (2, 6)
    # There is nothing to test on.
    assert sample_batch(toolbox, "evaluator_cfg", signature()) is None
    toolbox["trainer_cfg"]["transform"] = [{}, {}, {}]
    with pytest.raises(ConfigError, match="3 transforms for 2 inputs"):
        sample_batch(toolbox, "trainer_cfg", signature())


def test_randomness_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    first = (random.random(), torch.rand(2))
    torch.manual_seed(0)
    random.seed(3)
    drawn = random.random()
    random.seed(3)
    with quiet_randomness():
        random.random(), torch.rand(3)
    assert random.random() == drawn
    assert torch.equal(torch.rand(2), first[1])


def test_on_a_cpu_only_a_toolbox_is_told_that_its_tensors_are_on_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "modeling").mkdir()
    (tmp_path / "modeling/__init__.py").write_text("def ask(x):\n    return x.is_cuda\n")
    code = (
        "import torch, modeling; from gaitext.toolboxes.cpu import redirect; redirect(1); x = torch.rand(2); "
        "print(modeling.ask(x), modeling.ask(torch.nn.Parameter(x)), x.is_cuda)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True", "False"]
