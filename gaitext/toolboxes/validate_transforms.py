"""Checks an engine section's lists of transforms: arguments, sampling, and what the model needs of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gaitext.errors import ConfigError
from gaitext.toolboxes import parts
from gaitext.toolboxes.adapter import ListedTransform
from gaitext.toolboxes.arguments import check_arguments
from gaitext.toolboxes.hosts import Toolbox

__all__ = ["check_transforms", "listed_transforms", "typed"]


def typed(value: Any, where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Every mapping with a ``type`` below ``value``, with its place."""
    if isinstance(value, Mapping):
        if "type" in value:
            yield value, where
        for key, inner in value.items():
            yield from typed(inner, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for position, inner in enumerate(value):
            yield from typed(inner, f"{where}[{position}]")


def listed_transforms(section: Any, where: str) -> list[list[ListedTransform]]:
    """The transforms of each input, in order, whatever they are composed with.

    Args:
        section: a list with one entry per input; a mapping, or nothing, stands for one input.
        where: the section's place.
    """
    if not isinstance(section, (list, tuple)):
        section = [section]
    return [
        [ListedTransform(str(entry["type"]), entry, place) for entry, place in typed(each, f"{where}[{position}]")]
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
