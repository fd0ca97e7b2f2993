"""How well masks overlap the truth: ``python tools/silhouette_overlap.py [--clips FOLDER] [--segmenter hf:…]``.

Intersection over union, in pixels of the frame, of the masks that ``gaitext extract --content silhouettes`` makes
silhouettes of:

* walkers, whose silhouettes are known (three types, five views, 640×480), with their own boxes;
* the same with another walker half hidden behind them, whose mask must not be taken in;
* ``tools/hand_made_masks.json``: people in frames of the videos that the packages sports2d 0.8.34 and pose2sim 0.10.49
  (BSD-3-Clause; unzip their wheels into FOLDER) come with, whose outlines were drawn by hand as polygons on the frame
  enlarged to 900 pixels, and looked at.

Each is given for the mask as it is, for its parts near the box that hold joints (what extraction takes), and, for
walkers, for the mean of three frames' masks.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageDraw

from gaitext.extraction.crops import crop_images
from gaitext.geometry import apply, crop_boxes, crop_matrices, invert
from gaitext.pose import decode_heatmaps, load_estimator
from gaitext.segmentation import load_segmenter, of_person
from gaitext.video import read_frames
from gaitext.walkers import WalkerSettings, make_walk
from gaitext.walkers.scene import Scene

HAND_MADE = Path(__file__).with_name("hand_made_masks.json")
Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Case:
    """A person in a frame; ``beside`` are the frames before and after, with the person's boxes there."""

    kind: str
    frame: Frame
    box: npt.NDArray[np.float64]
    truth: npt.NDArray[np.bool_]
    beside: tuple[tuple[Frame, npt.NDArray[np.float64]], ...] = ()


def walkers() -> Iterator[Case]:
    """Walkers alone, and before another one."""
    for person, (kind, view) in enumerate(product(("nm-01", "bg-01", "cl-01"), ("000", "036", "090", "126", "180")), 1):
        settings = WalkerSettings(frames=40)
        walk, other = (make_walk(settings, number, kind, view) for number in (person, person + 100))
        scene, behind = Scene(walk, seed=0), Scene(other, seed=1)
        for t in (12, 27):
            image, mask = scene.frame(t)
            beside = tuple((scene.frame(n)[0], walk.boxes[n]) for n in (t - 1, t + 1))
            yield Case("walkers", image, walk.boxes[t], mask, beside)
            second, seen = behind.frame(t)
            x, _, width, _ = walk.boxes[t]
            shift = round(x + 0.65 * width - other.boxes[t, 0])
            second, seen = np.roll(second, shift, 1), np.roll(seen, shift, 1)
            yield Case(
                "walkers before another", np.where((seen & ~mask)[..., None], second, image), walk.boxes[t], mask
            )


def hand_made(clips: Path) -> Iterator[Case]:
    """The people of the json."""
    for one in json.loads(HAND_MADE.read_text(encoding="utf-8")):
        ((_, frame),) = read_frames(clips / one["video"], frozenset({one["frame"] - 1}))
        drawn = Image.new("1", frame.shape[1::-1])
        for value, outlines in ((1, one["outlines"]), (0, one["holes"])):
            for outline in outlines:
                ImageDraw.Draw(drawn).polygon([tuple(point) for point in outline], fill=value)
        yield Case("people", frame, np.array(one["box"], np.float64), np.array(drawn))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, help="where the wheels are unzipped")
    parser.add_argument("--segmenter", default="bundled")
    parser.add_argument("--estimator", default="movenet:lightning", help="finds the joints")
    parser.add_argument("--scale", type=float, default=1.25, help="by how much boxes grow")
    arguments = parser.parse_args()
    segmenter, estimator = load_segmenter(arguments.segmenter), load_estimator(arguments.estimator)
    size = segmenter.input_size

    def mask(frame: Frame, box: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float32], ...]:
        square = crop_boxes(box[None], scale=arguments.scale, aspect=1.0)
        inside = apply(crop_matrices(square, *size), (np.stack((box[:2], box[:2] + box[2:])) - 0.5)[None])[0] + 0.5
        boxes = torch.from_numpy(np.concatenate((inside[0], inside[1] - inside[0]))[None]).float()
        return segmenter.masks(crop_images(frame, square, size), boxes)[0].numpy(), square, boxes[0].numpy()

    found: dict[tuple[str, str], list[float]] = defaultdict(list)
    cases = [*walkers(), *(hand_made(arguments.clips) if arguments.clips else ())]
    for case in cases:
        soft, square, inside = mask(case.frame, case.box)
        crop = crop_boxes(case.box[None])
        heatmaps = estimator.heatmaps(crop_images(case.frame, crop, estimator.input_size))
        joints = decode_heatmaps(heatmaps.numpy())[0].astype(np.float64)
        in_frame = apply(invert(crop_matrices(crop, *heatmaps.shape[2:])), joints[None, :, :2])
        joints[:, :2] = apply(crop_matrices(square, *size), in_frame)[0]
        kinds = {"as it is": soft > 0.5, "of the person": of_person(soft > 0.5, joints, inside)}
        if case.beside:
            kinds["of three frames"] = np.mean([soft, *(mask(*one)[0] for one in case.beside)], 0) > 0.5
        x, y, w, h = square[0]
        for name, one in kinds.items():
            # Where each pixel of the frame lies in the crop; nearest, what is outside is background.
            high, wide = case.truth.shape
            columns = np.floor((np.arange(wide) + 0.5 - x) * size[1] / w).astype(int)
            rows = np.floor((np.arange(high) + 0.5 - y) * size[0] / h).astype(int)
            whole = np.pad(one, 1)[np.clip(rows + 1, 0, size[0] + 1)][:, np.clip(columns + 1, 0, size[1] + 1)]
            found[case.kind, name].append(float((whole & case.truth).sum() / (whole | case.truth).sum()))
    for (kind, name), values in found.items():
        print(f"{kind}, {name}: {np.mean(values):.3f} (lowest {min(values):.3f}, {len(values)} masks)")  # noqa: T201


if __name__ == "__main__":
    main()
