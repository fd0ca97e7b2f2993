"""One's own video, without labels, to train a corrector by: what the frozen estimator finds in it is what is wanted."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources
from gaitext.extraction.boxes import Source
from gaitext.restoration.settings import CropSettings, DataSettings
from gaitext.restoration.targets import Targets, find_targets
from gaitext.restoration.videos import degrade_dataset
from gaitext.store import make_folder
from gaitext.video.sources import find_clips

log = logging.getLogger(__name__)

#: How people are cut out of one's own video, whose camera may be anywhere: as `gaitext extract` cuts them.
OWN_CROPS = CropSettings(crop="box")
_KIND, _VIEW = "video", "000"
#: Frames of a person at least: what is seen for less is often no person.
_FEWEST = 5


def own_sources(folder: Path) -> list[Source]:
    """The videos of a folder of video files, each of people of its own, or of what `gaitext extract` takes.

    Raises:
        DataError: there are none.
    """
    clips = find_clips(folder)
    if clips[0].place is None:
        return [Source(clip.path, clip.path.stem, _KIND, _VIEW) for clip in clips]
    return find_sources(folder)  # whose boxes may lie beside them


def own_targets(data: DataSettings, estimator: str, *, workers: int = 0, quiet: bool = False) -> list[Targets]:
    """People found in the videos of ``data.videos``, the videos degraded, and both brought together.

    ``data.cache/videos`` keeps what is made: ``truth``, as of ``gaitext extract`` with the bundled detector,
    ``degraded``, as of ``gaitext degrade``. What stands is not made again, and what is there of other videos is passed
    over. Leaves are ``<video>-<track>/<type>/<view>``.

    Args:
        data: with ``videos``, ``degrade`` and ``cache``.
        estimator: which will be trained through, so that it is its own truth.
        workers: processes.
        quiet: no progress bar.

    Raises:
        DataError: a video cannot be used, or shows nobody.
    """
    assert data.videos is not None
    sources, root = own_sources(data.videos), data.cache / "videos"
    make_folder(root)
    settings = ExtractSettings(
        identity="{id}-{track}", tracks="all", min_frames=_FEWEST, content=("poses_frame", "boxes")
    )
    found = extract_dataset(sources, estimator, root / "truth", settings, workers=workers, quiet=quiet)
    log.info("%s", found)
    found.raise_failures("videos")
    worse = degrade_dataset(sources, root / "degraded", data.degrade, workers=workers, quiet=quiet)
    worse.raise_failures("videos")
    # The cache may hold what other videos showed, which was asked for before.
    asked = {source.name for source in sources}
    everybody = find_targets(root / "truth", root / "degraded")
    targets = [target for target in everybody if _shown_in(target.pair.leaf) in asked]
    if not targets:
        raise DataError("nobody was found in its videos", where=data.videos, how="look at what `gaitext extract` says")
    return targets


def _shown_in(leaf: str) -> str:
    """The name of the video that shows ``<video>-<track>/<type>/<view>``."""
    identity, kind, view = leaf.split("/")
    return "/".join((identity.rpartition("-")[0], kind, view))


def held_out(names: Sequence[str], share: float = 0.2) -> list[str]:
    """Those of ``names`` that validate: the last of every so many; one at least, and all where there is but one.

    >>> held_out(["a-1/video/000", "a-2/video/000", "b-1/video/000"])
    ['b-1/video/000']
    """
    few = max(1, round(share * len(names)))
    every = len(names) / few
    return [names[int(every * (k + 1)) - 1] for k in range(few)]
