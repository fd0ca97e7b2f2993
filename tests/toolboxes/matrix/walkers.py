"""Tiny walkers for the toolbox matrix, laid out as each dataset that the toolboxes' evaluators know."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from gaitext.restoration import DegradeSettings, degrade_dataset, prepare_crop_dataset
from gaitext.video.sources import find_videos
from gaitext.walkers import WalkerSettings, write_dataset

#: Five test identities: SUSTech1K's and CCPG's protocols look at the five nearest of a view's gallery.
PEOPLE = {"identities": 9, "train_identities": 4, "diversity": 2.5}
CONTENT = ["heatmaps", "poses", "poses_frame", "boxes", "silhouettes"]
#: Of a leaf, in the order of its files' names.
INPUTS = tuple(CONTENT)

WALKERS = {
    # Of 1 to 9 frames: packs of less than 17 frames, and sequences of a single one, are among them.
    "CASIA-B": {**PEOPLE, "views": ["000", "090"], "frames": [1, 9], "content": CONTENT},
    "PsyMo": {
        **PEOPLE,
        "protocol": "psymo",
        "views": ["000", "090", "180"],
        "frames": [1, 9],
        "content": ["heatmaps", "poses", "poses_frame", "boxes"],
    },
}
#: Dataset -> (type of the walkers -> type there, view -> view there). Its people are CASIA-B's walkers.
LAYOUTS: dict[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "SUSTech1K": (
        {
            **{"nm-01": "00-nm", "nm-02": "01-nm", "bg-01": "02-bg", "cl-01": "03-cl", "nm-03": "01-cr"},
            **{"nm-04": "02-ub", "nm-05": "03-uf", "nm-06": "04-oc", "bg-02": "01-nt"},
        },
        {"000": "000", "090": "090"},
    ),
    "CCPG": (
        {
            **{"nm-01": "U0_D0", "bg-01": "U0_D0_BG", "nm-02": "U0_D3", "nm-03": "U1_D0", "nm-04": "U1_D1"},
            **{"cl-01": "U2_D2", "cl-02": "U3_D3"},
        },
        {"000": "00_001", "090": "01_001"},
    ),
}
#: Videos for the corrector: two sets, the second for the test on another dataset.
CROPS = {
    "protocol": "own",
    "types": ["nm-01", "nm-02"],
    "views": ["045", "090"],
    "frames": [1, 6],
    "content": ["boxes", "keypoints", "video"],
}


def make_data(folder: Path) -> None:
    """Make all datasets below ``folder`` that are not there yet: ``<name>/sequences`` and ``partition.json``."""
    for name, settings in WALKERS.items():
        write_dataset(WalkerSettings.parse(settings, where=name), folder / name, quiet=True)
    for name, (types, views) in LAYOUTS.items():
        _lay_out(folder / "CASIA-B", folder / name, types, views)
    for number, name in enumerate(("Crops", "OtherCrops")):
        _make_crops(folder / f".{name}", folder / name, seed=number)


def training_identities(dataset: Path) -> int:
    return len(json.loads((dataset / "partition.json").read_text(encoding="utf-8"))["TRAIN_SET"])


def _lay_out(source: Path, out: Path, types: Mapping[str, str], views: Mapping[str, str]) -> None:
    """The leaves of ``source`` under other types and views, as hard links."""
    if out.exists():
        return
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    for identity in sorted((source / "sequences").iterdir()):
        for old_type, new_type in types.items():
            for old_view, new_view in views.items():
                leaf = building / "sequences" / identity.name / new_type / new_view
                leaf.mkdir(parents=True)
                for file in sorted((identity / old_type / old_view).iterdir()):
                    os.link(file, leaf / file.name)
    shutil.copy(source / "partition.json", building)
    building.rename(out)


def _make_crops(work: Path, out: Path, seed: int) -> None:
    """Degraded crops, the originals, true poses and boxes of filmed walkers."""
    settings = WalkerSettings.parse({**PEOPLE, **CROPS, "seed": seed}, where="crops")
    made = write_dataset(settings, work, quiet=True)
    assert made.videos is not None
    degraded = work / "degraded"
    degrade_dataset(find_videos(made.videos), degraded, DegradeSettings(crf=45), quiet=True)
    data = {"truth": str(work), "degraded": str(degraded), "cache": str(out), "crops": {"crop": "box"}}
    prepare_crop_dataset({"estimator": "movenet:lightning", "data": data}, quiet=True)
