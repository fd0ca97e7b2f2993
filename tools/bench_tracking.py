"""Identity switches of the trackers on rendered walkers who cross.

    python tools/bench_tracking.py --people 2,3 --clips 8

Each clip shows one walker and others who come the other way (gaitext.walkers.make_company). Boxes are the detector's
on the rendered frames or, with `--detector truth`, the true ones, jittered, as sure as the person is seen, and missing
where less than a third is. A person's true box belongs to the track whose box it overlaps best, by 0.5 at least; a
switch is counted where that track is another than before. Tracks: as many as there are people would be right. Found:
the share of true boxes (a third of the person seen) that some track has.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse

import numpy as np
from scipy.optimize import linear_sum_assignment

from gaitext.extraction.detect import load_detector, overlap
from gaitext.extraction.tracker import load_tracker, track
from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_company
from gaitext.walkers.company import is_in_frame

SEEN = 1 / 3
VIEWS = ("090", "072", "054", "036", "018", "000", "270", "126")


def scene(people: int, clip: int, frames: int) -> tuple[Scene, list[np.ndarray]]:
    """A clip, and of each of its frames the true boxes [people, 5]: x, y, w, h, share seen."""
    camera = CameraSettings(width=640, height=360, focal=560, distance=7, elevation=1.4)
    settings = WalkerSettings(frames=frames, people=people, camera=camera, types=("nm-01",), views=VIEWS)
    company = make_company(settings, clip + 1, "nm-01", VIEWS[clip % len(VIEWS)])
    made = Scene(company[0], settings.seed, company[1:])
    inside = np.stack([is_in_frame(walk) for walk in company], 1)
    boxes = np.stack([walk.boxes for walk in company], 1)
    shares = np.stack([made.shares_seen(t) for t in range(len(made))]) * inside
    return made, list(np.concatenate((boxes, shares[..., None]), -1))


def truth_detections(truth: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    found = []
    for boxes in truth:
        kept = boxes[boxes[:, 4] >= SEEN].copy()
        kept[:, :4] += 0.02 * kept[:, 3:4] * rng.standard_normal((len(kept), 4))
        found.append(kept)
    return found


def score(truth: list[np.ndarray], tracks: dict) -> tuple[int, int, int, int]:
    """Switches, tracks, true boxes found, true boxes."""
    last: dict[int, int] = {}
    switches = found = wanted = 0
    for frame, boxes in enumerate(truth, 1):
        here = {
            n: one.boxes[frame - one.frames[0]] for n, one in tracks.items() if one.frames[0] <= frame <= one.frames[-1]
        }
        people = np.flatnonzero(boxes[:, 4] >= SEEN)
        wanted += len(people)
        if not here:
            continue
        shared = overlap(boxes[people, :4], np.array(list(here.values())))
        for row, column in zip(*linear_sum_assignment(shared, maximize=True)):
            if shared[row, column] >= 0.5:
                person, number = int(people[row]), list(here)[column]
                switches += last.get(person, number) != number
                last[person] = number
                found += 1
    return switches, len(tracks), found, wanted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", default="2,3")
    parser.add_argument("--clips", type=int, default=8, help="for each number of people")
    parser.add_argument("--frames", type=int, default=50)
    parser.add_argument("--detector", default="bundled?size=384", help="or truth")
    parser.add_argument(
        "--trackers", default="overlap,overlap?min_score=0.4,sort,bytetrack,ocsort,botsort", help="comma-separated"
    )
    options = parser.parse_args()
    detector = None if options.detector == "truth" else load_detector(options.detector)
    for people in map(int, options.people.split(",")):
        clips = []
        for clip in range(options.clips):
            made, truth = scene(people, clip, options.frames)
            if detector is None:
                found = truth_detections(truth, np.random.default_rng(clip))
            else:
                found = [one for t in range(len(made)) for one in detector.detect([made.frame(t)[0]])]
            clips.append((truth, found))
        for tracker in options.trackers.split(","):
            totals = np.sum([score(truth, track(found, load_tracker(tracker))) for truth, found in clips], 0)
            switches, tracks, boxes, wanted = totals.tolist()
            print(
                f"{people} people, {options.clips} clips, {tracker:24} switches {switches:3}  "
                f"tracks {tracks:3} of {people * options.clips}  found {boxes / wanted:.3f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
