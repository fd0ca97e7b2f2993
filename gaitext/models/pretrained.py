"""Weights that come with gaitext: what they are, and the networks that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.checkpoints import packaged_sha256
from gaitext.config import Settings, load_yaml
from gaitext.errors import ConfigError, suggest
from gaitext.models.fbcnn import FBCNN
from gaitext.models.gaitbase import GaitBase
from gaitext.models.gaitheat import GaitHeat
from gaitext.models.gaitpt import GaitPT
from gaitext.models.heads import BNNeck
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.rg_gait import RGGait
from gaitext.models.rg_gait_settings import RGGaitOEMSettings, RGGaitSettings

_PACKAGE = Path(__file__).parents[1]
#: Under which prefix a host's checkpoint has a network's weights.
_HOSTED = {"ArtifactCorrector": "network.corrector."}


class Pretrained(Settings):
    """A row of ``pretrained.yaml``.

    Attributes:
        what: the network.
        trained_on: what it was trained on.
        file: of the weights, below the package.
        record: the json beside it that holds its SHA-256.
        licence: of the weights.
        source: who made them.
        result: its own numbers in a word, with chance or what there is without it; None: not measured by gaitext.
        numbers: all of them, with what was tested.
        commands: what made it, one after the other, in an empty folder.
        config: shipped config whose ``model_cfg`` builds it; None: a bundled estimator.
        checkpoint: what the commands leave.
    """

    what: str
    trained_on: str
    file: str
    record: str
    licence: str
    source: str
    result: str | None = None
    numbers: tuple[str, ...] = ()
    commands: tuple[str, ...]
    config: str | None = None
    checkpoint: str | None = None

    @property
    def path(self) -> Path:
        return _PACKAGE / self.file

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def sha256(self) -> str:
        """As the record has it; :meth:`verified` compares it with the file."""
        weights = json.loads((self.path.parent / self.record).read_text(encoding="utf-8"))["weights"]
        digest: str = weights[self.path.name]["sha256"]
        return digest

    def verified(self) -> Path:
        """The file of the weights, looked through.

        Raises:
            CheckpointError: it is missing, or holds other weights than its record says.
        """
        packaged_sha256(self.path, self.record)
        return self.path

    @property
    def model_cfg(self) -> dict[str, Any]:
        """What builds the network, as a host's config says it.

        Raises:
            ConfigError: it is a bundled estimator, which no host trains.
        """
        if self.config is None:
            raise ConfigError(f"{self.what} is no model of a host", how="it is used by its specification, as it stands")
        section: dict[str, Any] = load_yaml(self.config)["model_cfg"]
        return section

    def hosted(self) -> dict[str, Tensor]:
        """The weights under the names that every host's checkpoints have.

        Raises:
            ConfigError: it is a bundled estimator, which no host trains.
        """
        prefix = _HOSTED.get(self.model_cfg["model"], "network.")
        return {prefix + name: value for name, value in checkpoints.read_state_dict(self.verified()).items()}


@cache
def _table() -> dict[str, Pretrained]:
    rows = load_yaml(Path(__file__).with_suffix(".yaml"))
    return {name: Pretrained.parse(row, where=f"pretrained.yaml: {name}") for name, row in rows.items()}


def pretrained() -> dict[str, Pretrained]:
    """All weights that come with gaitext, by their names."""
    return dict(_table())


def find_pretrained(name: str) -> Pretrained:
    """The row of that name.

    Raises:
        ConfigError: there is none; the nearest name is said.
    """
    if name not in _table():
        raise ConfigError(
            f"no weights of the name '{name}' come with gaitext", where="models", how=suggest(name, _table())
        )
    return _table()[name]


def from_pretrained(name: str) -> nn.Module:
    """A network with weights that come with gaitext, on the CPU, in float32 and evaluation mode.

    Args:
        name: of ``gaitext models``: ``gaitheat-walkers``, ``movenet-lightning``, …

    Raises:
        ConfigError: no such name; the nearest is said.
        CheckpointError: the file is missing, or holds other weights than its record says.

    >>> import torch
    >>> from_pretrained("gaitpt-walkers")(torch.rand(1, 30, 17, 3)).shape
    torch.Size([1, 128])
    """
    row = find_pretrained(name)
    family, _, variant = name.partition("-")
    if family == "movenet":
        from gaitext.pose.movenet import load_movenet

        return load_movenet(variant)
    if family == "blazepose":
        from gaitext.segmentation.blazepose import load_blazepose

        return load_blazepose()
    return checkpoints.load(build_network(row.model_cfg), row.verified()).eval()


def build_network(model_cfg: Mapping[str, Any]) -> nn.Module:
    """The network that a host's ``model_cfg`` names, alone: what a toolbox or the embedded host trains of it.

    An RG-Gait is built over gaitext's own networks, an ArtifactCorrector is its corrector. No weights are read.

    Args:
        model_cfg: the section of a config, with ``model``.

    Raises:
        ConfigError: no such network, or wrong settings.
    """
    name = str(model_cfg.get("model"))
    if name not in _BUILDERS:
        raise ConfigError(
            f"no network '{name}' that stands alone", where="model_cfg.model", how=suggest(name, sorted(_BUILDERS))
        )
    return _BUILDERS[name]({key: value for key, value in model_cfg.items() if key != "model"})


def _build_rg_gait(section: dict[str, Any]) -> RGGait:
    settings = RGGaitSettings.parse(section, where="model_cfg")
    gse: Any = build_network(settings.gse.model_cfg)
    theirs: BNNeck | None = getattr(gse, "signature_neck", None)
    if theirs is None:  # GaitPT: one embedding of a sequence
        shape = (gse.settings.embedding_size, 1)
    else:
        parts, channels, _ = theirs.classifier.shape
        shape = (channels, parts)
    without = settings.neck == "none" or (settings.neck == "gse" and theirs is None)
    return RGGait(
        gse,
        OcclusionEvaluator(**settings.oem.sizes) if settings.needs_evaluator else None,
        shape=shape,
        neck=None if without else BNNeck(shape[1], shape[0], settings.class_num),
        residual=settings.residual,
        adaptive=settings.adaptive,
        occlusion_aware=settings.occlusion_aware,
        mix_init=settings.mix_init,
        inference=settings.inference,
    )


_BUILDERS: dict[str, Any] = {
    "GaitHeat": lambda section: GaitHeat(**section),
    "GaitPT": lambda section: GaitPT(**section),
    "GaitBase": lambda section: GaitBase(**section),
    "RGGait": _build_rg_gait,
    "RGGaitOEM": lambda section: OcclusionEvaluator(**RGGaitOEMSettings.parse(section, where="model_cfg").sizes),
    "ArtifactCorrector": lambda section: FBCNN(**(section.get("corrector") or {})),
}
