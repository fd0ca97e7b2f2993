"""Crops of degraded and original video with true poses, cut once and kept as leaves a toolbox reads, too."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import DataError
from gaitext.execution.stages import ahead
from gaitext.extraction import crop_images
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.making import Entry, Progress, Recorded, Report, claim, frame_ranges, make_all
from gaitext.pose import INPUT_SIZE
from gaitext.restoration.objective import padding
from gaitext.restoration.settings import CropSettings
from gaitext.restoration.targets import Targets
from gaitext.store import LeafWriter, clear_staging, locked
from gaitext.video import probe, read_frames
from gaitext.video.digests import digest

Array = npt.NDArray[Any]
Size = tuple[int, int]

#: Files of a leaf, in the order a toolbox counts them.
DEGRADED, ORIGINAL, POSES, BOXES, CROPS = "0_degraded", "1_original", "2_poses", "3_boxes", "4_crops"
_BATCH = 16


@dataclass
class CropReport(Report):
    """What was cut.

    Attributes:
        written, standing: leaves cut now, and finished earlier.
        frames: in all leaves.
        dropped: frames whose window leaves the picture.
        empty: leaves of which nothing was left.
        leaves: name -> frames, of all that have any.
    """

    written: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    frames: int = 0
    dropped: int = 0
    empty: list[str] = field(default_factory=list)
    leaves: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [
            f"{len(self.written)} sequences of crops cut, {len(self.standing)} already there: {self.frames} frames; "
            f"{self.dropped} dropped, whose window leaves the picture"
        ]
        if self.empty:
            lines.append(f"nothing is left of {len(self.empty)} sequences: {', '.join(self.empty[:5])} …")
        return "\n".join(lines)


def prepare_crops(
    targets: Sequence[Targets],
    out: str | Path,
    settings: CropSettings | None = None,
    *,
    input_size: Size = INPUT_SIZE,
    workers: int = 0,
    quiet: bool = False,
) -> CropReport:
    """Cut crops to ``out/sequences/<id>/<type>/<view>/``, which stand for later runs.

    A leaf has ``0_degraded.pkl`` and ``1_original.pkl``, uint8 [T, 3, H, W] RGB (256×192, or windows with
    ``correct_at: native``), ``2_poses.pkl``, float32 [T, 17, 3], true x and y in pixels of the 256×192 input, and
    score, ``3_boxes.pkl``, float32 [T, 4], the persons' boxes there, and ``4_crops.pkl``, float32 [T, 4], what of the
    degraded frame the input shows, x, y, w, h. What stands with the same settings, video
    and truth is kept; leaves appear whole. Of several processes one cuts and the others wait.

    Args:
        targets: of :func:`~gaitext.restoration.find_targets`.
        out: the cache.
        settings: how to cut.
        input_size: of the estimator.
        workers: processes; 0 works in this one.
        quiet: no progress bar.

    Raises:
        DataError: a video that cannot be read, windows of different sizes with ``native``, or no frame left.
    """
    out = Path(out)
    claim(out, "data.cache")
    # torchrun's processes all come here, and the corrector's and the baseline's training may: one cuts.
    with locked(out / ".lock"):
        clear_staging(out / "sequences")
        report = make_all(Crops(out, settings or CropSettings(), input_size), targets, workers=workers, quiet=quiet)
    report.raise_failures("sequences")
    if not report.frames:
        raise DataError(
            f"no frame is left: all {report.dropped} windows leave the picture",
            where=out,
            how="a smaller crops.window (or the right window_for), or crop: box",
        )
    return report


@dataclass
class Crops(Recorded[Targets, CropReport]):
    """How a pair of videos becomes a leaf of crops."""

    out: Path
    settings: CropSettings
    size: Size

    report = CropReport
    label, steps = "crops", "frames"
    shared = manifest = False

    def name(self, target: Targets) -> str:
        return target.pair.leaf

    def path(self, target: Targets) -> Path:
        return self.out / "sequences" / target.pair.leaf

    def decides(self, target: Targets) -> Entry:
        pair = target.pair
        truth = hashlib.sha256(pair.poses.tobytes() + target.boxes.tobytes() + pair.degraded_frames.tobytes())
        return {
            "video_digest": digest(pair.degraded),
            "original_digest": digest(pair.original),
            "truth": truth.hexdigest(),
            "settings": self.settings.model_dump(mode="json"),
            "input_size": list(self.size),
        }

    def origin(self, target: Targets, decided: Entry) -> Entry:
        return {"degraded": str(target.pair.degraded), "original": str(target.pair.original)}

    def stands(self, entry: Entry, path: Path) -> bool:
        return path.is_dir() or not entry["kept"]

    def create(self, target: Targets, path: Path, progress: Progress | None) -> Entry:
        pair, settings = target.pair, self.settings
        shutil.rmtree(path, ignore_errors=True)
        info = probe(pair.degraded)
        aspect = float(info.pixel_aspect)
        if settings.correct_at == "native" and aspect != 1:
            raise DataError(
                f"its pixels are not square ({info.pixel_aspect}), and correct_at: native takes them as they are",
                where=pair.degraded,
                how="correct_at: input, or scale the original first "
                "(ffmpeg -i IN -vf scale=iw*sar:ih,setsar=1 OUT.mp4)",
            )
        windows = _Windows.of(target, settings, self.size, info.width, info.height, aspect)
        chosen = np.arange(0, len(pair), settings.stride)
        kept = chosen[windows.inside[chosen]]
        if len(kept):
            identity, kind, view = pair.leaf.split("/")
            with LeafWriter(self.out / "sequences", identity, kind, view) as leaf:
                for rows, degraded, original in _batches(target, windows, kept):
                    places = apply(windows.matrices[rows], pair.poses[rows][..., :2].astype(np.float64))
                    poses = np.concatenate((places, pair.poses[rows][..., 2:]), -1).astype(np.float32)
                    poses[poses[..., 2] <= 0] = 0
                    leaf.append(
                        {
                            DEGRADED: degraded,
                            ORIGINAL: original,
                            POSES: poses,
                            BOXES: windows.boxes(target.boxes, rows),
                            CROPS: windows.crops[rows].astype(np.float32),
                        }
                    )
                    if progress is not None:
                        progress(leaf.frames, len(kept))
        return {
            "frames": frame_ranges((pair.degraded_frames[kept] + 1).tolist()),
            "kept": len(kept),
            "dropped": len(chosen) - len(kept),
        }

    def reported(self, target: Targets, entry: Entry, made: bool) -> CropReport:
        name, frames = target.pair.leaf, entry["kept"]
        report = CropReport(frames=frames, dropped=entry["dropped"])
        if frames:
            (report.written if made else report.standing).append(name)
            report.leaves[name] = frames
        else:
            report.empty.append(name)
        return report


def _batches(target: Targets, windows: _Windows, kept: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Rows of the pair, and their crops of either video."""
    pair = target.pair
    scale = np.tile(pair.scale, 2)
    with (
        closing(ahead(_frames(pair.degraded, pair.degraded_frames[kept]), 8)) as worse,
        closing(ahead(_frames(pair.original, pair.original_frames[kept]), 8)) as better,
    ):
        found: list[tuple[int, Array, Array]] = []
        for row, one, other in zip(kept, worse, better):
            found.append((row, windows.cut(row, one), windows.cut(row, other, scale)))
            if len(found) == _BATCH or row == kept[-1]:
                rows, degraded, original = zip(*found)
                yield np.array(rows), np.stack(degraded), np.stack(original)
                found = []


def _frames(path: Path, numbers: Array) -> Iterator[Array]:
    count = 0
    for _, frame in read_frames(path, frozenset(numbers.tolist())):
        count += 1
        yield frame
    if count < len(numbers):
        raise DataError(f"holds {count} of {len(numbers)} frames that have poses", where=path)


@dataclass(frozen=True)
class _Windows:
    """What is cut of each frame of a pair.

    Attributes:
        crops: [T, 4] x, y, w, h in pixels of the degraded frames: what the estimator's input shows.
        windows: [T, 4] likewise: what of it is picture, whole pixels; equal to ``crops`` for boxes.
        inside: [T], whether the window lies in the frame.
        matrices: [T, 2, 3], frame pixels to input pixels.
        size: height and width of the estimator's input.
        native: keep windows as they are.
    """

    crops: Array
    windows: Array
    inside: Array
    matrices: Array
    size: Size
    native: bool

    @classmethod
    def of(
        cls, target: Targets, settings: CropSettings, size: Size, width: int, height: int, aspect: float
    ) -> _Windows:
        """Of frames whose pixels are shown ``aspect`` times as wide as high."""
        boxes = target.boxes
        windows: Array
        inside: Array
        if settings.crop == "box":
            crops = crop_boxes(boxes, scale=settings.scale, aspect=size[1] / size[0] / aspect)
            windows, inside = crops, np.ones(len(boxes), dtype=bool)
        else:
            ratio = 1.0 if settings.window_for is None else height / settings.window_for
            w, h = (max(2, round(length * ratio / side)) for length, side in zip(settings.window, (aspect, 1.0)))
            corner = np.rint(boxes[:, :2] + boxes[:, 2:] / 2 - (w / 2, h / 2))
            windows = np.concatenate((corner, np.full_like(corner, (w, h))), 1)
            ends = corner + np.array((w, h))
            inside = np.asarray((corner >= 0).all(1) & (ends <= (width, height)).all(1))
            left, top, wide, high = padding(h, w, (size[0], round(size[1] / aspect)))
            crops = np.concatenate((corner - (left, top), np.full_like(corner, (wide, high))), 1)
        native = settings.correct_at == "native"
        return cls(crops, windows, inside, crop_matrices(crops, *size), size, native)

    def cut(self, row: int, frame: Array, scale: Array | None = None) -> Array:
        """uint8 [3, H, W] of a frame; ``scale`` [4] from its pixels to the degraded frame's, where they differ."""
        same = scale is None or (scale == 1).all()
        window = self.windows[row] if scale is None else self.windows[row] / scale
        crop = self.crops[row] if scale is None else self.crops[row] / scale
        x, y, w, h = window
        if self.native:
            if same:
                return frame[int(y) : int(y + h), int(x) : int(x + w)].transpose(2, 0, 1)
            height, width = self.windows[row, 3], self.windows[row, 2]
            return _bytes(crop_images(frame, window[None], (int(height), int(width)))[0])
        if crop is not window and not np.array_equal(crop, window):
            # Black where the window is padded, whatever the frame shows there.
            left, top = max(int(np.floor(x)), 0), max(int(np.floor(y)), 0)
            frame = frame[top : int(np.ceil(y + h)), left : int(np.ceil(x + w))]
            crop = crop - (left, top, 0, 0)
        return _bytes(crop_images(frame, crop[None], self.size)[0])

    def boxes(self, boxes: Array, rows: Array) -> Array:
        """Boxes [n, 4] of ``rows`` in input pixels, edges being pixels' edges."""
        corners = np.stack((boxes[rows, :2], boxes[rows, :2] + boxes[rows, 2:]), 1) - 0.5
        corners = apply(self.matrices[rows], corners) + 0.5
        return np.concatenate((corners[:, 0], corners[:, 1] - corners[:, 0]), 1).astype(np.float32)


def _bytes(image: torch.Tensor) -> Array:
    return image.mul(255).round().to(torch.uint8).numpy()
