"""Prepared crops as batches: every draw a function of the seed and the iteration."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gaitext.errors import DataError
from gaitext.pose import INPUT_SIZE
from gaitext.restoration.augment import Dice, moved_boxes, moved_images, view_matrices
from gaitext.restoration.crops import BOXES, DEGRADED, ORIGINAL, POSES
from gaitext.restoration.settings import AugmentSettings
from gaitext.skeleton import joint_mirror
from gaitext.store import map_sequence, read_sequence

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]
PARTS = ("train", "val", "test")
_SPLIT = '{"train": […], "val": […], "test": […]}'
#: Open leaves a process holds.
_OPEN = 4096


class Batch(NamedTuple):
    """Crops: ``images`` uint8 [N, 3, H, W], ``targets`` [N, 17, 2] and ``boxes`` [N, 4] in input pixels, ``weights``
    [N, 17]; ``originals``, as ``images``, of the original video, where asked for."""

    images: Tensor
    targets: Tensor
    weights: Tensor
    boxes: Tensor
    originals: Tensor | None = None

    def to(self, device: torch.device | str) -> Batch:
        """On another device."""
        images, targets, weights, boxes = (value.to(device) for value in self[:4])
        originals = None if self.originals is None else self.originals.to(device)
        return Batch(images, targets, weights, boxes, originals)

    def moved(self, views: Tensor, margin: float = 0.0) -> Batch:
        """Images and all that is true of them, moved.

        Args:
            views: float64 [N, 2, 3], see :meth:`CropData.views`.
            margin: joints that come to lie further outside the picture, pixels, have no weight.
        """
        height, width = self.images.shape[-2:]
        places = (self.targets.double() @ views[:, :, :2].mT + views[:, None, :, 2]).to(self.targets)
        beyond = margin + 0.5  # edges are half a pixel from centres
        inside = (places >= -beyond) & (places < places.new_tensor((width, height)) - 1 + beyond)
        weights = self.weights * inside.all(-1)
        originals = None if self.originals is None else moved_images(self.originals, views)
        return Batch(moved_images(self.images, views), places, weights, moved_boxes(self.boxes, views), originals)


@dataclass(frozen=True)
class Split:
    """Identities for training, for choosing the best, and for the result."""

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def leaves(self, part: str, names: Iterable[str]) -> list[str]:
        """Those of ``names`` (``id/type/view``) whose identity is in ``part``."""
        identities = set(getattr(self, part))
        return [name for name in names if name.split("/", 1)[0] in identities]


def read_split(path: str | Path | None, identities: Iterable[str], seed: int = 0) -> Split:
    """A split of identities: read, or drawn 80/10/10 (at least one each).

    Args:
        path: json ``{"train": […], "val": […], "test": […]}``; None draws.
        identities: those there are.
        seed: of the draw.

    Raises:
        DataError: no such file, other contents, an identity listed twice, or fewer than three to draw from.
    """
    known = sorted(set(identities))
    if path is None:
        if len(known) < 3:
            raise DataError(f"{len(known)} identities cannot be split in three", how="give data.split")
        order = np.random.default_rng(seed).permutation(known).tolist()
        few = max(1, round(0.1 * len(known)))
        parts = order[2 * few :], order[:few], order[few : 2 * few]
        return Split(*(tuple(sorted(part)) for part in parts))
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read ({error})", where=path, how=f"check data.split: {_SPLIT}") from error
    if not isinstance(content, dict) or not all(isinstance(content.get(part), list) for part in PARTS):
        raise DataError("is no split", where=path, how=f"write {_SPLIT}")
    read = {part: tuple(map(str, content[part])) for part in PARTS}
    listed = [identity for part in read.values() for identity in part]
    twice = sorted({identity for identity in listed if listed.count(identity) > 1})
    if twice:
        raise DataError(f"identity {twice[0]} is listed twice", where=path, how="a person belongs to one part")
    return Split(**read)


def check_split(split: Split, identities: Iterable[str], parts: Iterable[str], where: object) -> None:
    """Raise DataError where a part that is needed holds nobody there is; warn of those listed for nothing."""
    known = set(identities)
    for part in parts:
        listed = getattr(split, part)
        absent = [identity for identity in listed if identity not in known]
        if len(absent) == len(listed):
            raise DataError(
                f"of nobody for '{part}' ({_few(listed) or 'nobody is listed'}) there is a degraded video with poses",
                where=where or "data.split",
                how=f"write names as they are there: {_few(sorted(known))}",
            )
        if absent:
            log.warning("%s: for '%s', nothing is there of %s", where or "data.split", part, _few(absent))


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


class CropData:
    """Frames of prepared leaves.

    Args:
        cache: ``out`` of :func:`~gaitext.restoration.crops.prepare_crops`.
        leaves: name -> frames; their order decides every draw.
        min_score: true joints with a lower score, or 0, have no weight.
        input_size: of the estimator.
        unlabelled: names of those leaves whose joints never have a weight in what is drawn.

    Raises:
        DataError: no frames.
    """

    def __init__(
        self,
        cache: str | Path,
        leaves: dict[str, int],
        min_score: float = 0.0,
        input_size: tuple[int, int] = INPUT_SIZE,
        unlabelled: Collection[str] = (),
    ) -> None:
        self.root, self.names, self._leaves = Path(cache) / "sequences", list(leaves), dict(leaves)
        self.starts = np.concatenate(([0], np.cumsum(list(leaves.values()), dtype=np.int64)))
        self.min_score, self.input_size = min_score, input_size
        #: Which frames have no label.
        self.bare = np.repeat(np.isin(self.names, list(unlabelled)), np.diff(self.starts))
        if not len(self):
            raise DataError("holds no crops of these identities", where=cache, how="check data.split")
        self._poses = lru_cache(_OPEN)(lambda leaf: np.asarray(read_sequence(self.root / leaf / f"{POSES}.pkl")))
        self._boxes = lru_cache(_OPEN)(lambda leaf: np.asarray(read_sequence(self.root / leaf / f"{BOXES}.pkl")))
        self._images = lru_cache(_OPEN)(lambda leaf, name: map_sequence(self.root / leaf / f"{name}.pkl"))

    def __len__(self) -> int:
        return int(self.starts[-1])

    @property
    def is_mixed(self) -> bool:
        """Whether some leaves have labels, and some have none."""
        return bool(self.bare.any() and not self.bare.all())

    def names_and_frames(self) -> dict[str, int]:
        """Leaf -> frames, in order."""
        return dict(self._leaves)

    @property
    def types(self) -> list[str]:
        """Type of the sequence of each frame."""
        counts = np.diff(self.starts)
        return [kind for name, count in zip(self.names, counts) for kind in [name.split("/")[1]] * int(count)]

    def frames(
        self,
        at: Sequence[int] | Array,
        originals: Array | None = None,
        mirrored: Array | None = None,
        *,
        paired: bool = False,
    ) -> Batch:
        """Frames by number, over all leaves in order.

        Args:
            at: [N].
            originals: bool [N], which to take from the original video.
            mirrored: bool [N], which to mirror.
            paired: whether the batch has the originals of all beside them.
        """
        images, better, poses, boxes = [], [], [], []
        for k, number in enumerate(np.asarray(at).tolist()):
            place = int(np.searchsorted(self.starts, number, "right")) - 1
            leaf, row = self.names[place], number - int(self.starts[place])
            name = ORIGINAL if originals is not None and originals[k] else DEGRADED
            images.append(np.asarray(self._images(leaf, name)[row]))
            if paired:
                better.append(images[-1] if name == ORIGINAL else np.asarray(self._images(leaf, ORIGINAL)[row]))
            poses.append(self._poses(leaf)[row])
            boxes.append(self._boxes(leaf)[row])
        pose = np.stack(poses)
        weights = ((pose[..., 2] > 0) & (pose[..., 2] >= self.min_score)).astype(np.float32)
        batch = Batch(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.ascontiguousarray(pose[..., :2])),
            torch.from_numpy(weights),
            torch.from_numpy(np.stack(boxes)),
            torch.from_numpy(np.stack(better)) if paired else None,
        )
        return batch if mirrored is None else self._mirror(batch, torch.from_numpy(mirrored))

    def _mirror(self, batch: Batch, which: Tensor) -> Batch:
        width, swap = self.input_size[1], list(joint_mirror())
        images, targets, weights, boxes = (value.clone() for value in batch[:4])
        images[which] = images[which].flip(-1)
        originals = batch.originals
        if originals is not None:
            originals = torch.where(which[:, None, None, None], originals.flip(-1), originals)
        targets[which] = targets[which][:, swap]
        targets[which, :, 0] = width - 1 - targets[which, :, 0]
        weights[which] = weights[which][:, swap]
        boxes[which, 0] = width - boxes[which, 0] - boxes[which, 2]
        return Batch(images, targets, weights, boxes, originals)

    def draw(
        self,
        size: int,
        seed: int,
        iteration: int,
        *,
        rank: int = 0,
        world: int = 1,
        original_share: float = 0.0,
        mirror: float = 0.0,
        bare_share: float | None = None,
        paired: bool = False,
    ) -> Batch:
        """This process's part of the batch of one iteration.

        Args:
            size: of the whole batch.
            seed, iteration: which decide it.
            rank, world: of this process.
            original_share: chance that a crop is taken from original video.
            mirror: chance that it is mirrored.
            bare_share: chance that it is of an unlabelled leaf; None: as many as there are.
            paired: see :meth:`frames`.
        """
        rng = np.random.default_rng((seed, iteration))
        numbers = rng.integers(len(self), size=size)
        originals, mirrored = rng.random(size) < original_share, rng.random(size) < mirror
        if bare_share is not None:
            bare, place = rng.random(size) < bare_share, rng.random(size)
            for which, there in ((bare, np.flatnonzero(self.bare)), (~bare, np.flatnonzero(~self.bare))):
                numbers[which] = there[(place[which] * len(there)).astype(np.int64)]
        mine = slice(rank, None, world)
        batch = self.frames(numbers[mine], originals[mine], mirrored[mine], paired=paired)
        batch.weights[torch.from_numpy(self.bare[numbers[mine]])] = 0
        return batch

    def views(
        self,
        batch: Batch,
        augment: AugmentSettings,
        size: int,
        seed: int,
        iteration: int,
        *,
        rank: int = 0,
        world: int = 1,
    ) -> Tensor:
        """What a drawn ``batch`` is to be :meth:`~Batch.moved` by, of the same ``size``, seed and place: [N, 2, 3].

        Moving takes a CPU ten milliseconds a crop, so it is left to where the network computes.
        """
        rng = np.random.default_rng((seed, iteration, 1))
        dice = Dice.thrown(rng, size).of(slice(rank, None, world))
        targets, weights = batch.targets.cpu().numpy(), batch.weights.cpu().numpy()
        return torch.from_numpy(view_matrices(augment, dice, targets, weights, self.input_size))

    def spread(self, most: int) -> Array:
        """At most so many frames, evenly spread over all; 0: all."""
        count = len(self) if most == 0 else min(most, len(self))
        return np.linspace(0, len(self) - 1, count).round().astype(np.int64)

    def batches(self, at: Array, size: int, *, original: bool = False) -> Iterator[Batch]:
        """Frames ``at``, in order."""
        for start in range(0, len(at), size):
            part = at[start : start + size]
            yield self.frames(part, np.full(len(part), original))
