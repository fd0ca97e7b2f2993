"""The configuration reference: pages made from the typed settings, so that they cannot say anything else.

A page for each kind of YAML. Each key has its type and bounds, its default, and what the docstring of its settings
says of it.
"""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import griffe
import yaml
from docstrings import as_markdown, in_google_style
from pydantic.fields import FieldInfo

from gaitext.config import Settings
from gaitext.execution import Engine
from gaitext.extraction import ExtractSettings, TrackerSettings
from gaitext.extraction.detect.bundled import BundledDetectorSettings
from gaitext.extraction.detect.detr import DetrDetectorSettings
from gaitext.extraction.detect.mmdet import MmdetDetectorSettings
from gaitext.extraction.detect.onnx import OnnxDetectorSettings
from gaitext.inspect.show_settings import ShowSettings
from gaitext.restoration import ApplySettings, CorrectionConfig, DegradeSettings, RestorerConfig
from gaitext.skeleton import PartitionLike
from gaitext.standalone.settings import DataSettings, EvaluatorSettings, FabricSettings, TrainerSettings
from gaitext.studies.compression_settings import CompressionSettings
from gaitext.studies.recognition import RecognitionSettings
from gaitext.studies.rg_gait_systems import RGGaitStudySettings
from gaitext.toolboxes import parts
from gaitext.walkers import WalkerSettings

#: Parameters of a part that are for Python, or are handed over by the host.
_NOT_IN_YAML = ("generator", "dataset", "data", "features", "self")
#: Instead of a default: that of the section's keys.
BELOW = "defaults below"


@dataclass(frozen=True)
class Key:
    """A key of a YAML.

    Args:
        name: as it is written.
        kind: its type and bounds, in words.
        default: as YAML; None: the key is required.
        text: what it means, Markdown.
        sections: the settings below it.
    """

    name: str
    kind: str
    default: str | None
    text: str
    sections: tuple[tuple[str, type[Settings]], ...] = ()


def pages() -> dict[str, str]:
    """Path below ``docs`` -> Markdown, of the whole reference."""
    made = {"configuration/index.md": _index()}
    for name, adapter in parts.MODELS.items():
        made[f"configuration/{name.lower()}.md"] = "\n\n".join(
            [
                f"# `model_cfg` of {name}",
                f"Begins with `model: {name}`.",
                as_markdown(inspect.getdoc(adapter) or "", adapter.__module__),
                *_settings({"model_cfg": adapter.settings_type}),
            ]
        )
    made["configuration/transforms.md"] = _parts(
        "Transforms",
        "A transform is an entry of `trainer_cfg.transform` or `evaluator_cfg.transform`: its `type`, and these "
        "arguments. [Transforms](../transforms.md) says what goes where.",
        parts.TRANSFORMS,
    )
    made["configuration/losses.md"] = _parts(
        "Losses",
        "A loss is an entry of `loss_cfg`: its `type`, its `log_prefix` (the output of the model that it is computed "
        "of), and these arguments. A toolbox's own losses are [the toolbox's](../toolboxes.md).",
        parts.LOSSES,
    )
    made["configuration/samplers.md"] = _parts(
        "Samplers",
        "A sampler is `trainer_cfg.sampler.type`. These are gaitext's; the embedded host has `TripletSampler` and "
        "`InferenceSampler` as well, as the toolboxes do.",
        parts.SAMPLERS,
    )
    made["configuration/evaluations.md"] = _parts(
        "Evaluation functions",
        "`evaluator_cfg.eval_func` names one; its arguments stand beside it.",
        parts.EVALUATIONS,
    )
    made["configuration/host.md"] = "\n\n".join(
        [
            "# The embedded host's YAML",
            "`gaitext train` and `gaitext test` read it, and so do the toolboxes ([more](../standalone.md)). "
            "`model_cfg` has [a page for each model](index.md). `loss_cfg` is a list of [losses](losses.md). "
            "`optimizer_cfg` and `scheduler_cfg` name a class of torch (`solver`, `scheduler`) and its arguments.",
            *_settings(
                {
                    "data_cfg": DataSettings,
                    "trainer_cfg": TrainerSettings,
                    "evaluator_cfg": EvaluatorSettings,
                    "fabric_cfg": FabricSettings,
                }
            ),
        ]
    )
    whole: list[tuple[str, str, str, type[Settings]]] = [
        (
            "correction",
            "Training a corrector",
            "`gaitext correct train` reads it ([more](../artifact-correction.md)).",
            CorrectionConfig,
        ),
        (
            "restorer",
            "Training a restorer",
            "`gaitext correct pretrain` reads it ([more](../artifact-correction.md#fbcnn)).",
            RestorerConfig,
        ),
        (
            "study-recognition",
            "A study of recognition",
            "`gaitext study` reads it: `kind: recognition` ([more](../studies.md)).",
            RecognitionSettings,
        ),
        (
            "study-rg-gait",
            "A study of RG-Gait",
            "`gaitext study` reads it: `kind: rg-gait` ([more](../rg-gait.md)).",
            RGGaitStudySettings,
        ),
        (
            "study-compression",
            "A study of compression",
            "`gaitext study` reads it: `kind: compression` ([more](../artifact-correction.md#the-study)).",
            CompressionSettings,
        ),
        (
            "walkers",
            "Walkers",
            "`gaitext walkers --config` reads it ([more](../walkers.md)). Most keys are options of the command, too.",
            WalkerSettings,
        ),
    ]
    for name, title, intro, settings in whole:
        made[f"configuration/{name}.md"] = "\n\n".join([f"# {title}", intro, *_settings({"": settings})])
    made["configuration/options.md"] = "\n\n".join(
        [
            "# Options of specifications and commands",
            "Detectors, trackers and engines are named in one text: `NAME?OPTION=VALUE&OPTION=VALUE`. "
            "`gaitext.extraction` and `gaitext.restoration` take the settings of commands as keywords; the command "
            "line has them as options.",
            *_settings(
                {
                    "--detector bundled?…": BundledDetectorSettings,
                    "--detector detr:…?…": DetrDetectorSettings,
                    "--detector mmdet:…?…": MmdetDetectorSettings,
                    "--detector onnx:…?…": OnnxDetectorSettings,
                    "--tracker …?…": TrackerSettings,
                    "--engine ray:ADDRESS?…": Engine,
                    "gaitext extract": ExtractSettings,
                    "gaitext show": ShowSettings,
                    "gaitext degrade": DegradeSettings,
                    "gaitext correct apply": ApplySettings,
                }
            ),
        ]
    )
    return _anchored_once(made)


def _anchored_once(made: Mapping[str, str]) -> dict[str, str]:
    """The pages, of each anchor of which only the first place is left: links lead to one."""
    seen: set[str] = set()

    def first(anchor: re.Match[str]) -> str:
        new = anchor[0] not in seen
        seen.add(anchor[0])
        return anchor[0] if new else ""

    return {
        path: re.sub(r"^\[\]\(\)\{#.*\}\n\n", first, text + "\n", flags=re.MULTILINE) for path, text in made.items()
    }


def _index() -> str:
    models = ", ".join(f"[{name}]({name.lower()}.md)" for name in parts.MODELS)
    return f"""# Configuration

All of gaitext's settings are typed. These pages are made from the types when the site is built. So they say what the
program takes: each key, its type and bounds, its default, and its meaning. A key that is not here is an error, and
the error names the nearest key that is.

| YAML | who reads it | pages |
| --- | --- | --- |
| of a host | `gaitext train`, `gaitext test`, OpenGait, FastPoseGait | [sections](host.md); `model_cfg` of {models}; \
[transforms](transforms.md), [losses](losses.md), [samplers](samplers.md), [evaluation functions](evaluations.md) |
| of a correction | `gaitext correct train` | [corrector](correction.md) |
| of a restorer | `gaitext correct pretrain` | [restorer](restorer.md) |
| of a study | `gaitext study` | [recognition](study-recognition.md), [RG-Gait](study-rg-gait.md), \
[compression](study-compression.md) |
| of walkers | `gaitext walkers` | [walkers](walkers.md) |
| – | options of detectors, trackers, engines and commands | [options](options.md) |

Write numbers as YAML 1.1 reads them: `1.0e-4`, not `1e-4`, which is text. `gaitext config list` names the files that
come with gaitext, and `gaitext config new` writes one for your data."""


def _settings(roots: Mapping[str, type[Settings]]) -> Iterator[str]:
    """Sections of Markdown: of settings by their place in the YAML, and of all below them, each class once."""
    places: dict[type[Settings], list[str]] = {}

    def visit(name: str, kind: type[Settings]) -> None:
        known = kind in places
        places.setdefault(kind, []).append(name)
        if not known:
            for key in keys_of(kind):
                for below, section in key.sections:
                    visit(f"{name}.{below}".removeprefix("."), section)

    for root, settings in roots.items():
        visit(root, settings)
    for kind, names in places.items():
        yield f"[](){{#{kind.__module__}.{kind.__qualname__}}}"
        level = "##" if names[0] in roots else "###"
        yield f"{level} " + (", ".join(f"`{name}`" for name in names if name) or "Top level")
        said = as_markdown(_prose(kind), kind.__module__)
        if said:
            yield said
        keys = list(keys_of(kind))
        yield _listed(keys) if keys else "No keys."


def keys_of(settings: type[Settings]) -> Iterator[Key]:
    """The keys of typed settings."""
    said = _documented(settings)
    for name, field in settings.model_fields.items():
        yield Key(
            name,
            describe(field.annotation, field.metadata),
            _default(field),
            as_markdown(said.get(name, ""), settings.__module__),
            tuple(_sections(name, field.annotation)),
        )


def _parts(title: str, intro: str, table: Mapping[str, Callable[..., Any]]) -> str:
    """A page of classes and functions that a YAML names."""
    made = [f"# {title}", intro]
    for name, part in table.items():
        made += [f"## {name}", as_markdown(_prose(part), part.__module__)]
        keys = list(arguments_of(part))
        made.append(_listed(keys) if keys else "No arguments.")
    return "\n\n".join(made)


def arguments_of(part: Callable[..., Any]) -> Iterator[Key]:
    """The arguments of a class or function that a YAML may give."""
    said = _documented(part)
    call = part.__init__ if inspect.isclass(part) else part
    hints = typing.get_type_hints(call, include_extras=True)
    for name, parameter in inspect.signature(part).parameters.items():
        if name in _NOT_IN_YAML or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default = None if parameter.default is parameter.empty else _written(parameter.default)
        yield Key(name, describe(hints.get(name, Any), ()), default, as_markdown(said.get(name, ""), part.__module__))


def _listed(keys: Sequence[Key]) -> str:
    """Keys as a list of definitions."""
    lines = []
    for key in keys:
        default = {None: "**required**", BELOW: BELOW}.get(key.default, f"default `{key.default}`")
        text = key.text or "–"
        body = "\n".join("    " + line if line else "" for line in text.splitlines()).lstrip()
        lines.append(f"`{key.name}` <small>{key.kind} · {default}</small>\n:   {body}\n")
    return "\n".join(lines)


# Docstrings


def _prose(documented: Any) -> str:
    """A docstring without its lists of arguments and the like."""
    sections = _sections_of(documented)
    return "\n\n".join(s.value for s in sections if s.kind is griffe.DocstringSectionKind.text)


def _documented(documented: Any) -> dict[str, str]:
    """Names -> what the docstrings of a class and of those it inherits from say; the nearest says it."""
    lists = (griffe.DocstringSectionKind.attributes, griffe.DocstringSectionKind.parameters)
    said: dict[str, str] = {}
    for kind in inspect.getmro(documented) if inspect.isclass(documented) else (documented,):
        for section in _sections_of(kind):
            if section.kind in lists:
                for item in section.value:
                    said.setdefault(item.name, item.description)
    return said


def _sections_of(documented: Any) -> list[griffe.DocstringSection]:
    own = vars(documented).get("__doc__") if inspect.isclass(documented) else documented.__doc__
    if not own or documented.__module__.partition(".")[0] != "gaitext":
        return []
    text = in_google_style(inspect.cleandoc(own))
    return griffe.Docstring(text).parse("google", warnings=False)


# Types in words


def describe(annotation: Any, metadata: Sequence[Any]) -> str:
    """A type and its bounds, in words."""
    if annotation == PartitionLike:
        return "partition: its name, `[[joints], …]` or `{part: [joints]}`"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(arguments[0], [*_unpacked(arguments[1:]), *metadata])
    if origin in (Union, types.UnionType):
        named = [describe(member, metadata) for member in arguments if member is not type(None)]
        if type(None) in arguments:
            named.append("`null`")
        return " or ".join(dict.fromkeys(named))
    if origin is Literal:
        return _either([f"`{_written(value)}`" for value in arguments])
    if origin in (tuple, list, Sequence, typing.Sequence) or annotation in (tuple, list):
        return _list(arguments) + _bounds(metadata, of="entries")
    if origin in (dict, Mapping, typing.Mapping) or annotation is dict:
        values = describe(arguments[1], ()) if arguments else "anything"
        return f"keys and values: {values}" + _bounds(metadata, of="entries")
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "section"
    words = {bool: "`true` or `false`", int: "whole number", float: "number", str: "text", Path: "path"}
    for kind, word in words.items():
        if annotation is kind:
            return word + _bounds(metadata, of="characters")
    return "anything" if annotation in (Any, object) else f"`{getattr(annotation, '__name__', annotation)}`"


def _list(arguments: Sequence[Any]) -> str:
    if not arguments:
        return "list"
    kinds = [describe(kind, ()) for kind in arguments if kind is not ...]
    if len(arguments) == 1 or arguments[-1] is ...:
        return f"list: {kinds[0]}"
    same = kinds[0] if len(set(kinds)) == 1 else ", ".join(kinds)
    return f"list of {len(kinds)}: {same}"


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]


def _unpacked(metadata: Sequence[Any]) -> Iterator[Any]:
    for item in metadata:
        if isinstance(item, FieldInfo):
            yield from item.metadata
        else:
            yield item


def _bounds(metadata: Sequence[Any], of: str) -> str:
    """What annotated_types and pydantic hold of bounds."""
    found: dict[str, Any] = {}
    for item in metadata:
        for name in ("ge", "gt", "le", "lt", "min_length", "max_length", "pattern"):
            value = getattr(item, name, None)
            if value is not None:
                found[name] = value
    said = []
    if "ge" in found and "le" in found:
        said.append(f"{found['ge']:g} to {found['le']:g}")
    else:
        signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
        said += [f"{sign} {found[name]:g}" for name, sign in signs.items() if name in found]
    if "min_length" in found:
        said.append(f"at least {found['min_length']} {'entry' if found['min_length'] == 1 else of}")
    if "max_length" in found:
        said.append(f"at most {found['max_length']} {of}")
    if "pattern" in found:
        said.append(f"like `{found['pattern']}`")
    return (", " + ", ".join(said)) if said else ""


def _sections(name: str, annotation: Any) -> Iterator[tuple[str, type[Settings]]]:
    """The settings in a type, with how they are reached from the key."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        yield name, annotation
    elif origin is Annotated:
        yield from _sections(name, arguments[0])
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from _sections(name, member)
    elif origin in (dict, Mapping):
        yield from _sections(f"{name}.NAME", arguments[1])
    elif origin in (tuple, list, Sequence):
        for member in arguments:
            yield from _sections(f"{name}[…]", member)


def _default(field: FieldInfo) -> str | None:
    if field.is_required():
        return None
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Settings):
        value = value.model_dump(mode="json", exclude_unset=True)
        if not value:
            return BELOW
    return _written(value)


def _written(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, Mapping):
        value = dict(value)
    elif isinstance(value, (tuple, set, frozenset)):
        value = list(value)
    try:
        text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True)
    except yaml.YAMLError:
        return str(value)
    return text.removesuffix("\n").removesuffix("...").strip()
