"""What the linked file does inside a toolbox."""

from __future__ import annotations

import inspect
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError
from gaitext.pose.decoding import decode_heatmaps
from gaitext.toolboxes import parts, plugin
from gaitext.toolboxes.link import link
from gaitext.toolboxes.registered import exposed

from . import data
from .fake import imported, make_toolbox

#: A toolbox's transforms, looked up and built as the real ones do.
TRANSFORMS = """
import sys


class Twice:
    def __call__(self, x):
        return 2 * x


class Add:
    def __init__(self, n):
        self.n = n

    def __call__(self, x):
        return x + self.n


def get_transform(cfgs):
    made = [dict(c) for c in cfgs]
    return [getattr(sys.modules[__name__], c.pop("type"))(**c) for c in made]
"""


@pytest.fixture
def toolbox(tmp_path: Path) -> Path:
    root = make_toolbox(tmp_path / "OpenGait")
    link(root)
    return root


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)


def test_everything_is_reachable(toolbox: Path) -> None:
    with imported(toolbox) as models:
        assert issubclass(models.GaitHeat, models.BaseModel)
        for table, module in (
            (parts.TRANSFORMS, "data.transform"),
            (parts.LOSSES, "modeling.losses"),
            (parts.SAMPLERS, "data.sampler"),
            (parts.EVALUATIONS, "evaluation.evaluator"),
        ):
            for name in table:
                assert getattr(getattr(sys.modules[module], name), "__gaitext__", False), name
        found = plugin.registration()
        assert found is not None
        assert found.toolbox == "OpenGait"
        assert found.clashes == []


def test_a_toolbox_without_compose_is_given_one(toolbox: Path) -> None:
    (toolbox / "opengait/data/transform.py").write_text(TRANSFORMS)
    with imported(toolbox):
        module = sys.modules["data.transform"]
        assert inspect.getfullargspec(module.Compose.__init__)[0] == ["self", "trf_cfg"]
        compose = module.Compose(trf_cfg=[{"type": "Twice"}, {"type": "Add", "n": 1}])
        np.testing.assert_array_equal(compose(np.arange(3)), [1, 3, 5])


def test_a_toolbox_builds_what_gaitheat_is_compared_with(toolbox: Path) -> None:
    (toolbox / "opengait/data/transform.py").write_text(TRANSFORMS)
    heatmaps = np.random.default_rng(0).random((2, 17, 64, 48), dtype=np.float32)
    drawn = {"type": "PoseToHeatmap", "size": [48, 64], "sigma": 1.5, "scores": False}
    with imported(toolbox):
        build = sys.modules["data.transform"].get_transform
        regenerate, pretreat, draw = build(
            [{"type": "HeatmapRegenerate", "sigma": 1.5, "scores": False}, {"type": "HeatmapPretreatment"}, drawn]
        )
        np.testing.assert_array_equal(regenerate(heatmaps), draw(decode_heatmaps(heatmaps)))
        assert pretreat(heatmaps).shape == (2, 17, 64, 48)


def test_a_toolboxs_own_compose_is_left_alone(toolbox: Path) -> None:
    (toolbox / "opengait/data/transform.py").write_text("def Compose(trf_cfg):\n    return 'its own'\n")
    with imported(toolbox):
        assert sys.modules["data.transform"].Compose([]) == "its own"
        found = plugin.registration()
        assert found is not None
        assert found.clashes == []


def test_clash_is_told_and_ours_wins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # "aaa" is imported before the link and "zoo" after it; the toolbox lets the last one win.
    root = make_toolbox(tmp_path, aaa="class GaitHeat:\n    pass\n", zoo="class GaitHeat:\n    pass\n")
    (root / "opengait/data/transform.py").write_text("class HeatmapInput:\n    pass\n")
    link(root)
    with caplog.at_level(logging.WARNING), imported(root) as models:
        assert models.GaitHeat.__gaitext__
        assert sys.modules["data.transform"].HeatmapInput.__gaitext__
    told = [r.getMessage() for r in caplog.records if "is also defined in" in r.getMessage()]
    assert len(told) == 3


def test_clash_is_told_on_rank_0_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_toolbox(tmp_path, zoo="class GaitHeat:\n    pass\n")
    link(root)
    monkeypatch.setenv("RANK", "1")
    with caplog.at_level(logging.WARNING), imported(root):
        assert not caplog.records


@pytest.mark.parametrize("breakage", ["missing", "broken"])
def test_never_raises_at_import(
    toolbox: Path, breakage: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if breakage == "missing":
        monkeypatch.setitem(sys.modules, "gaitext.toolboxes.plugin", None)
        monkeypatch.delattr("gaitext.toolboxes.plugin")
    else:
        monkeypatch.setattr(plugin, "model_class", lambda *_: 1 / 0)
    with caplog.at_level(logging.WARNING), imported(toolbox) as models:
        assert models.Plain
        assert not hasattr(sys.modules.get("data.transform"), "HeatmapInput")
        with pytest.raises(RuntimeError, match="gaitext doctor") as caught:
            models.GaitHeat({}, True)
    assert caught.value.__cause__ is not None
    assert "gaitext could not be plugged in" in caplog.text


def test_model_keeps_its_weights_and_cuts_time(toolbox: Path, dataset: Path, one_process: None) -> None:
    cfgs = data.config(dataset)
    with imported(toolbox) as models:
        model = models.GaitHeat(cfgs, True)
        assert any(float(p.detach().abs().sum()) > 0 for p in model.parameters())
        assert all(key.startswith("network.") for key in model.state_dict())
        pack = np.random.default_rng(0).random((9, 17, 64, 48), dtype=np.float32)
        batch = ([[pack]], [0, 1], ["nm-01"] * 2, ["000"] * 2, np.array([[3, 4]]))
        inputs = model.eval().inputs_pretreament(batch)
        assert inputs[0][0].shape == (1, 7, 17, 64, 48)
        assert inputs[4].tolist() == [[3, 4]]
        output = model(inputs)
        assert output["inference_feat"]["embeddings"].shape[:2] == (2, 8)


def test_summaries_can_be_logged(toolbox: Path, dataset: Path, one_process: None) -> None:
    cfgs = data.config(dataset)
    with imported(toolbox) as models:
        model = models.GaitHeat(cfgs, True)
        inputs = [torch.rand(2, 3, 17, 64, 48, requires_grad=True)]
        with torch.autocast("cpu", torch.bfloat16):
            output = model((inputs, torch.tensor([0, 1]), ["nm-01"] * 2, ["000"] * 2, None))
    for name, image in output["visual_summary"].items():
        assert name.startswith("image/")
        assert image.ndim == 4
        assert image.shape[1] in (1, 3)
        assert image.dtype == torch.float32
        assert not image.requires_grad


def test_model_refuses_a_wrong_config_first(toolbox: Path, dataset: Path, one_process: None) -> None:
    cfgs = data.config(dataset)
    cfgs["model_cfg"]["chanels"] = [1, 1, 1, 1]
    with imported(toolbox) as models, pytest.raises(ConfigError, match="did you mean 'channels'"):
        models.GaitHeat(cfgs, True)


def test_parameters_can_be_seen_where_toolboxes_look() -> None:
    class Strict:
        def __init__(self, first: int, *, second: int = 2, **rest: Any) -> None:
            self.values = (first, second)

    def evaluate(data: dict[str, Any], dataset: str, *, metric: str = "euc") -> str:
        return f"{dataset}-{metric}"

    shown = exposed("Strict", Strict)
    assert inspect.getfullargspec(shown.__init__)[0] == ["self", "first", "second"]
    assert shown(first=1, second=3).values == (1, 3)
    function = exposed("evaluate", evaluate)
    assert inspect.isfunction(function)
    assert inspect.getfullargspec(function)[0] == ["data", "dataset", "metric"]
    assert function({}, "CASIA-B", metric="cos") == "CASIA-B-cos"
