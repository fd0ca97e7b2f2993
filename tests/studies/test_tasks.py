"""Tasks: what is done is known by what it was made of; waves follow what is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitext.errors import ConfigError
from gaitext.studies.tasks import Task, digest_of, finish, to_do, waves


def task(name: str, *needs: str, done: Path = Path("nowhere"), about: Any = None) -> Task:
    return Task(name, print, None, done, about or {}, needs)


def test_waves_come_after_all_they_need() -> None:
    tasks = [task("test", "train", "data"), task("train", "data"), task("data"), task("other")]
    assert [[t.name for t in wave] for wave in waves(tasks)] == [["data", "other"], ["train"], ["test"]]
    assert waves([]) == []


@given(st.integers(1, 12), st.data())
def test_every_task_is_in_one_wave_after_its_needs(count: int, data: st.DataObject) -> None:
    names = [f"t{i}" for i in range(count)]
    tasks = [task("t0")]
    for i in range(1, count):
        tasks.append(task(names[i], *data.draw(st.lists(st.sampled_from(names[:i]), unique=True))))
    tasks = data.draw(st.permutations(tasks))
    at = {t.name: level for level, wave in enumerate(waves(tasks)) for t in wave}
    assert len(at) == count
    for each in tasks:
        assert at[each.name] == max((at[need] + 1 for need in each.needs), default=0)


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        ([task("a", "b"), task("b", "a")], "needs itself: a ← b ← a"),
        ([task("a", "gone")], "needs 'gone', which is not there"),
        ([task("a"), task("a")], "a: there are several"),
    ],
)
def test_impossible_plans_are_refused(tasks: list[Task], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        waves(tasks)


def test_a_task_is_done_when_its_file_says_what_it_would_make(tmp_path: Path) -> None:
    done = tmp_path / "done.json"
    about = {"rate": 0.1, "people": (1, 2), "where": Path("x")}
    mine = task("a", done=done, about=about)
    assert not mine.is_done()
    finish(done, about, checkpoint="c.pt")
    assert mine.is_done()  # tuples and paths as JSON gives them back
    assert json.loads(done.read_text())["checkpoint"] == "c.pt"
    assert not task("a", done=done, about={**about, "rate": 0.2}).is_done()
    done.write_text("{half")
    assert not mine.is_done()
    done.write_text("[]")
    assert not mine.is_done()


def test_digests_tell_settings_apart_whatever_their_order() -> None:
    assert digest_of({"a": 1, "b": [2]}) == digest_of({"b": (2,), "a": 1})
    assert digest_of({"a": 1}) != digest_of({"a": 2})


def test_passing_tasks_are_done_for_those_alone_that_need_them(tmp_path: Path) -> None:
    def made(name: str, *needs: str, passing: bool = False) -> Task:
        return Task(name, print, None, tmp_path / f"{name}.json", {}, needs, passing=passing)

    tasks = [made("train"), made("embed", "train", passing=True), made("more", "embed", passing=True)]
    tasks += [made("one", "embed"), made("two", "more")]
    assert to_do(tasks) == {"train", "embed", "more", "one", "two"}
    finish(tmp_path / "two.json", {})
    assert to_do(tasks) == {"train", "embed", "one"}
    finish(tmp_path / "one.json", {})
    assert to_do(tasks) == {"train"}
    (tmp_path / "two.json").unlink()
    finish(tmp_path / "more.json", {})
    assert to_do(tasks) == {"train", "two"}  # what it needs is there, and needs nothing more
