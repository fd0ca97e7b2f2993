"""Configs by name, and folders that hold more than sequences."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from gaitext import cli
from gaitext.config import find_config, load_yaml, shipped_configs
from gaitext.convert import convert_dataset
from gaitext.errors import ConfigError, DataError
from gaitext.inspect.dataset import DatasetContents
from gaitext.inspect.inspect import inspect
from gaitext.store import leaves, read_sequence, write_leaf, write_sequence

CONFIGS = Path(__file__).parents[1] / "configs"


def test_every_config_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert len(shipped_configs()) == len(list(CONFIGS.rglob("*.yaml")))
    monkeypatch.chdir(tmp_path)
    for name in ("gaitheat/tiny", "gaitheat/tiny.yaml", "configs/gaitheat/tiny.yaml"):
        assert load_yaml(name) == load_yaml(CONFIGS / "gaitheat" / "tiny.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml("gaitheat/tinny")
    (tmp_path / "gaitheat").mkdir()
    (tmp_path / "gaitheat" / "tiny.yaml").write_text("own: {}\n")
    assert load_yaml("gaitheat/tiny.yaml") == {"own": {}}
    assert find_config("../x.yaml") == Path("../x.yaml")


def test_configs_are_listed_printed_and_copied(tmp_path: Path) -> None:
    def config(*words: str) -> Result:
        return CliRunner().invoke(cli.app, ["config", *words], catch_exceptions=False)

    listed = config("list").output.split()
    assert listed == list(shipped_configs())
    assert config("show", "gaitpt/tiny").output == (CONFIGS / "gaitpt" / "tiny.yaml").read_text()
    assert config("copy", str(tmp_path)).exit_code == 0
    assert len(list(tmp_path.rglob("*.yaml"))) == len(listed)
    assert config("copy", str(tmp_path / "one"), "gaitpt/tiny").exit_code == 0
    assert [path.name for path in (tmp_path / "one").rglob("*.yaml")] == ["tiny.yaml"]
    (tmp_path / "gaitpt" / "tiny.yaml").write_text("mine: 1\n")
    with pytest.raises(DataError, match="is another"):
        config("copy", str(tmp_path))
    with pytest.raises(ConfigError, match="gaitpt/tiny"):
        config("show", "gaitpt/tinny")


def test_the_folder_above_the_sequences_is_taken_or_named(tmp_path: Path) -> None:
    out = tmp_path / "out"
    maps = np.random.default_rng(0).random((3, 2, 4, 4)).astype(np.float16)
    write_leaf(out / "sequences", "001", "nm-01", "000", {"0_heatmaps": maps})
    (out / "records" / "001" / "nm-01").mkdir(parents=True)
    (out / "records" / "001" / "nm-01" / "000.json").write_text("{}")
    made = convert_dataset(out, tmp_path / "other", "lossless", quiet=True)
    made.raise_failures()
    assert made.written == 1
    assert np.array_equal(read_sequence(tmp_path / "other" / "001" / "nm-01" / "000" / "0_heatmaps.pkl"), maps)
    with pytest.raises(DataError, match="above") as caught:
        leaves(out)
    assert str(out / "sequences") in str(caught.value)
    # An identity may be called so.
    write_leaf(tmp_path / "plain", "sequences", "nm-01", "000", {"0_heatmaps": maps})
    assert [leaf.identity for leaf in leaves(tmp_path / "plain")] == ["sequences"]


def test_silhouettes_named_after_their_view_are_consistent(tmp_path: Path) -> None:
    for view in ("000", "090", "180"):
        leaf = tmp_path / "001" / "nm-01" / view
        leaf.mkdir(parents=True)
        write_sequence(leaf / f"{view}.pkl", np.ones((5, 64, 64), np.uint8))
    contents = inspect(tmp_path)
    assert isinstance(contents, DatasetContents)
    assert not contents.odd
    assert [(group.name, group.files) for group in contents.groups] == [("<view>.pkl", 3)]
    (tmp_path / "001" / "nm-01" / "090" / "more.pkl").write_bytes((leaf / "180.pkl").read_bytes())
    assert list(inspect(tmp_path).odd) == ["001/nm-01/090"]  # type: ignore[union-attr]
