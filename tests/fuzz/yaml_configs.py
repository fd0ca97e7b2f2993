"""Mutated configs: the file's text, and sections of another kind than they should be."""

from __future__ import annotations

import atexit
import copy
import json
import os
import pickle
import random
import shutil
import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from gaitext.config import load_yaml
from gaitext.errors import GaitextError
from gaitext.restoration.settings import CorrectionConfig
from gaitext.standalone.settings import HostConfig
from gaitext.walkers import WalkerSettings

from .damage import sentence

__all__ = ["check", "mutate"]

_CONFIGS = Path(__file__).parents[2] / "configs"
_NAMES = (
    "gaitheat/tiny.yaml",
    "rg-gait/tiny.yaml",
    "rg-gait/tiny_oem.yaml",
    "gaitpt/tiny.yaml",
    "correction/tiny.yaml",
)
#: Files of a sequence that the sound configs can be compared with.
_FILES = {"heatmaps": (2, 17, 64, 48), "poses": (2, 17, 3), "silhouettes": (2, 64, 44), "boxes": (2, 4)}
#: What stands in for a value.
_OTHERS: tuple[Any, ...] = (
    *(None, True, 0, -1, 5, 1.5, 10**18, 1e308, "", "x", "..", "../../x", "/x", "1e-3", "{track:999999999d}"),
    *([], [5], [None], [[]], ["x", "y"], [[0, 1], [2]], {}, {"a": 1}, {"type": 5}, {"type": "X"}, [{"type": ["x"]}]),
)
#: What is put into the text.
_TEXTS = (
    *(
        "\t",
        "\0",
        "\x07",
        "\ufeff",
        "\ud800",
        "- ",
        "? ",
        "[" * 500,
        "{" * 500,
        "&a [*a]",
        "*none",
        "!!python/name:os.x ",
    ),
    *(
        "!!binary ",
        "!!set ",
        "2001-99-99",
        "9" * 5000,
        "0x" + "f" * 999,
        ".nan",
        "1.0e+999",
        "\n---\n",
        "\n...\n",
        "%YAML 3\n",
    ),
    *('"\\U00110000"', '"\\0"', "1: 2\n", "~: 2\n", "<<: 5\n", "\xf6", "'", '"', "|", ">", "@", "`", "#", ": "),
)


@lru_cache
def _config(name: str) -> dict[str, Any]:
    return load_yaml(_CONFIGS / name)


def _places(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([above] if above else []) + [place for key, one in inner for place in _places(one, (*above, key))]


def mutate(rng: random.Random) -> tuple[bytes, str]:
    """A config with some damage, and its file's suffix."""
    config = copy.deepcopy(_config(rng.choice(_NAMES)))
    if rng.random() < 0.6:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            *above, key = rng.choice(_places(config))
            holder = config
            for step in above:
                holder = holder[step]
            if rng.random() < 0.15:
                del holder[key]
            else:
                holder[key] = copy.deepcopy(rng.choice(_OTHERS))
        return yaml.safe_dump(config, allow_unicode=True).encode(), ".yaml"
    content = bytearray(yaml.safe_dump(config).encode())
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(len(content) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            content[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            content[at:at] = rng.choice(_TEXTS).encode("utf-8", "surrogatepass")
        elif kind == 2:
            del content[at : at + rng.randrange(1, 200)]
        else:
            other = rng.randrange(len(content) + 1)
            content[at:at] = content[other : other + rng.randrange(1, 200)]
    return bytes(content), ".yaml"


@lru_cache
def _data() -> Path:
    """A folder where the sound configs find their data: four people, as far as configs are compared with them."""
    folder = Path(tempfile.mkdtemp(prefix="gaitext-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    people = ["001", "002", "003", "004"]
    for name in _NAMES:
        data = _config(name).get("data_cfg", {})
        if "dataset_root" in data:
            for person in people:
                leaf = folder / data["dataset_root"] / person / "nm-01" / "000"
                leaf.mkdir(parents=True, exist_ok=True)
                for number, (part, shape) in enumerate(_FILES.items()):
                    (leaf / f"{number}_{part}.pkl").write_bytes(pickle.dumps(np.ones(shape, np.float16)))
            partition = folder / data["dataset_partition"]
            partition.parent.mkdir(parents=True, exist_ok=True)
            partition.write_text(json.dumps({"TRAIN_SET": people[:2], "TEST_SET": people[2:]}), encoding="utf-8")
    return folder


def check(path: Path) -> str:
    """Read a file as each kind of config, where the sound ones' data are.

    Returns:
        "read" if any can use it, or "refused".

    Raises:
        AssertionError: an error that does not name the file.
    """
    readers: tuple[Callable[[], object], ...] = (
        lambda: HostConfig.checked(path, training=True, world_size=1),
        lambda: HostConfig.checked(path, training=False, world_size=1),
        lambda: CorrectionConfig.read(path),
        lambda: WalkerSettings.parse(load_yaml(path), where=str(path)),
    )
    word = "refused"
    os.chdir(_data())
    for read in readers:
        try:
            read()
        except GaitextError as error:
            sentence(error, path)
        else:
            word = "read"
    return word
