"""The embedded host's model, losses, sampler, optimizer and schedule, built from a config."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gaitext import losses as own_losses
from gaitext.checkpoints import fitting, load
from gaitext.errors import ConfigError, suggest
from gaitext.standalone.data import SequenceDataset
from gaitext.standalone.settings import SamplerSettings
from gaitext.toolboxes.adapter import Host, HostModel, ModelAdapter
from gaitext.toolboxes.parts import LOSSES, MODELS, SAMPLERS, adapter_for
from gaitext.toolboxes.samplers import SeededTripletSampler
from gaitext.toolboxes.validate import arguments_for, check_arguments

log = logging.getLogger(__name__)


class EmbeddedModel(HostModel, nn.Module):
    """A network in the embedded host: the toolboxes' model contract, and nothing else."""

    def __init__(self, adapter: ModelAdapter, host: Host) -> None:
        super().__init__()
        self.set_up(adapter, host)


def build_model(model_cfg: Mapping[str, Any], *, fresh: bool = True) -> EmbeddedModel:
    """Build the model that ``model_cfg.model`` names.

    Args:
        model_cfg: the section.
        fresh: whether a training begins, or the weights of a checkpoint follow.

    Raises:
        ConfigError: gaitext has no such model, or its settings are wrong.
    """
    check_model(str(model_cfg["model"]))
    return EmbeddedModel(adapter_for(model_cfg), Host(fresh))


def check_model(name: str) -> None:
    """Refuse a ``model_cfg.model`` that is not gaitext's.

    Raises:
        ConfigError: naming the nearest one.
    """
    if name not in MODELS:
        raise ConfigError(
            f"no model {name!r} in the embedded host, which has gaitext's own only",
            where="model_cfg.model",
            how=suggest(name, sorted(MODELS)),
        )


class LossSum(nn.Module):
    """Adds up the losses of ``loss_cfg``, as OpenGait's aggregator does.

    Args:
        entries: the list of ``loss_cfg``: ``type``, ``log_prefix`` and the loss's arguments.

    Raises:
        ConfigError: an unknown loss or argument, or a prefix given twice.
    """

    def __init__(self, entries: list[dict[str, Any]]) -> None:
        super().__init__()
        known = {"TripletLoss": own_losses.TripletLoss, "CrossEntropyLoss": own_losses.CrossEntropyLoss, **LOSSES}
        built: dict[str, nn.Module] = {}
        for position, entry in enumerate(entries):
            where = f"loss_cfg[{position}]"
            name, prefix = str(entry.get("type")), str(entry.get("log_prefix"))
            if name not in known:
                raise ConfigError(
                    f"no loss {name!r} in the embedded host",
                    where=where,
                    how=suggest(name, sorted(known)),
                )
            if "log_prefix" not in entry or prefix in built:
                raise ConfigError("log_prefix is missing or used twice", where=where, how="give each loss its own")
            given = arguments_for(known[name], entry, where=where, ignored=("type", "log_prefix", "gather_and_scale"))
            built[prefix] = known[name](**given)
        self.losses = nn.ModuleDict(built)

    def forward(self, training: Mapping[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
        """Add the losses up.

        Args:
            training: ``training_feat``: log_prefix -> the loss's arguments, or a tensor that is a
                loss already.

        Returns:
            The sum to minimise, and detached scalars for the log: each loss's own, and ``loss``,
            the weighted sum as it is on the whole batch (the sum to minimise counts gathered
            losses once per process, as DDP's averaging wants it).

        Raises:
            ConfigError: the model feeds a loss that ``loss_cfg`` does not have.
        """
        total: Tensor | None = None
        scalars: dict[str, Tensor] = {}
        reported: Tensor | None = None
        for name, fed in training.items():
            if isinstance(fed, Tensor):
                value = fed.float().mean()
                shown = scalars[name] = value.detach()
            elif name in self.losses:
                module = self.losses[name]
                loss, info = module(**fed)
                scalars.update({f"{name}/{key}": item.detach().float().mean() for key, item in info.items()})
                weight = float(module.loss_term_weight)  # type: ignore[arg-type]
                value = loss.mean() * weight
                shown = scalars[f"{name}/loss"] * weight if "loss" in info else value.detach()
            else:
                raise ConfigError(
                    f"the model feeds a loss named '{name}', which no entry of loss_cfg has as its log_prefix",
                    where="loss_cfg",
                    how=f"add one; there are {', '.join(self.losses) or 'none'}",
                )
            total = value if total is None else total + value
            reported = shown if reported is None else reported + shown
        if total is None or reported is None:
            raise ConfigError("the model feeds no loss", where="loss_cfg")
        return total, {"loss": reported, **scalars}


def build_sampler(dataset: SequenceDataset, settings: SamplerSettings, seed: int) -> SeededTripletSampler:
    """Build the training sampler.

    Raises:
        ConfigError: an unknown one, an argument that it does not take, or a wrong ``batch_size``.
    """
    known: dict[str, Any] = {"TripletSampler": SeededTripletSampler, **SAMPLERS}
    if settings.type not in known:
        raise ConfigError(
            f"no training sampler {settings.type!r} in the embedded host",
            where="trainer_cfg.sampler.type",
            how=suggest(settings.type, sorted(known)),
        )
    kind = known[settings.type]
    own = {} if settings.repeats is None else {"repeats": settings.repeats}
    check_arguments(kind, own, "trainer_cfg.sampler", (), complete=False)
    sampler: SeededTripletSampler = kind(
        dataset, settings.batch_size, batch_shuffle=settings.batch_shuffle, seed=seed + settings.seed, **own
    )
    return sampler


def build_optimizer(model: nn.Module, section: Mapping[str, Any]) -> torch.optim.Optimizer:
    """The optimizer of ``torch.optim`` that ``solver`` names, on what requires a gradient."""
    kind = _torch_class(torch.optim, section, "solver", torch.optim.Optimizer, "optimizer_cfg")
    given = arguments_for(kind, section, where="optimizer_cfg", ignored=("solver",))
    _refuse_unsaid(kind, given, {"momentum": 0.9, "weight_decay": 0.0005}, section["solver"], "optimizer_cfg")
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not weights:
        raise ConfigError("no weight of the model is to be trained", where="model_cfg", how="unfreeze a part")
    return _construct(kind, weights, given, "optimizer_cfg")


def build_scheduler(optimizer: torch.optim.Optimizer, section: Mapping[str, Any]) -> Any:
    """The schedule of ``torch.optim.lr_scheduler`` that ``scheduler`` names, stepped every iteration."""
    kind = _torch_class(torch.optim.lr_scheduler, section, "scheduler", object, "scheduler_cfg")
    given = arguments_for(kind, section, where="scheduler_cfg", ignored=("scheduler",))
    _refuse_unsaid(kind, given, {"gamma": 0.1}, section["scheduler"], "scheduler_cfg")
    return _construct(kind, optimizer, given, "scheduler_cfg")


def _torch_class(module: Any, section: Mapping[str, Any], key: str, base: type, where: str) -> type:
    name = str(section[key])
    names = [n for n, v in vars(module).items() if isinstance(v, type) and issubclass(v, base) and n[0].isupper()]
    if name not in names:
        raise ConfigError(
            f"{module.__name__} has no {name!r}",
            where=f"{where}.{key}",
            how=suggest(name, names),
        )
    kind: type = getattr(module, name)
    return kind


def _refuse_unsaid(kind: type, given: Mapping[str, Any], leaked: Mapping[str, Any], name: Any, where: str) -> None:
    """Refuse to guess what OpenGait takes from its default.yaml, which is for another class."""
    accepted = inspect.signature(kind).parameters
    for key, value in leaked.items():
        if key in accepted and key not in given:
            default = accepted[key].default
            raise ConfigError(
                f"'{where}.{key}' is not set: OpenGait would give {name} {value} from its default.yaml, "
                f"torch {default}",
                where=where,
                how=f"write {key}: {default} (or what you mean), and every host does the same",
            )


def _construct(kind: type, subject: Any, given: Mapping[str, Any], where: str) -> Any:
    try:
        return kind(subject, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{kind.__name__} cannot be built: {error}", where=where) from error


def load_weights(model: EmbeddedModel, path: Path, checkpoint: Mapping[str, Any], *, strict: bool) -> set[str] | None:
    """Load weights, strictly through :func:`gaitext.checkpoints.load`, or as far as names and shapes agree.

    Returns:
        What was loaded, as the model names it; None: all.
    """
    if strict:
        load(model.network, checkpoint, path)
        return None
    found = fitting(model.network, checkpoint, path)
    model.network.load_state_dict(found, strict=False)
    left = [key for key in model.network.state_dict() if key not in found]
    named = f", such as '{left[0]}'" if left else ""
    log.warning(
        "%s: %d weights restored, %d kept as they were%s (restore_ckpt_strict: false)",
        path,
        len(found),
        len(left),
        named,
    )
    inner = {id(value): name for name, value in model.network.state_dict(keep_vars=True).items()}
    return {name for name, value in model.named_parameters() if inner.get(id(value)) in found}
