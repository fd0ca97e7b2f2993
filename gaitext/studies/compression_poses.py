"""Trainings of a study of artifact correction, and the poses found in test videos: how good, and how they look.

Pictures are like the paper's Figs. 3 to 5.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from gaitext.errors import DataError
from gaitext.evaluation import evaluate_pose, joint_distances, pose_distances
from gaitext.inspect.figures import distances_figure
from gaitext.inspect.paint import draw_skeleton, draw_text
from gaitext.pose import TorchEstimator, load_estimator
from gaitext.restoration.corrector import load_corrector
from gaitext.restoration.crop_data import CropData
from gaitext.restoration.crops import CROPS
from gaitext.restoration.objective import CorrectionObjective
from gaitext.restoration.settings import CorrectionConfig
from gaitext.restoration.train import train_correction
from gaitext.restoration.validation import decode, estimate
from gaitext.store import atomic_path, read_sequence, write_leaf, write_partition
from gaitext.store.contract import POSES_FRAME
from gaitext.studies.cells import Cell
from gaitext.studies.compression_data import read_crops
from gaitext.studies.tasks import Task, finish

Array = npt.NDArray[Any]

NUMBERS = ("AP", "AP50", "AP75", "L2", "L2-norm")
PIXELS = "of the 256×192 crop"


@dataclass(frozen=True)
class CorrectorTraining:
    """A corrector's training, or the fine-tuning it is compared with.

    Args:
        config: of ``gaitext correct train``, its ``name`` the seed's.
        finetune: train the estimator.
        seed: of everything random.
        output: the folder of all seeds.
        device: ``cpu`` or ``cuda``.
        nproc: processes.
        about: what :attr:`done` says.
    """

    config: CorrectionConfig
    finetune: bool
    seed: int
    output: Path
    device: str
    nproc: int
    about: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return self.output / (self.config.name + ("-finetuned" if self.finetune else ""))

    @property
    def done(self) -> Path:
        return self.folder / "done.json"

    @property
    def weights(self) -> Path:
        return self.folder / "best.pt"

    def task(self, name: str, needs: tuple[str, ...], *, alone: bool) -> Task:
        return Task(name, train, self, self.done, self.about, needs, alone)


def train(correction: CorrectorTraining) -> None:
    """Train, or go on where a killed training stopped."""
    run = train_correction(
        correction.config,
        finetune=correction.finetune,
        device=correction.device,
        devices=correction.nproc,
        resume=True,
        seed=correction.seed,
        output=correction.output,
        quiet=True,
    )
    finish(correction.done, correction.about, seconds=round(run.seconds, 1), AP=run.validations)


@dataclass(frozen=True)
class Search:
    """A method looks for poses in the test crops of one kind of video.

    Args:
        system: the method.
        config: its estimator and crops.
        weights: of a corrector or a fine-tuned estimator; None: the estimator as it is.
        original: in original video.
        crops: ``done`` of the task that has cut them.
        stride: in every so many frames of a sequence.
        leaves: write sequences of poses, too, for recognition.
        folder: of what is found.
        device: ``cpu`` or ``cuda``.
        about: what :attr:`done` says.
    """

    system: str
    config: CorrectionConfig
    weights: Path | None
    original: bool
    crops: Path
    stride: int
    leaves: bool
    folder: Path
    device: str
    about: Mapping[str, Any]

    @property
    def done(self) -> Path:
        return self.folder / "done.json"

    @property
    def poses(self) -> Path:
        return self.folder / "poses.npz"

    def task(self, name: str, needs: tuple[str, ...]) -> Task:
        return Task(name, search, self, self.done, self.about, needs)

    @property
    def data_cfg(self) -> dict[str, Any]:
        """Of a host that is tested on the leaves."""
        return {
            "dataset_root": str(self.folder / "sequences"),
            "dataset_partition": str(self.folder / "partition.json"),
            "data_in_use": [True],
        }

    def objective(self) -> CorrectionObjective:
        """What finds poses."""
        options = {"device": self.device, "precision": "float32"}
        if self.system == "fine-tuned":
            return CorrectionObjective(None, load_estimator(f"tuned:{self.weights}", **options)).eval()
        estimator = load_estimator(self.config.estimator, **options)
        assert isinstance(estimator, TorchEstimator)
        if self.weights is None:
            return CorrectionObjective(None, estimator).eval()
        corrector = load_corrector(self.weights)
        network = corrector.network.to(self.device)
        correct_at = self.config.data.crops.correct_at
        return CorrectionObjective(network, estimator, quality=corrector.quality, correct_at=correct_at).eval()


@dataclass(frozen=True)
class Found:
    """Poses that were found in N frames of the test crops, and the true ones, in pixels of the crops.

    Attributes:
        found, true: [N, 17, 3].
        boxes: [N, 4].
        leaves: [N], the sequence of each frame.
        rows: [N], its number there.
    """

    found: Array
    true: Array
    boxes: Array
    leaves: Array
    rows: Array

    @classmethod
    def read(cls, path: Path) -> Found:
        """
        Raises:
            DataError: there is no such file, or it holds something else.
        """
        try:
            with np.load(path) as read:
                return cls(*(read[name] for name in cls.__dataclass_fields__))
        except (OSError, EOFError, BadZipFile, ValueError, KeyError) as error:
            raise DataError(f"holds no poses ({error!r})", where=path, how="delete its folder") from error

    def write(self, path: Path) -> None:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **{name: getattr(self, name) for name in self.__dataclass_fields__})

    @property
    def identities(self) -> Array:
        """[N], whose frames they are."""
        return np.array([leaf.partition("/")[0] for leaf in self.leaves.tolist()])

    def where(self, chosen: Array) -> Found:
        """Some frames alone: bool [N]."""
        return Found(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def thinned(self, stride: int) -> Found:
        """Every so many frames of each sequence."""
        return self.where(self.rows % stride == 0)

    def numbers(self) -> dict[str, float]:
        """Table I's AP in %, and distances in pixels; ``frames`` is how many there are."""
        data = {"predictions": self.found, "targets": self.true, "boxes": self.boxes}
        scalars = evaluate_pose(data, pixels=PIXELS).scalars
        return {name: float(scalars[f"scalar/test_accuracy/{name}"]) for name in NUMBERS} | {"frames": len(self.found)}

    def distances(self) -> Array:
        """Each pose's norm of all joints' distances, as the paper's histogram seems to have it."""
        apart = joint_distances(self.found.astype(float), self.true.astype(float), self.true[..., 2] > 0)
        return pose_distances(apart)[1]


def search(job: Search) -> None:
    """Find the poses, and write them; of all frames the leaves, too, if asked for."""
    data = read_crops(job.crops)
    counts = list(data.names_and_frames().values())
    rows = np.concatenate([np.arange(count) for count in counts])
    leaves = np.repeat(np.array(data.names), counts)
    at = np.flatnonzero(rows % job.stride == 0)
    poses = estimate(job.objective(), data, at, original=job.original, device=job.device)
    found = Found(poses.found, poses.true, poses.boxes, leaves[at], rows[at])
    job.folder.mkdir(parents=True, exist_ok=True)
    found.write(job.poses)
    if job.leaves:
        shutil.rmtree(job.folder / "sequences", ignore_errors=True)
        for name, sequence in frame_poses(found, data).items():
            identity, kind, view = name.split("/")
            write_leaf(job.folder / "sequences", identity, kind, view, {POSES_FRAME.stem: sequence})
        identities = sorted(set(found.identities.tolist()))
        write_partition(job.folder / "partition.json", [], identities)
    finish(job.done, job.about, frames=len(at))


def frame_poses(found: Found, data: CropData) -> dict[str, Array]:
    """Poses by sequence, in frame pixels: [T, 17, 3]."""
    sequences = {}
    height, width = data.input_size
    for name in data.names:
        own = found.where(found.leaves == name)
        crops = np.asarray(read_sequence(data.root / name / f"{CROPS}.pkl"))[own.rows, None, :]
        poses = own.found.copy()
        places = (poses[..., :2] + 0.5) * crops[..., 2:] / (width, height) + crops[..., :2] - 0.5
        poses[..., :2] = np.where(poses[..., 2:] > 0, places, 0)
        sequences[name] = poses.astype(np.float32)
    return sequences


@dataclass(frozen=True)
class PoseTest:
    """How good the found poses are.

    Args:
        search: that has found them.
        condition: of the cell.
        seed: of the cell.
        stride: measure every so many frames of a sequence.
        cell: the file to write.
        about: what the cell is made of.
    """

    search: Search
    condition: str
    seed: int
    stride: int
    cell: Path
    about: Mapping[str, Any]

    def task(self, need: str) -> Task:
        name = f"test {self.search.system}@{self.condition}, seed {self.seed}"
        return Task(name, measure, self, self.cell, self.about, (need,))


def measure(task: PoseTest) -> None:
    """Measure, and write the cell.

    Its people are each identity's frames alone. AP of all frames, which ranks all of their poses by score, is not the
    mean of the identities' AP, not even where all have as many frames; that of distances is.
    """
    found = Found.read(task.search.poses).thinned(task.stride)
    people: dict[str, dict[str, float]] = {}
    for identity in sorted(set(found.identities.tolist())):
        for name, value in found.where(found.identities == identity).numbers().items():
            people.setdefault(name, {})[identity] = value
    cell = Cell(task.search.system, task.condition, task.seed, found.numbers(), people)
    cell.write(task.cell, **task.about)


def histogram(path: Path, found: Mapping[str, Found]) -> Path:
    """Distances from the true poses, a panel for each of ``found``.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    shown = {name: poses.distances() for name, poses in found.items()}
    return distances_figure(shown, path, unit=f"norm of all joints, pixels {PIXELS}")


def examples(path: Path, data: CropData, at: Array, found: Mapping[str, Found], count: int = 6) -> Path:
    """The true pose, then a row for each of ``found``: poses in degraded crops (Fig. 3).

    Args:
        path: a .png.
        data: the crops.
        at: [N], their numbers, as the poses of ``found`` have them.
        found: row's name -> poses in degraded video.
        count: how many of the frames, evenly spread.
    """
    chosen = _spread(len(at), count)
    crops = data.frames(at[chosen])
    true = next(iter(found.values())).true
    rows = []
    for name, poses in (("true pose", true), *((name, each.found) for name, each in found.items())):
        images = (np.ascontiguousarray(image.permute(1, 2, 0).numpy()) for image in crops.images)
        line = np.concatenate([_with_skeleton(image, pose) for image, pose in zip(images, poses[chosen])], 1)
        draw_text(line, name, 4, 4)
        rows.append(line)
    return _write_picture(np.concatenate(rows, 0), path)


@torch.no_grad()
def panels(
    path: Path, data: CropData, at: Array, corrected: CorrectionObjective, base: CorrectionObjective, count: int = 4
) -> Path:
    """Degraded, corrected, pose before and after, true pose: a row for each of ``count`` frames.

    Args:
        path: a .png.
        data: the crops.
        at: the frames' numbers that are chosen from, evenly spread.
        corrected, base: what finds poses after and before.
        count: how many.
    """
    at = at[_spread(len(at), count)]
    (worse,), (better,) = (list(data.batches(at, count, original=original)) for original in (False, True))
    device = next(corrected.parameters()).device
    after, before = (objective(worse.images.to(device)) for objective in (corrected, base))
    rows = []
    for k in range(count):
        degraded, fixed, clean = (
            _picture(x[k]) for x in (before.corrected, after.corrected, base.correct(better.images / 255))
        )
        found, then = (decode(output.heatmaps[k], data.input_size).cpu().numpy() for output in (before, after))
        true = np.concatenate((worse.targets[k].numpy(), worse.weights[k].numpy()[:, None]), 1)
        shown = (_with_skeleton(*each) for each in ((degraded, found), (fixed, then), (clean, true)))
        rows.append(np.concatenate([degraded, fixed, *shown], 1))
    image = np.concatenate(rows, 0)
    for column, text in enumerate(("degraded", "corrected", "pose before", "pose after", "true pose")):
        draw_text(image, text, column * data.input_size[1] + 4, 4)
    return _write_picture(image, path)


def _spread(count: int, chosen: int) -> Array:
    """Places of ``chosen`` of ``count``, evenly spread, neither the first nor the last."""
    return np.linspace(0, count - 1, chosen + 2).round().astype(int)[1:-1]


def _with_skeleton(picture: Array, pose: Array) -> Array:
    drawn = picture.copy()
    draw_skeleton(drawn, pose[:, :2], np.where(pose[:, 2] > 0, 1.0, 0.0))
    return drawn


def _write_picture(image: Array, path: Path) -> Path:
    with atomic_path(path) as temporary:
        Image.fromarray(image).quantize(160).save(temporary, format="PNG", optimize=True)
    return path


def _picture(image: Any) -> Array:
    array = image.float().clamp(0, 1).mul(255).round().byte().cpu().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(array)
