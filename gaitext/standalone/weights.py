"""Weights that come with gaitext, made anew by the commands that made them."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save

from gaitext.checkpoints import load
from gaitext.errors import ConfigError, DataError
from gaitext.models.pretrained import build_network, find_pretrained
from gaitext.store import atomic_path, make_folder
from gaitext.video.digests import content_sha256


@dataclass(frozen=True)
class MadeWeights:
    """What :func:`make_weights` left.

    Attributes:
        path: of the weights.
        sha256: of the file.
        same: whether they are those that come with gaitext, bit by bit.
    """

    path: Path
    sha256: str
    same: bool


def make_weights(name: str, out: str | Path) -> MadeWeights:
    """Run a model's commands in a folder, and write ``NAME.safetensors`` there from what they train.

    Other processors and versions of torch round differently: then the weights are others, of numbers near those said.

    Args:
        name: of :func:`~gaitext.models.pretrained.pretrained`.
        out: the folder, made where it is not there.

    Raises:
        ConfigError: no such name, or a bundled estimator, which gaitext does not train.
        DataError: a command failed.
    """
    row = find_pretrained(name)
    if row.checkpoint is None:
        how = "in a checkout of gaitext: " + "; ".join(row.commands)
        raise ConfigError(f"{name} is not trained by gaitext: it is imported", where="models make", how=how)
    out = Path(out)
    make_folder(out)
    for command in row.commands:
        _, *arguments = shlex.split(command)
        done = subprocess.run([sys.executable, "-c", "from gaitext.cli import main; main()", *arguments], cwd=out)
        if done.returncode:
            raise DataError(f"'{command}' failed ({done.returncode})", where=out, how="its own words are above")
    weights = load(build_network(row.model_cfg), out / row.checkpoint).state_dict()
    content = save({key: value.contiguous() for key, value in weights.items()})
    path = out / f"{name}.safetensors"
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    digest = content_sha256(path)
    return MadeWeights(path, digest, digest == row.sha256)
