"""Who trains and who is tested: `gaitext partition`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gaitext import cli
from gaitext.errors import ConfigError, DataError
from gaitext.extraction.prepare.partition import partition_dataset
from gaitext.store import read_partition, write_leaf

PEOPLE = ["001", "002", "003", "004", "bob"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for number, person in enumerate(PEOPLE, 1):
        for walk in range(number):
            write_leaf(tmp_path / "out/sequences", person, f"nm-{walk:02}", "000", {"0_x": np.zeros((2, 4), "f4")})
    return tmp_path / "out"


def test_named_people_are_tested(data: Path) -> None:
    made = partition_dataset(data, test=["003", " bob"])
    assert made.path == data / "partition.json"
    assert json.loads(made.path.read_text()) == {"TRAIN_SET": ["001", "002", "004"], "TEST_SET": ["003", "bob"]}
    assert made.root == data / "sequences"
    assert made.sequences == (7, 8)
    assert "3 people train (7 sequences), 2 are tested (8 sequences): 003, bob" in str(made)
    # The same again stands; the root itself may be given; another is refused.
    assert not partition_dataset(data / "sequences", test=["bob", "003"]).written
    with pytest.raises(DataError, match=r"other sets: 3 train, 2 are tested"):
        partition_dataset(data, test=["001"])
    assert partition_dataset(data, test=["001"], overwrite=True).written
    assert read_partition(data / "partition.json")[1] == ["001"]


def test_drawn_people_depend_on_the_seed_alone(data: Path, tmp_path: Path) -> None:
    drawn = [partition_dataset(data, share=0.4, seed=seed, out=tmp_path / f"{seed}.json") for seed in range(20)]
    assert all(len(made.test) == 2 and sorted(made.test + made.train) == PEOPLE for made in drawn)
    assert len({tuple(made.test) for made in drawn}) > 5
    assert partition_dataset(data, share=0.4, seed=3).test == drawn[3].test
    assert len(partition_dataset(data, share=0.01, overwrite=True).test) == 1
    assert len(partition_dataset(data, share=0.99, overwrite=True).test) == 4
    for share in (0, 1, -0.5, 30):
        with pytest.raises(ConfigError, match="--share"):
            partition_dataset(data, share=share)


def test_files(data: Path, tmp_path: Path) -> None:
    listed = tmp_path / "test.txt"
    listed.write_text("# who\n004\n\nbob\n")
    assert partition_dataset(data, file=listed).test == ["004", "bob"]
    table = tmp_path / "sets.csv"
    table.write_text("subject,split\n001,train\n002,test\n003,test\n")
    made = partition_dataset(data, file=table, overwrite=True)
    assert (made.train, made.test, made.neither) == (["001"], ["002", "003"], ["004", "bob"])
    assert "2 people are in neither set: 004, bob" in str(made)
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"TRAIN_SET": ["001"], "TEST_SET": ["005"]}))
    with pytest.raises(DataError, match=r"nobody called 005"):
        partition_dataset(data, file=other)


def test_people_who_are_not_there_are_named_with_the_nearest(data: Path) -> None:
    with pytest.raises(DataError, match=r"nobody called 3, Bop\nTo mend it: did you mean 003, bob\?"):
        partition_dataset(data, test=["3", "Bop", "001"])
    assert not (data / "partition.json").exists()


@pytest.mark.parametrize("given", [{}, {"test": ["001"], "share": 0.5}])
def test_one_way_to_choose(data: Path, given: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="give one of"):
        partition_dataset(data, **given)  # type: ignore[arg-type]


def test_nobody_left_and_no_data(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nobody is left to train"):
        partition_dataset(data, test=PEOPLE)
    with pytest.raises(DataError, match="nobody is left to be tested"):
        partition_dataset(data, test=[""])
    with pytest.raises(DataError, match="no such folder"):
        partition_dataset(tmp_path / "none", test=["001"])
    (data / "partition.json").write_text("[]")
    with pytest.raises(DataError, match="no partition"):
        partition_dataset(data, test=["001"])


def test_the_command(data: Path) -> None:
    done = CliRunner().invoke(cli.app, ["partition", str(data), "--test", "003,004"])
    assert done.exit_code == 0
    assert "3 people train" in done.output
    assert "dataset_partition:" in done.output
