"""Making the tree: links or copies, the partition, and a record of what is there and what is not."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from gaitext.errors import ConfigError, DataError
from gaitext.execution import map_sequences, raise_failures
from gaitext.extraction.boxes import find_sources
from gaitext.extraction.prepare.items import Clip, Found, find_own
from gaitext.extraction.prepare.published import CASIA_B_SPLIT, find_casia_b, find_ccpg, find_sustech1k
from gaitext.extraction.prepare.report import PrepareReport, draw, refuse_overlap
from gaitext.store import clear_all_temporaries, disk_errors, make_folder, only_one, read_partition, write_json
from gaitext.video.frames import is_image

__all__ = ["VIDEOS", "VideosReport", "prepare_videos"]

#: Name -> what finds its sequences below a folder.
VIDEOS: dict[str, Callable[[Path], Found]] = {
    "casia-b": find_casia_b,
    "ccpg": find_ccpg,
    "sustech1k": find_sustech1k,
    "own": find_own,
}


@dataclass(kw_only=True)
class VideosReport(PrepareReport):
    """The report, with the tree of videos for `gaitext extract`."""

    videos: Path

    @property
    def made(self) -> dict[str, Path]:
        return {"videos, for gaitext extract": self.videos, **super().made}


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
) -> VideosReport:
    """Make a tree ``out/videos/<id>/<type>/<view>`` of a dataset, and ``out/partition.json``.

    The tree holds symbolic links, or copies. Each sequence appears whole or not at all, and what is
    there already is not made again. ``out/prepared.json`` records everything the report counts.

    Args:
        name: a key of :data:`VIDEOS`.
        root: the dataset's folder.
        out: made where there is none.
        pattern: of the names of own clips, see :func:`find_own`.
        partition: a json with TRAIN_SET and TEST_SET, which is taken over; needed for CCPG and
            SUSTech1K (OpenGait has them in ``datasets/CCPG/CCPG.json`` and
            ``datasets/SUSTech1K/SUSTech1K.json``). CASIA-B's is the usual 74/50.
        train_share: of the people in own clips, where there is no ``partition``.
        seed: of the draw of those people.
        copy: copy the files instead of linking to them.
        workers: processes to copy with; 0 copies in this one.
        quiet: no progress bar.

    Raises:
        ConfigError: unknown dataset, a wrong pattern, or no partition where one is needed.
        DataError: nothing found, two sequences of one name, something in the way, an ``out`` that cannot be
            made, a full disk.
    """
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
    train, test = given or (CASIA_B_SPLIT if name == "casia-b" else draw(identities, train_share, seed))

    videos = out / "videos"
    refuse_overlap(root, videos)
    report = VideosReport(
        videos=videos, partition=out / "partition.json", missing=found.missing, left_out=found.left_out
    )
    make_folder(videos)
    with only_one(out):
        clear_all_temporaries(out)
        mine = _made_before(out / "prepared.json")
        make = partial(_make, videos=videos, copy=copy)
        jobs = [_Job(clip, clip.name in mine) for clip in found.clips]
        made = raise_failures(map_sequences(make, jobs, workers=workers, label=name, quiet=quiet), "sequences")
        report.written, report.standing = sum(made), len(made) - sum(made)
        names = {clip.name for clip in found.clips}
        report.stale = [source.name for source in find_sources(videos) if source.name not in names]
        report.count_people(identities, train, test)
        write_json(report.partition, {"TRAIN_SET": list(train), "TEST_SET": list(test)})
        write_json(out / "prepared.json", _record(name, root, copy, found, report))
    return report


def _record(name: str, root: Path, copy: bool, found: Found, report: VideosReport) -> dict[str, object]:
    return {
        "dataset": name,
        "root": os.path.abspath(root),
        "copied": copy,
        "sequences": {clip.name: str(clip.source) for clip in found.clips},
        **{key: getattr(report, key) for key in ("missing", "left_out", "absent", "strangers", "stale")},
    }


def _made_before(record: Path) -> set[str]:
    """Names of the sequences that an earlier run made."""
    try:
        return set(json.loads(record.read_text(encoding="utf-8"))["sequences"])
    except FileNotFoundError:
        return set()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"is not readable ({error})", where=record, how="give --out another folder") from error


@dataclass(frozen=True)
class _Job:
    """A sequence to put into the tree, and whether an earlier run put one of this name there."""

    clip: Clip
    mine: bool

    def __str__(self) -> str:
        return self.clip.name


def _make(job: _Job, *, videos: Path, copy: bool) -> bool:
    """Put a sequence into the tree; whether anything was to do."""
    clip = job.clip
    place = videos / clip.leaf
    if _stands(clip, place, copy):
        return False
    if place.exists() and not (place.is_symlink() or job.mine):
        raise DataError(
            "is there, and not of this command's making", where=place, how="remove it, or give --out another folder"
        )
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
    return True


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
