"""Reading checkpoints: gaitext's own, a toolbox's, and the published ones."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gaitext.errors import CheckpointError, nearest

__all__ = ["load", "named", "read_file", "read_state_dict"]

#: Wrappers that trainers put around a network; removed wherever all keys carry them.
_PREFIXES = ("module.", "_orig_mod.", "network.", "model.", "corrector.")
#: Entries of a checkpoint file under which trainers keep the weights.
_SECTIONS = ("model", "state_dict", "model_state_dict")


def load(model: nn.Module, source: str | Path | Mapping[str, Any]) -> nn.Module:
    """Load weights into ``model``, recognising where they come from by their keys.

    Read are: this package's own checkpoints; those that a toolbox or the embedded host trained
    (weights under ``model`` and behind ``network.``, with DataParallel's ``module.`` or not);
    and published ones, through the model's ``published_keys`` and, where names are not all that
    differs, its ``adapt_published(weights)``. Loading is strict: every weight of the model is set,
    and every weight of the checkpoint is used.

    Args:
        model: the network, on any device. It is changed in place and returned.
        source: a file, or a state dict (or whole checkpoint) already in memory.

    Raises:
        CheckpointError: the file cannot be read, or keys or shapes do not fit; nothing is
            loaded then.
    """
    where = source if isinstance(source, (str, Path)) else "state dict"
    weights = read_state_dict(source)
    own = model.state_dict()
    fitted, published = _rename(weights, own, getattr(model, "published_keys", ()), where)
    adapt: Any = getattr(model, "adapt_published", None)
    if published and adapt is not None:
        fitted = adapt(fitted)
    _check(fitted, own, where)
    model.load_state_dict(fitted)
    return model


def read_file(path: str | Path) -> Any:
    """Read a file that ``torch.save`` wrote, on the CPU, unpickling tensors and plain values only.

    Raises:
        CheckpointError: no such file, empty, damaged, or holding more than tensors.
    """
    path = Path(path)
    if path.is_dir():
        raise CheckpointError("is a folder", where=path, how="give the checkpoint's file")
    if path.is_file() and path.stat().st_size == 0:
        raise CheckpointError("is empty", where=path, how="make or download it again")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError("no such file", where=path, how="check the path") from error
    except pickle.UnpicklingError as error:
        # torch's own text advises to switch the protection off.
        raise CheckpointError(
            "is damaged, or holds more than tensors and plain values, which is not opened because it can run code",
            where=path,
            how="make or download it again; of a trusted file, save the state dict alone",
        ) from error
    except (RuntimeError, EOFError, ValueError, OSError, LookupError) as error:
        raise CheckpointError("is damaged", where=path, how="make or download it again") from error


def read_state_dict(source: str | Path | Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights of a checkpoint as they are named there, on the CPU.

    Raises:
        CheckpointError: what :func:`read_file` raises, or no weights in it.
    """
    is_file = isinstance(source, (str, Path))
    loaded = read_file(source) if is_file else source  # type: ignore[arg-type]
    for section in _SECTIONS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(section), Mapping):
            loaded = loaded[section]
            break
    if not isinstance(loaded, Mapping) or not loaded or not all(isinstance(v, Tensor) for v in loaded.values()):
        raise CheckpointError("holds no state dict of tensors", where=source if is_file else "state dict")
    return {str(key): value for key, value in loaded.items()}


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
    stripped = weights
    while True:
        if own & stripped.keys():
            return stripped, False
        renamed = _apply(stripped, tables, where)
        if renamed is not None:
            return renamed, True
        prefix = next((p for p in _PREFIXES if all(key.startswith(p) for key in stripped)), None)
        if prefix is None:
            return weights, False
        stripped = {key[len(prefix) :]: value for key, value in stripped.items()}


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
