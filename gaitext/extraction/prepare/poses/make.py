"""Making leaves of released poses, resumably, and counting all that was not as it should be.

What need not be made again: ``prepared.json``, and a line for each sequence until that is written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError, VideoError
from gaitext.execution import Outcome, map_sequences, raise_failures
from gaitext.extraction.prepare.items import Clip
from gaitext.extraction.prepare.poses.casia_b import Rows
from gaitext.extraction.prepare.poses.frames import Unusable, clean
from gaitext.extraction.prepare.poses.released import POSES
from gaitext.extraction.prepare.poses.split import psymo_identity, read_split, toolbox_split
from gaitext.extraction.prepare.report import PrepareReport, refuse_overlap
from gaitext.store import (
    clear_all_temporaries,
    clear_staging,
    disk_errors,
    leaves,
    make_folder,
    only_one,
    write_json,
    write_leaf,
)
from gaitext.store.contract import POSES_FRAME
from gaitext.video.digests import content_sha256

__all__ = ["Entry", "Journal", "PosesReport", "prepare_poses", "signature"]


#: A sequence's record: source, signature, frames, counts and remarks.
Entry = dict[str, Any]


def signature(clip: Clip) -> str:
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


class Journal:
    """The record of an output folder, which it claims.

    Args:
        out: the folder.
        settings: what decides what the files are; another run's must be the same.

    Attributes:
        now: sequences that stand, or were made in this run -> their records.

    Raises:
        ConfigError: the folder was made with other settings.
        DataError: it holds sequences and no record, or the record cannot be read.
    """

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.now: dict[str, Entry] = {}
        self._settings = settings
        self._record, self._lines = out / "prepared.json", out / "prepared.jsonl"
        self._before = self._read(out)
        if not self._record.exists():
            write_json(self._record, {**settings, "sequences": {}})

    def _read(self, out: Path) -> dict[str, Entry]:
        try:
            loaded = json.loads(self._record.read_text(encoding="utf-8"))
            before: dict[str, Entry] = dict(loaded["sequences"])
            found = {key: loaded.get(key) for key in self._settings}
        except FileNotFoundError:
            if (out / "sequences").is_dir() and any((out / "sequences").iterdir()):
                raise DataError(
                    "holds sequences and no prepared.json: not of this command's making",
                    where=out,
                    how="give --out another folder",
                ) from None
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataError(
                f"is not readable ({error})", where=self._record, how="give --out another folder"
            ) from error
        for key, value in self._settings.items():
            if found[key] != value:
                raise ConfigError(
                    f"{out} was made with {key} {found[key]}, and now it is {value}",
                    where="--out",
                    how="give the same to resume, or another folder",
                )
        return before | self._unfinished()

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

    def knows(self, name: str, signature: str) -> bool:
        """Whether the sequence was made of this source; it is taken over then."""
        entry = self._before.get(name)
        if not signature or not isinstance(entry, dict) or entry.get("signature") != signature:
            return False
        self.now[name] = entry
        return True

    def add(self, name: str, entry: Entry) -> None:
        """Note a sequence that was made."""
        self.now[name] = entry
        with disk_errors(self._lines), self._lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([name, entry]) + "\n")

    def close(self, report: dict[str, Any]) -> None:
        """Write the record of the whole folder."""
        write_json(self._record, {**self._settings, **report, "sequences": dict(sorted(self.now.items()))})
        self._lines.unlink(missing_ok=True)


#: What of the report stands in the record.
_RECORDED = ("counts", "missing", "left_out", "absent", "strangers", "stale", "notes")


@dataclass(kw_only=True)
class PosesReport(PrepareReport):
    """The report, with the tree of leaves for a toolbox.

    Attributes:
        sequences: the tree.
        counts: what was noticed in the sequences that are there now -> how often.
    """

    sequences: Path
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def made(self) -> dict[str, Path]:
        val = {"dataset_partition, to validate": self.partition.with_name("partition_val.json")} if self.val else {}
        return {"dataset_root": self.sequences, **super().made, **val}

    def _details(self) -> list[str]:
        return [", ".join(f"{count} {what}" for what, count in self.counts.items() if count)]


def prepare_poses(
    name: str,
    root: str | Path,
    out: str | Path,
    *,
    partition: str | Path | None = None,
    split: str | Path | None = None,
    min_frames: int | None = None,
    workers: int = 0,
    quiet: bool = False,
) -> PosesReport:
    """Make ``out/sequences/<id>/<type>/<view>/2_poses_frame.pkl`` of released poses, and partitions.

    The pkl is float32 [T, 17, 3]: x, y in the pixels the release counts in, and score. A joint whose
    score is 0 or less, or whose numbers are not finite, is missing: (0, 0, 0). Frames without a
    joint are left out. ``out/prepared.json`` records the report, and of each sequence where it came
    from and what was noticed. A sequence that is malformed or too short is left out and listed; one
    that cannot be read (a link to nowhere, a broken disk) fails, after the others are done. Run it
    again to resume: what stands is kept unless its source has changed. One process at a time may
    write to ``out``.

    Args:
        name: a key of :data:`~gaitext.extraction.prepare.poses.released.POSES`.
        root: the dataset's folder; for CASIA-B's poses, a csv too.
        out: a new or empty folder, or one that this function wrote.
        partition: a toolbox's json with TRAIN_SET and TEST_SET.
        split: PsyMo's, see :func:`~gaitext.extraction.prepare.poses.split.read_split`; without one,
            gaitext's own.
        min_frames: sequences of fewer frames are left out; None is the dataset's default.
        workers: processes; 0 works in this one.
        quiet: no progress bar.

    Raises:
        ConfigError: no partition where one is needed, or ``out`` was made with other settings.
        DataError: nothing found, sequences that cannot be read, an ``out`` that cannot be made, a full disk.
    """
    root, out = Path(root), Path(out)
    dataset = POSES[name]
    if not (root.is_dir() or (dataset.takes_file and root.is_file())):
        raise DataError("no such folder", where=root, how="check the path")
    if split is not None:
        if not Path(split).exists():
            raise DataError("no such file", where=split, how="check --split")
        people = read_split(Path(split), psymo_identity)
    else:
        people = dataset.split(root) if partition is None else toolbox_split(Path(partition))
    least = dataset.min_frames if min_frames is None else min_frames
    sequences = out / "sequences"
    refuse_overlap(root, sequences)
    found = dataset.find(root)

    report = PosesReport(
        sequences=sequences,
        partition=out / "partition.json",
        missing=found.missing,
        left_out=dict(found.left_out),
        notes=list(found.notes),
    )
    make_folder(sequences)
    with only_one(out):
        clear_all_temporaries(out)
        journal = Journal(out, {"dataset": name, "min_frames": least})
        clear_staging(sequences)
        outcomes = _make_all(name, found.clips, report, journal, workers, quiet, least)
        report.count_people({name.split("/")[0] for name in journal.now}, people.train, people.test, people.val)
        report.stale = [leaf.name for leaf in leaves(sequences) if leaf.name not in journal.now]
        people.write(out)
        journal.close({"root": os.path.abspath(root), **{key: getattr(report, key) for key in _RECORDED}})
    raise_failures(outcomes, "sequences")
    if not journal.now:
        raise DataError(
            f"none of {len(found.clips)} sequences can be used; {next(iter(report.left_out.values()))}",
            where=root,
            how=f"{out / 'prepared.json'} lists why",
        )
    return report


@dataclass(frozen=True)
class _Made:
    """A leaf that was written; or, with ``why``, a sequence that is left out."""

    entry: Entry
    why: str | None = None


def _make_all(
    name: str,
    clips: list[Clip],
    report: PosesReport,
    journal: Journal,
    workers: int,
    quiet: bool,
    least: int,
) -> list[Outcome[Clip, _Made]]:
    """Make what does not stand; counts it all, and returns the outcomes."""
    todo = []
    for clip in clips:
        if _stands(report.sequences, clip) and journal.knows(clip.name, signature(clip)):
            report.standing += 1
        else:
            todo.append(clip)

    def keep(outcome: Outcome[Clip, _Made]) -> None:
        clip, made = outcome.item, outcome.result
        if made is None:
            return
        if made.why is None:
            journal.add(clip.name, made.entry)
            report.written += 1
        else:
            report.left_out[clip.name] = f"{clip.source} {made.why}"

    make = partial(_make, name=name, sequences=report.sequences, least=least)
    outcomes = map_sequences(make, todo, workers=workers, label=name, quiet=quiet, on_outcome=keep)
    counts: Counter[str] = Counter()
    for _, entry in sorted(journal.now.items()):
        counts += Counter({"frames": entry["frames"], **entry["counts"]})
        report.notes += entry["remarks"]
    report.counts, report.left_out = dict(counts), dict(sorted(report.left_out.items()))
    return outcomes


def _stands(sequences: Path, clip: Clip) -> bool:
    leaf = sequences / clip.name
    return leaf.is_dir() and os.listdir(leaf) == [POSES_FRAME.file]


def _make(clip: Clip, *, name: str, sequences: Path, least: int) -> _Made:
    """Read a sequence and write its leaf."""
    entry: Entry = {"source": str(clip.source), "signature": "", "frames": 0, "counts": {}, "remarks": []}
    try:
        poses = POSES[name].read(clip)
    except Unusable as error:
        return _Made(entry, error.what)
    entry["signature"] = signature(clip)  # not of what cannot be used: it may be a pipe, or of any size
    frames = clean(poses)
    entry["frames"] = len(frames)
    entry["counts"] = {what: count for what, count in poses.counts.items() if count}
    entry["remarks"] = poses.remarks
    if len(frames) < least:
        told = "".join(f"; {count} {what}" for what, count in entry["counts"].items())
        remarks = "".join(f"; {remark}" for remark in poses.remarks)
        return _Made(entry, f"{len(frames)} frames can be used, fewer than {least}{told}{remarks}")
    write_leaf(sequences, clip.identity, clip.type, clip.view, {POSES_FRAME.stem: frames})
    return _Made(entry)
