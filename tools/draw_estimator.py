"""Draw what MoveNet finds in rendered walkers.

Run: python tools/draw_estimator.py OUT.png
One column a walk: the crop from H.264 video, the heatmaps over it (left joints red, right joints
cyan, the face green), and the joints decoded from them, hollow where the score is below 0.4.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from gaitext.extraction.crops import crop_images
from gaitext.geometry import crop_boxes
from gaitext.pose import decode_heatmaps, load_estimator
from gaitext.skeleton import LIMBS
from gaitext.video import read_frames, write_video
from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_walk

SEED = 90_210
FRAME = 5
WALKS = (
    ("nm-01", "090", {}, 20),
    ("bg-01", "036", {}, 28),
    ("cl-01", "180", {}, 28),
    ("ph", "000", {}, 28),
    ("txt", "300", {"roll": 15.0}, 28),
    ("nm-02", "126", {"focal": 300.0}, 34),
    ("wsf", "054", {"offset": -3.2}, 28),
)
COLOURS = np.array([[0.2, 1, 0.2]] + [[0.2, 1, 0.2]] * 4 + [[1, 0.25, 0.2], [0.1, 0.8, 1]] * 6)


def crop_of(kind: str, view: str, camera: dict[str, float], crf: float, identity: int) -> torch.Tensor:
    """One crop [1, 3, 256, 192] of a compressed clip."""
    settings = WalkerSettings(frames=10, fps=25, seed=SEED, camera=CameraSettings(**camera))
    walk = make_walk(settings, identity, kind, view)
    scene = Scene(walk, SEED)
    with tempfile.TemporaryDirectory() as folder:
        video = Path(folder) / "walk.mp4"
        write_video(video, (scene.frame(t)[0] for t in range(len(walk))), crf=crf)
        ((_, frame),) = read_frames(video, {FRAME})
    return crop_images(frame, crop_boxes(walk.boxes[FRAME : FRAME + 1]))


def main() -> None:
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    crops = torch.cat([crop_of(*walk, identity=i + 1) for i, walk in enumerate(WALKS)])
    out = parser.parse_args().out
    heatmaps = load_estimator("movenet", device="cpu").heatmaps(crops)
    poses = decode_heatmaps(heatmaps.numpy())
    # Heatmap pixels to crop pixels: both count from the middle of the first.
    places = (poses[..., :2] + 0.5) * 4 - 0.5
    grown = torch.nn.functional.interpolate(heatmaps, scale_factor=4, mode="bilinear").clamp(0, 1).numpy()
    figure = Figure(figsize=(1.55 * len(WALKS), 6.4), dpi=63)
    axes = figure.subplots(3, len(WALKS))
    for column, (kind, view, camera, crf) in enumerate(WALKS):
        image = crops[column].permute(1, 2, 0).numpy()
        glow = (grown[column][..., None] * COLOURS[:, None, None]).max(0)
        for axis, shown in zip(axes[:, column], (image, 0.35 * image + glow, 0.6 * image)):
            axis.imshow(np.clip(shown, 0, 1))
            axis.set_axis_off()
        note = "".join(f"\n{name} {value:g}" for name, value in camera.items())
        axes[0, column].set_title(f"{kind} {view}, crf {crf:g}{note}", fontsize=7)
        last, scores = axes[2, column], poses[column, :, 2]
        for first, second in LIMBS:
            if min(scores[first], scores[second]) > 0.4:
                last.plot(*places[column, (first, second)].T, color="white", linewidth=0.8)
        faces = [tuple(colour) if score > 0.4 else "none" for colour, score in zip(COLOURS, scores)]
        last.scatter(*places[column].T, s=9, c=faces, edgecolors=COLOURS, linewidths=0.7)
    figure.subplots_adjust(0, 0, 1, 0.94, 0.03, 0.02)
    figure.savefig(out)


if __name__ == "__main__":
    main()
