"""PsyMo's released skeletons: a json for each walk, AlphaPose's list of people, of whom one is followed.

Walks are named ``<ID>:<viewpoint>:<direction>:<run>:<variation>`` (docs/psymo.md).
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, folders_below
from gaitext.extraction.prepare.poses.frames import (
    JOINTS,
    Array,
    FrameError,
    Poses,
    Unusable,
    joints,
    read_source,
    seen,
)
from gaitext.store.contract import PROTOCOLS
from gaitext.video.frames import natural_key

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
        """Read a name whose parts are joined by colons or underscores; ValueError where PsyMo has no such walk."""
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


#: A person's number in a tracker's count, or None.
Label = Union[int, None]
#: A walker lost by the tracker is somebody whom it finds so many frames later at most, …
_GAP = 60
#: … and so far away at most, in heights: a walker moves by 0.03 a frame.
_NEAR, _STEP = 0.5, 0.06


def follow(frames: Sequence[Array]) -> Array:
    """Choose one person a frame, so that the choice moves little and is tall.

    Of all ways to choose, the one with the least sum of two terms, in heights: how far the person
    moved since the frame before (the mean over the joints seen in both, over the mean height of the
    two), and how much shorter than the tallest in the frame the person is (1 − height / tallest).
    So the walker is neither swapped for a neighbour in a single frame, nor lost to somebody who
    stands behind for the whole sequence, small and still.

    Args:
        frames: people of each frame [P, 17, 3], P > 0, each with a joint that is seen.

    Returns:
        [T, 17, 3].
    """
    if all(len(people) == 1 for people in frames):
        return np.concatenate(frames)
    costs: list[npt.NDArray[np.float64]] = []
    steps: list[npt.NDArray[np.intp]] = []
    for t, people in enumerate(frames):
        heights = _heights(people)
        short = 1 - heights / heights.max()
        if t == 0:
            costs.append(short)
            continue
        total = costs[-1][:, None] + _moves(frames[t - 1], people)  # [before, now]
        steps.append(total.argmin(0))
        costs.append(total.min(0) + short)
    chosen = [int(costs[-1].argmin())]
    for step in reversed(steps):
        chosen.append(int(step[chosen[-1]]))
    return np.stack([people[one] for people, one in zip(frames, reversed(chosen))])


def follow_tracks(frames: Sequence[Array], labels: Sequence[Sequence[Label]]) -> tuple[Array, int]:
    """:func:`follow` where a tracker has numbered the people: one person all through.

    A number that two people of a frame have tells nobody apart there; where that is so in most of its
    frames, nobody was tracked, and this is :func:`follow`, as without numbers. Otherwise the walker is the
    track with the most of this: the sum over its frames of 1 + height / tallest in the frame. A track that
    ends goes on with one that begins at most 60 frames later and at most 0.5 heights + 0.06 a frame away. In
    frames without these numbers it is the unnumbered person who is nearest, within the same distance of the
    frame before or behind; otherwise the frame is left out.

    Args:
        frames: as for :func:`follow`.
        labels: each person's number.

    Returns:
        [T', 17, 3], and how many frames are left out.
    """
    seen_in = Counter(label for row in labels for label in set(row) if label is not None)
    doubled = Counter(
        label for row in labels for label, count in Counter(row).items() if label is not None and count > 1
    )
    if not seen_in or any(2 * count > seen_in[label] for label, count in doubled.items()):
        return follow(frames), 0
    labels = [[label if row.count(label) == 1 else None for label in row] for row in labels]
    tracks: dict[int, dict[int, int]] = defaultdict(dict)  # number -> frame -> place in the frame
    for t, row in enumerate(labels):
        for place, label in enumerate(row):
            if label is not None:
                tracks[label][t] = place
    chosen = {t: place for label in _chain(frames, tracks) for t, place in tracks[label].items()}
    unnumbered = [[place for place, label in enumerate(row) if label is None] for row in labels]
    for times in (range(len(frames)), range(len(frames) - 1, -1, -1)):
        last: int | None = None
        for t in times:
            if t not in chosen and last is not None and unnumbered[t]:
                moves = _moves(frames[last][[chosen[last]]], frames[t][unnumbered[t]])[0]
                nearest = int(moves.argmin())
                if moves[nearest] <= _reach(abs(t - last)):
                    chosen[t] = unnumbered[t][nearest]
            last = t if t in chosen else last
    poses = [frames[t][chosen[t]] for t in sorted(chosen)]
    return np.stack(poses), len(frames) - len(poses)


def _chain(frames: Sequence[Array], tracks: dict[int, dict[int, int]]) -> list[int]:
    """Numbers of the tracks, one behind the other, that are the walker's."""
    tall = [_heights(people) / _heights(people).max() for people in frames]
    order = sorted(tracks, key=lambda label: min(tracks[label]))
    best: dict[int, tuple[float, int | None]] = {}
    for place, label in enumerate(order):
        first = min(tracks[label])
        before: tuple[float, int | None] = (0.0, None)
        for other in order[:place]:
            last = max(tracks[other])
            if 0 < first - last <= _GAP and best[other][0] > before[0]:
                one, two = frames[last][[tracks[other][last]]], frames[first][[tracks[label][first]]]
                if _moves(one, two)[0, 0] <= _reach(first - last):
                    before = best[other][0], other
        own = sum(1 + float(tall[t][person]) for t, person in tracks[label].items())
        best[label] = before[0] + own, before[1]
    chain: list[int] = []
    label_or_none: int | None = max(best, key=lambda label: best[label][0])
    while label_or_none is not None:
        chain.append(label_or_none)
        label_or_none = best[label_or_none][1]
    return chain


def _reach(frames: int) -> float:
    """How far a walker can be after so many frames, in heights."""
    return _NEAR + _STEP * frames


def _heights(people: Array) -> npt.NDArray[np.float64]:
    """How far each person's seen joints [P, 17, 3] reach from top to bottom, at least one pixel."""
    there, y = seen(people), people[..., 1].astype(np.float64)
    top, bottom = np.where(there, y, np.inf).min(-1), np.where(there, y, -np.inf).max(-1)
    return np.maximum(bottom - top, 1.0)


def _moves(before: Array, now: Array) -> npt.NDArray[np.float64]:
    """Distances [P, Q] between people of two frames, in their heights."""
    there, too = seen(before), seen(now)
    both = there[:, None] & too[None]
    one = np.where(there[..., None], before[..., :2], 0).astype(np.float64)
    two = np.where(too[..., None], now[..., :2], 0).astype(np.float64)
    gaps = np.linalg.norm(one[:, None] - two[None], axis=-1)
    count = both.sum(-1)
    apart = np.where(both, gaps, 0).sum(-1) / np.maximum(count, 1)
    # No joint is seen in both: compare where the people are.
    middles = [xy.sum(-2) / np.maximum(here.sum(-1), 1)[..., None] for xy, here in ((one, there), (two, too))]
    apart = np.where(count > 0, apart, np.linalg.norm(middles[0][:, None] - middles[1][None], axis=-1))
    return np.asarray(apart / ((_heights(before)[:, None] + _heights(now)[None]) / 2))


#: What an entry calls its frame.
_FRAME_KEYS = ("image_id", "frame_id", "frame", "image")
#: What an entry calls the number that a tracker gave its person.
_TRACK_KEYS = ("idx", "track_id", "person_id")


def read_psymo(clip: Clip) -> Poses:
    """A walk's frames.

    The file is a list of entries with ``keypoints``: 51 numbers (x, y, score), or 17 triples; what
    else AlphaPose says is passed over. Entries of one image are people of one frame; so are the
    entries of a list in the list, and the lists in ``keypoints``. Frames are put in the order of
    their images' numbers where all entries say theirs. Of several people, one is followed, by AlphaPose's
    ``idx`` where it tells them apart (:func:`~gaitext.extraction.prepare.poses.psymo.follow_tracks`).
    """
    loaded = _load(clip.source)
    poses = Poses()
    frames: list[Array] = []
    labels: list[list[Label]] = []
    for place, entries in _frames(loaded, poses):
        people: list[tuple[Array, Label]] = []
        try:
            for entry in entries:
                people += _people(entry)
        except FrameError as error:
            poses.note("malformed frames", f"{clip.source} frame {place}: {error}")
            continue
        shown = [(person, label) for person, label in people if seen(person).any()]
        if not shown:
            poses.counts["empty frames"] += 1
            continue
        if len(shown) > 1:
            poses.counts["frames with several people"] += 1
        frames.append(np.stack([person for person, _ in shown]))
        labels.append([label for _, label in shown])
    if frames:
        poses.frames, without = follow_tracks(frames, labels)
        if without:
            poses.counts["frames without the person followed"] += without
    return poses


def _load(path: Path) -> list[Any]:
    content = read_source(path)
    if not content.strip():
        raise Unusable("is empty", where=path)
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"is no json, or cut short ({error})", where=path) from error
    if not isinstance(loaded, list):
        raise Unusable(f"holds a {type(loaded).__name__}, not a list of frames", where=path)
    if not loaded:
        raise Unusable("holds no frames", where=path)
    return loaded


def _frames(loaded: list[Any], poses: Poses) -> Iterator[tuple[object, list[Any]]]:
    """Each frame's name or place in the file, from 0, and its entries."""
    images = [_image(entry) for entry in loaded]
    if any(image is None for image in images):
        for place, entry in enumerate(loaded):
            yield place, entry if isinstance(entry, list) else [entry]
        return
    names = [str(image) for image in images]
    groups: dict[str, list[Any]] = defaultdict(list)
    for name, entry in zip(names, loaded):
        groups[name].append(entry)
    order = sorted(groups, key=natural_key)
    moved = sum(one != other for one, other in zip(order, groups))
    poses.counts["frames put in order"] += moved
    for name in order:
        yield name, groups[name]


def _image(entry: Any) -> str | int | None:
    """What an entry calls its frame, or None."""
    if not isinstance(entry, dict):
        return None
    found = next((entry[key] for key in _FRAME_KEYS if key in entry), None)
    return found if type(found) in (str, int) else None


def _people(entry: Any) -> list[tuple[Array, Label]]:
    """The people of an entry, none, one or several, and their numbers."""
    if entry is None or entry == []:
        return []
    if not isinstance(entry, dict):
        raise FrameError(f"is a {type(entry).__name__}, not an object with keypoints")
    numbers = entry.get("keypoints")
    if numbers is None or numbers == []:
        return []
    if not isinstance(numbers, list):
        raise FrameError(f"its keypoints are a {type(numbers).__name__}, not a list")
    if all(isinstance(person, list) for person in numbers) and not _is_triples(numbers):
        tracks = _tracks(entry, len(numbers))
        return [(joints(person), track) for person, track in zip(numbers, tracks) if person]
    return [(joints(numbers), _tracks(entry, 1)[0])]


def _tracks(entry: dict[str, Any], count: int) -> list[Label]:
    """The numbers that a tracker gave an entry's people; None where there is none."""
    found = next((entry[key] for key in _TRACK_KEYS if key in entry), None)
    listed = found if isinstance(found, list) and len(found) == count else [found] * count if count == 1 else []
    return [_track(one) for one in listed] or [None] * count


def _track(value: Any) -> Label:
    for _ in range(3):  # some versions write [7] or [[7]]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:18])
    if type(value) is float and abs(value) < 1e15 and value == int(value):
        value = int(value)
    return value if type(value) is int else None


def _is_triples(numbers: list[Any]) -> bool:
    return len(numbers) == JOINTS and all(len(triple) == 3 for triple in numbers)
