"""The datasets that release poses or silhouettes, and making leaves of them: resumably, counting all that is amiss."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from gaitext.errors import ConfigError, DataError, VideoError
from gaitext.execution import Outcome
from gaitext.extraction.prepare.items import Clip, Found
from gaitext.extraction.prepare.poses.casia_b import Rows, find_casia_b_poses, read_casia_b_poses
from gaitext.extraction.prepare.poses.frames import JOINTS, Poses, Unusable, clean, read_source
from gaitext.extraction.prepare.poses.psymo import find_psymo, read_psymo
from gaitext.extraction.prepare.poses.split import PSYMO_SPLIT, Split, psymo_identity, read_split, toolbox_split
from gaitext.extraction.prepare.poses.text import GAIT3D, GREW, find_gait3d_poses, find_grew_poses, read_texts
from gaitext.extraction.prepare.published import CASIA_B_SPLIT
from gaitext.extraction.prepare.report import PrepareReport, read_record, refuse_overlap
from gaitext.extraction.prepare.silhouettes import PATTERN, find_silhouettes, read_silhouettes
from gaitext.making import Entry, Progress, Recipe, make_all
from gaitext.store import (
    clear_all_temporaries,
    clear_staging,
    disk_errors,
    draw_partition,
    leaves,
    make_folder,
    only_one,
    read_sequence,
    write_json,
    write_leaf,
)
from gaitext.store.contract import POSES_FRAME, SILHOUETTES, Content
from gaitext.video.digests import content_sha256


def _find_heatmap_poses(root: Path) -> Found:
    """The poses beside heatmaps, below ``root/sequences`` or ``root``: leaves that extract or walkers made."""
    tree = root / "sequences" if (root / "sequences").is_dir() else root
    clips, left_out = [], {}
    for leaf in leaves(tree):
        file = leaf.path / POSES_FRAME.file
        if file.is_file() or file.is_symlink():
            clips.append(Clip(leaf.identity, leaf.type, leaf.view, file))
        else:
            left_out[str(leaf.path)] = f"has no {POSES_FRAME.file}"
    if not clips:
        raise DataError(
            f"holds no poses as <id>/<type>/<view>/{POSES_FRAME.file}",
            where=root,
            how="give the sequences that extract made",
        )
    return Found(clips, left_out=left_out)


def _read_heatmap_poses(clip: Clip) -> Poses:
    """A leaf's poses; nothing in the file is run."""
    read_source(clip.source)
    try:
        frames = np.asarray(read_sequence(clip.source))
    except DataError as error:
        raise Unusable(error.what, where=error.where, how=error.how) from error
    if frames.ndim != 3 or frames.shape[1:] != (JOINTS, 3) or frames.dtype.kind not in "fiu":
        raise Unusable(f"holds {frames.dtype} {list(frames.shape)}, not poses [T, {JOINTS}, 3]", where=clip.source)
    return Poses(frames.astype(np.float32))


@dataclass(frozen=True)
class _Released:
    """A dataset that releases poses or silhouettes.

    Attributes:
        find: the sequences below a folder.
        read: one of them. Raises DataError where it cannot, Unusable where it is malformed.
        split: the sets by default, given the folder. Raises ConfigError where there are none. None draws them.
        min_frames: sequences of fewer frames are left out by default. Where a protocol wants an
            answer for every sequence it is 1.
        takes_file: whether a file may stand for the folder.
        content: what its leaves hold.
    """

    find: Callable[[Path], Found]
    read: Callable[[Clip], Poses]
    split: Callable[[Path], Split] | None
    min_frames: int
    takes_file: bool = False
    content: Content = POSES_FRAME


def _toolbox_file(name: str) -> Callable[[Path], Split]:
    def split(root: Path) -> Split:
        raise ConfigError(
            f"{name} needs a partition",
            where="prepare",
            how=f"give --partition; both toolboxes have one in datasets/{name}/{name}.json",
        )

    return split


def _beside(root: Path) -> Split:
    """The partition that `gaitext walkers` and `prepare` write beside their tree."""
    for folder in (root, root.parent):
        if (folder / "partition.json").is_file():
            return toolbox_split(folder / "partition.json")
    raise ConfigError(f"there is no partition.json in {root} or beside it", where="prepare", how="give --partition")


RELEASED: dict[str, _Released] = {
    "psymo": _Released(find_psymo, read_psymo, lambda root: read_split(PSYMO_SPLIT, psymo_identity), 10),
    "casia-b-poses": _Released(
        find_casia_b_poses, read_casia_b_poses, lambda root: Split(*CASIA_B_SPLIT), 10, takes_file=True
    ),
    "grew-poses": _Released(find_grew_poses, partial(read_texts, ending=GREW), _toolbox_file("GREW"), 1),
    "gait3d-poses": _Released(find_gait3d_poses, partial(read_texts, ending=GAIT3D), _toolbox_file("Gait3D"), 1),
    "heatmap-poses": _Released(_find_heatmap_poses, _read_heatmap_poses, _beside, 1),
    "silhouettes": _Released(find_silhouettes, read_silhouettes, None, 1, content=SILHOUETTES),
}


def _signature(clip: Clip) -> str:
    """SHA-256 of what a sequence is made of: its file, its rows, or the files of its folder.

    Empty where it cannot be read.
    """
    try:
        if not isinstance(clip, Rows):
            return content_sha256(clip.source)
        hashed = hashlib.sha256()
        for file, start, end in clip.spans:
            with file.open("rb") as stream:
                stream.seek(start)
                hashed.update(stream.read(end - start) + b"\0")
        return hashed.hexdigest()
    except (OSError, VideoError):
        return ""


class _Journal:
    """``prepared.json`` of an output folder, which it claims, and a line for each sequence until that is written.

    Attributes:
        now: sequences that stand, or were made in this run -> their records: source, signature, frames, counts
            and remarks.
    """

    def __init__(self, out: Path, settings: Entry) -> None:
        """Take the folder over, if it was made with these settings, or is new."""
        self.now: dict[str, Entry] = {}
        self._settings = settings
        self._record, self._lines = out / "prepared.json", out / "prepared.jsonl"
        self._before: dict[str, Entry] = {}
        found = read_record(self._record)
        if found is None:
            if (out / "sequences").is_dir() and any((out / "sequences").iterdir()):
                raise DataError(
                    "holds sequences and no prepared.json: not of this command's making",
                    where=out,
                    how="give --out another folder",
                )
            write_json(self._record, {**settings, "sequences": {}})
            return
        for key, value in settings.items():
            if found.get(key) != value:
                raise ConfigError(
                    f"{out} was made with {key} {found.get(key)}, and now it is {value}",
                    where="--out",
                    how="give the same to resume, or another folder",
                )
        self._before = found["sequences"] | self._unfinished()

    def _unfinished(self) -> dict[str, Entry]:
        """What a run that was killed had made."""
        entries: dict[str, Entry] = {}
        if self._lines.exists():
            for line in self._lines.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    name, entry = json.loads(line)
                except (ValueError, TypeError):  # the line that the kill cut short
                    continue
                entries[name] = entry
        return entries

    def knows(self, clip: Clip) -> bool:
        """Whether the sequence was made of what its source holds now; it is taken over then."""
        entry = self._before.get(clip.name)
        if not isinstance(entry, dict) or not (signature := _signature(clip)) or entry.get("signature") != signature:
            return False
        self.now[clip.name] = entry
        return True

    def add(self, outcome: Outcome[Clip, ReleasedReport]) -> None:
        """Note a sequence that was made."""
        name = outcome.item.name
        entry = outcome.result and outcome.result.made_now.get(name)
        if entry:
            self.now[name] = entry
            with disk_errors(self._lines), self._lines.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps([name, entry]) + "\n")

    def close(self, report: Entry) -> None:
        """Write the record of the whole folder."""
        write_json(self._record, {**self._settings, **report, "sequences": dict(sorted(self.now.items()))})
        self._lines.unlink(missing_ok=True)


#: What of the report stands in the record.
_RECORDED = ("counts", "missing", "left_out", "absent", "strangers", "stale", "notes")


@dataclass(kw_only=True)
class ReleasedReport(PrepareReport):
    """The report, with the records of the sequences made now."""

    made_now: dict[str, Entry] = field(default_factory=dict)


def prepare_released(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    partition: str | Path | None = None,
    split: str | Path | None = None,
    min_frames: int | None = None,
    pattern: str | None = None,
    train_share: float = 0.75,
    seed: int = 0,
    workers: int = 0,
    quiet: bool = False,
) -> PrepareReport:
    """Make ``out/sequences/<id>/<type>/<view>/2_poses_frame.pkl`` of released poses, and partitions.

    Of silhouettes ``4_silhouettes.pkl`` is made (:func:`~gaitext.extraction.prepare.silhouettes.read_silhouettes`).
    The pkl of poses is float32 [T, 17, 3]: x, y in the pixels the release counts in, and score. A joint whose
    score is 0 or less, or whose numbers are not finite, is missing: (0, 0, 0). Frames without a
    joint are left out. ``out/prepared.json`` records the report, and of each sequence where it came
    from and what was noticed. A sequence that is malformed or too short is left out and listed; one
    that cannot be read (a link to nowhere, a broken disk) fails, after the others are done. What stands is kept
    unless its source has changed. Arguments and errors are those of :func:`gaitext.extraction.prepare.prepare`.
    """
    root, out, dataset = Path(root), Path(out), RELEASED[name]
    if not (root.is_dir() or (dataset.takes_file and root.is_file())):
        raise DataError("no such folder", where=root, how="check the path")
    if split is not None and not Path(split).exists():
        raise DataError("no such file", where=split, how="check --split")
    people: Split | None = None
    if split is not None:
        people = read_split(Path(split), psymo_identity)
    elif partition is not None:
        people = toolbox_split(Path(partition))
    elif dataset.split is not None:
        people = dataset.split(root)
    least = dataset.min_frames if min_frames is None else min_frames
    sequences = out / "sequences"
    refuse_overlap(root, sequences)
    settings: Entry = {"dataset": name, "min_frames": least}
    if name == "silhouettes":
        settings["pattern"] = pattern or PATTERN
        found = find_silhouettes(root, settings["pattern"])
    else:
        found = dataset.find(root)
    if people is None:
        people = Split(*draw_partition(sorted({clip.identity for clip in found.clips}), train_share, seed))

    make_folder(sequences)
    with only_one(out):
        clear_all_temporaries(out)
        journal = _Journal(out, settings)
        clear_staging(sequences)
        recipe = _Leaves(out, least, name)
        todo = [clip for clip in found.clips if not (recipe.stands(clip) and journal.knows(clip))]
        report = make_all(recipe, todo, workers=workers, quiet=quiet, on_outcome=journal.add)
        counts: Counter[str] = Counter()
        report.notes = list(found.notes)
        for _, entry in sorted(journal.now.items()):
            counts += Counter({"frames": entry["frames"], **entry["counts"]})
            report.notes += entry["remarks"]
        report.counts, report.standing, report.missing = dict(counts), len(found.clips) - len(todo), found.missing
        report.left_out = dict(sorted({**found.left_out, **report.left_out}.items()))
        report.count_people({name.split("/")[0] for name in journal.now}, people.train, people.test, people.val)
        report.stale = [leaf.name for leaf in leaves(sequences) if leaf.name not in journal.now]
        people.write(out)
        journal.close({"root": os.path.abspath(root), **{key: getattr(report, key) for key in _RECORDED}})
    report.raise_failures()
    if not journal.now:
        raise DataError(
            f"none of {len(found.clips)} sequences can be used; {next(iter(report.left_out.values()))}",
            where=root,
            how=f"{out / 'prepared.json'} lists why",
        )
    return report


@dataclass
class _Leaves(Recipe[Clip, ReleasedReport]):
    """How a sequence of poses or silhouettes becomes a leaf, if it is well formed and long enough."""

    out: Path
    least: int
    label: str

    steps, shared, manifest = "", False, False

    def report(self) -> ReleasedReport:
        return ReleasedReport(sequences=self.out / "sequences", partition=self.out / "partition.json")

    def name(self, item: Clip) -> str:
        return item.name

    def stands(self, item: Clip) -> bool:
        """Whether the leaf is there, with its file and no other."""
        leaf = self.out / "sequences" / item.name
        return leaf.is_dir() and os.listdir(leaf) == [RELEASED[self.label].content.file]

    def make(self, item: Clip, resume: bool, progress: Progress | None) -> ReleasedReport:
        try:
            poses = RELEASED[self.label].read(item)
        except Unusable as error:
            return replace(self.report(), left_out={item.name: f"{item.source} {error.what}"})
        signature = _signature(item)  # not of what cannot be used: it may be a pipe, or of any size
        content = RELEASED[self.label].content
        frames = clean(poses) if content is POSES_FRAME else poses.frames
        counts = {what: count for what, count in poses.counts.items() if count}
        if len(frames) < self.least:
            noticed = "".join(f"; {count} {what}" for what, count in counts.items())
            remarks = "".join(f"; {remark}" for remark in poses.remarks)
            why = f"{item.source} {len(frames)} frames can be used, fewer than {self.least}{noticed}{remarks}"
            return replace(self.report(), left_out={item.name: why})
        write_leaf(self.out / "sequences", item.identity, item.type, item.view, {content.stem: frames})
        entry = {
            "source": str(item.source),
            "signature": signature,
            "frames": len(frames),
            "counts": counts,
            "remarks": poses.remarks,
        }
        return replace(self.report(), written=1, made_now={item.name: entry})
