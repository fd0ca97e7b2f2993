"""Where the walks lie in PsyMo's released skeletons (docs/psymo.md).

PsyMo's walks by name: ``<ID>:<viewpoint>:<direction>:<run>:<variation>`` (docs/psymo.md).
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, folders_below
from gaitext.extraction.prepare.poses.frames import read_source
from gaitext.walkers import PROTOCOLS

__all__ = ["PEOPLE", "Walk", "find_psymo", "listed_walks", "types"]


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


#: Where the skeletons lie below the folder somebody may name.
_SKELETONS = ("semantic_data/skeletons", "skeletons", ".")


def find_psymo(root: Path) -> Found:
    """The walks ``<ID>/<ID>_<viewpoint>_<direction>_<run>_<variation>.json``.

    ``root`` may be the dataset, its ``semantic_data``, or the skeletons. The view is viewpoint + 180 ·
    direction. nm's two runs are ``nm-01`` and ``nm-02`` in the order of their numbers, which the
    copies count from 0 or from 1; the other variations have one.

    Raises:
        DataError: no walk there.
    """
    skeletons = next(place for part in _SKELETONS if (place := root / part).is_dir())
    files, left_out = _files(skeletons)
    if not files:
        example = next((f": {path} {why}" for path, why in left_out.items()), "")
        raise DataError(
            f"holds no walk of PsyMo{example}",
            where=root,
            how="give the folder with semantic_data/skeletons/<ID>/<ID>_<viewpoint>_<direction>_<run>_<variation>.json",
        )
    walks = dict(_without_twins(files, left_out))
    notes: list[str] = []
    kinds = types(walks, notes)
    clips = [
        Clip(PEOPLE[walk.identity], kinds[walk], f"{walk.angle:03d}", path) for walk, path in sorted(walks.items())
    ]
    listed = listed_walks(skeletons, notes)
    if listed is None:
        there = {clip.name for clip in clips}
        protocol = product(PEOPLE, *PROTOCOLS["psymo"])
        missing = [name for parts in protocol if (name := "/".join(parts)) not in there]
    else:
        missing = [name for name, walk in listed.items() if walk not in walks]
    return Found(sorted(clips, key=lambda clip: clip.name), missing, left_out, notes)


def _files(skeletons: Path) -> tuple[dict[Walk, list[Path]], dict[str, str]]:
    """The files of each walk, and what is none."""
    files: dict[Walk, list[Path]] = defaultdict(list)
    left_out: dict[str, str] = {}
    for folder, entries in folders_below(skeletons):
        for path in entries:
            if path.suffix.lower() != ".json":
                if path.suffix.lower() != ".csv":
                    left_out[str(path)] = "is no json"
                continue
            try:
                walk = Walk.parse(path.stem)
            except ValueError as error:
                left_out[str(path)] = str(error)
                continue
            if folder.name.isascii() and folder.name.isdigit() and int(folder.name) != walk.identity:
                left_out[str(path)] = f"is of {walk.identity}, and lies in the folder of {folder.name}"
                continue
            files[walk].append(path)
    return files, left_out


def _without_twins(files: dict[Walk, list[Path]], left_out: dict[str, str]) -> Iterator[tuple[Walk, Path]]:
    """One file a walk. Of equal ones the first is taken, of differing ones none."""
    for walk, paths in files.items():
        if len(paths) > 1:
            try:
                same = len({read_source(path) for path in paths}) == 1
            except DataError:
                same = False
            if not same:
                for path in paths:
                    other = next(one for one in paths if one != path)
                    left_out[str(path)] = f"names the same walk as {other}, and their contents differ: remove one"
                continue
            left_out.update({str(path): f"holds the same as {paths[0]}" for path in paths[1:]})
        yield walk, paths[0]
