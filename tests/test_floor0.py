"""Errors, settings and skeleton."""

import pickle
from typing import Any

import pytest
from pydantic import Field

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


class Nested(Settings):
    rows: tuple[Outer, ...] = Field((), min_length=1)
    named: dict[str, Outer | None] = Field(default_factory=dict)
    free: dict[str, Any] | str = ""


@pytest.mark.parametrize(
    ("values", "place", "hint"),
    [
        ({"rows": [{"name": "a"}, {"name": "b", "inner": {"sise": 1}}]}, "top.rows.1.inner.sise", "'size'"),
        ({"named": {"one": {"nam": "a"}}}, "top.named.one.nam", "'name'"),
        ({"named": {"one": {"name": "a", "inner": {"sise": 1}}}}, "top.named.one.inner.sise", "'size'"),
        ({"free": 3}, "top.free", None),
        ({"rows": []}, "top.rows", None),
    ],
)
def test_settings_in_lists_and_dicts_are_named_in_full(values: Any, place: str, hint: str | None) -> None:
    with pytest.raises(ConfigError, match=rf"'{place}'") as caught:
        Nested.parse(values, where="top")
    assert hint is None or f"did you mean {hint}" in str(caught.value)
    assert "rows" in place or "rows" not in str(caught.value)


def test_a_wrong_entry_is_not_told_as_a_missing_one() -> None:
    with pytest.raises(ConfigError) as caught:
        Nested.parse({"rows": [{"nam": "a"}]}, where="top")
    assert "too" not in str(caught.value)
    assert "at least" not in str(caught.value)


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


def test_joint_orders_place_limbs_side_by_side() -> None:
    names = (*skeleton.COCO_JOINTS, "nose")
    arms = [["left_shoulder", "left_elbow", "left_wrist"], ["right_shoulder", "right_elbow", "right_wrist"]]
    legs = [["left_hip", "left_knee", "left_ankle"], ["right_hip", "right_knee", "right_ankle"]]
    head = [["nose", "left_eye", "left_ear"], ["nose", "right_eye", "right_ear"]]
    limbs = {
        "head_upper_lower": [*head, *arms, *legs],
        "head_left_right": [*head, arms[0], legs[0], arms[1], legs[1]],
        "head_opposite": [*head, arms[0], legs[1], arms[1], legs[0]],
    }
    assert limbs.keys() == skeleton.POSE_ORDERS.keys()
    for order, expected in limbs.items():
        found = [names[i] for i in skeleton.coco_rows(order)]
        assert [found[i : i + 3] for i in range(0, 18, 3)] == expected
        assert sorted(skeleton.resolve_order(order)) == list(range(18))
        mirror = skeleton.order_mirror(order)
        flipped = [found[i] for i in mirror]
        exchange = {"left": "right", "right": "left"}
        assert flipped == [
            "_".join([exchange.get(name.split("_")[0], name.split("_")[0]), *name.split("_")[1:]]) for name in found
        ]
        assert [mirror[i] for i in mirror] == list(range(18))


@pytest.mark.parametrize(
    ("order", "named"),
    [
        ("head_uper_lower", "did you mean 'head_upper_lower'"),
        (7, "neither a name nor a list"),
        ([0.0] * 18, "neither a name nor a list"),
        (list(range(17)), "orders 17 joints, not 18"),
        ([*range(17), 18], "names joint 18"),
        ([*range(17), 3], "joint 3 twice"),
    ],
)
def test_wrong_joint_orders_are_named(order, named) -> None:
    with pytest.raises(ConfigError, match=named):
        skeleton.resolve_order(order)


def test_an_order_of_one_side_cannot_be_mirrored() -> None:
    assert skeleton.order_mirror([0, 5, 6], 3) == (0, 2, 1)
    with pytest.raises(ConfigError, match="joint 5 has no mirror image"):
        skeleton.order_mirror([0, 5, 8], 3)
