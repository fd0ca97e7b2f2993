"""Checks gaitext's parts of a toolbox config before anything is built.

Both toolboxes drop keys they do not know without a word, and find a wrong class count, a missing
file or a misspelt number only when they stumble over it. :func:`validate_config` is what the
linked models, ``gaitext run``, ``gaitext doctor --data`` and the embedded host all ask first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, nearest
from gaitext.toolboxes import parts
from gaitext.toolboxes.arguments import check_arguments, check_numbers
from gaitext.toolboxes.evaluations import check_evaluation
from gaitext.toolboxes.hosts import EXTENSION_POINTS, TOOLBOXES, Toolbox
from gaitext.toolboxes.validate_data import compare_with_data, phases, section
from gaitext.toolboxes.validate_losses import check_losses
from gaitext.toolboxes.validate_shape import check_shape
from gaitext.toolboxes.validate_transforms import check_transforms, listed_transforms, typed

__all__ = ["uses_gaitext", "validate_config"]

#: What the toolboxes read of a sampler's section themselves.
_SAMPLING_KEYS = {
    *("type", "sample_type", "frames_num_fixed", "frames_num_min", "frames_num_max"),
    *("frames_skip_num", "frames_all_limit", "points_in_use", "batch_size", "batch_shuffle"),
}


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
    check_shape(cfgs)
    model_cfg = section(cfgs, "model_cfg")
    adapter = parts.MODELS.get(str(model_cfg.get("model")))
    for name, phase in phases(cfgs, training):
        check_transforms(name, phase, toolbox)
        _check_sampler(phase.get("sampler") or {}, f"{name}.sampler", toolbox, Path(base))
        if name == "evaluator_cfg":
            check_evaluation(phase, cfgs.get("data_cfg"))
    if training:
        check_losses(cfgs.get("loss_cfg"), adapter.loss_names(model_cfg) if adapter is not None else None)
    if adapter is None:
        return []
    class_count = adapter.class_count(model_cfg)  # reads, and so checks, all of model_cfg
    for name, phase in phases(cfgs, training):
        adapter.check_transforms(model_cfg, listed_transforms(phase.get("transform"), f"{name}.transform"))
        adapter.check_sampler(model_cfg, phase.get("sampler") or {}, f"{name}.sampler")
    for name in ("optimizer_cfg", "scheduler_cfg", "trainer_cfg", "evaluator_cfg"):
        check_numbers(cfgs.get(name), name)
    if world_size is not None:
        _check_batches(cfgs, training, world_size, toolbox)
    if isinstance(cfgs.get("data_cfg"), Mapping):
        makes_inputs = adapter.makes_inputs(model_cfg)
        return compare_with_data(cfgs, training, class_count, Path(base), makes_inputs=makes_inputs)
    return []


def uses_gaitext(cfgs: Mapping[str, Any]) -> bool:
    """Whether a config names any of gaitext's parts."""
    if section(cfgs, "model_cfg").get("model") in parts.MODELS:
        return True
    if section({"evaluator_cfg": {}, **cfgs}, "evaluator_cfg").get("eval_func") in parts.EVALUATIONS:
        return True
    named = {str(item.get("type")) for item, _ in typed(cfgs, "")}
    return bool(named & {*parts.TRANSFORMS, *parts.LOSSES, *parts.SAMPLERS})


def _check_sampler(sampler: Mapping[str, Any], where: str, toolbox: Toolbox | None, root: Path) -> None:
    name = sampler.get("type")
    if name in parts.SAMPLERS:
        check_arguments(parts.SAMPLERS[name], sampler, where, _SAMPLING_KEYS)
        return
    known = {name for each in ([toolbox] if toolbox else TOOLBOXES) for name in each.samplers}
    if name is None or name in known or (toolbox is not None and _mentions(root, toolbox, str(name))):
        return
    guess = nearest(str(name), {*known, *parts.SAMPLERS})
    raise ConfigError(
        f"there is no sampler '{name}'",
        where=f"{where}.type",
        how=f"did you mean '{guess}'?" if guess else f"there are {', '.join(sorted({*known, *parts.SAMPLERS}))}",
    )


def _mentions(root: Path, toolbox: Toolbox, name: str) -> bool:
    """Whether the toolbox's module of samplers names one so: somebody may have added it."""
    point = next(point for point in EXTENSION_POINTS if point.kind == "sampler")
    files = [file for pattern in point.sources for file in (root / toolbox.package).glob(pattern)]
    return any(re.search(rf"\b{re.escape(name)}\b", file.read_text(errors="replace")) for file in files)


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
