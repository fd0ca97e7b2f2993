"""Turns a gaitext network into a host's model class.

A *host* is whoever trains and evaluates: OpenGait, FastPoseGait, or the embedded one
(:mod:`gaitext.standalone`). All three call a model the same way (docs/toolbox-contract.md, "What
a model is to a toolbox"): ``build_network(model_cfg)`` once, then
``forward((ipts, labels, types, views, seqL))``, which returns ``training_feat``,
``visual_summary`` and ``inference_feat``. A :class:`ModelAdapter` says how one network meets that
contract; :class:`HostModel` is the part of a host's class that is the same in every host. What
differs between hosts stands in :mod:`gaitext.toolboxes.toolbox`.
"""

from __future__ import annotations

import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from gaitext import transforms
from gaitext.config import Settings
from gaitext.errors import ConfigError
from gaitext.models.signature import SignatureExtractor

log = logging.getLogger("gaitext")


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
        trained_share: how much of the training is done, 0 to 1.
    """

    sequences: list[Tensor]
    labels: Tensor
    types: Sequence[str]
    views: Sequence[str]
    lengths: Tensor | None
    prepared: bool = False
    raw: Sequence[tuple[int, ...]] | None = None
    trained_share: float = 0.0

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


class Host:
    """The host that a model is built in, as far as a model that holds other models asks.

    This one has gaitext's own models only, as the embedded host has.

    Args:
        fresh: whether a training begins: then the checkpoints of earlier stages are read. One that
            goes on, and a test, read the whole system's own checkpoint after building.
    """

    def __init__(self, fresh: bool = True) -> None:
        self.fresh = fresh

    def signature(self, model_cfg: Mapping[str, Any], *, where: str) -> SignatureExtractor | None:
        """A model of the host's own, just built, as a map from :class:`HostInputs` to embeddings before the BNNeck.

        None: the host has no models but gaitext's, which their adapters build.

        Raises:
            ConfigError: the host has no such model, or its embeddings cannot be had.
        """
        return None

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

    def say(self, text: str) -> None:
        """Write a line to the host's log."""
        log.info("%s", text)


class ModelAdapter(ABC):
    """One network in the hosts' model contract, and its settings.

    A host makes one adapter for a model and asks it everything: before anything is built what the
    config must agree with, then for the network, then what the network makes of a batch.

    Args:
        model_cfg: the section of that name; its ``model`` key is ignored.
        models: gaitext's adapters by their names, for a network that holds another of its models.

    Raises:
        ConfigError: a setting is unknown, missing or wrong.
    """

    #: The name under which hosts know the model (``model_cfg.model``).
    name: ClassVar[str]
    #: What ``model_cfg`` is read as.
    settings_type: ClassVar[type[Settings]]
    settings: Any

    def __init__(
        self, model_cfg: Mapping[str, Any], models: Mapping[str, type[ModelAdapter]] = MappingProxyType({})
    ) -> None:
        own = {key: value for key, value in model_cfg.items() if key != "model"}
        self.settings = self.settings_type.parse(own, where="model_cfg")

    @abstractmethod
    def build(self, host: Host | None = None) -> nn.Module:
        """Build the network; ``host`` matters to networks that hold other models or read earlier stages' weights."""

    @abstractmethod
    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        """Run the network on a batch. In evaluation only ``inference`` is used."""

    def signature(self, network: nn.Module, inputs: HostInputs) -> Tensor:
        """Embeddings before the BNNeck [n, c, p], in training and evaluation, nothing augmented.

        A network without embeddings that RG-Gait could correct leaves this as it is.
        """
        raise NotImplementedError(f"{self.name} has no embeddings before a BNNeck")

    def pretreatment(self, network: nn.Module) -> Any:
        """How a toolbox's model makes its own inputs of a loader's batch, before they are occluded; None: it does not.

        Called ``(batch, base, lists)``: the batch without its lengths, what transforms one, and how
        many lists of transforms there are. Returns what ``base`` returns; None: not of so many lists.
        """
        return None

    @property
    def makes_inputs(self) -> bool:
        """Whether the model's inputs may be others than the leaf's files, one for one."""
        return False

    @property
    def frame_shapes(self) -> list[tuple[int, ...]] | None:
        """Shape of one frame of each input that the model reads; None when any will do."""
        return None

    @property
    def class_count(self) -> int | None:
        """How many identities the classifier can tell apart; None when there is none."""
        return None

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        """All losses that the model feeds: ``log_prefix`` -> the tensors' names; None when it does not say."""
        return None

    def check_transforms(self, lists: Sequence[Sequence[ListedTransform]]) -> None:
        """Compare the settings with the transforms of one phase, a list for each input.

        Raises:
            ConfigError: they contradict each other.
        """
        return

    def check_sampler(self, sampler: Mapping[str, Any], where: str) -> None:
        """Compare the settings with the ``sampler`` section of one phase.

        Raises:
            ConfigError: they contradict each other.
        """
        return

    def check_batch(self, network: nn.Module, inputs: HostInputs) -> None:
        """Look at the first batch for what only the numbers can tell. Made once, as it may wait for the device.

        Raises:
            DataError: the data are not what the settings say.
        """
        return


class HostModel:
    """The part of a host's model class that is the same in every host.

    Weights lie under ``network.`` in every host's checkpoints, which is why they can be exchanged.
    """

    adapter: ModelAdapter
    network: nn.Module
    training: bool
    #: How much of the training is done, 0 to 1: hosts say it before each step.
    trained_share: float = 0.0
    _batch_checked = False
    _prepared = False

    def set_up(self, adapter: ModelAdapter, host: Host | None = None) -> None:
        """Build the adapter's network in this model."""
        self.adapter = adapter
        self.network = adapter.build(host)

    def init_parameters(self) -> None:
        """Keep the weights that :meth:`set_up` made or loaded.

        Both toolboxes call this after ``build_network`` and would overwrite them.
        """

    def forward(self, inputs: Sequence[Any]) -> dict[str, dict[str, Any]]:
        sequences, labels, types, views, lengths = inputs
        batch = HostInputs(
            list(sequences), labels, types, views, lengths, self._prepared, trained_share=self.trained_share
        )
        if not self._batch_checked:
            self.adapter.check_batch(self.network, batch)
            self._batch_checked = True
        return self.adapter.run(self.network, batch, training=self.training).as_dict()
