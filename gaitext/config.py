"""Typed settings, and reading the toolboxes' YAML without losing a key silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from gaitext.errors import ConfigError, GaitextError, nearest
from gaitext.yaml_reader import load_yaml, told_by

__all__ = ["Settings", "load_yaml", "merge", "need", "told_by"]

S = TypeVar("S", bound="Settings")

#: What pydantic calls the branches of a union of plain types.
_BRANCHES = {"str", "int", "float", "bool", "dict", "list", "tuple", "none"}


class Settings(BaseModel):
    """Base of all typed settings: immutable, and an unknown key is an error.

    The toolboxes silently drop unknown keys; gaitext names the key, the place and the
    nearest valid name.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, protected_namespaces=())

    @classmethod
    def parse(cls: type[S], values: Mapping[str, Any] | None, *, where: str) -> S:
        """Validate ``values``.

        Args:
            values: what a YAML section holds.
            where: the section's name, for errors (``"model_cfg"``).

        Raises:
            ConfigError: naming every wrong key, with the nearest valid name.
        """
        if values is not None and not isinstance(values, Mapping):
            raise ConfigError(f"holds {values!r}, not keys and values", where=where, how="indent its keys below it")
        try:
            return cls.model_validate(dict(values or {}))
        except ValidationError as error:
            raise _translate(cls, error, where) from error


def _translate(settings: type[Settings], error: ValidationError, where: str) -> ConfigError:
    problems: list[str] = []
    hints: list[str] = []
    found = [item["loc"] for item in error.errors()]
    for item in error.errors():
        if item["type"] == "too_short" and any(at[: len(item["loc"])] == item["loc"] != at for at in found):
            continue  # pydantic does not count entries that are wrong
        path = _path(settings, item["loc"]) or [str(part) for part in item["loc"][-1:]]
        place = ".".join([where, *path])
        raised = item.get("ctx", {}).get("error")
        if item["type"] == "extra_forbidden":
            names = _fields_at(settings, path[:-1])
            guess = nearest(path[-1], names)
            problems.append(f"unknown key '{place}'")
            if names:
                hints.append(f"did you mean '{guess}'?" if guess else f"valid keys: {', '.join(sorted(names))}")
        elif item["type"] == "missing" and path and not path[-1].isdigit():
            problems.append(f"missing key '{place}'")
            hints.append(f"add '{path[-1]}' to {'.'.join([where, *path[:-1]])}")
        elif item["type"] == "missing":
            problems.append(f"'{'.'.join([where, *path[:-1]])}' has too few entries")
        elif isinstance(raised, GaitextError):
            problems.append(f"{raised.where or place}: {raised.what}" if raised.where or path else raised.what)
            hints += [raised.how] if raised.how else []
        elif raised is not None:
            problems.append(f"{place}: {raised}" if path else str(raised))
        else:
            problems.append(f"'{place}': {item['msg']} (got {item['input']!r})")
    return ConfigError("; ".join(dict.fromkeys(problems)), where=where, how="; ".join(dict.fromkeys(hints)) or None)


def _path(settings: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """``location`` without the names that pydantic gives to the branches of a union."""
    path: list[str] = []
    for part in location:
        text = str(part)
        names = _names_at(settings, path)
        if isinstance(part, int) or names is None or text in names or part == location[-1]:
            is_branch = not isinstance(part, int) and ("[" in text or (path and text in _BRANCHES))
            path += [] if is_branch else [text]
    return path


def _fields_at(settings: type[BaseModel], path: list[str]) -> list[str]:
    """Names of the fields of the nested settings that ``path`` leads to."""
    return _names_at(settings, path) or []


def _names_at(settings: type[BaseModel], path: list[str]) -> list[str] | None:
    """:func:`_fields_at`; None where any name may stand: in a dict of settings, or beyond them."""
    here: list[Any] = [settings]
    for name in path:
        below: list[Any] = []
        for kind in here:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                below += [field.annotation for key, field in kind.model_fields.items() if key == name]
            elif issubclass(get_origin(kind) or object, Mapping):
                below += get_args(kind)[1:]
            elif issubclass(get_origin(kind) or object, Sequence):
                below += [entry for entry in get_args(kind) if entry is not ...]
        here = [option for kind in below for option in _options(kind)]
    nested = [kind for kind in here if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return list(nested[0].model_fields) if nested else None


def _options(kind: Any) -> list[Any]:
    """A union's members, without what annotates them."""
    if get_origin(kind) is Annotated:
        return _options(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [option for member in get_args(kind) for option in _options(member)]
    return [kind]


def merge(over: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Lay ``over`` on ``base``, dict by dict, as the toolboxes lay a config on default.yaml.

    >>> merge({"a": {"x": 1}}, {"a": {"x": 0, "y": 2}})
    {'a': {'x': 1, 'y': 2}}
    """
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = merge(value, below) if isinstance(value, Mapping) and isinstance(below, Mapping) else value
    return merged


def need(section: Mapping[str, Any], key: str, *, where: str) -> Any:
    """``section[key]``, or a :class:`ConfigError` that names the key and the nearest one there."""
    if not isinstance(section, Mapping):
        raise ConfigError(f"holds {section!r}, not keys and values", where=where, how="indent its keys below it")
    if key in section:
        return section[key]
    guess = nearest(key, section)
    raise ConfigError(
        f"missing key '{where}.{key}'", where=where, how=f"is '{guess}' a misspelling of it?" if guess else None
    )
