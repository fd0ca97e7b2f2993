"""A walk's footage on disk: its video, its boxes, and silhouettes as the toolboxes have them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ShapeError
from gaitext.store import atomic_path
from gaitext.video.reading import write_video
from gaitext.walkers.settings import VideoSettings, WalkerSettings

__all__ = ["FOLDERS", "clear_remains", "has_footage", "normalise_silhouette", "video_bytes", "write_footage"]

#: Where videos and their boxes lie in a data set.
FOLDERS = ("videos", "boxes")
_SUFFIXES = (".mp4", ".csv")

Name = tuple[str, str, str]


def _files(out: Path, name: Name) -> list[Path]:
    identity, kind, view = name
    return [out / folder / identity / kind / f"{view}{suffix}" for folder, suffix in zip(FOLDERS, _SUFFIXES)]


def has_footage(out: Path, name: Name) -> bool:
    """Whether a walk's video and boxes stand; files appear whole."""
    return all(file.is_file() for file in _files(out, name))


def clear_remains(out: Path) -> None:
    """Remove what a killed writer left of videos and boxes; nobody else may be writing."""
    for folder, suffix in zip(FOLDERS, _SUFFIXES):
        for rest in (out / folder).glob(f"*/*/.*.tmp{suffix}"):
            rest.unlink(missing_ok=True)


def write_footage(
    out: Path,
    name: Name,
    frames: Iterable[npt.NDArray[np.uint8]],
    boxes: npt.NDArray[np.floating[Any]],
    fps: float,
    video: VideoSettings,
) -> None:
    """Write ``out``/videos/<id>/<type>/<view>.mp4 and ``out``/boxes/<id>/<type>/<view>.csv.

    Args:
        name: identity, type and view.
        frames: RGB uint8 [H, W, 3], H and W even.
        boxes: [T, 4] x, y, w, h in frame pixels.
        fps: frames per second.
        video: how to encode.

    Raises:
        VideoError: the encoder fails.
        MissingDependencyError: PyAV is not installed.
    """
    film, listed = _files(out, name)
    # With one thread x264 writes the same file on machines of any number of cores.
    write_video(film, frames, fps=fps, crf=video.crf, preset=video.preset, threads=1)
    lines = (f"{t},1,{x:.2f},{y:.2f},{w:.2f},{h:.2f},1" for t, (x, y, w, h) in enumerate(boxes, 1))
    with atomic_path(listed) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def video_bytes(settings: WalkerSettings) -> int:
    """About how many bytes a frame of video and its box take: the sensor's noise decides."""
    pixels = settings.camera.width * settings.camera.height
    return 40 + round(0.04 * pixels * 2 ** ((20 - settings.video.crf) / 3))


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
