"""The estimator that comes with the package: it knows rendered walkers, and nothing else.

An estimator that ``gaitext correct train --finetune-estimator`` has trained further.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from gaitext.checkpoints import load, read_file
from gaitext.errors import CheckpointError
from gaitext.pose.estimator import INPUT_SIZE, load_estimator
from gaitext.pose.network import PoseNet
from gaitext.pose.onnx_session import file_digest
from gaitext.pose.torch_estimator import Precision, TorchEstimator

__all__ = ["BundledEstimator", "PROVENANCE", "TunedEstimator", "WEIGHTS"]


#: Where the weights lie, a float16 state dict, and how they were made and how good they are.
WEIGHTS = Path(__file__).parent / "data" / "walkers.pt"
PROVENANCE = WEIGHTS.with_suffix(".json")
#: Crops a pass on a CPU: the feature maps of more leave its cache.
_PASS = 32


class BundledEstimator(TorchEstimator):
    """A small :class:`~gaitext.pose.PoseEstimator` for videos of walkers (``gaitext.walkers.Scene``).

    Its network was trained on rendered walkers only. It lets demos and tests start from video where
    no other estimator is; on videos of people its heatmaps are worthless.

    Args:
        device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of weights and computation; the weights are stored as float16.
        flip_test: average with the heatmaps of the mirrored images: twice the time.
        trainable: see :class:`~gaitext.pose.TorchEstimator`.

    Raises:
        ConfigError: no such device or precision.
        CheckpointError: the package's weights are missing or are not those it was released with.

    >>> BundledEstimator().heatmaps(torch.zeros(2, 3, 256, 192)).shape
    torch.Size([2, 17, 64, 48])
    """

    def __init__(
        self, *, device: str = "auto", precision: Precision = "auto", flip_test: bool = False, trainable: bool = False
    ) -> None:
        digest = _verified()
        network = PoseNet()
        network.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
        super().__init__(
            network,
            input_size=INPUT_SIZE,
            mean=(0.0, 0.0, 0.0),
            std=(1.0, 1.0, 1.0),
            settings={"estimator": "bundled", "file": WEIGHTS.name, "sha256": digest},
            where="bundled",
            device=device,
            precision=precision,
            flip_test=flip_test,
            trainable=trainable,
        )

    def heatmaps(self, images: Tensor) -> Tensor:
        """Heatmaps [N, 17, 64, 48] of RGB crops [N, 3, 256, 192] in 0..1, as those of any torch estimator."""
        if self.device.type != "cpu" or len(images) <= _PASS:
            return super().heatmaps(images)
        estimate = super().heatmaps
        return torch.cat([estimate(part) for part in images.split(_PASS)])


def _verified() -> str:
    """The weights' digest, which must be the one in the record beside them."""
    how = "install gaitext again"
    try:
        provenance: dict[str, Any] = json.loads(PROVENANCE.read_text(encoding="utf-8"))
        digest = file_digest(WEIGHTS)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"cannot be read ({error})", where=WEIGHTS.parent, how=how) from error
    if provenance.get("sha256") != digest:
        raise CheckpointError(f"holds other weights than {PROVENANCE.name} describes", where=WEIGHTS, how=how)
    return digest


class TunedEstimator(TorchEstimator):
    """The estimator named in a checkpoint, with the checkpoint's weights: ``tuned:output/hrnet/best.pt``.

    Args:
        model: the checkpoint. What the estimator was loaded from must still be there.
        device, precision, flip_test, trainable: see :class:`~gaitext.pose.TorchEstimator`.

    Raises:
        CheckpointError: no such file, or one that holds no fine-tuned estimator.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        flip_test: bool = False,
        trainable: bool = False,
    ) -> None:
        content = read_file(model)
        own = content.get("gaitext", {}) if isinstance(content, dict) else {}
        own = own if isinstance(own, dict) else {}
        if own.get("kind") != "estimator" or not isinstance(own.get("estimator"), str):
            raise CheckpointError(
                "holds no fine-tuned estimator",
                where=model,
                how="give one of gaitext correct train --finetune-estimator",
            )
        base = cast(TorchEstimator, load_estimator(own["estimator"], device="cpu", precision="float32", trainable=True))
        load(base.network, content, model)
        super().__init__(
            base.network,
            input_size=base.input_size,
            mean=base.mean,
            std=base.std,
            bgr=base.bgr,
            settings={
                "estimator": "tuned",
                "of": own["estimator"],
                "base": base.settings,
                "checkpoint": Path(model).name,
                "sha256": file_digest(model),
            },
            where=model,
            device=device,
            precision=precision,
            flip_test=flip_test,
            shift_mirrored=base.shift_mirrored,
            trainable=trainable,
        )
