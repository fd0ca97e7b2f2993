"""Converting data sets: round trips, what is carried along, kills, refusals."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from gaitext import store
from gaitext.cli import app
from gaitext.convert import convert_dataset, convert_poses
from gaitext.errors import ConfigError, DataError
from gaitext.skeleton import COCO_JOINTS, PARTITIONS
from gaitext.transforms.skeleton_maps import skeleton_maps

from .store.maps import heatmaps

NAMES = ["0_heatmaps", "1_poses", "2_silhouettes"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for i, kind in enumerate(("nm-01", "nm-02", "bg-01")):
        maps = heatmaps(70 + i, seed=i)
        others = {"1_poses": np.ones((70 + i, 17, 3), np.float32), "2_silhouettes": np.ones((70 + i, 8, 8), np.uint8)}
        store.write_leaf(tmp_path / "source", "001", kind, "000", {"0_heatmaps": maps} | others)
    return tmp_path / "source"


def read(root: Path) -> list[list[np.ndarray]]:
    return [store.read_leaf(leaf) for leaf in store.leaves(root)]


def contents(root: Path) -> dict[str, bytes]:
    """Files without the hash and the place that compact ones record."""
    found = {}
    for path in root.glob("*/*/*/*.pkl"):
        data = path.read_bytes()
        start = data.index(b"\x86R.") + 3 if store.compact.is_compact(data) else 0
        found[str(path.relative_to(root))] = data[start + 16 if start else 0 :]
    return found


def test_there_and_back(source: Path, tmp_path: Path) -> None:
    original = read(source)
    report = convert_dataset(source, tmp_path / "lossless", "lossless", quiet=True)
    assert (report.written, report.kept, report.change.greatest, report.change.moved) == (3, 0, 0, 0)
    convert_dataset(tmp_path / "lossless", tmp_path / "back", "plain", quiet=True)
    assert contents(tmp_path / "back") == contents(source)
    report = convert_dataset(source, tmp_path / "compact", "compact", quiet=True)
    compact = read(tmp_path / "compact")
    errors = [np.abs(a[0].astype(np.float32) - b[0].astype(np.float32)) for a, b in zip(original, compact)]
    assert report.change.greatest == max(error.max() for error in errors) > 0
    assert report.change.absolute / report.change.pixels == pytest.approx(np.concatenate(errors).mean(), rel=1e-5)
    moved = peaks = 0
    for a, b in zip(original, compact):
        for before, after in zip(a[0].reshape(-1, 3072), b[0].reshape(-1, 3072)):
            peaks += before.max() > 0
            moved += before.max() > 0 and before.argmax() != after.argmax()
    assert (report.change.moved, report.change.peaks) == (moved, peaks)
    sizes = [sum(f.stat().st_size for f in root.glob("*/*/*/0_*")) for root in (source, tmp_path / "compact")]
    assert [report.change.before, report.change.after] == sizes
    convert_dataset(tmp_path / "compact", tmp_path / "plain", "plain", quiet=True)
    report = convert_dataset(tmp_path / "plain", tmp_path / "again", "compact", quiet=True)
    assert report.change.greatest == 0
    assert contents(tmp_path / "again") == contents(tmp_path / "compact")
    for leaf, made in zip(store.leaves(source), store.leaves(tmp_path / "compact")):
        assert [f.name for f in made.files()] == [f"{name}.pkl" for name in NAMES]
        for before, after in zip(leaf.files()[1:], made.files()[1:]):
            assert before.read_bytes() == after.read_bytes()


@pytest.mark.parametrize("partition", ["upper_lower", [[0, 1], [5, 6, 7], [16]]])
def test_merged_maps_are_the_maximum_over_a_parts_joints(source: Path, tmp_path: Path, partition) -> None:
    convert_dataset(source, tmp_path / "merged", "lossless", merge=partition, quiet=True)
    parts = list(PARTITIONS[partition].values()) if isinstance(partition, str) else partition
    for before, after in zip(read(source), read(tmp_path / "merged")):
        assert after[0].shape == (len(before[0]), len(parts), 64, 48)
        for k, part in enumerate(parts):
            slow = before[0][:, part[0]]
            for joint in part[1:]:
                slow = np.where(before[0][:, joint] > slow, before[0][:, joint], slow)
            assert np.array_equal(after[0][:, k], slow)
    with pytest.raises(DataError, match=r"(?s)3 of 3 sequences failed.*17"):
        convert_dataset(tmp_path / "merged", tmp_path / "x", "compact", merge="limbs", quiet=True).raise_failures()


def test_workers_make_the_same_files(source: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        convert_dataset(source, tmp_path / str(workers), "compact", workers=workers, quiet=True).raise_failures()
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


def test_failures_are_listed_and_the_rest_is_done(source: Path, tmp_path: Path) -> None:
    broken = source / "001/nm-02/000/0_heatmaps.pkl"
    broken.write_bytes(broken.read_bytes()[:5000])
    (source / "002/nm-01/000").mkdir(parents=True)
    store.write_sequence(source / "003/nm-01/000/0_poses.pkl", np.ones((4, 17, 3)))
    runner = CliRunner()
    command = ["convert", str(source), str(tmp_path / "out"), "--form", "compact", "-q"]
    result = runner.invoke(app, command)
    assert result.exit_code != 0
    assert "2 sequences written, 0 already there, 3 failed" in result.stdout
    for name in ("001/nm-02/000", "002/nm-01/000", "003/nm-01/000"):
        assert name in str(result.exception)
    store.write_leaf(source, "001", "nm-02", "000", {name: heatmaps(4) for name in NAMES})
    for identity in ("002", "003"):
        store.write_leaf(source, identity, "nm-01", "000", {"0_heatmaps": heatmaps(4)})
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.exception
    assert "3 sequences written, 2 already there, 0 failed" in result.stdout
    result = runner.invoke(app, command)
    assert "0 sequences written, 5 already there" in result.stdout


def test_what_must_not_be_overwritten_is_not(source: Path, tmp_path: Path) -> None:
    for out in (source, source / "x", tmp_path, source / ".." / "source"):
        with pytest.raises(DataError, match="lies in the data set"):
            convert_dataset(source, out, "compact", quiet=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(DataError, match="not empty"):
        convert_dataset(source, tmp_path / "full", "compact", quiet=True)
    convert_dataset(source, tmp_path / "out", "compact", quiet=True)
    for form, settings in (("lossless", {}), ("compact", {"floor": 0.1}), ("compact", {"merge": "limbs"})):
        with pytest.raises(ConfigError, match="other settings"):
            convert_dataset(source, tmp_path / "out", form, quiet=True, **settings)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="holds no sequences"):
        convert_dataset(tmp_path / "none", tmp_path / "y", "compact", quiet=True)


def test_a_kill_while_a_folder_is_claimed_does_not_block_it(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert_dataset(source, out, "compact", quiet=True)
    (record,) = out.glob("*.json")
    expected = record.read_bytes()
    killed = tmp_path / "killed"
    killed.mkdir()
    (killed / f".{record.stem}.ab_d3fgh.tmp.json").write_text("{")
    convert_dataset(source, killed, "compact", quiet=True).raise_failures()
    assert [path.name for path in killed.glob("*.json")] == [record.name]
    assert (killed / record.name).read_bytes() == expected
    assert sorted(killed.glob(".*")) == [killed / ".convert", killed / record.name]


def test_float16_cannot_hold_everything(tmp_path: Path) -> None:
    store.write_leaf(tmp_path / "s", "1", "nm", "0", {"a": np.full((2, 3, 8, 8), 1e6, np.float32)})
    with pytest.raises(DataError, match=r"(?s)a\.pkl.*float16 cannot"):
        convert_dataset(tmp_path / "s", tmp_path / "o", "plain", quiet=True).raise_failures()
    assert store.leaves(tmp_path / "o") == []


@pytest.mark.slow
def test_kills_lose_nothing(tmp_path: Path) -> None:
    for i in range(12):
        store.write_leaf(tmp_path / "s", f"{i:03}", "nm", "0", {"0": heatmaps(60, seed=i), "1": np.ones((60, 2))})
    code = "from gaitext.convert import convert_dataset; convert_dataset('s', 'o', 'compact', quiet=True)"
    command = [sys.executable, "-c", code]
    for kill in range(5):
        process = subprocess.Popen(command, cwd=tmp_path)
        until = 2 * kill + 1
        while process.poll() is None and len(list((tmp_path / "o").glob("[0-9]*/nm/0"))) < until:
            time.sleep(0.005)
        time.sleep(0.01 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for leaf in store.leaves(tmp_path / "o"):
            assert [s.shape for s in store.read_leaf(leaf)] == [(60, 17, 64, 48), (60, 2)]
    report = convert_dataset(tmp_path / "s", tmp_path / "o", "compact", quiet=True)
    report.raise_failures()
    assert report.kept >= 5
    assert report.kept + report.written == 12
    assert not list((tmp_path / "o").glob(".staging*"))
    convert_dataset(tmp_path / "s", tmp_path / "once", "compact", quiet=True)
    assert contents(tmp_path / "o") == contents(tmp_path / "once")


def test_the_embedded_host_reads_compact_files_by_the_frame(source: Path, tmp_path: Path) -> None:
    from gaitext.standalone.data import Chain, Request, SequenceDataset
    from gaitext.standalone.settings import DataSettings
    from gaitext.training.sampling import FrameSampling

    convert_dataset(source, tmp_path / "out", "lossless", quiet=True)
    store.write_json(tmp_path / "p.json", {"TRAIN_SET": ["001"], "TEST_SET": ["002"]})

    def samples(root: Path, cache: bool) -> list[np.ndarray]:
        settings = DataSettings.parse(
            {
                "dataset_name": "x",
                "dataset_root": str(root),
                "dataset_partition": str(tmp_path / "p.json"),
                "data_in_use": [True, False, False],
                "cache": cache,
            },
            where="data_cfg",
        )
        frames = FrameSampling("fixed_unordered", frames_num_fixed=30)
        data = SequenceDataset(store.leaves(root), settings, frames, [Chain([])], 0)
        loaded = data.load(0)[0]
        assert isinstance(loaded, np.ndarray) is (cache or root == source)
        return [data[Request(i, 0, i)].sequences[0].numpy() for i in range(3)]

    expected = samples(source, False)
    for cache in (False, True):
        for one, other in zip(samples(tmp_path / "out", cache), expected):
            assert np.array_equal(one, other)
    with (tmp_path / "out/001/nm-01/000/0_heatmaps.pkl").open("rb") as stream:
        assert len(pickle.load(stream)) == 70


def test_a_source_that_has_changed_is_converted_again(source: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(source, data)
    count = convert_dataset(data, out, "lossless", quiet=True).written
    again = convert_dataset(data, out, "lossless", quiet=True)
    assert (again.written, again.kept) == (0, count)
    file = next(path for path in sorted(data.rglob("*.pkl")) if np.asarray(store.open_sequence(path)).ndim == 4)
    status, content = file.stat(), bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1  # a bit of a pixel; the size stays, and the time is put back
    file.write_bytes(content)
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    changed = convert_dataset(data, out, "lossless", quiet=True)
    assert (changed.written, changed.kept) == (1, count - 1)
    made = store.open_sequence(out / file.relative_to(data))
    np.testing.assert_array_equal(np.asarray(made[:]), np.asarray(store.open_sequence(file)))


def pose_leaf(root: Path, kind: str, files: dict[str, np.ndarray]) -> None:
    store.write_leaf(root, "00001", kind, "090", files)


def openpose(frames: int = 12) -> np.ndarray:
    rng = np.random.default_rng(frames)
    return rng.uniform(1, 200, (frames, 18, 3))


def test_openposes_18_joints_become_cocos_17(tmp_path: Path) -> None:
    """By the names of both, from OpenPose's documentation."""
    names = "nose neck r_shoulder r_elbow r_wrist l_shoulder l_elbow l_wrist r_hip r_knee r_ankle l_hip l_knee l_ankle"
    order = [*names.split(), "r_eye", "l_eye", "r_ear", "l_ear"]
    poses, sides = openpose(), {"left": "l", "right": "r"}
    beside = np.ones((12, 64, 64), np.uint8)
    pose_leaf(tmp_path / "in", "00", {"090": poses, "zsil": beside})
    report = convert_poses(tmp_path / "in", tmp_path / "out", "coco17", quiet=True)
    assert (report.written, report.failed) == (1, {})
    folder = tmp_path / "out/00001/00/090"
    assert sorted(path.name for path in folder.iterdir()) == ["2_poses_frame.pkl", "zsil.pkl"]
    made = store.read_sequence(folder / "2_poses_frame.pkl")
    assert (made.dtype, made.shape) == (np.float32, (12, 17, 3))
    for joint, name in enumerate(COCO_JOINTS):
        side, _, part = name.rpartition("_")
        source = order.index(f"{sides[side]}_{part}" if side else name)
        np.testing.assert_array_equal(made[:, joint], poses[:, source].astype(np.float32))
    again = convert_poses(tmp_path / "in", tmp_path / "out", "coco17", quiet=True)
    assert (again.written, again.kept) == (0, 1)


def test_poses_become_skeletongaits_leaves(tmp_path: Path) -> None:
    poses = np.random.default_rng(0).uniform(20, 300, (5, 17, 3))
    poses[..., 2] = 0.8
    silhouettes = np.full((5, 64, 64), 255, np.uint8)
    pose_leaf(tmp_path / "in", "00", {"1_poses": poses * 0.1, "2_poses_frame": poses, "4_silhouettes": silhouettes})
    pose_leaf(tmp_path / "in", "01", {"000": poses[..., :2], "mine": np.ones((5, 3, 64, 64), np.float16)})
    report = convert_poses(tmp_path / "in", tmp_path / "out", "skeletongait", quiet=True)
    assert report.written == 2
    heatmap, beside = store.read_leaf(tmp_path / "out/00001/00/090")
    assert (heatmap.dtype, heatmap.shape) == (np.uint8, (5, 2, 64, 64))
    np.testing.assert_array_equal(heatmap, skeleton_maps(poses))
    np.testing.assert_array_equal(beside, silhouettes)
    assert sorted(p.name for p in (tmp_path / "out/00001/00/090").iterdir()) == ["0_heatmap.pkl", "1_sil.pkl"]
    (alone,) = store.read_leaf(tmp_path / "out/00001/01/090")
    np.testing.assert_array_equal(alone, skeleton_maps(np.concatenate((poses[..., :2], np.ones((5, 17, 1))), 2)))
    with pytest.raises(ConfigError, match="other settings"):
        convert_poses(tmp_path / "in", tmp_path / "out", "coco17", quiet=True)


def test_poses_that_cannot_be_converted_are_named(tmp_path: Path) -> None:
    pose_leaf(tmp_path / "in", "00", {"a": openpose()})
    pose_leaf(tmp_path / "in", "01", {"a": openpose()[:, :17]})
    pose_leaf(tmp_path / "in", "02", {"a": openpose(), "b": openpose()})
    pose_leaf(tmp_path / "in", "03", {"a": np.ones((4, 64, 64), np.uint8)})
    pose_leaf(tmp_path / "in", "04", {"a": np.where(openpose() < 50, np.nan, openpose())})
    report = convert_poses(tmp_path / "in", tmp_path / "out", "coco17", quiet=True)
    assert report.written == 1
    for kind, what in (
        ("01", "holds 17 joints, not 18"),
        ("02", "a.pkl, b.pkl"),
        ("03", "no pkl of numbers"),
        ("04", "NaN"),
    ):
        assert what in report.failed[f"00001/{kind}/090"]
    result = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), str(tmp_path / "o"), "--to", "coco18"])
    assert isinstance(result.exception, ConfigError)
    assert "did you mean 'coco17'" in str(result.exception)
    for arguments in ([], ["--to", "coco17", "--form", "plain"], ["--to", "coco17", "--floor", "0.1"]):
        result = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), str(tmp_path / "o"), *arguments])
        assert isinstance(result.exception, ConfigError)
