"""Cutting persons out of frames, exactly where the geometry says."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import ShapeError
from gaitext.geometry import crop_matrices
from gaitext.pose import INPUT_SIZE

__all__ = ["crop_images", "overlaps"]


def crop_images(
    frame: npt.NDArray[np.uint8], crops: npt.NDArray[np.floating], size: tuple[int, int] = INPUT_SIZE
) -> torch.Tensor:
    """Cut crops from a frame and resize them (GaitHeat §3.2, step 3).

    The crop is resized as if the frame went on in black on all sides. Enlarging is bilinear.
    Shrinking is antialiased: the triangle of bilinear interpolation is widened by the factor of
    shrinking, so that every frame pixel counts, as area averaging does (this is what Pillow and
    ``torch.nn.functional.interpolate(antialias=True)`` do; ``cv2.warpAffine`` skips pixels).
    Output pixel centres lie exactly where :func:`gaitext.geometry.crop_matrices` puts them, at
    fractions of a pixel, which resizing a crop of whole pixels cannot do. As the two axes are
    independent, a crop is two small matrix products: weights · pixels · weightsᵀ.

    Args:
        frame: RGB uint8 [H, W, 3].
        crops: [N, 4] as x, y, w, h in frame pixels (of :func:`gaitext.geometry.crop_boxes`).
        size: height and width of the result.

    Returns:
        [N, 3, height, width], float32 in 0..1.

    Raises:
        ShapeError: the frame is not [H, W, 3] uint8, or a crop is empty.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ShapeError(
            f"the frame is {frame.dtype} {list(frame.shape)}", where="crop_images", how="give RGB uint8 [H, W, 3]"
        )
    crops = np.asarray(crops, dtype=np.float64).reshape(-1, 4)
    if not (crops[:, 2:] > 0).all():
        raise ShapeError("a crop is empty", where="crop_images", how="widths and heights must be positive")
    height, width = size
    images = torch.zeros(len(crops), 3, height, width)
    for image, matrix in zip(images, crop_matrices(crops, height, width)):
        rows, top = _weights(matrix[1, 1], matrix[1, 2], height, frame.shape[0])
        columns, left = _weights(matrix[0, 0], matrix[0, 2], width, frame.shape[1])
        window = frame[top : top + rows.shape[1], left : left + columns.shape[1]]
        if window.size == 0:
            continue
        # [3, h, w] makes both products plain batched matrix products.
        pixels = torch.from_numpy(np.ascontiguousarray(window.transpose(2, 0, 1))).float()
        torch.matmul(torch.matmul(rows, pixels), columns.T, out=image)
    return images.div_(255).clamp_(0, 1)


def overlaps(crops: npt.NDArray[np.floating], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Whether any part of each crop or box [N, 4] (x, y, w, h) lies in a H×W frame: [N]."""
    x, y, w, h = np.asarray(crops, dtype=np.float64).reshape(-1, 4).T
    return (x < width) & (y < height) & (x + w > 0) & (y + h > 0)


def _weights(scale: float, shift: float, outputs: int, inputs: int) -> tuple[torch.Tensor, int]:
    """How much each input pixel counts in each output pixel, along one axis.

    Args:
        scale, shift: output coordinate = scale · input coordinate + shift.

    Returns:
        Weights [outputs, n] of the n input pixels from the returned first one on. A row adds up
        to 1 less what lies outside the input, which is black.
    """
    centres = (np.arange(outputs) - shift) / scale
    reach = max(1.0, 1.0 / scale)
    first = int(np.floor(centres[0] - reach))
    pixels = np.arange(first, int(np.ceil(centres[-1] + reach)) + 1)
    weights = np.maximum(0.0, 1.0 - np.abs(pixels - centres[:, None]) / reach)
    # A widened triangle sampled at whole pixels does not add up to exactly 1; pixels outside the
    # input belong to the sum, or the black border would be brightened away.
    weights /= weights.sum(1, keepdims=True)
    inside = (pixels >= 0) & (pixels < inputs)
    return torch.from_numpy(weights[:, inside].astype(np.float32)), max(first, 0)
