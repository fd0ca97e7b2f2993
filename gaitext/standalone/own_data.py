"""What a dataset of one's own holds, as far as a config depends on it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError
from gaitext.inspect.contents import guess_kind, spread
from gaitext.store import Leaf, leaves_of_people, open_sequence, read_partition
from gaitext.store.contract import POSES_FRAME
from gaitext.training.sampling import condition_of

#: Leaves whose length is read.
_MEASURED = 300
#: A table of more conditions than this tells nobody anything.
_CONDITIONS = 8


@dataclass(frozen=True)
class OwnData:
    """A dataset and its partition.

    Attributes:
        root, partition: absolute paths.
        train, test: the leaves of both sets.
        kinds: what a leaf's files are, in the order that ``data_in_use`` counts them: heatmaps, poses (in frame
            pixels), silhouettes, or anything else.
        names: of these files, <view> for a view's.
        frames: shapes of their frames; ``frame_bytes``: of one, in memory.
        length: median frames of a training sequence.
    """

    root: Path
    partition: Path
    train: list[Leaf]
    test: list[Leaf]
    kinds: list[str]
    names: list[str]
    frames: list[tuple[int, ...]]
    frame_bytes: list[int]
    length: int

    @classmethod
    def read(cls, data: str | Path, partition: str | Path | None = None) -> OwnData:
        """Look a dataset over.

        Args:
            data: what `gaitext extract` wrote to, or a root of ``<id>/<type>/<view>``.
            partition: None: ``partition.json`` beside the sequences.

        Raises:
            DataError: no data, no partition, people without data, leaves with different files, or too few people or
                sequences to learn from.
        """
        root, found = leaves_of_people(Path(data).absolute())
        file = (root.parent / "partition.json" if partition is None else Path(partition)).absolute()
        if partition is None and not file.is_file():
            raise DataError(
                "there is no partition, which says who trains and who is tested",
                where=file,
                how=f"make one: gaitext partition {data} --test {','.join(sorted(found)[-2:]) or 'ID,ID'}",
            )
        train, test = read_partition(file)
        absent = [one for one in (*train, *test) if one not in found]
        if absent:
            raise DataError(
                f"{len(absent)} of its people have no sequences, such as {absent[0]}",
                where=file,
                how="make their sequences, or the partition anew (gaitext partition)",
            )
        training = [leaf for one in train for leaf in found[one]]
        if len(train) < 2 or not any(len(found[one]) > 1 for one in train):
            raise DataError(
                f"{len(train)} people train, with {len(training)} sequences",
                where=root,
                how="learning to compare needs two people, and two sequences of one of them: film more, "
                "or cut tracks into several sequences (gaitext extract --clip-frames 60)",
            )
        tested = [leaf for one in test for leaf in found[one]]
        files = _files([*training, *tested])
        lengths = [_length(training[i]) for i in spread(len(training), _MEASURED)]
        return cls(root, file, training, tested, *files, int(np.median(lengths)))

    @property
    def people(self) -> int:
        """How many train."""
        return len({leaf.identity for leaf in self.train})

    @property
    def each(self) -> int:
        """Sequences of a training identity, the median."""
        counts: dict[str, int] = {}
        for leaf in self.train:
            counts[leaf.identity] = counts.get(leaf.identity, 0) + 1
        return int(np.median(list(counts.values())))

    def size(self, position: int) -> int:
        """Bytes of one input of all training sequences in memory, about."""
        return len(self.train) * self.length * self.frame_bytes[position]

    def protocol(self) -> tuple[dict[str, Any], str]:
        """Arguments of ``evaluate_gallery_probe`` that fit the test set, and in a few words why.

        With several conditions (types without their runs' numbers) the one that most people have is the gallery, ``nm``
        before others, and each other one a row; with one of several types the first type is the gallery. Otherwise
        every sequence is looked for among all others. Identical views are excluded where that leaves everybody's mates.
        """
        people: dict[str, set[str]] = {}
        for leaf in self.test:
            people.setdefault(condition_of(leaf.type), set()).add(leaf.identity)
        types = sorted({leaf.type for leaf in self.test})
        ordered = sorted(people, key=lambda name: (-len(people[name]), name != "nm", name))
        chosen: dict[str, Any] = {}
        why = "each sequence is looked for among all others"
        if 1 < len(people) <= _CONDITIONS:
            gallery, *probes = ordered
            chosen = {"gallery": {"type": gallery}, "probe": {name: {"type": name} for name in sorted(probes)}}
            why = (
                f"{gallery}, which {len(people[gallery])} of the {len(set.union(*people.values()))} tested people have"
            )
        elif len(people) == 1 and len(types) > 1:
            chosen = {"gallery": {"type": types[0]}}
            why = "the first type; all others are probes"
        if chosen and not self._mates(chosen, ""):
            chosen, why = {}, "each sequence is looked for among all others"
        mates = self._mates(chosen, "")
        if mates and self._mates(chosen, "view") == mates:
            chosen["exclude"] = "view"
        return chosen, why if mates else "NOBODY tested has two sequences to compare: a test cannot tell anything"

    def _mates(self, chosen: Mapping[str, Any], exclude: str) -> int:
        """How many probes have a mate in the gallery."""
        kind = (chosen.get("gallery") or {}).get("type")
        own: dict[str, list[Leaf]] = {}
        for leaf in self.test:
            own.setdefault(leaf.identity, []).append(leaf)

        def inside(leaf: Leaf) -> bool:
            return kind is None or kind in (leaf.type, condition_of(leaf.type))

        def mated(leaf: Leaf, others: Sequence[Leaf]) -> bool:
            return any(inside(one) and one != leaf and not (exclude and one.view == leaf.view) for one in others)

        return sum(
            mated(leaf, others) for others in own.values() for leaf in others if kind is None or not inside(leaf)
        )


def _files(found: Sequence[Leaf]) -> tuple[list[str], list[str], list[tuple[int, ...]], list[int]]:
    """Kinds, names, frames' shapes and bytes of the files of the leaves, which must be the same in all of them."""

    def names(leaf: Leaf) -> list[str]:
        return ["<view>" if file.stem == leaf.view else file.stem for file in leaf.files()]

    first = found[0]
    for leaf in found:
        if names(leaf) != names(first):
            raise DataError(
                f"holds {', '.join(names(leaf)) or 'no .pkl'}, but {first.path} {', '.join(names(first)) or 'none'}: "
                "toolboxes count a leaf's files, which must be the same in all",
                where=leaf.path,
                how="extract all of them with the same --content, or take this one away",
            )
    kinds, frames, sizes = [], [], []
    for file in first.files():
        sequence = open_sequence(file)
        kind = guess_kind(file.name, sequence.shape, sequence.dtype)
        # Poses in heatmap pixels are no input: where the person stands in the crop is the detector's doing.
        if kind == "poses" and file.stem != POSES_FRAME.stem and POSES_FRAME.file in {f.name for f in first.files()}:
            kind = "other"
        kinds.append(kind)
        frames.append(tuple(sequence.shape[1:]))
        sizes.append(sequence.dtype.itemsize * math.prod(sequence.shape[1:]))
    return kinds, names(first), frames, sizes


def _length(leaf: Leaf) -> int:
    return len(open_sequence(min(leaf.files(), key=lambda file: file.stat().st_size)))


def position_of(kind: str, data: OwnData, model: str) -> int:
    """Which of a leaf's files is the model's input.

    Raises:
        ConfigError: none is.
    """
    if kind not in data.kinds:
        raise ConfigError(
            f"{model} needs {kind}, and the leaves hold {', '.join(data.kinds)}",
            where=data.root,
            how=f"make them (gaitext extract --content {kind}), or choose another model",
        )
    return data.kinds.index(kind)
