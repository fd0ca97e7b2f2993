"""Following one of several people, against trying every way to choose."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.extraction.prepare.poses.people import follow


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
