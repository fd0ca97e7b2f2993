"""What made a result: the commit of a checkout, and none where there is none."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gaitext.evaluation.origin import commit_of, origin, protocol_of


def git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *own, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_the_commit_of_a_file(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    for name in ("tracked", "changed", "installed"):
        (tmp_path / name).touch()
    git(tmp_path, "add", "tracked", "changed")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    git(tmp_path, "tag", "-a", "v1", "-m", "v1")
    head = git(tmp_path, "rev-parse", "HEAD")
    assert commit_of(tmp_path / "tracked") == head
    (tmp_path / "tracked").write_text("more")
    assert commit_of(tmp_path / "changed") == f"{head}-dirty"
    assert commit_of(tmp_path / "installed") is None  # in somebody's repository, and no part of it
    assert commit_of(tmp_path / "nowhere" / "file") is None


def test_a_protocol_has_its_metric_and_no_table() -> None:
    def evaluate(data: object, dataset: str, metric: str = "euc", gallery: str = "nm", table: str = "") -> None: ...

    def other(data: object, dataset: str) -> None: ...

    own = {"gallery": "all", "table": "a.md"}
    named = {"eval_func": "e", "dataset": "d"}
    assert protocol_of(evaluate, "e", "d", own) == {**named, "metric": "euc", "gallery": "all"}
    assert protocol_of(evaluate, "e", "d", {"metric": "cos"}) == {**named, "metric": "cos"}
    assert protocol_of(other, "e", "d", {}) == named


def test_weights_that_are_gone_have_no_digest(tmp_path: Path) -> None:
    made = origin("H", {}, {}, checkpoint=tmp_path / "c.pt", iteration=3, seed=None, H="abc")
    assert made["checkpoint"] == {"path": (tmp_path / "c.pt").as_posix(), "sha256": None, "iteration": 3}
    assert made["versions"]["H"] == "abc"
    assert origin("H", {}, {}, checkpoint=None, iteration=None, seed=1)["checkpoint"]["path"] is None
