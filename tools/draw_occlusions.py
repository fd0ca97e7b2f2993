"""Draw docs/images/occlusions.png: every occlusion on a walker's silhouettes, heatmaps and poses.

Run: python tools/draw_occlusions.py [docs/images/occlusions.png] [--seed 1]
Columns: types, top and bottom also with the visible rows stretched. Rows: two frames of silhouettes,
heatmaps and poses each. What is hidden is red; where rows were stretched, a bar shows which share of
the frame was. Missing joints are not drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from gaitext.inspect.paint import draw_box, draw_heat, draw_skeleton, draw_text, groups_of
from gaitext.occlusion import Occlusion, occlude, occlude_poses, region
from gaitext.skeleton import COCO_JOINTS
from gaitext.walkers import Scene, WalkerSettings, make_walk, normalise_silhouette, observe

SHOWN = {
    "none": Occlusion(),
    "top": Occlusion("top", rows=0.35),
    "top, resized": Occlusion("top", rows=0.35, resize=True),
    "bottom": Occlusion("bottom", rows=0.45),
    "bottom, resized": Occlusion("bottom", rows=0.45, resize=True),
    "middle": Occlusion("middle", rows=0.5),
    "dynamic": Occlusion("dynamic", width=0.5, height=0.4, speed=1.25),
    "pole": Occlusion("pole", width=0.5, height=1.0, speed=1.25),
}
FRAMES = (4, 24)
#: Screen pixels a map's pixel.
SCALE = 2
GAP, HEAD, SIDE = 6, 20, 78
HIDDEN = (150, 30, 45)


def shade(image: np.ndarray, hidden: np.ndarray, resized: bool) -> None:
    """Mark what is hidden in an enlarged frame, in place."""
    top, bottom, left, right = hidden * SCALE
    if resized:
        image[top:bottom, :3] = HIDDEN
    else:
        image[top:bottom, left:right] = HIDDEN


def frame_cells(arrays: dict[str, np.ndarray], occlusion: Occlusion, t: int) -> list[np.ndarray]:
    """Frame t's silhouette, heatmaps and pose under one occlusion, as RGB images."""
    silhouette = occlude(arrays["silhouettes"], occlusion, binary=True)[t]
    heatmaps = occlude(arrays["heatmaps"], occlusion, binary=False)[t]
    pose = occlude_poses(arrays["poses"], occlusion)[t]
    cells = []
    for height, width in (silhouette.shape, heatmaps.shape[1:], heatmaps.shape[1:]):
        cells.append(np.zeros((height * SCALE, width * SCALE, 3), np.uint8))
    cells[0][:] = silhouette.repeat(SCALE, 0).repeat(SCALE, 1)[..., None]
    for place, cell in enumerate(cells):
        hidden = region(occlusion, t, cell.shape[0] // SCALE, cell.shape[1] // SCALE)
        shade(cell, hidden, occlusion.resize and place < 2)
    height, width = heatmaps.shape[1:]
    draw_heat(cells[1], heatmaps, (0, 0, width * SCALE, height * SCALE), groups_of(list(COCO_JOINTS)))
    draw_skeleton(cells[2], (pose[:, :2] + 0.5) * SCALE - 0.5, pose[:, 2])
    for cell in cells:
        draw_box(cell, (0, 0, cell.shape[1], cell.shape[0]), (90, 90, 90))
    return cells


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?", default=Path("docs/images/occlusions.png"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings = WalkerSettings(frames=max(FRAMES) + 1, seed=options.seed)
    walk = make_walk(settings, 1, "nm-01", "090")
    scene, observed = Scene(walk, options.seed), observe(walk, settings)
    arrays = {
        "silhouettes": np.stack([normalise_silhouette(scene.silhouette(t)) for t in range(len(scene))]),
        "heatmaps": observed.heatmaps,
        "poses": observed.poses,
    }
    columns = {name: [frame_cells(arrays, occlusion, t) for t in FRAMES] for name, occlusion in SHOWN.items()}
    high, wide = 64 * SCALE + GAP, 64 * SCALE + GAP
    sheet = np.full((HEAD + 3 * len(FRAMES) * high, SIDE + len(SHOWN) * wide, 3), 24, np.uint8)
    for row, (content, t) in enumerate([(c, t) for c in ("silhouettes", "heatmaps", "poses") for t in FRAMES]):
        draw_text(sheet, content, 4, HEAD + row * high + 4, size=12)
        draw_text(sheet, f"frame {t}", 4, HEAD + row * high + 20, size=12)
    for column, (name, frames) in enumerate(columns.items()):
        draw_text(sheet, name, SIDE + column * wide, 3, size=12)
        for later, cells in enumerate(frames):
            for content, cell in enumerate(cells):
                y = HEAD + (content * len(FRAMES) + later) * high
                x = SIDE + column * wide + (wide - GAP - cell.shape[1]) // 2
                sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    options.out.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(sheet).quantize(128, dither=Image.Dither.NONE).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
