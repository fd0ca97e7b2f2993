"""Which views of sequences can be drawn, and what is said of those that cannot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gaitext.errors import DataError
from gaitext.inspect.footage import Footage
from gaitext.inspect.show_settings import ShowSettings
from gaitext.inspect.views import VIEWS, View, titles
from gaitext.skeleton import COCO_JOINTS

#: What is shown where nothing is asked for, as far as it is there: GaitHeat's Fig. 5, and alignment.
_USUAL: tuple[View, ...] = ("rgb", "silhouette", "keypoints", "heatmap", "aligned")


def columns(
    source: Path, footages: Sequence[Footage], settings: ShowSettings, *, anew: bool
) -> list[tuple[View, list[str]]]:
    """The views that are drawn, and their headings.

    Args:
        source: what errors name.
        footages: the sequences that are shown; what is drawn is there in all of them.
        settings: what is asked for.
        anew: whether heatmaps are estimated anew.

    Raises:
        DataError: naming what is missing, what is there, and what would bring it.
    """
    drawing = settings.drawing
    lacking: dict[View, Footage] = {}
    for footage in footages:
        there = _there(footage, anew)
        lacking |= {view: footage for view in VIEWS if view not in there}
    wanted = settings.what
    if wanted is None:
        wanted = tuple(view for view in _USUAL if view not in lacking)
    for view in wanted:
        if view in lacking:
            footage = lacking[view]
            raise DataError(
                f"{footage.name} has no {_NEEDS[view][0]}, which '{view}' shows; it has {_held(footage)}",
                where=source,
                how=_NEEDS[view][1],
            )
    if not wanted:
        raise DataError(
            f"the sequences have nothing in common that could be shown (the first has {_held(footages[0])})",
            where=source,
            how="give one of them",
        )
    headings = []
    for view in wanted:
        each = {tuple(titles(view, drawing, *_channels(footage, anew))) for footage in footages}
        if len(each) > 1:
            raise DataError(f"the sequences have other parts ({each})", where=source, how="give one of them")
        headings.append((view, list(each.pop())))
    return headings


_NEEDS: dict[View, tuple[str, str]] = {
    "rgb": ("RGB", "name its video with --video, or give the video itself"),
    "silhouette": ("silhouettes", "extract it anew: gaitext extract writes them if --content asks for silhouettes"),
    "keypoints": ("keypoints", "extract it anew: gaitext extract writes poses"),
    "heatmap": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
    "aligned": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
    "parts": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
    "bins": ("heatmaps", "extract it anew: gaitext extract writes heatmaps"),
}


def _there(footage: Footage, anew: bool) -> set[View]:
    """What can be shown of a sequence."""
    rgb = footage.video is not None or footage.pictures is not None
    maps = footage.heatmaps is not None or anew
    merged = footage.heatmaps is not None and footage.heatmaps.shape[1] != len(COCO_JOINTS) and not anew
    posed = footage.poses is not None or footage.poses_frame is not None or (maps and not merged)
    there: dict[View, bool] = {
        "rgb": rgb,
        "silhouette": footage.masks is not None and not anew,
        "keypoints": posed,
        **dict.fromkeys(("heatmap", "aligned", "parts", "bins"), maps),
    }
    return {view for view, seen in there.items() if seen}


def _held(footage: Footage) -> str:
    held = {
        "RGB": footage.video if footage.video is not None else footage.pictures,
        "heatmaps": footage.heatmaps,
        "poses": footage.poses if footage.poses is not None else footage.poses_frame,
        "silhouettes": footage.masks,
        "boxes": footage.boxes,
    }
    return ", ".join(name for name, what in held.items() if what is not None)


def _channels(footage: Footage, anew: bool) -> tuple[int | None, tuple[str, ...]]:
    if anew:
        return len(COCO_JOINTS), ()
    maps = footage.heatmaps
    return (None if maps is None else maps.shape[1]), tuple(group.name for group in footage.groups)
