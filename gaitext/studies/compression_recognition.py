"""Who is recognised by what systems find: recognisers of clean poses or heatmaps, trained and tested."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitext.config import merge
from gaitext.pose import INPUT_SIZE
from gaitext.restoration.crop_data import Split, read_split
from gaitext.restoration.crops import POSES
from gaitext.restoration.objective import rescaled
from gaitext.restoration.targets import renderer_poses
from gaitext.restoration.terms import gaussian_heatmaps
from gaitext.store import read_sequence, write_leaf, write_partition
from gaitext.store.contract import HEATMAP_SHAPE, HEATMAPS, POSES_FRAME
from gaitext.studies.cells import WeightedSum
from gaitext.studies.compression_data import CompressionData
from gaitext.studies.compression_search import HEATMAP_FORMS, Search
from gaitext.studies.compression_settings import GaitSettings
from gaitext.studies.scoring import Config
from gaitext.studies.tasks import Running, Task, digest_of, finish
from gaitext.studies.training import Testing, Training, cell_file, host_name, run_folder
from gaitext.video import probe


@dataclass(frozen=True)
class CleanData:
    """What the label source says of the training identities: its poses, or its heatmaps.

    Args:
        kind: ``poses`` or ``heatmaps``.
        data: the study's.
    """

    kind: str
    data: CompressionData

    @property
    def about(self) -> dict[str, Any]:
        data = self.data.config.data
        drawn = {"split": str(data.split), "split_seed": data.split_seed}
        split = {} if self.data.settings.walkers is not None else drawn
        known = {key: value for key, value in self.data.videos_about.items() if key in ("walkers", "truth")}
        labels = {"labels": "renderer" if self.data.is_rendered else "extraction", "of": "train", "kind": self.kind}
        crops = data.crops.model_dump(mode="json") if self.kind == "heatmaps" and self.data.is_rendered else None
        stride = self.data.settings.recognition_stride if self.kind == "poses" else 1
        return {**known, **split, **labels, "crops": crops, "stride": stride}

    @property
    def folder(self) -> Path:
        return self.data.folder / f"clean-{self.kind}-{digest_of(self.about)}"

    @property
    def data_cfg(self) -> dict[str, Any]:
        """Of a host that trains on them."""
        found = self.folder if self.data.is_rendered else self.data.truth
        # Of what `gaitext extract` writes: heatmaps, poses in their pixels and in the frame's, boxes.
        place = {"heatmaps": 0, "poses": 2}[self.kind]
        return {
            "dataset_root": str(found / "sequences"),
            "dataset_partition": str(self.folder.with_name(f"{self.folder.name}-partition.json")),
            "data_in_use": [True] if self.data.is_rendered else [k == place for k in range(4)],
        }

    def task(self) -> Task:
        done = self.folder.with_suffix(".json")
        return Task(f"data clean {self.kind}", _make_clean, self, done, self.about, ("data crops",), alone=True)


def _make_clean(clean: CleanData) -> None:
    data = clean.data.config.data
    there = clean.data.truth / "sequences"
    split = read_split(data.split, (path.name for path in there.iterdir()), data.split_seed)
    if clean.data.is_rendered:
        shutil.rmtree(clean.folder, ignore_errors=True)
        (_render_poses if clean.kind == "poses" else _render_heatmaps)(clean, split)
    write_partition(Path(clean.data_cfg["dataset_partition"]), split.train, split.test)
    finish(clean.task().done, clean.about)


def _render_poses(clean: CleanData, split: Split) -> None:
    """The renderer's joints, in frame pixels, of the frames that would be recognised."""
    truth, stride = clean.data.truth, clean.data.settings.recognition_stride
    there = truth / "sequences"
    for leaf in _leaves(there, split):
        identity, kind, view = leaf.relative_to(there).parts
        info = probe(truth / "videos" / identity / kind / f"{view}.mp4")
        poses = renderer_poses(leaf, info.width, info.height)[::stride].astype(np.float32)
        write_leaf(clean.folder / "sequences", identity, kind, view, {POSES_FRAME.stem: poses})


def _render_heatmaps(clean: CleanData, split: Split) -> None:
    """Gaussians at the renderer's joints, as high as these score, in the crops that correctors are trained on."""
    there = clean.data.config.data.cache / "sequences"
    size = (HEATMAP_SHAPE[1], HEATMAP_SHAPE[2])
    for leaf in _leaves(there, split):
        poses = torch.from_numpy(np.array(read_sequence(leaf / f"{POSES}.pkl")))
        maps = gaussian_heatmaps(rescaled(poses[..., :2], INPUT_SIZE, size), size) * poses[..., 2, None, None]
        identity, kind, view = leaf.relative_to(there).parts
        sequences = {HEATMAPS.stem: maps.half().numpy()}
        write_leaf(clean.folder / "sequences", identity, kind, view, sequences, HEATMAP_FORMS)


def _leaves(there: Path, split: Split) -> list[Path]:
    return sorted(leaf for identity in split.train for leaf in (there / identity).glob("*/*"))


@dataclass(frozen=True)
class Recogniser:
    """One of a study's ``recognition``.

    Args:
        name: there.
        settings: there.
        config: the host's, without its data's place.
        data: the study's.
        running: how it is run.
        save: whether tests leave their results beside their cells.
    """

    name: str
    settings: GaitSettings
    config: Config
    data: CompressionData
    running: Running
    save: bool = False

    @property
    def clean(self) -> CleanData:
        return CleanData(self.settings.input, self.data)

    def training(self, seed: int) -> Training:
        """On clean data, with one of its own seeds."""
        config = self.config
        if self.data.training_identities is not None and "class_num" in config["model_cfg"]:
            config = merge({"model_cfg": {"class_num": self.data.training_identities}}, config)
        about = {"config": config, "data": self.clean.about, "seed": seed, "host": host_name(self.running)}
        config = merge({"data_cfg": self.clean.data_cfg}, config)
        folder = run_folder(self.running, self.name, about)
        return Training(self.name, config, seed, folder, self.running.chosen_device, about)

    def training_name(self, seed: int) -> str:
        return f"train {self.name}, seed {seed}"

    def training_tasks(self) -> list[Task]:
        """Before them stands :attr:`clean`'s."""
        return [self.training(s).task(self.training_name(s), (self.clean.task().name,)) for s in self.settings.seeds]

    def testing(self, job: Search, video: str, correction_seed: int, seed: int) -> Testing:
        """What a search has found, by one of its own seeds: a part of a cell."""
        training = self.training(seed)
        about = {**{key: job.about[key] for key in ("trained", "data", "video")}, "gait": training.about}
        config = merge({"data_cfg": job.data_cfg(self.settings.input)}, training.config)
        condition = f"{self.name}-{video}/{seed}"
        cell = cell_file(self.running, job.system, condition, correction_seed, about)
        return Testing(job.system, condition, config, training, cell, about, seed=correction_seed, save=self.save)

    def tests(self, job: Search, video: str, found: str, seed: int, untrained_seed: int | None) -> list[Task]:
        """A cell, the mean over the recogniser's seeds, and its parts.

        Args:
            job: the search.
            video: in which it has found poses.
            found: the search's task.
            seed: of the cell.
            untrained_seed: of a system that nothing trains, the seed whose parts are those of all.
        """
        own = seed if untrained_seed is None else untrained_seed
        parts = [self.testing(job, video, own, each) for each in self.settings.seeds]
        tasks = [part.task((found, self.training_name(part.training.seed))) for part in parts]
        condition, share = f"{self.name}-{video}", 1 / len(parts)
        about = {"mean over": [part.about for part in parts], "trained": job.about["trained"]}
        cell = cell_file(self.running, job.system, condition, seed, about)
        mean = WeightedSum(job.system, condition, seed, tuple((share, part.cell) for part in parts), cell, about)
        name = f"test {job.system}@{condition}, seed {seed}"
        return [*(tasks if seed == own else []), mean.task(name, tuple(task.name for task in tasks))]
