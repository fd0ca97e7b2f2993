"""`gaitext prepare`: which dataset takes which options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, suggest
from gaitext.extraction.prepare.make import VIDEOS, prepare_videos
from gaitext.extraction.prepare.poses import POSES, prepare_poses
from gaitext.extraction.prepare.report import PrepareReport

__all__ = ["DATASETS", "prepare"]

#: Name -> the options it takes.
DATASETS: dict[str, frozenset[str]] = {
    **{name: frozenset({"partition", "copy"}) for name in VIDEOS},
    "own": frozenset({"pattern", "partition", "train_share", "seed", "copy"}),
    **{name: frozenset({"partition", "min_frames"}) for name in POSES},
    "psymo": frozenset({"split", "min_frames"}),
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

    Of videos :func:`~gaitext.extraction.prepare.prepare_videos` makes ``out/videos`` for `gaitext
    extract`; of released poses :func:`~gaitext.extraction.prepare.prepare_poses` makes
    ``out/sequences`` for a toolbox.

    Args:
        name: a key of :data:`DATASETS`.
        root: the dataset's folder.
        out: made where there is none.
        pattern, partition, split, train_share, seed, copy, min_frames: see those two; None is their default.
        workers: processes; 0 works in this one.
        quiet: no progress bar.

    Raises:
        ConfigError: an unknown dataset, or an option that it does not take.
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
    if name in POSES:
        return prepare_poses(name, root, out, workers=workers, quiet=quiet, **given)
    return prepare_videos(name, root, out, workers=workers, quiet=quiet, **given)
