"""What can be shown of a frame: RGB, silhouette, keypoints, heatmap, aligned heatmap, parts, horizontal bins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from gaitext import geometry
from gaitext.inspect.contact_sheet import cut_tile
from gaitext.inspect.moments import DARK, Moment, occluded, paint_hidden
from gaitext.inspect.paint import Frame, Group, draw_heat, draw_line, draw_skeleton, draw_text, groups_of
from gaitext.models.gaitheat_settings import AlignmentSettings
from gaitext.models.pgha import PoseGuidedAlignment, heatmap_peaks, warp
from gaitext.skeleton import COCO_JOINTS, PartitionLike, merge_parts, resolve_partition

Array = npt.NDArray[Any]

#: The columns of a picture, in their order.
View = Literal["rgb", "silhouette", "keypoints", "heatmap", "aligned", "parts", "bins"]
VIEWS: tuple[View, ...] = get_args(View)

#: How bright the person under keypoints and heatmaps is.
_UNDER = 0.55
#: Of the lines at P_align, and between bins.
_FAINT = 0.5
_LINE = (255, 255, 255)
_TEXT = 14


@dataclass(frozen=True)
class Drawing:
    """How frames are drawn.

    Attributes:
        partition: whose parts ``parts`` shows (Eq. 5).
        alignment: of ``aligned``, ``parts`` and ``bins`` (Eqs. 1–4); as in evaluation, without a coin.
        bins: of the horizontal pyramid.
        lines: whether lines cross at P_align, on heatmaps as they are and aligned.
    """

    partition: PartitionLike = "upper_lower"
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)
    bins: int = 16
    lines: bool = True


@dataclass(frozen=True)
class Aligned:
    """A frame after pose-guided alignment.

    Attributes:
        heatmaps: float32 [C, h, w].
        matrix: [2, 3], heatmap pixels before to those after; the identity where nothing was moved.
        lean: degrees, positive to the right; None where neck or hip are not known.
        moved: whether it was aligned.
    """

    heatmaps: Array
    matrix: Array
    lean: float | None
    moved: bool


def align(was: Moment, settings: AlignmentSettings) -> Aligned:
    """Align one frame's heatmaps, by :class:`~gaitext.models.pgha.PoseGuidedAlignment` in evaluation.

    Neck and hip are read from the maxima of 17 channels, as the network does by default; of merged heatmaps, which
    hold no joints, from the keypoints. Without either nothing is moved.
    """
    assert was.heatmaps is not None
    maps = torch.from_numpy(was.heatmaps)[None]
    if len(was.heatmaps) == len(COCO_JOINTS):
        keypoints = heatmap_peaks(maps).double()
    elif was.pose is not None:
        keypoints = torch.from_numpy(was.pose)[None]
    else:
        return Aligned(was.heatmaps, np.eye(2, 3), None, False)
    moves = PoseGuidedAlignment(settings).eval()(keypoints=keypoints)
    neck, hip, valid = geometry.spine(keypoints, settings.min_score)
    lean = float(geometry.lean_angle(geometry.alignment_matrices(neck, hip, settings.anchor))[0])
    moved = len(moves.chosen) > 0
    matrix = moves.forward_maps[0].numpy() if moved else np.eye(2, 3)
    return Aligned(moves(maps)[0].numpy(), matrix, lean if bool(valid[0]) else None, moved)


def titles(view: View, drawing: Drawing, channels: int | None, names: tuple[str, ...]) -> list[str]:
    """The headings of a view's columns.

    Args:
        view: which.
        drawing: how it is drawn.
        channels: of the heatmaps; None without any.
        names: of those channels.
    """
    if view == "parts":
        return [f"part: {name}" for name in _parts(drawing, channels, names)]
    plain = {"rgb": "RGB", "aligned": "aligned heatmap", "bins": f"{drawing.bins} horizontal bins"}
    return [plain.get(view, view)]


def draw(view: View, was: Moment, drawing: Drawing) -> list[Frame]:
    """The tiles of one view of a frame, uint8 [H, W, 3] each, as many as :func:`titles` names."""
    return _DRAW[view](was, drawing)


def _parts(drawing: Drawing, channels: int | None, names: tuple[str, ...]) -> list[str]:
    if channels == len(COCO_JOINTS):
        return list(resolve_partition(drawing.partition))
    return list(names)


def _rgb(was: Moment, drawing: Drawing) -> list[Frame]:
    return [was.ground.copy()]


def _silhouette(was: Moment, drawing: Drawing) -> list[Frame]:
    assert was.silhouette is not None
    height, width = was.silhouette.shape
    grey = np.repeat((was.silhouette * 255).round().astype(np.uint8)[..., None], 3, -1)
    tall = was.ground.shape[0]
    wide = 2 * round(tall * width / height / 2)
    tile = cut_tile(grey, (0, 0, width, height), tall, wide)
    paint_hidden(tile, was, (height, width))
    return [tile]


def _keypoints(was: Moment, drawing: Drawing) -> list[Frame]:
    if was.before is not None and was.occlusion.resize:  # keypoints are not, so neither is the person under them
        was = occluded(was.before, replace(was.occlusion, resize=False), was.state)
    assert was.pose is not None
    tile = _under(was, np.eye(2, 3), was.placed)
    draw_skeleton(tile, (was.pose[:, :2] + 0.5) * was.scale - 0.5, was.pose[:, 2], width=was.ground.shape[0] / 110)
    return [tile]


def _heatmap(was: Moment, drawing: Drawing) -> list[Frame]:
    assert was.heatmaps is not None
    tile = _under(was, np.eye(2, 3), was.placed)
    _heat(tile, was.heatmaps, list(was.groups), was.full)
    _cross(tile, was, drawing)
    return [tile]


def _aligned(was: Moment, drawing: Drawing) -> list[Frame]:
    after = align(was, drawing.alignment)
    tile = _under(was, after.matrix, was.placed)
    _heat(tile, after.heatmaps, list(was.groups), was.full)
    _cross(tile, was, drawing)
    if after.lean is None:
        note = "no neck or hip: not moved"
    elif after.moved:
        note = f"leaned {after.lean:+.1f}°"
    else:
        note = f"leans {after.lean:+.1f}°: not moved"
    draw_text(tile, note, 0, tile.shape[0], size=_TEXT)
    return [tile]


def _part_tiles(was: Moment, drawing: Drawing) -> list[Frame]:
    after = align(was, drawing.alignment)
    maps, names = after.heatmaps, [group.name for group in was.groups]
    if len(maps) == len(COCO_JOINTS):
        names = list(resolve_partition(drawing.partition))
        maps = merge_parts(maps[None], drawing.partition)[0]
    tiles = []
    for group in groups_of(names):
        tile = _under(was, after.matrix, was.placed)
        _heat(tile, maps, [group], was.full)
        tiles.append(tile)
    return tiles


def _bins(was: Moment, drawing: Drawing) -> list[Frame]:
    after = align(was, drawing.alignment)
    tile = _under(was, after.matrix, was.placed)
    _heat(tile, after.heatmaps, list(was.groups), was.full)
    height, width = tile.shape[:2]
    for edge in np.arange(1, drawing.bins) * height / drawing.bins - 0.5:
        draw_line(tile, np.array([0.0, edge]), np.array([width - 1.0, edge]), 1, _LINE, _FAINT)
    return [tile]


_DRAW: dict[View, Callable[[Moment, Drawing], list[Frame]]] = {
    "rgb": _rgb,
    "silhouette": _silhouette,
    "keypoints": _keypoints,
    "heatmap": _heatmap,
    "aligned": _aligned,
    "parts": _part_tiles,
    "bins": _bins,
}


def _under(was: Moment, matrix: Array, placed: bool) -> Frame:
    """The person, darkened, moved as the heatmaps were by ``matrix`` [2, 3] of heatmap pixels."""
    if not placed:
        return np.full_like(was.ground, DARK)
    ground = torch.from_numpy(was.ground.astype(np.float64) * _UNDER).permute(2, 0, 1)[None]
    if not np.array_equal(matrix, np.eye(2, 3)):
        # Heatmap pixel i covers the picture's pixels i·s … (i + 1)·s − 1.
        scale, half = was.scale, (was.scale - 1) / 2
        moved = np.concatenate((matrix[:, :2], (scale * matrix[:, 2] + half - matrix[:, :2].sum(1) * half)[:, None]), 1)
        ground = warp(ground, geometry.invert(torch.from_numpy(moved)[None]), "zeros")
    shown: Frame = ground[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
    return np.ascontiguousarray(shown)


def _heat(tile: Frame, maps: Array, groups: list[Group], full: float) -> None:
    draw_heat(tile, maps, (0, 0, tile.shape[1], tile.shape[0]), groups, full=full, strength=0.9)


def _cross(tile: Frame, was: Moment, drawing: Drawing) -> None:
    """Lines through P_align, where an aligned neck lies."""
    if not drawing.lines:
        return
    x, y = ((place + 0.5) * was.scale - 0.5 for place in drawing.alignment.anchor)
    height, width = tile.shape[:2]
    draw_line(tile, np.array([x, 0.0]), np.array([x, height - 1.0]), 1, _LINE, _FAINT)
    draw_line(tile, np.array([0.0, y]), np.array([width - 1.0, y]), 1, _LINE, _FAINT)
