"""What a dataset holds, without reading most of it."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gaitext.errors import DataError
from gaitext.inspect.contents import form_of, guess_kind, inspect_file
from gaitext.inspect.dataset_contents import DatasetContents, FileGroup, TypeRow
from gaitext.inspect.listing import Listed, SizeRule, folders, list_leaves, spread, together
from gaitext.making import Entry, Records
from gaitext.store import CompactSequence, open_sequence, read_partition

__all__ = ["inspect_dataset"]

#: Leaves whose files are opened to see what files of their names are.
_OPENED = 12
#: Leaves whose poses are read for scores, and leaves whose length is read where sizes do not tell.
_SCORED, _MEASURED = 300, 2000


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
    every = list_leaves(root, within)
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
        for kind in within[1:2] or folders(records.folder / identity):
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
    for name, entry in together(read, list(within[:1]) or folders(records.folder)):
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


def _kind(leaf: Listed, name: str) -> str:
    """A file's name as other leaves have it: OpenGait's silhouettes are called after their view."""
    return "<view>.pkl" if name == f"{leaf.view}.pkl" else name


def _groups(listed: Sequence[Listed], contents: DatasetContents) -> dict[str, SizeRule]:
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
            said = [f"lacks {', '.join(sorted(lacks))}"] if lacks else []
            contents.odd[leaf.name] = "; ".join(said + ([f"also has {', '.join(sorted(more))}"] if more else []))
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
    listed: Sequence[Listed], rules: dict[str, SizeRule], kept: dict[str, int], contents: DatasetContents
) -> np.ndarray:
    """Frames of each leaf [N]; leaves whose files differ in length are noted."""
    lengths = np.zeros(len(listed), np.int64)
    unknown = []
    for i, leaf in enumerate(listed):
        ruled = {name: rules.get(_kind(leaf, name)) for name, _ in leaf.files}
        told = {name: count for name, size in leaf.files if (rule := ruled[name]) and (count := rule.frames(size))}
        if len(set(told.values())) > 1:
            said = ", ".join(f"{name} {count}" for name, count in told.items())
            contents.odd.setdefault(leaf.name, f"files of different lengths: {said}")
        for name, size in leaf.files:
            if ruled[name] and name not in told and not _is_compact(Path(leaf.path, name)):
                contents.odd.setdefault(leaf.name, f"{name}: its size of {size} bytes is that of no whole frames")
        count = next(iter(told.values()), 0)
        if told and kept.get(leaf.name, count) != count:
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


def _scores(listed: Sequence[Listed], contents: DatasetContents) -> dict[str, list[float]]:
    """Mean scores of some sequences by type, from the smallest file of poses; a histogram of their frames."""
    poses = {group.name for group in contents.groups if group.kind == "poses"}
    means: dict[str, list[float]] = defaultdict(list)
    frames: list[float] = []
    for i in spread(len(listed), _SCORED):
        leaf = listed[i]
        told = [file for file in leaf.files if _kind(leaf, file[0]) in poses]
        name = min(told, key=lambda file: file[1], default=("", 0))[0]
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
