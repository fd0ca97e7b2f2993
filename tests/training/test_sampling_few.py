"""Batches of more identities than there are."""

from __future__ import annotations

import numpy as np

from gaitext.training.sampling import draw_batch


def test_of_too_few_identities_each_is_in_every_batch_equally_often() -> None:
    groups = [[0, 1], [2, 3], [4, 5]]
    for seed in range(200):
        for count, asked in ((2, 8), (3, 4), (3, 8), (2, 3)):
            batch = draw_batch(groups[:count], asked, 2, np.random.default_rng(seed))
            often = np.bincount([position // 2 for position in batch], minlength=count) // 2
            assert len(batch) == 2 * asked
            assert often.min() >= asked // count
            assert often.max() <= -(-asked // count)


def test_of_enough_identities_none_is_drawn_twice() -> None:
    groups = [[i] for i in range(5)]
    for seed in range(50):
        for asked in (1, 4, 5):
            assert len(set(draw_batch(groups, asked, 1, np.random.default_rng(seed)))) == asked
