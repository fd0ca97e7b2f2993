"""The other released poses, and what all of them share: resuming, refusing, the report and the command."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import ConfigError, DataError
from gaitext.extraction.prepare import DATASETS, prepare
from gaitext.extraction.prepare import released as making
from gaitext.store import leaves, read_leaf, read_partition, write_leaf
from gaitext.walkers import WalkerSettings, write_dataset
from tests.extraction.prepare.trees import expected, frames, leaf, names, person, put, ready

HEADER = "image_name," + ",".join(f"{j}_{c}" for j in range(17) for c in ("x", "y", "conf"))


def row(name: str, numbers: list[Any]) -> str:
    return ",".join([name, *map(str, numbers)])


def csv(path: Path, rows: list[str]) -> Path:
    return put(path, "\r\n".join([HEADER, *rows]) + "\r\n")


def partition(path: Path, train: list[str], test: list[str], **others: Any) -> Path:
    return put(path, {"TRAIN_SET": train, "TEST_SET": test, **others})


def test_casia_b_rows_anywhere_in_several_files(tmp_path: Path) -> None:
    one = {t: person(t) for t in range(1, 13)}
    two = {t: person(100 + t) for t in range(3, 20) if t not in (5, 6, 9)}
    rows = [row(f"./001-bg-01-000/{t:06d}.jpg", one[t]) for t in one]
    rows += [row(f"./075-nm-06-180/{t:06d}.jpg", two[t]) for t in two]
    order = np.random.default_rng(0).permutation(len(rows))
    mixed = [rows[i] for i in order]
    mixed.insert(4, row("./001-bkgrd-000/000001.jpg", person(1)))
    csv(tmp_path / "d/casia-b_pose_train_valid.csv", mixed[:15])
    csv(tmp_path / "d/more/casia-b_pose_test.csv", mixed[15:])
    report = ready("casia-b-poses", tmp_path / "d", tmp_path / "out")
    assert names(tmp_path / "out") == ["001/bg-01/000", "075/nm-06/180"]
    np.testing.assert_array_equal(leaf(tmp_path / "out", "001/bg-01/000"), expected([one[t] for t in sorted(one)]))
    np.testing.assert_array_equal(leaf(tmp_path / "out", "075/nm-06/180"), expected([two[t] for t in sorted(two)]))
    assert report.counts == {"frames": len(one) + len(two), "frames missing in between": 3}
    assert len(report.missing) == 13640 - 2
    [(file, why)] = report.left_out.items()
    assert file.endswith("train_valid.csv")
    assert "1 rows name no frame of CASIA-B, such as ./001-bkgrd" in why
    train, test = read_partition(report.partition)
    assert (len(train), len(test), report.train, report.test) == (74, 50, 1, 1)


def test_casia_b_rows_that_are_malformed_or_there_twice(tmp_path: Path) -> None:
    poses = {t: person(t) for t in range(15)}
    rows = [row(f"001-cl-02-090/{t}.jpg", poses[t]) for t in poses]
    rows[3] = row("001-cl-02-090/3.jpg", [*poses[3][:-1], ""])  # a number that is missing: so is the joint
    rows[5] = rows[5].rsplit(",", 1)[0]
    rows[6] = rows[6].replace(",", ",x", 1)
    rows += [rows[1], row("001-cl-02-090/2.jpg", person(99))]
    file = csv(tmp_path / "poses.csv", rows)
    report = ready("casia-b-poses", file, tmp_path / "out")
    kept = [poses[t] if t != 3 else [*poses[3][:-1], None] for t in poses if t not in (5, 6)]
    np.testing.assert_array_equal(leaf(tmp_path / "out", "001/cl-02/090"), expected(kept))
    assert report.counts == {
        "frames": 13,
        "missing joints": 1,
        "malformed frames": 2,
        "rows that are there twice": 1,
        "rows that contradict an earlier one": 1,
        "frames missing in between": 2,
    }
    assert report.notes[0] == f"malformed frames, the first: {file}: 001-cl-02-090/5.jpg has 50 numbers, not 51"
    csv(tmp_path / "d/short.csv", [rows[0]])
    with pytest.raises(DataError, match="none of 1 sequences can be used"):
        ready("casia-b-poses", tmp_path / "d", tmp_path / "none")
    with pytest.raises(DataError, match="holds no poses of CASIA-B"):
        ready("casia-b-poses", put(tmp_path / "e/a.csv", "subject,split\n1,train\n"), tmp_path / "none2")


def text(numbers: list[float], before: str = "311,438,") -> str:
    return before + ",".join(map(repr, numbers)) + "\n"


def test_gait3d_frames_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    root = tmp_path / "Gait3D/2D_Poses"
    poses = {t: person(t) for t in (998, 999, 1000, 1001)}
    for t, numbers in poses.items():
        put(root / f"0002/camid9_videoid2/seq0/human_crop_f{t}.txt", text(numbers))
    put(root / "0002/camid9_videoid2/seq0/human_crop_f1002.txt", "")
    put(root / "0002/camid9_videoid2/seq0/human_crop_f1003.txt", "311,438,1.0,2.0")
    put(root / "0002/camid9_videoid2/seq0/human_crop_f1004.txt", "311,438," + "a," * 51)
    put(root / "0003/camid1_videoid1/seq0/human_crop_f1.txt", text(person(5), before=""))
    (root / "0003/camid1_videoid1/seq1").mkdir()
    split = partition(tmp_path / "p.json", ["0003"], ["0002"], PROBE_SET=["0002-camid9_videoid2-seq0"])
    with pytest.raises(ConfigError, match=r"Gait3D needs a partition[\s\S]*datasets/Gait3D/Gait3D\.json"):
        ready("gait3d-poses", tmp_path / "Gait3D", tmp_path / "out")
    report = ready("gait3d-poses", tmp_path / "Gait3D", tmp_path / "out", partition=split)
    assert names(tmp_path / "out") == ["0002/camid9_videoid2/seq0", "0003/camid1_videoid1/seq0"]
    got = leaf(tmp_path / "out", "0002/camid9_videoid2/seq0")
    np.testing.assert_array_equal(got, expected([poses[t] for t in sorted(poses)]))
    assert report.counts == {"frames": 5, "empty frames": 1, "malformed frames": 2}
    assert list(report.left_out) == [str(root / "0003/camid1_videoid1/seq1")]
    assert json.loads(report.partition.read_text())["PROBE_SET"] == ["0002-camid9_videoid2-seq0"]


def test_grew_gets_the_toolboxes_names(tmp_path: Path) -> None:
    root = tmp_path / "GREW"
    places = {
        "train/00001/4XPn5Z28": "00001train/00/4XPn5Z28",
        "train/00001/5TXe8svE": "00001train/00/5TXe8svE",
        "test/gallery/00001/79XJefi8": "00001/01/79XJefi8",
        "test/gallery/00001/t16VLaQf": "00001/02/t16VLaQf",
        "test/probe/etaGVnWf": "probe/03/etaGVnWf",
    }
    for seed, place in enumerate(places):
        for t in (1, 2, 10):
            put(root / place / f"{t:05d}_2d_pose.txt", text(person(100 * seed + t)))
            put(root / place / f"{t:05d}_3d_pose.txt", "1,2,3")
            put(root / place / f"{t:05d}.png", "x")
        put(root / f"{place}_gei.png", "x")
    (root / "train/00002/empty").mkdir(parents=True)
    (root / "distractor").mkdir()
    split = partition(tmp_path / "p.json", ["00001train"], ["00001", "probe"])
    report = ready("grew-poses", root, tmp_path / "out", partition=split)
    assert names(tmp_path / "out") == sorted(places.values())
    for seed, name in enumerate(places.values()):
        want = expected([person(100 * seed + t) for t in (1, 2, 10)])
        np.testing.assert_array_equal(leaf(tmp_path / "out", name), want)
    assert set(report.left_out) == {str(root / "train/00002/empty"), str(root / "distractor")}
    assert (report.train, report.test, report.absent, report.strangers) == (1, 2, [], [])
    with pytest.raises(DataError, match="holds no poses as train"):
        ready("grew-poses", root / "train", tmp_path / "other", partition=split)


@pytest.fixture(scope="module")
def walkers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("walkers") / "w"
    settings = WalkerSettings(
        identities=2, types=["nm-01"], views=["000"], frames=12, content=["poses", "poses_frame", "boxes"]
    )
    write_dataset(settings, out, quiet=True)
    return out


@pytest.mark.parametrize("inner", [".", "sequences"])
def test_the_poses_beside_heatmaps(walkers: Path, tmp_path: Path, inner: str) -> None:
    report = ready("heatmap-poses", walkers / inner, tmp_path / "out")
    found = leaves(walkers / "sequences")
    assert names(tmp_path / "out") == [one.name for one in found]
    for one in found:
        np.testing.assert_array_equal(leaf(tmp_path / "out", one.name), read_leaf(one)[1])
    assert read_partition(report.partition) == read_partition(walkers / "partition.json")


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/gaitext-was-run",)


def test_leaves_without_poses_and_hostile_ones(walkers: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    shutil.copytree(walkers, root)
    write_leaf(root / "sequences", "003", "nm-01", "000", {"0_heatmaps": np.zeros((3, 17, 4, 3), np.float16)})
    write_leaf(root / "sequences", "004", "nm-01", "000", {"2_poses_frame": np.zeros((3, 18, 2), np.float32)})
    write_leaf(root / "sequences", "005", "nm-01", "000", {"2_poses_frame": np.ones((3, 17, 3), np.float64)})
    hostile = root / "sequences/006/nm-01/000/2_poses_frame.pkl"
    hostile.parent.mkdir(parents=True)
    hostile.write_bytes(pickle.dumps([Hostile()]))
    report = ready("heatmap-poses", root, tmp_path / "out")
    assert not Path("/tmp/gaitext-was-run").exists()
    assert set(report.left_out) == {str(root / "sequences/003/nm-01/000"), "004/nm-01/000", "006/nm-01/000"}
    assert "float32 [3, 18, 2]" in report.left_out["004/nm-01/000"]
    assert report.strangers == ["005"]
    np.testing.assert_array_equal(leaf(tmp_path / "out", "005/nm-01/000"), np.ones((3, 17, 3)))
    (root / "partition.json").unlink()
    with pytest.raises(ConfigError, match=r"no partition\.json"):
        ready("heatmap-poses", root, tmp_path / "other")


@pytest.fixture
def psymo(tmp_path: Path) -> Path:
    for number in (5, 6, 7):
        put(tmp_path / f"d/{number}/{number}_0_0_1_bg.json", frames(10, number))
    return tmp_path / "d"


def test_done_again_it_does_only_what_is_new(psymo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    walk = frames(12, 40)
    walk[3]["keypoints"] = [0] * 51
    put(psymo / "8/8_0_0_1_bg.json", walk)
    one = ready("psymo", psymo, out)
    before = {path: path.stat().st_ino for path in (out / "sequences").rglob("*.pkl")}
    two = ready("psymo", psymo, out)
    assert (one.written, one.standing, two.written, two.standing) == (4, 0, 0, 4)
    assert one.counts == two.counts == {"frames": 41, "empty frames": 1}
    assert {path: path.stat().st_ino for path in (out / "sequences").rglob("*.pkl")} == before
    put(psymo / "5/5_0_0_1_bg.json", frames(11, 50))
    put(psymo / "9/9_0_0_1_bg.json", frames(10, 9))
    (psymo / "6/6_0_0_1_bg.json").unlink()
    (out / "sequences/007/bg/000/2_poses_frame.pkl").unlink()
    three = ready("psymo", psymo, out)
    assert (three.written, three.standing, three.stale) == (3, 1, ["006/bg/000"])
    assert len(leaf(out, "005/bg/000")) == 11
    moved = tmp_path / "moved"
    psymo.rename(moved)
    assert ready("psymo", moved, out).standing == 4


def test_a_kill_loses_one_sequence(psymo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, real, calls = tmp_path / "out", making.write_leaf, []

    class Killed(BaseException):
        pass

    def write(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 3:
            (out / "sequences/.staging.x").mkdir()
            raise Killed
        return real(*args)

    monkeypatch.setattr(making, "write_leaf", write)
    with pytest.raises(Killed):
        ready("psymo", psymo, out)
    with (out / "prepared.jsonl").open("a") as lines:
        lines.write('["007/bg/000", {"sig')  # the line in which it was killed
    assert names(out) == ["005/bg/000", "006/bg/000"]
    report = ready("psymo", psymo, out)
    assert (report.written, report.standing) == (1, 2)
    assert report.counts == {"frames": 30}
    assert sorted(path.name for path in out.iterdir()) == [
        "partition.json",
        "partition_val.json",
        "prepared.json",
        "sequences",
    ]
    assert [path.name for path in (out / "sequences").iterdir() if path.name.startswith(".")] == []


def test_workers_make_the_same(psymo: Path, tmp_path: Path) -> None:
    put(psymo / "8/8_0_0_1_bg.json", "[")
    one, two = ready("psymo", psymo, tmp_path / "a"), ready("psymo", psymo, tmp_path / "b", workers=2)
    assert (one.written, one.left_out, one.counts) == (two.written, two.left_out, two.counts)
    for name in names(tmp_path / "a"):
        np.testing.assert_array_equal(leaf(tmp_path / "a", name), leaf(tmp_path / "b", name))
    records = [json.loads((tmp_path / out / "prepared.json").read_text()) for out in "ab"]
    assert records[0] == records[1]


def test_other_settings_and_other_peoples_folders_are_refused(psymo: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    ready("psymo", psymo, out)
    with pytest.raises(ConfigError, match="made with min_frames 10, and now it is 5"):
        ready("psymo", psymo, out, min_frames=5)
    csv(tmp_path / "c/p.csv", [row(f"001-cl-02-090/{t}.jpg", person(t)) for t in range(10)])
    with pytest.raises(ConfigError, match="made with dataset psymo, and now it is casia-b-poses"):
        ready("casia-b-poses", tmp_path / "c", out)
    (out / "prepared.json").unlink()
    with pytest.raises(DataError, match=r"holds sequences and no prepared\.json"):
        ready("psymo", psymo, out)
    put(out / "prepared.json", "[]")
    with pytest.raises(DataError, match="is not readable"):
        ready("psymo", psymo, out)
    assert names(out) == ["005/bg/000", "006/bg/000", "007/bg/000"]
    for inside in (psymo, psymo / "5"):
        with pytest.raises(ConfigError, match="lie in each other"):
            ready("psymo", psymo, inside)


def test_options_that_do_not_fit_are_refused(psymo: Path, tmp_path: Path) -> None:
    values = {
        "pattern": "{id}",
        "partition": "p.json",
        "split": "s.json",
        "train_share": 0.5,
        "seed": 0,
        "copy": True,
        "min_frames": 3,
    }
    for name, taken in DATASETS.items():
        for key in values.keys() - taken:
            with pytest.raises(ConfigError, match=f"{name} takes no --{key.replace('_', '-')}"):
                prepare(name, psymo, tmp_path / "out", **{key: values[key]})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_the_command(psymo: Path, tmp_path: Path) -> None:
    bad = put(psymo / "8/8_0_0_1_bg.json", "[")
    command = ["prepare", "psymo", str(psymo), "--out", str(tmp_path / "out"), "-q"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    flat = " ".join(result.output.split())
    assert "3 sequences made, 0 already there 30 frames people:" in flat
    assert f"not taken: 1 008/bg/000: {bad} is no json, or cut short" in flat
    assert f"dataset_root: {tmp_path / 'out/sequences'} dataset_partition: {tmp_path / 'out/partition.json'}" in flat
    (psymo / "9").mkdir()
    (psymo / "9/9_0_0_1_bg.json").symlink_to(tmp_path / "nowhere")
    assert CliRunner().invoke(app, command).exit_code != 0
