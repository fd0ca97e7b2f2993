"""Trees made of published layouts and of own clips: what is found, what is missing, and that nothing is harmed."""

import json
import os
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import ConfigError, DataError
from gaitext.extraction.boxes import find_sources
from gaitext.extraction.prepare import PrepareReport, find_casia_b, find_own, prepare
from gaitext.video.frames import frame_files


def touch(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def partition(path: Path, train: list[str], test: list[str]) -> Path:
    return touch(path, json.dumps({"TRAIN_SET": train, "TEST_SET": test}))


def ready(name: str, root: Path, out: Path, **options: object) -> PrepareReport:
    return prepare(name, root, out, quiet=True, **options)  # type: ignore[arg-type]


def tree(out: Path) -> dict[str, str]:
    """Every file and link of the tree -> its content, wherever that lies."""
    return {
        path.relative_to(out / "videos").as_posix(): path.read_text()
        for path in sorted((out / "videos").rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def casia(tmp_path: Path) -> Path:
    root = tmp_path / "DatasetB"
    touch(root / "001-bg-01-000.avi", "a")
    touch(root / "video/075/075-nm-06-180.AVI", "b")
    touch(root / "001-bkgrd-000.avi")
    touch(root / "readme.avi")
    touch(root / "notes.txt")
    return root


def test_casia_b_flat_and_nested(casia: Path, tmp_path: Path) -> None:
    out = tmp_path / "tree"
    report = ready("casia-b", casia, out)
    assert tree(out) == {"001/bg-01/000.avi": "a", "075/nm-06/180.AVI": "b"}
    assert (out / "videos/001/bg-01/000.avi").is_symlink()
    assert [source.name for source in find_sources(report.videos)] == ["001/bg-01/000", "075/nm-06/180"]
    # 124 people, 6 + 2 + 2 walks, 11 views.
    assert len(report.missing) == 124 * 10 * 11 - 2
    assert report.missing[0] == "001/nm-01/000"
    assert "001/bg-01/000" not in report.missing
    assert {Path(path).name: why.split()[0] for path, why in report.left_out.items()} == {
        "001-bkgrd-000.avi": "the",
        "readme.avi": "is",
    }
    split = json.loads(report.partition.read_text())
    assert (len(split["TRAIN_SET"]), len(split["TEST_SET"])) == (74, 50)
    assert (split["TRAIN_SET"][0], split["TRAIN_SET"][-1], split["TEST_SET"][0]) == ("001", "074", "075")
    assert (report.train, report.test, len(report.absent)) == (1, 1, 122)
    text = str(report)
    assert "2 sequences made, 0 already there" in text
    assert "not there: 13638\n  001/nm-01/000" in text
    assert "… and 13628 more" in text
    assert json.loads((out / "prepared.json").read_text())["missing"] == report.missing


def test_done_again_it_does_only_what_is_new(casia: Path, tmp_path: Path) -> None:
    out = tmp_path / "tree"
    for copy in (False, True, False):
        one = ready("casia-b", casia, out, copy=copy)
        assert (one.written, one.standing) == (2, 0), copy
        before = {path: path.lstat().st_ino for path in (out / "videos").rglob("*")}
        two = ready("casia-b", casia, out, copy=copy)
        assert (two.written, two.standing) == (0, 2)
        assert {path: path.lstat().st_ino for path in (out / "videos").rglob("*")} == before
        assert (out / "videos/001/bg-01/000.avi").is_symlink() is not copy
    touch(casia / "002-cl-01-090.avi", "new")
    (casia / "001-bg-01-000.avi").unlink()
    three = ready("casia-b", casia, out)
    assert (three.written, three.standing, three.stale) == (1, 1, ["001/bg-01/000"])
    touch(casia / "001-bg-01-000.avi", "changed")
    ready("casia-b", casia, out, copy=True)
    assert tree(out)["001/bg-01/000.avi"] == "changed"
    touch(casia / "001-bg-01-000.avi", "changed again")
    ready("casia-b", casia, out, copy=True)
    assert tree(out)["001/bg-01/000.avi"] == "changed again"


def test_one_sequence_twice_and_none_at_all(casia: Path, tmp_path: Path) -> None:
    touch(casia / "again/001-bg-01-000.avi")
    with pytest.raises(DataError, match=r"001-bg-01-000\.avi and .*would both be 001/bg-01/000"):
        find_casia_b(casia)
    with pytest.raises(DataError, match="holds no video of CASIA-B"):
        find_casia_b(touch(tmp_path / "other/a.avi").parent)
    with pytest.raises(DataError, match="no such folder"):
        ready("casia-b", tmp_path / "none", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_ccpg_without_masks_and_with_its_partition(tmp_path: Path) -> None:
    root, out = tmp_path / "rgb", tmp_path / "tree"
    for number in (1, 2, 10):
        touch(root / f"000/U0_D0/00_0/{number}.jpg", str(number))
        touch(root / f"100/U3_D3/01_1/{number}.jpg", f"photo {number}")
        touch(root / f"100/U3_D3/01_1/{number}.png", "mask")
    (root / "100/U3_D3/02_1").mkdir()
    touch(root / "150/U0_D0/00_0/1.png", "png only")
    split = partition(tmp_path / "CCPG.json", ["000", "001"], ["100"])
    with pytest.raises(ConfigError, match=r"ccpg needs a partition[\s\S]*datasets/CCPG/"):
        ready("ccpg", root, out)
    report = ready("ccpg", root, out, partition=split)
    photographs = {name: text for name, text in tree(out).items() if name.startswith("100")}
    assert photographs == {f"100/U3_D3/01_1/{i:06d}.jpg": f"photo {n}" for i, n in enumerate((1, 2, 10), 1)}
    assert (out / "videos/000/U0_D0/00_0").is_symlink()
    assert [file.name for file in frame_files(out / "videos/000/U0_D0/00_0")] == ["1.jpg", "2.jpg", "10.jpg"]
    assert len(report.missing) == 3 * 7 - 3
    assert "000/U0_D0_BG" in report.missing
    assert list(report.left_out) == [str(root / "100/U3_D3/02_1")]
    assert (report.train, report.test, report.absent, report.strangers) == (1, 1, ["001"], ["150"])
    assert json.loads(report.partition.read_text()) == {"TRAIN_SET": ["000", "001"], "TEST_SET": ["100"]}
    assert ready("ccpg", root, out, partition=split).written == 0
    assert ready("ccpg", root, out, partition=split, copy=True).written == 3
    assert not any(path.is_symlink() for path in (out / "videos").rglob("*"))
    assert ready("ccpg", root, out, partition=split, copy=True).written == 0
    assert tree(out)["100/U3_D3/01_1/000003.jpg"] == "photo 10"


def test_sustech1k_takes_the_pictures_in_the_order_of_the_release(tmp_path: Path) -> None:
    root, out = tmp_path / "raw", tmp_path / "tree"
    # Times of which some have lost their last zeros: 5.1, 5.15 and 5.2 seconds.
    for name in ("165416156751", "1654161567515", "165416156752"):
        touch(root / f"0000/00-nm/000/RGB_raw/{name}.jpg", name)
        touch(root / f"0000/00-nm/000/Sils_raw/{name}.png", "mask")
        touch(root / f"0001/01-cl/090-far/RGB_raw/{name:0<13}.jpg", name)
    for number in range(3):
        touch(root / f"0002/00-nm/000/RGB_raw/{number}.jpg", str(number))
    (root / "0003/00-nm/000/PCDs").mkdir(parents=True)
    split = partition(tmp_path / "s.json", ["0000", "0001"], ["0002"])
    report = ready("sustech1k", root, out, partition=split)
    found = tree(out)
    assert [found[f"0000/00-nm/000/{i:06d}.jpg"] for i in (1, 2, 3)] == [
        "165416156751",
        "1654161567515",
        "165416156752",
    ]
    assert (out / "videos/0002/00-nm/000").is_symlink()
    assert os.readlink(out / "videos/0002/00-nm/000") == str(root / "0002/00-nm/000/RGB_raw")
    assert report.missing == ["0003/00-nm/000"]
    assert len(find_sources(report.videos)) == 3
    touch(tmp_path / "pkl/0000/00-nm/000/05-000-Camera-RGB_raw.pkl")
    with pytest.raises(DataError, match="64×64"):
        ready("sustech1k", tmp_path / "pkl", out, partition=split)


def test_own_clips_by_pattern(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    for name in ("anna_nm-01_090.mp4", "ben_bg_000.MOV", "carl_nm-01_000/1.jpg", "deep/dora_nm_000.mp4", "odd.mp4"):
        touch(root / name)
    found = find_own(root)
    assert [clip.name for clip in found.clips] == ["anna/nm-01/090", "ben/bg/000", "carl/nm-01/000"]
    assert [Path(path).name for path in found.left_out] == ["dora_nm_000.mp4", "odd.mp4"]
    assert [clip.name for clip in find_own(root, "deep/{id}_{type}_*.mp4").clips] == ["dora/nm/000"]
    assert [clip.name for clip in find_own(root, "{id}.mp4").clips] == ["anna_nm-01_090/nm-01/000", "odd/nm-01/000"]
    report = ready("own", root, tmp_path / "tree")
    assert report.train + report.test == 3
    assert "not taken: 2" in str(report)


def test_names_that_can_be_read_in_two_ways_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    touch(root / "anna_maria_nm_090.mp4")
    with pytest.raises(DataError, match=r"anna_maria_nm_090\.mp4: fits .* with id 'anna' and with 'anna_maria'"):
        find_own(root, "{id}_{type}_{view}.mp4")
    assert find_own(root, "anna_{id}_{type}_{view}.mp4").clips[0].name == "maria/nm/090"


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [
        ("{type}_{view}.mp4", ConfigError, "has no {id}"),
        ("{id}_{tpye}.mp4", ConfigError, r"'\{tpye\}' in .* is unknown[\s\S]*did you mean 'type'"),
        ("{id}_{id}.mp4", ConfigError, "holds {id} twice"),
        ("{id", ConfigError, "is no pattern"),
        ("{id}.avi", DataError, r"holds nothing that fits \{id\}\.avi[\s\S]*there is a_b_c\.mp4"),
        ("{id} {view}.mp4", DataError, "holds nothing that fits"),
    ],
)
def test_patterns_that_are_wrong(tmp_path: Path, pattern: str, error: type[Exception], message: str) -> None:
    touch(tmp_path / "a_b_c.mp4")
    with pytest.raises(error, match=message):
        find_own(tmp_path, pattern)


def test_people_are_drawn_by_the_seed(tmp_path: Path) -> None:
    root = tmp_path / "clips"
    for number in range(20):
        touch(root / f"{number:02d}_nm_000.mp4")

    def drawn(**options: object) -> tuple[list[str], list[str]]:
        split = json.loads(ready("own", root, tmp_path / "tree", **options).partition.read_text())
        return split["TRAIN_SET"], split["TEST_SET"]

    train, test = drawn(seed=1)
    assert (len(train), len(test)) == (15, 5)
    assert sorted(train + test) == [f"{number:02d}" for number in range(20)]
    assert drawn(seed=1) == (train, test)
    assert drawn(seed=2) != (train, test)
    assert [len(part) for part in drawn(train_share=0.01)] == [1, 19]
    given = partition(tmp_path / "p.json", ["00"], ["01", "99"])
    assert drawn(partition=given) == (["00"], ["01", "99"])
    with pytest.raises(ConfigError, match="share"):
        drawn(train_share=1.0)
    touch(tmp_path / "one/a_nm_000.mp4")
    with pytest.raises(DataError, match="there is one person"):
        ready("own", tmp_path / "one", tmp_path / "other")


def test_the_data_set_itself_is_never_touched(tmp_path: Path) -> None:
    root = tmp_path / "data/videos"
    touch(root / "000/U0_D0/00/1.jpg")
    touch(root / "000/U0_D0/00/1.png")
    split = partition(tmp_path / "p.json", ["000"], ["001"])
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "data")
    for out in (tmp_path / "data", link, root, root / "000"):
        with pytest.raises(ConfigError, match="lie in each other"):
            ready("ccpg", root, out, partition=split)
    assert sorted(path.name for path in root.rglob("*.*")) == ["1.jpg", "1.png"]


def test_what_others_put_into_the_tree_is_not_replaced(casia: Path, tmp_path: Path) -> None:
    out = tmp_path / "tree"
    touch(out / "videos/001/bg-01/000.avi", "precious")
    for copy in (False, True):
        with pytest.raises(DataError, match=r"000\.avi: is there, and not of this command's making"):
            ready("casia-b", casia, out, copy=copy)
    assert (out / "videos/001/bg-01/000.avi").read_text() == "precious"


@pytest.mark.parametrize("copy", [False, True])
def test_a_kill_leaves_whole_sequences_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, copy: bool) -> None:
    root, out = tmp_path / "rgb", tmp_path / "tree"
    for person in ("000", "001"):
        for number in range(1, 4):
            touch(root / f"{person}/U0_D0/00/{number}.jpg")
            touch(root / f"{person}/U0_D0/00/{number}.png")
    split = partition(tmp_path / "p.json", ["000"], ["001"])

    class Killed(BaseException):
        pass

    calls = 0
    real_copy, real_link = shutil.copy2, Path.symlink_to

    def count() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:  # in the middle of the second sequence
            raise Killed

    monkeypatch.setattr(shutil, "copy2", lambda *a: (count(), real_copy(*a)))
    monkeypatch.setattr(Path, "symlink_to", lambda *a: (count(), real_link(*a)))
    with pytest.raises(Killed):
        ready("ccpg", root, out, partition=split, copy=copy)
    assert [source.name for source in find_sources(out / "videos")] == ["000/U0_D0/00"]
    assert not (out / "prepared.json").exists()
    report = ready("ccpg", root, out, partition=split, copy=copy)
    assert (report.written, report.standing) == (1, 1)
    assert [len(frame_files(source.path)) for source in find_sources(out / "videos")] == [3, 3]
    assert not list((out / "videos").rglob(".*"))


def test_the_command_prints_what_comes_next(casia: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["prepare", "casia-b", str(casia), "--out", str(tmp_path / "tree"), "-q"])
    assert result.exit_code == 0, result.output
    flat = " ".join(result.output.split())
    assert "2 sequences made, 0 already there" in flat
    assert f"dataset_partition: {tmp_path / 'tree' / 'partition.json'}" in flat
    with pytest.raises(ConfigError, match=r"unknown dataset 'casiab'[\s\S]*did you mean 'casia-b'"):
        CliRunner().invoke(app, ["prepare", "casiab", str(casia), "--out", "x"], catch_exceptions=False)
    with pytest.raises(ConfigError, match="casia-b takes no --pattern"):
        ready("casia-b", casia, tmp_path / "t2", pattern="{id}")
