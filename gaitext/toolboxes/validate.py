"""Checks gaitext's parts of a toolbox config before anything is built.

Both toolboxes drop keys they do not know without a word, and find a wrong class count, a missing
file or a misspelt number only when they stumble over it. :func:`validate_config` is what the
linked models, ``gaitext run``, ``gaitext doctor --data`` and the embedded host all ask first.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitext.config import need
from gaitext.errors import ConfigError, nearest
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import ModelAdapter
from gaitext.toolboxes.hosts import Toolbox
from gaitext.toolboxes.validate_data import check_data, phases, section

__all__ = ["check_arguments", "uses_gaitext", "validate_config"]

#: What the toolboxes' YAML may hold beside a part's own arguments.
_FREE_KEYS = {"type", "log_prefix", "loss_term_weight", "gather_and_scale"}
#: What the toolboxes read of a sampler's section themselves.
_SAMPLING_KEYS = {
    *("type", "sample_type", "frames_num_fixed", "frames_num_min", "frames_num_max"),
    *("frames_skip_num", "frames_all_limit", "points_in_use", "batch_size", "batch_shuffle"),
}
#: Parameters that are for Python, not for a YAML.
_PYTHON_ONLY = {"generator", "dataset"}


def validate_config(
    cfgs: Mapping[str, Any],
    training: bool,
    *,
    toolbox: Toolbox | None = None,
    base: str | Path = ".",
    world_size: int | None = None,
) -> list[str]:
    """Check what gaitext answers for in a merged config.

    Args:
        cfgs: the config, default.yaml already under it.
        training: train or test.
        toolbox: whose rules apply; None: the embedded host's.
        base: what relative paths are relative to: the toolbox's root.
        world_size: number of processes, if known.

    Returns:
        Remarks: what is odd but may be meant.

    Raises:
        ConfigError: naming the key, the place and the nearest valid name.
        DataError: the partition file is missing or wrong.
    """
    adapter = parts.MODELS.get(str(section(cfgs, "model_cfg").get("model")))
    remarks: list[str] = []
    for name, phase in phases(cfgs, training):
        _check_transforms(name, phase, toolbox)
        sampler = phase.get("sampler") or {}
        if sampler.get("type") in parts.SAMPLERS:
            check_arguments(parts.SAMPLERS[sampler["type"]], sampler, f"{name}.sampler", _SAMPLING_KEYS)
    _check_losses(cfgs, adapter, training)
    if adapter is None:
        return remarks
    model_cfg = section(cfgs, "model_cfg")
    class_count = adapter.class_count(model_cfg)  # reads, and so checks, all of model_cfg
    for name in ("optimizer_cfg", "scheduler_cfg", "trainer_cfg", "evaluator_cfg"):
        _check_numbers(cfgs.get(name), name)
    if world_size is not None:
        _check_batches(cfgs, training, world_size, toolbox)
    if isinstance(cfgs.get("data_cfg"), Mapping):
        remarks += check_data(cfgs, training, class_count, Path(base))
    return remarks


def uses_gaitext(cfgs: Mapping[str, Any]) -> bool:
    """Whether a config names any of gaitext's parts."""
    if section(cfgs, "model_cfg").get("model") in parts.MODELS:
        return True
    named = {str(item.get("type")) for item, _ in _typed(cfgs, "")}
    return bool(named & {*parts.TRANSFORMS, *parts.LOSSES, *parts.SAMPLERS})


def _typed(value: Any, where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every mapping with a ``type`` below ``value``, with its place."""
    if isinstance(value, Mapping):
        if "type" in value:
            yield value, where
        for key, inner in value.items():
            yield from _typed(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from _typed(inner, f"{where}[{position}]")


def check_arguments(part: Any, arguments: Mapping[str, Any], where: str, free: Collection[str] = _FREE_KEYS) -> None:
    """Check a part's arguments, ``type`` among them, against its real signature.

    Args:
        free: keys that may be there although the part does not take them.

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
                f"{arguments.get('type')} has no argument '{key}'",
                where=f"{where}.{key}",
                how=f"did you mean '{guess}'?" if guess else f"its arguments: {listed}",
            )
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise ConfigError(f"{arguments.get('type')} needs the argument '{name}'", where=where, how=f"add '{name}'")


def _check_transforms(name: str, phase: Mapping[str, Any], toolbox: Toolbox | None) -> None:
    lists = phase.get("transform")
    sampler = phase.get("sampler") or {}
    # In OpenGait's test every process transforms one sequence at a time.
    alone = name == "evaluator_cfg" and toolbox is not None and toolbox.test_batch_is_world
    packed = not str(sampler.get("sample_type", "fixed")).startswith("fixed") and not alone
    several = isinstance(lists, (list, tuple)) and len(lists) > 1
    for entry, where in _typed(lists, f"{name}.transform"):
        part = parts.TRANSFORMS.get(str(entry["type"]))
        if part is None:
            continue
        check_arguments(part, entry, where)
        if packed and getattr(part, "per_sequence", False):
            raise ConfigError(
                f"{entry['type']} must see one sequence at a time, but {sampler['sample_type']} sampling hands it "
                "several as one",
                where=where,
                how="use a fixed_… sample_type, or the model's augmentation settings",
            )
        if several and getattr(part, "random", False):
            raise ConfigError(
                f"{entry['type']} tosses its own coin, but the model has several inputs, which must be changed alike",
                where=where,
                how="use the model's augmentation settings instead (model_cfg.augmentation)",
            )


def _check_losses(cfgs: Mapping[str, Any], adapter: type[ModelAdapter] | None, training: bool) -> None:
    if not training:
        return
    losses = cfgs.get("loss_cfg")
    listed: Sequence[Any] = [losses] if isinstance(losses, Mapping) else losses or []
    for position, entry in enumerate(listed):
        where = f"loss_cfg[{position}]"
        if entry.get("type") in parts.LOSSES:
            check_arguments(parts.LOSSES[entry["type"]], entry, where)
        _check_numbers(entry, where)
    expected = adapter.loss_names(section(cfgs, "model_cfg")) if adapter is not None else None
    if expected is None:
        return
    given = [str(need(entry, "log_prefix", where=f"loss_cfg[{i}]")) for i, entry in enumerate(listed)]
    for position, name in enumerate(given):
        if name not in expected:
            guess = nearest(name, expected)
            raise ConfigError(
                f"the model feeds no loss named '{name}'",
                where=f"loss_cfg[{position}].log_prefix",
                how=f"did you mean '{guess}'?" if guess else f"its losses: {', '.join(expected)}",
            )
    missing = [name for name in expected if name not in given]
    if missing:
        raise ConfigError(
            f"no loss has the log_prefix {', '.join(map(repr, missing))}, which the model feeds",
            where="loss_cfg",
            how="add one for each",
        )


def _check_numbers(value: Any, where: str) -> None:
    """Refuse numbers that YAML reads as text: ``1e-3`` is one, ``1.0e-3`` is not."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in ("save_name", "restore_hint"):
                _check_numbers(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            _check_numbers(inner, f"{where}[{position}]")
    elif isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return
        if number == number and "e" in value.lower():
            mantissa, exponent = value.lower().split("e")
            meant = f"{mantissa if '.' in mantissa else mantissa + '.0'}e{int(exponent):+d}"
            raise ConfigError(f"YAML reads {value} as text, not as a number", where=where, how=f"write {meant}")


def _check_batches(cfgs: Mapping[str, Any], training: bool, world_size: int, toolbox: Toolbox | None) -> None:
    for name, phase in phases(cfgs, training):
        size = (phase.get("sampler") or {}).get("batch_size")
        if name == "evaluator_cfg" and toolbox is not None and toolbox.test_batch_is_world and size != world_size:
            raise ConfigError(
                f"the test's batch size is {size}, but {toolbox.name} wants the number of processes, {world_size}",
                where="evaluator_cfg.sampler.batch_size",
                how=f"write {world_size}, or start {size} processes",
            )
        if isinstance(size, (list, tuple)) and len(size) == 2 and (size[0] * size[1]) % world_size:
            raise ConfigError(
                f"{size[0]} × {size[1]} sequences cannot be shared out evenly among {world_size} processes",
                where=f"{name}.sampler.batch_size",
                how=f"make their product a multiple of {world_size}",
            )
