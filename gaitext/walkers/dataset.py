"""Writing walkers as a data set in the toolboxes' layout, resumably."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import gaitext
from gaitext.errors import ConfigError, DataError, import_extra
from gaitext.execution import map_sequences, raise_failures
from gaitext.store import clear_all_temporaries, clear_staging, is_unused, only_one, write_json, write_leaf
from gaitext.store.contract import CONTENTS
from gaitext.walkers.footage import (
    FOLDERS,
    clear_remains,
    has_footage,
    normalise_silhouette,
    video_bytes,
    write_footage,
)
from gaitext.walkers.observation import observe
from gaitext.walkers.scene import Scene
from gaitext.walkers.settings import WalkerSettings
from gaitext.walkers.walk import Walk, frame_count, make_walk

__all__ = ["Written", "dataset_bytes", "write_dataset"]

#: Changes whenever equal settings would give other files.
GENERATOR = 1
#: Says what a folder of walkers holds.
_RECORD = "walkers.json"

Item = tuple[int, str, str]


@dataclass(frozen=True)
class Written:
    """What :func:`write_dataset` did.

    Attributes:
        sequences: the data set's root for a toolbox; ``partition``: its partition file.
        written, kept: number of walks made now, and found finished.
        frames: frames in the walks made now.
        videos, boxes: roots of the videos and of their boxes; None where no video was asked for.
    """

    sequences: Path
    partition: Path
    written: int
    kept: int
    frames: int
    videos: Path | None = None
    boxes: Path | None = None


def write_dataset(settings: WalkerSettings, out: str | Path, workers: int = 0, quiet: bool = False) -> Written:
    """Write ``out``/sequences, ``out``/partition.json and ``out``/walkers.json.

    A leaf ``sequences/<id>/<type>/<view>`` holds the sequences of ``settings.content``; names, shapes and units
    of their files are :data:`gaitext.store.contract.CONTENTS`. With ``video``, ``videos/<id>/<type>/<view>.mp4``
    (H.264) and ``boxes/<id>/<type>/<view>.csv`` (MOT challenge) stand beside ``sequences``. A heatmap takes
    104 KB a frame. Files depend on the settings only, not on ``workers``. Run it again to resume:
    finished walks are kept. One process at a time may write to ``out``.

    Args:
        settings: what to make.
        out: a new or empty folder, or one that this function wrote with the same settings.
        workers: processes; 0 works in this one.
        quiet: no progress bar.

    Raises:
        ConfigError: ``out`` holds walkers of other settings, or a path leaves the frame.
        DataError: ``out`` holds something else, or the disk is too small.
        MissingDependencyError: a video is asked for and PyAV is not installed.
    """
    if "video" in settings.content:
        import_extra("av", "video", "writing videos of walkers")
    out = Path(out)
    _refuse_strangers(settings, out)
    with only_one(out):
        return _write(settings, out, workers, quiet)


def _write(settings: WalkerSettings, out: Path, workers: int, quiet: bool) -> Written:
    """:func:`write_dataset`, alone in ``out``."""
    clear_all_temporaries(out)
    if not _refuse_strangers(settings, out):
        write_json(out / _RECORD, _description(settings))
    sequences, partition = out / "sequences", out / "partition.json"
    names = [settings.identity_name(i + 1) for i in range(settings.identities)]
    split = settings.training
    write_json(partition, {"TRAIN_SET": names[:split], "TEST_SET": names[split:]})
    clear_staging(sequences)
    clear_remains(out)
    items = list(_items(settings))
    todo = [item for item in items if not (_has_leaf(settings, out, item) and _has_video(settings, out, item))]
    _check_space(settings, out, todo)
    work = partial(_write_one, settings, out)
    outcomes = map_sequences(work, todo, workers=workers, label="walkers", quiet=quiet)
    frames = raise_failures(outcomes, "walks")
    filmed = [out / folder for folder in FOLDERS] if "video" in settings.content else [None, None]
    return Written(sequences, partition, len(todo), len(items) - len(todo), sum(frames), *filmed)


def _items(settings: WalkerSettings) -> Iterator[Item]:
    for identity in range(1, settings.identities + 1):
        for kind in settings.types:
            for view in settings.views:
                yield identity, kind, view


def _name(settings: WalkerSettings, item: Item) -> tuple[str, str, str]:
    return settings.identity_name(item[0]), item[1], item[2]


def _has_leaf(settings: WalkerSettings, out: Path, item: Item) -> bool:
    """Whether the walk's leaf stands, or none is asked for."""
    if not settings.sequences:
        return True
    # Leaves appear whole (store.write_leaf); one that somebody has thinned out is made again.
    leaf = (out / "sequences").joinpath(*_name(settings, item))
    expected = {CONTENTS[name].file for name in settings.sequences}
    return leaf.is_dir() and {file.name for file in leaf.iterdir()} == expected


def _has_video(settings: WalkerSettings, out: Path, item: Item) -> bool:
    """Whether the walk's video and boxes stand, or none are asked for."""
    return "video" not in settings.content or has_footage(out, _name(settings, item))


def _write_one(settings: WalkerSettings, out: Path, item: Item) -> int:
    """Write what a walk lacks: its video and boxes, then its leaf."""
    walk, name = make_walk(settings, *item), _name(settings, item)
    lacks_video, lacks_leaf = not _has_video(settings, out, item), not _has_leaf(settings, out, item)
    outlined = lacks_leaf and "silhouettes" in settings.content
    shapes: list[np.ndarray] = []
    if lacks_video:
        scene = Scene(walk, settings.seed)
        frames = _watched(scene, shapes) if outlined else (scene.frame(t)[0] for t in range(len(scene)))
        write_footage(out, name, frames, walk.boxes, walk.fps, settings.video)
    elif outlined:
        scene = Scene(walk, settings.seed)
        shapes = [normalise_silhouette(scene.silhouette(t)) for t in range(len(scene))]
    if lacks_leaf:
        arrays = _sequences(walk, settings)
        if outlined:
            arrays["silhouettes"] = np.stack(shapes)
        chosen = {CONTENTS[content].stem: arrays[content] for content in settings.sequences}
        write_leaf(out / "sequences", *name, chosen)
    return len(walk)


def _watched(scene: Scene, shapes: list[np.ndarray]) -> Iterator[np.ndarray]:
    """A scene's frames; their silhouettes are added to ``shapes`` on the way."""
    for t in range(len(scene)):
        frame, silhouette = scene.frame(t)
        shapes.append(normalise_silhouette(silhouette))
        yield frame


def _sequences(walk: Walk, settings: WalkerSettings) -> dict[str, np.ndarray]:
    """A walk's sequences, all but silhouettes."""
    truth = np.concatenate((walk.keypoints, walk.visibility[..., None]), -1).astype(np.float32)
    if not {"heatmaps", "poses", "poses_frame", "boxes"} & set(settings.content):
        return {"keypoints": truth}
    observed = observe(walk, settings)
    return {
        "heatmaps": observed.heatmaps,
        "poses": observed.poses,
        "poses_frame": observed.poses_frame,
        "boxes": observed.crops,
        "keypoints": truth,
    }


def _description(settings: WalkerSettings) -> dict[str, Any]:
    """What walkers.json says."""
    # Settings of no effect are left out: folders from before they existed are still resumed.
    unused = set() if "video" in settings.content else {"video"}
    unused |= {"diversity"} if settings.diversity == 1 else set()
    return {
        "gaitext": gaitext.__version__,
        "generator": GENERATOR,
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json", exclude=unused),
    }


def _refuse_strangers(settings: WalkerSettings, out: Path) -> bool:
    """Refuse a folder that does not hold these walkers; whether it holds any yet."""
    record = out / _RECORD
    if record.exists():
        _compare(_description(settings), record)
        return True
    if not is_unused(out):
        raise DataError(f"is not empty and holds no {_RECORD}", where=out, how="give a new folder")
    return False


def _compare(description: dict[str, Any], record: Path) -> None:
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
        settings = found["settings"]
        generator = found["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("is not a description of walkers", where=record, how="give a new folder") from error
    if generator != description["generator"]:
        raise ConfigError(
            f"was written by generator {generator}; this is {description['generator']}",
            where=record,
            how="give a new folder, or install the gaitext that wrote it",
        )
    differing = _differences(settings, description["settings"])
    if differing:
        raise ConfigError(
            "holds walkers of other settings: " + "; ".join(differing),
            where=record,
            how="give the same settings to resume, or a new folder",
        )


def _differences(found: dict[str, Any], asked: dict[str, Any], prefix: str = "") -> list[str]:
    listed = []
    for key in sorted(found.keys() | asked.keys()):
        one, other = found.get(key), asked.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            listed += _differences(one, other, f"{prefix}{key}.")
        elif one != other:
            listed.append(f"{prefix}{key} is {one} there and {other} here")
    return listed


def dataset_bytes(settings: WalkerSettings, walks: Iterable[Item] | None = None) -> int:
    """How much disk the walks take, in bytes, videos roughly; default: all walks of the data set."""
    each = sum(CONTENTS[name].frame_bytes for name in settings.sequences)
    each += video_bytes(settings) if "video" in settings.content else 0
    return each * sum(frame_count(settings, *item) for item in (_items(settings) if walks is None else walks))


def _check_space(settings: WalkerSettings, out: Path, todo: list[Item]) -> None:
    needed = dataset_bytes(settings, todo)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DataError(
            f"{len(todo)} walks need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            where=out,
            how="ask for fewer identities, types, views or frames, or leave heatmaps or video out of content",
        )
