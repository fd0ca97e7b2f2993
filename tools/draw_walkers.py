"""Draw docs/images/walkers.png: walkers of many looks, and what is known of them.

Run: python tools/draw_walkers.py [--out docs/images/walkers.png] [--seed 1]
Rows: walks as filmed, twice; the same walks' silhouettes over the frames, with keypoints (left joints
green, right ones red, the nose yellow; hollow where hidden).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from gaitext.skeleton import COCO_JOINTS
from gaitext.walkers import CameraSettings, Scene, Walk, WalkerSettings, make_walk

#: Frames are drawn at twice the size shown.
CAMERA = CameraSettings(width=640, height=480, focal=620.0, distance=4.3, elevation=1.1)
SIZE = (180, 344)
SHOWN = (
    ("nm-01", "000", "nm-01", "144"),
    ("nm-01", "054", "cl-01", "090"),
    ("nm-01", "090", "bg-01", "036"),
    ("cl-01", "018", "wsf", "270"),
    ("bg-01", "090", "cl-01", "180"),
    ("bg-02", "126", "nm-02", "072"),
    ("ph", "045", "txt", "018"),
    ("txt", "300", "bg-02", "090"),
)


def cell(walk: Walk, image: np.ndarray, t: int, keypoints: bool) -> Image.Image:
    """The part of a frame about the walker."""
    picture = Image.fromarray(image)
    x, _, width, _ = walk.boxes[t]
    left = int(np.clip(x + width / 2 - SIZE[0] / 2, 0, CAMERA.width - SIZE[0]))
    top = (CAMERA.height - SIZE[1]) // 2 - 10
    picture = picture.crop((left, top, left + SIZE[0], top + SIZE[1])).resize((SIZE[0] // 2, SIZE[1] // 2))
    if keypoints:
        drawn = ImageDraw.Draw(picture)
        for joint, ((px, py), seen) in enumerate(zip(walk.keypoints[t], walk.visibility[t])):
            side = COCO_JOINTS[joint].split("_")[0]
            colour = {"left": (0, 230, 0), "right": (255, 40, 40)}.get(side, (255, 230, 0))
            u, v = (px - left) / 2, (py - top) / 2
            drawn.ellipse((u - 2, v - 2, u + 2, v + 2), fill=colour if seen > 0.5 else None, outline=colour)
    return picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/images/walkers.png"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    settings = WalkerSettings(frames=20, camera=CAMERA, seed=options.seed)
    width, height = SIZE[0] // 2, SIZE[1] // 2
    sheet = Image.new("RGB", (width * len(SHOWN), height * 3))
    for column, (*first, kind, view) in enumerate(SHOWN):
        for row, walk in enumerate(
            (make_walk(settings, column + 1, *first), make_walk(settings, 50 + column, kind, view))
        ):
            t = 8
            rgb, silhouette = Scene(walk, options.seed).frame(t)
            sheet.paste(cell(walk, rgb, t, False), (column * width, row * height))
        faint = np.where(silhouette[..., None], 210, rgb // 4).astype(np.uint8)
        sheet.paste(cell(walk, faint, t, True), (column * width, 2 * height))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    # The two lowest bits are the sensor's noise, and most of the file.
    Image.fromarray(np.asarray(sheet) & 0xFC | 2).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
