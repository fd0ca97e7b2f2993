"""Pictures of a study of artifact correction, like the paper's Figs. 3 to 5."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from gaitext.inspect.figures import distances_figure
from gaitext.inspect.paint import draw_skeleton, draw_text
from gaitext.restoration.crop_data import CropData
from gaitext.restoration.objective import CorrectionObjective
from gaitext.restoration.validation import decode
from gaitext.store import atomic_path
from gaitext.studies.compression_poses import PIXELS, Found

__all__ = ["examples", "histogram", "panels"]

Array = npt.NDArray[Any]


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
        row = []
        for image, pose in zip(crops.images, poses[chosen]):
            drawn = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            draw_skeleton(drawn, pose[:, :2], np.where(pose[:, 2] > 0, 1.0, 0.0))
            row.append(drawn)
        line = np.concatenate(row, 1)
        draw_text(line, name, 4, 4)
        rows.append(line)
    return _write(np.concatenate(rows, 0), path)


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
        found, then = (decode(output.heatmaps[k : k + 1], data.input_size)[0] for output in (before, after))
        true = np.concatenate((worse.targets[k].numpy(), worse.weights[k].numpy()[:, None]), 1)
        row = [degraded, fixed]
        for picture, pose in ((degraded, found), (fixed, then), (clean, true)):
            drawn = picture.copy()
            draw_skeleton(drawn, pose[:, :2], np.where(pose[:, 2] > 0, 1.0, 0.0))
            row.append(drawn)
        rows.append(np.concatenate(row, 1))
    image = np.concatenate(rows, 0)
    for column, text in enumerate(("degraded", "corrected", "pose before", "pose after", "true pose")):
        draw_text(image, text, column * data.input_size[1] + 4, 4)
    return _write(image, path)


def _spread(count: int, chosen: int) -> Array:
    """Places of ``chosen`` of ``count``, evenly spread, neither the first nor the last."""
    return np.linspace(0, count - 1, chosen + 2).round().astype(int)[1:-1]


def _write(image: Array, path: Path) -> Path:
    with atomic_path(path) as temporary:
        Image.fromarray(image).quantize(160).save(temporary, format="PNG", optimize=True)
    return path


def _picture(image: Any) -> Array:
    array = image.float().clamp(0, 1).mul(255).round().byte().cpu().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(array)
