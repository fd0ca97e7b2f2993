"""What making a tree came to, and who of its people trains."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from gaitext.errors import ConfigError, DataError
from gaitext.making import Entry, Report

_SHOWN = 10


@dataclass(kw_only=True)
class PrepareReport(Report):
    """What `gaitext prepare` found and made.

    Attributes:
        partition: the partition json.
        videos: the tree of videos for `gaitext extract`; ``sequences``: of leaves for a toolbox, made of poses.
        written, standing: sequences made now, and found finished.
        missing: what the dataset has and the folder has not.
        left_out: what is in the folder and was not taken -> why.
        stale: sequences in the tree that this folder does not have; they are left alone.
        train, test, val: how many people of each set are there.
        absent: people of the partition who are not there.
        strangers: people who are there and in neither set.
        counts: what was noticed in the poses that are there now -> how often.
        notes: what else there is to know.
    """

    partition: Path
    videos: Path | None = None
    sequences: Path | None = None
    written: int = 0
    standing: int = 0
    missing: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    train: int = 0
    test: int = 0
    val: int = 0
    absent: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def count_people(
        self, there: Iterable[str], train: Sequence[str], test: Sequence[str], val: Sequence[str] = ()
    ) -> None:
        """Compare the people who are there with the sets."""
        people, wanted = set(there), {*train, *test, *val}
        self.train, self.test, self.val = (len(people & set(part)) for part in (train, test, val))
        self.absent, self.strangers = sorted(wanted - people), sorted(people - wanted)

    @property
    def made(self) -> dict[str, Path]:
        """What was made, by what it is for."""
        trees = {"videos, for gaitext extract": self.videos, "dataset_root": self.sequences}
        made = {what: tree for what, tree in trees.items() if tree is not None} | {"dataset_partition": self.partition}
        val = {"dataset_partition, to validate": self.partition.with_name("partition_val.json")} if self.val else {}
        return made | val

    def __str__(self) -> str:
        """A few lines for people; all of it is in ``prepared.json``."""
        lines = [
            f"{self.written} sequences made, {self.standing} already there",
            *([", ".join(f"{count} {what}" for what, count in self.counts.items() if count)] if self.sequences else []),
            f"people: {self.train} to train, {self.test} to test" + (f", {self.val} to validate" if self.val else ""),
        ]
        lists = (
            ("not there", self.missing),
            ("not taken", [f"{path}: {why}" for path, why in self.left_out.items()]),
            ("people of the partition who are not there", self.absent),
            ("people who are in neither set", self.strangers),
            ("in the tree from another time, and left alone", self.stale),
            ("notes", self.notes),
        )
        for what, names in lists:
            if names:
                lines.append(f"{what}: {len(names)}")
                lines += [f"  {name}" for name in islice(names, _SHOWN)]
                lines += [f"  … and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
        return "\n".join(lines)


def refuse_overlap(root: Path, tree: Path) -> None:
    """Raise where making the tree would change the data set itself."""
    one, two = Path(os.path.realpath(root)), Path(os.path.realpath(tree))
    if one == two or one in two.parents or two in one.parents:
        raise ConfigError(
            f"the tree {tree} and the data in {root} lie in each other",
            where="--out",
            how="give a folder beside the data",
        )


def read_record(record: Path) -> Entry | None:
    """What an earlier run wrote into ``prepared.json``, ``sequences`` being a dict; None where there is none."""
    try:
        found: Entry = json.loads(record.read_text(encoding="utf-8"))
        return {**found, "sequences": dict(found["sequences"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"is not readable ({error})", where=record, how="give --out another folder") from error
