"""`gaitext config new` for the toolboxes: their own main.py trains and tests with the YAML as it is.

Needs checkouts: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. They are copied, and not touched.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitext import standalone
from gaitext.config import load_yaml
from gaitext.standalone.new_config import new_config
from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox

from . import data
from .checkout import launch, linked_copy, needs

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]


@pytest.fixture(params=[pytest.param(toolbox, marks=needs(toolbox), id=toolbox.name) for toolbox in TOOLBOXES])
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    toolbox: Toolbox = request.param
    with linked_copy(toolbox, tmp_path) as copy:
        yield copy


def test_a_new_config_trains_and_tests(checkout: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The protocol's numbers are the embedded host's."""
    dataset = data.make_dataset(tmp_path / "own")
    made = new_config("gaitheat", dataset / "data", iterations=2, out=tmp_path / "mine.yaml")[0]
    config = load_yaml(made.path)
    assert config["evaluator_cfg"]["probe"] == {"bg": {"type": "bg"}, "cl": {"type": "cl"}}
    assert launch(checkout, config, "train", 1) == 0
    capfd.readouterr()
    results = []
    for host in ("toolbox", "embedded"):
        config["evaluator_cfg"]["table"] = str(tmp_path / f"{host}.json")
        if host == "toolbox":
            assert launch(checkout, config, "test", 1) == 0
        else:
            weights = checkout / "output/data/GaitHeat/mine/checkpoints/mine-00002.pt"
            standalone.test(config, checkpoint=weights, quiet=True)
        results.append((tmp_path / f"{host}.json").read_text())
    assert results[0] == results[1]
    output = capfd.readouterr()
    for said in ("===data: gallery type=nm", "bg@R1: ", "mean@mINP: "):
        assert (output.out + output.err).count(said) == 1, said
