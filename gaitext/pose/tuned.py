"""Estimators that ``gaitext correct train --finetune-estimator`` trained further."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from gaitext.checkpoints import load, read_file
from gaitext.errors import CheckpointError
from gaitext.pose.estimator import load_estimator
from gaitext.pose.torch_estimator import Precision, TorchEstimator
from gaitext.video.digests import content_sha256


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
                "sha256": content_sha256(model),
            },
            where=model,
            device=device,
            precision=precision,
            flip_test=flip_test,
            shift_mirrored=base.shift_mirrored,
            trainable=trainable,
        )
