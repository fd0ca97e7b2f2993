"""Saved results: one file for each test, from every host. An ``.npz`` may hold anything, and nothing in it is unpickled
or allocated on trust."""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, DataError, ShapeError
from gaitext.evaluation.distances import Array, as_embeddings
from gaitext.evaluation.protocols import function_of, told_protocol
from gaitext.evaluation.result import EvaluationResult, check_table_path
from gaitext.store import atomic_path, check_writable

_HOW = "give what `gaitext test --save-embeddings` wrote: embeddings [n, c, p], labels, types and views [n]"
_NAMES = ("embeddings", "labels", "types", "views")
#: What older files lack.
_ADDED = ("paths", "about")
#: Entries of ``about`` that hold entries.
_OBJECTS = ("config", "checkpoint", "protocol", "versions")
#: Characters of ``about``, at most.
_ABOUT = 1 << 20
#: An array larger than this, in bytes, that deflates to less than a hundredth is no array of embeddings.
_LARGE, _RATIO = 1 << 26, 100
#: Kinds of dtypes: what names may be; and the others.
_TEXTS = "USiu"
_KINDS = {"embeddings": "fiu", "paths": "US", "about": "US"}
#: Bytes of numpy's header, at most.
_HEADER = 1 << 16


@dataclass(frozen=True, eq=False)
class Saved:
    """A test's embeddings, and what made them.

    Args:
        embeddings: [n, c, p], float32.
        labels, types, views: [n], texts.
        paths: [n], texts: the folder that each sequence was read from, empty where it is not known. None where the file
            has no paths.
        about: what made the embeddings, as JSON has it; empty where the file does not say. Keys: ``host``; ``config``,
            as it was read; ``checkpoint`` (``path``, ``sha256``, ``iteration``); ``protocol`` (``eval_func``,
            ``dataset``, ``metric`` and the function's other arguments); ``versions``; ``commit``; ``seed``; ``made``.
    """

    embeddings: Array
    labels: Array
    types: Array
    views: Array
    paths: Array | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def data(self) -> dict[str, Any]:
        """What evaluation functions are given: ``embeddings``, ``labels``, ``types`` and ``views``."""
        return {name: getattr(self, name) for name in _NAMES}


def check_saved_path(path: str | Path) -> Path:
    """Where :func:`write_saved` writes, ending in ``.npz``; refused before the work if it cannot be written.

    Raises:
        ConfigError: no path.
        DataError: it is a folder, or there is no writing in its folder.
    """
    if not isinstance(path, (str, Path)) or not Path(path).name:
        raise ConfigError(f"{path!r} names no file", where="save_embeddings", how="give a path such as result.npz")
    path = Path(path).with_suffix(".npz")
    check_writable(path)
    return path


def write_saved(
    path: str | Path,
    data: Mapping[str, Any],
    *,
    paths: Sequence[str | Path] | Array | None = None,
    about: Mapping[str, Any] | None = None,
) -> Path:
    """Write a result file, which appears whole or not at all.

    The same content gives the same bytes, so two files of one test differ by ``about.made`` alone.

    Args:
        path: the ``.npz``; another suffix is replaced.
        data: ``embeddings`` [n, c, p] or [n, c], ``labels``, ``types`` and ``views``; other entries are left out.
        paths: the folder of each sequence.
        about: see :class:`Saved`; what JSON does not know is written as text.

    Returns:
        The file's path.

    Raises:
        DataError: something is missing or of another length, or the file cannot be written.
        ShapeError: embeddings of another shape.
    """
    path = check_saved_path(path)
    lacking = [name for name in _NAMES if name not in data]
    if lacking:
        what = f"the test gave no {', '.join(lacking)}, but {', '.join(sorted(map(str, data))) or 'nothing'}"
        raise DataError(what, where=path, how="save the results of recognition only")
    arrays = {name: _texts(data[name]) for name in _NAMES[1:]}
    arrays["embeddings"] = as_embeddings(data["embeddings"]).astype(np.float32, copy=False)
    if paths is not None:
        arrays["paths"] = _texts([Path(each).as_posix() if each else "" for each in paths])
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"cannot be written: {lengths}", where=path, how="give one of each for every sequence")
    if about is not None:
        text = json.dumps(_plain(about), allow_nan=False)
        if len(text) > _ABOUT:
            raise DataError(f"'about' has {len(text)} characters, more than {_ABOUT}", where=path, how="say less there")
        arrays["about"] = np.array(text)
    content: Any = {name: arrays[name] for name in (*_NAMES, *_ADDED) if name in arrays}
    with atomic_path(path) as temporary:
        np.savez(temporary, **content)
    return path


def _texts(values: Sequence[Any] | Array) -> Array:
    # What stands for no character, such as a byte of an ill-named folder, would not be read again.
    return np.array([str(value).encode("utf-8", "backslashreplace").decode() for value in values], dtype=str)


def _plain(value: Any) -> Any:
    """A value as JSON has it; what JSON does not know as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()


def read_saved(path: str | Path) -> Saved:
    """Read what :func:`write_saved` wrote, or any ``.npz`` with ``embeddings`` [n, c, p] or [n, c], numbers, and
    ``labels``, ``types`` and ``views`` [n], texts or whole numbers.

    Raises:
        DataError: the file is missing, damaged, no ``.npz``, or lacks one of the four; an array is of another kind or
            shape, or is not as long as its header says; ``about`` is no JSON object.
    """
    path = Path(path)
    try:
        return _checked(_arrays(path), path)
    except DataError:
        raise
    except FileNotFoundError as error:
        raise DataError("no such file", where=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror or error})", where=path, how=_HOW) from error
    except MemoryError as error:
        raise DataError("holds more than fits into memory", where=path) from error
    except Exception as error:  # zipfile, zlib, json and numpy's header reader have no base in common
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"holds no saved embeddings ({said})", where=path, how=_HOW) from error


def evaluate_file(
    path: str | Path,
    dataset: str | None = None,
    metric: str | None = None,
    *,
    table: str | Path | None = None,
    **options: Any,
) -> EvaluationResult:
    """Evaluate a saved result, as its test did or otherwise.

    Args:
        path: see :func:`read_saved`.
        dataset: whose protocol. None: the one that the file names, with the arguments that it had there; of a file that
            names none ``own``, if an option is for that alone, or CASIA-B.
        metric: ``euc`` or ``cos``. None: the file's; of a file that names none ``euc``.
        table: a .md, .csv or .json to write the result to.
        options: arguments that only this dataset's protocol has: ``partition`` for those with lists; ``gallery`` and
            ``exclude_same_walk`` for PsyMo; ``gallery``, ``probe`` and ``exclude`` for ``own``, which is
            :func:`~gaitext.evaluation.evaluate_gallery_probe`. They stand in for the file's.

    Raises:
        DataError: the file is missing, damaged, or lacks one of the four arrays.
        ConfigError: no such protocol, or an option that it does not have.
    """
    if dataset is not None:
        function_of(dataset)
    check_table_path(table)
    saved = read_saved(path)
    try:
        chosen, arguments = told_protocol(saved.about, dataset, metric, options, otherwise="CASIA-B")
        return function_of(chosen)(saved.data(), table=table, **arguments)
    except (ConfigError, DataError, ShapeError) as error:
        if isinstance(error, ConfigError) and not saved.about:
            raise
        where = path if error.where is None else f"{path}: {error.where}"
        raise type(error)(error.what, where=where, how=error.how) from error


def _arrays(path: Path) -> dict[str, Array]:
    with path.open("rb") as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        raise DataError("is a single array (.npy), without labels, types and views", where=path, how=_HOW)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for name in (*_NAMES, *_ADDED):
            count = names.count(f"{name}.npy")
            if count > 1 or (not count and name in _NAMES):
                what = f"lacks '{name}'" if not count else f"holds '{name}' {count} times"
                raise DataError(f"{what}: it holds {', '.join(names[:6])[:200] or 'nothing'}", where=path, how=_HOW)
        there = [name for name in (*_NAMES, *_ADDED) if f"{name}.npy" in names]
        return {name: _array(archive, archive.getinfo(f"{name}.npy"), name, path) for name in there}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, path: Path) -> Array:
    if entry.file_size > _LARGE and entry.file_size > _RATIO * entry.compress_size:
        raise DataError(
            f"'{name}' would grow from {entry.compress_size} to {entry.file_size} bytes", where=path, how=_HOW
        )
    if name == "about" and entry.file_size > 4 * _ABOUT + _HEADER:
        raise DataError(f"'about' has {entry.file_size} bytes, more than {4 * _ABOUT}", where=path, how=_HOW)
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise DataError(f"'{name}' is of numpy's format {version[0]}.{version[1]}", where=path, how=_HOW)
        shape, by_columns, dtype = readers[version](stream)
        allowed = _KINDS.get(name, _TEXTS)
        if dtype.hasobject or dtype.kind not in allowed:
            kind = "Python objects, which are not read" if dtype.hasobject else f"{dtype}"
            wanted = "numbers" if name == "embeddings" else "texts"
            raise DataError(f"'{name}' holds {kind[:60]}, not {wanted}", where=path, how=_HOW)
        size, left = math.prod(shape) * dtype.itemsize, entry.file_size - stream.tell()
        if size != left or min(shape, default=0) < 0:
            raise DataError(f"'{name}' says {_shown(shape)}, {size} bytes, and holds {left}", where=path, how=_HOW)
        content = stream.read(size)
        if stream.read(1) or len(content) != size:  # at its end the checksum is compared
            raise DataError(f"'{name}' is cut short", where=path, how=_HOW)
    if not dtype.itemsize:  # texts of length 0, of which numpy makes no buffer
        return np.zeros(shape, dtype)
    return np.frombuffer(content, dtype).reshape(shape, order="F" if by_columns else "C")


def _checked(arrays: dict[str, Array], path: Path) -> Saved:
    embeddings = arrays["embeddings"]
    if embeddings.ndim not in (2, 3) or not embeddings.size:
        raise DataError(f"'embeddings' is {_shown(embeddings.shape)}, not [n, c, p]", where=path, how=_HOW)
    for name in arrays.keys() - {"embeddings", "about"}:
        if arrays[name].shape != embeddings.shape[:1]:
            raise DataError(
                f"'{name}' is {_shown(arrays[name].shape)}, not [{len(embeddings)}], one for each embedding",
                where=path,
                how=_HOW,
            )
        arrays[name] = _as_texts(arrays[name])
    about = _about(arrays.pop("about"), path) if "about" in arrays else {}
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as that
        arrays["embeddings"] = embeddings.astype(np.float32, copy=False).reshape(*embeddings.shape[:2], -1)
    return Saved(**arrays, about=about)


def _as_texts(array: Array) -> Array:
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    array = array.astype(str)
    # Their bytes may stand for no character; this raises where they do.
    for text in array.ravel().tolist():
        text.encode()
    return array


def _about(array: Array, path: Path) -> dict[str, Any]:
    if array.shape != ():
        raise DataError(f"'about' is {_shown(array.shape)}, not one text", where=path, how=_HOW)
    about = json.loads(str(_as_texts(array)))
    if not isinstance(about, dict):
        raise DataError(f"'about' holds a {type(about).__name__}, not an object", where=path, how=_HOW)
    for name in _OBJECTS:
        if not isinstance(about.get(name) or {}, dict):
            kind = type(about[name]).__name__
            raise DataError(f"'about' holds {kind} as '{name}', not an object", where=path, how=_HOW)
    json.dumps(about, ensure_ascii=False, allow_nan=False).encode()  # half a character, or NaN, raises
    return about


def _shown(shape: tuple[Any, ...]) -> str:
    return str(list(shape))[:80]
