"""Reading checkpoints: gaitext's own, a toolbox's, and the published ones, without running code of theirs.

torch believes what a checkpoint claims of its storages, compares no checksum, and makes as many bytes as a file
asks for. So before torch sees a file its archive's checksums and sizes, and what its pickle refers to, are checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import tarfile
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor, nn

from gaitext.errors import CheckpointError, nearest
from gaitext.store.pickles import Call, DamagedPickle, Name, Persistent, Unread, read_pickle, words

Network = TypeVar("Network", bound=nn.Module)

_AGAIN = "make or download it again"
#: What a compressed archive may hold: in bytes, or in the file's sizes.
_ROOM, _TIMES = 1 << 26, 16
_OPERATIONS = 5_000_000
_BLOCK = 1 << 20
#: Bytes of a value of torch's storages.
_SIZES = {
    **dict.fromkeys(("Double", "Long", "ComplexFloat"), 8),
    **dict.fromkeys(("Float", "Int", "QInt32"), 4),
    **dict.fromkeys(("Half", "BFloat16", "Short"), 2),
    **dict.fromkeys(("Byte", "Char", "Bool", "QInt8", "QUInt8", "QUInt4x2", "QUInt2x4", "Untyped"), 1),
    "ComplexDouble": 16,
}


class _Damaged(Exception):
    """The text says what does not fit."""


def read_file(path: str | Path) -> Any:
    """Read a file that ``torch.save`` or safetensors wrote, on the CPU, taking tensors and plain values only.

    Raises:
        CheckpointError: no such file, empty, damaged, of another format, or holding more than tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError("is a folder", where=path, how="give the checkpoint's file")
    try:
        with path.open("rb") as stream:
            if path.stat().st_size == 0:
                raise CheckpointError("is empty", where=path, how=_AGAIN)
            if _is_safetensors(stream, path.stat().st_size):
                return _safetensors(path)
            checked = _look(stream, path)
        return torch.load(checked or path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError("no such file", where=path, how="check the path") from error
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"cannot be read ({error.strerror})", where=path, how="check the path") from error
    except pickle.UnpicklingError as error:
        # torch's own text advises to switch the protection off.
        raise CheckpointError(
            "is damaged, or holds more than tensors and plain values (objects, numpy's numbers, or a pickle of another "
            "protocol than torch.save's own), which is not opened because it can run code",
            where=path,
            how=f"{_AGAIN}; of a trusted file, torch.save the state dict alone",
        ) from error
    except (_Damaged, DamagedPickle) as error:
        raise CheckpointError(f"is damaged: {error}", where=path, how=_AGAIN) from error
    except Unread as error:
        raise CheckpointError(f"holds {error.what}", where=path, how=error.how) from error
    except Exception as error:  # what torch raises, of whatever kind, of what it did not expect
        raise CheckpointError(f"is damaged ({type(error).__name__})", where=path, how=_AGAIN) from error


def _look(stream: BinaryIO, path: Path) -> BinaryIO | None:
    """Refuse what torch should not see; what it is to see instead of the file, if anything."""
    size = path.stat().st_size
    start = stream.read(512)
    stream.seek(0)
    text = start[:64].lstrip().lower()
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointError("is a pointer of Git LFS, not the file", where=path, how="git lfs pull")
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError("is a web page, not the file", where=path, how="download the file itself")
    if start.startswith(b"PK"):
        return _look_through_archive(stream, size)
    elif start[257:262] == b"ustar" or (start[:1] != b"\x80" and tarfile.is_tarfile(path)):
        raise CheckpointError(
            "is of torch's oldest format (tar), which is not opened without running code",
            where=path,
            how="load it where it was made, and save its state dict with a torch from 1.6 on",
        )
    else:
        _look_through_stream(stream, size)
    return None


def _look_through_archive(stream: BinaryIO, size: int) -> BinaryIO:
    """A zip, as torch has written since 1.6: records of their claimed sizes and checksums.

    Returns:
        The same records in a sound archive. Where local headers are damaged, torch reads memory that nobody wrote.
    """
    sound = io.BytesIO()
    try:
        with zipfile.ZipFile(stream) as archive, zipfile.ZipFile(sound, "w", zipfile.ZIP_STORED) as clean:
            records = archive.infolist()
            if sum(record.file_size for record in records) > max(_ROOM, _TIMES * size):
                raise _Damaged("it claims to hold far more than its size")
            sizes = {record.filename: record.file_size for record in records}
            roots = {name.split("/")[0] for name in sizes}
            if len(sizes) != len(records) or len(roots) != 1:
                raise _Damaged("it holds no single checkpoint")
            (root,) = roots
            if f"{root}/constants.pkl" in sizes:
                raise Unread("a TorchScript program", "save the state dict alone")
            if f"{root}/data.pkl" not in sizes:
                raise _Damaged("it holds no data.pkl")
            for record in records:
                if record.CRC == 0:  # torch was told not to compute any
                    record.CRC = None  # type: ignore[assignment]
                with archive.open(record) as content, clean.open(zipfile.ZipInfo(record.filename), "w") as copy:
                    while block := content.read(_BLOCK):  # compares the checksum at the end
                        copy.write(block)
            described = archive.read(f"{root}/data.pkl")
    except (zipfile.BadZipFile, zipfile.LargeZipFile, RuntimeError, NotImplementedError, EOFError, ValueError) as error:
        raise _Damaged(str(error)) from error
    notes: list[Call | Persistent] = []
    read_pickle(io.BytesIO(described), len(described), most=_OPERATIONS, notes=notes)
    for key, claimed in _storages(notes):
        found = sizes.get(f"{root}/data/{key}")
        if found is None:
            raise _Damaged(f"its storage {key[:40]} is missing")
        if found != claimed:
            raise _Damaged(f"its storage {key[:40]} has {found} bytes and claims {claimed}")
    sound.seek(0)
    return sound


def _look_through_stream(stream: BinaryIO, size: int) -> None:
    """Pickles one after the other and the storages behind them, as torch wrote before 1.6."""
    notes: list[Call | Persistent] = []
    left = size
    for part in range(5):
        value, used = read_pickle(stream, left, most=_OPERATIONS, notes=notes)
        if part == 0 and not isinstance(value, int):
            raise Unread(
                "a pickle that torch.save did not write, which is not opened because it can run code",
                "of a trusted file, torch.save the state dict alone",
            )
        left -= used
    stored = dict(_storages(notes))
    if sum(stored.values()) + 8 * len(stored) > left:
        raise _Damaged(f"its storages claim {sum(stored.values())} bytes where {left} are left")


def _storages(notes: list[Call | Persistent]) -> list[tuple[str, int]]:
    """Key and bytes of every storage that a pickle refers to."""
    found = []
    for note in notes:
        if isinstance(note, Call):
            # torch calls these as they stand: a number is so many bytes of zeros.
            if note.name in ("builtins.bytearray", "builtins.bytes") and any(
                isinstance(a, int) for a in note.arguments
            ):
                raise _Damaged("it asks for bytes that it does not hold")
            continue
        key = note.key
        if not isinstance(key, tuple) or len(key) < 5 or words(key[0]) != "storage" or not isinstance(key[1], Name):
            raise _Damaged("it refers to what is no storage")
        each = _SIZES.get(key[1].text.rpartition(".")[2].removesuffix("Storage"))
        name, count = words(key[2]), key[4]
        if each is None or name is None or type(count) is not int or count < 0:
            raise _Damaged("it refers to a storage of no known kind")
        found.append((name, count * each))
    return found


def _is_safetensors(stream: BinaryIO, size: int) -> bool:
    start = stream.read(9)
    stream.seek(0)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= size - 8


def _safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except Exception as error:  # SafetensorError, and what else the library raises
        raise _Damaged(str(error).splitlines()[0][:200]) from error


#: Wrappers that trainers put around a network; removed wherever keys carry them.
_PREFIXES = ("module.", "_orig_mod.", "network.", "model.", "corrector.")
#: Entries of a checkpoint file under which trainers keep the weights.
_SECTIONS = ("model", "state_dict", "model_state_dict")


def load(model: nn.Module, source: str | Path | Mapping[str, Any], where: object = None) -> nn.Module:
    """Load weights into ``model``, recognising where they come from by their keys.

    Read are: this package's own checkpoints; those that a toolbox or the embedded host trained
    (weights under ``model`` and behind ``network.``, with DataParallel's ``module.`` or not, on all
    keys or some); and published ones, through the model's ``published_keys`` and, where names are not
    all that differs, its ``adapt_published(weights)``. Loading is strict: every weight of the model is
    set, and every weight of the checkpoint is used.

    Args:
        model: the network, on any device. It is changed in place and returned.
        source: a file, or a state dict (or whole checkpoint) already in memory.
        where: what errors name, of a checkpoint in memory.

    Raises:
        CheckpointError: the file cannot be read, keys or shapes do not fit, or a weight is no
            finite number of the model's kind; nothing is loaded then.
    """
    where = source if isinstance(source, (str, Path)) else where or "state dict"
    own = model.state_dict()
    fitted = _named(model, source, own, where)
    _check(fitted, own, where)
    check_values(fitted, own, where)
    model.load_state_dict(fitted)
    return model


def packaged_sha256(path: Path, record: str) -> str:
    """The SHA-256 of weights that come with gaitext.

    Args:
        path: the file.
        record: name of the json beside it, whose ``weights`` have the file's ``sha256`` under its name.

    Raises:
        CheckpointError: either is missing, or these are other weights.
    """
    how = "install gaitext again"
    try:
        wanted = json.loads((path.parent / record).read_text(encoding="utf-8"))["weights"][path.name]["sha256"]
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise CheckpointError(f"cannot be read ({error})", where=path, how=how) from error
    if found != wanted:
        raise CheckpointError(f"holds other weights than {record} beside it says", where=path, how=how)
    return found


def load_packaged(model: Network, path: Path, record: str) -> Network:
    """Load weights that come with gaitext, in any precision, into a float32 model; it is returned in evaluation mode.

    Raises:
        CheckpointError: what :func:`packaged_sha256` raises.
    """
    packaged_sha256(path, record)
    model.load_state_dict({name: value.float() for name, value in read_file(path).items()})
    return model.eval()


def fitting(model: nn.Module, source: str | Path | Mapping[str, Any], where: object = None) -> dict[str, Tensor]:
    """Those of a checkpoint's weights whose names and shapes are the model's, under the model's names.

    Raises:
        CheckpointError: as :func:`load`, but for names and shapes; or no weight fits.
    """
    where = source if isinstance(source, (str, Path)) else where or "state dict"
    own = model.state_dict()
    weights = _named(model, source, own, where)
    found = {key: value for key, value in weights.items() if key in own and own[key].shape == value.shape}
    if not found:
        raise CheckpointError("holds no weight of this model", where=where, how="check model_cfg and the path")
    check_values(found, own, where)
    return found


def _named(model: nn.Module, source: Any, own: Mapping[str, Tensor], where: object) -> dict[str, Tensor]:
    """A checkpoint's weights under the model's names, as far as they are known."""
    weights = read_state_dict(source, where)
    fitted, published = _rename(weights, own, getattr(model, "published_keys", ()), where)
    adapt: Any = getattr(model, "adapt_published", None)
    return adapt(fitted) if published and adapt is not None else fitted


def read_state_dict(source: str | Path | Mapping[str, Any], where: object = None) -> dict[str, Tensor]:
    """The weights of a checkpoint as they are named there, on the CPU.

    Raises:
        CheckpointError: what :func:`read_file` raises, no weights in it, or weights that are no
            plain tensors of numbers (sparse, quantised, of the meta device, complex).
    """
    is_file = isinstance(source, (str, Path))
    where = source if is_file else where or "state dict"
    loaded = read_file(source) if is_file else source  # type: ignore[arg-type]
    for section in _SECTIONS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(section), Mapping):
            loaded = loaded[section]
            break
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError("holds no state dict of tensors", where=where, how="save model.state_dict()")
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(
                f"holds no state dict of tensors: {str(key)[:80]!r} is {type(value).__name__}",
                where=where,
                how="save model.state_dict()",
            )
        problem = _unlike_weights(value)
        if problem is not None:
            raise CheckpointError(f"its weight '{key}' {problem[0]}", where=where, how=problem[1])
    return {key: value.detach() for key, value in loaded.items()}


def _unlike_weights(value: Tensor) -> tuple[str, str] | None:
    """What keeps a tensor from being a weight, and what to do."""
    if value.is_quantized:
        return "is quantised", "save the network before it is quantised, or tensor.dequantize()"
    if value.is_nested or value.layout != torch.strided:
        return f"is no dense tensor ({value.layout})", "save it dense: tensor.to_dense()"
    if value.is_meta:
        return "has no values (it is on the device 'meta')", "save the network after its weights were loaded"
    if value.is_complex():
        return f"is complex ({value.dtype})", "take a checkpoint of this model"
    return None


def check_values(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], where: object) -> None:
    """Refuse weights that are no numbers of the model's kind, or not finite.

    Args:
        weights: to be loaded, of the model's shapes.
        own: the model's; those that ``weights`` lack are not looked at.
        where: what errors name.

    Raises:
        CheckpointError: naming the first such weight.
    """
    for key, value in weights.items():
        if key not in own:
            continue
        kind, wanted = _kind(value.dtype), _kind(own[key].dtype)
        if kind != wanted:
            raise CheckpointError(
                f"its weight '{key}' holds {value.dtype}, the model {own[key].dtype}",
                where=where,
                how="take a checkpoint of this model that was not converted",
            )
        if kind == "float" and not torch.isfinite(value.to(own[key].dtype)).all() and torch.isfinite(own[key]).all():
            raise CheckpointError(
                f"its weight '{key}' holds NaN or infinity", where=where, how="take one from before training diverged"
            )


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_floating_point:
        return "float" if dtype.itemsize > 1 else "eighth"  # 8 bits come with scales of their own
    return "complex" if dtype.is_complex else "bool" if dtype == torch.bool else "integer"


def named(weights: Mapping[str, Tensor], own: Iterable[str], tables: Any, where: object = None) -> dict[str, Tensor]:
    """Weights under a model's own names, for who has no model yet; as they are where no known naming leads there.

    Args:
        weights: of :func:`read_state_dict`.
        own: names of the model, one of which is enough to recognise its naming.
        tables: its ``published_keys``.
        where: what errors name.
    """
    return _rename(dict(weights), own, tables, where)[0]


def _rename(
    weights: dict[str, Tensor], own: Iterable[str], tables: Any, where: object
) -> tuple[dict[str, Tensor], bool]:
    """The weights under the model's own names, if some known naming leads there, else as they are; is it published?"""
    own = set(own)
    stripped, best = weights, weights
    while True:
        known = len(own & stripped.keys())
        if 2 * known >= len(stripped):
            return _each(stripped, own), False
        if known > len(own & best.keys()):
            best = stripped
        renamed = _apply(stripped, tables, where)
        if renamed is not None:
            return renamed, True
        prefix = next((p for p in _PREFIXES if 2 * sum(key.startswith(p) for key in stripped) > len(stripped)), None)
        if prefix is None:
            return _each(best, own), False
        without = {key.removeprefix(prefix): value for key, value in stripped.items()}
        if len(without) != len(stripped):
            return _each(best, own), False
        stripped = without


def _each(weights: dict[str, Tensor], own: set[str]) -> dict[str, Tensor]:
    """The few weights too that carry a wrapper's prefix which the others lack, without it."""
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        bare = key
        while bare not in own and (prefix := next((p for p in _PREFIXES if bare.startswith(p)), None)) is not None:
            bare = bare[len(prefix) :]
        found[bare if bare in own and bare not in weights and bare not in found else key] = value
    return found


def _apply(weights: dict[str, Tensor], table: Iterable[tuple[str, str]], where: object) -> dict[str, Tensor] | None:
    rules = [(re.compile(pattern), replacement) for pattern, replacement in table]
    renamed: dict[str, Tensor] = {}
    names: dict[str, str] = {}
    recognised = False
    for key, value in weights.items():
        match = next(((p, r) for p, r in rules if p.fullmatch(key)), None)
        recognised = recognised or match is not None
        ours = match[0].sub(match[1], key) if match else key
        # One weight under two names: a module that is registered twice.
        if ours in renamed and not torch.equal(renamed[ours], value):
            raise CheckpointError(
                f"'{names[ours]}' and '{key}' are two names of one weight, but their values differ",
                where=where,
                how="take the checkpoint as it was published",
            )
        renamed[ours], names[ours] = value, key
    return renamed if recognised else None


def _check(weights: Mapping[str, Tensor], own: Mapping[str, Tensor], where: object) -> None:
    missing = [key for key in own if key not in weights]
    unknown = [key for key in weights if key not in own]
    wrong = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    if not (missing or unknown or wrong):
        return
    problems = []
    if missing:
        problems.append(f"{len(missing)} weights are missing, such as '{missing[0]}'")
    if unknown:
        guess = nearest(unknown[0], own)
        problems.append(f"{len(unknown)} are unknown, such as '{unknown[0]}'" + (f" (near '{guess}')" if guess else ""))
    if wrong:
        key = wrong[0]
        problems.append(
            f"{len(wrong)} have another shape, such as '{key}': {tuple(weights[key].shape)} in the checkpoint, "
            f"{tuple(own[key].shape)} in the model"
        )
    raise CheckpointError(
        "; ".join(problems),
        where=where,
        how="build the model with the settings the checkpoint was trained with (sizes, class_num, frames, …)",
    )
