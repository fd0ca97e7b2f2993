"""Repeat the artifact-correction paper's experiment: Table I, histograms, panels, Tables II and III.

Run: python tools/compression_study.py configs/correction/walkers.yaml --work FOLDER
(needs gaitext[video,coco,standalone,plot]). Rows: the estimator as it is (base), behind FBCNN as released (where its
weights are given), fine-tuned, and behind the trained corrector; each on degraded and on original video. FOLDER keeps
everything: run again, what is finished is not done again. `--seeds 1` does one seed's share, for machines side by side.
Ends with FOLDER/results.json, table1.md, recognition.md, histogram.png, panels.png.
"""

# ruff: noqa: T201 (progress and results are what it prints)
from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from study_recognition import RecognitionSettings, recognise
from study_report import Cell, write_report

from gaitext.config import Settings, load_yaml
from gaitext.pose import TorchEstimator, load_estimator
from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.restoration.correction_settings import CorrectionConfig
from gaitext.restoration.corrector import load_corrector
from gaitext.restoration.crop_data import CropData, read_split
from gaitext.restoration.crops import CropReport, prepare_crops
from gaitext.restoration.objective import CorrectionObjective
from gaitext.restoration.targets import find_targets
from gaitext.restoration.train import train_correction
from gaitext.restoration.validation import estimate
from gaitext.sources import find_videos
from gaitext.store import atomic_path, write_json
from gaitext.walkers import WalkerSettings, write_dataset

#: In the order of the paper's table.
METHODS = ("base", "released", "fine-tuned", "corrected")
VIDEOS = ("degraded", "original")


class StudySettings(Settings):
    """A preset.

    Attributes:
        walkers: rendered and degraded first; None: ``correction.data`` names what `gaitext degrade` and
            `gaitext extract` made.
        degrade: how much is lost.
        correction: what `gaitext correct train` takes, or its file; with walkers, its data's folders are filled in.
        released: ``fbcnn_color.pth``; None leaves that row out, and the tables say so.
        seeds: of training.
        test_stride: Table I takes every so many frames of a test sequence; recognition takes all.
        recognition: None leaves Tables II and III out.
        device, nproc: as `gaitext correct train`.
    """

    walkers: dict[str, Any] | None = None
    degrade: DegradeSettings = DegradeSettings()
    correction: Path | dict[str, Any]
    released: Path | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    test_stride: int = Field(1, ge=1)
    recognition: RecognitionSettings | None = None
    device: str = "auto"
    nproc: int = Field(1, ge=1)


@dataclass
class Study:
    """A preset at work in a folder."""

    settings: StudySettings
    work: Path
    workers: int

    def __post_init__(self) -> None:
        begun = time.monotonic()
        self.config = self._prepare_videos()
        print(f"videos: {time.monotonic() - begun:.0f} s", flush=True)
        self.device = self.settings.device
        if self.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"

    def _prepare_videos(self) -> CorrectionConfig:
        given = self.settings.correction
        values = dict(given) if isinstance(given, dict) else load_yaml(given)
        if self.settings.walkers is not None:
            made = write_dataset(
                WalkerSettings.parse(self.settings.walkers, where="walkers"), self.work / "walkers", self.workers
            )
            degraded = self.work / "degraded"
            report = degrade_dataset(find_videos(made.videos), degraded, self.settings.degrade, workers=self.workers)
            if report.failed:
                raise SystemExit(str(report))
            split = self.work / "split.json"
            names = json.loads(made.partition.read_text())
            few = max(1, round(0.12 * len(names["TRAIN_SET"])))
            parts = {"train": names["TRAIN_SET"][:-few], "val": names["TRAIN_SET"][-few:], "test": names["TEST_SET"]}
            write_json(split, parts)
            filled = {
                "degraded": degraded,
                "truth": self.work / "walkers",
                "split": split,
                "cache": self.work / "crops",
            }
            values["data"] = {**values.get("data", {}), **{k: str(v) for k, v in filled.items()}}
        return CorrectionConfig.parse(values, where="correction")

    def test_data(self) -> CropData:
        """Crops of all frames of the test identities."""
        data = self.config.data
        targets = find_targets(data.truth, data.degraded, data.boxes)
        split = read_split(data.split, (target.identity for target in targets), data.split_seed)
        tested = [target for target in targets if target.identity in split.test]
        cut = data.crops.model_copy(update={"stride": 1})
        report: CropReport = prepare_crops(tested, self.work / "test-crops", cut, workers=self.workers)
        print(report)
        return CropData(self.work / "test-crops", report.leaves, data.min_score)

    def trained(self, method: str, seed: int) -> Path | None:
        """The weights of a method that is trained; trains where they are not there yet."""
        if method == "base":
            return None
        if method == "released":
            return self.settings.released
        config = self.config.model_copy(update={"name": f"seed-{seed}"})
        finetune = method == "fine-tuned"
        folder = self.work / "runs" / (f"seed-{seed}" + ("-finetuned" if finetune else ""))
        done = folder / "done.json"
        if not done.is_file():
            started = time.process_time()
            run = train_correction(
                config,
                finetune=finetune,
                device=self.device,
                devices=self.settings.nproc,
                resume=True,
                seed=seed,
                output=self.work / "runs",
                workers=self.workers,
            )
            write_json(done, {"seconds": run.seconds, "cpu": time.process_time() - started, "AP": run.validations})
            print(f"{method}, seed {seed}: {run.seconds:.0f} s, validation {run.validations[-1]}", flush=True)
        return folder / "best.pt"

    def objective(self, method: str, weights: Path | None) -> CorrectionObjective:
        """What finds poses by a method."""
        options = {"device": self.device, "precision": "float32"}
        if method == "fine-tuned":
            return CorrectionObjective(None, load_estimator(f"tuned:{weights}", **options))
        estimator = load_estimator(self.config.estimator, **options)
        assert isinstance(estimator, TorchEstimator)
        if weights is None:
            return CorrectionObjective(None, estimator)
        corrector = load_corrector(weights)
        network = corrector.network.to(self.device)
        return CorrectionObjective(
            network, estimator, quality=corrector.quality, correct_at=self.config.data.crops.correct_at
        )

    def cell(self, method: str, seed: int, video: str, data: CropData, at: np.ndarray, weights: Path | None) -> Cell:
        """Poses of one method on one kind of video, from the folder where they stand."""
        name = method if method in ("base", "released") else f"{method}-{seed}"
        path = self.work / "cells" / f"{name}-{video}.npz"
        made = hashlib.sha256(b"" if weights is None else Path(weights).read_bytes())
        made.update(repr((list(data.names_and_frames().items()), len(at), self.config.estimator)).encode())
        if path.is_file():
            with np.load(path) as read:
                if str(read["made_with"]) == made.hexdigest():
                    return Cell(method, seed, video, read["at"], read["found"], read["true"], read["boxes"])
        objective = self.objective(method, weights).eval()
        poses = estimate(objective, data, at, original=video == "original", device=self.device)
        cell = Cell(method, seed, video, at, poses.found, poses.true, poses.boxes)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file, at=at, found=cell.found, true=cell.true, boxes=cell.boxes, made_with=np.array(made.hexdigest())
            )
        return cell

    def run(self, seeds: list[int]) -> None:
        """Do the share of these seeds, then write what there is."""
        data = self.test_data()
        methods = [m for m in METHODS if m != "released" or self.settings.released is not None]
        recognition = self.settings.recognition
        cells = []
        for seed in seeds:
            for method in methods:
                if method in ("base", "released") and seed != seeds[0]:
                    continue
                weights = self.trained(method, seed)
                whole = recognition is not None and (method in ("base", "released") or seed in recognition.seeds)
                at = np.arange(len(data)) if whole else self._thinned(data)
                for video in VIDEOS:
                    cell = self.cell(method, seed, video, data, at, weights)
                    cells.append(cell)
                    print(cell.thinned(self._thinned(data)), flush=True)
        tables = None
        if recognition is not None:
            tables = recognise(recognition, [c for c in cells if len(c.at) == len(data)], data, self.config, self.work)
        write_report(
            self.work,
            [cell.thinned(self._thinned(data)) for cell in cells],
            tables,
            data,
            released=self.settings.released is not None,
            corrected=self.objective("corrected", self.trained("corrected", seeds[0])),
            base=self.objective("base", None),
        )

    def _thinned(self, data: CropData) -> np.ndarray:
        """Every ``test_stride``-th frame of each sequence."""
        stride = self.settings.test_stride
        starts, lengths = data.starts[:-1], np.diff(data.starts)
        return np.concatenate([start + np.arange(0, length, stride) for start, length in zip(starts, lengths)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps everything")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the preset's")
    parser.add_argument("--workers", type=int, help="processes that render, degrade and cut (default: one a core)")
    options = parser.parse_args()
    settings = StudySettings.parse(load_yaml(options.preset), where=str(options.preset))
    options.work.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic(), time.process_time()
    workers = options.workers if options.workers is not None else os.cpu_count() or 1
    Study(settings, options.work, workers).run(options.seeds or list(settings.seeds))
    print(f"{time.monotonic() - begun[0]:.0f} s, of this process's own time {time.process_time() - begun[1]:.0f} s")


if __name__ == "__main__":
    main()
