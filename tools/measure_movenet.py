"""How well MoveNet finds rendered walkers, whose joints are known: the numbers of docs/estimators.md.

Run: OMP_NUM_THREADS=2 python tools/measure_movenet.py [accuracy] [pairs] [subpixel]

accuracy: walkers of tools/walker_crops.py (100 people, every view and covariate, x264 at crf 16 to 37), alone.
pairs:    two walkers in a picture, the second beside the first, in half of them in front of it; the first's crop.
subpixel: where peaks lie. The offset of peaks from gaitext's reading is fitted, by joint, as a constant, the same in a
          crop and its mirror image, plus what grows with the person's size in the crop: that is how the walkers' joints
          differ from those that people annotate.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from walker_crops import FRAMES, make_clip

from gaitext.evaluation import box_areas, keypoint_ap
from gaitext.extraction.crops import crop_images
from gaitext.geometry import apply, crop_boxes, crop_matrices
from gaitext.pose import decode_heatmaps, soft_argmax
from gaitext.pose.movenet_estimator import MoveNetEstimator
from gaitext.skeleton import joint_mirror
from gaitext.walkers import Scene, WalkerSettings, make_walk

log = logging.getLogger("measure_movenet")
SEED, PEOPLE, PAIRS = 90_210, 100, 120
VIEWS = ("000", "045", "090", "144", "180", "225", "270", "324")
Floats = npt.NDArray[np.floating]


def estimators(*persons: str) -> Iterator[tuple[str, MoveNetEstimator]]:
    for model in ("lightning", "thunder"):
        for person in persons:
            yield f"{model} {person}", MoveNetEstimator(model, person=person)  # type: ignore[arg-type]


def estimated(estimator: MoveNetEstimator, images: torch.Tensor) -> npt.NDArray[np.float32]:
    return np.concatenate([decode_heatmaps(estimator.heatmaps(part).numpy()) for part in images.split(32)])


def accuracy() -> None:
    clips = [make_clip(SEED, clip) for clip in range(PEOPLE)]
    images = torch.from_numpy(np.concatenate([clip.images for clip in clips])) / 255
    joints, visibility, boxes = (
        np.concatenate([getattr(clip, name) for clip in clips]) for name in ("joints", "visibility", "boxes")
    )
    for name, estimator in estimators("all", "centre"):
        poses = estimated(estimator, images)
        error = np.linalg.norm(poses[..., :2] - joints, axis=-1)
        ap = keypoint_ap(poses, joints, box_areas(boxes), visibility >= 0).ap
        seen = visibility > 0.5
        log.info(
            f"{name:17} {len(images)} crops: AP {100 * ap:.1f}, seen joints' error {error[seen].mean():.2f} "
            f"(median {np.median(error[seen]):.2f}) heatmap pixels, "
            f"score of 0.4 or more {100 * (poses[..., 2].mean(1) >= 0.4).mean():.1f} %"
        )


@dataclass(frozen=True)
class Pairs:
    """Crops of the first of two walkers; both's joints in heatmap pixels, and which of the first's are seen."""

    images: torch.Tensor
    first: Floats
    second: Floats
    seen: npt.NDArray[np.bool_]
    before: npt.NDArray[np.bool_]


def draw_pairs() -> Pairs:
    rng = np.random.default_rng(SEED)
    rows = []
    settings = WalkerSettings(frames=FRAMES, fps=12, seed=SEED)
    for pair in range(PAIRS):
        people = []
        for identity in (2 * pair + 1, 2 * pair + 2):
            walk = make_walk(settings, identity, str(rng.choice(["nm-01", "bg-01", "cl-01"])), str(rng.choice(VIEWS)))
            people.append((walk, Scene(walk, SEED)))
        (one, one_scene), (two, two_scene) = people
        before = bool(rng.random() < 0.5)
        for t in range(0, FRAMES, 3):
            image, own = one_scene.frame(t)
            other, mask = two_scene.frame(t)
            apart = float(rng.choice([-1, 1]) * rng.uniform(0.1, 0.45)) * one.boxes[t, 3]
            middles = [walk.boxes[t, 0] + walk.boxes[t, 2] / 2 for walk in (one, two)]
            shift = round(middles[0] + apart - middles[1])
            other, mask = np.roll(other, shift, 1), np.roll(mask, shift, 1)
            image = np.where((mask if before else mask & ~own)[..., None], other, image)
            box = crop_boxes(one.boxes[t : t + 1])
            matrix = crop_matrices(box, 64, 48)
            places = [one.keypoints[t], two.keypoints[t] + (shift, 0)]
            x, y = np.clip(np.rint(places[0]).astype(int), 0, (one.camera.width - 1, one.camera.height - 1)).T
            hidden = mask[y, x] if before else np.zeros(17, bool)
            found = [apply(matrix, place[None])[0] for place in places]
            rows.append((crop_images(image, box), *found, (one.visibility[t] > 0.5) & ~hidden, before))
    images, first, second, seen, front = zip(*rows)
    return Pairs(torch.cat(images), *(np.array(each) for each in (first, second, seen, front)))


def pairs() -> None:
    drawn = draw_pairs()
    for name, estimator in estimators("all", "centre"):
        poses = estimated(estimator, drawn.images)
        error, others = (np.linalg.norm(poses[..., :2] - place, axis=-1) for place in (drawn.first, drawn.second))
        apart = np.linalg.norm(drawn.first - drawn.second, axis=-1) > 4
        for where, chosen in (("the other in front", drawn.before), ("the other behind", ~drawn.before)):
            seen = drawn.seen & chosen[:, None]
            taken = (others < error)[seen & apart].mean()
            log.info(
                f"{name:17} {where:18} {chosen.sum()} crops: seen joints' error {error[seen].mean():.2f} "
                f"(median {np.median(error[seen]):.2f}) heatmap pixels, {100 * taken:.1f} % nearer to the other's joint"
            )


def subpixel() -> None:
    rng = np.random.default_rng(SEED)
    images, joints, seen, sizes = [], [], [], []
    settings = WalkerSettings(frames=FRAMES, fps=12, seed=SEED)
    for identity in range(1, 61):
        walk = make_walk(settings, identity, "nm-01", str(rng.choice(VIEWS)))
        scene = Scene(walk, SEED)
        for t in range(0, FRAMES, 3):
            # Anywhere in the crop, and of any size in it.
            box = walk.boxes[t : t + 1].copy()
            box[:, :2] += rng.uniform(-0.06, 0.06, 2) * box[:, 3]
            crop = crop_boxes(box, scale=float(rng.uniform(1.1, 2.2)))
            images.append(crop_images(scene.frame(t)[0], crop))
            joints.append(apply(crop_matrices(crop, 64, 48), walk.keypoints[t : t + 1])[0])
            seen.append(walk.visibility[t] > 0.5)
            sizes.append(64 * walk.boxes[t, 3] / crop[0, 3])
    pictures, truth, size, mirror = torch.cat(images), np.array(joints), np.array(sizes), list(joint_mirror())
    mirrored = np.stack((47 - truth[..., 0], truth[..., 1]), -1)[:, mirror]
    for name, estimator in estimators("centre"):
        straight, turned = (
            torch.cat([soft_argmax(estimator.heatmaps(part), window=3) for part in given.split(32)]).numpy() - true
            for given, true in ((pictures, truth), (pictures.flip(-1), mirrored))
        )
        offsets = np.stack((straight, turned[:, mirror]))
        good = np.array(seen) & (np.abs(offsets) < 3).all((0, 3))
        # A mirrored person's own part has the other sign along x, so that the mean of both is the grid's.
        grid, (picture, joint) = offsets.mean(0)[good], np.nonzero(good)
        columns = np.concatenate((np.ones((len(grid), 1)), np.eye(17)[joint] * size[picture, None]), 1)
        fit = np.linalg.lstsq(columns, grid)[0]
        rest, places = grid - columns @ fit, (truth[good] + 0.5) / (48, 64)
        for axis, letter in enumerate("xy"):
            slope = np.polyfit(places[:, axis], rest[:, axis], 1)[0]
            log.info(
                f"{name:17} {letter}: {fit[0, axis]:+.3f} heatmap pixels, {slope:+.3f} from one border to the other; "
                f"plain mean {grid[:, axis].mean():+.3f}, {len(grid)} joints"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"accuracy": accuracy, "pairs": pairs, "subpixel": subpixel}
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=list(parts))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for part in parser.parse_args().parts:
        parts[part]()


if __name__ == "__main__":
    main()
