"""A study's plots (extra ``plot``)."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gaitext.inspect.figures import pyplot, save_figure
from gaitext.studies.cells import Cells
from gaitext.studies.settings import TableSettings
from gaitext.studies.statistics import LEVEL, Comparison, Summary
from gaitext.studies.tables import difference_text, grid

#: Of Okabe and Ito's palette, told apart by the colour-blind; the verdict's word and the marker say the same.
_LOOKS = {
    "holds": ("#0072B2", "o"),
    "does not hold": ("#D55E00", "s"),
    "undecided": ("#595959", "D"),
    "not run": ("#737373", "x"),
}
_ACROSS = 4
_BLUE = "#0072B2"
_GREY = {"ha": "center", "va": "center", "fontsize": 8, "color": "#737373"}


def claims_figure(comparisons: Sequence[Comparison], path: str | Path) -> Path:
    """A forest plot: each claim's difference with its interval, a small dot for each seed, and the verdict.

    Claims of another unit stand in a panel of their own, below.

    Args:
        comparisons: at least one, see :func:`~gaitext.studies.statistics.compare`.
        path: a .png, .pdf or .svg.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    plt = pyplot()
    panels: dict[str, list[Comparison]] = {}
    for found in comparisons:
        panels.setdefault(found.claim.unit, []).append(found)
    names = {unit: [_wrapped(found.claim.name, 46) for found in part] for unit, part in panels.items()}
    heights = [sum(max(0.36, 0.17 * (1 + name.count("\n"))) for name in part) for part in names.values()]
    figure, axes = plt.subplots(
        len(panels),
        1,
        figsize=(9.5, sum(heights) + 1.0 * len(panels)),
        squeeze=False,
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    for axis, (unit, part) in zip(axes[:, 0], panels.items()):
        axis.axvline(0, color="black", linewidth=1)
        for row, found in enumerate(part):
            _draw_claim(axis, row, found)
        axis.set_yticks(range(len(part)), names[unit], fontsize=8)
        _finish_rows(axis, len(part))
        axis.set_xlabel(f"difference ({unit}); right of the line, the claim's better side is better", fontsize=8)
    legend = f"large marks: mean of seeds; bars: {LEVEL:.0%} interval over test identities; dots: seeds"
    if any(found.claim.by for found in comparisons):
        legend += "; dotted: the least difference that counts"
    axes[0, 0].set_title(legend, fontsize=8, color="#404040")
    return save_figure(figure, path)


def _draw_claim(axis: Any, row: int, found: Comparison) -> None:
    colour, marker = _LOOKS[found.verdict]
    if not math.isnan(found.low):
        axis.plot([found.low, found.high], [row, row], color=colour, linewidth=2, solid_capstyle="butt", zorder=2)
    if by := found.claim.by:
        axis.plot([by] * 2, [row - 0.35, row + 0.35], color="black", linewidth=1, linestyle=":", zorder=1)
    words = found.verdict
    if not math.isnan(found.difference):
        seeds = list(found.by_seed.values())
        axis.scatter(seeds, [row + 0.22] * len(seeds), s=7, color=colour, alpha=0.7, linewidths=0, zorder=3)
        axis.scatter([found.difference], [row], s=34, color=colour, marker=marker, zorder=4)
        words = f"{difference_text(found, 1).replace('-', '−')}  {words}"
    # Beside the axis, at the row's height.
    place = {"xycoords": ("axes fraction", "data"), "va": "center", "annotation_clip": False}
    axis.annotate(words, (1.01, row), fontsize=8, color=colour, **place)


def table_figure(table: TableSettings, cells: Cells, path: str | Path) -> Path:
    """A panel for each column: rows' means with their intervals, small dots for seeds, a line at the first row's mean.

    Panels share rows, and each has its own scale.

    Args:
        table: what is shown.
        cells: of which.
        path: a .png, .pdf or .svg.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigError: cells have no such metric.
    """
    plt = pyplot()
    rows, titles = grid(table, cells), table.headers()
    names = [_wrapped(name, 34) for name, _ in rows]
    across = min(_ACROSS, len(titles))
    down = math.ceil(len(titles) / across)
    height = sum(max(0.3, 0.17 * (1 + name.count("\n"))) for name in names) + 0.75
    figure, axes = plt.subplots(
        down, across, figsize=(2.4 + 2.3 * across, down * height + 0.5), squeeze=False, layout="constrained"
    )
    for place, axis in enumerate(axes.flat):
        if place >= len(titles):
            axis.set_axis_off()
            continue
        first = rows[0][1][place]
        if not math.isnan(first.mean):
            axis.axvline(first.mean, color="#8C8C8C", linewidth=1, linestyle=":", zorder=1)
        for row, ((_, found), (_, line)) in enumerate(zip(rows, table.lines())):
            _draw_mean(axis, row, found[place], "no number" if cells.of(*line[place][:2]) else "not run")
        axis.set_yticks(range(len(rows)), names if place % across == 0 else [], fontsize=8)
        _finish_rows(axis, len(rows))
        axis.set_title(f"{titles[place]} ({table.unit})", fontsize=9)
    legend = (
        f"large dots: mean of seeds; bars: {LEVEL:.0%} interval over test identities; "
        "small dots: seeds; dotted: the first row"
    )
    width = 40 + 28 * across
    figure.suptitle(f"{textwrap.fill(table.title, width)}\n{textwrap.fill(legend, width)}", fontsize=9)
    return save_figure(figure, path)


def _draw_mean(axis: Any, row: int, found: Summary, words: str) -> None:
    """A row's mean with its interval and seeds; where there is none, ``words``."""
    if math.isnan(found.mean):
        axis.annotate(words, (0.5, row), xycoords=("axes fraction", "data"), **_GREY)
        return
    if not math.isnan(found.low):
        axis.plot([found.low, found.high], [row, row], color=_BLUE, linewidth=2, solid_capstyle="butt")
    seeds = list(found.by_seed.values())
    axis.scatter(seeds, [row + 0.24] * len(seeds), s=6, color=_BLUE, alpha=0.7, linewidths=0, zorder=3)
    axis.scatter([found.mean], [row], s=24, color=_BLUE, zorder=4)


def _wrapped(text: str, width: int) -> str:
    """Over as few lines as ``width`` needs, of like lengths."""
    lines = len(textwrap.wrap(text, width))
    while width > 10 and len(textwrap.wrap(text, width - 1)) == lines:
        width -= 1
    return textwrap.fill(text, width)


def _finish_rows(axis: Any, count: int) -> None:
    """Rows from the top down, with light bands that lead the eye from a name to its marks."""
    for row in range(0, count, 2):
        axis.axhspan(row - 0.5, row + 0.5, color="#F3F3F3", linewidth=0, zorder=0)
    axis.set_ylim(count - 0.5, -0.5)
    axis.grid(axis="x", alpha=0.3)
    axis.set_axisbelow(True)
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
