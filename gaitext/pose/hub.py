"""Models of transformers: a folder, or a name on the Hugging Face hub, downloaded once."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import socket
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from safetensors import SafetensorError
from torch import nn

from gaitext.errors import CheckpointError, ConfigError, import_extra

_PERSONS = ("person", "pedestrian", "people", "human")
#: What ends the loading of a model that is damaged, incomplete or another's.
_FAULTS = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    EOFError,
    pickle.UnpicklingError,
    SafetensorError,
)


def read_json(model: str, name: str, prefix: str) -> dict[str, Any]:
    """A json file of a model.

    Args:
        model: a folder, or a name on the hub.
        name: the file's.
        prefix: of the specification that named the model, for the error.

    Raises:
        ConfigError: no such folder, nothing to be had, or no JSON object in it.
    """
    from transformers.utils import cached_file

    if not Path(model).is_dir() and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise ConfigError("no such folder", where=model, how=f"check the path after '{prefix}:'")
    try:
        found = cached_file(model, name, local_files_only=is_cut_off(model))
        if found is None:  # of some names it says nothing
            raise OSError("it is not there")
        path = Path(str(found))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot be had ({first_line(error)})",
            where=model,
            how="give a folder that holds it, or the name of a model on the Hugging Face hub while online",
        ) from error
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"is not JSON ({error})", where=path) from error
    if not isinstance(read, dict):
        raise ConfigError("holds no object", where=path)
    return read


def load_processor(model: str, prefix: str, extra: str) -> tuple[Any, str]:
    """A model's image processor, and the SHA-256 of its settings.

    Args:
        model: a folder, or a name on the hub.
        prefix: of the specification that named the model, for the error.
        extra: of gaitext's, that brings what processors need.

    Raises:
        ConfigError: it has none, or none that transformers knows.
        MissingDependencyError: transformers is not installed.
    """
    transformers = import_extra("transformers", extra, f"'{prefix}:'")
    read_json(model, "preprocessor_config.json", prefix)  # a clear error where it is missing
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(model, local_files_only=is_cut_off(model))
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(
            f"its image processor cannot be loaded ({first_line(error)})",
            where=model,
            how=f"pip install 'gaitext[{extra}]', or give a model whose processor transformers has",
        ) from error
    settings = json.dumps(processor.to_dict(), sort_keys=True, default=str)
    return processor, hashlib.sha256(settings.encode()).hexdigest()


def person_class(config: Mapping[str, Any], model: str, prefix: str) -> int:
    """The number of the class that is the person, by its name in a config's ``id2label``.

    Raises:
        ConfigError: no class has such a name.
    """
    labels = {str(name).lower(): number for number, name in (config.get("id2label") or {}).items()}
    for name in _PERSONS:
        if name in labels:
            return int(labels[name])
    listed = ", ".join(sorted(labels)[:5])
    raise ConfigError(
        f"none of its classes is called person ({listed or 'they have no names'})",
        where=model,
        how=f"give a model that knows persons, or say which class it is: {prefix}:…?person=0",
    )


def load_network(kind: Any, model: str) -> nn.Module:
    """A network of transformers with the model's weights, all of them and no others, in float32.

    Args:
        kind: the class, or one of transformers' ``AutoModelFor…``.
        model: a folder, or a name on the hub; of a file that is no safetensors, tensors alone are unpickled.

    Raises:
        CheckpointError: the weights are missing, damaged, or do not fit the config.
    """
    try:
        network, info = kind.from_pretrained(
            model, output_loading_info=True, weights_only=True, local_files_only=is_cut_off(model)
        )
    except _FAULTS as error:
        raise CheckpointError(f"its weights cannot be loaded ({first_line(error)})", where=model) from error
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    wrong = {kind: sorted(map(str, info.get(kind) or ())) for kind in kinds}
    listed = "; ".join(f"{what.replace('_', ' ')}: {', '.join(keys[:3])}" for what, keys in wrong.items() if keys)
    if listed:
        raise CheckpointError(f"its weights do not fit its config: {listed}", where=model)
    loaded: nn.Module = network.float()  # a file may hold halves; precision is a setting of its own
    return loaded


@lru_cache
def is_cut_off(model: str) -> bool:
    """Whether the hub cannot be reached, so that only what is on the disk can be had.

    Asked first, once: the hub's own client tries five times, for a quarter of a minute, for each file.
    """
    proxies = ("https_proxy", "http_proxy", "all_proxy")
    if Path(model).is_dir() or any(os.environ.get(key) or os.environ.get(key.upper()) for key in proxies):
        return False
    from huggingface_hub import constants

    hub = urlsplit(constants.ENDPOINT)
    try:
        with socket.create_connection((hub.hostname or "", hub.port or 443), timeout=5):
            return False
    except (OSError, ValueError):
        return True


def first_line(error: Exception) -> str:
    """Of an error's message, or the error's name."""
    return next(iter(str(error).splitlines()), type(error).__name__)
