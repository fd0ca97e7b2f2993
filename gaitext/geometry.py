"""Affine maps of the image plane, alignment matrices and crop boxes.

All matrices are [..., 2, 3] and act on pixel coordinates (x, y) whose integer values are pixel
centres: (x', y') = A·(x, y, 1). Functions take numpy arrays and torch tensors alike and return
what they were given, which is why they are written with the operations the two share.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch

from gaitext.errors import ShapeError
from gaitext.skeleton import SPINE_JOINTS

#: numpy array or torch tensor
A = TypeVar("A", Any, np.ndarray, torch.Tensor)


def array_namespace(value: Any) -> Any:
    """``torch`` for a tensor, ``numpy`` for an array: whose functions take it."""
    return torch if isinstance(value, torch.Tensor) else np


def _matrix(a: A, b: A, c: A, d: A, e: A, f: A) -> A:
    """Stack six entries of shape [...] to [[a, b, c], [d, e, f]] of shape [..., 2, 3]."""
    xp = array_namespace(a)
    return xp.stack((xp.stack((a, b, c), -1), xp.stack((d, e, f), -1)), -2)


def identity(like: A) -> A:
    """Identity matrices [..., 2, 3] for every entry of ``like`` [...], same kind and dtype."""
    xp = array_namespace(like)
    one, zero = xp.ones_like(like), xp.zeros_like(like)
    return _matrix(one, zero, zero, zero, one, zero)


def invert(matrix: A) -> A:
    """Inverse of affine maps [..., 2, 3]."""
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    d, e, f = matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2]
    det = a * e - b * d
    return _matrix(e / det, -b / det, (b * f - e * c) / det, -d / det, a / det, (d * c - a * f) / det)


def apply(matrix: A, points: A) -> A:
    """Map points [..., N, 2] by matrices [..., 2, 3]; leading axes broadcast.

    Multiplied out by hand: autocast would do a matrix product in half precision, which cannot
    tell neighbouring pixels of a frame apart.
    """
    x, y = points[..., 0], points[..., 1]
    rows = [matrix[..., r, 0, None] * x + matrix[..., r, 1, None] * y + matrix[..., r, 2, None] for r in (0, 1)]
    return array_namespace(points).stack((rows[0], rows[1]), -1)


def normalised(matrix: A, height: int, width: int) -> A:
    """Express a pixel map in the coordinates of ``torch.nn.functional.affine_grid``.

    A pixel centre x has the normalised coordinate (2x + 1)/W − 1 (align_corners = False).

    Args:
        matrix: [..., 2, 3], from output pixels to input pixels, both maps H×W.

    Returns:
        [..., 2, 3], the ``theta`` that affine_grid takes.
    """
    a, b, c = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    d, e, f = matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2]
    # x_in = a·x + b·y + c with x = ((u + 1)W − 1)/2, and likewise for y; then back to u.
    return _matrix(
        a,
        b * (height / width),
        (a * (width - 1) + b * (height - 1) + 2 * c + 1) / width - 1,
        d * (width / height),
        e,
        (d * (width - 1) + e * (height - 1) + 2 * f + 1) / height - 1,
    )


def spine(keypoints: A, min_score: float = 0.0) -> tuple[A, A, A]:
    """Neck, hip and whether both can be trusted.

    The neck is the middle of the shoulders, the hip the middle of the hips.

    Args:
        keypoints: [..., 17, 3]: x, y, score.
        min_score: joints must score more than this.

    Returns:
        neck [..., 2], hip [..., 2], valid [...] (bool).
    """
    if keypoints.shape[-2:] != (17, 3):
        raise ShapeError(
            f"keypoints have shape {tuple(keypoints.shape)}", where="spine", how="give [..., 17, 3]: x, y, score"
        )
    left_s, right_s, left_h, right_h = (keypoints[..., joint, :] for joint in SPINE_JOINTS)
    neck = (left_s[..., :2] + right_s[..., :2]) / 2
    hip = (left_h[..., :2] + right_h[..., :2]) / 2
    valid = (
        (left_s[..., 2] > min_score)
        & (right_s[..., 2] > min_score)
        & (left_h[..., 2] > min_score)
        & (right_h[..., 2] > min_score)
    )
    return neck, hip, valid


def alignment_matrices(neck: A, hip: A, anchor: tuple[float, float]) -> A:
    """Forward alignment maps of pose-guided heatmap alignment (GaitHeat, Eqs. 1–3).

    Rotates by −θ about the middle of neck and hip (Eq. 2), then translates so that the neck
    lands on ``anchor`` (Eq. 3), with θ = atan2(neck.x − hip.x, hip.y − neck.y), y pointing
    down: positive when leaning right. A sampler needs :func:`invert` of what this function returns.

    The paper's equations do not fit together under any one reading. Let the person lean right by φ, and let L be the
    distance from hip to neck. Eq. 1 is θ = arctan(neck.x − hip.x, neck.y − hip.y), and Eq. 4 *looks pixels up* with
    Eq. 2's M_R: what is seen turns by the inverse of M_R.

    * θ = +φ (Eq. 1 with y pointing up; Eq. 2 in pixels, where y points down): M_R turns the person upright, and Eq. 3's
      M_R·P_neck is where the neck then is. But Eq. 4 looks up with it, and turns the wrong way: the lean becomes 2φ.
    * θ = −φ (Eq. 1's quotient in pixels; or Eqs. 1 and 2 both with y up, which is the same map): M_R is the map to look
      up with, and Eq. 4 turns the person upright. But Eq. 3 takes the neck where M_R would put it, which is the wrong
      way: it comes to lie L·sin φ beside P_align.
    * θ = π − φ (a two-argument arctangent in pixels): Eq. 4 turns the person upside down, and γ is passed by all.

    Either Eq. 4 or Eq. 3 has to take the inverse. This function is the first reading with Eq. 4's mended, which is the
    second with Eq. 3's mended: upright, the neck on P_align.

    Args:
        neck, hip: [..., 2] in heatmap pixels.
        anchor: P_align as (x, y) in heatmap pixels.

    Returns:
        [..., 2, 3], input pixels to aligned pixels.
    """
    xp = array_namespace(neck)
    angle = xp.arctan2(neck[..., 0] - hip[..., 0], hip[..., 1] - neck[..., 1])
    cos, sin = xp.cos(-angle), xp.sin(-angle)
    # The rotation about P_mid followed by the translation that brings the neck to the anchor
    # is the rotation about the neck moved to the anchor: P_mid cancels.
    x, y = neck[..., 0], neck[..., 1]
    return _matrix(cos, -sin, anchor[0] - (cos * x - sin * y), sin, cos, anchor[1] - (sin * x + cos * y))


def lean_angle(matrix: A) -> A:
    """θ in degrees of an alignment matrix [..., 2, 3] (the angle that it takes away)."""
    xp = array_namespace(matrix)
    return xp.rad2deg(-xp.arctan2(matrix[..., 1, 0], matrix[..., 0, 0]))


def crop_boxes(boxes: np.ndarray, *, scale: float = 1.25, aspect: float = 0.75) -> np.ndarray:
    """Grow person boxes to the crops that a pose estimator sees (GaitHeat §3.2, step 2).

    Each box keeps its centre, is widened or heightened to ``aspect`` (w:h, 3:4) so that it
    contains the whole box, and grows by ``scale``. Parts outside the frame are kept: the crop
    is zero-padded there.

    Args:
        boxes: [N, 4] as x, y, w, h in frame pixels, x and y the top-left corner.

    Returns:
        [N, 4] as x, y, w, h, float64.

    >>> crop_boxes(np.array([[0.0, 0.0, 30.0, 80.0]])).tolist()
    [[-22.5, -10.0, 75.0, 100.0]]
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"boxes have shape {boxes.shape}", where="crop_boxes", how="give [N, 4]: x, y, w, h")
    centre = boxes[:, :2] + boxes[:, 2:] / 2
    width = np.maximum(boxes[:, 2], boxes[:, 3] * aspect) * scale
    size = np.stack((width, width / aspect), -1)
    return np.concatenate((centre - size / 2, size), -1)


def crop_matrices(crops: A, height: int, width: int) -> A:
    """Maps from frame pixels to the pixels of a H×W image (or heatmap) of each crop.

    Box edges are pixel edges: the crop's left edge x lies at −½ of the target image.

    Args:
        crops: [N, 4] as x, y, w, h in frame pixels.
        height: H of the target.
        width: W of the target.

    Returns:
        [N, 2, 3], in the crops' dtype.
    """
    sx, sy = width / crops[:, 2], height / crops[:, 3]
    zero = array_namespace(crops).zeros_like(sx)
    # A box's corner is an edge coordinate, where pixel i spans i − ½ … i + ½ around its centre.
    return _matrix(sx, zero, (0.5 - crops[:, 0]) * sx - 0.5, zero, sy, (0.5 - crops[:, 1]) * sy - 0.5)
