"""Splits: gaitext's own of PsyMo, and those that are given."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from gaitext.errors import DataError
from gaitext.extraction.prepare.poses.split import PSYMO_SPLIT, psymo_identity, read_split
from gaitext.store import read_partition
from tests.extraction.prepare.trees import frames, put, ready


def test_gaitexts_own_is_the_draw_it_says() -> None:
    loaded = json.loads(PSYMO_SPLIT.read_text())
    assert "not the official one" in loaded["name"]
    order = random.Random(0).sample(range(312), 312)
    parts = {"TRAIN_SET": order[:250], "VAL_SET": order[250:281], "TEST_SET": order[281:]}
    for key, part in parts.items():
        assert loaded[key] == [f"{number:03d}" for number in sorted(part)]
    assert sorted(one for key in parts for one in loaded[key]) == [f"{number:03d}" for number in range(312)]


def test_it_is_taken_by_default_and_can_be_validated_on(tmp_path: Path) -> None:
    own = json.loads(PSYMO_SPLIT.read_text())
    for key in ("TRAIN_SET", "VAL_SET", "TEST_SET"):
        number = int(own[key][0])
        put(tmp_path / f"d/{number}/{number}_0_0_1_bg.json", frames(10))
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert (report.train, report.val, report.test, report.strangers) == (1, 1, 1, [])
    assert len(report.absent) == 309
    assert "people: 1 to train, 1 to test, 1 to validate" in str(report)
    assert read_partition(report.partition) == (own["TRAIN_SET"], own["TEST_SET"])
    assert json.loads(report.partition.read_text())["VAL_SET"] == own["VAL_SET"]
    assert read_partition(report.made["dataset_partition, to validate"]) == (own["TRAIN_SET"], own["VAL_SET"])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", {"TRAIN_SET": ["0", "001"], "TEST_SET": ["3"], "VAL_SET": ["2"]}),
        ("a.json", {"train": [0, 1], "valid": [2], "test": [3], "made": "by hand"}),
        ("a.csv", "subject,split\n0,train\n1,train\n2,val\n3,test\n"),
        ("a.csv", "age,Split,ID\n20,train,000\n21,train,001\n22,validation,002\n23,test,003\n"),
        ("a.csv", "subject;split\n0;train\n1;train\n2;dev\n3;test\n"),
        ("a.txt", "# official\n0 train\n1  train\n2\tval\n3 test\n"),
        ("a.tsv", "0\ttrain\n1\ttrain\n2\tval\n3\ttest\n"),
    ],
)
def test_forms_of_a_split(tmp_path: Path, name: str, content: Any) -> None:
    split = read_split(put(tmp_path / name, content), psymo_identity)
    assert (split.train, split.val, split.test) == (["000", "001"], ["002"], ["003"])
    put(tmp_path / "d/3/3_0_0_1_bg.json", frames(10))
    report = ready("psymo", tmp_path / "d", tmp_path / "out", split=tmp_path / name)
    assert read_partition(report.partition) == (["000", "001"], ["003"])


def test_without_validation(tmp_path: Path) -> None:
    put(tmp_path / "d/3/3_0_0_1_bg.json", frames(10))
    split = put(tmp_path / "s.csv", "1,train\n3,test\n")
    report = ready("psymo", tmp_path / "d", tmp_path / "out", split=split)
    assert json.loads(report.partition.read_text()) == {"TRAIN_SET": ["001"], "TEST_SET": ["003"]}
    assert not (tmp_path / "out/partition_val.json").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "is no json"),
        ("a.json", [1, 2], "holds no object"),
        ("a.json", {"train": [1]}, "names nobody to test"),
        ("a.json", {"train": [], "test": [1]}, "names nobody to train"),
        ("a.json", {"train": "1,2", "test": [3]}, "is no list of identities"),
        ("a.json", {"train": [1], "TRAIN_SET": [2], "test": [3]}, "two sets for train"),
        ("a.json", {"train": [1, 2], "test": [2]}, "names 002 more than once"),
        ("a.json", {"train": [1], "test": ["001", 3]}, "names 001 more than once"),
        ("a.json", {"train": [1], "test": [312]}, "nobody called '312'"),
        ("a.csv", "", "is empty"),
        ("a.csv", "person,age\n1,20\n", "names no columns"),
        ("a.csv", "subject,split\n1,train\n2,tset\n", r"row 3 \(2 tset\)"),
        ("a.csv", "subject,split\n1,train\n2\n", r"row 3 \(2\)"),
    ],
)
def test_splits_that_are_wrong(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_split(put(tmp_path / name, content), psymo_identity)
    with pytest.raises(DataError, match="is gone"):
        read_split(tmp_path / "none.json")
