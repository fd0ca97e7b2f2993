"""Poses that a system has found in test crops, and how good they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.evaluation import evaluate_pose, joint_distances, pose_distances
from gaitext.store import atomic_path
from gaitext.studies.cells import Cell
from gaitext.studies.compression_settings import NUMBERS, RECOVERED
from gaitext.studies.tasks import Task

Array = npt.NDArray[Any]

PIXELS = "of the 256×192 crop"
#: Pixels of the crop within which a joint counts as found.
NEAR = 10.0
_OF_COCO = ("AP", "AP50", "AP75", "L2", "L2-norm")


@dataclass(frozen=True)
class Found:
    """Poses that were found in N frames of the test crops, and the true ones, in pixels of the crops.

    Attributes:
        found, true: [N, 17, 3].
        boxes: [N, 4].
        psnr: [N], of what the estimator saw against the original crop, decibels; NaN where it saw just that.
        leaves: [N], the sequence of each frame.
        frames: [N], its number in the video, from 0.
    """

    found: Array
    true: Array
    boxes: Array
    psnr: Array
    leaves: Array
    frames: Array

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
        """Those whose number is a multiple."""
        return self.where(self.frames % stride == 0)

    @property
    def apart(self) -> Array:
        """[N, 17], each joint's distance from the true one, pixels; NaN where that is not known."""
        return joint_distances(self.found, self.true, self.true[..., 2] > 0)

    @property
    def is_known(self) -> bool:
        """Whether any true joint is."""
        return bool((self.true[..., 2] > 0).any())

    def numbers(self) -> dict[str, float]:
        """Table I's AP in %, distances in pixels, ``within10``, the share in % of joints that are found within 10
        pixels, ``PSNR``, frames' mean, and ``frames``, how many there are."""
        data = {"predictions": self.found, "targets": self.true, "boxes": self.boxes}
        scalars = evaluate_pose(data, pixels=PIXELS).scalars
        apart = self.apart
        apart = apart[~np.isnan(apart)]
        psnr = self.psnr[~np.isnan(self.psnr)]
        others = (100 * float((apart <= NEAR).mean()), float(psnr.mean()) if len(psnr) else np.nan, len(self.found))
        return dict(zip(NUMBERS, (*(float(scalars[f"scalar/test_accuracy/{name}"]) for name in _OF_COCO), *others)))

    def by_identity(self) -> dict[str, Found]:
        """Each identity's frames, identities sorted; of whom no joint is known is left out."""
        identities = self.identities
        parts = {name: self.where(identities == name) for name in sorted(set(identities.tolist()))}
        return {name: part for name, part in parts.items() if part.is_known}

    def distances(self) -> Array:
        """Each pose's norm of all joints' distances, as the paper's histogram seems to have it."""
        return pose_distances(self.apart)[1]


@dataclass(frozen=True)
class PoseTest:
    """How good the found poses are.

    Args:
        poses: what a search has written.
        system, condition, seed: of the cell.
        stride: measure frames whose number, from 0, is a multiple.
        lost: the base's poses in this degraded and in original video, between which AP is lost; None: in original
            video there is nothing to recover.
        cell: the file to write.
        about: what the cell is made of.
    """

    poses: Path
    system: str
    condition: str
    seed: int
    stride: int
    lost: tuple[Path, Path] | None
    cell: Path
    about: Mapping[str, Any]

    def task(self, needs: tuple[str, ...]) -> Task:
        name = f"test {self.system}@{self.condition}, seed {self.seed}"
        return Task(name, measure, self, self.cell, self.about, needs)


def measure(task: PoseTest) -> None:
    """Measure, and write the cell.

    Its people are each identity's frames alone. AP of all frames, which ranks all of their poses by score, is not the
    mean of the identities' AP, not even where all have as many frames; that of distances is. What an identity recovered
    is its own gain as a share of what all together lost: of one alone that may be nothing.
    """
    found = Found.read(task.poses).thinned(task.stride)
    scalars = found.numbers()
    people: dict[str, dict[str, float]] = {}
    for identity, part in found.by_identity().items():
        for name, value in part.numbers().items():
            people.setdefault(name, {})[identity] = value
    if task.lost is not None:
        base, best = (Found.read(path).thinned(task.stride) for path in task.lost)
        worst = base.numbers()["AP"]
        lost = best.numbers()["AP"] - worst
        share = 100 / lost if lost > 0 else np.nan
        scalars[RECOVERED] = share * (scalars["AP"] - worst)
        own = {identity: part.numbers()["AP"] for identity, part in base.by_identity().items()}
        people[RECOVERED] = {identity: share * (ap - own[identity]) for identity, ap in people["AP"].items()}
    cell = Cell(task.system, task.condition, task.seed, scalars, people)
    cell.write(task.cell, **task.about)
