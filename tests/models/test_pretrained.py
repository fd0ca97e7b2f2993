"""Weights that come with gaitext: what the registry says, what loads, and what hosts restore."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from gaitext.cli import app
from gaitext.config import load_yaml
from gaitext.errors import CheckpointError, ConfigError
from gaitext.models import from_pretrained
from gaitext.models.pretrained import Pretrained, build_network, find_pretrained, pretrained
from gaitext.standalone.building import build_model, load_weights
from gaitext.training.runs import read_checkpoint

OWN = [name for name, row in pretrained().items() if row.config]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", list(pretrained()))
def test_files_are_those_that_are_recorded_and_load(name: str) -> None:
    row = find_pretrained(name)
    content = row.path.read_bytes()
    assert (row.size, row.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert row.licence == "Apache-2.0"
    assert (row.path.parent / "NOTICE").is_file()
    network = from_pretrained(name)
    assert not network.training
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_no_weights_lie_about_without_a_row() -> None:
    files = set((ROOT / "gaitext").rglob("*.safetensors"))
    assert files == {row.path for row in pretrained().values()}


def test_rows_say_what_there_is_without_them_beside_their_own_numbers() -> None:
    for name in OWN:
        row = find_pretrained(name)
        # A corrector has no chance; it has the estimator alone.
        beside = "without it" if row.model_cfg["model"] == "ArtifactCorrector" else "chance"
        assert beside in (row.result or ""), name
        assert row.checkpoint is not None
        assert any(command.startswith("gaitext train") for command in row.commands), name


def test_the_docs_table_is_the_registrys() -> None:
    rows = re.findall(
        r"^\| `([\w-]+)` \| (.*?) \| (.*?) \| (.*?) \|", (ROOT / "docs/models.md").read_text("utf-8"), re.M
    )
    assert rows == [(n, r.what, r.trained_on, r.result or "–") for n, r in pretrained().items()]


def test_an_unknown_name_is_told_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gaitpt-walkers'"):
        from_pretrained("gaitpt-walker")
    with pytest.raises(ConfigError, match="did you mean 'GaitPT'"):
        build_network({"model": "GaitPt"})


def test_changed_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = find_pretrained("oem-walkers")
    original, content = row.path, bytearray(row.path.read_bytes())
    content[-1] ^= 1
    (tmp_path / original.name).write_bytes(content)
    (tmp_path / row.record).write_bytes((original.parent / row.record).read_bytes())
    monkeypatch.setattr(Pretrained, "path", property(lambda self: tmp_path / original.name))
    with pytest.raises(CheckpointError, match="other weights"):
        from_pretrained("oem-walkers")


@pytest.mark.parametrize("name", OWN)
def test_an_exported_checkpoint_is_restored_by_its_config(name: str, tmp_path: Path) -> None:
    """As a host does: strictly, into the model that the shipped config builds."""
    path = tmp_path / "model.pt"
    with pytest.raises(SystemExit) as ended:
        app(["models", "export", name, "--out", str(path)])
    assert ended.value.code == 0
    model = build_model(load_yaml(find_pretrained(name).config)["model_cfg"], fresh=False)
    load_weights(model, path, read_checkpoint(path), strict=True)
    nn.Module.load_state_dict(model, torch.load(path, weights_only=True)["model"])  # the toolboxes' own way
    ours = from_pretrained(name).state_dict()
    theirs = model.state_dict()
    assert {key.split("network.", 1)[1].removeprefix("corrector.") for key in theirs} == set(ours)
    for key, value in ours.items():
        held = next(each for each in (f"network.{key}", f"network.corrector.{key}") if each in theirs)
        assert torch.equal(theirs[held], value), key


def test_the_table_and_a_row_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["models"], ["models", "gaitpt-walkers"]):
        with pytest.raises(SystemExit):
            app(arguments)
    shown = capsys.readouterr().out
    assert all(name in shown for name in pretrained())
    row = find_pretrained("gaitpt-walkers")
    for text in (row.sha256, *row.numbers, *row.commands):
        assert text in shown


def test_a_bundled_estimator_is_no_hosts_model(tmp_path: Path) -> None:
    for command in (
        ["export", "movenet-lightning", "--out", str(tmp_path / "m.pt")],
        ["make", "movenet-lightning", "--out", str(tmp_path)],
    ):
        with pytest.raises(ConfigError):
            app(["models", *command])
    assert not list(tmp_path.iterdir())
