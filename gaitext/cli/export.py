"""`gaitext export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gaitext.cli.app import app, console


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="A name of `gaitext models`, or a config: then --checkpoint, too.")],
    onnx: Annotated[Path, typer.Option(help="File to write.")],
    checkpoint: Annotated[
        Path | None, typer.Option(help="The config's weights: ours, a toolbox's or published.")
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="GaitPT: of a sequence; above a window's, any number above it.")
    ] = None,
    quality: Annotated[
        float | None, typer.Option(min=0, max=1, help="Corrector: 1 - QF/100. \\[default: what it was trained with]")
    ] = None,
) -> None:
    """Write a network as ONNX, and compare what onnxruntime makes of it with torch."""
    from gaitext import checkpoints
    from gaitext.config import load_yaml
    from gaitext.errors import ConfigError, import_extra
    from gaitext.models import FBCNN
    from gaitext.models.export import export_onnx, onnx_difference
    from gaitext.models.pretrained import build_network, find_pretrained, from_pretrained, pretrained

    import_extra("onnxruntime", "export", "comparing with onnxruntime")
    if model in pretrained():
        if checkpoint is not None:
            raise ConfigError(
                f"{model} has weights of its own", where="--checkpoint", how="leave it out, or name a config"
            )
        row, network = find_pretrained(model), from_pretrained(model)
        section, notes = row.model_cfg if row.config else {}, {"weights": model, "sha256": row.sha256}
    else:
        section = load_yaml(model).get("model_cfg") or {}
        if checkpoint is None:
            raise ConfigError(f"{model} says no weights", where="--checkpoint", how="name the checkpoint")
        network = checkpoints.load(build_network(section), checkpoint)
        notes = {"config": Path(model).stem, "weights": checkpoint.name}
    if isinstance(network, FBCNN):
        used = float(section.get("quality", 0.5) if quality is None else quality)
        network, notes = network.fixed(used), {**notes, "quality": f"{used:g}"}
    elif quality is not None:
        raise ConfigError(f"{type(network).__name__} has no quality", where="--quality", how="leave it out")
    path = export_onnx(network, onnx, frames=frames, notes=notes)
    apart = onnx_difference(network, path, frames=frames)
    console.print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, at most {apart:.1g} from torch", soft_wrap=True)
