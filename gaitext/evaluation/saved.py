"""Evaluating saved embeddings: an ``.npz`` may hold anything, and nothing in it is unpickled or allocated on trust."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.errors import DataError, ShapeError
from gaitext.evaluation.distances import Array
from gaitext.evaluation.protocols import protocol_of
from gaitext.evaluation.result import EvaluationResult, check_table_path

_HOW = "give what `gaitext test --save-embeddings` wrote: embeddings [n, c, p], labels, types and views [n]"
_NAMES = ("embeddings", "labels", "types", "views")
#: An array larger than this, in bytes, that deflates to less than a hundredth is no array of embeddings.
_LARGE, _RATIO = 1 << 26, 100
#: Kinds of dtypes: numbers; and what names may be.
_NUMBERS, _TEXTS = "fiu", "USiu"


def evaluate_file(
    path: str | Path,
    dataset: str,
    metric: str = "euc",
    *,
    table: str | Path | None = None,
    **options: Any,
) -> EvaluationResult:
    """Evaluate what ``gaitext test --save-embeddings`` wrote.

    Args:
        path: .npz with ``embeddings`` [n, c, p], ``labels``, ``types``, ``views``.
        dataset: whose protocol.
        metric: ``euc`` or ``cos``.
        table: a .md, .csv or .json to write the result to.
        options: arguments that only this dataset's protocol has: ``gallery`` and
            ``exclude_same_walk`` for PsyMo; ``partition`` for Gait3D, FreeGait, CCGR-MINI and GREW-local; ``gallery``,
            ``probe`` and ``exclude`` for ``own``, which is
            :func:`~gaitext.evaluation.evaluate_gallery_probe`.

    Raises:
        DataError: the file is missing, damaged, or lacks one of the four arrays.
        ConfigError: no such protocol, or an option that it does not have.
    """
    evaluate = protocol_of(dataset, options)
    check_table_path(table)
    data: dict[str, Any] = dict(read_embeddings(path))
    try:
        return evaluate(data, dataset, metric=metric, table=table, **options)
    except (DataError, ShapeError) as error:
        where = path if error.where is None else f"{path}: {error.where}"
        raise type(error)(error.what, where=where, how=error.how) from error


def read_embeddings(path: str | Path) -> dict[str, Array]:
    """Read ``embeddings`` [n, c, p] or [n, c], numbers, and ``labels``, ``types`` and ``views`` [n], texts or whole
    numbers.

    Raises:
        DataError: the file is missing, damaged, no ``.npz``, or lacks one of the four; an array is of another kind or
            shape, or is not as long as its header says.
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
    except Exception as error:  # zipfile, zlib and numpy's header reader have no base in common
        said = " ".join(str(error).split())[:120] or type(error).__name__
        raise DataError(f"holds no saved embeddings ({said})", where=path, how=_HOW) from error


def _arrays(path: Path) -> dict[str, Array]:
    with path.open("rb") as stream:
        start = stream.read(6)
    if start == b"\x93NUMPY":
        raise DataError("is a single array (.npy), without labels, types and views", where=path, how=_HOW)
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        for name in _NAMES:
            count = names.count(f"{name}.npy")
            if count != 1:
                what = f"lacks '{name}'" if not count else f"holds '{name}' {count} times"
                raise DataError(f"{what}: it holds {', '.join(names[:6])[:200] or 'nothing'}", where=path, how=_HOW)
        return {name: _array(archive, archive.getinfo(f"{name}.npy"), name, path) for name in _NAMES}


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str, path: Path) -> Array:
    if entry.file_size > _LARGE and entry.file_size > _RATIO * entry.compress_size:
        raise DataError(
            f"'{name}' would grow from {entry.compress_size} to {entry.file_size} bytes", where=path, how=_HOW
        )
    with archive.open(entry) as stream:
        version = np.lib.format.read_magic(stream)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise DataError(f"'{name}' is of numpy's format {version[0]}.{version[1]}", where=path, how=_HOW)
        shape, by_columns, dtype = readers[version](stream)
        allowed = _NUMBERS if name == "embeddings" else _TEXTS
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


def _checked(arrays: dict[str, Array], path: Path) -> dict[str, Array]:
    embeddings = arrays["embeddings"]
    if embeddings.ndim not in (2, 3) or not embeddings.size:
        raise DataError(f"'embeddings' is {_shown(embeddings.shape)}, not [n, c, p]", where=path, how=_HOW)
    for name in _NAMES[1:]:
        if arrays[name].shape != embeddings.shape[:1]:
            raise DataError(
                f"'{name}' is {_shown(arrays[name].shape)}, not [{len(embeddings)}], one for each embedding",
                where=path,
                how=_HOW,
            )
        if arrays[name].dtype.kind == "S":
            arrays[name] = np.char.decode(arrays[name], "utf-8")
        if arrays[name].dtype.kind == "U":
            # Their bytes may stand for no character; this raises where they do.
            for text in arrays[name].tolist():
                text.encode()
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as that
        arrays["embeddings"] = embeddings.astype(np.float32, copy=False)
    return arrays


def _shown(shape: tuple[Any, ...]) -> str:
    return str(list(shape))[:80]
