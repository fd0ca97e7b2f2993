"""Folders of pictures that stand for a video: one file a frame, in the order people number them.

Pillow (``pip install 'gaitext[video]'``) is imported when a picture is opened. Use
:func:`gaitext.video.read_frames`, which takes files and folders alike.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import VideoError, import_extra

#: Suffixes (lower case) of the files in a folder that are frames.
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

_TURNED = {5, 6, 7, 8}  # EXIF orientations that swap width and height
_ORIENTATION = 0x0112


def middles(count: int, parts: int) -> list[int]:
    """The middles of ``parts`` equal parts of ``count`` positions: first and last frames often show half a person.

    >>> middles(10, 2), middles(2, 5)
    ([2, 7], [0, 1])
    """
    return sorted({(2 * i + 1) * count // (2 * parts) for i in range(parts)})


def natural_key(name: str) -> tuple[tuple[str | int, ...], str]:
    """Sort key under which numbers in names count as numbers.

    >>> sorted(["10.jpg", "2.jpg", "1.jpg"], key=natural_key)
    ['1.jpg', '2.jpg', '10.jpg']
    """
    # Text and digits alternate, so that like is compared with like.
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def is_image(name: str) -> bool:
    """Whether a file of this name in a folder is a frame: known suffix, not hidden."""
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def frame_files(folder: str | Path) -> list[Path]:
    """The pictures of a frame folder in frame order; frame 1 is the first.

    Names are sorted naturally (2 before 10). Hidden files and files that are no pictures do not
    count.

    Raises:
        VideoError: no such folder, no pictures in it, or two for one frame (``1.jpg`` and
            ``1.png``: a picture and its mask).
    """
    folder = Path(folder)
    try:
        names = sorted(filter(is_image, os.listdir(folder)), key=natural_key)
    except OSError as error:
        raise VideoError(f"cannot be listed ({error.strerror})", where=folder, how="check the path") from error
    if not names:
        raise VideoError(
            "holds no pictures", where=folder, how="a frame folder holds files such as 000001.jpg or 000001.png"
        )
    seen: dict[str, str] = {}
    for name in names:
        stem = os.path.splitext(name)[0]
        if stem in seen:
            raise VideoError(
                f"holds {seen[stem]} and {name}: which is the frame?",
                where=folder,
                how="keep masks and other pictures of the same frames in a folder of their own",
            )
        seen[stem] = name
    return [folder / name for name in names]


def frame_sizes(folder: str | Path, indices: Collection[int] | None = None) -> Iterator[tuple[int, int]]:
    """Width and height of every frame (or of ``indices``) as :func:`read_images` gives it, from the headers."""
    for index, path in _chosen(folder, indices):
        with _opened(path, index) as image:
            try:
                turned = _is_turned(image)
            except Exception as error:  # of a PNG, all of the file is read for it
                raise _broken(path, index, error) from error
            yield (image.height, image.width) if turned else (image.width, image.height)


def _is_turned(image: Any) -> bool:
    """Whether width and height are swapped in showing it."""
    return image.getexif().get(_ORIENTATION) in _TURNED


def has_alpha(path: str | Path) -> bool:
    """Whether a picture has transparency, by its header."""
    path = Path(path)
    with _opened(path, 0) as image:
        return "A" in image.mode or "transparency" in image.info


def pixel_aspect(path: str | Path) -> Fraction:
    """Width of a picture's pixels over their height, after turning, by its header; 1 where it does not say.

    Only PNG is believed: its pixels' size is written on purpose, a JPEG's is often left over from a scan.
    """
    path = Path(path)
    with _opened(path, 0) as image:
        density = image.info.get("dpi") if image.format == "PNG" else None
        # Of the file's kind, a PNG keeps pixels a metre; Pillow gives them an inch.
        x, y = (round(value / 0.0254) for value in density) if density else (1, 1)
        aspect = Fraction(y, x) if x > 0 and y > 0 else Fraction(1)
        return 1 / aspect if _is_turned(image) else aspect


def read_images(
    folder: str | Path, indices: Collection[int] | None = None
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Decode the pictures of a frame folder in order, turned upright as their EXIF data ask for: RGB uint8 [H, W, 3].

    Frames may differ in size, as person crops do. Grey pictures become RGB; transparency is
    dropped. A JPEG carries no checksum: damage that its decoder conceals is not noticed, unlike a
    file that was cut short. With ``indices``, counted from 0, the others are not opened.

    Raises:
        VideoError: as :func:`frame_files`; a picture that is broken, or has more than 8 bits of
            grey. Names the file and the frame.
        MissingDependencyError: Pillow is not installed.
    """
    for index, path in _chosen(folder, indices):
        yield index, _decoded(path, index)


def read_image(path: str | Path) -> npt.NDArray[np.uint8]:
    """Decode one picture as :func:`read_images` does: RGB uint8 [H, W, 3].

    Raises:
        VideoError: it is broken, or has more than 8 bits of grey.
        MissingDependencyError: Pillow is not installed.
    """
    return _decoded(Path(path), None)


def _decoded(path: Path, index: int | None) -> npt.NDArray[np.uint8]:
    """A picture's pixels; ``index`` is that of a frame."""
    ops = import_extra("PIL.ImageOps", "video", "reading a folder of frames")
    with _opened(path, index) as image:
        if image.mode[0] in "IF":
            raise VideoError(
                f"{_named(index)}is a picture of kind {image.mode}, not of 8 bits",
                where=path,
                how="gaitext reads RGB pictures; is this a depth map?",
            )
        try:
            ops.exif_transpose(image, in_place=True)
            return np.array(image.convert("RGB"))
        except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
            raise _broken(path, index, error) from error


def _chosen(folder: str | Path, indices: Collection[int] | None) -> Iterator[tuple[int, Path]]:
    for index, path in enumerate(frame_files(folder)):
        if indices is None or index in indices:
            yield index, path


def _opened(path: Path, index: int | None) -> Any:
    images = import_extra("PIL.Image", "video", "reading a folder of frames")
    try:
        return images.open(path)
    except Exception as error:
        raise _broken(path, index, error) from error


def _named(index: int | None) -> str:
    return "" if index is None else f"frame {index + 1} "


def _broken(path: Path, index: int | None, error: Exception) -> VideoError:
    how = "copy or extract the picture again"
    return VideoError(
        f"{_named(index)}cannot be read ({error})",
        where=path,
        how=how if index is None else f"{how}; deleting it would shift the numbers of the frames after it",
    )
