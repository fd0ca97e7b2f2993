"""PsyMo's walks by name: ``<ID>:<viewpoint>:<direction>:<run>:<variation>`` (spec §5)."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.prepare.poses.frames import read_source

__all__ = ["PEOPLE", "Walk", "listed_walks", "types"]

#: Of 312 people, numbered from 0.
PEOPLE = [f"{number:03d}" for number in range(312)]
_VIEWPOINTS = (0, 45, 90)
_VARIATIONS = ("nm", "bg", "cl", "wss", "wsf", "ph", "txt")
_DIRECTIONS = {"0": 0, "1": 1, "00": 0, "01": 1, "forward": 0, "backward": 1, "there": 0, "back": 1}
_NAME = re.compile(r"(\d{1,9})[:_](\d{1,9})[:_]([^_:]+)[:_](\d{1,9})[:_]([^_:.]+)", re.ASCII)


@dataclass(frozen=True, order=True)
class Walk:
    """A walk's name, whatever its copy's zero padding."""

    identity: int
    angle: int
    variation: str
    run: int

    @classmethod
    def parse(cls, name: str) -> Walk:
        """Read a name whose parts are joined by colons or underscores.

        Raises:
            ValueError: it is no such name, or one of its parts is none of PsyMo's.
        """
        match = _NAME.fullmatch(name.strip())
        if match is None:
            raise ValueError("is not named <ID>_<viewpoint>_<direction>_<run>_<variation>")
        identity, viewpoint, direction, run, variation = match.groups()
        number, angle = int(identity), int(viewpoint)
        if number >= len(PEOPLE):
            raise ValueError(f"its id is {number}, and PsyMo's end with {len(PEOPLE) - 1}")
        if angle not in _VIEWPOINTS:
            raise ValueError(f"its viewpoint is {angle}, and PsyMo's are {', '.join(map(str, _VIEWPOINTS))}")
        if direction.lower() not in _DIRECTIONS:
            raise ValueError(f"its direction is '{direction}', which is none of {', '.join(_DIRECTIONS)}")
        if variation.lower() not in _VARIATIONS:
            raise ValueError(f"its variation is '{variation}', and PsyMo's are {', '.join(_VARIATIONS)}")
        return cls(number, angle + 180 * _DIRECTIONS[direction.lower()], variation.lower(), int(run))


def types(walks: Mapping[Walk, Path], notes: list[str]) -> dict[Walk, str]:
    """The type of each walk: nm-01, nm-02, bg, …; runs that PsyMo is not said to have are added to ``notes``."""
    numbers = sorted({walk.run for walk in walks if walk.variation == "nm"})
    kinds = {}
    for (_, _, variation), group in groupby(sorted(walks), key=lambda w: (w.identity, w.angle, w.variation)):
        for place, walk in enumerate(group, 1):
            if variation == "nm":
                # Where the whole set counts two runs, one that lacks the other keeps its number.
                number = 1 + numbers.index(walk.run) if len(numbers) == 2 else place
                kinds[walk] = f"nm-{number:02d}"
            else:
                number = place
                kinds[walk] = variation if place == 1 else f"{variation}-{place:02d}"
            if number > (2 if variation == "nm" else 1):
                notes.append(f"{walks[walk]} is one run more than PsyMo has, and becomes {kinds[walk]}")
    return kinds


def listed_walks(skeletons: Path, notes: list[str]) -> dict[str, Walk] | None:
    """The walks that ``walks.csv`` (or ``walks-v2.csv``) near the skeletons lists, by name; None without one.

    A walk is a cell ``<ID>:<viewpoint>:<direction>:<run>:<variation>``, in whatever column.
    """
    above = [skeletons.parent, skeletons.parent.parent] if skeletons.name == "skeletons" else []
    for folder in (skeletons, *above):
        for name in ("walks.csv", "walks-v2.csv"):
            path = folder / name
            if path.is_file():
                walks = _cells(path, notes)
                if walks:
                    return walks
    return None


def _cells(path: Path, notes: list[str]) -> dict[str, Walk]:
    walks = {}
    try:
        text = read_source(path).decode("utf-8-sig")
        for row in csv.reader(text.splitlines()):
            for cell in row:
                if cell.count(":") == 4:
                    try:
                        walks[cell] = Walk.parse(cell)
                    except ValueError as error:
                        notes.append(f"{path}: {cell}: {error}")
    except (DataError, ValueError, csv.Error) as error:
        notes.append(f"{path} is not used: {error}")
        return {}
    if not walks:
        notes.append(f"{path} is not used: it names no walks as <ID>:<viewpoint>:<direction>:<run>:<variation>")
    return walks
