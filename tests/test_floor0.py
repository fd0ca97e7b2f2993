"""Errors, settings and skeleton."""

import pickle

import pytest

from gaitext import skeleton
from gaitext.config import Settings, load_yaml, merge, need
from gaitext.errors import ConfigError, DataError, MissingDependencyError, import_extra


class Inner(Settings):
    size: int = 3


class Outer(Settings):
    name: str
    inner: Inner = Inner()


def test_settings_name_the_key_the_place_and_the_nearest_name() -> None:
    with pytest.raises(ConfigError) as caught:
        Outer.parse({"name": "a", "inner": {"sise": 1}}, where="model_cfg")
    assert "model_cfg.inner.sise" in str(caught.value)
    assert "did you mean 'size'" in str(caught.value)
    with pytest.raises(ConfigError, match=r"missing key 'model_cfg\.name'"):
        Outer.parse({}, where="model_cfg")
    with pytest.raises(ConfigError, match=r"model_cfg\.inner\.size.*'x'"):
        Outer.parse({"name": "a", "inner": {"size": "x"}}, where="model_cfg")


def test_yaml_is_merged_like_the_toolboxes_do(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("a: {x: 1}\nb: [1]\n")
    assert merge(load_yaml(tmp_path / "a.yaml"), {"a": {"x": 0, "y": 2}, "b": [9, 9]}) == {
        "a": {"x": 1, "y": 2},
        "b": [1],
    }
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_yaml(tmp_path / "a.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="'datset_root' a misspelling"):
        need({"datset_root": 1}, "dataset_root", where="data_cfg")


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(DataError("what", where="there", how="so")))
    assert (error.what, error.where, error.how) == ("what", "there", "so")
    assert str(error) == "there: what\nTo mend it: so"


def test_a_missing_extra_names_the_install() -> None:
    with pytest.raises(MissingDependencyError, match=r"pip install 'gaitext\[onnx\]'"):
        import_extra("no_such_module", "onnx", "this")


def test_every_partition_but_none_other_can_be_mirrored_twice() -> None:
    for name, parts in skeleton.PARTITIONS.items():
        order = skeleton.part_mirror(name)
        assert [order[i] for i in order] == list(range(len(parts)))
    assert {i for part in skeleton.PARTITIONS["upper_lower"].values() for i in part} == set(range(17))
