"""`gaitext prepare`: which dataset takes which options; and the tree of videos, links or copies."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.extraction.boxes import find_sources
from gaitext.extraction.prepare.items import Clip, Found, find_own
from gaitext.extraction.prepare.published import CASIA_B_SPLIT, find_casia_b, find_ccpg, find_sustech1k
from gaitext.extraction.prepare.released import RELEASED, prepare_released
from gaitext.extraction.prepare.report import PrepareReport, read_record, refuse_overlap
from gaitext.making import Progress, Recipe, make_all
from gaitext.store import (
    clear_all_temporaries,
    disk_errors,
    draw_partition,
    make_folder,
    only_one,
    read_partition,
    write_json,
    write_partition,
)
from gaitext.video.frames import is_image

#: Name -> what finds its sequences below a folder.
VIDEOS: dict[str, Callable[[Path], Found]] = {
    "casia-b": find_casia_b,
    "ccpg": find_ccpg,
    "sustech1k": find_sustech1k,
    "own": find_own,
}


#: Name -> the options it takes.
DATASETS: dict[str, frozenset[str]] = {
    **{name: frozenset({"partition", "copy"}) for name in VIDEOS},
    "own": frozenset({"pattern", "partition", "train_share", "seed", "copy"}),
    **{name: frozenset({"partition", "min_frames"}) for name in RELEASED},
    "psymo": frozenset({"split", "min_frames"}),
    "silhouettes": frozenset({"pattern", "partition", "train_share", "seed", "min_frames"}),
}


def prepare(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    pattern: str | None = None,
    partition: str | Path | None = None,
    split: str | Path | None = None,
    train_share: float | None = None,
    seed: int | None = None,
    copy: bool | None = None,
    min_frames: int | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> PrepareReport:
    """Make a tree and a partition of a dataset.

    Of videos ``out/videos/<id>/<type>/<view>`` for `gaitext extract` is made, of symbolic links or copies; of
    released poses and silhouettes ``out/sequences`` for a toolbox (:func:`prepare_released`). Each sequence appears
    whole or not at all, and what is there already is not made again. ``out/prepared.json`` records everything the
    report counts. One process at a time may write to ``out``.

    Args:
        name: a key of :data:`DATASETS`, which says which of the options it takes.
        root: the dataset's folder; for CASIA-B's poses, a csv too.
        out: made where there is none.
        pattern: of the names of own clips or folders of silhouettes, see :func:`find_own`.
        partition: a json with TRAIN_SET and TEST_SET, which is taken over. CASIA-B's is the usual 74/50, own
            clips' and silhouettes' is drawn; others need one (the toolboxes have theirs in
            ``datasets/<name>/<name>.json``).
        split: PsyMo's, see :func:`~gaitext.extraction.prepare.poses.split.read_split`; None: gaitext's own.
        train_share: of the people, where it is drawn and there is no ``partition``; None: 0.75.
        seed: of the draw of those people; None: 0.
        copy: copy the files instead of linking to them.
        min_frames: sequences of fewer frames are left out; None is the dataset's default.
        workers: processes; 0 works in this one.
        quiet: no progress bar.

    Raises:
        ConfigError: an unknown dataset, an option that it does not take, a wrong pattern, no partition where one is
            needed, or poses in ``out`` that were made with other settings.
        DataError: nothing found, sequences that cannot be read, two of one name, something in the way, an ``out``
            that cannot be made, a full disk.
    """
    if name not in DATASETS:
        raise ConfigError(f"unknown dataset '{name}'", where="prepare", how=suggest(name, DATASETS))
    options: dict[str, Any] = {
        "pattern": pattern,
        "partition": partition,
        "split": split,
        "train_share": train_share,
        "seed": seed,
        "copy": copy or None,
        "min_frames": min_frames,
    }
    given = {key: value for key, value in options.items() if value is not None}
    for key in given.keys() - DATASETS[name]:
        those = [other for other, taken in DATASETS.items() if key in taken]
        raise ConfigError(
            f"{name} takes no --{key.replace('_', '-')}",
            where="prepare",
            how=f"leave it out; it is for {', '.join(those)}",
        )
    if name in RELEASED:
        return prepare_released(name, root, out, workers=workers, quiet=quiet, **given)
    return prepare_videos(name, root, out, workers=workers, quiet=quiet, **given)


def prepare_videos(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    pattern: str | None = None,
    partition: str | Path | None = None,
    train_share: float = 0.75,
    seed: int = 0,
    copy: bool = False,
    workers: int = 0,
    quiet: bool = False,
) -> PrepareReport:
    """Make the tree ``out/videos`` and its partition; arguments as for :func:`prepare`."""
    root, out = Path(root), Path(out)
    if not root.is_dir():
        raise DataError("no such folder", where=root, how="check the path")
    given = None if partition is None else read_partition(partition)
    if given is None and name not in ("casia-b", "own"):
        file = f"datasets/{name.upper().replace('SUSTECH', 'SUSTech')}/"
        raise ConfigError(
            f"{name} needs a partition", where="prepare", how=f"give --partition; OpenGait has one in {file}"
        )
    found = find_own(root, pattern) if name == "own" and pattern is not None else VIDEOS[name](root)
    identities = sorted({clip.identity for clip in found.clips})
    train, test = given or (CASIA_B_SPLIT if name == "casia-b" else draw_partition(identities, train_share, seed))

    videos = out / "videos"
    refuse_overlap(root, videos)
    make_folder(videos)
    with only_one(out):
        clear_all_temporaries(out)
        before = read_record(out / "prepared.json")
        recipe = _Tree(out, copy, frozenset(before["sequences"] if before else ()), name)
        report = make_all(recipe, found.clips, workers=workers, quiet=quiet)
        report.raise_failures()
        report.missing, report.left_out = found.missing, found.left_out
        names = {clip.name for clip in found.clips}
        report.stale = [source.name for source in find_sources(videos) if source.name not in names]
        report.count_people(identities, train, test)
        write_partition(report.partition, train, test)
        record = {
            "dataset": name,
            "root": os.path.abspath(root),
            "copied": copy,
            "sequences": {clip.name: str(clip.source) for clip in found.clips},
            **{key: getattr(report, key) for key in ("missing", "left_out", "absent", "strangers", "stale")},
        }
        write_json(out / "prepared.json", record)
    return report


@dataclass
class _Tree(Recipe[Clip, PrepareReport]):
    """How a sequence is put into the tree, by link or copy.

    Attributes:
        mine: names of the sequences that an earlier run put there.
    """

    out: Path
    copy: bool
    mine: frozenset[str]
    label: str

    steps, shared, manifest = "", False, False

    def report(self) -> PrepareReport:
        return PrepareReport(videos=self.out / "videos", partition=self.out / "partition.json")

    def name(self, item: Clip) -> str:
        return item.name

    def make(self, item: Clip, resume: bool, progress: Progress | None) -> PrepareReport:
        place = self.out / "videos" / item.leaf
        if _stands(item, place, self.copy):
            return replace(self.report(), standing=1)
        if place.exists() and not (place.is_symlink() or item.name in self.mine):
            raise DataError(
                "is there, and not of this command's making", where=place, how="remove it, or give --out another folder"
            )
        _put(item, place, self.copy)
        return replace(self.report(), written=1)


def _put(clip: Clip, place: Path, copy: bool) -> None:
    # Hidden, so that nobody takes what a kill leaves for a view; the next run removes it.
    temporary = place.parent / f".{place.name}.preparing"
    with disk_errors(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        try:
            if clip.frames is None and not copy:
                temporary.symlink_to(os.path.abspath(clip.source))
            elif not clip.source.is_dir():
                shutil.copy2(clip.source, temporary)
            else:
                temporary.mkdir()
                for file, name in _frames(clip):
                    if copy:
                        shutil.copy2(file, temporary / name)
                    else:
                        (temporary / name).symlink_to(os.path.abspath(file))
            if _is_folder(place) or _is_folder(temporary):  # which renaming does not replace
                _remove(place)
            os.replace(temporary, place)
        except OSError as error:
            _remove(temporary)
            if isinstance(error, FileNotFoundError):
                raise DataError("is gone, or a link to nowhere", where=error.filename or clip.source) from error
            raise


def _frames(clip: Clip) -> Iterator[tuple[Path, str]]:
    """Each frame's file and its name in the tree: numbered where its own name would not keep the order."""
    if clip.frames is None:
        for name in filter(is_image, sorted(os.listdir(clip.source))):
            yield clip.source / name, name
        return
    digits = max(6, len(str(len(clip.frames))))
    for number, name in enumerate(clip.frames, 1):
        yield clip.source / name, f"{number:0{digits}d}{Path(name).suffix}"


def _stands(clip: Clip, place: Path, copy: bool) -> bool:
    """Whether the sequence is in the tree just as it would be made."""
    if clip.frames is None and not copy:
        return place.is_symlink() and os.readlink(place) == os.path.abspath(clip.source)
    if place.is_symlink() or not place.exists():
        return False
    if not clip.source.is_dir():
        return _same(clip.source, place)
    wanted = {name: file for file, name in _frames(clip)}
    if {path.name for path in place.iterdir()} != wanted.keys():
        return False
    if copy:
        return all(_same(file, place / name) for name, file in wanted.items())
    links = {name: place / name for name in wanted}
    return all(link.is_symlink() and os.readlink(link) == os.path.abspath(wanted[name]) for name, link in links.items())


def _same(file: Path, copied: Path) -> bool:
    """Whether ``copied`` holds what ``file`` holds."""
    if copied.is_symlink() or not copied.is_file() or not file.is_file():
        return False
    return filecmp.cmp(file, copied, shallow=False)


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
