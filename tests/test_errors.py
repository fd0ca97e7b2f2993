"""Failures of many items: each kind once, with counts, names and one mend."""

from __future__ import annotations

import pickle

import pytest

from gaitext.errors import DataError, VideoError, also, describe_failures, kind_of
from gaitext.execution import Outcome, raise_failures
from gaitext.making import Report


def short(frames: int) -> DataError:
    return DataError(f"has {frames} frames", where=f"clip {frames}", how="film longer")


def broken(name: str) -> DataError:
    return DataError("cannot be read", where=name, how="film longer")


def test_errors_of_one_line_are_of_one_kind_also_from_another_process() -> None:
    assert kind_of(short(3)) == kind_of(short(4)) != kind_of(broken("x"))
    assert kind_of(pickle.loads(pickle.dumps(short(3)))) == kind_of(short(4))
    first, second = (kind(what) for kind, what in ((DataError, "a"), (VideoError, "a")))
    assert kind_of(first) != kind_of(second)
    assert kind_of(KeyError("a")) == kind_of(KeyError("a")) != kind_of(KeyError("b"))


def test_each_kind_is_said_once() -> None:
    failed = {f"{i:02}": short(i) for i in range(63)} | {"x": broken("x"), "y": KeyError("k"), "z": broken("z")}
    assert describe_failures(failed, "videos", all_in="manifest.json") == [
        "63 videos, such as 00: clip 0: has 0 frames\nTo mend it: film longer",
        "  also 01, 02, 03, 04 and 58 more; all are in manifest.json",
        "2 videos, such as x: cannot be read\nTo mend it: film longer",
        "  also z",
        "y: KeyError: 'k'",
    ]
    # Without a file that has them, all are named.
    assert also([f"{i}" for i in range(9)]) == ["  also 0, 1, 2, 3, 4, 5, 6, 7, 8"]


def test_a_report_says_them_so_and_keeps_all() -> None:
    report, other = Report(), Report()
    report.fail("a", short(1))
    for name in "bcdefgh":
        other.fail(name, short(2))
    report.add(other)
    report.failed["i"] = "whatever"  # put there by name
    assert list(report.failed) == [*"abcdefgh", "i"]
    assert report.failures() == [
        "FAILED: 8 items, such as a: clip 1: has 1 frames\nTo mend it: film longer",
        "  also b, c, d, e, f, g, h",
        "FAILED: i: whatever",
    ]
    assert report.several("left out", {"a": "7 boxes", "b": "8 boxes"}) == [
        "left out: 2, such as a: 7 boxes",
        "  also b",
    ]
    assert report.several("left out", {"a": ""}) == ["left out: a"]


def test_one_error_for_all_says_each_kind_once() -> None:
    outcomes = [Outcome(str(i), error=short(i)) for i in range(30)] + [
        Outcome("ok", 1),
        Outcome("x", error=broken("x")),
    ]
    with pytest.raises(DataError) as caught:
        raise_failures(outcomes, "walks")
    lines = str(caught.value).splitlines()
    assert lines[0] == "31 of 32 walks failed:"
    assert lines[1] == "  30 walks, such as 0: clip 0: has 0 frames"
    assert len(lines) < 9
