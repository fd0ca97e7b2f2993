"""What a compression study writes: Table I, histograms, and panels like the paper's figures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from gaitext.evaluation import Table, evaluate_pose, joint_distances, pose_distances
from gaitext.report.figures import distances_figure
from gaitext.report.paint import draw_skeleton, draw_text
from gaitext.restoration.crop_data import CropData
from gaitext.restoration.objective import CorrectionObjective
from gaitext.restoration.validation import decode
from gaitext.store import atomic_path, write_json

NUMBERS = ("AP", "AP50", "AP75", "L2", "L2-norm")
PIXELS = "of the 256×192 crop"


@dataclass(frozen=True)
class Cell:
    """Poses [N, 17, 3] that a method found in frames ``at`` of degraded or original video, and the true ones."""

    method: str
    seed: int
    video: str
    at: np.ndarray
    found: np.ndarray
    true: np.ndarray
    boxes: np.ndarray

    @property
    def name(self) -> str:
        return self.method if self.method in ("base", "released") else f"{self.method}, seed {self.seed}"

    @property
    def file(self) -> str:
        return f"{self.name.replace(', seed ', '-')}-{self.video}"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.found.tobytes()).hexdigest()

    def thinned(self, at: np.ndarray) -> Cell:
        """Frames ``at`` alone."""
        rows = np.flatnonzero(np.isin(self.at, at))
        arrays = (value[rows] for value in (self.at, self.found, self.true, self.boxes))
        return Cell(self.method, self.seed, self.video, *arrays)

    def numbers(self) -> dict[str, float]:
        """Table I's."""
        data = {"predictions": self.found, "targets": self.true, "boxes": self.boxes}
        scalars = evaluate_pose(data, pixels=PIXELS).scalars
        return {name: float(scalars[f"scalar/test_accuracy/{name}"]) for name in NUMBERS}

    def distances(self) -> np.ndarray:
        """Each pose's norm of all joints' distances, as the paper's histogram seems to have it."""
        apart = joint_distances(self.found.astype(float), self.true.astype(float), self.true[..., 2] > 0)
        return pose_distances(apart)[1]

    def __str__(self) -> str:
        numbers = self.numbers()
        return f"{self.name} on {self.video}: " + ", ".join(f"{name} {value:.2f}" for name, value in numbers.items())


def write_report(
    work: Path,
    cells: list[Cell],
    recognition: dict[str, Table] | None,
    data: CropData,
    *,
    released: bool,
    corrected: CorrectionObjective,
    base: CorrectionObjective,
) -> None:
    """Write table1.md, recognition.md, results.json, histogram.png and panels.png."""
    measured = {cell.name + " on " + cell.video: cell.numbers() for cell in cells}
    texts = [str(_table(cells, measured, video)) for video in ("degraded", "original")]
    texts.append(str(_means(cells, measured)))
    if not released:
        texts.append("FBCNN as released is left out: its weights (fbcnn_color.pth) were not given.")
    with atomic_path(work / "table1.md") as temporary:
        temporary.write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    if recognition is not None:
        with atomic_path(work / "recognition.md") as temporary:
            temporary.write_text("\n\n".join(map(str, recognition.values())) + "\n", encoding="utf-8")
    tables = {name: {"columns": t.columns, "rows": t.rows} for name, t in (recognition or {}).items()}
    write_json(work / "results.json", {"poses": measured, "recognition": tables, "frames": len(cells[0].at)})
    first = min(cell.seed for cell in cells)
    shown = {f"{c.method}, {c.video}": c.distances() for c in cells if c.seed == first}
    distances_figure(shown, work / "histogram.png", unit=f"norm of all joints, pixels {PIXELS}")
    panels(work / "panels.png", cells, data, corrected, base)


def _table(cells: list[Cell], measured: dict[str, dict[str, float]], video: str) -> Table:
    rows = [(c.name, list(measured[f"{c.name} on {video}"].values())) for c in cells if c.video == video]
    return Table(f"Poses on {video} video: AP in %, L2 in pixels {PIXELS}", list(NUMBERS), rows)


def _means(cells: list[Cell], measured: dict[str, dict[str, float]]) -> Table:
    """Mean and standard deviation of each method's AP and L2 over seeds."""
    rows = []
    for method in dict.fromkeys(cell.method for cell in cells):
        row: list[float] = []
        for video in ("degraded", "original"):
            mine = [measured[f"{c.name} on {video}"] for c in cells if (c.method, c.video) == (method, video)]
            for name in ("AP", "L2-norm"):
                values = [numbers[name] for numbers in mine]
                row += [float(np.mean(values)), float(np.std(values))]
        rows.append((method, row))
    columns = [f"{v} {n}{s}" for v in ("degraded", "original") for n in ("AP", "L2-norm") for s in ("", " ±")]
    return Table("Table I: means over seeds, ± their standard deviation", columns, rows)


@torch.no_grad()
def panels(
    path: Path,
    cells: list[Cell],
    data: CropData,
    corrected: CorrectionObjective,
    base: CorrectionObjective,
    count: int = 4,
) -> None:
    """Degraded, corrected, pose before and after, true pose: a row for each of ``count`` frames, evenly spread."""
    at = cells[0].at[np.linspace(0, len(cells[0].at) - 1, count + 2).round().astype(int)[1:-1]]
    (worse,), (better,) = (list(data.batches(at, count, original=original)) for original in (False, True))
    device = next(corrected.parameters()).device
    after = corrected.eval()(worse.images.to(device))
    before = base(worse.images.to(device))
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
    with atomic_path(path) as temporary:
        Image.fromarray(image).quantize(160).save(temporary, format="PNG", optimize=True)


def _picture(image: Any) -> np.ndarray:
    array = image.float().clamp(0, 1).mul(255).round().byte().cpu().permute(1, 2, 0).numpy()
    return np.ascontiguousarray(array)
