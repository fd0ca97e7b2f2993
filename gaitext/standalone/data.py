"""The dataset: leaves on disk, labels as OpenGait numbers them, frames drawn by (seed, iteration)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gaitext.errors import ConfigError, DataError, GaitextError, suggest
from gaitext.standalone.settings import DataSettings
from gaitext.store import Array, CompactSequence, Leaf, choose, leaves, read_leaf, read_partition
from gaitext.toolboxes.parts import TRANSFORMS
from gaitext.toolboxes.validate import arguments_for
from gaitext.training.sampling import FrameSampling, sample_frames
from gaitext.transforms.base import SeededTransform

log = logging.getLogger(__name__)

#: Keeps the draws of frames and transforms apart from those of batches.
_FRAMES = 1


class Chain:
    """Transforms applied one after the other to one sequence [T, …]."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, sequence: Array, generator: np.random.Generator) -> Array:
        """Apply the chain; what is random in it draws from ``generator``."""
        for transform in self.transforms:
            if isinstance(transform, SeededTransform):
                transform.generator = generator
            sequence = transform(sequence)
        return sequence


def build_chains(section: Any, *, where: str) -> list[Chain]:
    """Build one chain per input.

    Args:
        section: a list with one entry per input, each ``{type: Name, …}``,
            ``{type: Compose, trf_cfg: [...]}`` or a list of such; null or ``NoOperation`` leaves an
            input as it is. A single dict, or null, stands for one input.
        where: the section's name, for errors.

    Raises:
        ConfigError: a name gaitext does not have, or arguments it does not take.
    """
    entries = section if isinstance(section, list) else [section]
    return [Chain(_transforms(entry, f"{where}[{i}]")) for i, entry in enumerate(entries)]


def _transforms(entry: Any, where: str) -> list[Callable[..., Any]]:
    if entry is None:
        return []
    if isinstance(entry, list):
        return [transform for part in entry for transform in _transforms(part, where)]
    if not isinstance(entry, Mapping) or "type" not in entry:
        raise ConfigError(f"is {entry!r}, not a transform", where=where, how="write `- type: Name`")
    name = entry["type"]
    if name == "NoOperation":
        return []
    if name == "Compose":
        return _transforms(list(entry.get("trf_cfg") or []), where)
    if name not in TRANSFORMS:
        raise ConfigError(
            f"no transform {name!r} in the embedded host, which has gaitext's own only",
            where=where,
            how=suggest(name, sorted(TRANSFORMS)),
        )
    kind: Any = TRANSFORMS[name]
    try:
        return [kind(**arguments_for(kind, entry, where=f"{where}.{name}", ignored=("type",)))]
    except TypeError as error:
        raise ConfigError(f"cannot be built: {error}", where=f"{where}.{name}") from error


@dataclass(frozen=True)
class Request:
    """One sequence of one batch: what it is, and where its randomness comes from."""

    index: int
    iteration: int
    position: int


@dataclass
class Sample:
    sequences: list[Tensor]
    label: int
    type: str
    view: str
    index: int


@dataclass
class Batch:
    """What a model is called with, and the sequences' positions in the dataset.

    ``sequences`` are [n, T, …] with ``lengths`` None (fixed sampling), or [1, ΣT, …] with lengths
    int32 [1, n] (packed).
    """

    sequences: list[Tensor]
    labels: Tensor
    types: list[str]
    views: list[str]
    lengths: Tensor | None
    indices: list[int]

    def inputs(self, device: torch.device) -> tuple[Any, ...]:
        """The five-part inputs of the model contract, on ``device``."""
        sequences = [sequence.to(device, non_blocking=True) for sequence in self.sequences]
        lengths = None if self.lengths is None else self.lengths.to(device)
        return sequences, self.labels.to(device), self.types, self.views, lengths


def find_leaves(settings: DataSettings, *, training: bool, allow_missing: bool = False) -> list[Leaf]:
    """The leaves of the phase's identities, in the partition's order, then by type and view.

    Raises:
        DataError: no dataset or partition, an identity without a folder, or no leaf at all.
    """
    train, test = read_partition(settings.dataset_partition)
    wanted = train if training else test
    name = "TRAIN_SET" if training else "TEST_SET"
    found: dict[str, list[Leaf]] = {}
    for leaf in leaves(settings.dataset_root):
        found.setdefault(leaf.identity, []).append(leaf)
    missing = [identity for identity in wanted if identity not in found]
    if len(missing) == len(wanted):
        raise DataError(
            f"none of the {len(wanted)} identities of {name} has a sequence in {settings.dataset_root}",
            where=settings.dataset_partition,
            how="check dataset_root and dataset_partition (zeros in front count: '005' is not '5')",
        )
    if missing:
        listed = ", ".join(missing[:10]) + (", …" if len(missing) > 10 else "")
        if not allow_missing:
            raise DataError(
                f"{len(missing)} of the {len(wanted)} identities of {name} have no sequence: {listed}",
                where=settings.dataset_root,
                how="make them, take them out of the partition, or set fabric_cfg.allow_missing: true",
            )
        log.warning("%d identities of %s have no sequence and are left out: %s", len(missing), name, listed)
    return [leaf for identity in wanted for leaf in found.get(identity, [])]


class SequenceDataset(Dataset[Sample]):
    """Sequences of one phase, drawn and transformed one by one.

    Has what a toolbox's sampler reads (``label_set``, ``indices_dict``, ``types_list``,
    ``views_list``). A label is the identity's position in the sorted list of the phase's
    identities, as in OpenGait.

    Args:
        found: the leaves (:func:`find_leaves`).
        settings: ``data_cfg``.
        frames: which frames of a sequence are taken.
        chains: one chain of transforms per input.
        seed: with a request's iteration and position, it decides every random draw, whatever
            the number of workers or processes.
    """

    def __init__(
        self, found: Sequence[Leaf], settings: DataSettings, frames: FrameSampling, chains: Sequence[Chain], seed: int
    ) -> None:
        self.leaves = list(found)
        self.settings = settings
        self.frames = frames
        self.chains = list(chains)
        self.seed = seed
        self.label_list = [leaf.identity for leaf in self.leaves]
        self.types_list = [leaf.type for leaf in self.leaves]
        self.views_list = [leaf.view for leaf in self.leaves]
        self.label_set = sorted(set(self.label_list))
        self.indices_dict: dict[str, list[int]] = {label: [] for label in self.label_set}
        for index, label in enumerate(self.label_list):
            self.indices_dict[label].append(index)
        self._number = {label: number for number, label in enumerate(self.label_set)}
        self._cache: dict[int, list[Array]] = {}

    def __len__(self) -> int:
        return len(self.leaves)

    def load(self, index: int) -> Sequence[Array | CompactSequence]:
        """A leaf's sequences: from memory if they are cached; otherwise compact ones are read frame by frame."""
        if index in self._cache:
            return self._cache[index]
        if not self.settings.cache:
            return read_leaf(self.leaves[index], self.settings.data_in_use, lazy=True)
        self._cache[index] = read_leaf(self.leaves[index], self.settings.data_in_use)
        return self._cache[index]

    def load_all(self) -> None:
        """Read everything into memory now (``data_cfg.cache``), before workers are forked."""
        for index in range(len(self)):
            self.load(index)

    def __getitem__(self, request: Request) -> Sample:
        sequences = self.load(request.index)
        if len(sequences) != len(self.chains):
            raise ConfigError(
                f"{len(sequences)} inputs are used but {len(self.chains)} entries of `transform` are given",
                where=self.leaves[request.index].path,
                how="give one entry per input, or choose the inputs by data_cfg.data_in_use",
            )
        generator = np.random.default_rng([self.seed, _FRAMES, request.iteration, request.position])
        chosen = sample_frames(len(sequences[0]), self.frames, generator)
        transformed = [
            self._transform(request.index, i, sequences[i][chosen], generator) for i in range(len(sequences))
        ]
        leaf = self.leaves[request.index]
        # Lengths, not shapes, may differ between sequences; a transform may also change them.
        return Sample(
            [torch.from_numpy(np.ascontiguousarray(array, np.float32)) for array in transformed],
            self._number[leaf.identity],
            leaf.type,
            leaf.view,
            request.index,
        )

    def _transform(self, index: int, position: int, sequence: Array, generator: np.random.Generator) -> Array:
        """Apply an input's chain; an error names the file, and says what its frame numbers count."""
        try:
            return self.chains[position](sequence, generator)
        except GaitextError as error:
            leaf = self.leaves[index]
            files = choose(leaf.files(), self.settings.data_in_use) if leaf.path.is_dir() else []
            where = files[position] if position < len(files) else leaf.path
            what = error.what if error.where is None else f"{error.where}: {error.what}"
            raise type(error)(f"{what} (frames are counted as sampled)", where=where, how=error.how) from error


class _ErrorsAsSamples(Dataset["Sample | GaitextError"]):
    """A dataset whose errors are samples: from a loader's worker they would come as tracebacks."""

    def __init__(self, dataset: SequenceDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, request: Request) -> Sample | GaitextError:
        try:
            return self.dataset[request]
        except GaitextError as error:
            return error


def collate(samples: Sequence[Sample], *, packed: bool) -> Batch:
    """Stack samples to [n, T, …], or concatenate them to [1, ΣT, …] with their lengths."""
    inputs = list(zip(*(sample.sequences for sample in samples)))
    if packed:
        sequences = [torch.cat(parts).unsqueeze(0) for parts in inputs]
        lengths = torch.tensor([[len(sample.sequences[0]) for sample in samples]], dtype=torch.int32)
    else:
        sequences, lengths = [torch.stack(parts) for parts in inputs], None
    return Batch(
        sequences,
        torch.tensor([sample.label for sample in samples]),
        [sample.type for sample in samples],
        [sample.view for sample in samples],
        lengths,
        [sample.index for sample in samples],
    )


class _Collate:
    """:func:`collate`, picklable for loader workers; or the first error instead of a batch."""

    def __init__(self, packed: bool) -> None:
        self.packed = packed

    def __call__(self, samples: Sequence[Sample | GaitextError]) -> Batch | GaitextError:
        whole = [sample for sample in samples if isinstance(sample, Sample)]
        errors = [sample for sample in samples if isinstance(sample, GaitextError)]
        return errors[0] if errors else collate(whole, packed=self.packed)


class _Requests:
    """Batches of requests, of each of which this process takes its share."""

    def __init__(self, draw: Callable[[int], Sequence[int]], span: range, rank: int, world_size: int) -> None:
        self.draw, self.span, self.rank, self.world_size = draw, span, rank, world_size

    def __iter__(self) -> Iterator[list[Request]]:
        for iteration in self.span:
            whole = [Request(index, iteration, position) for position, index in enumerate(self.draw(iteration))]
            yield whole[self.rank :: self.world_size]

    def __len__(self) -> int:
        return len(self.span)


def loader(
    dataset: SequenceDataset,
    draw: Callable[[int], Sequence[int]],
    span: range,
    device: torch.device,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[Batch]:
    """Batches, the same ones whatever the number of workers.

    Args:
        dataset: the sequences.
        draw: iteration -> positions in the dataset of the whole batch.
        span: the iterations, counted from 0.
        device: pinned memory is used for a GPU.
        rank: this process, which takes every ``world_size``-th sequence of a batch.
        world_size: number of processes.

    Raises:
        GaitextError: a sequence cannot be read or transformed (it is named).
    """
    batches: DataLoader[Any] = DataLoader(
        _ErrorsAsSamples(dataset),
        batch_sampler=_Requests(draw, span, rank, world_size),
        collate_fn=_Collate(dataset.frames.count != "fixed"),
        num_workers=dataset.settings.num_workers,
        pin_memory=device.type == "cuda",
    )
    for batch in batches:
        if isinstance(batch, GaitextError):
            raise batch
        yield batch
