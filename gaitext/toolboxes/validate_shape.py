"""Checks that a config's sections are of the kinds that everything else takes for granted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gaitext.errors import ConfigError
from gaitext.naming import folder_path

__all__ = ["check_shape"]

#: Sections that hold keys and values.
_KEYED = ("data_cfg", "evaluator_cfg", "fabric_cfg", "model_cfg", "optimizer_cfg", "scheduler_cfg", "trainer_cfg")
#: Keys whose values become folders below the output's.
_FOLDERS = (("data_cfg", "dataset_name"), ("trainer_cfg", "save_name"), ("evaluator_cfg", "save_name"))


def check_shape(cfgs: Mapping[str, Any]) -> None:
    """Check which sections are mappings, which values are names, and what becomes a folder.

    Raises:
        ConfigError: one is of another kind, or a run would be written elsewhere than below the output folder.
    """
    for name in _KEYED:
        _keys(cfgs.get(name), name)
    losses = cfgs.get("loss_cfg")
    if isinstance(losses, (list, tuple)):
        for position, loss in enumerate(losses):
            if loss is None:
                raise ConfigError("is empty", where=f"loss_cfg[{position}]", how="give a type, or remove it")
            _keys(loss, f"loss_cfg[{position}]")
    else:
        _keys(losses, "loss_cfg")
    model = cfgs.get("model_cfg") or {}
    if "model" in model:
        _text(model["model"], "model_cfg.model")
    for name in ("trainer_cfg", "evaluator_cfg"):
        section = cfgs.get(name) or {}
        sampler = section.get("sampler")
        _keys(sampler, f"{name}.sampler")
        for key in ("type", "sample_type"):
            if sampler and key in sampler:
                _text(sampler[key], f"{name}.sampler.{key}")
        if section.get("eval_func") is not None:
            _text(section["eval_func"], f"{name}.eval_func")
    _types(dict(cfgs), "")
    for name, key in _FOLDERS:
        value = (cfgs.get(name) or {}).get(key)
        if value is None:
            continue
        _text(value, f"{name}.{key}")
        try:
            folder_path(value)
        except ValueError as error:
            raise ConfigError(str(error), where=f"{name}.{key}") from error


def _keys(value: Any, where: str) -> None:
    if value is not None and not isinstance(value, Mapping):
        raise ConfigError(
            f"holds {str(value)[:40]!r}, not keys and values",
            where=where,
            how="indent its keys below it, as key: value",
        )


def _text(value: Any, where: str) -> None:
    if not isinstance(value, str):
        raise ConfigError(f"is {str(value)[:40]!r}, not a name", where=where, how="give a text; quote what is one")


def _types(value: Any, where: str) -> None:
    """Every ``type``, by which a part is chosen, is a name."""
    if isinstance(value, Mapping):
        if "type" in value:
            _text(value["type"], f"{where}.type")
        for key, inner in value.items():
            _types(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            _types(inner, f"{where}[{position}]")
