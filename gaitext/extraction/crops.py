"""Cutting persons out of frames, exactly where the geometry says."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import ShapeError
from gaitext.geometry import crop_matrices
from gaitext.pose import INPUT_SIZE

# What is used of it, a product with a dense matrix, is old and tested here against a slow reference.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


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
    independent, a crop is two matrix products, weights · pixels · weightsᵀ, with few weights a row.

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
        rows = _Weights.along(matrix[1, 1], matrix[1, 2], height, frame.shape[0])
        columns = _Weights.along(matrix[0, 0], matrix[0, 2], width, frame.shape[1])
        window = frame[rows.first : rows.end, columns.first : columns.end]
        if window.size == 0:
            continue
        h, w, _ = window.shape
        pixels = torch.from_numpy(window).float().reshape(h, w * 3)
        shrunk = rows.matrix() @ pixels  # [height, w · 3]
        shrunk = shrunk.reshape(height, w, 3).transpose(0, 1).reshape(w, height * 3)
        result = columns.matrix() @ shrunk  # [width, height · 3]
        image.copy_(result.reshape(width, height, 3).permute(2, 1, 0))
    return images.div_(255).clamp_(0, 1)


def overlaps(crops: npt.NDArray[np.floating], height: int, width: int) -> npt.NDArray[np.bool_]:
    """Whether any part of each crop or box [N, 4] (x, y, w, h) lies in a H×W frame: [N]."""
    x, y, w, h = np.asarray(crops, dtype=np.float64).reshape(-1, 4).T
    return (x < width) & (y < height) & (x + w > 0) & (y + h > 0)


@dataclass(frozen=True)
class _Weights:
    """How much each input pixel counts in each output pixel, along one axis.

    Attributes:
        pixels: int64 [outputs, taps], which pixels count; the input goes on in black.
        weights: float32 [outputs, taps]; rows add up to 1.
        first, end: the input's own pixels that count are first … end − 1.
    """

    pixels: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float32]
    first: int
    end: int

    @classmethod
    def along(cls, scale: float, shift: float, outputs: int, inputs: int) -> _Weights:
        """For output coordinate = scale · input coordinate + shift."""
        centres = (np.arange(outputs) - shift) / scale
        reach = max(1.0, 1.0 / scale)
        taps = int(np.ceil(2 * reach)) + 1
        pixels = np.floor(centres - reach).astype(np.int64)[:, None] + 1 + np.arange(taps)
        weights = np.maximum(0.0, 1.0 - np.abs(pixels - centres[:, None]) / reach)
        # A widened triangle sampled at whole pixels does not add up to exactly 1; pixels outside
        # the input belong to the sum, or the black border would be brightened away.
        weights /= weights.sum(1, keepdims=True)
        first = max(int(pixels[0, 0]), 0)
        end = max(min(int(pixels[-1, -1]) + 1, inputs), first)
        return cls(pixels, weights.astype(np.float32), first, end)

    def matrix(self) -> torch.Tensor:
        """[outputs, end − first]; sparse where this torch can multiply by sparse matrices."""
        inside = (self.pixels >= self.first) & (self.pixels < self.end)
        columns = torch.from_numpy(self.pixels[inside] - self.first)
        values = torch.from_numpy(self.weights[inside])
        size = (len(inside), self.end - self.first)
        if torch.backends.mkl.is_available():
            # Not dense: of a large crop's weights 99 % are zero.
            starts = torch.from_numpy(np.concatenate(([0], inside.sum(1).cumsum())))
            return torch.sparse_csr_tensor(starts, columns, values, size, check_invariants=False)
        dense = torch.zeros(size)
        dense[torch.from_numpy(np.nonzero(inside)[0]), columns] = values
        return dense
