"""The checks of a config before anything is built: gaitext's parts of it, in every host.

Both toolboxes drop keys they do not know without a word, and find a wrong class count, a missing
file or a misspelt number only when they stumble over it (docs/toolbox-contract.md). The linked
models, ``gaitext run``, ``gaitext doctor --data`` and the embedded host all ask
:func:`validate_config` first. It goes through a config once: the kinds of its sections, each
phase's transforms, sampler and evaluation, the losses, the model's settings, numbers, batches, and
the data on disk.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitext import losses
from gaitext.config import need
from gaitext.errors import ConfigError, nearest
from gaitext.evaluation.saved import check_saved_path
from gaitext.store import read_partition, root_within
from gaitext.store.contract import folder_path
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import ListedTransform
from gaitext.toolboxes.toolbox import EXTENSION_POINTS, TOOLBOXES, Toolbox

#: Sections that hold keys and values.
_KEYED = ("data_cfg", "evaluator_cfg", "fabric_cfg", "model_cfg", "optimizer_cfg", "scheduler_cfg", "trainer_cfg")
#: Keys whose values become folders below the output's.
_FOLDERS = (("data_cfg", "dataset_name"), ("trainer_cfg", "save_name"), ("evaluator_cfg", "save_name"))
#: What the toolboxes' YAML may hold beside a part's own arguments.
_FREE_KEYS = frozenset({"type", "log_prefix", "loss_term_weight", "gather_and_scale"})
#: What the toolboxes read of a sampler's section themselves.
_SAMPLING_KEYS = frozenset(
    {
        *("type", "sample_type", "frames_num_fixed", "frames_num_min", "frames_num_max"),
        *("frames_skip_num", "frames_all_limit", "points_in_use", "batch_size", "batch_shuffle"),
    }
)
#: What ``evaluator_cfg`` holds beside a function's arguments. ``metric`` and
#: ``cross_view_gallery`` stand in a toolbox's default.yaml, whatever the function.
_EVALUATOR_KEYS = frozenset(
    {
        *("enable_float16", "restore_ckpt_strict", "restore_hint", "save_name", "eval_func", "sampler"),
        *("transform", "metric", "cross_view_gallery", "save_embeddings"),
    }
)
#: What evaluates other predictions: of occlusion, of joints, of pixels.
_WITHOUT_EMBEDDINGS = ("evaluate_OEM", "evaluate_pose", "evaluate_segmentation")
#: Parameters that are for Python, not for a YAML.
_PYTHON_ONLY = frozenset({"generator", "dataset"})


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
    model_cfg = _section(cfgs, "model_cfg")
    phases = _phases(cfgs, training)
    for name, phase in phases:
        check_transforms(name, phase, toolbox)
        _check_sampler(phase.get("sampler") or {}, f"{name}.sampler", toolbox, Path(base))
        if name == "evaluator_cfg":
            check_evaluation(phase, cfgs.get("data_cfg"))
            _check_saved(phase, Path(base))
    adapter = parts.adapter_for(model_cfg) if model_cfg.get("model") in parts.MODELS else None
    if training:
        check_losses(cfgs.get("loss_cfg"), None if adapter is None else adapter.loss_names)
    if adapter is None:
        return []
    for name, phase in phases:
        adapter.check_transforms(listed_transforms(phase.get("transform"), f"{name}.transform"))
        adapter.check_sampler(phase.get("sampler") or {}, f"{name}.sampler")
    for name in ("optimizer_cfg", "scheduler_cfg", "trainer_cfg", "evaluator_cfg"):
        _check_numbers(cfgs.get(name), name)
    if world_size is not None:
        _check_batches(phases, world_size, toolbox)
    if isinstance(cfgs.get("data_cfg"), Mapping):
        return compare_with_data(cfgs, training, adapter.class_count, Path(base), makes_inputs=adapter.makes_inputs)
    return []


def uses_gaitext(cfgs: Mapping[str, Any]) -> bool:
    """Whether a config names any of gaitext's parts."""
    if _section(cfgs, "model_cfg").get("model") in parts.MODELS:
        return True
    evaluator = _section({"evaluator_cfg": {}, **cfgs}, "evaluator_cfg")
    if evaluator.get("eval_func") in parts.EVALUATIONS or evaluator.get("save_embeddings") is not None:
        return True
    named = {str(item.get("type")) for item, _ in _typed(cfgs, "")}
    return bool(named & {*parts.TRANSFORMS, *parts.LOSSES, *parts.SAMPLERS})


def _section(cfgs: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = need(cfgs, name, where="config")
    if not isinstance(found, Mapping):
        raise ConfigError(f"'{name}' holds no keys (got {found!r})", where="config", how=f"indent {name}'s keys")
    return found


def _phases(cfgs: Mapping[str, Any], training: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """The engine sections that matter: both toolboxes may test while they train."""
    trainer = _section(cfgs, "trainer_cfg")
    tested = not training or trainer.get("with_test")
    found = [("trainer_cfg", trainer)] if training else []
    return [*found, ("evaluator_cfg", _section(cfgs, "evaluator_cfg"))] if tested else found


# The kinds of sections -----------------------------------------------------------------------------


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


# Transforms, losses, samplers ------------------------------------------------------------------------


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


def listed_transforms(section: Any, where: str) -> list[list[ListedTransform]]:
    """The transforms of each input, in order, whatever they are composed with.

    Args:
        section: a list with one entry per input; a mapping, or nothing, stands for one input.
        where: the section's place.
    """
    if not isinstance(section, (list, tuple)):
        section = [section]
    return [
        [ListedTransform(str(entry["type"]), entry, place) for entry, place in _typed(each, f"{where}[{position}]")]
        for position, each in enumerate(section)
    ]


def check_transforms(name: str, phase: Mapping[str, Any], toolbox: Toolbox | None) -> None:
    """Check the transforms of ``trainer_cfg`` or ``evaluator_cfg`` (``name``).

    Raises:
        ConfigError: wrong arguments, or a transform that this phase cannot give what it needs.
    """
    sampler = phase.get("sampler") or {}
    sampling = str(sampler.get("sample_type", "fixed"))
    testing = name == "evaluator_cfg"
    # The embedded host, and every process of OpenGait's test, transforms one sequence at a time.
    alone = toolbox is None or (testing and (toolbox.test_batch_is_world or sampler.get("batch_size") == 1))
    packed = not sampling.startswith("fixed") and not alone
    lists = listed_transforms(phase.get("transform"), f"{name}.transform")
    for transform in (transform for each in lists for transform in each):
        part = parts.TRANSFORMS.get(transform.name)
        if part is None:
            continue
        check_arguments(part, transform.arguments, transform.where)
        random = part.is_random(transform.arguments)
        if random and testing:
            raise ConfigError(
                f"{transform.name} tosses a coin, so that a test would give other embeddings each time",
                where=transform.where,
                how="leave it out of the test; for training it belongs into trainer_cfg.transform",
            )
        if (random or part.alone) and len(lists) > 1:
            draws = "tosses its own coin" if random else "draws by the content of its own input"
            raise ConfigError(
                f"{transform.name} {draws}, but the model has several inputs, which must be changed alike",
                where=transform.where,
                how="use the model's own settings instead (for flips and reversals model_cfg.augmentation)",
            )
        if packed and part.needs_one_sequence(transform.arguments):
            raise ConfigError(
                f"{transform.name} must see one sequence at a time, but {sampling} sampling hands it several as one",
                where=transform.where,
                how="test one sequence at a time: evaluator_cfg.sampler.batch_size 1"
                if testing
                else "use a fixed_… sample_type, or the model's augmentation settings",
            )


#: What losses take, of those that gaitext has or has a twin of: the names of the tensors. A toolbox's other losses are
#: not importable where a config is checked.
_TAKES: dict[str, tuple[str, ...]] = {
    name: tuple(inspect.signature(kind.forward).parameters)[1:]
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
        _check_numbers(entry, where)
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
    return any(
        re.search(rf"\b{re.escape(name)}\b", file.read_text(encoding="utf-8", errors="replace")) for file in files
    )


def _check_batches(phases: Sequence[tuple[str, Mapping[str, Any]]], world_size: int, toolbox: Toolbox | None) -> None:
    for name, phase in phases:
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


# Evaluation ------------------------------------------------------------------------------------------


def check_evaluation(evaluator_cfg: Mapping[str, Any], data_cfg: Any) -> None:
    """Check the arguments of a registered evaluation function, before anything is embedded.

    Raises:
        ConfigError: one that it does not take, or will refuse.
    """
    name = str(evaluator_cfg.get("eval_func"))
    function = parts.EVALUATIONS.get(name)
    if function is None:
        return
    check_arguments(function, evaluator_cfg, "evaluator_cfg", _EVALUATOR_KEYS, complete=False)
    check = parts.EVALUATION_CHECKS.get(name)
    if check is not None:
        taken = {key: evaluator_cfg[key] for key in inspect.signature(check).parameters if key in evaluator_cfg}
        if isinstance(data_cfg, Mapping):
            taken["dataset"] = data_cfg.get("test_dataset_name") or data_cfg.get("dataset_name")
        check(**taken)


def _check_saved(evaluator_cfg: Mapping[str, Any], base: Path) -> None:
    """Refuse a result file that could not be written at the test's end."""
    given = evaluator_cfg.get("save_embeddings")
    if given is None:
        return
    _text(given, "evaluator_cfg.save_embeddings")
    name = evaluator_cfg.get("eval_func")
    if name in _WITHOUT_EMBEDDINGS:
        raise ConfigError(
            f"{name} evaluates no embeddings, so there are none to save",
            where="evaluator_cfg.save_embeddings",
            how="leave it out; `table` writes the numbers",
        )
    check_saved_path(base / given)


# The data on disk ------------------------------------------------------------------------------------


def compare_with_data(
    cfgs: Mapping[str, Any], training: bool, class_count: int | None, base: Path, *, makes_inputs: bool = False
) -> list[str]:
    """Compare a config with the partition and the folders it names; returns remarks.

    Args:
        class_count: how many identities the model can tell apart, None for any number.
        makes_inputs: whether the model may make other inputs of a leaf's files, one of two, say.
        base: what relative paths are relative to.
    """
    data = _section(cfgs, "data_cfg")
    root = base / str(need(data, "dataset_root", where="data_cfg"))
    if not root.is_dir():
        raise ConfigError(
            f"there is no folder {root}", where="data_cfg.dataset_root", how="give the folder that holds <id>/…"
        )
    inner = root_within(root)
    if inner is not None:
        raise ConfigError(
            f"{root} is the folder above the dataset's root", where="data_cfg.dataset_root", how=f"give {inner}"
        )
    train, test = read_partition(base / str(need(data, "dataset_partition", where="data_cfg")))
    remarks = []
    sets = {"trainer_cfg": (train, "TRAIN_SET"), "evaluator_cfg": (test, "TEST_SET")}
    for wanted, name in [sets[phase] for phase, _ in _phases(cfgs, training)]:
        present = [identity for identity in wanted if (root / identity).is_dir()]
        if not present:
            raise ConfigError(
                f"none of the {len(wanted)} identities of {name} is in {root}",
                where="data_cfg.dataset_partition",
                how="the partition is another dataset's, or identities are written differently",
            )
        if len(present) < len(wanted):
            remarks.append(f"data_cfg: {len(wanted) - len(present)} of {name}'s {len(wanted)} identities have no data")
        if name == "TRAIN_SET":
            remarks += _check_classes(class_count, len(present), len(wanted)) + _check_identities(cfgs, len(present))
        _check_inputs(cfgs, training, root / present[0], makes_inputs)
    return remarks


def _check_classes(class_count: int | None, present: int, wanted: int) -> list[str]:
    if class_count is not None and class_count < present:
        raise ConfigError(
            f"class_num is {class_count}, but there are {present} identities to train on",
            where="model_cfg.class_num",
            how=f"write {wanted}",
        )
    if class_count is not None and class_count > wanted:
        return [f"model_cfg.class_num is {class_count}, but TRAIN_SET has {wanted} identities: the rest is never used"]
    return []


def _check_identities(cfgs: Mapping[str, Any], present: int) -> list[str]:
    """Whether a batch with a triplet loss asks for more identities than there are."""
    size = (_section(cfgs, "trainer_cfg").get("sampler") or {}).get("batch_size")
    asked = size[0] if isinstance(size, (list, tuple)) and size else 0
    entries = cfgs.get("loss_cfg") or ()
    entries = [entries] if isinstance(entries, Mapping) else entries
    kinds = [str(entry.get("type")) for entry in entries if isinstance(entry, Mapping)]
    # A corrector's batch of one identity is as good as any.
    if not isinstance(asked, int) or asked <= present or not any("Triplet" in kind for kind in kinds):
        return []
    return [
        f"trainer_cfg.sampler.batch_size asks for {asked} identities, and {present} have data: "
        f"write [{present}, …], or a toolbox may draw a batch of one identity, which has no triplets"
    ]


def _check_inputs(cfgs: Mapping[str, Any], training: bool, identity: Path, makes_inputs: bool) -> None:
    """Compare ``data_in_use`` with a leaf's files and with the lists of transforms."""
    leaf = next((view for view in sorted(identity.glob("*/*")) if view.is_dir()), None)
    if leaf is None:
        raise ConfigError(f"there is no <type>/<view> in {identity}", where="data_cfg.dataset_root")
    files = sorted(file.name for file in leaf.iterdir())
    use = _section(cfgs, "data_cfg").get("data_in_use")
    if use is None:
        chosen = list(range(len(files)))
    elif all(isinstance(u, bool) for u in use):
        chosen = [position for position, u in enumerate(use) if u]
    else:
        chosen = list(use)
    if chosen and max(chosen) >= len(files):
        raise ConfigError(
            f"asks for file number {max(chosen)}, but {leaf} has {len(files)}: {', '.join(files)}",
            where="data_cfg.data_in_use",
            how="count a leaf's files in the order of their names, from 0",
        )
    for name, phase in [] if makes_inputs else _phases(cfgs, training):
        lists = phase.get("transform")
        if isinstance(lists, (list, tuple)) and len(lists) != len(chosen):
            raise ConfigError(
                f"{len(lists)} transforms for {len(chosen)} inputs ({', '.join(files)} in {leaf.name})",
                where=f"{name}.transform",
                how="data_cfg.data_in_use must switch on one file for each entry; several for one go into a Compose",
            )


# Arguments and numbers -------------------------------------------------------------------------------


def check_arguments(
    part: Any, arguments: Mapping[str, Any], where: str, free: Collection[str] = _FREE_KEYS, *, complete: bool = True
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


def arguments_for(
    function: Callable[..., Any], given: Mapping[str, Any], *, where: str, ignored: tuple[str, ...] = ()
) -> dict[str, Any]:
    """The keyword arguments that ``given`` holds for ``function``.

    Args:
        function: a class or function.
        given: a YAML section.
        where: the section's name, for errors.
        ignored: keys that belong to the section, not to the function.

    Raises:
        ConfigError: a key that is no argument, or text where YAML was meant to hold a number.
    """
    chosen = {key: value for key, value in given.items() if key not in ignored}
    check_arguments(function, chosen, where, (), complete=False)
    _check_numbers(chosen, where)
    return chosen


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
