"""Samplers of batches of P identities × K sequences, with OpenGait's signature.

OpenGait looks samplers up in ``data.sampler`` and builds them from the ``sampler`` section. Its own
TripletSampler draws from global state; these draw from (seed, iteration), so that every process
draws the same batch without talking to the others, and a resumed run goes on as if never stopped
where the host says at which iteration it is (the embedded one does).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch.distributed as dist
from torch.utils.data import Sampler

from gaitext.errors import ConfigError
from gaitext.training.sampling import draw_batch, repeat_conditions

#: GaitPT's for CASIA-B.
_REPEATS: Mapping[str, int] = MappingProxyType({"bg": 3, "cl": 3})


class _Labelled(Protocol):
    """What a sampler reads of a toolbox's dataset."""

    label_set: Sequence[Any]
    indices_dict: dict[Any, list[int]]
    types_list: Sequence[str]
    views_list: Sequence[str]


class SeededTripletSampler(Sampler[list[int]]):
    """P identities × K sequences without regard to types and views: the toolboxes' TripletSampler.

    Args:
        dataset: a toolbox's dataset (``label_set``, ``indices_dict``, ``types_list``, ``views_list``).
        batch_size: (P, K). P · K must be a multiple of the number of processes.
        batch_shuffle: mix the batch before it is dealt out to the processes.
        seed: batch i is a function of (seed, i).

    Raises:
        ConfigError: ``batch_size`` is not such a pair.
    """

    balanced = False

    def __init__(
        self, dataset: _Labelled, batch_size: Sequence[int], batch_shuffle: bool = False, seed: int = 0
    ) -> None:
        distributed = dist.is_available() and dist.is_initialized()
        self.rank = dist.get_rank() if distributed else 0
        self.world_size = dist.get_world_size() if distributed else 1
        pair = tuple(batch_size) if isinstance(batch_size, (list, tuple)) else ()
        if len(pair) != 2 or min(pair) < 1:
            raise ConfigError(
                f"batch_size is {batch_size!r}", where="sampler", how="give [identities, sequences of each]"
            )
        if pair[0] * pair[1] % self.world_size:
            raise ConfigError(
                f"a batch of {pair[0]} × {pair[1]} cannot be dealt out evenly to {self.world_size} processes",
                where="sampler.batch_size",
                how="make the product a multiple of the number of processes",
            )
        self.dataset = dataset
        self.batch_size = pair
        self.batch_shuffle = batch_shuffle
        self.seed = seed
        self._groups = [list(dataset.indices_dict[label]) for label in dataset.label_set]

    def draw(self, iteration: int) -> list[int]:
        """The whole batch of an iteration (counted from 0): P · K positions in the dataset."""
        return draw_batch(
            self._groups,
            self.batch_size[0],
            self.batch_size[1],
            np.random.default_rng([self.seed, iteration]),
            types=self.dataset.types_list if self.balanced else None,
            views=self.dataset.views_list if self.balanced else None,
            shuffle=self.batch_shuffle,
        )

    def __iter__(self) -> Iterator[list[int]]:
        """This process's share of every batch, without end."""
        iteration = 0
        while True:
            yield self.draw(iteration)[self.rank :: self.world_size]
            iteration += 1

    def __len__(self) -> int:
        return sum(map(len, self._groups))


class BalancedTripletSampler(SeededTripletSampler):
    """P identities × K sequences spread evenly over conditions (nm, bg, cl, …), then over views.

    The balanced sampling of GaitHeat's summary; :func:`gaitext.training.sampling.draw_balanced` says how
    even it is. Arguments as for :class:`SeededTripletSampler`.
    """

    balanced = True


class RepeatTripletSampler(SeededTripletSampler):
    """P identities × K sequences, those of some conditions counting several times.

    GaitPT's CASIA-B recipe. A sequence that counts three times is three times as likely to be
    drawn as another of its identity, and may come up to three times in a batch, each time with
    frames and augmentation of its own.

    Args:
        dataset: as for :class:`SeededTripletSampler`, like the others below.
        batch_size: (P, K).
        repeats: condition (a type without its run number: ``bg-01`` is ``bg``) -> how often.
        batch_shuffle: mix the batch before it is dealt out to the processes.
        seed: batch i is a function of (seed, i).

    Raises:
        ConfigError: a condition that no training sequence has, or a number below 1.
    """

    def __init__(
        self,
        dataset: _Labelled,
        batch_size: Sequence[int],
        repeats: Mapping[str, int] = _REPEATS,
        batch_shuffle: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(dataset, batch_size, batch_shuffle, seed)
        if not isinstance(repeats, Mapping):
            raise ConfigError(f"repeats is {repeats!r}", where="sampler.repeats", how="write {bg: 3, cl: 3}")
        self._groups = repeat_conditions(self._groups, dataset.types_list, repeats, where="sampler.repeats")
