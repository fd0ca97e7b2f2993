"""A data set from one form into another: plain, compact, lossless; merged into parts or not; poses into others.

Heatmaps change their form (:func:`convert_dataset`); poses become COCO's joints or SkeletonGait's maps
(:func:`convert_poses`).
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from gaitext.errors import ConfigError, DataError, suggest
from gaitext.making import Entry, Progress, Recipe, Report, as_read_back, holding, make_all
from gaitext.skeleton import COCO_JOINTS, OPENPOSE_18, Partition, PartitionLike, merge_parts, resolve_partition
from gaitext.store import (
    Array,
    CompactSequence,
    Form,
    Leaf,
    LeafWriter,
    clear_staging,
    clear_temporaries,
    leaves,
    open_sequence,
    root_within,
    write_json,
)
from gaitext.store.contract import POSES_FRAME, Content
from gaitext.video.digests import content_sha256

#: What poses can become: OpenPose's 18 joints COCO's 17, COCO's 17 SkeletonGait's two maps.
Target = Literal["coco17", "skeletongait"]
#: SkeletonGait's maps of limbs and joints, and silhouettes beside them, under the names that OpenGait gives them.
MAPS, BESIDE_MAPS = Content("0_heatmap", "uint8", (2, 64, 64)), "1_sil"

#: Frames in memory at a time, of compact sources.
_BATCH = 64
_RECORD = ".convert.json"
#: Folder in ``out`` with a file for each leaf, which says what it was made of.
_SOURCES = ".convert"
#: Changes whenever equal settings would give other files.
_VERSION = 1


@dataclass
class Change:
    """What became of heatmaps: of one leaf, or summed over leaves.

    Attributes:
        frames: converted.
        before, after: bytes of the heatmap files.
        greatest: error of a pixel against the source (merged, where parts were asked for).
        absolute, pixels: sum of errors, and of how many pixels.
        moved, peaks: maps whose first maximum is another pixel now, of how many that have one above 0.
    """

    frames: int = 0
    before: int = 0
    after: int = 0
    greatest: float = 0.0
    absolute: float = 0.0
    pixels: int = 0
    moved: int = 0
    peaks: int = 0

    def add(self, other: Change) -> None:
        greatest = max(self.greatest, other.greatest)
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)
        self.greatest = greatest

    def compare(self, source: Array, stored: Array) -> None:
        """Count the differences between frames [n, C, H, W]."""
        error = np.abs(stored.astype(np.float32) - source.astype(np.float32))
        self.greatest = max(self.greatest, float(error.max(initial=0)))
        self.absolute += float(error.sum(dtype=np.float64))
        self.pixels += error.size
        maps, stored = (each.reshape(-1, each.shape[-2] * each.shape[-1]) for each in (source, stored))
        peaked = maps.max(1) > 0
        self.peaks += int(peaked.sum())
        self.moved += int((maps.argmax(1) != stored.argmax(1))[peaked].sum())


@dataclass(kw_only=True)
class ConvertReport(Report):
    """What :func:`convert_dataset` did.

    Attributes:
        out: the new data set's root.
        written: leaves made now; ``kept``: found finished.
        change: of the leaves made now.
    """

    out: Path
    written: int = 0
    kept: int = 0
    change: Change = field(default_factory=Change)

    def __str__(self) -> str:
        lines = [f"{self.written} sequences written, {self.kept} already there, {len(self.failed)} failed"]
        change = self.change
        if change.frames:
            before, after = change.before / change.frames, change.after / change.frames
            ratio = f"{before / after:.1f} times fewer" if after <= before else f"{after / before:.1f} times more"
            lines.append(f"bytes per frame: {before:.0f} before, {after:.0f} after ({ratio}; {change.frames} frames)")
            lines.append(
                f"error: greatest {change.greatest:.2g}, mean {change.absolute / max(change.pixels, 1):.2g}; "
                f"argmax moved in {100 * change.moved / max(change.peaks, 1):.2f} % of {change.peaks} maps"
            )
        return "\n".join(lines)


def convert_dataset(
    source: str | Path,
    out: str | Path,
    form: Form,
    *,
    merge: PartitionLike | None = None,
    floor: float = 0.0,
    workers: int = 0,
    quiet: bool = False,
) -> ConvertReport:
    """Write the data set ``source`` into ``out``, its heatmaps in another form.

    Heatmaps are pkls of floating numbers [T, C, H, W]; a leaf's other pkls are copied as they are,
    so that ``data_in_use`` counts the same files. A leaf appears whole or not at all. Run it again
    to resume: what is finished is not done again, as long as the files it was made of hold the same
    (``out/.convert`` says what they held). One call at a time may write to ``out``.

    Args:
        source: root of a data set, ``<id>/<type>/<view>/*.pkl``, or the folder that extraction wrote to.
        out: a new or empty folder, or one that this function wrote with the same settings.
        form: ``plain`` (the toolboxes' own), ``compact`` (8 bits) or ``lossless``.
        merge: a partition: 17 joints' maps become its K parts', for ``alignment.merge: offline``.
        floor: for ``compact``, values nearer to 0 than this become 0.
        workers: processes; 0 works in this one.
        quiet: no progress bar.

    Returns:
        What was done. Leaves that failed do not stop the others: see
        :meth:`ConvertReport.raise_failures`.

    Raises:
        ConfigError: unknown partition, or ``out`` was written with other settings.
        DataError: no data set, ``out`` overlaps it or holds something else, or a full disk.
    """
    partition = None if merge is None else resolve_partition(merge, where="--merge")
    settings = {"version": _VERSION, "form": form, "merge": partition, "floor": floor}
    return _work(_Forms(Path(out), form, partition, floor), source, settings, workers, quiet)


def convert_poses(
    source: str | Path, out: str | Path, to: Target, *, workers: int = 0, quiet: bool = False
) -> ConvertReport:
    """Write the data set ``source`` into ``out``, its poses as other joints or as maps.

    A leaf's poses are ``2_poses_frame.pkl``, or its only pkl of numbers [T, V, 2] or [T, V, 3]; x, y in pixels,
    score, which is 1 where there is none. ``coco17`` takes COCO's 17 joints out of OpenPose's 18
    (:data:`gaitext.skeleton.OPENPOSE_18`, as OUMVLP-Pose has them) and writes them as ``2_poses_frame.pkl``, float32
    [T, 17, 3], the leaf's other files beside it. ``skeletongait`` writes ``0_heatmap.pkl``, uint8 [T, 2, 64, 64]
    (:func:`gaitext.transforms.skeleton_maps.skeleton_maps`), and silhouettes, where the leaf has them, as
    ``1_sil.pkl``, for SkeletonGait++. Resuming, ``source``, ``out``, ``workers`` and ``quiet`` are as of
    :func:`convert_dataset`.

    Raises:
        ConfigError: there is no such target, or ``out`` was written with other settings.
        DataError: as of :func:`convert_dataset`.
    """
    if to not in get_args(Target):
        raise ConfigError(f"poses cannot become '{to}'", where="--to", how=suggest(to, get_args(Target)))
    return _work(_Poses(Path(out), to), source, {"version": _VERSION, "to": to}, workers, quiet)


def _work(recipe: _Leaves, source: str | Path, settings: Entry, workers: int, quiet: bool) -> ConvertReport:
    """Convert all leaves of ``source``, alone in the recipe's folder."""
    source, out = root_within(source) or Path(source), recipe.out
    one, other = source.resolve(), out.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise DataError(
            "lies in the data set that is to be converted, or around it", where=out, how="give a new folder"
        )
    found = leaves(source)
    if not found:
        raise DataError(
            "holds no sequences", where=source, how="give the folder of <id>/<type>/<view>, a config's dataset_root"
        )
    settings = as_read_back(settings)

    def check(found: Entry, record: Path) -> None:
        if found != settings:
            raise ConfigError(
                f"was converted with other settings: {found}",
                where=out,
                how="give the same settings to resume, or a new folder",
            )

    with holding(out, _RECORD, settings, check):
        clear_staging(out)
        report = make_all(recipe, found, workers=workers, quiet=quiet)
    report.outcomes = [one for one in report.outcomes if one.result is None or one.result.written]
    return report


@dataclass
class _Leaves(Recipe[Leaf, ConvertReport]):
    """How a leaf is converted."""

    out: Path

    label, steps, shared, manifest = "convert", "", False, False

    def report(self) -> ConvertReport:
        return ConvertReport(out=self.out)

    def name(self, item: Leaf) -> str:
        return item.name

    @abstractmethod
    def names(self, leaf: Leaf) -> list[str]:
        """The files that are made of a leaf."""

    @abstractmethod
    def convert(self, leaf: Leaf) -> ConvertReport:
        """Make them."""

    def make(self, item: Leaf, resume: bool, progress: Progress | None) -> ConvertReport:
        if not item.files():
            raise DataError("no .pkl file", where=item.path, how="give the root of <id>/<type>/<view>/*.pkl")
        record, source = self.out / _SOURCES / f"{item.name}.json", _source(item)
        if self._finished(item, record, source):
            return ConvertReport(out=self.out, kept=1)
        clear_temporaries(record)
        record.unlink(missing_ok=True)  # a kill from here on leaves a leaf without one, which is made again
        made = self.convert(item)
        write_json(record, source)
        return made

    def _finished(self, leaf: Leaf, record: Path, source: dict[str, str]) -> bool:
        # Leaves appear whole; one that somebody has thinned out is made again.
        made = Leaf(leaf.identity, leaf.type, leaf.view, self.out / leaf.name)
        try:
            known = json.loads(record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return known == source and made.path.is_dir() and [file.name for file in made.files()] == self.names(leaf)


@dataclass
class _Forms(_Leaves):
    """How a leaf's heatmaps change their form."""

    form: Form
    merge: Partition | None
    floor: float

    def names(self, leaf: Leaf) -> list[str]:
        return [file.name for file in leaf.files()]

    def convert(self, leaf: Leaf) -> ConvertReport:
        files, change = leaf.files(), Change()
        heatmaps: list[tuple[Path, Array | CompactSequence]] = []
        forms = {file.stem: self.form for file in files}
        with LeafWriter(self.out, leaf.identity, leaf.type, leaf.view, forms, floor=self.floor) as writer:
            for file in files:
                sequence = open_sequence(file)
                if not _is_heatmaps(sequence):
                    writer.carry(file, len(sequence))
                    continue
                if isinstance(sequence, CompactSequence):
                    sequence.verify()
                heatmaps.append((file, sequence))
                for frames in _batches(sequence, self.merge, file):
                    writer.append({file.stem: _as_form(frames, self.form, file)})
            if not heatmaps:
                raise DataError("holds no heatmaps: no pkl of floating numbers [T, C, H, W]", where=leaf.path)
        for file, sequence in heatmaps:
            made = open_sequence(writer.leaf.path / file.name)
            change.frames += len(sequence)
            change.before += file.stat().st_size
            change.after += (writer.leaf.path / file.name).stat().st_size
            for start, frames in zip(range(0, len(sequence), _BATCH), _batches(sequence, self.merge, file)):
                change.compare(frames, made[start : start + _BATCH])
        return ConvertReport(out=self.out, written=1, change=change)


@dataclass
class _Poses(_Leaves):
    """How a leaf's poses become other joints, or maps."""

    to: Target

    def names(self, leaf: Leaf) -> list[str]:
        stems = [stem for _, stem in self._beside(leaf, _poses(leaf)[0])]
        return sorted(f"{stem}.pkl" for stem in [self._content.stem, *stems])

    @property
    def _content(self) -> Content:
        return POSES_FRAME if self.to == "coco17" else MAPS

    def _beside(self, leaf: Leaf, poses: Path) -> list[tuple[Path, str]]:
        """The files that are carried along, and under which name."""
        others = [file for file in leaf.files() if file != poses]
        if self.to == "coco17":
            return [(file, file.stem) for file in others]
        silhouettes = [file for file in others if _is_silhouettes(open_sequence(file))]
        if len(silhouettes) > 1:
            listed = ", ".join(file.name for file in silhouettes)
            raise DataError(f"holds silhouettes more than once: {listed}", where=leaf.path, how="leave one of them")
        return [(file, BESIDE_MAPS) for file in silhouettes]

    def convert(self, leaf: Leaf) -> ConvertReport:
        file, poses = _poses(leaf)
        joints, wanted = poses.shape[1], len(OPENPOSE_18) + 1 if self.to == "coco17" else len(COCO_JOINTS)
        if joints != wanted:
            how = "they are COCO's already" if joints == len(COCO_JOINTS) else None
            if self.to == "skeletongait" and joints == len(OPENPOSE_18) + 1:
                how = "convert them --to coco17 first"
            raise DataError(f"holds {joints} joints, not {wanted}", where=file, how=how)
        if self.to == "coco17":
            made = poses[:, list(OPENPOSE_18)]
        else:
            from gaitext.transforms.skeleton_maps import skeleton_maps  # which brings torch along

            made = skeleton_maps(poses)
        with LeafWriter(self.out, leaf.identity, leaf.type, leaf.view) as writer:
            writer.append({self._content.stem: made.astype(self._content.dtype)})
            for other, stem in self._beside(leaf, file):
                writer.carry(other, len(open_sequence(other)), stem)
        return ConvertReport(out=self.out, written=1)


def _poses(leaf: Leaf) -> tuple[Path, Array]:
    """A leaf's poses: their file, and x, y, score, [T, V, 3]."""
    files = [file for file in leaf.files() if file.name == POSES_FRAME.file] or leaf.files()
    found = []
    for file in files:
        sequence = open_sequence(file)
        if sequence.ndim == 3 and sequence.shape[2] in (2, 3) and sequence.dtype.kind in "fiu":
            found.append((file, np.asarray(sequence[:])))
    if len(found) != 1:
        listed = ", ".join(file.name for file, _ in found) or "no pkl of numbers [T, V, 3]"
        raise DataError(
            f"cannot be told where its poses are: {listed}", where=leaf.path, how=f"call them {POSES_FRAME.file}"
        )
    file, poses = found[0]
    if not np.isfinite(poses).all():
        raise DataError("holds NaN or infinity", where=file, how="a missing joint is (0, 0, 0)")
    if poses.shape[2] == 2:
        poses = np.concatenate((poses, poses.any(2, keepdims=True)), 2)
    return file, poses


def _source(leaf: Leaf) -> dict[str, str]:
    """What a leaf is made of: each file's name and SHA-256."""
    return {file.name: content_sha256(file) for file in leaf.files()}


def _is_silhouettes(sequence: Array | CompactSequence) -> bool:
    return sequence.ndim == 3 and sequence.dtype == np.uint8 and min(sequence.shape[1:]) > 3


def _is_heatmaps(sequence: Array | CompactSequence) -> bool:
    return sequence.ndim == 4 and sequence.dtype.kind == "f"


def _batches(sequence: Array | CompactSequence, merge: Partition | None, file: Path) -> Iterator[Array]:
    if merge is not None and sequence.shape[1] != len(COCO_JOINTS):
        raise DataError(
            f"holds {sequence.shape[1]} channels, not {len(COCO_JOINTS)} joints",
            where=file,
            how="merge a data set whose heatmaps are not merged yet",
        )
    for start in range(0, len(sequence), _BATCH):
        frames = np.asarray(sequence[start : start + _BATCH])
        yield frames if merge is None else merge_parts(frames, merge)


def _as_form(frames: Array, form: Form, file: Path) -> Array:
    if form != "plain":
        return frames
    with np.errstate(over="ignore"):
        half = frames.astype(np.float16, copy=False)
    if np.isinf(half).sum() != np.isinf(frames).sum():
        raise DataError("holds numbers that float16 cannot", where=file, how="take the lossless form")
    return half
