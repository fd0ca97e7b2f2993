"""Mutated checkpoints: state dicts of other keys and tensors, and damaged archives of every version."""

from __future__ import annotations

import io
import itertools
import pickletools
import random
import struct
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.errors import CheckpointError

from .damage import NUMBERS, damaged, sentence

__all__ = ["check", "mutate"]

_NAMES = (
    *("torch\nDoubleStorage", "torch\nByteStorage", "torch\nQInt8Storage", "builtins\nbytearray", "torch\nTensor"),
    *("torch._utils\n_rebuild_qtensor", "torch._utils\n_rebuild_sparse_tensor", "collections\nCounter", "os\nsystem"),
)


def network() -> nn.Module:
    """Of weights, statistics and a counter."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4))


@lru_cache
def _weights() -> dict[str, Tensor]:
    return network().state_dict()


def _saved(content: Any, *, old: bool = False) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, _use_new_zipfile_serialization=not old)
    return stream.getvalue()


def _others(value: Tensor, rng: random.Random) -> Any:
    """Something else in a weight's place."""
    nan, infinite = value.clone().float(), value.clone().float()
    nan.view(-1)[0], infinite.view(-1)[-1] = float("nan"), float("inf")
    real = value.float()
    return rng.choice(
        (
            *(nan, infinite, value.bool(), value.int(), value.to(torch.complex64), value.half(), value.double()),
            *(
                real.bfloat16(),
                value.to(torch.int8),
                real.to(torch.float8_e4m3fn),
                value.to("meta"),
                nn.Parameter(real),
            ),
            *(
                nn.Parameter(real),
                real.to_sparse(),
                torch.quantize_per_tensor(real, 0.1, 0, torch.qint8),
                value[..., None],
                value.sum(),
            ),
            *(value.new_zeros(()).expand(value.shape), value.t() if value.ndim == 2 else value, value.tolist()),
            *(value.new_zeros(1).expand(1 << 30), torch.empty(0), None, "text", 3, {}, [value], {"weight": value}),
        )
    )


def _keys(rng: random.Random) -> Any:
    """A state dict with other keys and values."""
    weights: dict[Any, Any] = dict(_weights())
    prefix = rng.choice(("", "", "module.", "network.", "module.network.", "_orig_mod."))
    weights = {prefix + key: value for key, value in weights.items()}
    for _ in range(rng.choice((0, 1, 1, 2))):
        key = rng.choice(list(weights) or [prefix])
        kind = rng.randrange(6)
        if kind == 0:
            weights.pop(key, None)
        elif kind == 1 and key in weights:
            weights[rng.choice((str(key).removeprefix(prefix), f"module.{key}", f"{key}x", "", 3, None))] = weights.pop(
                key
            )
        elif kind == 2:
            weights[rng.choice(("more", "module.more", f"{key}.more"))] = torch.ones(3)
        elif key in weights and any(weights[key] is sound for sound in _weights().values()):
            weights[key] = _others(weights[key], rng)
    section = rng.choice((None, "model", "state_dict", "model_state_dict"))
    return weights if section is None else {section: weights, "iteration": 3}


def mutate(rng: random.Random) -> tuple[bytes, str]:
    """A checkpoint with some damage, and its file's suffix."""
    kind = rng.random()
    if kind < 0.4:
        return _saved(_keys(rng), old=rng.random() < 0.3), ".pt"
    whole = _saved(_keys(rng) if rng.random() < 0.3 else dict(_weights()), old=kind > 0.8)
    if kind < 0.6 or kind > 0.8:
        return damaged(whole, rng), ".pt"
    return _other_archive(whole, rng), ".pt"


def _other_archive(whole: bytes, rng: random.Random) -> bytes:
    """An archive in order, with checksums that fit, of records that are not."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = [[record.filename, archive.read(record)] for record in archive.infolist()]
    for _ in range(rng.choice((1, 1, 2))):
        record = rng.choice([r for r in records if r[0].endswith("data.pkl")] * 3 + records)
        change = rng.randrange(6)
        if change == 0:
            record[1] = _other_numbers(record[1], rng)
        elif change == 1:
            record[1] = damaged(record[1], rng)
        elif change == 2:
            record[1] = record[1][: rng.randrange(len(record[1]) + 1)]
        elif change == 3 and len(records) > 1:
            records.remove(record)
        elif change == 4:
            records.append([rng.choice((record[0], "x/" + record[0], "constants.pkl", record[0] + "x")), record[1]])
        else:
            record[1] += bytes(rng.choice((1, 8, 1 << 20)))
    made = io.BytesIO()
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(made, "w", compression) as archive:
        for name, content in records:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    return made.getvalue()


def _other_numbers(described: bytes, rng: random.Random) -> bytes:
    """Sizes and names in the pickle that describes the tensors."""
    try:
        operations = list(pickletools.genops(described))
    except ValueError:  # it is damaged already
        return damaged(described, rng)
    places = [at for operation, _, at in operations if operation.name in ("BININT1", "BININT2", "BININT", "LONG1")]
    names = [at for operation, _, at in operations if operation.name == "GLOBAL"]
    ends = {at: end for (_, _, at), (_, _, end) in itertools.pairwise(operations)}
    if rng.random() < 0.3 and names:
        at = rng.choice(names)
        name = rng.choice(
            (
                "torch\nDoubleStorage",
                "torch\nByteStorage",
                "torch\nQInt8Storage",
                "builtins\nbytearray",
                "torch\nTensor",
            )
        )
        return described[:at] + b"c" + name.encode() + b"\n" + described[ends[at] :]
    at = rng.choice(places)
    return described[:at] + b"\x8a\x08" + struct.pack("<q", rng.choice(NUMBERS)) + described[ends[at] :]


def check(path: Path) -> str:
    """Load it, strictly and as far as it fits.

    Raises:
        AssertionError: an error that names no file, weights that are no numbers, or other ones than were written.
    """
    word = "refused"
    for loader in (checkpoints.load, checkpoints.fitting):
        model = network()
        try:
            loaded = loader(model, path)
        except CheckpointError as error:
            sentence(error, path)
            continue
        found = model.state_dict() if loader is checkpoints.load else loaded
        for key, value in found.items():  # type: ignore[union-attr, operator]
            assert torch.isfinite(value).all(), f"{key} is not finite"
            assert value.shape == _weights()[key].shape, key
        if loader is checkpoints.load:
            word = "read"
    _compare(path)
    return word


def _compare(path: Path) -> None:
    """A storage whose checksum fits is read as it stands in the archive."""
    content = path.read_bytes()
    try:
        read = checkpoints.read_state_dict(path)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            stored = [archive.read(name) for name in archive.namelist() if "/data/" in name]
    except (CheckpointError, zipfile.BadZipFile, zlib.error, EOFError):
        return
    for key, value in read.items():
        held = bytes(value.untyped_storage())
        assert held in stored, f"{key} is none of the storages in the file"
