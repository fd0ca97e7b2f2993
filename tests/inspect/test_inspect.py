"""What inspect says of files, leaves and datasets, against numbers worked out here."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import DataError
from gaitext.inspect.contents import FileContents, guess_kind, inspect_file
from gaitext.inspect.dataset import DatasetContents, SizeRule
from gaitext.inspect.inspect import LeafContents, inspect
from gaitext.making import frame_numbers, frame_ranges
from gaitext.store import write_json, write_sequence
from tests.inspect.data import heatmaps, make_leaf, make_record


@pytest.mark.parametrize("form", ["plain", "compact", "lossless"])
def test_heatmaps_by_number(tmp_path: Path, form: str) -> None:
    maps = heatmaps(5)
    maps[3] = 0
    maps[1, 2] = 0
    path = tmp_path / "0_heatmaps.pkl"
    write_sequence(path, maps, form)
    said = inspect(path)
    assert isinstance(said, FileContents)
    assert said.kind == "heatmaps"
    assert said.form == {"plain": "float16 pickle", "compact": "compact, 8 bits", "lossless": "compact, lossless"}[form]
    assert (said.dtype, said.shape) == ("float16", (5, 17, 64, 48))
    assert said.bytes == path.stat().st_size
    assert said.empty == 1
    assert said.low == 0
    within = 1 / 256 if form == "compact" else 1e-3
    assert said.high == pytest.approx(0.82, abs=within)
    assert said.zeros == pytest.approx(1 - (4 * 17 - 1) / maps.size)
    assert said.means[5] == pytest.approx(0.6 * 4 / 5, abs=within)
    assert said.means[2] == pytest.approx(0.54 * 3 / 5, abs=within)
    assert said.scores[3] == 0
    assert said.scores[0] == pytest.approx(np.mean(0.5 + 0.02 * np.arange(17)), abs=within)
    assert "frames without any peak: 1" in str(said)
    assert f"left_shoulder {said.means[5]:.3f}" in str(said)


def test_blocks_do_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sequence looked at two frames at a time gives what numpy gives of all of it."""
    monkeypatch.setattr("gaitext.inspect.contents._BLOCK", 2 * 3 * 8 * 6)
    maps = np.random.default_rng(1).normal(size=(7, 3, 8, 6)).astype(np.float32)
    maps[maps < -0.5] = 0
    maps[2, 1, 3] = np.nan
    maps[6, 0, 0, 0] = -np.inf
    write_sequence(tmp_path / "maps.pkl", maps)
    said = inspect_file(tmp_path / "maps.pkl", merged=["a", "b", "c"])
    assert (said.nans, said.infinite) == (6, 1)
    finite = maps[np.isfinite(maps)]
    assert (said.low, said.high) == (finite.min(), finite.max())
    assert said.zeros == pytest.approx((maps == 0).mean())
    peaks = np.where(np.isfinite(maps), maps, 0).max((2, 3))
    np.testing.assert_allclose(said.means, peaks.mean(0), rtol=1e-6)
    np.testing.assert_allclose(said.scores, peaks.mean(1), rtol=1e-6)
    assert said.channels == ["a", "b", "c"]
    assert "6 NaN, 1 infinite" in str(said)
    json.dumps(said.to_json(), allow_nan=False)


def test_nothing_but_nan(tmp_path: Path) -> None:
    write_sequence(tmp_path / "poses.pkl", np.full((2, 17, 3), np.nan, np.float32))
    said = inspect_file(tmp_path / "poses.pkl")
    assert (said.nans, said.empty) == (102, 2)
    assert said.to_json()["low"] is None
    json.dumps(said.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    ("name", "shape", "dtype", "kind"),
    [
        ("0_heatmaps.pkl", (9, 17, 64, 48), "f2", "heatmaps"),
        ("merged.pkl", (9, 2, 64, 48), "f2", "heatmaps"),
        ("x.pkl", (9, 17, 3), "f4", "poses"),
        ("keypoints.pkl", (9, 17, 4), "f4", "poses"),
        ("x.pkl", (9, 17, 2), "f4", "poses"),
        ("3_boxes.pkl", (9, 4), "f4", "boxes"),
        ("sil.pkl", (9, 64, 44), "u1", "silhouettes"),
        ("rgb.pkl", (9, 3, 128, 64), "u1", "pictures"),
        ("labels.pkl", (9,), "i8", "other"),
    ],
)
def test_kinds(name: str, shape: tuple[int, ...], dtype: str, kind: str, tmp_path: Path) -> None:
    assert guess_kind(name, shape, np.dtype(dtype)) == kind
    write_sequence(tmp_path / name, np.ones(shape, dtype))
    said = inspect_file(tmp_path / name)
    assert (said.kind, said.empty, said.zeros) == (kind, 0, 0)
    assert str(said)


def test_leaf_with_its_record(tmp_path: Path) -> None:
    leaf = make_leaf(tmp_path, "1/nm-01/000")
    said = inspect(leaf)
    assert isinstance(said, LeafContents)
    assert [file.kind for file in said.files] == ["heatmaps", "poses", "poses", "boxes"]
    assert said.problems == []
    assert "no record" in str(said)
    make_record(tmp_path, "1/nm-01/000", tmp_path / "walk.mp4", "1-2,4-7", 6)
    said = inspect(leaf)
    assert said.problems == []
    for word in ("walk.mp4", "1-2,4-7", "score 3", "dots.onnx", "min_score 0.4"):
        assert word in str(said)
    assert said.to_json()["record"]["kept"] == 6
    make_record(tmp_path, "1/nm-01/000", tmp_path / "walk.mp4", "1-2,4-6", 5)
    assert "record says 5 frames" in str(inspect(leaf))


def test_leaf_with_everything_wrong(tmp_path: Path) -> None:
    leaf = make_leaf(tmp_path, "1/nm-01/000")
    poses = np.ones((4, 17, 3), np.float32)
    poses[0, 0] = np.nan
    write_sequence(leaf / "1_poses.pkl", poses)
    (leaf / "3_boxes.pkl").write_bytes((leaf / "3_boxes.pkl").read_bytes()[:-9])
    (leaf / "4_code.pkl").write_bytes(pickle.dumps(print))
    record = make_record(tmp_path, "1/nm-01/000", tmp_path / "walk.mp4", "1-x", 6)
    said = "\n".join(inspect(leaf).problems)
    for word in (
        "different lengths: 0_heatmaps.pkl 6, 1_poses.pkl 4",
        "3 NaN",
        "3_boxes.pkl",
        "4_code.pkl",
        str(record),
    ):
        assert word in said
    assert inspect(leaf / "0_heatmaps.pkl").shape[0] == 6
    for file in leaf.glob("[012]*"):
        file.unlink()
    with pytest.raises(DataError, match=r"3_boxes\.pkl"):
        inspect(leaf)


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three identities, lengths 4 to 12, one type in the compact form."""
    for identity in range(3):
        for kind, form in (("nm-01", "plain"), ("cl-01", "compact")):
            make_leaf(tmp_path, f"{identity:03d}/{kind}/090", 4 + 3 * identity + (kind == "cl-01") * 2, form=form)
    return tmp_path


def test_dataset_by_number(dataset: Path) -> None:
    lengths = [4, 6, 7, 9, 10, 12]
    said = inspect(dataset)
    assert isinstance(said, DatasetContents)
    assert (said.identities, said.views, said.sequences) == (3, 1, 6)
    assert (said.frames, said.lengths, said.estimated) == (sum(lengths), (4, 8.0, 12), 0)
    assert said.bytes == sum(file.stat().st_size for file in dataset.rglob("*.pkl"))
    assert [(row.type, row.sequences, row.frames, row.median) for row in said.types] == [
        ("cl-01", 3, 27, 9.0),
        ("nm-01", 3, 21, 7.0),
    ]
    assert said.groups[0].forms == {"compact, 8 bits": 3, "float16 pickle": 3}
    assert said.odd == {}
    assert said.mean_score == pytest.approx(0.66)
    assert said.histogram == [0] * 6 + [48, 0, 0, 0]
    assert said.types[0].score == pytest.approx(0.66)
    assert "6 sequences of 3 identities, 2 types, 1 views" in str(said)
    assert json.loads(json.dumps(said.to_json(), allow_nan=False))["lengths"] == {"min": 4, "median": 8, "max": 12}
    # The root, a part of it, and OUT are all taken for what they are.
    assert inspect(dataset / "sequences").frames == said.frames
    part = inspect(dataset / "sequences/002/../001")
    assert (part.identities, part.sequences, part.frames) == (1, 2, 16)
    assert inspect(dataset / "sequences/001/cl-01").frames == 9


def test_dataset_with_trouble(dataset: Path) -> None:
    root = dataset / "sequences"
    (root / "000/nm-01/090/1_poses.pkl").unlink()
    write_sequence(root / "001/nm-01/090/2_poses_frame.pkl", np.ones((5, 17, 3), np.float32))
    write_sequence(root / "002/nm-01/090/4_extra.pkl", np.ones((10, 17, 3), np.float32))
    (root / "003/nm-01/090").mkdir(parents=True)
    for name in ("000/nm-01/090", "002/cl-01/090"):
        make_record(dataset, name, dataset / "walk.mp4", "1-4", 4)
    make_record(dataset, "005/nm-01/090", dataset / "walk.mp4", "1-4", 4)
    make_record(dataset, "006/nm-01/090", dataset / "walk.mp4", "", 0, skipped="0 usable of 9 frames")
    make_record(dataset, "007/nm-01/090", dataset / "walk.mp4", "", 0).write_text("{")
    write_json(dataset / "manifest.json", {"leaves": {}, "failed": {"bad.mp4": "ends early"}})
    write_json(dataset / "partition.json", {"TRAIN_SET": ["000", "009"], "TEST_SET": ["001"]})
    said = inspect(dataset)
    assert isinstance(said, DatasetContents)
    assert said.odd == {
        "000/nm-01/090": "lacks 1_poses.pkl",
        "001/nm-01/090": "files of different lengths: 0_heatmaps.pkl 7, 1_poses.pkl 7, 2_poses_frame.pkl 5",
        "002/nm-01/090": "also has 4_extra.pkl",
        "002/cl-01/090": "12 frames, its record says 4",
        "003/nm-01/090": "has no .pkl",
        "005/nm-01/090": "has a record, but no sequence",
        "007/nm-01/090": f"has a damaged record: {dataset / 'records/007/nm-01/090.json'}",
    }
    assert said.skipped == {"006/nm-01/090": "0 usable of 9 frames"}
    assert said.failed == {"bad.mp4": "ends early"}
    assert said.partition == {"in training": 1, "in test": 1, "in neither": 1}
    assert said.records == 4
    for word in ("inconsistent: 7", "skipped: 1", "failed: 1", "bad.mp4: ends early", "1 in neither"):
        assert word in str(said)


def test_truncated_files_are_noticed_by_size(tmp_path: Path) -> None:
    for i in range(40):
        make_leaf(tmp_path, f"{i:03d}/nm-01/090", 3 + i % 5, posed=False, maps=heatmaps(3 + i % 5, size=(8, 6)))
    path = tmp_path / "sequences/001/nm-01/090/0_heatmaps.pkl"  # not among those that are opened
    path.write_bytes(path.read_bytes()[:-300])
    said = inspect(tmp_path)
    assert list(said.odd) == ["001/nm-01/090"]
    assert "no whole frames" in said.odd["001/nm-01/090"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 70_000), min_size=1, max_size=5), st.integers(1, 70_000), st.booleans())
def test_size_tells_the_length(lengths: list[int], other: int, portable: bool) -> None:
    """Of numpy's own pickles and of ours, for numbers of every width."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        files = []
        for i, length in enumerate([*lengths, other]):
            path = Path(folder, f"{i}.pkl")
            sequence = np.zeros((length, 17, 2), np.float32)
            if portable:
                write_sequence(path, sequence)
            else:
                path.write_bytes(pickle.dumps(sequence, protocol=4))
            files.append((path, path.stat().st_size))
        rule = SizeRule.of(files[:-1])
        assert rule is not None
        assert rule.frames(files[-1][1]) == other
        assert rule.frames(files[-1][1] + 68) is None


@given(st.sets(st.integers(1, 300)))
def test_ranges_are_read_back(numbers: set[int]) -> None:
    assert frame_numbers(frame_ranges(sorted(numbers))).tolist() == sorted(numbers)


def test_what_cannot_be_inspected(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    (tmp_path / "empty/1/2").mkdir(parents=True)
    for path, word in ((tmp_path / "none", "no such"), (tmp_path / "a.txt", "no .pkl"), (tmp_path / "empty", "no seq")):
        with pytest.raises(DataError, match=word):
            inspect(path)


def test_command(dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("av")
    pytest.importorskip("PIL")
    leaf = dataset / "sequences/000/nm-01/090"
    result = CliRunner().invoke(app, ["inspect", str(leaf), "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["frames"] == 4
    result = CliRunner().invoke(app, ["inspect", str(dataset)])
    assert "48 frames" in result.stdout
    sheet, film = tmp_path / "sheet.png", tmp_path / "film.mp4"
    arguments = ["inspect", str(leaf), "--sheet", str(sheet), "--overlay", str(film), "--frames", "2", "-q", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert sheet.is_file()
    assert film.is_file()
    json.loads(result.stdout)
    result = CliRunner().invoke(app, ["inspect", str(dataset), "--overlay", str(film)])
    assert result.exit_code == 2
