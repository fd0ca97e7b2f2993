"""Reading a corrector from a checkpoint alone: its sizes are those of its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gaitext import checkpoints
from gaitext.errors import CheckpointError
from gaitext.models.fbcnn import FBCNN

__all__ = ["load_fbcnn"]


def load_fbcnn(source: str | Path | Mapping[str, Any], where: object = None) -> FBCNN:
    """An :class:`FBCNN` of whatever sizes a checkpoint has, with its weights, in evaluation mode.

    Args:
        source: a file or state dict: the published ``fbcnn_color.pth``, an :class:`FBCNN`'s own weights, or
            a checkpoint of a corrector that was trained here or in a toolbox.
        where: what errors name, of a state dict from a file.

    Raises:
        CheckpointError: it cannot be read, or holds no whole FBCNN.

    >>> small = FBCNN(channels=(4, 6, 8), blocks=2, embedding_size=5)
    >>> load_fbcnn({"model": {f"network.corrector.{k}": v for k, v in small.state_dict().items()}}).settings.channels
    (4, 6, 8)
    """
    where = source if isinstance(source, (str, Path)) else where or "state dict"
    try:
        weights = checkpoints.named(checkpoints.read_state_dict(source), ("head.weight",), FBCNN.published_keys)
        network = FBCNN(**_sizes(weights, where))
        checkpoints.load(network, weights)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=where, how=error.how) from error
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise CheckpointError("holds weights that are no numbers", where=where, how="take one before training diverged")
    return network.eval()


def _sizes(weights: Mapping[str, Tensor], where: object) -> dict[str, Any]:
    # That no level or block is left out is for the strict loading to find.
    downs = sum(re.fullmatch(r"down\.\d+\.shrink\.weight", key) is not None for key in weights)
    blocks = sum(re.fullmatch(r"encoder\.\d+\.conv1\.weight", key) is not None for key in weights)
    try:
        head = weights["head.weight"]
        return {
            "image_channels": head.shape[1],
            "channels": (head.shape[0], *(weights[f"down.{n}.shrink.weight"].shape[0] for n in range(max(1, downs)))),
            "blocks": max(1, blocks),
            "embedding_size": weights["embedding.0.weight"].shape[0],
        }
    except (KeyError, IndexError) as error:
        found = f"{error} is missing" if isinstance(error, KeyError) else "shapes are others"
        raise CheckpointError(
            f"holds no FBCNN ({found})",
            where=where,
            how="give fbcnn_color.pth, or a checkpoint of a corrector trained with gaitext",
        ) from error
