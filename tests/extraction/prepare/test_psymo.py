"""PsyMo's skeletons: names in any padding, runs, malformed files, missing joints, several people."""

import errno
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gaitext.errors import DataError
from gaitext.extraction.prepare import prepare
from gaitext.walkers import PROTOCOLS
from tests.extraction.prepare.trees import expected, frames, leaf, names, person, put, ready


def test_every_walk_of_a_subject_gets_the_protocols_name(tmp_path: Path) -> None:
    root = tmp_path / "d/semantic_data/skeletons"
    seed, wanted = 0, {}
    for viewpoint, direction in itertools.product((0, 45, 90), (0, 1)):
        for variation, run in [("nm", 1), ("nm", 2), *((v, 1) for v in ("bg", "cl", "wss", "wsf", "ph", "txt"))]:
            seed += 100
            walk = frames(10, seed)
            put(root / f"7/007_{viewpoint}_{direction}_{run}_{variation}.json", walk)
            kind = f"nm-0{run}" if variation == "nm" else variation
            wanted[f"007/{kind}/{viewpoint + 180 * direction:03d}"] = walk
    out = tmp_path / "out"
    report = ready("psymo", tmp_path / "d", out)
    types, views = PROTOCOLS["psymo"]
    assert names(out) == sorted(f"007/{kind}/{view}" for kind in types for view in views) == sorted(wanted)
    assert (report.written, report.counts) == (48, {"frames": 480})
    for name, walk in wanted.items():
        np.testing.assert_array_equal(leaf(out, name), expected([frame["keypoints"] for frame in walk]))
    assert len(report.missing) == 311 * 48
    assert report.missing[0] == "000/nm-01/000"


@pytest.mark.parametrize("root", ["data", "data/semantic_data", "data/semantic_data/skeletons"])
@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("0/000_0_0_1_nm", "000/nm-01/000"),
        ("0/0_000_1_1_bg", "000/bg/180"),
        ("031/31_045_forward_0_TXT", "031/txt/045"),
        ("311/0311_90_Backward_1_cl", "311/cl/270"),
        ("subject/311_45_01_1_wsf", "311/wsf/225"),
    ],
)
def test_copies_differ_in_padding_place_and_direction(tmp_path: Path, root: str, path: str, name: str) -> None:
    put(tmp_path / f"data/semantic_data/skeletons/{path}.json", frames(12))
    ready("psymo", tmp_path / root, tmp_path / "out")
    assert names(tmp_path / "out") == [name]


@pytest.mark.parametrize(
    ("runs", "kinds"),
    [
        ({0: (0, 1)}, {0: ("nm-01", "nm-02")}),
        ({0: (1, 2)}, {0: ("nm-01", "nm-02")}),
        ({0: (1, 2), 45: (2,)}, {0: ("nm-01", "nm-02"), 45: ("nm-02",)}),  # the first is missing
        ({0: (1, 3), 45: (2, 4)}, {0: ("nm-01", "nm-02"), 45: ("nm-01", "nm-02")}),  # counted through
        ({0: (1,)}, {0: ("nm-01",)}),
    ],
)
def test_runs_are_numbered_in_order(
    tmp_path: Path, runs: dict[int, tuple[int, ...]], kinds: dict[int, tuple[str, ...]]
) -> None:
    walks = {}
    for view, numbers in runs.items():
        for run, kind in zip(numbers, kinds[view]):
            walks[f"005/{kind}/{view:03d}"] = walk = frames(10, 1000 * view + 100 * run)
            put(tmp_path / f"d/5/5_{view}_0_{run}_nm.json", walk)
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert names(tmp_path / "out") == sorted(walks)
    for name, walk in walks.items():
        np.testing.assert_array_equal(leaf(tmp_path / "out", name), expected([f["keypoints"] for f in walk]))
    assert report.notes == []


def test_more_runs_than_psymo_has_are_kept_and_noted(tmp_path: Path) -> None:
    for variation, run in [("nm", 1), ("nm", 2), ("nm", 3), ("bg", 1), ("bg", 2)]:
        put(tmp_path / f"d/5/5_0_0_{run}_{variation}.json", frames(10))
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert names(tmp_path / "out") == [f"005/{kind}/000" for kind in ("bg", "bg-02", "nm-01", "nm-02", "nm-03")]
    assert [note.split("becomes ")[1] for note in report.notes] == ["bg-02", "nm-03"]


number = st.one_of(
    st.floats(-500, 2000, width=32),
    st.integers(0, 1000),
    st.sampled_from([None, float("nan"), float("inf"), -float("inf"), 0, 0.0, 1e300, 10**400]),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.lists(number, min_size=51, max_size=51), min_size=1, max_size=4), empty=st.integers(0, 3))
def test_missing_joints_and_empty_frames(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[Any]], empty: int
) -> None:
    tmp_path = tmp_path_factory.mktemp("psymo")
    good = person(1)
    rows = [*rows, good]
    gaps = [{}, {"keypoints": []}, {"keypoints": [0] * 51}][:empty]
    put(tmp_path / "d/5/5_0_0_1_bg.json", [{"keypoints": row} for row in rows] + gaps)
    report = ready("psymo", tmp_path / "d", tmp_path / "out", min_frames=1)

    def slow(value: Any) -> Any:  # what does not fit a float32 is as good as infinite
        return np.inf if isinstance(value, (int, float)) and abs(value) > 3e38 else value

    want = expected([[slow(value) for value in row] for row in rows])
    got = leaf(tmp_path / "out", "005/bg/000")
    np.testing.assert_array_equal(got, want)
    assert report.counts.get("empty frames", 0) == len(rows) + len(gaps) - len(want)
    assert report.counts.get("missing joints", 0) == sum((pose[:, 2] == 0).sum() for pose in want)


def test_frames_are_put_in_the_order_of_their_images(tmp_path: Path) -> None:
    walk = frames(12)
    mixed = [walk[t] for t in (10, 2, 11, 0, 1, 3, 4, 5, 6, 7, 8, 9)]
    put(tmp_path / "d/5/5_0_0_1_bg.json", mixed)
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    np.testing.assert_array_equal(leaf(tmp_path / "out", "005/bg/000"), expected([f["keypoints"] for f in walk]))
    assert report.counts["frames put in order"] > 0


def entries(people: list[list[list[float]]]) -> list[Any]:
    return [{"image_id": f"{t}.jpg", "keypoints": one} for t, frame in enumerate(people) for one in frame]


def nested(people: list[list[list[float]]]) -> list[Any]:
    return [[{"keypoints": one} for one in frame] for frame in people]


def listed(people: list[list[list[float]]]) -> list[Any]:
    return [{"keypoints": frame} for frame in people]


@pytest.mark.parametrize("form", [entries, nested, listed])
def test_of_several_people_the_walker_is_followed(tmp_path: Path, form: Callable[..., list[Any]]) -> None:
    """Somebody small stands behind all the time; in one frame somebody larger crosses far away."""
    walker = [person(3, x=100 + 8 * t) for t in range(12)]
    behind = person(4, x=150, y=80, height=120)
    large = person(5, x=900, height=260)
    people = [[behind, one] if t % 2 else [one, behind] for t, one in enumerate(walker)]
    people[6] = [large, *people[6]]
    put(tmp_path / "d/5/5_0_0_1_bg.json", form(people))
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    np.testing.assert_array_equal(leaf(tmp_path / "out", "005/bg/000"), expected(walker))
    assert report.counts["frames with several people"] == 12


def test_seventeen_triples_are_one_person(tmp_path: Path) -> None:
    rows = [person(t) for t in range(10)]
    put(tmp_path / "d/5/5_0_0_1_bg.json", [{"keypoints": np.reshape(row, (17, 3)).tolist()} for row in rows])
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    np.testing.assert_array_equal(leaf(tmp_path / "out", "005/bg/000"), expected(rows))
    assert report.counts == {"frames": 10}


BAD_FILES: dict[str, Any] = {
    "empty": "",
    "blank": " \n",
    "not json": "keypoints = 3",
    "truncated": json.dumps(frames(12))[:-40],
    "an object": {"keypoints": person(0)},
    "a number": 3,
    "no frames": [],
    "empty frames": [{"keypoints": []}, {}, None, []] * 5,
    "numbers for frames": [1.0, 2.0, 3.0] * 17,
    "18 joints": [{"keypoints": [1.0] * 54}] * 12,
    "no scores": [{"keypoints": [1.0] * 34}] * 12,
    "strings": [{"keypoints": ["1"] * 51}] * 12,
    "booleans": [{"keypoints": [True] * 51}] * 12,
    "an object for keypoints": [{"keypoints": {"nose": [1, 2, 1]}}] * 12,
    "nested lists": [{"keypoints": [[person(0)]]}] * 12,
    "nested too deep": "[" * 100_000 + "]" * 100_000,
    "NaN throughout": "[" + ",".join(['{"keypoints": [' + ",".join(["NaN"] * 51) + "]}"] * 12) + "]",
    "Infinity throughout": "[" + ",".join(['{"keypoints": [' + ",".join(["-Infinity"] * 51) + "]}"] * 12) + "]",
    "too short": frames(9),
    "half a triple": [{"keypoints": [[1, 2, 1]] * 16 + [[1, 2]]}] * 12,
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_malformed_walk_is_left_out_by_name_and_the_others_are_made(tmp_path: Path, kind: str) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    bad = put(tmp_path / "d/6/6_0_0_1_bg.json", BAD_FILES[kind])
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert names(tmp_path / "out") == ["005/bg/000"]
    assert list(report.left_out) == ["006/bg/000"]
    assert report.left_out["006/bg/000"].startswith(f"{bad} ")
    assert f"not taken: 1\n  006/bg/000: {bad}" in str(report)
    record = json.loads((tmp_path / "out/prepared.json").read_text())
    assert record["left_out"] == report.left_out
    bad.unlink()
    put(bad, BAD_FILES[kind])
    (tmp_path / "d/5/5_0_0_1_bg.json").unlink()
    with pytest.raises(DataError, match="none of 1 sequences can be used"):
        ready("psymo", tmp_path / "d", tmp_path / "other")


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("7/7_0_0_1_run.json", "variation is 'run'"),
        ("7/7_30_0_1_bg.json", "viewpoint is 30"),
        ("7/7_0_2_1_bg.json", "direction is '2'"),
        ("312/312_0_0_1_bg.json", "id is 312"),
        ("7/8_0_0_1_bg.json", "lies in the folder of 7"),
        ("7/7_0_0_bg.json", "is not named"),
        ("7/-7_0_0_1_bg.json", "is not named"),
        ("7/x_0_0_1_bg.json", "is not named"),
        ("7/notes.txt", "is no json"),
    ],
)
def test_a_file_that_is_none_of_psymos_is_left_out_with_a_reason(tmp_path: Path, path: str, why: str) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    bad = put(tmp_path / "d" / path, frames(10))
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert list(report.left_out) == [str(bad)]
    assert why in report.left_out[str(bad)]
    assert names(tmp_path / "out") == ["005/bg/000"]


def test_one_bad_frame_costs_a_frame(tmp_path: Path) -> None:
    walk = frames(12)
    walk[4]["keypoints"] = [1.0] * 50
    walk[7]["keypoints"][3] = "12"
    file = put(tmp_path / "d/5/5_0_0_1_bg.json", walk)
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    kept = [frame["keypoints"] for t, frame in enumerate(walk) if t not in (4, 7)]
    np.testing.assert_array_equal(leaf(tmp_path / "out", "005/bg/000"), expected(kept))
    assert report.counts == {"frames": 10, "malformed frames": 2}
    assert report.notes == [f"malformed frames, the first: {file} frame 4.jpg: has 50 numbers, not 51"]


def test_a_walk_in_two_paddings(tmp_path: Path) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    one = put(tmp_path / "d/6/006_0_0_1_bg.json", frames(10, 7))
    same = put(tmp_path / "d/6/6_0_0_1_bg.json", frames(10, 7))
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert names(tmp_path / "out") == ["005/bg/000", "006/bg/000"]
    assert report.left_out == {str(same): f"holds the same as {one}"}
    put(same, frames(10, 8))
    report = ready("psymo", tmp_path / "d", tmp_path / "other")
    assert names(tmp_path / "other") == ["005/bg/000"]
    assert set(report.left_out) == {str(one), str(same)}
    assert str(same) in report.left_out[str(one)]


def test_what_cannot_be_read_fails_after_the_others_are_done(tmp_path: Path) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    put(tmp_path / "d/7/7_0_0_1_bg.json", frames(10))
    nowhere = tmp_path / "d/6/6_0_0_1_bg.json"
    nowhere.parent.mkdir()
    nowhere.symlink_to(tmp_path / "gone.json")
    with pytest.raises(DataError, match=r"6_0_0_1_bg\.json: is gone, or a link to nowhere"):
        ready("psymo", tmp_path / "d", tmp_path / "out")
    assert names(tmp_path / "out") == ["005/bg/000", "007/bg/000"]
    assert sorted(json.loads((tmp_path / "out/prepared.json").read_text())["sequences"]) == names(tmp_path / "out")
    assert (tmp_path / "out/partition.json").is_file()
    put(tmp_path / "gone.json", frames(10, 3))
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert (report.written, report.standing) == (1, 2)


def test_a_broken_disk_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    opened = Path.open

    def broken(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "5_0_0_1_bg.json":
            raise OSError(errno.EIO, "Input/output error")
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", broken)
    with pytest.raises(DataError, match=r"5_0_0_1_bg\.json: cannot be read \(Input/output error\)"):
        ready("psymo", tmp_path / "d", tmp_path / "out")


def test_a_huge_file_and_a_pipe_are_left_out_unread(tmp_path: Path) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    huge = put(tmp_path / "d/6/6_0_0_1_bg.json", "[")
    os.truncate(huge, 1 << 40)
    os.mkfifo(tmp_path / "d/6/6_0_1_1_bg.json")
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert "larger than 64 MiB" in report.left_out["006/bg/000"]
    assert "is no file" in report.left_out["006/bg/180"]


@pytest.mark.parametrize("name", ["walks.csv", "walks-v2.csv"])
def test_the_list_of_walks_says_what_is_missing(tmp_path: Path, name: str) -> None:
    put(tmp_path / "d/semantic_data/skeletons/5/5_0_0_1_bg.json", frames(10))
    put(tmp_path / f"d/{name}", "index,walk,frames\n0,5:0:0:1:bg,80\n1,005:90:1:2:nm,75\n2,400:0:0:1:bg,3\n")
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert report.missing == ["005:90:1:2:nm"]
    assert [note.split(": ", 1)[1].split(":")[0] for note in report.notes] == ["400"]
    put(tmp_path / f"d/{name}", "subject,age\n5,22\n")
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    assert len(report.missing) == 312 * 48 - 1
    assert "names no walks" in report.notes[0]


def test_an_output_that_cannot_be_made(tmp_path: Path) -> None:
    put(tmp_path / "d/5/5_0_0_1_bg.json", frames(10))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/out/sequences: cannot be made \(Not a directory\)"):
        ready("psymo", tmp_path / "d", tmp_path / "file/out")


def test_nothing_there(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    with pytest.raises(DataError, match="holds no walk of PsyMo"):
        ready("psymo", tmp_path / "d", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="no such folder"):
        prepare("psymo", put(tmp_path / "file.json", "[]"), tmp_path / "out")


@pytest.mark.parametrize("form", ["number", "text", "float", "list", "nested", "lists of people", "frames of people"])
def test_the_person_alphapose_numbers_is_followed(tmp_path: Path, form: str) -> None:
    def label(number: int) -> Any:
        return {"number": number, "text": str(number), "float": float(number), "list": [number], "nested": [[number]]}[
            form
        ]

    def shown(t: int) -> list[tuple[list[float], int]]:
        """The walker, and somebody twice as tall in frames 10 to 15, first."""
        mine = [c for j in range(17) for c in (100.0 + 3 * t, 200.0 + 6 * j, 1.0)]
        other = [c for j in range(17) for c in (400.0 - 9 * t, 150.0 + 12 * j, 1.0)]
        return [(other, 3), (mine, 7)] if 10 <= t <= 15 else [(mine, 7)]

    content: list[Any] = []
    for t in range(40):
        people = shown(t)
        if form == "lists of people":
            content.append({"image_id": f"{t}.jpg", "keypoints": [k for k, _ in people], "idx": [n for _, n in people]})
        elif form == "frames of people":
            content.append([{"keypoints": k, "idx": n} for k, n in people])
        else:
            content += [{"image_id": f"{t}.jpg", "keypoints": k, "idx": label(n)} for k, n in people]
    put(tmp_path / "d/5/5_0_0_1_bg.json", content)
    report = ready("psymo", tmp_path / "d", tmp_path / "out")
    np.testing.assert_array_equal(leaf(tmp_path / "out", "005/bg/000"), expected([shown(t)[-1][0] for t in range(40)]))
    assert report.counts == {"frames": 40, "frames with several people": 6}
