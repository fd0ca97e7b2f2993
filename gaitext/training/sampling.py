"""Which sequences make a batch, and which frames of them: pure functions of a generator.

The rules are OpenGait's (its ``TripletSampler`` and collate function); the randomness is an explicit
``numpy.random.Generator``, so that a draw can be repeated. Nothing here reads data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, DataError, suggest

Indices = npt.NDArray[np.int64]
SampleType = Literal[
    "fixed_ordered", "fixed_unordered", "unfixed_ordered", "unfixed_unordered", "all_ordered", "all_unordered"
]


def group(labels: Iterable[Any]) -> list[list[int]]:
    """Positions of each label, in the order of the sorted labels.

    >>> group(["b", "a", "b"])
    [[1], [0, 2]]
    """
    found: dict[Any, list[int]] = {}
    for position, label in enumerate(labels):
        found.setdefault(label, []).append(position)
    return [found[label] for label in sorted(found)]


def draw_some(count: int, wanted: int, generator: np.random.Generator) -> Indices:
    """Draw ``wanted`` of ``range(count)``: without replacement, unless there are too few.

    >>> sorted(draw_some(3, 3, np.random.default_rng(0)).tolist())
    [0, 1, 2]
    """
    return generator.choice(count, wanted, replace=count < wanted).astype(np.int64)


def draw_batch(
    groups: Sequence[Sequence[int]],
    identities: int,
    sequences: int,
    generator: np.random.Generator,
    *,
    types: Sequence[str] | None = None,
    views: Sequence[str] | None = None,
    shuffle: bool = False,
) -> list[int]:
    """Draw ``identities`` × ``sequences`` positions, as OpenGait's TripletSampler does.

    Identities are drawn without replacement. Of fewer than asked for, each is drawn equally often, give or
    take one, so that a batch always holds two where there are two. An identity's sequences are drawn without
    replacement unless there are fewer than asked for.

    Args:
        groups: each identity's positions (:func:`group`).
        identities: P, how many identities.
        sequences: K, how many sequences of each.
        generator: where randomness comes from.
        types: the type of every position; given, each identity's sequences are balanced over
            its conditions and views (:func:`draw_balanced`).
        views: the view of every position; needed with ``types``.
        shuffle: mix the batch (which decides what goes to which process); otherwise an
            identity's sequences follow each other.

    Returns:
        P · K positions.

    Raises:
        DataError: there is no identity at all.
    """
    if not groups:
        raise DataError("there is no identity to draw from")
    batch: list[int] = []
    whole, rest = divmod(identities, len(groups))
    drawn = [generator.permutation(len(groups)) for _ in range(whole if rest or whole > 1 else 0)]
    if rest or not drawn:
        drawn.append(draw_some(len(groups), rest or identities, generator))
    for chosen in np.concatenate(drawn):
        members = groups[chosen]
        if types is None:
            batch += [members[i] for i in draw_some(len(members), sequences, generator)]
        else:
            kinds = [condition_of(types[i]) for i in members]
            angles = [views[i] for i in members] if views is not None else [""] * len(members)
            batch += [members[i] for i in draw_balanced(kinds, angles, sequences, generator)]
    if shuffle:
        batch = [batch[i] for i in generator.permutation(len(batch))]
    return batch


def condition_of(type_: str) -> str:
    """The covariate condition of a type: the type without its run number.

    >>> condition_of("nm-01"), condition_of("U0_D3"), condition_of("00")
    ('nm', 'U0_D3', '00')
    """
    return re.sub(r"(?<=.)-\d+$", "", type_)


def repeat_conditions(
    groups: Sequence[Sequence[int]], types: Sequence[str], repeats: Mapping[str, int], *, where: object = "repeats"
) -> list[list[int]]:
    """Groups in which the sequences of some conditions come several times, next to each other.

    GaitPT has CASIA-B's bg and cl sequences three times in training (docs/gaitpt.md), so that an
    identity's 6 nm, 2 bg and 2 cl recordings of a view are drawn as if there were 6 of each.

    Args:
        groups: each identity's positions (:func:`group`).
        types: the type of every position.
        repeats: condition (:func:`condition_of`) -> how often its sequences count; once, if it
            is not named.
        where: named in the error.

    Raises:
        ConfigError: a condition that no sequence has, or a number below 1.

    >>> repeat_conditions([[0, 1], [2]], ["nm-01", "bg-01", "nm-01"], {"bg": 3})
    [[0, 1, 1, 1], [2]]
    """
    there = {condition_of(types[position]) for members in groups for position in members}
    for condition, times in repeats.items():
        if type(times) is not int or times < 1:
            raise ConfigError(
                f"{condition} is to count {times!r} times", where=where, how="give a whole number of at least 1"
            )
        if condition not in there:
            raise ConfigError(
                f"no sequence has the condition '{condition}'",
                where=where,
                how=f"the conditions of these sequences are {', '.join(sorted(there))}",
            )
    times_of = [repeats.get(condition_of(type_), 1) for type_ in types]
    return [[position for position in members for _ in range(times_of[position])] for members in groups]


def draw_balanced(
    conditions: Sequence[str], views: Sequence[str], wanted: int, generator: np.random.Generator
) -> list[int]:
    """Draw positions spread evenly over conditions, and within each condition over views.

    Conditions take turns in random order, and so do the views within a condition. A condition
    that runs out is left to the others: no position comes twice before every position has come.
    So two conditions' counts differ by more than one only where the smaller one is used up, and
    the same holds for a condition's views.

    Args:
        conditions: the condition of each position.
        views: the view of each position.
        wanted: how many to draw.
        generator: where randomness comes from.

    Returns:
        ``wanted`` positions in 0..len(conditions) − 1.
    """
    drawn: list[int] = []
    while len(drawn) < wanted:
        piles: dict[str, dict[str, list[int]]] = {}
        for position in generator.permutation(len(conditions)):
            piles.setdefault(conditions[position], {}).setdefault(views[position], []).append(int(position))
        turns = [_take_turns(list(by_view.values()), generator) for by_view in piles.values()]
        drawn += _take_turns(turns, generator)[: wanted - len(drawn)]
    return drawn


def _take_turns(piles: list[list[int]], generator: np.random.Generator) -> list[int]:
    """One of each pile in random order, then a second of each, and so on."""
    order = generator.permutation(len(piles))
    longest = max(map(len, piles))
    return [piles[i][turn] for turn in range(longest) for i in order if turn < len(piles[i])]


@dataclass(frozen=True)
class FrameSampling:
    """Which frames of a sequence go into a batch (the toolboxes' ``sampler`` section).

    Args:
        sample_type: ``fixed_…`` takes ``frames_num_fixed`` frames, ``unfixed_…`` a number drawn
            between ``frames_num_min`` and ``frames_num_max`` for each sequence, ``all_…`` all.
            ``…_ordered`` takes them in order from a window of ``frames_skip_num`` more frames
            than wanted; ``…_unordered`` in random order from anywhere.
        frames_num_fixed: needed by ``fixed_…``.
        frames_num_min: needed by ``unfixed_…``.
        frames_num_max: needed by ``unfixed_…``, inclusive.
        frames_skip_num: needed by ``fixed_ordered`` and ``unfixed_ordered``.
        frames_all_limit: with ``all_…``, keep only so many frames from the start; -1 keeps all.

    Raises:
        ConfigError: a number is missing or out of range, or the type is unknown. (OpenGait also
            lists ``…_allordered``, but treats it as unordered; it is refused here.)
    """

    sample_type: SampleType = "fixed_unordered"
    frames_num_fixed: int | None = None
    frames_num_min: int | None = None
    frames_num_max: int | None = None
    frames_skip_num: int | None = None
    frames_all_limit: int = -1

    def __post_init__(self) -> None:
        if self.sample_type not in get_args(SampleType):
            raise ConfigError(
                f"unknown sample_type {self.sample_type!r}",
                where="sampler",
                how=suggest(self.sample_type, get_args(SampleType)),
            )
        needed = {"fixed": ["frames_num_fixed"], "unfixed": ["frames_num_min", "frames_num_max"], "all": []}[self.count]
        for name in needed:
            value = getattr(self, name)
            if value is None or value < 1:
                raise ConfigError(f"{self.sample_type} needs '{name}' of at least 1 (got {value})", where="sampler")
        if self.count == "unfixed" and self.frames_num_min > self.frames_num_max:  # type: ignore[operator]
            raise ConfigError("frames_num_min is larger than frames_num_max", where="sampler")
        if self.count != "all" and self.ordered and (self.frames_skip_num is None or self.frames_skip_num < 0):
            raise ConfigError(f"{self.sample_type} needs 'frames_skip_num' (0 skips none)", where="sampler")
        if self.frames_all_limit == 0 or self.frames_all_limit < -1:
            raise ConfigError(f"frames_all_limit is {self.frames_all_limit}; -1 means no limit", where="sampler")

    @property
    def count(self) -> str:
        """``fixed``, ``unfixed`` or ``all``."""
        return self.sample_type.split("_")[0]

    @property
    def ordered(self) -> bool:
        return self.sample_type.endswith("_ordered")


def sample_frames(length: int, how: FrameSampling, generator: np.random.Generator) -> Indices:
    """Draw the frames of one sequence, as OpenGait's collate function does.

    A sequence shorter than what is asked for is repeated whole (ordered) or drawn from with
    replacement (unordered).

    Args:
        length: the sequence's frames, at least 1.
        how: which frames.
        generator: where randomness comes from; not used with ``all_…``.

    Returns:
        Positions in 0..length − 1.

    Example:
        >>> sample_frames(4, FrameSampling("all_ordered", frames_all_limit=3), np.random.default_rng()).tolist()
        [0, 1, 2]
    """
    if length < 1:
        raise DataError("the sequence is empty")
    if how.count == "all":
        return np.arange(length if how.frames_all_limit < 0 else min(length, how.frames_all_limit))
    if how.count == "fixed":
        wanted = how.frames_num_fixed
    else:
        wanted = int(generator.integers(how.frames_num_min, how.frames_num_max, endpoint=True))  # type: ignore[arg-type]
    assert wanted is not None
    if not how.ordered:
        return draw_some(length, wanted, generator)
    window = wanted + (how.frames_skip_num or 0)
    repeated = length * max(1, math.ceil(window / length))
    start = int(generator.integers(0, repeated - window, endpoint=True))
    kept = np.sort(generator.choice(window, wanted, replace=False))
    return ((start + kept) % length).astype(np.int64)
