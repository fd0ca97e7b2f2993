"""What a dataset holds, without reading most of it: names and sizes of all files, the contents of some."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gaitext.errors import DataError
from gaitext.inspect.contents import amount, form_of, guess_kind, inspect_file, spread
from gaitext.making import Entry, Records
from gaitext.store import CompactSequence, open_sequence, read_partition

Item = TypeVar("Item")

_THREADS = 8
#: Leaves whose files are opened to see what files of their names are.
_OPENED = 12
#: Leaves whose poses are read for scores, and leaves whose length is read where sizes do not tell.
_SCORED, _MEASURED = 300, 2000
#: As many of a kind of trouble are named.
_NAMED = 10
_BARS = " ▁▂▃▄▅▆▇█"
#: As many types have a row of their own.
_ROWS = 40

#: Frames of fewer bytes could be taken for a few bytes more of a pickle's head.
_LEAST = 128
#: By how many bytes heads of pickles of one kind differ at most: long numbers take more.
_SLACK = 24


@dataclass(frozen=True)
class LeafFiles:
    """One leaf: ``files`` are name and bytes, in the toolboxes' order."""

    identity: str
    type: str
    view: str
    path: str
    files: tuple[tuple[str, int], ...]

    @property
    def name(self) -> str:
        return f"{self.identity}/{self.type}/{self.view}"

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files)


def _list_leaves(root: str | Path, within: tuple[str, ...] = ()) -> list[LeafFiles]:
    """All leaves of ``<root>/<id>/<type>/<view>``, or of one id (and type), sorted, without reading any file."""
    try:
        identities = list(within[:1]) or _folders(root)
        return _in_threads(
            lambda identity: _list_identity(os.path.join(root, identity), identity, within[1:2]), identities
        )
    except OSError as error:
        raise DataError(f"cannot be listed ({error.strerror})", where=error.filename or root) from error


def _list_identity(folder: str, identity: str, kinds: tuple[str, ...]) -> list[LeafFiles]:
    found = []
    for kind in kinds or _folders(folder):
        above = os.path.join(folder, kind)
        for view in _folders(above):
            path = os.path.join(above, view)
            with os.scandir(path) as entries:
                files = sorted(
                    (sys.intern(entry.name), entry.stat().st_size)
                    for entry in entries
                    if entry.name.endswith(".pkl") and not entry.name.startswith(".")
                )
            found.append(LeafFiles(identity, sys.intern(kind), sys.intern(view), path, tuple(files)))
    return found


def _folders(path: str | Path) -> list[str]:
    """Names of the folders in a folder that are not hidden, sorted."""
    with os.scandir(path) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _in_threads(work: Callable[[str], list[Item]], names: Sequence[str]) -> list[Item]:
    """What ``work`` returns for each name, one after the other; file systems far away are asked at once."""
    with ThreadPoolExecutor(_THREADS) as pool:
        return [item for items in pool.map(work, names) for item in items]


@dataclass(frozen=True)
class SizeRule:
    """How many frames a plain pickle of a known kind holds, by its size.

    ``size = head + frames · bytes_per_frame``, where the head differs by some bytes at most.
    """

    bytes_per_frame: int
    head: int

    @classmethod
    def of(cls, files: Iterable[tuple[Path, int]]) -> SizeRule | None:
        """Learn the rule from some files and their sizes; None if they follow none."""
        heads, frame_bytes = [], set()
        for path, size in files:
            try:
                sequence = open_sequence(path)
            except DataError:
                continue
            if isinstance(sequence, CompactSequence):
                continue
            frame_bytes.add(sequence.nbytes // len(sequence))
            heads.append(size - sequence.nbytes)
        if len(frame_bytes) != 1 or max(heads) - min(heads) > _SLACK:
            return None
        (each,) = frame_bytes
        return cls(each, min(heads)) if each >= _LEAST else None

    def frames(self, size: int) -> int | None:
        """Frames in a file of this size; None if it cannot be such a file."""
        count, rest = divmod(size - self.head + _SLACK, self.bytes_per_frame)
        return count if count > 0 and rest <= 2 * _SLACK else None


@dataclass
class FileGroup:
    """All files of one name: how many, their bytes, and what some of them are."""

    name: str
    files: int
    bytes: int
    kind: str = "unreadable"
    forms: dict[str, int] = field(default_factory=dict)
    frame: str = ""
    opened: int = 0


@dataclass
class TypeRow:
    """All sequences of one type; ``score`` is None where no poses were read."""

    type: str
    sequences: int
    frames: int
    median: float
    bytes: int
    score: float | None = None


@dataclass
class DatasetContents:
    """What a dataset holds.

    Attributes:
        root: the folder of ``<id>/<type>/<view>``, or what was looked at of it.
        frames, lengths: of all sequences; lengths are the least, the median and the greatest.
        estimated: sequences whose length was not read and is not told by sizes: taken to be usual.
        groups: by file name.
        types: a row for each type.
        odd: leaf -> what is wrong with it, as far as names and sizes show.
        histogram: of the frames' mean scores, ten bins from 0 to 1, of ``scored`` leaves.
        records: leaves that have a record of their extraction.
        skipped: leaf -> why it was not written; failed: source or leaf -> why.
        partition: identities for training, for testing, and in neither.
    """

    root: Path
    identities: int
    views: int
    sequences: int
    bytes: int
    frames: int = 0
    lengths: tuple[int, float, int] = (0, 0.0, 0)
    estimated: int = 0
    groups: list[FileGroup] = field(default_factory=list)
    types: list[TypeRow] = field(default_factory=list)
    odd: dict[str, str] = field(default_factory=dict)
    histogram: list[int] = field(default_factory=list)
    scored: int = 0
    mean_score: float | None = None
    records: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    partition: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Numbers and text only; what is unknown is None."""
        values = {name: value for name, value in vars(self).items() if name not in ("groups", "types")}
        return values | {
            "root": str(self.root),
            "lengths": dict(zip(("min", "median", "max"), self.lengths)),
            "files": [vars(group) for group in self.groups],
            "types": [vars(row) for row in self.types],
        }

    def __str__(self) -> str:
        """Some lines for people."""
        least, median, most = self.lengths
        about = f" (of {self.estimated} sequences the length is estimated)" if self.estimated else ""
        lines = [
            f"{self.root}: {self.sequences} sequences of {self.identities} identities, "
            f"{len(self.types)} types, {self.views} views",
            f"{self.frames} frames{about}, {least} to {most} a sequence, median {median:g}",
            f"{amount(self.bytes)}, {amount(self.bytes / max(self.frames, 1))} a frame",
        ]
        if self.partition:
            lines.append("partition: " + ", ".join(f"{count} {name}" for name, count in self.partition.items()))
        lines += _table(
            ("file", "kind", "form", "frame", "files", "bytes"),
            [
                (group.name, group.kind, ", ".join(group.forms), group.frame, str(group.files), amount(group.bytes))
                for group in self.groups
            ],
        )
        opened = min((group.opened for group in self.groups), default=0)
        if opened < self.sequences:
            lines.append(f"(kind, form and frame: of {opened} files of each name that were opened)")
        rows = [
            (
                row.type,
                str(row.sequences),
                str(row.frames),
                f"{row.median:g}",
                amount(row.bytes),
                "–" if row.score is None else f"{row.score:.2f}",
            )
            for row in self.types
        ]
        lines += _table(("type", "sequences", "frames", "median", "bytes", "score"), rows[:_ROWS])
        if len(rows) > _ROWS:
            lines.append(f"… and {len(rows) - _ROWS} types more")
        if self.mean_score is not None:
            top = max(self.histogram)
            bars = "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in self.histogram)
            lines.append(f"scores of frames 0 |{bars}| 1, mean {self.mean_score:.2f} (of {self.scored} sequences)")
        if self.records:
            lines.append(f"{self.records} sequences have a record of their extraction")
        for trouble, listed in (("inconsistent", self.odd), ("skipped", self.skipped), ("failed", self.failed)):
            if listed:
                lines.append(f"{trouble}: {len(listed)}")
                lines += [f"  {name}: {why}" for name, why in list(listed.items())[:_NAMED]]
                lines += [f"  … and {len(listed) - _NAMED} more"] if len(listed) > _NAMED else []
        return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows under a head, in columns; numbers to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    right = [all(row[i][:1].isdigit() or row[i] == "–" for row in rows) for i in range(len(head))]
    right[0] = False
    lines = []
    for row in (head, *rows):
        cells = (cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right))
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def inspect_dataset(root: str | Path, *, within: tuple[str, ...] = (), out: Path | None = None) -> DatasetContents:
    """Say what a dataset holds.

    All folders are listed, and all records are read; of the sequences some are opened, spread
    evenly. A plain file's length follows from its size, as all of a name have frames of one size.

    Args:
        root: the folder of ``<id>/<type>/<view>``.
        within: only the folder of this id (and type).
        out: the folder of records, partition and manifest; default: the parent of ``root``.

    Raises:
        DataError: no sequence in it, or a damaged manifest.
    """
    root = Path(root)
    out = root.absolute().parent if out is None else out
    every = _list_leaves(root, within)
    listed = [leaf for leaf in every if leaf.files]
    if not listed:
        raise DataError(
            "holds no sequences", where=root.joinpath(*within), how="give OUT, or the root of <id>/<type>/<view>/*.pkl"
        )
    contents = DatasetContents(
        root.joinpath(*within),
        len({leaf.identity for leaf in listed}),
        len({leaf.view for leaf in listed}),
        len(listed),
        sum(leaf.bytes for leaf in listed),
    )
    contents.odd = {leaf.name: "has no .pkl" for leaf in every if not leaf.files}
    kept = _records(out, within, contents, {leaf.name for leaf in listed})
    contents.failed = _failed(out / "manifest.json")
    contents.partition = _partition(out / "partition.json", {leaf.identity for leaf in listed})
    rules = _groups(listed, contents)
    lengths = _lengths(listed, rules, kept, contents)
    contents.frames = int(lengths.sum())
    contents.lengths = int(lengths.min()), float(np.median(lengths)), int(lengths.max())
    scores = _scores(listed, contents)
    by_type: dict[str, list[int]] = defaultdict(list)
    for i, leaf in enumerate(listed):
        by_type[leaf.type].append(i)
    contents.types = [
        TypeRow(
            name,
            len(members),
            int(lengths[members].sum()),
            float(np.median(lengths[members])),
            sum(listed[i].bytes for i in members),
            float(np.mean(scores[name])) if scores.get(name) else None,
        )
        for name, members in sorted(by_type.items())
    ]
    return contents


def _records(out: Path, within: tuple[str, ...], contents: DatasetContents, present: set[str]) -> dict[str, int]:
    """Frames of each leaf by its record; skipped ones go into ``contents``."""
    records = Records(out)

    def read(identity: str) -> list[tuple[str, Entry | None]]:
        found: list[tuple[str, Entry | None]] = []
        for kind in within[1:2] or _folders(records.folder / identity):
            above = f"{identity}/{kind}"
            for file in sorted(os.listdir(records.folder / above)):
                if file.startswith(".") or not file.endswith(".json"):
                    continue
                try:
                    found.append((f"{above}/{file[:-5]}", records.get(f"{above}/{file[:-5]}")))
                except DataError:
                    found.append((f"{above}/{file[:-5]}", None))
        return found

    kept: dict[str, int] = {}
    if not records.folder.joinpath(*within).is_dir():
        return kept
    for name, entry in _in_threads(read, list(within[:1]) or _folders(records.folder)):
        if entry is None or not isinstance(entry.get("kept"), int):
            contents.odd[name] = f"has a damaged record: {records.folder / name}.json"
            continue
        contents.records += 1
        if entry.get("skipped"):
            contents.skipped[name] = str(entry["skipped"])
        elif name in present:
            kept[name] = entry["kept"]
        else:
            contents.odd[name] = "has a record, but no sequence"
    return kept


def _failed(path: Path) -> dict[str, str]:
    try:
        failed = json.loads(path.read_text(encoding="utf-8")).get("failed", {})
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"is not readable ({error})", where=path, how="restore or delete it") from error
    pairs = failed.items() if isinstance(failed, dict) else ((f"{i}", one) for i, one in enumerate(failed, 1))
    return {str(name): why if isinstance(why, str) else json.dumps(why) for name, why in pairs}


def _partition(path: Path, identities: set[str]) -> dict[str, int]:
    if not path.is_file():
        return {}
    train, test = (set(names) & identities for names in read_partition(path))
    return {"in training": len(train), "in test": len(test), "in neither": len(identities - train - test)}


def _kind(leaf: LeafFiles, name: str) -> str:
    """A file's name as other leaves have it: OpenGait's silhouettes are called after their view."""
    return "<view>.pkl" if name == f"{leaf.view}.pkl" else name


def _groups(listed: Sequence[LeafFiles], contents: DatasetContents) -> dict[str, SizeRule]:
    """Open some files of each name; returns how sizes tell lengths, and finds leaves that differ."""
    sets = Counter(tuple(_kind(leaf, name) for name, _ in leaf.files) for leaf in listed)
    usual = sets.most_common(1)[0][0]
    members: dict[str, list[tuple[Path, int]]] = defaultdict(list)
    for leaf in listed:
        names = tuple(_kind(leaf, name) for name, _ in leaf.files)
        for name, size in leaf.files:
            members[_kind(leaf, name)].append((Path(leaf.path, name), size))
        if names != usual:
            lacks, more = set(usual) - set(names), set(names) - set(usual)
            differences = [f"lacks {', '.join(sorted(lacks))}"] if lacks else []
            contents.odd[leaf.name] = "; ".join(differences + ([f"also has {', '.join(sorted(more))}"] if more else []))
    rules = {}
    for name, files in sorted(members.items()):
        group = FileGroup(name, len(files), sum(size for _, size in files))
        chosen = [files[i] for i in spread(len(files), _OPENED)]
        forms: Counter[str] = Counter()
        for path, _ in chosen:
            try:
                sequence = open_sequence(path)
            except DataError as error:
                contents.odd.setdefault("/".join(path.parts[-4:-1]), f"{path.name}: {error.what}")
                continue
            group.kind = guess_kind(name, sequence.shape, sequence.dtype)
            group.frame = f"{sequence.dtype} {list(sequence.shape[1:])}"
            forms[form_of(sequence)] += 1
        group.forms, group.opened = dict(forms.most_common()), len(chosen)
        contents.groups.append(group)
        rule = SizeRule.of(chosen)
        if rule is not None:
            rules[name] = rule
    return rules


def _lengths(
    listed: Sequence[LeafFiles], rules: dict[str, SizeRule], kept: dict[str, int], contents: DatasetContents
) -> np.ndarray:
    """Frames of each leaf [N]; leaves whose files differ in length are noted."""
    lengths = np.zeros(len(listed), np.int64)
    unknown = []
    for i, leaf in enumerate(listed):
        ruled = {name: rules.get(_kind(leaf, name)) for name, _ in leaf.files}
        counts = {name: count for name, size in leaf.files if (rule := ruled[name]) and (count := rule.frames(size))}
        if len(set(counts.values())) > 1:
            text = ", ".join(f"{name} {count}" for name, count in counts.items())
            contents.odd.setdefault(leaf.name, f"files of different lengths: {text}")
        for name, size in leaf.files:
            if ruled[name] and name not in counts and not _is_compact(Path(leaf.path, name)):
                contents.odd.setdefault(leaf.name, f"{name}: its size of {size} bytes is that of no whole frames")
        count = next(iter(counts.values()), 0)
        if counts and kept.get(leaf.name, count) != count:
            contents.odd.setdefault(leaf.name, f"{count} frames, its record says {kept[leaf.name]}")
        lengths[i] = count or kept.get(leaf.name, 0)
        if not lengths[i]:
            unknown.append(i)
    for i in (unknown[j] for j in spread(len(unknown), _MEASURED)):
        name, _ = min(listed[i].files, key=lambda file: file[1])
        try:
            lengths[i] = len(open_sequence(Path(listed[i].path, name)))
        except DataError as error:
            contents.odd.setdefault(listed[i].name, f"{name}: {error.what}")
    rest = lengths == 0
    if rest.any():
        contents.estimated = int(rest.sum())
        lengths[rest] = int(np.median(lengths[~rest])) if (~rest).any() else 0
    return lengths


def _is_compact(path: Path) -> bool:
    try:
        return isinstance(open_sequence(path), CompactSequence)
    except DataError:
        return False


def _scores(listed: Sequence[LeafFiles], contents: DatasetContents) -> dict[str, list[float]]:
    """Mean scores of some sequences by type, from the smallest file of poses; a histogram of their frames."""
    poses = {group.name for group in contents.groups if group.kind == "poses"}
    means: dict[str, list[float]] = defaultdict(list)
    frames: list[float] = []
    for i in spread(len(listed), _SCORED):
        leaf = listed[i]
        files = [file for file in leaf.files if _kind(leaf, file[0]) in poses]
        name = min(files, key=lambda file: file[1], default=("", 0))[0]
        try:
            scores = inspect_file(Path(leaf.path, name)).scores if name else []
        except DataError:
            continue
        if scores:
            means[leaf.type].append(float(np.mean(scores)))
            frames += scores
            contents.scored += 1
    if frames:
        contents.histogram = np.histogram(np.clip(frames, 0, 1), 10, (0, 1))[0].tolist()
        contents.mean_score = float(np.mean(frames))
    return means
