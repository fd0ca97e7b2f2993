"""Who trains, who validates and who is tested."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaitext.errors import DataError
from gaitext.extraction.prepare.poses.frames import read_source
from gaitext.extraction.prepare.poses.psymo import PEOPLE
from gaitext.store import read_partition, write_partition

#: gaitext's own, see the file.
PSYMO_SPLIT = Path(__file__).parent.parent / "data" / "psymo_split.json"

#: What a set is called -> which it is.
_SETS = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}
_SUBJECT = ("subject", "subject_id", "id", "identity", "person", "label")
_SPLIT = ("split", "set", "partition", "fold", "subset")


@dataclass(frozen=True)
class Split:
    """Three sets of identities, and what else a partition file held (Gait3D's PROBE_SET)."""

    train: list[str]
    test: list[str]
    val: list[str] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)

    def write(self, out: Path) -> None:
        """Write ``partition.json`` and, where people validate, ``partition_val.json``, which tests on them.

        Both toolboxes read TRAIN_SET and TEST_SET and pass over other keys, VAL_SET among them.
        """
        val = {"VAL_SET": self.val} if self.val else {}
        write_partition(out / "partition.json", self.train, self.test, **val, **self.others)
        if self.val:
            write_partition(out / "partition_val.json", self.train, self.val)


def psymo_identity(name: str) -> str:
    """PsyMo's identity, padded as in the tree; ValueError where PsyMo has none of this name."""
    if not (name.isascii() and name.isdigit() and int(name) < len(PEOPLE)):
        raise ValueError(f"PsyMo has nobody called '{name}': its people are 0 to {len(PEOPLE) - 1}")
    return PEOPLE[int(name)]


def toolbox_split(path: Path) -> Split:
    """A toolbox's partition json, as it is."""
    train, test = read_partition(path)
    loaded = _json(path)
    others = {key: value for key, value in loaded.items() if key not in ("TRAIN_SET", "TEST_SET", "VAL_SET")}
    return Split(train, test, [str(one) for one in loaded.get("VAL_SET", [])], others)


def read_split(path: Path, identity: Callable[[str], str] = str) -> Split:
    """A split, as somebody may have it.

    - json ``{"TRAIN_SET": [...], "TEST_SET": [...], "VAL_SET": [...]}``, or with the keys ``train``,
      ``test`` and ``val``; without validation where there is none. Other keys are passed over.
    - csv or text of two columns, identity and set, with commas, semicolons, tabs or spaces between.
      A first row that names columns (``subject``, ``id`` …; ``split``, ``set`` …) says which they
      are among others.

    Args:
        identity: gives each name its form in the tree; raises ValueError for nobody's.

    Raises:
        DataError: it is none of these, a set is empty, or somebody is in it twice.
    """
    if path.suffix.lower() == ".json":
        return _split(_lists(_json(path), path), path, identity)
    return _split(_table(path), path, identity)


def _json(path: Path) -> Any:
    try:
        return json.loads(read_source(path))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"is no json ({error})", where=path) from error


def _lists(loaded: Any, path: Path) -> dict[str, list[str]]:
    if not isinstance(loaded, dict):
        raise DataError("holds no object with train and test", where=path)
    sets: dict[str, list[str]] = {}
    for key, value in loaded.items():
        name = _SETS.get(str(key).lower())
        if name is None:
            continue
        if name in sets:
            raise DataError(f"names two sets for {name}", where=path)
        if not isinstance(value, list) or any(type(one) not in (str, int) for one in value):
            raise DataError(f'"{key}" is no list of identities', where=path)
        sets[name] = [str(one) for one in value]
    return sets


def _table(path: Path) -> dict[str, list[str]]:
    try:
        text = read_source(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError("is no text", where=path) from error
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    mark = next((mark for mark in ",;\t" if lines and mark in lines[0]), None)
    rows = [re.split(r"\s+", line) for line in lines] if mark is None else list(csv.reader(lines, delimiter=mark))
    who, which, start = _columns(rows, path)
    sets: dict[str, list[str]] = {}
    for number, row in enumerate(rows[start:], start + 1):
        try:
            person, name = row[who].strip(), row[which].strip()
            sets.setdefault(_SETS[name.lower()], []).append(person)
        except LookupError:
            raise DataError(
                f"row {number} ({' '.join(row)[:40]}) is no identity and one of train, val and test", where=path
            ) from None
    return sets


def _columns(rows: list[list[str]], path: Path) -> tuple[int, int, int]:
    """Which column is the identity, which the set, and which row is the first."""
    if not rows:
        raise DataError("is empty", where=path)
    head = [cell.strip().lower() for cell in rows[0]]
    who, which = (next((head.index(name) for name in names if name in head), None) for names in (_SUBJECT, _SPLIT))
    if who is not None and which is not None:
        return who, which, 1
    if len(head) == 2 and head[1] in _SETS:
        return 0, 1, 0
    raise DataError(
        f"its first row ({', '.join(rows[0])[:60]}) names no columns 'subject' and 'split', and is no identity and set",
        where=path,
    )


def _split(sets: dict[str, list[str]], path: Path, identity: Callable[[str], str]) -> Split:
    for name in ("train", "test"):
        if not sets.get(name):
            raise DataError(f"names nobody to {name}", where=path)
    named: dict[str, list[str]] = {}
    for name, people in sets.items():
        try:
            named[name] = [identity(person) for person in people]
        except ValueError as error:
            raise DataError(str(error), where=path) from error
    _refuse_twice([one for people in named.values() for one in people], path)
    return Split(named["train"], named["test"], named.get("val", []))


def _refuse_twice(people: Collection[str], path: Path) -> None:
    twice = sorted(one for one, count in Counter(people).items() if count > 1)
    if twice:
        raise DataError(
            f"names {twice[0]} more than once" + (f", and {len(twice) - 1} others" if len(twice) > 1 else ""),
            where=path,
            how="name each identity once, in one set",
        )
