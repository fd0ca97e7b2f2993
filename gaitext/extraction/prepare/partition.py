"""Who of a dataset trains and who is tested: named, drawn by a share, or listed in a file."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import ConfigError, DataError, nearest
from gaitext.extraction.prepare.poses.frames import read_source
from gaitext.extraction.prepare.poses.split import read_split
from gaitext.store import draw_partition, leaves_of_people, read_partition, write_partition

_NAMED = 5


@dataclass(frozen=True)
class Partitioned:
    """What :func:`partition_dataset` wrote.

    Attributes:
        path: the partition json.
        root: the dataset's root.
        train, test: identities of both sets, sorted.
        neither: identities of the dataset in neither set.
        sequences: how many sequences the sets have, train and test.
        written: whether the file was written now; it may have been there, just so.
    """

    path: Path
    root: Path
    train: list[str]
    test: list[str]
    neither: list[str]
    sequences: tuple[int, int]
    written: bool

    def __str__(self) -> str:
        """A few lines for people."""
        lines = [
            f"{len(self.train)} people train ({self.sequences[0]} sequences), "
            f"{len(self.test)} are tested ({self.sequences[1]} sequences): {_few(self.test)}"
        ]
        if self.neither:
            lines.append(f"{len(self.neither)} people are in neither set: {_few(self.neither)}")
        if len(self.test) == 1:
            lines.append("Note: one person is tested, who can be mistaken for nobody: a test needs two at least")
        if len(self.train) == 1:
            lines.append("Note: one person trains: learning to tell people apart needs two at least")
        return "\n".join(lines)


def partition_dataset(
    data: str | Path,
    *,
    test: Sequence[str] | None = None,
    share: float | None = None,
    file: str | Path | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Partitioned:
    """Write ``partition.json`` beside a dataset's folder ``sequences``.

    Args:
        data: what `gaitext extract` or `prepare` wrote to, or the root of ``<id>/<type>/<view>``.
        test: identities that are tested; all others train.
        share: of the people that are tested, drawn by ``seed``: at least one, and not all.
        file: a json, csv or text that says who is in which set (:func:`~gaitext.extraction.prepare.poses.split.
            read_split`), or a text that names those who are tested, one a line.
        seed: of the draw.
        out: another place for the json.
        overwrite: replace a partition that has other sets.

    Raises:
        ConfigError: not one of ``test``, ``share`` and ``file``, or no such share.
        DataError: no dataset, people that it does not have (named, with the nearest that it has), a set without
            anybody, a wrong file, or another partition in the place.
    """
    given = {"--test": test, "--share": share, "--file": file}
    chosen = [option for option, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise ConfigError(
            f"{' and '.join(chosen) or 'nothing'} is given to choose people by",
            where="partition",
            how="give one of --test ID,ID,…, --share 0.3 and --file LIST",
        )
    root, found = leaves_of_people(data)
    if not found:
        raise DataError("holds no sequences", where=root, how="give OUT, or the root of <id>/<type>/<view>/*.pkl")
    people = sorted(found)
    if share is not None:
        if not 0 < share < 1:
            raise ConfigError(f"a share of {share:g} is not between 0 and 1", where="--share")
        training, tested = draw_partition(people, 1 - share, seed, option="--share")
    elif file is not None:
        training, tested = _listed(Path(file), people)
    else:
        tested = _unique(test or ())
        training = [one for one in people if one not in set(tested)]
    where = file if file is not None else "--test"
    _refuse_unknown([*tested, *training], people, where)
    for name, members in (("train", training), ("be tested", tested)):
        if not members:
            raise DataError(f"nobody is left to {name}", where=where, how=f"the data's people are {_few(people)}")
    path = root.absolute().parent / "partition.json" if out is None else Path(out)
    sets = sorted(training), sorted(tested)
    written = _put(path, *sets, overwrite=overwrite)
    neither = sorted(set(people) - {*training, *tested})
    sequences = sum(len(found[one]) for one in training), sum(len(found[one]) for one in tested)
    return Partitioned(path, root, *sets, neither, sequences, written)


def _listed(file: Path, people: Sequence[str]) -> tuple[list[str], list[str]]:
    """Both sets, of a file that has both, or that names those who are tested."""
    if file.suffix.lower() != ".json":
        try:
            lines = [line.strip() for line in read_source(file).decode("utf-8-sig").splitlines()]
        except UnicodeDecodeError as error:
            raise DataError("is no text", where=file) from error
        names = [line for line in lines if line and not line.startswith("#")]
        if not any(mark in name for name in names for mark in ",;\t "):
            tested = _unique(names)
            return [one for one in people if one not in set(tested)], tested
    split = read_split(file)
    return split.train, split.test


def _unique(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names if name.strip()))


def _refuse_unknown(names: Sequence[str], people: Collection[str], where: object) -> None:
    unknown = [name for name in names if name not in set(people)]
    if not unknown:
        return
    meant = {name: guess for name in unknown[:_NAMED] if (guess := _nearest(name, people))}
    hints = [f"did you mean {', '.join(meant.values())}?"] if meant else []
    raise DataError(
        f"the data have nobody called {_few(unknown)}",
        where=where,
        how="; ".join([*hints, f"their people are {_few(sorted(people))}"]),
    )


def _nearest(name: str, people: Collection[str]) -> str | None:
    """Who is likely meant: the same number with other zeros, or the nearest name."""
    if name.isdecimal():
        same = [one for one in people if one.isdecimal() and int(one) == int(name)]
        if same:
            return same[0]
    return nearest(name, people)


def _put(path: Path, train: list[str], test: list[str], *, overwrite: bool) -> bool:
    """Write the partition, unless it stands just so; whether it was written."""
    if path.exists() and not overwrite:
        how = "give --overwrite to replace it (tests on other people cannot be compared), or --out another place"
        try:
            there = tuple(map(sorted, read_partition(path)))
        except DataError as error:
            raise DataError("is there already, and is no partition", where=path, how=how) from error
        plain = json.loads(path.read_text(encoding="utf-8")).keys() == {"TRAIN_SET", "TEST_SET"}
        if plain and there == (train, test):
            return False
        raise DataError(
            f"is there already, with other sets: {len(there[0])} train, {len(there[1])} are tested",
            where=path,
            how=how,
        )
    write_partition(path, train, test)
    return True


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
