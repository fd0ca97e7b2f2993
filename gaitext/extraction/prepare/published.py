"""Where the sequences lie in the datasets that gait recognition is compared on."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

from gaitext.errors import DataError
from gaitext.extraction.prepare.items import Clip, Found, in_order, videos_and_frame_folders, views
from gaitext.store.contract import PROTOCOLS
from gaitext.video.frames import is_image, natural_key

_CASIA_B = re.compile(r"(\d{3})-((?:nm|bg|cl)-\d{2})-(\d{3})")
#: The large-sample split that everybody reports: the first 74 people train, the other 50 test.
CASIA_B_SPLIT = ([f"{i:03d}" for i in range(1, 75)], [f"{i:03d}" for i in range(75, 125)])

_CCPG_TYPES = ("U0_D0", "U0_D0_BG", "U0_D3", "U1_D0", "U1_D1", "U2_D2", "U3_D3")
_SUSTECH_FRAMES = "RGB_raw"


def find_casia_b(root: Path) -> Found:
    """CASIA-B's videos, ``001-bg-01-000.avi``, flat or in folders of any kind.

    The videos of the empty scene (``001-bkgrd-000.avi``) are left out.

    Raises:
        DataError: none there, or one twice.
    """
    clips = []
    found, left_out = videos_and_frame_folders(root)
    for path in found:
        if path.is_dir():
            continue
        match = _CASIA_B.fullmatch(path.stem)
        if match:
            clips.append(Clip(match[1], match[2], match[3], path))
        else:
            empty = "-bkgrd-" in path.name
            left_out[str(path)] = "the empty scene" if empty else "is not named <id>-<nm|bg|cl>-<nn>-<view>"
    if not clips:
        raise DataError(
            "holds no video of CASIA-B", where=root, how="give the folder that holds files such as 001-bg-01-000.avi"
        )
    there = {clip.name for clip in clips}
    return Found(in_order(clips), [name for name in casia_b_names() if name not in there], left_out)


def casia_b_names() -> list[str]:
    """``id/type/view`` of all 13,640 sequences."""
    return ["/".join(parts) for parts in product(CASIA_B_SPLIT[0] + CASIA_B_SPLIT[1], *PROTOCOLS["casia-b"])]


def find_ccpg(root: Path) -> Found:
    """CCPG's RGB crops, ``<id>/<type>/<view>/*.jpg``.

    Where masks of the same names lie beside the pictures (``0001.jpg`` and ``0001.png``), the masks
    are left aside.
    """
    found = _walk(root, None)
    there = {(clip.identity, clip.type) for clip in found.clips}
    people = sorted({identity for identity, _ in there})
    missing = [f"{person}/{kind}" for person in people for kind in _CCPG_TYPES if (person, kind) not in there]
    return Found(found.clips, missing, found.left_out)


def find_sustech1k(root: Path) -> Found:
    """SUSTech1K's RGB pictures in the raw release, ``<id>/<type>/<view>/RGB_raw/*.jpg``.

    The files are named by their time in digits, and are taken in the order of their names as
    text, as the release's own script takes them.
    """
    if next(root.glob("*/*/*/*RGB_raw.pkl"), None) is not None:
        raise DataError(
            "is the release of pkl files, whose pictures are 64×64: too small for a pose estimator",
            where=root,
            how="get the raw release (SUSTech1K-Released-2023)",
        )
    return _walk(root, _SUSTECH_FRAMES)


def _walk(root: Path, below: str | None) -> Found:
    """Frame folders ``<id>/<type>/<view>``, or the folder named ``below`` in each of them."""
    clips, left_out, missing = [], {}, []
    for view in views(root):
        folder = view.source if below is None else view.source / below
        names = _pictures(folder)
        if names:
            clips.append(replace(view, source=folder, frames=_order(names, as_text=below is not None)))
        else:
            missing.append(view.name)
            left_out[str(view.source)] = "holds no pictures" + ("" if below is None else f" in {below}")
    if not clips:
        example = "<id>/<type>/<view>/" + ("" if below is None else f"{below}/") + "*.jpg"
        raise DataError(
            f"holds no pictures as {example}", where=root, how="give the folder that holds the folders of people"
        )
    return Found(clips, missing, left_out)


def _pictures(folder: Path) -> list[str]:
    try:
        return sorted(filter(is_image, os.listdir(folder)))
    except OSError:
        return []


def _order(names: Sequence[str], as_text: bool) -> tuple[str, ...] | None:
    """The frames in order, without masks; None where a frame folder is read like that anyway."""
    photographs = {os.path.splitext(name)[0] for name in names if not name.lower().endswith(".png")}
    frames = [n for n in names if not (n.lower().endswith(".png") and os.path.splitext(n)[0] in photographs)]
    natural = sorted(frames, key=natural_key)
    wanted = frames if as_text else natural
    return None if len(frames) == len(names) and wanted == natural else tuple(wanted)
