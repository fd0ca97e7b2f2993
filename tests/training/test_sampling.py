"""What the samplers promise, for any labels and lengths."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitext.errors import ConfigError, DataError
from gaitext.training.sampling import (
    FrameSampling,
    condition_of,
    draw_balanced,
    draw_batch,
    group,
    repeat_conditions,
    sample_frames,
)

seeds = st.integers(0, 2**32 - 1)


@given(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40), st.integers(1, 8), st.integers(1, 8), seeds)
def test_a_batch_is_p_identities_of_k_sequences(labels: list[str], p: int, k: int, seed: int) -> None:
    groups = group(labels)
    batch = draw_batch(groups, p, k, np.random.default_rng(seed))
    assert len(batch) == p * k
    chunks = [batch[i * k : (i + 1) * k] for i in range(p)]
    chosen = []
    for chunk in chunks:
        names = {labels[i] for i in chunk}
        assert len(names) == 1
        (name,) = names
        chosen.append(name)
        if labels.count(name) >= k:
            assert len(set(chunk)) == k
    if len(groups) >= p:
        assert len(set(chosen)) == p
    assert batch == draw_batch(groups, p, k, np.random.default_rng(seed))
    shuffled = draw_batch(groups, p, k, np.random.default_rng(seed), shuffle=True)
    assert Counter(shuffled) == Counter(batch)


walks = st.lists(st.tuples(st.sampled_from(["nm", "bg", "cl"]), st.sampled_from(["000", "090"])), min_size=1)


@given(walks, st.integers(1, 24), seeds)
def test_balanced_draws_are_even_until_a_condition_is_used_up(
    members: list[tuple[str, str]], wanted: int, seed: int
) -> None:
    conditions, views = [m[0] for m in members], [m[1] for m in members]
    drawn = draw_balanced(conditions, views, wanted, np.random.default_rng(seed))
    assert len(drawn) == wanted
    times = Counter(drawn)
    counts = [times[i] for i in range(len(members))]
    assert max(counts) - min(counts) <= 1  # none twice before all have come
    if wanted <= len(members):
        _even(Counter(conditions), Counter(conditions[i] for i in drawn))
        for condition in set(conditions):
            there = Counter(v for c, v in members if c == condition)
            _even(there, Counter(views[i] for i in drawn if conditions[i] == condition))


def _even(available: Counter[str], taken: Counter[str]) -> None:
    most = max(taken[name] for name in available)
    for name, count in available.items():
        assert taken[name] >= most - 1 or taken[name] == count


def test_balanced_batch_of_casia_b() -> None:
    types = [f"{c}-{r:02d}" for c, runs in (("nm", 6), ("bg", 2), ("cl", 2)) for r in range(1, runs + 1)] * 11
    views = [f"{18 * (i // 10):03d}" for i in range(110)]
    batch = draw_batch([list(range(110))], 1, 9, np.random.default_rng(0), types=types, views=views)
    assert Counter(condition_of(types[i]) for i in batch) == {"nm": 3, "bg": 3, "cl": 3}
    for condition in ("nm", "bg", "cl"):
        assert len({views[i] for i in batch if condition_of(types[i]) == condition}) == 3


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["nm-01", "nm-02", "bg-01", "cl-01"])), min_size=1),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_repeated_conditions_count_so_often(members: list[tuple[str, str]], nm: int, cl: int) -> None:
    members = [*members, ("a", "nm-01"), ("b", "cl-01")]
    groups, types = group(m[0] for m in members), [m[1] for m in members]
    repeated = repeat_conditions(groups, types, {"nm": nm, "cl": cl})
    for before, after in zip(groups, repeated):
        times = Counter(after)
        assert list(times) == before  # nobody is lost, and the order stays
        assert all(times[i] == {"nm": nm, "cl": cl}.get(types[i][:2], 1) for i in before)


def test_repeats_that_mean_nothing_are_named() -> None:
    groups, types = [[0, 1], [2]], ["nm-01", "bg-02", "nm-01"]
    with pytest.raises(ConfigError, match=r"condition 'cl'(.|\n)*conditions of these sequences are bg, nm"):
        repeat_conditions(groups, types, {"bg": 3, "cl": 3})
    for times in (0, -1, 1.5, True, "3"):
        with pytest.raises(ConfigError, match="at least 1"):
            repeat_conditions(groups, types, {"bg": times})  # type: ignore[dict-item]


@given(st.integers(1, 50), st.integers(1, 40), seeds)
def test_fixed_unordered(length: int, wanted: int, seed: int) -> None:
    frames = sample_frames(
        length, FrameSampling("fixed_unordered", frames_num_fixed=wanted), np.random.default_rng(seed)
    )
    assert len(frames) == wanted
    assert 0 <= frames.min() <= frames.max() < length
    if length >= wanted:
        assert len(set(frames.tolist())) == wanted


@given(st.integers(1, 50), st.integers(1, 40), st.integers(0, 10), seeds)
def test_fixed_ordered(length: int, wanted: int, skip: int, seed: int) -> None:
    how = FrameSampling("fixed_ordered", frames_num_fixed=wanted, frames_skip_num=skip)
    frames = sample_frames(length, how, np.random.default_rng(seed))
    assert len(frames) == wanted
    assert 0 <= frames.min() <= frames.max() < length
    steps = np.diff(frames)
    if length >= wanted + skip:
        assert (steps > 0).all()
        assert frames[-1] - frames[0] < wanted + skip
    else:  # walked through again and again: time advances modulo the length
        assert np.where(steps > 0, steps, steps + length).sum() < wanted + skip + length


def test_ordered_window_reaches_both_ends() -> None:
    how = FrameSampling("fixed_ordered", frames_num_fixed=3, frames_skip_num=1)
    starts = {tuple(sample_frames(6, how, np.random.default_rng(seed)).tolist()) for seed in range(300)}
    assert (0, 1, 2) in starts
    assert (3, 4, 5) in starts
    assert (2, 4, 5) in starts


@given(st.integers(1, 60), st.integers(1, 10), st.integers(0, 10), seeds)
def test_unfixed_lengths(length: int, least: int, more: int, seed: int) -> None:
    how = FrameSampling("unfixed_unordered", frames_num_min=least, frames_num_max=least + more)
    assert least <= len(sample_frames(length, how, np.random.default_rng(seed))) <= least + more


@given(st.integers(1, 50), st.integers(1, 60))
def test_all_keeps_the_order_and_the_limit(length: int, limit: int) -> None:
    how = FrameSampling("all_ordered", frames_all_limit=limit)
    frames = sample_frames(length, how, np.random.default_rng(0))
    assert frames.tolist() == list(range(min(length, limit)))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"sample_type": "fixed_unorderd"}, "fixed_unordered"),
        ({"sample_type": "fixed_allordered", "frames_num_fixed": 3}, "unknown sample_type"),
        ({"sample_type": "fixed_unordered"}, "frames_num_fixed"),
        ({"sample_type": "fixed_ordered", "frames_num_fixed": 3}, "frames_skip_num"),
        ({"sample_type": "unfixed_unordered", "frames_num_min": 5, "frames_num_max": 3}, "frames_num_max"),
        ({"sample_type": "all_ordered", "frames_all_limit": 0}, "frames_all_limit"),
    ],
)
def test_wrong_settings_are_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        FrameSampling(**options)  # type: ignore[arg-type]


def test_nothing_to_draw_from() -> None:
    with pytest.raises(DataError):
        draw_batch([], 2, 2, np.random.default_rng(0))
    with pytest.raises(DataError):
        sample_frames(0, FrameSampling("all_ordered"), np.random.default_rng(0))
