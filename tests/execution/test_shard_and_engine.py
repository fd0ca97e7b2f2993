"""Shares of a job array, and the names of engines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitext.errors import ConfigError
from gaitext.execution import Engine, Shard, map_sequences, parse_engine, parse_shard


@given(st.lists(st.integers(), max_size=60), st.integers(1, 20))
def test_shards_share_every_item_once_and_fairly(items: list[int], count: int) -> None:
    numbered = list(enumerate(items))
    shards = [Shard(number, count).of(numbered) for number in range(1, count + 1)]
    assert sorted(item for shard in shards for item in shard) == numbered
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.integers(1, 8))
def test_shards_of_sorted_sizes_differ_by_less_than_the_largest(sizes: list[int], count: int) -> None:
    sizes = sorted(sizes, reverse=True)
    loads = [sum(Shard(number, count).of(sizes)) for number in range(1, count + 1)]
    assert max(loads) - min(loads) <= sizes[0]


def test_map_sequences_does_its_share_alone() -> None:
    outcomes = map_sequences(str, list(range(7)), shard="2/3", quiet=True)
    assert [(o.item, o.result) for o in outcomes] == [(1, "1"), (4, "4")]
    assert map_sequences(str, [1], shard=Shard(2, 2), quiet=True) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0/4", r"no shard 0 of 4\n.*count from 1 to 4"),
        ("5/4", "no shard 5 of 4"),
        ("1/0", "no shard 1 of 0"),
        ("3", "'3' is no share.*\n.*3/100"),
        ("/100", "'/100' is no share"),
        ("-1/4", "is no share"),
        ("1/4/2", "is no share"),
        ("a/b", "is no share"),
    ],
)
def test_a_wrong_shard_says_what_is_right(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_shard(text)


def test_a_shard_is_read() -> None:
    assert parse_shard(" 7 / 100 ") == Shard(7, 100)
    assert str(Shard(7, 100)) == "7/100"
    assert parse_shard(None) is None


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ("local", Engine()),
        ("ray", Engine(kind="ray")),
        ("ray:auto", Engine(kind="ray", address="auto")),
        ("ray:10.0.0.1:6379", Engine(kind="ray", address="10.0.0.1:6379")),
        ("ray://head:10001", Engine(kind="ray", address="ray://head:10001")),
        ("ray?num_cpus=2", Engine(kind="ray", num_cpus=2)),
        ("ray:h:6379?num_cpus=2&num_gpus=0.5", Engine(kind="ray", address="h:6379", num_cpus=2, num_gpus=0.5)),
    ],
)
def test_an_engine_is_read(text: str, engine: Engine) -> None:
    assert parse_engine(text) == engine


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rai", "unknown engine 'rai'\n.*did you mean 'ray'"),
        ("local:4", "no options"),
        ("local?num_cpus=2", "no options"),
        ("ray?num_cpu=2", r"unknown key 'engine\.num_cpu'\n.*num_cpus"),
        ("ray?address=x", r"unknown key 'engine\.address'"),
        ("ray?num_gpus=many", r"engine\.num_gpus.*'many'"),
        ("ray?num_cpus=0", r"engine\.num_cpus.*greater than 0"),
    ],
)
def test_a_wrong_engine_says_what_is_right(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        map_sequences(str, [1], engine=text, quiet=True)
