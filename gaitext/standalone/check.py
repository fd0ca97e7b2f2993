"""The embedded host's own checks, before hours are spent on training: batches, the evaluation, and the data."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gaitext.errors import ConfigError, DataError, GaitextError, suggest
from gaitext.evaluation.protocols import BY_NAME
from gaitext.execution import map_sequences
from gaitext.standalone.data import find_leaves
from gaitext.standalone.settings import DataSettings, HostConfig
from gaitext.store import Leaf, choose, read_leaf
from gaitext.toolboxes.parts import EVALUATIONS
from gaitext.toolboxes.validate import arguments_for, check_evaluation

#: The evaluation functions of the embedded host: OpenGait's that gaitext has, and gaitext's own.
_EVALUATIONS: dict[str, Callable[..., Any]] = {**BY_NAME, **EVALUATIONS}
#: OpenGait's other evaluation functions.
_TOOLBOX_ONLY = frozenset({"GREW_submission", "HID_submission", "evaluate_scoliosis", "evaluate_segmentation"})

Depth = Literal["auto", "tail", "full"]
#: Up to this size, `auto` reads everything once.
_SMALL = 2**30
#: An array's pickle has at least its dtype and shape.
_LEAST_BYTES = 32
_MEND = "make the damaged sequences again"


def check_batch(host: HostConfig) -> None:
    """Refuse batches in which a triplet loss finds no positive or no negative."""
    size = host.trainer.sampler.batch_size
    losses = [str(loss.get("type")) for loss in host.losses]
    if isinstance(size, tuple) and min(size) < 2 and (triplets := [name for name in losses if "Triplet" in name]):
        missing = "positive" if size[1] < 2 else "negative"
        raise ConfigError(
            f"in batches of {size[0]} identities × {size[1]} sequences no anchor of {triplets[0]} has a {missing}",
            where="trainer_cfg.sampler.batch_size",
            how="take at least two identities and two sequences of each",
        )


def evaluation_function(host: HostConfig) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The evaluation function and its arguments, checked before anything runs.

    One that reads a list from a partition file is given the config's, unless ``evaluator_cfg`` names another.
    """
    name = host.evaluator.eval_func
    if name not in _EVALUATIONS and name in _TOOLBOX_ONLY:
        raise ConfigError(
            f"{name} is OpenGait's own, and not in the embedded host",
            where="evaluator_cfg.eval_func",
            how=f"test with OpenGait (`gaitext link`), or choose one of {', '.join(sorted(_EVALUATIONS))}",
        )
    if name not in _EVALUATIONS:
        raise ConfigError(
            f"no evaluation {name!r} in the embedded host",
            where="evaluator_cfg.eval_func",
            how=suggest(name, sorted(_EVALUATIONS)),
        )
    check_options(host)
    function = _EVALUATIONS[name]
    listed = "partition" in inspect.signature(function).parameters
    return function, {**({"partition": host.data.dataset_partition} if listed else {}), **host.evaluation}


def check_options(host: HostConfig) -> None:
    """Refuse an option that belongs to another evaluation function than the config's, and what that one will refuse.

    Raises:
        ConfigError: it says whose it is, or what is wrong with it.
    """
    name = host.evaluator.eval_func
    taken = {each: set(inspect.signature(function).parameters) for each, function in _EVALUATIONS.items()}
    for key in host.evaluation:
        having = sorted(each for each, keys in taken.items() if key in keys)
        whose = " and ".join(f"{each}'s" for each in having)
        if name in taken and key not in taken[name] and having:
            raise ConfigError(
                f"{name} has no '{key}': it is {whose}",
                where=f"evaluator_cfg.{key}",
                how=f"leave it out, or write eval_func: {having[0]}",
            )
    if name in _EVALUATIONS:
        arguments_for(_EVALUATIONS[name], host.evaluation, where="evaluator_cfg")
    names = {"test_dataset_name": host.data.test_dataset_name, "dataset_name": host.data.dataset_name}
    check_evaluation({"eval_func": name, **host.evaluation}, names)


@dataclass(frozen=True)
class DataReport:
    """What was found in a config's data.

    Args:
        depth: ``tail`` (every file's size and end) or ``full`` (every file was read).
        leaves: how many were checked.
        files: how many files.
        bytes: their size.
        frames: shortest, median and longest sequence; None unless read.
        problems: one line each, naming the leaf or file.
    """

    depth: str
    leaves: int
    files: int
    bytes: int
    frames: tuple[int, int, int] | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        """One line that sums up, then one for each problem, then how to mend them."""
        done = "read in full" if self.depth == "full" else "looked at (size and last byte)"
        found = {0: "no problem", 1: "1 problem"}.get(len(self.problems), f"{len(self.problems)} problems")
        lines = [f"{self.leaves} sequences, {self.files} files, {_size(self.bytes)}, {done}: {found}"]
        if self.frames is not None:
            shortest, median, longest = self.frames
            lines[0] += f"; {shortest} to {longest} frames, median {median}"
        lines += [f"  {problem}" for problem in self.problems]
        if self.problems:
            lines.append(f"To mend it: {_MEND}")
        return "\n".join(lines)

    def raise_problems(self) -> None:
        """Raise one DataError that lists the problems, the first twenty in full."""
        if self.ok:
            return
        listed = "\n".join(f"  {problem}" for problem in self.problems[:20])
        more = f"\n  … and {len(self.problems) - 20} more" if len(self.problems) > 20 else ""
        raise DataError(
            f"{len(self.problems)} problems in the data:\n{listed}{more}",
            how=f"{_MEND} (or set fabric_cfg.check: none to train regardless)",
        )


def check_data(
    config: str | Path | Mapping[str, Any],
    *,
    phase: Literal["train", "test", "both"] = "both",
    depth: Depth = "full",
    workers: int = 0,
    quiet: bool = False,
) -> DataReport:
    """Check the data that a config trains and tests on. Damage is reported, not raised.

    Args:
        config: a YAML file, or its contents.
        phase: whose identities.
        depth: ``full`` reads every file: truncated, not an array, different lengths in a leaf,
            shapes or dtypes unlike other leaves', NaN. ``tail`` looks at every file's existence, size and
            last byte only, which finds nearly all truncated files in seconds. ``auto`` is
            ``full`` up to 1 GiB.
        workers: processes to read with.
        quiet: no progress bar.

    Raises:
        ConfigError: the config is wrong.
        DataError: the partition or the dataset is missing, or identities of it are.
    """
    host = HostConfig.read(config)
    found: list[Leaf] = []
    for training in (True, False):
        if phase in ("both", "train" if training else "test"):
            found += find_leaves(host.data, training=training, allow_missing=host.fabric.allow_missing)
    return check_leaves(found, host.data, depth, workers=workers, quiet=quiet)


def check_leaves(
    found: Sequence[Leaf], settings: DataSettings, depth: Depth = "auto", *, workers: int = 0, quiet: bool = True
) -> DataReport:
    """:func:`check_data` for leaves that have been found already."""
    problems: list[str] = []
    files: dict[Leaf, list[Path]] = {}
    damaged: set[Leaf] = set()
    for leaf in found:
        try:
            files[leaf] = choose(leaf.files(), settings.data_in_use)
        except OSError as error:
            files[leaf] = []
            problems.append(f"{leaf.path}: cannot be read ({error.strerror})")
        else:
            if not files[leaf]:
                problems.append(f"{leaf.path}: no .pkl file to use")
        if not files[leaf]:
            damaged.add(leaf)
    usual = Counter(len(chosen) for chosen in files.values()).most_common(1)
    size = 0
    for leaf, chosen in files.items():
        if chosen and len(chosen) != usual[0][0]:
            names = ", ".join(file.name for file in chosen)
            problems.append(f"{leaf.path}: {len(chosen)} files to use ({names}), other leaves have {usual[0][0]}")
            damaged.add(leaf)
        for file in chosen:
            length, damage = _look(file)
            size += length
            if damage:
                problems.append(f"{file}: {damage}")
                damaged.add(leaf)
    count = sum(map(len, files.values()))
    if depth == "tail" or (depth == "auto" and size > _SMALL):
        return DataReport("tail", len(found), count, size, None, problems)
    whole = [leaf for leaf in found if leaf not in damaged]
    facts: list[tuple[int, tuple[str, ...]]] = []
    checked = map_sequences(
        partial(_read, data_in_use=settings.data_in_use), whole, workers=workers, label="checking", quiet=quiet
    )
    for outcome in checked:
        if outcome.error is not None or outcome.result is None:
            failure = outcome.error
            problems.append(
                f"{failure.where or outcome.item.path}: {failure.what}"
                if isinstance(failure, GaitextError)
                else f"{outcome.item.path}: {type(failure).__name__}: {failure}"
            )
        else:
            length, kinds, found_damage = outcome.result
            facts.append((length, kinds))
            problems += found_damage
    usual_kinds = Counter(kinds for _, kinds in facts).most_common(1)
    for outcome in checked:
        if outcome.result is not None and outcome.result[1] != usual_kinds[0][0]:
            own, most = (", ".join(kinds) for kinds in (outcome.result[1], usual_kinds[0][0]))
            problems.append(f"{outcome.item.path}: frames are {own}, those of most leaves {most}")
    lengths = [length for length, _ in facts]
    frames = (min(lengths), int(np.median(lengths)), max(lengths)) if lengths else None
    return DataReport("full", len(found), count, size, frames, problems)


def _look(path: Path) -> tuple[int, str | None]:
    """A pkl's size, and what is wrong as far as size and last byte tell: a whole pickle ends in STOP."""
    try:
        if path.is_symlink() and not path.exists():
            return 0, f"is a link to {path.readlink()}, which is not there"
        size = path.stat().st_size
        if size < _LEAST_BYTES:
            return size, f"is empty or truncated ({size} bytes)"
        with path.open("rb") as stream:
            stream.seek(-1, 2)
            return size, None if stream.read(1) == b"." else "is truncated (it does not end as a pickle does)"
    except OSError as error:
        return 0, f"cannot be read ({error.strerror})"


def _size(count: float) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def _read(leaf: Leaf, data_in_use: Sequence[bool] | Sequence[int] | None) -> tuple[int, tuple[str, ...], list[str]]:
    """Read a leaf: its length, what its inputs' frames are (``float16 [17, 64, 48]``), and what is wrong with them."""
    sequences = read_leaf(leaf, data_in_use)
    files = choose(leaf.files(), data_in_use)
    damage = []
    for file, sequence in zip(files, sequences):
        if sequence.dtype.kind == "f" and not np.isfinite(sequence).all():
            bad = int(np.argmin(np.isfinite(sequence).reshape(len(sequence), -1).all(1)))
            damage.append(f"{file}: NaN or infinity, first in frame {bad}")
    return len(sequences[0]), tuple(f"{sequence.dtype} {list(sequence.shape[1:])}" for sequence in sequences), damage
