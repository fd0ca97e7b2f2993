"""From masks to the silhouettes that gait networks are trained on."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage

from gaitext.errors import ShapeError

Mask = npt.NDArray[np.bool_]

#: A picture whose grey values add up to this or less, 39 white pixels, shows nobody: OpenGait's rule.
NOBODY = 10_000
#: Joints must score more than this to say where the person is.
_SEEN = 0.3
#: How far a joint may lie beside its part of the mask, as a share of the crop's side.
_NEAR = 0.03
#: How far a person may reach beyond their box, as a share of its longer side: boxes are not exact.
_BEYOND = 0.08


def pretreat(picture: npt.NDArray[Any], size: int = 64) -> npt.NDArray[np.uint8] | None:
    """A silhouette as OpenGait's pretreatment leaves it: as high as the frame, its middle in the middle.

    The rule: cut to the rows that are not empty; resize to ``size`` rows with the aspect kept (bicubic, a = −0.75,
    the width rounded down); the middle is the first column up to which more than half of all grey values lie; take
    ``size`` columns of which it is number ``size / 2``, black where there is none. Unlike there, a picture whose first
    column is the middle is kept.

    Args:
        picture: [H, W], bool, or uint8 of 0 (background) to 255.
        size: rows and columns of the result.

    Returns:
        uint8 [size, size], grey at the edges as bicubic resizing leaves them; None where it shows nobody: grey values
        that add up to :data:`NOBODY` or less, or a body too thin for a column.

    Raises:
        ShapeError: other than [H, W] of bool or uint8.
    """
    picture = np.asarray(picture)
    if picture.ndim != 2 or picture.dtype not in (np.bool_, np.uint8):
        raise ShapeError(
            f"a silhouette is {picture.dtype} {list(picture.shape)}",
            where="pretreat",
            how="give [H, W], bool or uint8 of 0..255",
        )
    grey = picture.astype(np.uint8) * np.uint8(255) if picture.dtype == np.bool_ else picture
    if grey.sum(dtype=np.int64) <= NOBODY:
        return None
    rows = np.flatnonzero(grey.any(1))
    body = grey[rows[0] : rows[-1] + 1]
    width = int(size * (body.shape[1] / body.shape[0]))
    if width == 0:
        return None
    pixels = torch.from_numpy(np.ascontiguousarray(body))[None, None].float()
    resized = torch.nn.functional.interpolate(pixels, (size, width), mode="bicubic", align_corners=False)
    body = resized[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()
    mass = body.sum(0, dtype=np.int64).cumsum()
    if mass[-1] == 0:
        return None
    left = int(np.argmax(mass > mass[-1] / 2)) - size // 2
    first, end = max(left, 0), min(left + size, width)
    result = np.zeros((size, size), np.uint8)
    result[:, first - left : end - left] = body[:, first:end]
    return result


def of_person(mask: Mask, joints: npt.NDArray[np.floating[Any]], box: npt.NDArray[np.floating[Any]]) -> Mask:
    """The parts of a mask that belong to the person whose joints and box are known.

    What lies outside the box, grown by 8 % of its longer side, is somebody else. Of the connected parts of what is
    left those are kept that have a joint on them, or beside them by no more than 3 % of the crop;
    where none has, the largest.

    Args:
        mask: bool [H, W].
        joints: [17, 3], x, y in the mask's pixels, score.
        box: x, y, w, h, in the mask's pixels.

    Returns:
        bool [H, W].
    """
    x, y, w, h = np.asarray(box, np.float64)
    beyond = _BEYOND * max(w, h)
    rows, columns = (
        slice(max(round(low - beyond), 0), max(round(low + side + beyond), 0)) for low, side in ((y, h), (x, w))
    )
    inside = np.zeros_like(mask)
    inside[rows, columns] = mask[rows, columns]
    mask = inside
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    if count < 2:
        return mask
    height, width = mask.shape
    near = max(1, round(_NEAR * max(height, width)))
    kept: set[int] = set()
    for column, row, _ in np.rint(joints[joints[:, 2] > _SEEN]).astype(int):
        window = parts[max(row - near, 0) : max(row + near + 1, 0), max(column - near, 0) : max(column + near + 1, 0)]
        kept.update(np.unique(window).tolist())
    kept.discard(0)
    if not kept:
        kept = {int(np.bincount(parts.ravel())[1:].argmax()) + 1}
    return np.isin(parts, list(kept))
