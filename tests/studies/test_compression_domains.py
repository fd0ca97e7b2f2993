"""Whom a study of artifact correction tests: which frames of whom are cut, at which crf."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaitext import store
from gaitext.making import Records
from gaitext.studies.compression_data import CompressionData
from gaitext.studies.compression_domains import Domain, read_crops
from gaitext.studies.compression_settings import CompressionSettings, Place
from gaitext.video import digest, probe
from gaitext.walkers import WalkerSettings, write_dataset

PEOPLE = {
    "identities": 4,
    "train_identities": 3,
    "protocol": "psymo",
    "types": ["nm-01"],
    "views": ["090"],
    "frames": 5,
    "content": ["poses_frame", "keypoints", "video", "boxes"],
    "camera": {"width": 160, "height": 120, "distance": 8.0},
    "seed": 2,
}
OTHERS = {**PEOPLE, "identities": 2, "train_identities": 1, "seed": 3}


def data(out: Path, **changes: Any) -> CompressionData:
    values = {
        "kind": "compression",
        "title": "a",
        "walkers": PEOPLE,
        "correction": {"estimator": "movenet:lightning", "data": {"crops": {"crop": "box", "stride": 2}}},
        "systems": {"corrected": {"train": "corrector"}},
        "tests": {"crf": [30]},
        "test_stride": 2,
        **changes,
    }
    return CompressionData(CompressionSettings.parse(values, where="test"), out, out, 0, quiet=True)


def make(domain: Domain, place: Place, *, whole: bool = False) -> dict[str, list[int]]:
    """Cut, and say which frames of whom there are."""
    task = domain.crops(place, whole=whole).task()
    task.function(task.argument)
    assert task.is_done()
    crops, frames = read_crops(task.done, 0.0)
    parts = np.split(frames, crops.starts[1:-1])
    return {name: part.tolist() for name, part in zip(crops.names, parts)}


def test_the_studys_own_people_are_those_of_the_split(tmp_path: Path) -> None:
    own = Domain("", data(tmp_path))
    task = own.task()
    task.function(task.argument)
    split = json.loads(own.data.config.data.split.read_text())  # type: ignore[union-attr]
    assert split == {"train": ["001", "002"], "val": ["003"], "test": ["004"]}
    assert make(own, Place("", "degraded"), whole=True) == {"004/nm-01/090": [0, 1, 2, 3, 4]}
    assert make(own, Place("", "degraded")) == {"004/nm-01/090": [0, 2, 4]}
    assert make(own, Place("", "crf30")) == {"004/nm-01/090": [0, 2, 4]}
    # By another crf the originals are the same, what was degraded is not, and nobody who trains is degraded for it.
    cut = [own.crops(Place("", video)) for video in ("degraded", "crf30")]
    leaf = "sequences/004/nm-01/090"
    originals, degraded = (
        [np.asarray(store.read_sequence(crops.folder / leaf / f"{name}.pkl")) for crops in cut]
        for name in ("1_original", "0_degraded")
    )
    assert np.array_equal(*originals)
    assert not np.array_equal(*degraded)
    assert [path.name for path in (cut[1].degraded / "videos").iterdir()] == ["004"]
    assert own.crops(Place("", "original")).done == cut[0].done


def test_of_a_domain_of_walkers_all_are_tested(tmp_path: Path) -> None:
    """With the domain's own stride and crops."""
    domains = {"elsewhere": {"walkers": OTHERS, "test_stride": 4, "crops": {"scale": 2.0}}}
    domain = Domain("elsewhere", data(tmp_path, domains=domains))
    task = domain.task()
    task.function(task.argument)
    assert task.is_done()
    place = Place("elsewhere", "degraded")
    assert make(domain, place) == {"001/nm-01/090": [0, 4], "002/nm-01/090": [0, 4]}
    assert domain.crops(place).settings.scale == 2.0


def test_a_domain_of_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a folder of videos each person is a sequence under the video's name; boxes are the detector's."""
    clips = tmp_path / "clips"
    clips.mkdir()
    made = write_dataset(WalkerSettings.parse(OTHERS, where="test"), tmp_path / "walkers", quiet=True)
    assert made.videos is not None
    video = clips / "one.mp4"
    video.write_bytes((made.videos / "001/nm-01/090.mp4").read_bytes())
    (clips / "notes.txt").write_text("no video")
    boxes = np.tile([40.0, 10, 30, 90], (5, 1))

    def extract(sources: Any, estimator: str, out: Path, settings: Any, **_: Any) -> Any:
        """As `gaitext extract` leaves it: of two people, the second in the last frames alone."""
        (source,) = sources
        assert (source.path, source.place, estimator) == (video, None, "movenet:thunder")
        lines = []
        for track, kept in ((1, [1, 2, 3, 4, 5]), (2, [3, 4, 5])):
            name = settings.identity.format(video="one"), settings.type.format(track=track), settings.view
            own = boxes[: len(kept)] + np.array([30.0 * (track - 1), 0, 0, 0])
            poses = np.tile(np.float32([60, 50, 0.3]), (len(kept), 17, 1))
            poses[:, 0, 2] = 0.8
            store.write_leaf(out / "sequences", *name, {"2_poses_frame": poses, "3_boxes": own.astype(np.float32)})
            entry = {
                "video": str(source.path),
                "sha256": digest(source.path),
                "frames": ",".join(map(str, kept)),
                "made_with": {"crop_scale": 1.0, "video_digest": digest(source.path)},
            }
            Records(out).put("/".join(name), entry)
            lines += [f"{frame},{track},{','.join(map(str, box))},1\n" for frame, box in zip(kept, own.tolist())]
        (out / "boxes").mkdir()
        (out / "boxes" / "one.csv").write_text("".join(lines))
        return type("Report", (), {"written": ["one"], "standing": [], "failed": {}})()

    monkeypatch.setattr("gaitext.studies.compression_domains.extract_dataset", extract)
    domain = Domain("people", data(tmp_path, domains={"people": {"videos": str(clips), "test_stride": 2}}))
    task = domain.task()
    task.function(task.argument)
    assert task.is_done()
    place = Place("people", "crf30")
    # Of both people the same frames of the video, those whose number from 0 is even.
    assert make(domain, place) == {"one/person-01/000": [0, 2, 4], "one/person-02/000": [2, 4]}
    crops = domain.crops(place)
    assert probe(crops.degraded / "videos" / "one" / "person-01" / "000.mp4").frames == 5
    read, _ = read_crops(crops.done, crops.min_score)
    assert read.frames([0]).weights[0].tolist() == [1.0] + [0.0] * 16  # where the estimator is sure
