"""Opening a file of weights: looked through before torch sees it, and read without running code of it.

torch believes what a checkpoint claims of its storages, compares no checksum, and makes as many bytes as
a file asks for. So the archive's checksums and sizes, and what its pickle refers to, are checked first.
"""

from __future__ import annotations

import io
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import torch

from gaitext.errors import CheckpointError, import_extra
from gaitext.pickles import Call, DamagedPickle, Name, Persistent, Unread, read_pickle, words

__all__ = ["read_file"]

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
    library: Any = import_extra("safetensors.torch", "vitpose", "reading a .safetensors file")
    try:
        return library.load_file(path, device="cpu")
    except Exception as error:  # SafetensorError, and what else the library raises
        raise _Damaged(str(error).splitlines()[0][:200]) from error
