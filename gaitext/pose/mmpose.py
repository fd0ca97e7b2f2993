"""Pose estimators from mmpose's configs and checkpoints."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gaitext.errors import ConfigError
from gaitext.pose import openmmlab
from gaitext.pose.torch_estimator import Precision, TorchEstimator, state_digest
from gaitext.skeleton import COCO_JOINTS
from gaitext.video.digests import content_sha256

log = logging.getLogger(__name__)

#: Encodings whose heatmaps peak at 1.
_CODECS = ("MSRAHeatmap", "UDPHeatmap")
_WANTED = "gaitext needs a top-down COCO-17 heatmap config (td-hm_…_coco-…): HRNet, ViTPose, SimpleBaseline, …"


class MMPoseEstimator(TorchEstimator):
    """A top-down heatmap network of mmpose 1.x, run in batches through its own modules.

    Input size, normalisation, channel order and the shift of mirrored heatmaps come from the
    config. Heatmaps are equal to those of mmpose's ``inference_topdown`` on the same crops.

    Args:
        model: ``CONFIG`` or ``CONFIG:CHECKPOINT``. CONFIG is a file, or the name of a config that
            ships with mmpose, such as ``td-hm_hrnet-w32_8xb64-210e_coco-256x192``. CHECKPOINT is a
            file; without one the weights are random, for trying things out.
        seed: of random weights.
        device, precision, flip_test, trainable: see :class:`~gaitext.pose.TorchEstimator`. The config's
            ``flip_test`` is not followed, as it doubles the time.

    Raises:
        ConfigError: no such config, or not one of a top-down network of COCO-17 heatmaps.
        CheckpointError: the checkpoint cannot be read or belongs to another network.
        MissingDependencyError: mmpose, or something that it needs, is not installed.
    """

    def __init__(
        self,
        model: str,
        *,
        device: str = "auto",
        precision: Precision = "auto",
        flip_test: bool = False,
        trainable: bool = False,
        seed: int = 0,
    ) -> None:
        openmmlab.prepare("mmpose", "mmpose", "the estimator 'mmpose:'")
        name, checkpoint = _parts(model)
        config = openmmlab.read_config(openmmlab.find_config(name, "mmpose"))
        _check(config, name)
        settings = config.model
        tta = dict(settings.get("test_cfg") or {})
        if flip_test and tta.get("flip_mode", "heatmap") != "heatmap":
            raise ConfigError(f"flip_mode '{tta['flip_mode']}' is not supported", where=name, how="leave flip_test out")
        preprocessor = dict(settings.get("data_preprocessor") or {})
        width, height = settings.head.decoder.input_size
        network = _network(settings, seed, tta.get("output_keypoint_indices"), name)
        if checkpoint is None:
            log.warning("%s: no checkpoint, so the weights are random (seed %d)", name, seed)
            weights = {"checkpoint": None, "seed": seed, "sha256": state_digest(network)}
        else:
            openmmlab.load_weights(network.model, checkpoint)
            weights = {"checkpoint": checkpoint.name, "sha256": content_sha256(checkpoint)}
        super().__init__(
            network,
            input_size=(int(height), int(width)),
            # The images mmpose normalises reach from 0 to 255.
            mean=[value / 255 for value in preprocessor.get("mean") or (0, 0, 0)],
            std=[value / 255 for value in preprocessor.get("std") or (1, 1, 1)],
            # It reads images as BGR.
            bgr=not preprocessor.get("bgr_to_rgb", False),
            settings={
                "estimator": "mmpose",
                "config": Path(name).name.removesuffix(".py"),
                "config_sha256": _digest(settings),
                **weights,
            },
            where=name,
            device=device,
            precision=precision,
            flip_test=flip_test,
            trainable=trainable,
            shift_mirrored=bool(tta.get("shift_heatmap", False)),
        )


class _Network(nn.Module):
    """Backbone, neck and head: normalised images to heatmaps, with no data samples and no decoding."""

    def __init__(self, model: nn.Module, channels: list[int] | None) -> None:
        super().__init__()
        self.model: Any = model
        self.channels = channels

    def forward(self, images: Tensor) -> Any:
        maps = self.model.head(self.model.extract_feat(images))
        if isinstance(maps, list):  # networks of several stages: the last one counts
            maps = maps[-1]
        # Networks trained on several datasets at once name the channels of each.
        return maps[:, self.channels] if self.channels is not None else maps


def _network(settings: Any, seed: int, channels: list[int] | None, where: str) -> _Network:
    from mmpose.models.heads import CPMHead, HeatmapHead
    from mmpose.registry import MODELS

    if "mmpretrain." in str(settings):
        openmmlab.prepare("mmpretrain", "mmpose", f"the config '{where}'")
    model: Any = openmmlab.build(MODELS, settings, "mmpose", seed, where)
    if not isinstance(model.head, (HeatmapHead, CPMHead)):
        raise ConfigError(f"its head is a {type(model.head).__name__}", where=where, how=_WANTED)
    return _Network(model, channels)


def _parts(model: str) -> tuple[str, Path | None]:
    name, colon, rest = model.partition(":")
    if not name or (colon and not rest):
        raise ConfigError(
            f"'{model}' lacks a part", where="mmpose:", how="write mmpose:CONFIG or mmpose:CONFIG:CHECKPOINT"
        )
    if rest.startswith(("http:", "https:")):
        raise ConfigError("the checkpoint is an address", where=rest, how="download it, and give the file")
    return name, Path(rest) if rest else None


def _check(config: Any, where: str) -> None:
    """Raise ConfigError, before anything is built, unless it is a top-down network of COCO-17 heatmaps."""
    model = config.get("model")
    if model is None or str(model.get("type")).rpartition(".")[2] != "TopdownPoseEstimator":
        kind = "no model" if model is None else f"a {model.get('type')}"
        raise ConfigError(f"it describes {kind}, no top-down network", where=where, how=_WANTED)
    decoder = (model.get("head") or {}).get("decoder") or {}
    codec = decoder.get("type") if not isinstance(decoder, list) else "a list of encodings"
    if isinstance(decoder, list) and all(d.get("type") in _CODECS for d in decoder):
        model.head.decoder = decoder[-1]  # one for each stage of a network: the last one counts
        decoder, codec = decoder[-1], decoder[-1].get("type")
    if codec not in _CODECS:
        raise ConfigError(f"its outputs are encoded as {codec}", where=where, how=_WANTED)
    if decoder.get("heatmap_type", "gaussian") != "gaussian":
        raise ConfigError(f"its heatmaps are of the type '{decoder['heatmap_type']}'", where=where, how=_WANTED)
    joints = _joints(config, where)
    if joints is not None and joints != COCO_JOINTS:
        raise ConfigError(
            f"its {len(joints)} joints are not those of COCO-17, but {', '.join(joints[:4])}, …",
            where=where,
            how=_WANTED,
        )


def _joints(config: Any, where: str) -> tuple[str, ...] | None:
    """Names of the joints that the config is tested for; None where it does not say."""
    from mmpose.apis.inference import dataset_meta_from_config

    try:
        meta = dataset_meta_from_config(config, "test")
    except Exception as error:  # it runs the dataset's description, which may name a file that is not there
        raise ConfigError(f"the joints of its dataset cannot be read ({error!r})", where=where, how=_WANTED) from error
    return None if meta is None else tuple(meta["keypoint_id2name"][i] for i in range(meta["num_keypoints"]))


def _digest(settings: Any) -> str:
    """Of all that the config says about the network; other parts do not change the heatmaps."""
    return hashlib.sha256(json.dumps(settings.to_dict(), sort_keys=True, default=str).encode()).hexdigest()
