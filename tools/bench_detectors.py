"""How well detectors find the people of real clips whose boxes were drawn by hand.

    pip download --no-deps sports2d==0.8.34 pose2sim==0.10.49 && unzip '*.whl' -d clips
    python tools/bench_detectors.py clips --detector bundled --detector 'bundled?size=640'

tools/people_boxes.json holds 71 boxes of 36 frames: x, y, w, h of what is seen of each person, drawn by eye on the
frames (to about 3 pixels of 1080p) and looked at once more with the boxes drawn in. Not boxed: a man who turns a
somersault, and who is behind a trunk. Each frame is shown as it is and shrunk to 1/2, 1/4 and 1/6 amid grey, so that
the frame stays as large and people are 60 to 970 pixels high.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from gaitext.extraction.detect import load_detector, overlap
from gaitext.video import read_frames

BANDS = (0, 120, 240, 400, 2000)


def examples(clips: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames, and the true boxes [N, 4] in them."""
    made = []
    for name, frames in json.loads(Path(__file__).with_name("people_boxes.json").read_text()).items():
        last = max(map(int, frames))
        for number, frame in read_frames(clips / name):
            if str(number) in frames:
                made += [
                    shrunk(frame, np.array(frames[str(number)], float), share) for share in (1, 1 / 2, 1 / 4, 1 / 6)
                ]
            if number == last:
                break
    return made


def shrunk(frame: np.ndarray, boxes: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    if share == 1:
        return frame, boxes
    height, width = frame.shape[:2]
    size = round(height * share), round(width * share)
    pixels = torch.from_numpy(frame.transpose(2, 0, 1).copy())[None].float()
    small = torch.nn.functional.interpolate(pixels, size, mode="bilinear", antialias=True)[0].round().byte()
    top, left = (height - size[0]) // 2, (width - size[1]) // 2
    canvas = np.full_like(frame, 114)
    canvas[top : top + size[0], left : left + size[1]] = small.permute(1, 2, 0).numpy()
    return canvas, boxes * share + [left, top, 0, 0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="the folder with Sports2D and Pose2Sim in it")
    parser.add_argument("--detector", action="append", required=True)
    parser.add_argument("--score", type=float, default=0.4, help="boxes below it are not counted")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shown = examples(options.clips)
    for name in options.detector:
        detector = load_detector(name)
        heights, overlaps, wrong, seconds = [], [], 0, []
        for frame, boxes in shown:
            start = time.process_time()
            found = detector.detect([frame])[0]
            seconds.append(time.process_time() - start)
            found = found[found[:, 4] >= options.score]
            shared = overlap(boxes, found)
            best = np.zeros(len(boxes))
            rows, columns = linear_sum_assignment(shared, maximize=True)
            best[rows] = shared[rows, columns]
            heights += boxes[:, 3].tolist()
            overlaps += best.tolist()
            wrong += len(found) - int((best >= 0.5).sum())
        high, best = np.array(heights), np.array(overlaps)
        counts = []
        for low, top in pairwise(BANDS):
            here = (high >= low) & (high < top)
            counts.append(f"{low}-{top}: {int((best[here] >= 0.5).sum())}/{int(here.sum())}")
        mean = best[best >= 0.5].mean()
        milliseconds = 1e3 * np.median(seconds)
        print(f"{name}: {', '.join(counts)}; overlap {mean:.3f}; others {wrong}; {milliseconds:.0f} ms of a core")


if __name__ == "__main__":
    main()
