"""Typed settings, the one reader of YAML, and the configs that come with gaitext.

The reader takes text keys and plain values, no key twice, and names the file and the line of every
error. Settings take no key that they do not know: the toolboxes drop such keys silently.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.constructor import ConstructorError
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from gaitext.errors import ConfigError, GaitextError, nearest

_HERE = Path(__file__).parent


def shipped_configs() -> dict[str, Path]:
    """Name, such as ``gaitheat/tiny``, and file of every config that comes with gaitext, sorted."""
    inside = _HERE / "configs"  # of an installed package; of a checkout it is beside gaitext/
    folder = inside if inside.is_dir() else _HERE.parent / "configs"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_config(path: str | Path) -> Path:
    """A config's file: the path itself where there is one, else the shipped config of that name.

    Args:
        path: of a file, or a shipped config's name: ``gaitheat/tiny``, with ``.yaml`` and ``configs/``
            or without.

    >>> find_config("gaitheat/tiny").name
    'tiny.yaml'
    """
    path = Path(path)
    if path.exists() or path.is_absolute() or ".." in path.parts:
        return path
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    name = "/".join(parts).removesuffix(".yaml")
    return shipped_configs().get(name, path)


#: Bytes. The longest config of both toolboxes has a few thousand.
_LARGEST = 1 << 20
#: Levels of nesting, and values once every alias is written out.
_DEEPEST, _MOST = 64, 100_000
_PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file as a dict, in bounded time and memory; nothing in it is executed.

    A shipped config may be given by its name (``gaitheat/tiny``).

    Raises:
        ConfigError: the file is missing, too long, not UTF-8 or not YAML; it is not one document with a
            mapping of sections; a key is there twice or is not text; a value is a date, has a tag, or
            is a number that a computer does not hold. Names the file and the line.
    """
    path = find_config(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(_LARGEST + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ConfigError(f"cannot be read ({why})", where=path, how="check the path") from error
    if len(content) > _LARGEST:
        raise ConfigError(f"is longer than {_LARGEST >> 20} MiB, so it is no config", where=path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"is not UTF-8 (byte {content[error.start]:#04x})", where=f"{path}:{line}", how="save it as UTF-8"
        ) from error
    loaded = parse_yaml(text, where=str(path))
    if loaded is None:
        raise ConfigError("is empty", where=path, how="it must hold a mapping of sections, such as data_cfg:")
    if not isinstance(loaded, dict):
        kind = "a list" if isinstance(loaded, list) else "a single value"
        raise ConfigError(f"holds {kind}, no mapping of sections", where=path)
    return loaded


def parse_yaml(text: str, *, where: str) -> Any:
    """The value that a text in YAML holds; None for an empty one.

    Args:
        where: names the text in errors; a line's number is added.

    Raises:
        ConfigError: see :func:`load_yaml`.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {}, set())
        return loader.construct_document(node)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        character = error.character if isinstance(error.character, int) else ord(error.character)
        raise ConfigError(
            f"holds U+{character:04X}, which YAML does not allow", where=f"{where}:{line}", how="remove it"
        ) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = " ".join(str(error.problem or error.context).split()).removeprefix("but ")
        known = isinstance(error, ConstructorError)
        raise ConfigError(
            what if known else f"is not valid YAML: {what}",
            where=where if mark is None else f"{where}:{mark.line + 1}",
            how=error.note or _hint(what),
        ) from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:  # such as "\U00110000"
        raise ConfigError(f"is not valid YAML: {' '.join(str(error).split())}", where=where) from error


@contextmanager
def naming_file(config: str | Path | Mapping[str, Any]) -> Iterator[None]:
    """Put the file, and the line where it can be found, before the place that a config's error names.

    Args:
        config: the file; errors of a mapping, which comes from none, stay as they are.
    """
    try:
        yield
    except ConfigError as error:
        if isinstance(config, Mapping) or (error.where is not None and error.where.startswith(str(config))):
            raise
        named = re.findall(r"'([\w.\[\]-]+)'", error.what)
        line = max((_line(Path(config), place) for place in (error.where or "", *named)), default=0)
        place = f"{config}:{line}" if line else str(config)
        where = place if error.where is None else f"{place}: {error.where}"
        raise ConfigError(error.what, where=where, how=error.how) from error


def _line(path: Path, place: str) -> int:
    """The line of what ``trainer_cfg.sampler`` or ``loss_cfg[0].type`` names, or the last part of it that is there; 0:
    none."""
    try:
        node = _Loader(path.read_text(encoding="utf-8-sig")).get_single_node()
    except (OSError, ValueError, yaml.YAMLError):
        return 0
    line = 0
    for key in re.findall(r"[^.\[\]]+", place):
        if isinstance(node, MappingNode):
            found = [(one.start_mark.line + 1, two) for one, two in node.value if one.value == key]
        elif isinstance(node, SequenceNode) and key.isdecimal() and int(key) < len(node.value):
            found = [(node.value[int(key)].start_mark.line + 1, node.value[int(key)])]
        else:
            break
        if not found:
            break
        line, node = found[0]
    return line


def _hint(what: str) -> str | None:
    if "'\\t'" in what:
        return "indent with spaces, not with tabs"
    if "single document" in what:
        return "remove what follows the second '---'"
    return None


def _count(node: Node, counted: dict[int, int], open_: set[int]) -> int:
    """How many values a node holds with its aliases written out.

    Raises:
        ConstructorError: more than a config can need, or one that holds itself.
    """
    if id(node) in counted:
        return counted[id(node)]
    if id(node) in open_:
        raise _wrong(node, "an alias holds itself", "write the value out")
    open_.add(id(node))
    below: list[Node] = []
    if isinstance(node, SequenceNode):
        below = node.value
    elif isinstance(node, MappingNode):
        below = [one for pair in node.value for one in pair]
    total = 1 + sum(_count(one, counted, open_) for one in below)
    if total > _MOST:
        raise _wrong(node, f"holds more than {_MOST} values, its aliases written out", "no config needs as many")
    open_.remove(id(node))
    counted[id(node)] = total
    return total


def _wrong(node: Node, what: str, how: str | None = None) -> ConstructorError:
    return ConstructorError(None, None, what, node.start_mark, how)


class _Loader(yaml.SafeLoader):
    """Plain values only. Errors carry the mark of what is wrong and, as their note, how to mend it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._flat: set[int] = set()

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        if self._depth >= _DEEPEST:
            mark = self.peek_event().start_mark
            raise ConstructorError(None, None, f"is nested deeper than {_DEEPEST} levels", mark)
        if self.check_event(AliasEvent):
            # Not in the base class: that a name is unknown is told with the place that asks for it.
            event = self.peek_event()
            if event.anchor not in self.anchors:
                raise ConstructorError(None, None, f"the alias *{event.anchor} names no anchor", event.start_mark)
        self._depth += 1
        try:
            found: Node | None = super().compose_node(parent, index)
        finally:
            self._depth -= 1
        return found

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        if node.tag == "tag:yaml.org,2002:timestamp":
            raise _wrong(node, f"'{_short(node)}' is read as a date", "quote it where it is text")
        if node.tag not in _PLAIN:
            tag = str(node.tag).replace("tag:yaml.org,2002:", "!!")
            raise _wrong(node, f"has the tag {tag[:60]}, and a config holds plain values only", "leave the tag out")
        try:
            value = super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except (ValueError, LookupError, OverflowError, TypeError, AttributeError) as error:
            kind = node.tag.rpartition(":")[2]
            raise _wrong(node, f"'{_short(node)}' is no {kind}", "quote it where it is text") from error
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise _wrong(node, f"'{_short(node)}' is too large a number", "quote it where it is text")
        if isinstance(value, float) and (math.isnan(value) or (math.isinf(value) and "inf" not in node.value.lower())):
            raise _wrong(node, f"'{_short(node)}' is no number that can be worked with", "give a finite one")
        if isinstance(value, str) and re.search("[\0\ud800-\udfff]", value):
            raise _wrong(node, "a text holds a character that no file can (U+0000, or half a surrogate pair)")
        return value

    def flatten_mapping(self, node: MappingNode) -> None:
        if id(node) in self._flat:  # its merged keys (<<) stand in front of its own by now
            return
        self._flat.add(id(node))
        seen: dict[str, int] = {}
        for key, _ in node.value:
            name = key.value if isinstance(key, ScalarNode) else None
            if name is None or key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                shown = "a list or mapping" if name is None else f"'{_short(key)}'"
                how = None if name is None else f"quote it where it is a name: '{_short(key)}'"
                raise _wrong(key, f"the key {shown} is no text", how)
            if name in seen:
                raise _wrong(
                    key, f"the key '{_short(key)}' is there twice (first in line {seen[name]})", "keep one of them"
                )
            seen[name] = key.start_mark.line + 1
        super().flatten_mapping(node)


def _short(node: Node) -> str:
    text = str(node.value)
    return text if len(text) <= 40 else f"{text[:30]}…"


S = TypeVar("S", bound="Settings")

#: What pydantic calls the branches of a union of plain types.
_BRANCHES = {"str", "int", "float", "bool", "dict", "list", "tuple", "none"}


class Settings(BaseModel):
    """Base of all typed settings: immutable, and an unknown key is an error that names the nearest valid one."""

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


def split_options(specification: str, *, where: str) -> tuple[str, dict[str, str]]:
    """A specification ``NAME?OPTION=VALUE&OPTION=VALUE`` taken apart: of estimators, detectors, trackers and their kin.

    >>> split_options("bundled?size=1024&score=0.3", where="detector")
    ('bundled', {'size': '1024', 'score': '0.3'})

    Raises:
        ConfigError: what follows the question mark is no OPTION=VALUE, or an option is given twice.
    """
    named, _, text = specification.partition("?")
    options: dict[str, str] = {}
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ConfigError(
                f"'{part}' in '{specification}' is not OPTION=VALUE: '{part}' is no option",
                where=where,
                how="write NAME?OPTION=VALUE&OPTION=VALUE, in quotes",
            )
        if name in options:
            raise ConfigError(f"option '{name}' is given twice in '{specification}'", where=where)
        options[name] = value
    return named, options


def name_and_model(
    specification: str,
    known: Collection[str],
    *,
    where: str,
    alone: Collection[str] = (),
    defaults: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, str, dict[str, str]]:
    """A specification ``NAME:MODEL?OPTION=VALUE&…`` taken apart: name, model and options.

    Args:
        specification: of an estimator, a detector or a segmenter.
        known: the names there are.
        where: which of the three it is, for errors.
        alone: names that take no model.
        defaults: of names that may stand without one, the model that is meant.

    Raises:
        ConfigError: an unknown name, a model where none is taken, or none where one is; and see :func:`split_options`.
    """
    named, options = split_options(specification, where=where)
    name, colon, model = named.partition(":")
    if name not in known:
        listed = ", ".join(each if each in alone or each in defaults else f"{each}:…" for each in sorted(known))
        raise ConfigError(f"unknown {where} '{specification}'", where=where, how=f"known ones: {listed}")
    if name in alone and colon:
        raise ConfigError(f"'{specification}' names a model", where=where, how=f"write {name}")
    if not colon:
        model = defaults.get(name, "")
    if name not in alone and not model:
        raise ConfigError(f"'{specification}' names no model", where=where, how=f"write {name}:MODEL")
    return name, model, options


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
