"""Good pictures and what H.264 makes of them, unpacked once, so that training decodes nothing."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.making import Entry, Progress, Recorded, Records, Report, claim, make_all, refuse_twins
from gaitext.restoration.crops import DEGRADED, ORIGINAL
from gaitext.restoration.degrade import DegradeSettings, degrade_video
from gaitext.restoration.restorer_settings import FootageSettings, RestorerDataSettings
from gaitext.store import LeafWriter, clear_staging, leaves_of_people, locked, map_sequence
from gaitext.video import count_frames, read_frames
from gaitext.video.digests import digest
from gaitext.video.frames import is_image, read_image
from gaitext.video.sources import VideoSource, find_clips, find_videos

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

#: The rate factors that held-out video is measured at, and the quality factors of FBCNN's tables.
CRFS, QUALITIES = (30.0, 37.0, 45.0, 51.0), (10, 20, 30, 40)
#: Crf's largest: a crf over this is the label of its quality, as 1 − QF/100 is JPEG's (ours).
LARGEST_CRF = 51.0
#: How folders begin that hold a clip's H.264 until it is unpacked.
_ENCODING = ".h264."


class Footage(NamedTuple):
    """A picture or a clip that is to be unpacked.

    Attributes:
        leaf: (id, type, view), where it goes to in the cache.
        path: the picture, the video, or the folder of frames.
        group: what is held out together: a person's clips, or it alone.
        crfs: that it is encoded with, those of held-out clips until others are drawn; none of a picture.
    """

    leaf: tuple[str, str, str]
    path: Path
    group: str
    crfs: tuple[float, ...] = ()


@dataclass(frozen=True)
class Clip:
    """Frames on disk, and their H.264.

    Attributes:
        frames: how many.
        original: file of uint8 [T, 3, H, W], RGB.
        degraded: crf and file, of the same shape, of each version.
    """

    frames: int
    original: str
    degraded: tuple[tuple[float, str], ...]


@dataclass
class FootageReport(Report):
    """What was unpacked.

    Attributes:
        written, standing: names of those made now, and finished earlier.
        clips: what can be drawn from, by name.
    """

    written: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    clips: dict[str, Clip] = field(default_factory=dict)

    def __str__(self) -> str:
        frames = sum(clip.frames for clip in self.clips.values())
        return f"{len(self.written)} clips and pictures unpacked, {len(self.standing)} already there: {frames} frames"


def prepare_footage(
    data: RestorerDataSettings, *, workers: int = 0, quiet: bool = False
) -> tuple[list[Clip], list[Clip]]:
    """Unpack what a restorer is trained on, and what it is measured on, into ``data.cache``; what stands is kept.

    Of several processes one works and the others wait. A crf is drawn of the clip's name, its number and
    ``data.seed`` alone, so that more clips or rounds change none. Held-out video is encoded at :data:`CRFS`.

    Returns:
        Clips to train on and clips held out, in order of their names.

    Raises:
        DataError: a folder with nothing in it, nothing left to train on or to hold out, crops whose crf nobody knows.
        VideoError: a picture or a video that cannot be read.
    """
    training, held_out = _divided(data)
    training = [item._replace(crfs=_drawn(item, data)) if item.crfs else item for item in training]
    crops, held_crops = _divided_crops(data)
    refuse_twins((("/".join(f.leaf), f.path) for f in (*training, *held_out)), how="name each once")
    claim(data.cache, "data.cache")
    with locked(data.cache / ".lock"):
        clear_staging(data.cache / "sequences")
        for rest in data.cache.glob(f"{_ENCODING}*"):
            shutil.rmtree(rest, ignore_errors=True)
        recipe = Unpacking(data.cache, data.frames)
        report = make_all(recipe, [*training, *held_out], workers=workers, quiet=quiet)
    report.raise_failures("clips and pictures")
    log.info("%s", report)
    parts = [[report.clips["/".join(item.leaf)] for item in part] for part in (training, held_out)]
    parts = [parts[0] + crops, parts[1] + held_crops]
    for part, what in zip(parts, ("to train on", "to measure on")):
        if not part:
            raise DataError(f"nothing is left {what}", where="data", how="give more clips, or data.held_out")
    return parts[0], parts[1]


def _divided(data: RestorerDataSettings) -> tuple[list[Footage], list[Footage]]:
    """Pictures and videos to train on, and those held out."""
    training: list[Footage] = []
    held_out: list[Footage] = []
    for find in (_pictures, _videos):
        found = sorted(find(data))
        if data.held_out is None:
            groups = _held_out_groups({item.group for item in found}, data)
            held_out += [item for item in found if item.group in groups]
            training += [item for item in found if item.group not in groups]
        else:
            training += found
            held_out += sorted(find(data.held_out))
    # By their places: a name in the cache must mean one content, whichever part it is in.
    return training, [item._replace(leaf=(f"held-{item.leaf[0]}", *item.leaf[1:])) for item in held_out]


def _held_out_groups(groups: set[str], data: RestorerDataSettings) -> set[str]:
    if len(groups) < 2:
        return set()
    many = max(1, round(data.held_out_share * len(groups)))
    return set(np.random.default_rng(data.seed).permutation(sorted(groups))[:many].tolist())


def _pictures(data: FootageSettings) -> list[Footage]:
    found = []
    for number, folder in enumerate(data.pictures):
        files = [path for path in folder.rglob("*") if is_image(path.name) and path.is_file()]
        if not files:
            raise DataError("holds no pictures", where=folder, how="give a folder with .jpg, .png, … in it or below")
        for path in files:
            inside = path.relative_to(folder)
            place = "+".join(inside.parent.parts) or "-"
            found.append(Footage((f"pictures-{number}", place, path.name), path, str(path)))
    return found


def _videos(data: FootageSettings) -> list[Footage]:
    found = []
    for number, root in enumerate(data.videos):
        for source in _sources(root):
            identity, kind, view = source.place or ("-", "-", source.path.name)
            group = f"{number}/{identity}" if source.place else str(source.path)
            found.append(Footage((f"videos-{number}", f"{identity}+{kind}", view), source.path, group, CRFS))
    return found


def _sources(root: Path) -> list[VideoSource]:
    """Videos of a tree, of a folder of ``gaitext walkers``, of a folder without names of persons, or one."""
    return find_videos(root / "videos") if (root / "walkers.json").is_file() else find_clips(root)


def _drawn(item: Footage, data: RestorerDataSettings) -> tuple[float, ...]:
    """A crf, to a tenth, for each round."""
    name = int.from_bytes(hashlib.sha256("/".join(item.leaf).encode(errors="surrogateescape")).digest()[:8], "big")
    low, high = data.crf
    return tuple(
        round(float(np.random.default_rng((data.seed, name, number)).uniform(low, high)), 1)
        for number in range(data.rounds)
    )


def _divided_crops(data: RestorerDataSettings) -> tuple[list[Clip], list[Clip]]:
    """Clips of crop caches to train on, and those held out, by identity."""
    parts: tuple[list[Clip], list[Clip]] = ([], [])
    for cache in data.crops:
        people = leaves_of_people(cache)[1]
        held = set() if data.held_out is not None else _held_out_groups(set(people), data)
        for identity in people:
            parts[identity in held].extend(_crops(cache, [leaf.path for leaf in people[identity]], data))
    for cache in data.held_out.crops if data.held_out is not None else ():
        for leaves in leaves_of_people(cache)[1].values():
            parts[1].extend(_crops(cache, [leaf.path for leaf in leaves], data))
    return parts


def _crops(cache: Path, leaves: Sequence[Path], data: RestorerDataSettings) -> Iterator[Clip]:
    for leaf in leaves:
        files = [leaf / f"{name}.pkl" for name in (ORIGINAL, DEGRADED)]
        if not all(file.is_file() for file in files):
            raise DataError(
                f"is no leaf of crops ({ORIGINAL}.pkl and {DEGRADED}.pkl)",
                where=leaf,
                how="give data.cache of `gaitext correct train` as data.crops",
            )
        crf = _recorded_crf(cache, "/".join(leaf.parts[-3:]))
        crf = data.crops_crf if crf is None else crf
        if crf is None:
            raise DataError("nobody has recorded its crf", where=leaf, how="give data.crops_crf")
        yield Clip(len(map_sequence(files[0])), str(files[0]), ((crf, str(files[1])),))


def _recorded_crf(cache: Path, leaf: str) -> float | None:
    """What ``gaitext degrade`` says of the video that crops were cut from."""
    crops = Records(cache).get(leaf)
    video = Path(crops["degraded"]) if crops else None
    for above in video.parents if video is not None else ():
        if above.name == "videos" and (above.parent / "records").is_dir():
            assert video is not None
            degraded = Records(above.parent).get(video.relative_to(above).with_suffix("").as_posix())
            crf = degraded["made_with"]["settings"].get("crf") if degraded else None
            return None if crf is None else float(crf)
    return None


@dataclass
class Unpacking(Recorded[Footage, FootageReport]):
    """How a picture or a clip becomes a leaf: ``original.pkl``, and ``h264-0.pkl`` of the first crf, and so on."""

    out: Path
    frames: int

    report = FootageReport
    label, steps = "footage", "frames"
    shared = manifest = False

    def name(self, item: Footage) -> str:
        return "/".join(item.leaf)

    def path(self, item: Footage) -> Path:
        return self.out / "sequences" / self.name(item)

    def decides(self, item: Footage) -> Entry:
        return {"video_digest": digest(item.path), "crf": list(item.crfs), "frames": self.frames}

    def origin(self, item: Footage, decided: Entry) -> Entry:
        return {"source": str(item.path)}

    def create(self, item: Footage, path: Path, progress: Progress | None) -> Entry:
        shutil.rmtree(path, ignore_errors=True)
        with LeafWriter(self.out / "sequences", *item.leaf) as leaf:
            if item.crfs:
                self._unpack(item, leaf, progress)
            else:
                leaf.append({"original": _planes(read_image(item.path))})
            return {"kept": leaf.frames}

    def _unpack(self, item: Footage, leaf: LeafWriter, progress: Progress | None) -> None:
        count = count_frames(item.path)
        chosen = np.unique(np.linspace(0, count - 1, min(self.frames, count)).round().astype(int)).tolist()
        with tempfile.TemporaryDirectory(prefix=_ENCODING, dir=self.out) as folder:
            names = {"original": item.path}
            for number, crf in enumerate(item.crfs):
                names[f"h264-{number}"] = Path(folder) / f"{number}.mp4"
                degrade_video(item.path, names[f"h264-{number}"], DegradeSettings(crf=crf))
            films = [read_frames(path, frozenset(chosen)) for path in names.values()]
            for done, shown in enumerate(zip(*films, strict=True), 1):
                height, width = shown[0][1].shape[:2]  # H.264's sides are even
                leaf.append({name: _planes(frame[:height, :width]) for name, (_, frame) in zip(names, shown)})
                if progress is not None:
                    progress(done, len(chosen))

    def reported(self, item: Footage, entry: Entry, made: bool) -> FootageReport:
        name, path = self.name(item), self.path(item)
        degraded = tuple((crf, str(path / f"h264-{number}.pkl")) for number, crf in enumerate(item.crfs))
        report = FootageReport(clips={name: Clip(entry["kept"], str(path / "original.pkl"), degraded)})
        (report.written if made else report.standing).append(name)
        return report


def _planes(frame: Array) -> Array:
    """uint8 [1, 3, H, W] of [H, W, 3]."""
    return np.ascontiguousarray(frame.transpose(2, 0, 1))[None]
