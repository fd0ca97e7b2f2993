"""Checks ``loss_cfg`` against what the model feeds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from gaitext import losses
from gaitext.config import need
from gaitext.errors import ConfigError, nearest
from gaitext.toolboxes import parts
from gaitext.toolboxes.arguments import check_arguments, check_numbers

__all__ = ["check_losses"]


def _forward(kind: type) -> tuple[str, ...]:
    """The names of the tensors that a loss takes."""
    return tuple(inspect.signature(kind.forward).parameters)[1:]  # type: ignore[attr-defined]


#: What losses take, of those that gaitext has or has a twin of. A toolbox's other losses are not
#: importable where a config is checked.
_TAKES: dict[str, tuple[str, ...]] = {
    name: _forward(kind)
    for name, kind in vars(losses).items()
    if isinstance(kind, type) and issubclass(kind, losses.Loss) and kind is not losses.Loss
}


def check_losses(loss_cfg: Any, fed: Mapping[str, Sequence[str]] | None) -> None:
    """Check a training's losses.

    Args:
        loss_cfg: a list of losses, or one.
        fed: ``log_prefix`` -> the tensors that the model feeds that loss; None: not known.

    Raises:
        ConfigError: wrong arguments, a loss that is missing or never fed, or one of another kind.
    """
    listed: Sequence[Any] = [loss_cfg] if isinstance(loss_cfg, Mapping) else loss_cfg or []
    for position, entry in enumerate(listed):
        where = f"loss_cfg[{position}]"
        if entry.get("type") in parts.LOSSES:
            check_arguments(parts.LOSSES[entry["type"]], entry, where)
        check_numbers(entry, where)
    if fed is None:
        return
    given = [str(need(entry, "log_prefix", where=f"loss_cfg[{i}]")) for i, entry in enumerate(listed)]
    for position, (name, entry) in enumerate(zip(given, listed)):
        if name not in fed:
            guess = nearest(name, fed)
            raise ConfigError(
                f"the model feeds no loss named '{name}'",
                where=f"loss_cfg[{position}].log_prefix",
                how=f"did you mean '{guess}'?" if guess else f"its losses: {', '.join(fed)}",
            )
        _check_kind(str(entry.get("type")), name, fed[name], f"loss_cfg[{position}].type")
    missing = [name for name in fed if name not in given]
    if missing:
        raise ConfigError(
            f"no loss has the log_prefix {', '.join(map(repr, missing))}, which the model feeds",
            where="loss_cfg",
            how="add one for each",
        )


def _check_kind(kind: str, prefix: str, fed: Sequence[str], where: str) -> None:
    takes = _TAKES.get(kind)
    if takes is None or set(takes) == set(fed):
        return
    fitting = [name for name, takes in _TAKES.items() if set(takes) == set(fed)]
    raise ConfigError(
        f"{kind} takes {' and '.join(takes)}, but to '{prefix}' the model feeds {' and '.join(fed)}",
        where=where,
        how=f"use {' or '.join(fitting)} there" if fitting else "use another loss there",
    )
