"""Crops, against the definition pixel by pixel, torch's antialiasing and OpenCV."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ShapeError
from gaitext.extraction.crops import crop_images, overlaps
from gaitext.geometry import crop_boxes, crop_matrices


def picture(height: int = 60, width: int = 80, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def slow(frame: np.ndarray, crop: np.ndarray, height: int, width: int) -> np.ndarray:
    """Every output pixel: the triangle-weighted mean of the frame pixels around its place."""
    scale = max(1.0, crop[2] / width), max(1.0, crop[3] / height)
    out = np.zeros((3, height, width))
    for row in range(height):
        for column in range(width):
            # Pixel centres: output pixel i covers the share i/n … (i + 1)/n of the crop.
            x = crop[0] + (column + 0.5) * crop[2] / width - 0.5
            y = crop[1] + (row + 0.5) * crop[3] / height - 0.5
            total, value = 0.0, np.zeros(3)
            for j in range(int(np.floor(y - scale[1])), int(np.ceil(y + scale[1])) + 1):
                for i in range(int(np.floor(x - scale[0])), int(np.ceil(x + scale[0])) + 1):
                    weight = max(0, 1 - abs(i - x) / scale[0]) * max(0, 1 - abs(j - y) / scale[1])
                    total += weight
                    if 0 <= j < frame.shape[0] and 0 <= i < frame.shape[1]:
                        value += weight * frame[j, i]
            out[:, row, column] = value / total / 255
    return out


@settings(max_examples=20, deadline=None)
@given(
    st.floats(-30, 70), st.floats(-30, 60), st.floats(4, 120), st.floats(4, 120), st.integers(0, 1000)
)  # crops smaller and larger than the result, partly or wholly outside
def test_like_the_definition(x: float, y: float, w: float, h: float, seed: int) -> None:
    frame, crop = picture(seed=seed), np.array([x, y, w, h])
    result = crop_images(frame, crop[None], (12, 9))[0].numpy()
    np.testing.assert_allclose(result, slow(frame, crop, 12, 9), atol=2e-5)


def test_the_same_without_sparse_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = np.array([[10.3, -5.7, 40.1, 80.9], [50.2, 40.4, 30.0, 33.3], [-4.0, -4, 200, 200]])
    expected = crop_images(picture(), crops)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    torch.testing.assert_close(crop_images(picture(), crops), expected, atol=1e-6, rtol=0)


def test_pixels_land_where_the_geometry_says() -> None:
    ramp = np.zeros((200, 200, 3), np.uint8)
    ramp[..., 0] = np.arange(200)
    ramp[..., 1] = np.arange(200)[:, None]
    crops = crop_boxes(np.array([[60.3, 50.7, 40.1, 80.9], [50.2, 40.4, 30.0, 33.3]]))
    images = crop_images(ramp, crops).numpy() * 255
    for image, matrix in zip(images, crop_matrices(crops, 256, 192)):
        x = (np.arange(192) - matrix[0, 2]) / matrix[0, 0]
        y = (np.arange(256) - matrix[1, 2]) / matrix[1, 1]
        np.testing.assert_allclose(image[0], np.broadcast_to(x, (256, 192)), atol=1e-3)
        np.testing.assert_allclose(image[1], np.broadcast_to(y[:, None], (256, 192)), atol=1e-3)


def test_shrinking_is_torchs_antialiased_bilinear() -> None:
    frame = picture(256 * 3 + 100, 192 * 3 + 100)
    crop = np.array([[50.0, 50.0, 192 * 3, 256 * 3]])
    window = torch.from_numpy(frame[50 : 50 + 768, 50 : 50 + 576].copy()).permute(2, 0, 1)[None].float() / 255
    expected = torch.nn.functional.interpolate(window, (256, 192), mode="bilinear", antialias=True)
    # At the rim torch sees the crop alone, we see the frame around it.
    torch.testing.assert_close(crop_images(frame, crop)[..., 2:-2, 2:-2], expected[..., 2:-2, 2:-2], atol=1e-5, rtol=0)


def test_shrinking_does_not_alias() -> None:
    stripes = np.zeros((1024, 768, 3), np.uint8)
    stripes[::2] = 255
    image = crop_images(stripes, np.array([[0.0, 0.0, 768, 1024]]))
    assert (image[..., 2:-2, 2:-2] - 0.5).abs().max() < 0.01


def test_enlarging_is_opencvs_warp() -> None:
    cv2 = pytest.importorskip("cv2")
    frame = cv2.GaussianBlur(picture(120, 100), (0, 0), 2)
    for crop in crop_boxes(np.array([[20.2, 30.6, 40.0, 60.0], [-10.0, 70.3, 50.0, 61.0], [80.0, -20.0, 30.0, 50.0]])):
        matrix = crop_matrices(crop[None], 256, 192)[0]
        expected = cv2.warpAffine(frame.astype(np.float32), matrix, (192, 256), flags=cv2.INTER_LINEAR)
        result = crop_images(frame, crop[None])[0].permute(1, 2, 0).numpy() * 255
        # OpenCV may round places to 1/32 pixel.
        assert np.abs(result - expected).max() < 255 / 32 + 0.5
        assert np.abs(result - expected).mean() < 0.5


def test_outside_is_black() -> None:
    white = np.full((50, 40, 3), 255, np.uint8)
    images = crop_images(white, np.array([[-30.0, 0.0, 60.0, 50.0], [100.0, 0.0, 60.0, 50.0]]), (50, 60))
    assert images[0, :, :, :29].max() == 0
    assert images[0, :, 2:-2, 31:].min() == 1
    assert images[1].max() == 0
    assert overlaps(
        np.array([[-30.0, 0, 60, 50], [100, 0, 60, 50], [40, 0, 1, 1], [39, 49, 1, 1]]), 50, 40
    ).tolist() == [
        True,
        False,
        False,
        True,
    ]


def test_wrong_input() -> None:
    with pytest.raises(ShapeError, match="float64"):
        crop_images(np.zeros((4, 4, 3)), np.ones((1, 4)))
    with pytest.raises(ShapeError, match="empty"):
        crop_images(picture(), np.array([[0.0, 0, 0, 5]]))
