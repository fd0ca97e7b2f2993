"""Pictures of a study of artifact correction, like the paper's Figs. 3 to 5, and how its trainings went."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gaitext.inspect.figures import distances_figure, pyplot, save_figure
from gaitext.inspect.paint import draw_skeleton, draw_text
from gaitext.restoration.crop_data import CropData
from gaitext.restoration.validation import decode
from gaitext.store import atomic_path
from gaitext.studies.compression_poses import PIXELS, Found
from gaitext.studies.compression_search import Finder

Array = npt.NDArray[Any]

#: Of Okabe and Ito's palette, told apart by the colour-blind.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
#: ``validation.csv``'s columns and what they are.
_CURVES = {"AP": "degraded", "AP-original": "original"}


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


def panels(path: Path, data: CropData, at: Array, corrected: Finder, base: Finder, count: int = 4) -> Path:
    """Degraded, corrected, pose before and after, true pose: a row for each of ``count`` frames.

    Args:
        path: a .png.
        data: the crops.
        at: the frames' numbers that are chosen from, evenly spread.
        corrected, base: what finds poses after and before.
        count: how many.
    """
    at = at[_spread(len(at), count)]
    worse, better = data.frames(at), data.frames(at, np.full(len(at), True))
    degraded, fixed = (finder.sees(worse.images) for finder in (base, corrected))
    before, after = (
        decode(finder.heatmaps(seen), data.input_size).cpu().numpy()
        for finder, seen in ((base, degraded), (corrected, fixed))
    )
    clean = base.sees(better.images)
    true = np.concatenate((worse.targets.numpy(), worse.weights.numpy()[..., None]), -1)
    rows = []
    for k in range(len(at)):
        shown = ((degraded, before), (fixed, after), (clean, true))
        skeletons = (_with_skeleton(_picture(images[k]), poses[k]) for images, poses in shown)
        rows.append(np.concatenate([_picture(degraded[k]), _picture(fixed[k]), *skeletons], 1))
    image = np.concatenate(rows, 0)
    for column, text in enumerate(("degraded", "corrected", "pose before", "pose after", "true pose")):
        draw_text(image, text, column * data.input_size[1] + 4, 4)
    return _write_picture(image, path)


@dataclass(frozen=True)
class Curve:
    """How one training went.

    Attributes:
        system, seed: which.
        crops: [N], seen before each validation.
        precision: ``AP`` and, where it was looked at, ``AP-original`` of validation people, [N] each.
    """

    system: str
    seed: int
    crops: Array
    precision: Mapping[str, Array]

    @classmethod
    def of(cls, system: str, seed: int, rows: Sequence[Mapping[str, float]], batch_size: int) -> Curve:
        """Of a run's ``validation.csv``."""
        named = {name: np.array([row.get(name, np.nan) for row in rows]) for name in _CURVES}
        return cls(system, seed, np.array([batch_size * row["iteration"] for row in rows]), named)


def curves_table(path: Path, curves: Sequence[Curve]) -> Path:
    """A line for each validation: system, seed, crops, AP, AP-original."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("system", "seed", "crops", *_CURVES))
        for curve in curves:
            for k, crops in enumerate(curve.crops.tolist()):
                values = (curve.precision[name][k] for name in _CURVES)
                numbers = ("" if np.isnan(value) else f"{value:.3f}" for value in values)
                writer.writerow((curve.system, curve.seed, round(crops), *numbers))
    return path


def curves_figure(path: Path, curves: Sequence[Curve], base: Mapping[str, float]) -> Path:
    """AP of validation people against crops seen: each system a colour, each seed a line.

    Args:
        path: a .png, .pdf or .svg.
        curves: of all trainings.
        base: the estimator's as it is, a horizontal line.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    plt = pyplot()
    figure, axes = plt.subplots(1, len(_CURVES), figsize=(10, 4), sharex=True, layout="constrained")
    systems = list(dict.fromkeys(curve.system for curve in curves))
    for axis, (name, video) in zip(axes, _CURVES.items()):
        if name in base:
            axis.axhline(base[name], color="#737373", linewidth=1, linestyle=":", label="base")
        named: set[str] = set()
        for curve in curves:
            colour = _COLOURS[systems.index(curve.system) % len(_COLOURS)]
            label = None if curve.system in named else curve.system
            named.add(curve.system)
            axis.plot(curve.crops, curve.precision[name], color=colour, linewidth=1.2, alpha=0.8, label=label)
        axis.set_title(f"{video} video", fontsize=9)
        axis.set_xlabel("crops seen in training", fontsize=8)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("AP of validation people (%)", fontsize=8)
    axes[0].legend(fontsize=8)
    return save_figure(figure, path)


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
