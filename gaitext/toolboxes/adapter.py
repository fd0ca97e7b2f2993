"""Turns a gaitext network into a host's model class.

A *host* is whoever trains and evaluates: OpenGait, FastPoseGait, or the embedded one
(:mod:`gaitext.standalone`). All three call a model the same way (spec §6):
``build_network(model_cfg)`` once, then ``forward((ipts, labels, types, views, seqL))``, which
returns ``training_feat``, ``visual_summary`` and ``inference_feat``. A :class:`ModelAdapter` says
how one network meets that contract; :class:`HostModel` is the part of a host's class that is the
same in every host. What differs between hosts stands in :mod:`gaitext.toolboxes.hosts`.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gaitext import transforms
from gaitext.errors import ConfigError
from gaitext.models.signature import SignatureExtractor

__all__ = ["Host", "HostInputs", "HostModel", "HostOutput", "ListedTransform", "ModelAdapter"]


@dataclass(frozen=True)
class HostInputs:
    """What a host hands a model for one batch.

    Args:
        sequences: one tensor per pkl in use, [n, T, …] fixed or [1, ΣT, …] packed, float32.
        labels: [n], int64, positions in the sorted list of identities.
        types: the walks' types, n of them.
        views: the walks' views, n of them.
        lengths: None for fixed batches; [1, n] for packed ones (``seqL``).
        prepared: whether a toolbox's model has made its own inputs of them already.
        raw: the shape of a frame of each input before its transforms, if known.
    """

    sequences: list[Tensor]
    labels: Tensor
    types: Sequence[str]
    views: Sequence[str]
    lengths: Tensor | None
    prepared: bool = False
    raw: Sequence[tuple[int, ...]] | None = None

    def sequence(self, position: int, what: str) -> Tensor:
        """The input at ``position`` of ``data_in_use``, without its gradient.

        The toolboxes make inputs require gradients; nobody uses them, and they cost a backward
        pass through the first convolution.

        Raises:
            ConfigError: the config uses fewer inputs.
        """
        if position >= len(self.sequences):
            raise ConfigError(
                f"the model needs {what} as input number {position}, but only {len(self.sequences)} are used",
                where="data_cfg.data_in_use",
                how="switch the leaf's pkl on there, and give it a transform list of its own",
            )
        return self.sequences[position].detach()


@dataclass(frozen=True)
class HostOutput:
    """What a model hands back; :meth:`as_dict` is the toolboxes' form.

    Args:
        training: loss name (``log_prefix``) -> the loss's keyword arguments; or a loss that is computed already.
        inference: name -> tensor [n, …]; ``embeddings`` is what evaluators compare.
        images: name -> [N, 1 or 3, H, W] in 0..1, for the log.
    """

    training: Mapping[str, Mapping[str, Any] | Tensor]
    inference: Mapping[str, Tensor]
    images: Mapping[str, Tensor]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        return {
            "training_feat": dict(self.training),
            "visual_summary": {f"image/{name}": image for name, image in self.images.items()},
            "inference_feat": dict(self.inference),
        }


@dataclass(frozen=True)
class ListedTransform:
    """A transform that a config lists for one of its inputs.

    Args:
        name: its ``type``.
        arguments: its entry, ``type`` among them.
        where: the entry's place in the config, for errors.
    """

    name: str
    arguments: Mapping[str, Any]
    where: str

    def argument(self, name: str) -> Any:
        """One of its arguments as the config gives it, or its default; of gaitext's own transforms only."""
        default = inspect.signature(getattr(transforms, self.name)).parameters[name].default
        return self.arguments.get(name, default)


class Host(ABC):
    """The host that a model is built in, as far as a model that holds other models asks.

    Args:
        fresh: whether a training begins: then the checkpoints of earlier stages are read. One that
            goes on, and a test, read the whole system's own checkpoint after building.
    """

    def __init__(self, fresh: bool) -> None:
        self.fresh = fresh

    @abstractmethod
    def signature(self, model_cfg: Mapping[str, Any], *, where: str) -> SignatureExtractor:
        """One of the host's models, just built, as a map from :class:`HostInputs` to embeddings before the BNNeck.

        Raises:
            ConfigError: the host has no such model, or its embeddings cannot be had.
        """

    @property
    def device(self) -> torch.device:
        """Where the model will live: what tries a model out does it there."""
        return torch.device("cpu")

    def sample(self, extractor: SignatureExtractor) -> HostInputs | None:
        """Two short sequences as this run will make them for the extractor; None: there are none to be had."""
        return None

    @property
    def packs(self) -> bool:
        """Whether this run trains on packs of sequences."""
        return False

    @abstractmethod
    def say(self, text: str) -> None:
        """Write a line to the host's log."""


class ModelAdapter(ABC):
    """How one network meets the hosts' model contract. Stateless: only class methods."""

    #: The name under which hosts know the model (``model_cfg.model``).
    name: ClassVar[str]

    @classmethod
    @abstractmethod
    def build(cls, model_cfg: Mapping[str, Any]) -> nn.Module:
        """Build the network from the validated ``model_cfg`` (its ``model`` key is ignored)."""

    @classmethod
    def build_in(cls, model_cfg: Mapping[str, Any], host: Host) -> nn.Module:
        """:meth:`build`, for a network that holds other models of the host."""
        return cls.build(model_cfg)

    @classmethod
    def signature(cls, network: nn.Module, inputs: HostInputs) -> Tensor:
        """Embeddings before the BNNeck [n, c, p], in training and evaluation, nothing augmented.

        Raises:
            ConfigError: the network has none.
        """
        raise ConfigError(
            f"{cls.name} has no embeddings that RG-Gait could correct",
            where="model_cfg.gse.model_cfg.model",
            how="choose a model that recognises people",
        )

    @classmethod
    def pretreatment(cls, network: nn.Module) -> Any:
        """How a toolbox's model makes its own inputs of a loader's batch, before they are occluded; None: it does not.

        Called ``(batch, base, lists)``: the batch without its lengths, what transforms one, and how
        many lists of transforms there are. Returns what ``base`` returns; None: not of so many lists.
        """
        return None

    @classmethod
    def makes_inputs(cls, model_cfg: Mapping[str, Any]) -> bool:
        """Whether the model's inputs may be others than the leaf's files, one for one."""
        return False

    @classmethod
    def frame_shapes(cls, model_cfg: Mapping[str, Any]) -> list[tuple[int, ...]] | None:
        """Shape of one frame of each input that the model reads; None when any will do."""
        return None

    @classmethod
    @abstractmethod
    def run(cls, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        """Run the network on a batch. In evaluation only ``inference`` is used."""

    @classmethod
    def class_count(cls, model_cfg: Mapping[str, Any]) -> int | None:
        """How many identities the classifier can tell apart; None when there is none."""
        return None

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        """All losses that the model feeds: ``log_prefix`` -> the tensors' names; None when it does not say."""
        return None

    @classmethod
    def check_transforms(cls, model_cfg: Mapping[str, Any], lists: Sequence[Sequence[ListedTransform]]) -> None:
        """Compare ``model_cfg`` with the transforms of one phase, a list for each input.

        Raises:
            ConfigError: they contradict each other.
        """
        return

    @classmethod
    def check_sampler(cls, model_cfg: Mapping[str, Any], sampler: Mapping[str, Any], where: str) -> None:
        """Compare ``model_cfg`` with the ``sampler`` section of one phase.

        Raises:
            ConfigError: they contradict each other.
        """
        return

    @classmethod
    def check_batch(cls, network: nn.Module, inputs: HostInputs) -> None:
        """Look at the first batch for what only the numbers can tell. Made once, as it may wait for the device.

        Raises:
            DataError: the data are not what ``model_cfg`` says.
        """
        return


class HostModel:
    """The part of a host's model class that is the same in every host.

    A host's class is ``type(name, (HostModel, BaseOfTheHost), {"adapter": …})``. Weights lie under
    ``network.`` in every host's checkpoints, which is why they can be exchanged.
    """

    adapter: ClassVar[type[ModelAdapter]]
    network: nn.Module
    training: bool
    _batch_checked = False
    _prepared = False

    def build_network(self, model_cfg: Mapping[str, Any]) -> None:
        host = self.host()
        self.network = self.adapter.build(model_cfg) if host is None else self.adapter.build_in(model_cfg, host)

    def host(self) -> Host | None:
        """The host that this model is built in; None: none that has other models."""
        return None

    def init_parameters(self) -> None:
        """Keep the weights that :meth:`build_network` made or loaded.

        Both toolboxes call this after ``build_network`` and would overwrite them (spec §6).
        """

    def forward(self, inputs: Sequence[Any]) -> dict[str, dict[str, Any]]:
        sequences, labels, types, views, lengths = inputs
        batch = HostInputs(list(sequences), labels, types, views, lengths, self._prepared)
        if not self._batch_checked:
            self.adapter.check_batch(self.network, batch)
            self._batch_checked = True
        output = self.adapter.run(self.network, batch, training=self.training)
        return output.as_dict()
