"""Tables II and III: a GaitPT trained on clean poses, tested on those found in degraded and original video."""

# ruff: noqa: T201 (progress is what it prints)
from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from study_report import Cell

from gaitext.config import Settings, load_yaml, merge
from gaitext.evaluation import Table
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources
from gaitext.pose import load_estimator
from gaitext.restoration.correction_settings import CorrectionConfig
from gaitext.restoration.crop_data import CropData, read_split
from gaitext.restoration.crops import CROPS
from gaitext.standalone import test, train
from gaitext.store import atomic_path, read_sequence, write_json, write_leaf

#: PsyMo's variations, the columns of the paper's tables.
VARIATIONS = ("NM", "BG", "CL", "WSS", "WSF", "PH", "TXT", "mean")


class RecognitionSettings(Settings):
    """How identities are told.

    Attributes:
        config: of a GaitPT, such as configs/gaitpt/tiny.yaml. It is trained on clean poses of the training and
            validation identities: those of the extraction that stands for the truth; of walkers, whose truth
            is the renderer's, those that the estimator as it is finds in original video.
        overrides: laid over it.
        seed: of its training.
        seeds: of correction's training, whose test poses are recognised.
    """

    config: Path
    overrides: dict[str, Any] = Field(default_factory=dict)
    seed: int = 0
    seeds: tuple[int, ...] = Field((0,), min_length=1)


def recognise(
    settings: RecognitionSettings, cells: list[Cell], data: CropData, config: CorrectionConfig, work: Path
) -> dict[str, Table]:
    """Rank-1 of every cell: a table for each kind of video."""
    host = merge(settings.overrides, load_yaml(settings.config))
    checkpoint = _trained(settings, host, config, work)
    tables = {}
    for video in ("degraded", "original"):
        rows = []
        for cell in (c for c in cells if c.video == video):
            numbers = _tested(host, cell, data, checkpoint, work)
            rows.append((cell.name, [numbers.get(f"scalar/test_accuracy/{v}@R1", float("nan")) for v in VARIATIONS]))
        tables[video] = Table(f"Rank-1 on {video} video (%), GaitPT trained on clean poses", list(VARIATIONS), rows)
    return tables


def _trained(settings: RecognitionSettings, host: dict[str, Any], config: CorrectionConfig, work: Path) -> Path:
    """A GaitPT of clean poses."""
    output = work / "gaitpt"
    done = output / "checkpoint.json"
    if done.is_file():
        return Path(json.loads(done.read_text())["checkpoint"])
    truth = config.data.truth
    if (truth / "walkers.json").is_file():
        root = _found_in_originals(truth, config, output / "clean")
    else:
        root = truth / "sequences"
    split = read_split(config.data.split, (p.name for p in root.iterdir()), config.data.split_seed)
    partition = output / "partition.json"
    partition.parent.mkdir(parents=True, exist_ok=True)
    write_json(partition, {"TRAIN_SET": [*split.train, *split.val], "TEST_SET": list(split.test)})
    # What `gaitext extract` writes: heatmaps, poses, poses in the frame, boxes.
    data = {
        "dataset_root": str(root),
        "dataset_partition": str(partition),
        "data_in_use": [False, False, True, False],
    }
    run = train(merge({"data_cfg": data}, host), output=output, overwrite=True, seed=settings.seed)
    write_json(done, {"checkpoint": str(run.checkpoint), "seconds": run.seconds})
    print(f"GaitPT: {run.seconds:.0f} s", flush=True)
    return run.checkpoint


def _found_in_originals(walkers: Path, config: CorrectionConfig, out: Path) -> Path:
    """Poses that the estimator finds in the original videos of training and validation walkers, all frames."""
    split = read_split(config.data.split, (p.name for p in (walkers / "videos").iterdir()), config.data.split_seed)
    wanted = {*split.train, *split.val}
    sources = [s for s in find_sources(walkers / "videos", walkers / "boxes") if s.identity in wanted]
    settings = ExtractSettings(min_frames=1, min_score=0.0, form="compact")
    report = extract_dataset(sources, load_estimator(config.estimator), out, settings, resume=True)
    if report.failed:
        raise SystemExit(str(report))
    return out / "sequences"


def _tested(host: dict[str, Any], cell: Cell, data: CropData, checkpoint: Path, work: Path) -> dict[str, float]:
    """The protocol's scalars for one cell's poses."""
    root = work / "poses" / cell.file
    done = root / "result.json"
    if done.is_file():
        read = json.loads(done.read_text())
        if read["poses"] == cell.digest:
            return dict(read["scalars"])
    shutil.rmtree(root, ignore_errors=True)
    for name, poses in frame_poses(cell, data).items():
        write_leaf(root / "sequences", *name.split("/"), {"2_poses_frame": poses})
    identities = sorted({name.split("/")[0] for name in data.names_and_frames()})
    write_json(root / "partition.json", {"TRAIN_SET": [], "TEST_SET": identities})
    own = {
        "dataset_root": str(root / "sequences"),
        "dataset_partition": str(root / "partition.json"),
        "data_in_use": [True],
    }
    result = test(merge({"data_cfg": own}, host), checkpoint=checkpoint, output=root / "output", quiet=True)
    scalars = {name: float(value) for name, value in result.evaluation.scalars.items()}
    with atomic_path(done) as temporary:
        temporary.write_text(json.dumps({"poses": cell.digest, "scalars": scalars}))
    print(f"{cell.name} on {cell.video}: rank-1 {scalars['scalar/test_accuracy/mean@R1']:.2f}", flush=True)
    return scalars


def frame_poses(cell: Cell, data: CropData) -> dict[str, np.ndarray]:
    """A cell's poses by sequence, in frame pixels: [T, 17, 3]."""
    found = {}
    start = 0
    height, width = data.input_size
    for name, count in data.names_and_frames().items():
        crops = np.asarray(read_sequence(data.root / name / f"{CROPS}.pkl"))[:, None, :]
        poses = cell.found[start : start + count].copy()
        places = (poses[..., :2] + 0.5) * crops[..., 2:] / (width, height) + crops[..., :2] - 0.5
        poses[..., :2] = np.where(poses[..., 2:] > 0, places, 0)
        found[name] = poses.astype(np.float32)
        start += count
    return found
