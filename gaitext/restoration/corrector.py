"""A trained corrector, read from its checkpoint, for use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError
from gaitext.models import FBCNN, FixedFBCNN, Tiles, load_fbcnn
from gaitext.restoration.objective import CorrectAt
from gaitext.restoration.settings import CorrectionConfig
from gaitext.video.digests import content_sha256


@dataclass(frozen=True)
class Corrector:
    """A network that corrects images, and how it was trained to be used.

    Attributes:
        network: with its weights, in evaluation mode, on the CPU.
        quality: 1 − QF/100.
        correct_at: whether it was trained on the estimator's input or on the video's own pixels.
        settings: what decides its corrections, as plain JSON values, with a digest of the checkpoint.
    """

    network: FBCNN
    quality: float
    correct_at: CorrectAt
    settings: dict[str, Any]

    def fixed(
        self,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
        tiles: Tiles | None = None,
        batch_size: int | None = None,
    ) -> FixedFBCNN:
        """The network for use, on a device: see :meth:`gaitext.models.FBCNN.fixed`."""
        return self.network.fixed(self.quality, dtype=dtype, tiles=tiles, batch_size=batch_size).to(device)


def load_corrector(path: str | Path, quality: float | None = None) -> Corrector:
    """Read a corrector: of ``gaitext correct train`` or ``pretrain``, of a toolbox's ArtifactCorrector, or
    ``fbcnn_color.pth``.

    Sizes are those of the weights.

    Args:
        path: the checkpoint.
        quality: 1 − QF/100; None takes what it was trained with, 0.5 where it does not say.

    Raises:
        CheckpointError: it cannot be read, or holds no FBCNN (a fine-tuned estimator, say).
    """
    content = checkpoints.read_file(path)
    own = content.get("gaitext") if isinstance(content, dict) else None
    own = own if isinstance(own, dict) else {}
    if own.get("kind") == "estimator":
        raise CheckpointError("holds a fine-tuned estimator, no corrector", where=path, how="use it as tuned:FILE")
    at: CorrectAt = "input"
    if own.get("kind") == "restorer":
        at, known = "native", 0.5
    elif "config" in own:
        config = CorrectionConfig.parse(own["config"], where=str(path))
        at, known = config.data.crops.correct_at, config.objective.quality
    else:
        known = 0.5
    network = load_fbcnn(content, path, rgb=True)
    used = known if quality is None else quality
    if not 0 <= used <= 1:
        raise ConfigError(f"quality {used:g}", where="quality", how="give a number in 0..1")
    settings = {"checkpoint": Path(path).name, "sha256": content_sha256(path), "quality": used, "correct_at": at}
    return Corrector(network.eval().requires_grad_(False), used, at, settings)
