"""Following one of several people, against trying every way to choose."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.extraction.prepare.poses.psymo import follow, follow_tracks


def cost(path: list[np.ndarray], frames: list[list[np.ndarray]]) -> float:
    """The sum as documented, joint by joint."""

    def seen(pose: np.ndarray) -> list[int]:
        return [j for j in range(17) if pose[j, 2] > 0]

    def height(pose: np.ndarray) -> float:
        ys = [float(pose[j, 1]) for j in seen(pose)]
        return max(max(ys) - min(ys), 1.0)

    total = 0.0
    for t, pose in enumerate(path):
        total += 1 - height(pose) / max(height(other) for other in frames[t])
        if t:
            before = path[t - 1]
            both = sorted(set(seen(pose)) & set(seen(before)))
            if both:
                apart = np.mean([np.hypot(*(pose[j, :2].astype(float) - before[j, :2])) for j in both])
            else:
                middles = [np.mean([p[j, :2].astype(float) for j in seen(p)], axis=0) for p in (pose, before)]
                apart = np.hypot(*(middles[0] - middles[1]))
            total += apart / ((height(pose) + height(before)) / 2)
    return total


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), counts=st.lists(st.integers(1, 3), min_size=1, max_size=5))
def test_no_other_choice_is_better(seed: int, counts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    frames = []
    for count in counts:
        people = rng.uniform(0, 300, (count, 17, 3)).astype(np.float32)
        people[..., 2] = rng.random((count, 17)) > 0.6
        people[:, rng.integers(17), 2] = 1  # everybody has a joint
        people[people[..., 2] == 0] = np.nan
        frames.append(people)
    chosen = follow(frames)
    assert all(any(np.array_equal(c, p, equal_nan=True) for p in people) for c, people in zip(chosen, frames))
    lists = [list(people) for people in frames]
    best = min(cost(list(path), lists) for path in itertools.product(*lists))
    assert cost(list(chosen), lists) == pytest.approx(best, rel=1e-9, abs=1e-9)


def person(x: float, height: float) -> np.ndarray:
    """A stick of 17 joints around (x, 200), all seen."""
    pose = np.ones((17, 3), np.float32)
    pose[:, 0] = x
    pose[:, 1] = 200 + np.linspace(-height / 2, height / 2, 17)
    return pose


def walk(frames: int, passing: range) -> tuple[list[np.ndarray], list[list[int | None]]]:
    """A walker (7), 100 pixels tall, and a passer-by (3) of twice that in some frames."""
    people, labels = [], []
    for t in range(frames):
        shown, numbers = [person(100 + 3 * t, 100)], [7]
        if t in passing:
            shown, numbers = [person(400 - 9 * t, 200), *shown], [3, *numbers]
        people.append(np.stack(shown))
        labels.append(numbers)
    return people, labels


def xs(poses: np.ndarray) -> list[float]:
    return poses[:, 0, 0].tolist()


WALKER = [100.0 + 3 * t for t in range(40)]


def test_a_tracker_s_numbers_keep_a_passer_by_out() -> None:
    people, labels = walk(40, range(8, 30))
    poses, left_out = follow_tracks(people, labels)
    assert (xs(poses), left_out) == (WALKER, 0)
    without = follow(people)
    assert xs(without) != WALKER  # who is nearer for so long is followed where nothing tells them apart


def test_the_walker_s_number_may_change_and_be_missing() -> None:
    people, labels = walk(40, range(8, 30))
    changed = [[12 if label == 7 and t >= 20 else label for label in row] for t, row in enumerate(labels)]
    assert xs(follow_tracks(people, changed)[0]) == WALKER
    missing: list[list[int | None]] = [
        [None if label == 7 and t % 3 == 0 else label for label in row] for t, row in enumerate(labels)
    ]
    assert xs(follow_tracks(people, missing)[0]) == WALKER
    both: list[list[int | None]] = [[None] * len(row) if t in (9, 10) else row for t, row in enumerate(labels)]
    assert xs(follow_tracks(people, both)[0]) == WALKER


def test_frames_that_show_the_passer_by_alone_are_left_out() -> None:
    people, labels = walk(40, range(8, 30))
    for t in (11, 12, 13):
        people[t], labels[t] = people[t][:1], labels[t][:1]
    poses, left_out = follow_tracks(people, labels)
    assert left_out == 3
    assert xs(poses) == [x for t, x in enumerate(WALKER) if t not in (11, 12, 13)]


def test_one_number_for_all_is_no_tracking() -> None:
    people, labels = walk(40, range(0, 30))
    same = [[0] * len(row) for row in labels]
    np.testing.assert_array_equal(follow_tracks(people, same)[0], follow(people))
    none: list[list[int | None]] = [[None] * len(row) for row in labels]
    np.testing.assert_array_equal(follow_tracks(people, none)[0], follow(people))
    people, labels = walk(40, range(8, 30))
    twice = [[7] * len(row) if t == 9 else row for t, row in enumerate(labels)]  # in one frame only
    assert xs(follow_tracks(people, twice)[0]) == WALKER


def test_somebody_far_away_does_not_continue_a_track() -> None:
    people = [np.stack([person(100 + 3 * t, 100)]) for t in range(20)] + [np.stack([person(600, 90)]) for _ in range(9)]
    poses, left_out = follow_tracks(people, [[7]] * 20 + [[8]] * 9)
    assert (xs(poses), left_out) == (WALKER[:20], 9)
