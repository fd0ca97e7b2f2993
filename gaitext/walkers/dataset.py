"""Writing walkers as a data set in the toolboxes' layout, with video and its boxes, resumably."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import gaitext
from gaitext.errors import ConfigError, DataError, ShapeError, import_extra
from gaitext.making import Entry, Progress, Recipe, Report, holding, make_all
from gaitext.store import atomic_path, clear_staging, write_leaf, write_partition
from gaitext.store.contract import CONTENTS
from gaitext.video import write_video
from gaitext.walkers.company import is_in_frame, make_company
from gaitext.walkers.observation import observe
from gaitext.walkers.scene import Scene
from gaitext.walkers.settings import VideoSettings, WalkerSettings
from gaitext.walkers.walk import Walk, frame_count

#: Changes whenever equal settings would give other files.
GENERATOR = 1
#: Says what a folder of walkers holds.
_RECORD = "walkers.json"
#: Where videos and their boxes lie in a data set.
_FOOTAGE = {"videos": ".mp4", "boxes": ".csv"}
#: Where everybody's boxes lie, and the passers-by's leaves.
_PEOPLE = "people"

#: An identity's number, a type and a view; and the three as folders' names.
Item = tuple[int, str, str]
Name = tuple[str, str, str]


@dataclass(kw_only=True)
class Written(Report):
    """What :func:`write_dataset` did.

    Attributes:
        sequences: the data set's root for a toolbox; ``partition``: its partition file.
        written, kept: number of walks made now, and found finished.
        frames: frames in the walks made now.
        videos, boxes: roots of the videos and of their boxes; None where no video was asked for.
    """

    sequences: Path
    partition: Path
    written: int = 0
    kept: int = 0
    frames: int = 0
    videos: Path | None = None
    boxes: Path | None = None


def write_dataset(settings: WalkerSettings, out: str | Path, workers: int = 0, quiet: bool = False) -> Written:
    """Write ``out``/sequences, ``out``/partition.json and ``out``/walkers.json.

    A leaf ``sequences/<id>/<type>/<view>`` holds the sequences of ``settings.content``; names, shapes and units
    of their files are :data:`gaitext.store.contract.CONTENTS`. With ``video``, ``videos/<id>/<type>/<view>.mp4``
    (H.264) and ``boxes/<id>/<type>/<view>.csv`` (MOT challenge) stand beside ``sequences``. With several ``people``
    in a clip, both are still of the one it is named after; ``people/<id>/<type>/<view>.csv`` has everybody's boxes
    as the MOT challenge writes its ground truth (frame, id, x, y, w, h, 1, class 1, share seen), the named one
    being 1, and ``people/<id>/<type>/<view>-2`` and so on are the others' leaves. A heatmap takes
    104 KB a frame. Files depend on the settings only, not on ``workers``. Run it again to resume: finished walks are
    kept. One process at a time may write to ``out``.

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
    description = _description(settings)
    with holding(out, _RECORD, description, partial(_compare, description)):
        recipe = _Walks(settings, out)
        names = [settings.identity_name(i + 1) for i in range(settings.identities)]
        split = settings.training
        write_partition(out / "partition.json", names[:split], names[split:])
        clear_staging(out / "sequences")
        clear_staging(out / _PEOPLE)
        for folder, suffix in (*_FOOTAGE.items(), (_PEOPLE, ".csv")):
            for rest in (out / folder).glob(f"*/*/.*.tmp{suffix}"):
                rest.unlink(missing_ok=True)
        items = list(_items(settings))
        todo = [item for item in items if not (recipe.has_leaf(item) and recipe.has_video(item))]
        _check_space(settings, out, todo)
        report = make_all(recipe, todo, workers=workers, quiet=quiet)
    report.raise_failures("walks")
    report.kept = len(items) - len(todo)
    return report


def _items(settings: WalkerSettings) -> Iterator[Item]:
    for identity in range(1, settings.identities + 1):
        for kind in settings.types:
            for view in settings.views:
                yield identity, kind, view


@dataclass
class _Walks(Recipe[Item, Written]):
    """How a walk's video, its boxes and its leaf are written, those of them that do not stand."""

    settings: WalkerSettings
    out: Path

    label, steps, shared, manifest = "walkers", "", False, False

    def report(self) -> Written:
        report = Written(sequences=self.out / "sequences", partition=self.out / "partition.json")
        if "video" in self.settings.content:
            report.videos, report.boxes = (self.out / folder for folder in _FOOTAGE)
        return report

    def name(self, item: Item) -> str:
        return "/".join(self._name(item))

    def _name(self, item: Item) -> Name:
        return self.settings.identity_name(item[0]), item[1], item[2]

    def has_leaf(self, item: Item) -> bool:
        """Whether the walk's leaf stands, or none is asked for."""
        if not self.settings.sequences:
            return True
        # Leaves appear whole (store.write_leaf); one that somebody has thinned out is made again.
        expected = {CONTENTS[name].file for name in self.settings.sequences}
        leaves = [root.joinpath(*name) for root, name in self._leaves(item)]
        return all(leaf.is_dir() and {file.name for file in leaf.iterdir()} == expected for leaf in leaves)

    def _leaves(self, item: Item) -> list[tuple[Path, Name]]:
        """Root and name of everybody's leaf, the named person's first."""
        identity, kind, view = self._name(item)
        others = [(self.out / _PEOPLE, (identity, kind, f"{view}-{n}")) for n in range(2, self.settings.people + 1)]
        return [(self.out / "sequences", (identity, kind, view)), *others]

    def _people(self, item: Item) -> Path:
        """Everybody's boxes."""
        identity, kind, view = self._name(item)
        return self.out / _PEOPLE / identity / kind / f"{view}.csv"

    def has_video(self, item: Item) -> bool:
        """Whether the walk's video and boxes stand, or none are asked for; files appear whole."""
        files = _files(self.out, self._name(item))
        files += [self._people(item)] if self.settings.people > 1 else []
        return "video" not in self.settings.content or all(file.is_file() for file in files)

    def make(self, item: Item, resume: bool, progress: Progress | None) -> Written:
        """Write what a walk lacks: its video and boxes, then its leaf."""
        settings, out, name = self.settings, self.out, self._name(item)
        company = make_company(settings, *item)
        walk = company[0]
        lacks_video, lacks_leaf = not self.has_video(item), not self.has_leaf(item)
        outlined = lacks_leaf and "silhouettes" in settings.content
        shapes: list[list[np.ndarray]] = []  # of each frame, everybody's
        if lacks_video or outlined:
            scene = Scene(walk, settings.seed, company[1:])
        if lacks_video:
            frames = _outlined_frames(scene, shapes) if outlined else (scene.frame(t)[0] for t in range(len(scene)))
            write_footage(out, name, frames, walk.boxes, walk.fps, settings.video)
            if len(company) > 1:
                _write_people(self._people(item), company, scene)
        elif outlined:
            shapes = [[normalise_silhouette(one) for one in scene.silhouettes(t)] for t in range(len(scene))]
        if lacks_leaf:
            for number, (one, (root, leaf)) in enumerate(zip(company, self._leaves(item))):
                arrays = _sequences(one, settings)
                if outlined:
                    arrays["silhouettes"] = np.stack([shape[number] for shape in shapes])
                chosen = {CONTENTS[content].stem: arrays[content] for content in settings.sequences}
                write_leaf(root, *leaf, chosen)
        return replace(self.report(), written=1, frames=len(walk))


def _write_people(path: Path, company: list[Walk], scene: Scene) -> None:
    """Everybody's boxes while in the frame, as the MOT challenge writes its ground truth."""
    present = [is_in_frame(walk) for walk in company]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        for t in range(len(scene)):
            shares = scene.shares_seen(t)
            for number, walk in enumerate(company):
                if present[number][t]:
                    box = ",".join(f"{value:.2f}" for value in walk.boxes[t])
                    stream.write(f"{t + 1},{number + 1},{box},1,1,{shares[number]:.2f}\n")


def _files(out: Path, name: Name) -> list[Path]:
    """A walk's video and its boxes."""
    identity, kind, view = name
    return [out / folder / identity / kind / f"{view}{suffix}" for folder, suffix in _FOOTAGE.items()]


def _outlined_frames(scene: Scene, shapes: list[list[np.ndarray]]) -> Iterator[np.ndarray]:
    """A scene's frames; everybody's silhouettes are added to ``shapes`` on the way."""
    for t in range(len(scene)):
        frame, silhouettes = scene.frame_of_all(t)
        shapes.append([normalise_silhouette(one) for one in silhouettes])
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
    unused |= {name for name in ("diversity", "people") if getattr(settings, name) == 1}
    return {
        "gaitext": gaitext.__version__,
        "generator": GENERATOR,
        "seed": settings.seed,
        "settings": settings.model_dump(mode="json", exclude=unused),
    }


def _compare(description: Entry, found: Entry, record: Path) -> None:
    """Refuse a folder of other walkers."""
    try:
        settings, generator = found["settings"], found["generator"]
    except (KeyError, TypeError) as error:
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
    each = settings.people * sum(CONTENTS[name].frame_bytes for name in settings.sequences)
    each += _video_bytes(settings) if "video" in settings.content else 0
    return each * sum(frame_count(settings, *item) for item in (_items(settings) if walks is None else walks))


def _video_bytes(settings: WalkerSettings) -> int:
    """About how many bytes a frame of video and its box take: the sensor's noise decides."""
    pixels = settings.camera.width * settings.camera.height
    return 40 + round(0.04 * pixels * 2 ** ((20 - settings.video.crf) / 3))


def _check_space(settings: WalkerSettings, out: Path, todo: list[Item]) -> None:
    needed = dataset_bytes(settings, todo)
    free = shutil.disk_usage(out).free
    if needed > free:
        raise DataError(
            f"{len(todo)} walks need {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free",
            where=out,
            how="ask for fewer identities, types, views or frames, or leave heatmaps or video out of content",
        )


def write_footage(
    out: Path,
    name: Name,
    frames: Iterable[npt.NDArray[np.uint8]],
    boxes: npt.NDArray[np.floating[Any]],
    fps: float,
    video: VideoSettings,
) -> None:
    """Write ``out``/videos/<id>/<type>/<view>.mp4 and ``out``/boxes/<id>/<type>/<view>.csv.

    Frames are RGB uint8 [H, W, 3], H and W even; boxes [T, 4] x, y, w, h in frame pixels.
    """
    film, listed = _files(out, name)
    # With one thread x264 writes the same file on machines of any number of cores.
    write_video(film, frames, fps=fps, crf=video.crf, preset=video.preset, threads=1)
    lines = (f"{t},1,{x:.2f},{y:.2f},{w:.2f},{h:.2f},1" for t, (x, y, w, h) in enumerate(boxes, 1))
    with atomic_path(listed) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def normalise_silhouette(mask: npt.NDArray[Any], size: int = 64) -> npt.NDArray[np.uint8]:
    """Bring a silhouette to the toolboxes' form, as OpenGait's pretreatment is documented to.

    Rows are cut to the body's, scaled to ``size`` with the aspect kept, and ``size`` columns are
    taken about the column that has half of the body on either side. Pixels are areas here: one is
    set if the body covers half of it.

    Args:
        mask: [H, W], true or positive where the body is.
        size: rows and columns of the result.

    Returns:
        uint8 [size, size], 0 or 255; all 0 where there is no body.

    Raises:
        ShapeError: not an image.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ShapeError(f"a silhouette of shape {mask.shape}", where="normalise_silhouette", how="give [H, W]")
    body = mask > 0
    rows, columns = np.flatnonzero(body.any(1)), np.flatnonzero(body.any(0))
    if len(rows) == 0:
        return np.zeros((size, size), np.uint8)
    body = body[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    step = len(body) / size
    mass = np.concatenate(([0], body.sum(0).cumsum()))
    middle = np.interp(mass[-1] / 2, mass, np.arange(len(mass)))
    thin = _binned(body, step * np.arange(size + 1))
    area = _binned(thin.T, middle + step * (np.arange(size + 1) - size / 2)).T
    return np.where(area >= 0.5 * step * step, 255, 0).astype(np.uint8)


def _binned(image: npt.NDArray[Any], edges: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """Sums [N, W] of an image's rows between edges [N + 1]; rows are areas, and what is outside is 0."""
    total = np.zeros((len(image) + 2, image.shape[1]))
    np.cumsum(image, 0, out=total[1:-1])
    total[-1] = total[-2]
    edges = np.clip(edges, 0, len(image))
    whole = edges.astype(int)
    until = total[whole] + (edges - whole)[:, None] * (total[whole + 1] - total[whole])
    return np.diff(until, axis=0)
