"""Systems look for poses in test crops, and leave what recognisers are given."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gaitext.pose import PoseEstimator, load_estimator
from gaitext.restoration.corrector import load_corrector
from gaitext.restoration.crop_data import Batch, CropData
from gaitext.restoration.crops import CROPS
from gaitext.restoration.objective import fit_to_input
from gaitext.restoration.settings import CorrectionConfig
from gaitext.restoration.validation import decode
from gaitext.store import Form, LeafWriter, read_sequence, write_partition
from gaitext.store.contract import HEATMAPS, POSES_FRAME
from gaitext.studies.compression_domains import read_crops
from gaitext.studies.compression_poses import Found
from gaitext.studies.tasks import Task, finish

Array = npt.NDArray[Any]

#: How heatmaps are kept: an eighth of what float16 takes.
HEATMAP_FORMS: dict[str, Form] = {HEATMAPS.stem: "compact"}
#: Crops at a time: what two cores' caches hold.
_BATCH = 16


@dataclass(frozen=True)
class Finder:
    """What finds poses in crops.

    Args:
        config: its estimator, and where a corrector works.
        weights: of a corrector or a fine-tuned estimator; None: the estimator as it is.
        is_tuned: whether they are an estimator's.
        device: ``cpu`` or ``cuda``.
        quality: 1 − QF/100 of a corrector; None: what it was trained with.
    """

    config: CorrectionConfig
    weights: Path | None
    is_tuned: bool
    device: str
    quality: float | None = None

    @property
    def corrects(self) -> bool:
        """Whether the estimator sees something else than the crops."""
        return self.weights is not None and not self.is_tuned

    @cached_property
    def estimator(self) -> PoseEstimator:
        name = f"tuned:{self.weights}" if self.is_tuned else self.config.estimator
        return load_estimator(name, device=self.device, precision="float32")

    @cached_property
    def _correct(self) -> Callable[[Tensor], Tensor] | None:
        """The corrector for use: the same pictures as in training for less work."""
        if self.weights is None or self.is_tuned:
            return None
        return load_corrector(self.weights, self.quality).fixed(device=self.device)

    @torch.inference_mode()
    def sees(self, images: Tensor) -> Tensor:
        """What the estimator sees of crops, uint8 [N, 3, H, W]: float32 [N, 3, *input_size], not clamped to 0..1."""
        ready, size = images.to(self.device).float() / 255, self.estimator.input_size
        if self._correct is None:
            return fit_to_input(ready, size)
        if self.config.data.crops.correct_at == "input":
            ready = fit_to_input(ready, size)
        return fit_to_input(self._correct(ready), size)

    @torch.inference_mode()
    def heatmaps(self, seen: Tensor) -> Tensor:
        """Of what :meth:`sees` returned: [N, 17, h, w]."""
        return self.estimator.heatmaps(seen)


@dataclass(frozen=True)
class Search:
    """A system looks for poses in the test crops of one kind of video.

    Args:
        system: its name.
        finder: what looks.
        original: in original video.
        crops: ``done`` of the task that has cut them.
        min_score: true joints of a lower score are not known.
        stride: in frames whose number, from 0, is a multiple.
        leaves: write sequences for recognition, too: of ``poses``, of ``heatmaps``, or of both.
        folder: of what is found.
        about: what :attr:`done` says.
    """

    system: str
    finder: Finder
    original: bool
    crops: Path
    min_score: float
    stride: int
    leaves: tuple[str, ...]
    folder: Path
    about: Mapping[str, Any]

    @property
    def done(self) -> Path:
        return self.folder / "done.json"

    @property
    def poses(self) -> Path:
        return self.folder / "poses.npz"

    def task(self, name: str, needs: tuple[str, ...]) -> Task:
        return Task(name, search, self, self.done, self.about, needs)

    def data_cfg(self, kind: str) -> dict[str, Any]:
        """Of a host that is tested on leaves of ``poses`` or ``heatmaps``."""
        return {
            "dataset_root": str(self.folder / kind),
            "dataset_partition": str(self.folder / "partition.json"),
            "data_in_use": [True],
        }


def search(job: Search) -> None:
    """Find the poses, and write them; for recognition the leaves, too."""
    data, frames = read_crops(job.crops, job.min_score)
    leaves = np.repeat(np.array(data.names), list(data.names_and_frames().values()))
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    parts = []
    for name in data.names:
        at = np.flatnonzero((leaves == name) & (frames % job.stride == 0))
        if len(at):
            parts.append(_search_leaf(job, data, name, at, frames[at]))
    found = Found(*(np.concatenate([getattr(p, name) for p in parts]) for name in Found.__dataclass_fields__))
    found.write(job.poses)
    if job.leaves:
        write_partition(job.folder / "partition.json", [], sorted(set(found.identities.tolist())))
    finish(job.done, job.about, frames=len(found.found))


def _search_leaf(job: Search, data: CropData, name: str, at: Array, frames: Array) -> Found:
    """One sequence's poses; its leaves are written as it goes."""
    crops = np.asarray(read_sequence(data.root / name / f"{CROPS}.pkl"))[at - data.starts[data.names.index(name)]]
    place = name.split("/")
    parts = []
    with ExitStack() as stack:
        writers = {leaf: stack.enter_context(_writer(job.folder / leaf, *place)) for leaf in job.leaves}
        start = 0
        for batch, maps, psnr in _batches(job, data, at):
            poses = decode(maps, data.input_size).cpu().numpy()
            true = torch.cat((batch.targets, batch.weights[..., None]), -1).numpy()
            parts.append((poses, true, batch.boxes.numpy(), psnr))
            if "poses" in writers:
                own = crops[start : start + len(poses)]
                writers["poses"].append({POSES_FRAME.stem: frame_poses(poses, own, data.input_size)})
            if "heatmaps" in writers:
                writers["heatmaps"].append({HEATMAPS.stem: maps.half().cpu().numpy()})
            start += len(poses)
    found, true, boxes, psnrs = (np.concatenate(part) for part in zip(*parts))
    return Found(found, true, boxes, psnrs, np.full(len(at), name), frames)


def _writer(root: Path, identity: str, kind: str, view: str) -> LeafWriter:
    return LeafWriter(root, identity, kind, view, HEATMAP_FORMS)


def _batches(job: Search, data: CropData, at: Array) -> Iterator[tuple[Batch, Tensor, Array]]:
    """Crops ``at``, their heatmaps and the PSNR of what the estimator saw."""
    for start in range(0, len(at), _BATCH):
        part = at[start : start + _BATCH]
        batch = data.frames(part, np.full(len(part), job.original))
        seen = job.finder.sees(batch.images)
        exact = job.original and not job.finder.corrects
        clean = None if exact else data.frames(part, np.full(len(part), True)).images.to(seen.device)
        psnr = np.full(len(part), np.nan) if clean is None else psnr_of(seen, fit_to_input(clean / 255, _size(seen)))
        yield batch, job.finder.heatmaps(seen), psnr


def _size(images: Tensor) -> tuple[int, int]:
    return int(images.shape[-2]), int(images.shape[-1])


def psnr_of(seen: Tensor, clean: Tensor) -> Array:
    """Peak signal-to-noise ratio of pictures [N, 3, H, W] in 0..1, decibels, float64 [N]; NaN where they are equal.

    ``seen`` is clamped first: as a picture that is looked at.
    """
    error = (seen.clamp(0, 1) - clean).double().square().mean((1, 2, 3)).cpu().numpy()
    return np.where(error > 0, -10 * np.log10(np.where(error > 0, error, 1.0)), np.nan)


def frame_poses(poses: Array, crops: Array, size: tuple[int, int]) -> Array:
    """Poses in crops' pixels as those of frames, float32 [T, 17, 3]; what is not found has no place.

    Args:
        poses: [T, 17, 3].
        crops: [T, 4], what of the frame is shown.
        size: of the crops, height and width.
    """
    crops, height, width = crops[:, None, :], *size
    placed = poses.copy()
    places = (poses[..., :2] + 0.5) * crops[..., 2:] / (width, height) + crops[..., :2] - 0.5
    placed[..., :2] = np.where(poses[..., 2:] > 0, places, 0)
    return placed.astype(np.float32)
