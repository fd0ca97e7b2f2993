"""MoveNet as an estimator: it comes with the package, knows people, and has gradients."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError, suggest
from gaitext.pose.estimator import INPUT_SIZE
from gaitext.pose.movenet import MEAN, STD, VARIANTS, MoveNet, load_movenet, verified_digest
from gaitext.pose.torch_estimator import Precision, TorchEstimator

#: Whose joints are wanted: of the person in the middle of the crop, or of everybody in it.
Person = Literal["centre", "all"]
#: Cells that MoveNet's graph adds to each distance by which it divides.
_SOFTENING = 1.7998046875
#: So many cells around a peak belong to it.
_PEAK = 4


class MoveNetEstimator(TorchEstimator):
    """Google's MoveNet for one person an image, a :class:`~gaitext.pose.PoseEstimator` that needs no download.

    Args:
        model: ``thunder`` (6.2 million weights) or ``lightning`` (2.3 million, three times as fast).
        person: with ``centre`` the peaks of other people in the crop are lowered, by MoveNet's own rule
            (:func:`only_in_the_middle`); with ``all`` everybody has peaks.
        device, precision, flip_test, trainable: see :class:`~gaitext.pose.TorchEstimator`.

    Raises:
        ConfigError: no such model, person, device or precision.
        CheckpointError: the package's weights are missing or are not those it was released with.

    >>> MoveNetEstimator("lightning").heatmaps(torch.zeros(2, 3, 256, 192)).shape
    torch.Size([2, 17, 64, 48])
    """

    def __init__(
        self,
        model: str,
        *,
        person: Person = "centre",
        device: str = "auto",
        precision: Precision = "auto",
        flip_test: bool = False,
        trainable: bool = False,
    ) -> None:
        known = [name for name, variant in VARIANTS.items() if not variant.several]
        if model not in known:
            raise ConfigError(f"unknown MoveNet '{model}'", where="estimator", how=suggest(model, known))
        if person not in ("centre", "all"):
            raise ConfigError(f"unknown person '{person}'", where="estimator", how="write centre or all")
        super().__init__(
            _Heatmaps(load_movenet(model), person),
            input_size=INPUT_SIZE,
            mean=(MEAN,) * 3,
            std=(STD,) * 3,
            settings={
                "estimator": "movenet",
                "model": model,
                "sha256": verified_digest(model),
                "person": person,
            },
            where=f"movenet:{model}",
            device=device,
            precision=precision,
            flip_test=flip_test,
            trainable=trainable,
        )


class _Heatmaps(nn.Module):
    """The heatmaps of a MoveNet alone, [N, 3, H, W] -> [N, 17, H/4, W/4]."""

    def __init__(self, network: MoveNet, person: Person) -> None:
        super().__init__()
        self.network, self.person = network, person

    def forward(self, images: Tensor) -> Tensor:
        if self.person == "all":
            return self.network(images, ("heatmaps",))["heatmaps"]
        maps = self.network(images, ("heatmaps", "centres", "joints"))
        return only_in_the_middle(maps["heatmaps"], maps["centres"], maps["joints"])


def only_in_the_middle(heatmaps: Tensor, centres: Tensor, joints: Tensor) -> Tensor:
    """Heatmaps in which the highest peaks are those of the person in the middle.

    MoveNet's graph expects each joint where :func:`expected_joints` says, and takes for it the cell with the largest
    heatmap / (d + 1.8), d being the distance in cells from there (:func:`taken_cells`). Here the cells up to 4 from
    the one it takes stay as they are, the whole peak; of the others those that are farther from the expected place
    than the one it takes, d*, are multiplied by (d* + 1.8) / (d + 1.8). So the highest cell of the map lies within 4
    cells of the one that MoveNet takes, whatever peaks others have.

    The factors have no gradient: it flows to the heatmaps as through a product with constants.

    Args:
        heatmaps: [N, 17, h, w]; centres: [N, 1, h, w]; joints: [N, 34, h, w], all of one MoveNet.

    Returns:
        [N, 17, h, w].
    """
    with torch.no_grad():
        taken, distances = taken_cells(heatmaps, centres, joints)
        own = distances.flatten(2).gather(-1, taken[..., None])[..., None]
        (y, x), taken, width = _cells(heatmaps), taken[..., None, None], heatmaps.shape[-1]
        peak = torch.hypot(y - taken // width, x - taken % width) <= _PEAK
        factors = torch.where(peak, 1.0, (own / distances).clamp(max=1))
    return heatmaps * factors.to(heatmaps.dtype)


def taken_cells(heatmaps: Tensor, centres: Tensor, joints: Tensor) -> tuple[Tensor, Tensor]:
    """The cells that MoveNet's graph takes for the joints of the person in the middle.

    Returns:
        [N, 17], y · w + x of each cell; and [N, 17, h, w], by what the heatmaps are divided to find it: how far a cell
        is from where the joint is expected, plus 1.8.
    """
    y, x = _cells(heatmaps)
    at = expected_joints(centres, joints)[..., None, None]
    distances = torch.hypot(y - at[:, :, 0], x - at[:, :, 1]) + _SOFTENING
    return (heatmaps / distances).flatten(2).argmax(-1), distances


def expected_joints(centres: Tensor, joints: Tensor) -> Tensor:
    """Where MoveNet's graph expects the joints of the person in the middle, before it looks at the heatmaps.

    The person is the cell with the largest centre / (distance from the map's middle + 1.8); its joints are where the
    map of joints says that they are, seen from that cell.

    Args:
        centres: [N, 1, h, w] in 0..1.
        joints: [N, 34, h, w], (y, x) in cells.

    Returns:
        [N, 17, 2], float32: (y, x) in cells.
    """
    height, width = centres.shape[-2:]
    y, x = _cells(centres)
    apart = torch.hypot(y - height / 2, x - width / 2) + _SOFTENING
    person = (centres / apart).flatten(1).argmax(1)
    way = joints.flatten(2)[torch.arange(len(joints), device=joints.device), :, person].unflatten(1, (-1, 2))
    return torch.stack((person // width, person % width), -1)[:, None] + way.float()


def _cells(maps: Tensor) -> tuple[Tensor, Tensor]:
    """y [h, 1] and x [w], float32, of the cells of maps [..., h, w]."""
    y, x = (torch.arange(size, dtype=torch.float32, device=maps.device) for size in maps.shape[-2:])
    return y[:, None], x
