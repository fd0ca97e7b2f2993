"""Checks a part's arguments, as a YAML gives them, against the part's own signature."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import Any

from gaitext.errors import ConfigError, nearest

__all__ = ["FREE_KEYS", "check_arguments", "check_numbers"]

#: What the toolboxes' YAML may hold beside a part's own arguments.
FREE_KEYS = frozenset({"type", "log_prefix", "loss_term_weight", "gather_and_scale"})
#: Parameters that are for Python, not for a YAML.
_PYTHON_ONLY = {"generator", "dataset"}


def check_arguments(
    part: Any, arguments: Mapping[str, Any], where: str, free: Collection[str] = FREE_KEYS, *, complete: bool = True
) -> None:
    """Check a part's arguments against its real signature.

    Args:
        part: a class or function.
        arguments: a YAML section.
        where: the section's place.
        free: keys that may be there although the part does not take them.
        complete: whether these are all arguments that the part will be given.

    Raises:
        ConfigError: an unknown or a missing one.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(part).parameters.items()
        if name not in _PYTHON_ONLY and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    for key in arguments:
        if key not in parameters and key not in free:
            guess = nearest(key, parameters)
            listed = ", ".join(sorted(set(parameters) - set(free))) or "none"
            raise ConfigError(
                f"{part.__name__} has no argument '{key}'",
                where=f"{where}.{key}",
                how=f"did you mean '{guess}'?" if guess else f"its arguments: {listed}",
            )
    for name, parameter in parameters.items():
        if complete and parameter.default is parameter.empty and name not in arguments:
            raise ConfigError(f"{part.__name__} needs the argument '{name}'", where=where, how=f"add '{name}'")


def check_numbers(value: Any, where: str) -> None:
    """Refuse numbers that YAML reads as text: ``1e-3`` is one, ``1.0e-3`` is not."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in ("save_name", "restore_hint"):
                check_numbers(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            check_numbers(inner, f"{where}[{position}]")
    elif isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return
        if number == number and "e" in value.lower():
            mantissa, exponent = value.lower().split("e")
            meant = f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"
            raise ConfigError(f"YAML reads {value} as text, not as a number", where=where, how=f"write {meant}")
