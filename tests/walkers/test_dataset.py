"""The data set on disk: layout, determinism, resuming."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.extraction import read_boxes
from gaitext.store import leaves, read_leaf, read_partition
from gaitext.video import probe
from gaitext.walkers import WalkerSettings, dataset_bytes, make_walk, write_dataset
from gaitext.walkers import dataset as module

SMALL = WalkerSettings(identities=3, protocol="own", types=("nm-01", "cl-01"), views=("000", "090"), frames=(5, 9))
FILES = ["0_heatmaps.pkl", "1_poses.pkl", "2_poses_frame.pkl", "3_boxes.pkl"]


def snapshot(out: Path) -> dict[str, bytes]:
    return {str(f.relative_to(out)): f.read_bytes() for f in sorted(out.rglob("*")) if f.is_file()}


def test_layout(tmp_path: Path) -> None:
    done = write_dataset(SMALL, tmp_path / "out", quiet=True)
    assert (done.written, done.kept) == (12, 0)
    found = leaves(done.sequences)
    assert [leaf.name for leaf in found[:4]] == ["001/cl-01/000", "001/cl-01/090", "001/nm-01/000", "001/nm-01/090"]
    assert len(found) == 12
    frames = 0
    for leaf in found:
        assert [file.name for file in leaf.files()] == FILES
        heatmaps, poses, poses_frame, boxes = read_leaf(leaf)
        t = len(heatmaps)
        assert 5 <= t <= 9
        assert (heatmaps.shape, heatmaps.dtype) == ((t, 17, 64, 48), np.float16)
        assert (poses.shape, poses.dtype) == ((t, 17, 3), np.float32)
        assert (poses_frame.shape, poses_frame.dtype) == ((t, 17, 3), np.float32)
        assert (boxes.shape, boxes.dtype) == ((t, 4), np.float32)
        np.testing.assert_allclose(boxes[:, 2] / boxes[:, 3], 0.75, rtol=1e-5)
        frames += t
    assert frames == done.frames
    on_disk = sum(file.stat().st_size for leaf in found for file in leaf.files())
    assert 0 < on_disk - dataset_bytes(SMALL) < 1000 * len(found)
    train, test = read_partition(done.partition)
    assert (train, test) == (["001", "002"], ["003"])
    record = json.loads((tmp_path / "out" / "walkers.json").read_text())
    assert WalkerSettings(**record["settings"]) == SMALL
    assert record["seed"] == 0
    assert record["gaitext"]


def test_workers_change_nothing(tmp_path: Path) -> None:
    write_dataset(SMALL, tmp_path / "here", quiet=True)
    write_dataset(SMALL, tmp_path / "pool", workers=2, quiet=True)
    assert snapshot(tmp_path / "here") == snapshot(tmp_path / "pool")


def test_seeds_change_everything(tmp_path: Path) -> None:
    write_dataset(SMALL, tmp_path / "a", quiet=True)
    write_dataset(SMALL.model_copy(update={"seed": 1}), tmp_path / "b", quiet=True)
    a, b = (snapshot(tmp_path / name) for name in "ab")
    assert a.keys() == b.keys()
    assert all(a[name] != b[name] for name in a if name.endswith(".pkl"))


def test_a_subset_is_the_same_walks(tmp_path: Path) -> None:
    """A walk does not depend on which others are made."""
    write_dataset(SMALL, tmp_path / "all", quiet=True)
    fewer = SMALL.model_copy(update={"types": ("cl-01",), "views": ("090",), "content": ("poses",), "identities": 2})
    write_dataset(fewer, tmp_path / "few", quiet=True)
    few, every = snapshot(tmp_path / "few"), snapshot(tmp_path / "all")
    pkls = [name for name in few if name.endswith(".pkl")]
    assert pkls == [f"sequences/00{i}/cl-01/090/1_poses.pkl" for i in (1, 2)]
    assert all(few[name] == every[name] for name in pkls)


def test_an_interrupted_run_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, write = tmp_path / "out", module._Walks.make
    calls = 0

    def killed(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise KeyboardInterrupt
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module._Walks, "make", killed)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(SMALL, out, quiet=True)
    # A kill -9 also leaves staging folders, and a hand may have taken a file out of a leaf.
    (out / "sequences" / ".staging.001.nm-01.000.abc" / "000").mkdir(parents=True)
    (out / "sequences" / "001" / "nm-01" / "000" / "1_poses.pkl").unlink()
    done = write_dataset(SMALL, out, quiet=True)
    assert (done.kept, done.written) == (4, 8)
    write_dataset(SMALL, tmp_path / "whole", quiet=True)
    assert snapshot(out) == snapshot(tmp_path / "whole")
    assert not list(out.rglob(".*"))
    assert write_dataset(SMALL, out, quiet=True).written == 0


def test_other_settings_are_refused(tmp_path: Path) -> None:
    few = SMALL.model_copy(update={"identities": 2, "types": ("nm-01",), "content": ("boxes",)})
    write_dataset(few, tmp_path / "out", quiet=True)
    before = snapshot(tmp_path / "out")
    other = few.model_copy(update={"seed": 5, "camera": few.camera.model_copy(update={"roll": 3.0})})
    with pytest.raises(ConfigError, match=r"camera.roll is 0.0 there and 3.0 here; seed is 0 there and 5 here"):
        write_dataset(other, tmp_path / "out", quiet=True)
    assert snapshot(tmp_path / "out") == before


def test_other_generators_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = SMALL.model_copy(update={"identities": 2, "types": ("nm-01",), "content": ("boxes",)})
    write_dataset(few, tmp_path, quiet=True)
    monkeypatch.setattr(module, "GENERATOR", module.GENERATOR + 1)
    with pytest.raises(ConfigError, match="generator"):
        write_dataset(few, tmp_path, quiet=True)


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(DataError, match=r"no walkers.json"):
        write_dataset(SMALL, tmp_path, quiet=True)
    (tmp_path / "walkers.json").write_text("[]")
    with pytest.raises(DataError, match="not a description"):
        write_dataset(SMALL, tmp_path, quiet=True)


def test_full_disks_are_noticed_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DataError, match="GB"):
        write_dataset(SMALL, tmp_path / "out", quiet=True)


def test_protocols_fill_types_and_views() -> None:
    casia, psymo = WalkerSettings(), WalkerSettings(protocol="psymo")
    assert (len(casia.types), len(casia.views), casia.training) == (10, 11, 75)
    assert (len(psymo.types), len(psymo.views)) == (8, 6)
    assert len(psymo.types) * len(psymo.views) == 48  # walks a subject, as in PsyMo
    assert casia.types[0] == "nm-01"
    assert casia.views[1] == "018"
    assert casia.identity_name(7) == "007"
    assert WalkerSettings(identities=2000).identity_name(7) == "0007"
    assert WalkerSettings(protocol="psymo", views=("090",)).types == psymo.types


@pytest.mark.parametrize(
    "values",
    [
        {"identites": 3},
        {"types": ["nn-01"]},
        {"views": ["361"]},
        {"views": ["090", "090"]},
        {"protocol": "own"},
        {"frames": [9, 5]},
        {"frames": 0},
        {"identities": 5, "train_identities": 5},
        {"content": []},
        {"camera": {"roll": "much"}},
        {"seed": -1},
    ],
)
def test_wrong_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        WalkerSettings.parse(values, where="walkers")


FILMED = WalkerSettings(
    identities=2,
    protocol="own",
    types=("nm-01", "bg-01"),
    views=("072",),
    frames=(3, 4),
    content=("video", "keypoints", "silhouettes"),
    camera={"width": 64, "height": 48, "focal": 64.0, "distance": 4.2},
)


def test_silhouettes_keypoints_and_videos(tmp_path: Path) -> None:
    done = write_dataset(FILMED, tmp_path, quiet=True)
    assert (done.videos, done.boxes) == (tmp_path / "videos", tmp_path / "boxes")
    for leaf in leaves(done.sequences):
        assert [file.name for file in leaf.files()] == ["4_silhouettes.pkl", "5_keypoints.pkl"]
        silhouettes, keypoints = read_leaf(leaf)
        walk = make_walk(FILMED, int(leaf.identity), leaf.type, leaf.view)
        assert (silhouettes.shape, silhouettes.dtype) == ((len(walk), 64, 64), np.uint8)
        assert set(np.unique(silhouettes)) == {0, 255}
        assert keypoints.dtype == np.float32
        np.testing.assert_allclose(keypoints[..., :2], walk.keypoints, rtol=1e-6)
        np.testing.assert_allclose(keypoints[..., 2], walk.visibility, rtol=1e-6)
        name = Path(leaf.identity, leaf.type)
        assert probe(done.videos / name / "072.mp4").frames == len(walk)
        assert len(read_boxes(done.boxes / name / "072.csv")[1].frames) == len(walk)
    assert write_dataset(FILMED, tmp_path, quiet=True).written == 0


def test_silhouettes_are_the_same_with_a_video_and_without(tmp_path: Path) -> None:
    write_dataset(FILMED, tmp_path / "with", quiet=True)
    plain = FILMED.model_copy(update={"content": ("silhouettes", "keypoints")})
    assert write_dataset(plain, tmp_path / "without", quiet=True).videos is None
    one, other = (snapshot(tmp_path / name / "sequences") for name in ("with", "without"))
    assert one == other


def test_videos_do_not_depend_on_workers(tmp_path: Path) -> None:
    write_dataset(FILMED, tmp_path / "here", quiet=True)
    write_dataset(FILMED, tmp_path / "pool", workers=2, quiet=True)
    assert snapshot(tmp_path / "here") == snapshot(tmp_path / "pool")


def test_videos_alone_make_no_leaf(tmp_path: Path) -> None:
    done = write_dataset(FILMED.model_copy(update={"content": ("video",)}), tmp_path, quiet=True)
    assert done.written == 4
    assert not done.sequences.exists()
    assert len(list(tmp_path.rglob("*.mp4"))) == len(list(tmp_path.rglob("*.csv"))) == 4


@pytest.mark.parametrize("victim", ["write_leaf", "write_footage"])
def test_a_kill_between_a_walks_files_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, victim: str) -> None:
    out, calls = tmp_path / "out", 0
    write = getattr(module, victim)

    def killed(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise KeyboardInterrupt
        return write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, victim, killed)
        with pytest.raises(KeyboardInterrupt):
            write_dataset(FILMED, out, quiet=True)
    # What a kill -9 leaves of an encoder, and a boxes file that somebody took away.
    (out / "videos" / "001" / "nm-01" / ".072.abc.tmp.mp4").write_bytes(b"half")
    (out / "boxes" / "001" / "nm-01" / "072.csv").unlink()
    done = write_dataset(FILMED, out, quiet=True)
    assert (done.written, done.kept) == (4, 0)
    write_dataset(FILMED, tmp_path / "whole", quiet=True)
    assert snapshot(out) == snapshot(tmp_path / "whole")


def test_folders_from_before_there_were_videos_are_resumed(tmp_path: Path) -> None:
    few = SMALL.model_copy(update={"identities": 2, "types": ("nm-01",), "content": ("boxes",)})
    write_dataset(few, tmp_path, quiet=True)
    assert "video" not in json.loads((tmp_path / "walkers.json").read_text())["settings"]
    assert write_dataset(few, tmp_path, quiet=True).written == 0


def test_bytes_of_videos_are_estimated_roughly(tmp_path: Path) -> None:
    filmed = FILMED.model_copy(update={"frames": 12, "camera": FILMED.camera.model_copy(update={"width": 160})})
    write_dataset(filmed, tmp_path, quiet=True)
    on_disk = sum(file.stat().st_size for file in tmp_path.rglob("*.*") if file.suffix != ".json")
    assert 0.3 < on_disk / dataset_bytes(filmed) < 3


def test_odd_frames_cannot_be_filmed() -> None:
    with pytest.raises(ConfigError, match="even"):
        WalkerSettings.parse({"content": ["video"], "camera": {"width": 641}}, where="walkers")
    WalkerSettings.parse({"content": ["silhouettes"], "camera": {"width": 641}}, where="walkers")
