"""Draw docs/images/company.png: three walkers who cross, and whose pixels are whose.

Run: python tools/draw_company.py [--out docs/images/company.png]
"""

from __future__ import annotations

import argparse

import numpy as np
from PIL import Image

from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_company

COLOURS = np.array([[230, 80, 60], [70, 170, 90], [70, 110, 220]], np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="docs/images/company.png")
    options = parser.parse_args()
    camera = CameraSettings(width=400, height=200, focal=330, distance=6.5, elevation=1.3)
    settings = WalkerSettings(frames=60, people=3, camera=camera)
    company = make_company(settings, 1, "nm-01", "090")
    scene = Scene(company[0], settings.seed, company[1:])
    columns = []
    for t in (0, 28, 34):
        rgb, silhouettes = scene.frame_of_all(t)
        whose = np.full_like(rgb, 20)
        for colour, silhouette in zip(COLOURS, silhouettes):
            whose[silhouette] = colour
        for colour, walk in zip(COLOURS, company):
            x, y, w, h = np.rint(walk.boxes[t]).astype(int)
            for edge in (
                np.s_[y, x : x + w],
                np.s_[y + h - 1, x : x + w],
                np.s_[y : y + h, x],
                np.s_[y : y + h, x + w - 1],
            ):
                rgb[edge] = colour
        columns.append(np.concatenate((rgb, whose)))
    Image.fromarray(np.concatenate(columns, 1)).quantize(128).save(options.out, optimize=True)


if __name__ == "__main__":
    main()
