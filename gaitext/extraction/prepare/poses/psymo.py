"""Where the walks lie in PsyMo's released skeletons (spec §5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.prepare.found import Clip, Found, folders_below
from gaitext.extraction.prepare.poses.frames import read_source
from gaitext.extraction.prepare.poses.psymo_walks import PEOPLE, Walk, listed_walks, types
from gaitext.walkers import PROTOCOLS

__all__ = ["find_psymo"]

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
