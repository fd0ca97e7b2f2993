"""A toolbox's model without the toolbox's trainer: how it is made, and how its own inputs reach it."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from gaitext.errors import ConfigError

__all__ = ["borrow", "own_inputs", "pretreated", "quiet_randomness", "reason"]

#: The trainer's class, in both toolboxes: what a model's class has of its own comes before it.
_TRAINER = "BaseModel"


def reason(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


class _TrainersWork(Exception):
    """A model's own ``__init__`` asks for loaders or optimizers, which a borrowed model has none of."""


class _Untrained:
    """Stands between a model's class and its trainer's: ``super()`` in the model ends here."""

    def __init__(self: Any, cfgs: Any = None, training: bool = False, *_: Any, **__: Any) -> None:
        _build(self, *self._borrowed)

    def inputs_pretreament(self: Any, inputs: Sequence[Any]) -> Any:
        """Whatever :func:`pretreated` says, in place of the trainer's."""
        return self._base(inputs)


def _refuse(self: Any, *_: Any, **__: Any) -> Any:
    raise _TrainersWork


def _class(kind: type) -> type:
    trainer = next((base for base in kind.__mro__ if base.__name__ == _TRAINER), None)
    if trainer is None:
        return kind
    between = type("Untrained", (_Untrained, trainer), {"__module__": __name__})
    names = ("get_loader", "get_optimizer", "get_scheduler", "resume_ckpt")
    return type(kind.__name__, (kind, between), {"__module__": kind.__module__, **dict.fromkeys(names, _refuse)})


def _own(kind: type, name: str) -> bool:
    """Whether a model's class, and not its trainer's, defines ``name``."""
    for base in kind.__mro__:
        if base.__name__ == _TRAINER or base is nn.Module:
            return False
        if name in vars(base):
            return True
    return False


def _build(network: Any, attributes: Mapping[str, Any], model_cfg: Mapping[str, Any], hooks: Sequence[str]) -> None:
    nn.Module.__init__(network)
    network.training = False  # read while some models are built; it never leaves evaluation
    for name, value in attributes.items():
        setattr(network, name, value)
    network.build_network(copy.deepcopy(dict(model_cfg)))
    for hook in hooks:
        getattr(network, hook)()


def borrow(
    kind: type, model_cfg: Mapping[str, Any], attributes: Mapping[str, Any], weight_hooks: Sequence[str] = ()
) -> nn.Module:
    """A toolbox's model, built and its weights begun, without loaders, optimizers and devices.

    An ``__init__`` of the model's own runs too, if it goes through its trainer's, which is replaced.

    Args:
        kind: the model's class.
        model_cfg: copied, as models may change theirs.
        attributes: what the model may read of its trainer, such as ``cfgs``.
        weight_hooks: methods with which the toolbox then makes the weights that training starts
            from. Some models make parts of their network there.

    Raises:
        ConfigError: it cannot be built, and why.
    """
    made: Any = _class(kind)
    network: Any = made.__new__(made)
    object.__setattr__(network, "_borrowed", (attributes, model_cfg, weight_hooks))
    failed: str | None = None
    try:
        if issubclass(made, _Untrained) and _own(kind, "__init__"):
            try:
                network.__init__(attributes.get("cfgs"), False)
            except Exception as error:  # whatever it wants of a trainer's config; forward may do without
                failed = reason(error)
                network = made.__new__(made)
                _build(network, attributes, model_cfg, weight_hooks)
        else:
            _build(network, attributes, model_cfg, weight_hooks)
    except Exception as error:  # whatever a model says of a config that is not its own, or of files it wants
        raise ConfigError(
            f"{kind.__name__} cannot be built from it: {reason(error)}",
            where="model_cfg.gse.model_cfg",
            how="write stage 2's model_cfg there; files that it names must be where the toolbox runs",
        ) from error
    vars(network).pop("_borrowed", None)
    object.__setattr__(network, "_init_failed", failed)
    found: nn.Module = network
    return found


def own_inputs(network: nn.Module) -> bool:
    """Whether the model makes its inputs of a batch itself (``inputs_pretreament``), beyond transforming them."""
    return isinstance(network, _Untrained) and _own(type(network).__mro__[1], "inputs_pretreament")


def pretreated(network: Any, batch: Sequence[Any], base: Callable[[Sequence[Any]], Any]) -> Any:
    """A batch as the model's own ``inputs_pretreament`` makes it, in evaluation.

    Args:
        network: a borrowed model for which :func:`own_inputs` holds.
        batch: (sequences, labels, types, views, seqL), as a toolbox's loader makes it.
        base: what the model gets where it calls its trainer's ``inputs_pretreament``.
    """
    object.__setattr__(network, "_base", base)
    try:
        return network.inputs_pretreament(batch)
    finally:
        del network.__dict__["_base"]


@contextmanager
def quiet_randomness() -> Iterator[None]:
    """Whatever is drawn inside leaves every random number outside what it would have been."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    # The toolboxes' transforms draw from the old global generators.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
