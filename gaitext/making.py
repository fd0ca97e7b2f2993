"""The workshop: every command that works through many items is a recipe on it.

A :class:`Recipe` says what an item's result is called and how it is made; :class:`Recorded` also says what
decides the result, so that what stands need not be made again. :func:`make_all` does the rest: it shares the
items among workers, resumes, lets several commands work on one job, shows progress, and reports.

Where every result comes from is recorded in one small file each, ``OUT/records/<id>/<type>/<view>.json``,
written when the outcome is known. Each is replaced as a whole, so that any number of processes and machines
may write to one folder, and 100,000 sequences cost no more each than ten. When a command ends they are
collected in ``OUT/manifest.json``, for people and other programs; gaitext itself reads the records.
"""

from __future__ import annotations

import json
import tempfile
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, Union

import numpy as np
import numpy.typing as npt

import gaitext
from gaitext.errors import DataError, GaitextError, also, describe_failures
from gaitext.execution import Engine, Outcome, Shard, map_sequences, parse_engine, raise_failures
from gaitext.execution import progress as progress_bar
from gaitext.store import (
    clear_all_temporaries,
    clear_temporaries,
    is_unused,
    locked,
    locked_item,
    only_one,
    write_json,
)

#: What a record says.
Entry = dict[str, Any]
#: Called with (steps done, steps in all or None) while one item is made.
Progress = Callable[[int, Union[int, None]], None]


class Work(TypedDict, total=False):
    """How items are worked through: the keyword arguments of every function that makes many.

    Attributes:
        resume: keep what stands with the same settings; False makes everything again.
        workers, engine, shard: see :func:`gaitext.execution.map_sequences`.
        quiet: no progress bar.
        progress: told of the steps of a single item that is made in this process, in place of a bar.
    """

    resume: bool
    workers: int
    engine: str | Engine
    shard: str | Shard | None
    quiet: bool
    progress: Progress | None


@dataclass
class Report:
    """What became of items: of one, or of all.

    Recipes add fields of their own, which :meth:`add` sums up by their kind, and say in ``__str__`` what
    people are to read of them.

    Attributes:
        failed: name -> the error that stopped it, as people read it; ``errors``: the error itself.
        seconds: wall time.
        label: what the items are called; ``listed``: the file that names everything, where one was written.
        outcomes: name and outcome of every item, in their order; of the report of a whole job.
    """

    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    outcomes: list[Outcome[str, Any]] = field(default_factory=list, repr=False, compare=False)
    errors: dict[str, BaseException] = field(default_factory=dict, repr=False, compare=False)
    label: str = field(default="items", repr=False, compare=False)
    listed: Path | None = field(default=None, repr=False, compare=False)

    def fail(self, name: str, error: BaseException) -> None:
        """Take down an item's failure."""
        known = isinstance(error, GaitextError)
        self.failed[name] = str(error) if known else f"{type(error).__name__}: {error}"
        self.errors[name] = error

    def add(self, other: Report) -> None:
        """Take in another report of the same recipe: lists are joined, counts added up.

        Fields of any other kind (a path, say) stay as they are, but for those that have an ``add`` themselves.
        """
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter) or hasattr(mine, "add"):
                (mine.update if isinstance(mine, Counter) else mine.add)(theirs)
            elif isinstance(mine, dict):
                mine.update(theirs)
            elif isinstance(mine, (list, int, float)) and not isinstance(mine, bool):
                setattr(self, each.name, mine + theirs)

    def raise_failures(self, what: str = "sequences") -> None:
        """Raise one error that names all items that failed, if any; see :func:`gaitext.execution.raise_failures`."""
        raise_failures(self.outcomes, what)

    def failures(self) -> list[str]:
        """Each kind of failure once: :func:`gaitext.errors.describe_failures`."""
        errors = {name: self.errors.get(name) or DataError(why) for name, why in self.failed.items()}
        return describe_failures(errors, self.label, title="FAILED: ", all_in=self.listed)

    def several(self, what: str, names: Mapping[str, str], *, all_in: Path | None = None) -> list[str]:
        """Lines on what became of some, alike for all: name -> how it came to that; "" where there is no more to say.

        Args:
            what: of them.
            all_in: the file that holds all of them; without one every name is listed.
        """
        if not names:
            return []
        first, *others = names
        said = f"{first}: {names[first]}" if names[first] else first
        return [f"{what}: {said}" if not others else f"{what}: {len(names)}, such as {said}", *also(others, all_in)]


Item = TypeVar("Item")
Made = TypeVar("Made", bound=Report)


class Recipe(ABC, Generic[Item, Made]):
    """What is made of items, and how. Picklable: each worker has a copy.

    Attributes:
        out: the folder that results go to.
        report: what :meth:`make` returns, empty.
        label: shown before the bar that counts items; ``steps``: before the one that counts a lone item's,
            "" where an item has no steps.
        shared: several commands may work on the job at once; of them one makes an item, and the others find
            it made. Otherwise whoever calls :func:`make_all` has made sure that nobody else works in ``out``.
        manifest: collect the records of ``out`` when the job ends, unless it is one shard of several.
    """

    out: Path
    report: Callable[[], Made]
    label = "items"
    steps = "steps"
    shared = True
    manifest = True

    @abstractmethod
    def name(self, item: Item) -> str:
        """What an item is called in the report."""

    @abstractmethod
    def make(self, item: Item, resume: bool, progress: Progress | None) -> Made:
        """Make what is to be made of an item, whole or not at all; say what became of it.

        What it raises is reported as the item's failure, and stops no other.
        """

    def load(self, pool: bool) -> None:
        """Load what all items need; called once in each worker before its first item.

        Args:
            pool: this process is one of several on this machine.
        """

    def conclude(self, report: Made) -> None:
        """Collect the records."""
        Records(self.out).write_manifest(report.failed)


def make_all(
    recipe: Recipe[Item, Made],
    items: Iterable[Item],
    *,
    resume: bool = True,
    workers: int = 0,
    engine: str | Engine = "local",
    shard: str | Shard | None = None,
    quiet: bool = False,
    progress: Progress | None = None,
    on_outcome: Callable[[Outcome[Item, Made]], None] | None = None,
) -> Made:
    """Make every item, and report what became of all of them.

    Args:
        recipe: how.
        items: of what; in the same order in all shards of a job.
        resume, workers, engine, shard, quiet, progress: see :class:`Work`.
        on_outcome: told of each outcome in this process, as soon as it is known.

    Raises:
        ConfigError: wrong engine or shard.
        DataError: the output folder cannot be written to.
        MissingDependencyError: what the engine needs is missing.
    """
    started, items = time.perf_counter(), list(items)
    if recipe.shared:
        claim(recipe.out)
    alone = len(items) == 1 and bool(recipe.steps)
    here = alone and workers == 0 and parse_engine(engine).kind == "local"
    with progress_bar(recipe.steps, None, quiet=quiet or not here or progress is not None) as update:
        outcomes = map_sequences(
            partial(_make, recipe, resume, (progress or update) if here else None),
            items,
            workers=workers,
            engine=engine,
            shard=shard,
            initialise=recipe.load,
            initialise_arguments=(workers > 0,),
            label=recipe.label,
            quiet=quiet or alone,
            on_outcome=on_outcome,
        )
    report = recipe.report()
    for outcome in outcomes:
        if outcome.result is not None:
            report.add(outcome.result)
        elif outcome.error is not None:
            report.fail(recipe.name(outcome.item), outcome.error)
    report.outcomes = [Outcome(recipe.name(o.item), o.result, o.error) for o in outcomes]
    report.seconds = time.perf_counter() - started
    report.label = recipe.label
    if recipe.manifest and shard is None:
        recipe.conclude(report)
        report.listed = recipe.out / "manifest.json"
    return report


def _make(recipe: Recipe[Item, Made], resume: bool, progress: Progress | None, item: Item) -> Made:
    with locked_item(recipe.out, recipe.name(item)) if recipe.shared else nullcontext():
        return recipe.make(item, resume, progress)


class Recorded(Recipe[Item, Made]):
    """A recipe of one result for each item, a file or a folder, with a record of what decided it."""

    @abstractmethod
    def path(self, item: Item) -> Path:
        """Where the result lies."""

    @abstractmethod
    def decides(self, item: Item) -> Entry:
        """All that decides the result, the digest of a video as ``video_digest`` among it; plain values."""

    @abstractmethod
    def origin(self, item: Item, decided: Entry) -> Entry:
        """What the record says of where the result comes from, for people."""

    @abstractmethod
    def create(self, item: Item, path: Path, progress: Progress | None) -> Entry:
        """Make the result, whole or not at all; returns what the record says of it."""

    @abstractmethod
    def reported(self, item: Item, entry: Entry, made: bool) -> Made:
        """The report of a result that was made now, or stood."""

    def stands(self, entry: Entry, path: Path) -> bool:
        """Whether a result that was recorded is still there."""
        return path.exists()

    def refuse(self, item: Item, known: Entry | None, decided: Entry, path: Path) -> None:
        """Raise where something else is in the result's place and would be lost."""

    def make(self, item: Item, resume: bool, progress: Progress | None) -> Made:
        name, path, records = self.name(item), self.path(item), Records(self.out)
        decided = as_read_back(self.decides(item))
        known = records.get(name)
        if resume and known is not None and made_with(known) == decided and self.stands(known, path):
            return self.reported(item, known, False)
        self.refuse(item, known, decided, path)
        clear_temporaries(path)
        records.begin(name)
        entry = self.origin(item, decided) | {"gaitext": gaitext.__version__, "made_with": decided}
        entry |= self.create(item, path, progress)
        records.put(name, entry)
        return self.reported(item, entry, True)


def refuse_twins(places: Iterable[tuple[str, object]], *, become: str = "be", how: str) -> None:
    """Raise where two items would have one result: whichever came last would win.

    Args:
        places: (the result's place, the item as people know it) of each.
        become: what they would both do: "be", "be written to".
        how: to mend it.

    Raises:
        DataError: two have the same place.
    """
    owners: dict[str, object] = {}
    for place, item in places:
        if place in owners:
            raise DataError(f"{owners[place]} and {item} would both {become} {place}", how=how)
        owners[place] = item


def claim(out: Path, option: str = "--out") -> None:
    """Make an output folder, or raise DataError where it cannot be written to; ``option`` is what names it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise DataError(
            f"cannot be written to ({error.strerror})", where=out, how=f"give {option} another folder"
        ) from error


@contextmanager
def holding(out: Path, file: str, description: Entry, check: Callable[[Entry, Path], None]) -> Iterator[None]:
    """Work alone in a folder that says in a file what it holds; the file is written where there is none.

    Args:
        out: made where there is none.
        file: the name of the file, JSON.
        description: what it says.
        check: called with what it says already, and its path; raises where that is something else.

    Raises:
        DataError: the folder holds something else, its file cannot be read, or another process is at work in it.
    """
    _described(out, file, check)  # before anything is put there
    with only_one(out):
        clear_all_temporaries(out)
        if not _described(out, file, check):
            write_json(out / file, description)
        yield


def _described(out: Path, file: str, check: Callable[[Entry, Path], None]) -> bool:
    record = out / file
    if record.is_file():
        try:
            found = json.loads(record.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"is not readable ({error})", where=record, how="give a new folder") from error
        check(found, record)
        return True
    if not is_unused(out):
        raise DataError(f"is not empty and holds no {file}", where=out, how="give a new folder")
    return False


class Records:
    """The records of an output folder. An entry says under ``made_with`` what decided the result.

    Args:
        out: the output folder; it need not exist yet.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self.folder = self.out / "records"

    def __contains__(self, leaf: str) -> bool:
        return self._path(leaf).is_file()

    def get(self, leaf: str) -> Entry | None:
        """The record of ``id/type/view``, or None.

        Raises:
            DataError: the file is there but is no record.
        """
        path = self._path(leaf)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            entry["made_with"]["video_digest"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(
                f"is no record of a sequence ({type(error).__name__}: {error})",
                where=path,
                how="restore it, or remove it and its sequence to make that one again",
            ) from error
        return dict(entry)

    def put(self, leaf: str, entry: Entry) -> None:
        """Write or replace the record of ``id/type/view``."""
        write_json(self._path(leaf), entry)

    def begin(self, leaf: str) -> None:
        """Remove the record of ``id/type/view``, which is about to be made, and what killed writers left of it.

        A kill from here on leaves a result without a record, which is made again. With a folder of records
        there, what it does not name is known for such a rest.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        clear_temporaries(self._path(leaf))
        self.remove(leaf)

    def remove(self, leaf: str) -> None:
        """Remove the record of ``id/type/view``, whose sequence is about to change."""
        self._path(leaf).unlink(missing_ok=True)

    def clear(self, leaf: str) -> None:
        """Remove records of ``id/type/view`` that killed writers left half written."""
        clear_temporaries(self._path(leaf))

    def all(self) -> Iterator[tuple[str, Entry]]:
        """Every record as (``id/type/view``, entry), in order of names."""
        for leaf in self.names():
            entry = self.get(leaf)
            if entry is not None:
                yield leaf, entry

    def names(self) -> list[str]:
        """``id/type/view`` of every record, sorted."""
        files = (path for path in self.folder.rglob("*.json") if not path.name.startswith("."))
        return sorted(path.relative_to(self.folder).as_posix().removesuffix(".json") for path in files)

    def write_manifest(self, failed: dict[str, str], **others: Any) -> dict[str, Entry]:
        """Write ``manifest.json``, ``{"leaves": {leaf: entry}, "failed": {source: why}}``, and return the entries.

        Args:
            failed: what failed in the command at hand; records that cannot be read are added to it.
            others: further lists of that command, by their name.
        """
        entries = {}
        for leaf in self.names():
            try:
                entry = self.get(leaf)
            except DataError as error:
                failed.setdefault(leaf, str(error))
                continue
            if entry is not None:
                entries[leaf] = entry
        manifest = self.out / "manifest.json"
        with locked(self.out / ".lock"):  # of several commands that end at once
            clear_temporaries(manifest)
            write_json(manifest, {"leaves": entries, "failed": failed, **others})
        return entries

    def _path(self, leaf: str) -> Path:
        return self.folder / f"{leaf}.json"


def as_read_back(entry: Entry) -> Entry:
    """An entry as JSON gives it back: lists, not tuples."""
    read: Entry = json.loads(json.dumps(entry))
    return read


def video_digest(entry: Entry) -> str:
    """The SHA-256 of the video that a record is of.

    Older records name it apart, and hold a digest of the video's ends alone under ``made_with``.
    """
    return str(entry.get("sha256") or entry["made_with"]["video_digest"])


def made_with(entry: Entry) -> Entry:
    """What decided a record's result, the whole video's digest in it."""
    return {**entry["made_with"], "video_digest": video_digest(entry)}


def frame_ranges(frames: Iterable[int]) -> str:
    """Write ascending frame numbers compactly.

    >>> frame_ranges([1, 2, 3, 7, 9, 10])
    '1-3,7,9-10'
    """
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = int(frame)
        else:
            runs.append([int(frame), int(frame)])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def frame_numbers(ranges: str) -> npt.NDArray[np.int64]:
    """Read frame numbers written as ranges.

    Raises:
        ValueError: not such ranges.

    >>> frame_numbers("1-3,7").tolist()
    [1, 2, 3, 7]
    """
    numbers: list[int] = []
    for run in filter(None, ranges.split(",")):
        first, _, last = run.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return np.array(numbers, np.int64)
