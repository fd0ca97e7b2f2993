"""``gaitext demo``: the whole way on a laptop, from video to a cross-view table."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gaitext import standalone, store
from gaitext.config import load_yaml, merge
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources
from gaitext.inspect.contact_sheet import write_contact_sheet
from gaitext.inspect.figures import curves_figure
from gaitext.inspect.footage import load_footage
from gaitext.inspect.show import show
from gaitext.inspect.show_settings import ShowSettings
from gaitext.standalone.building import build_model
from gaitext.standalone.settings import HostConfig
from gaitext.training.runs import latest_checkpoint, write_checkpoint
from gaitext.walkers import WalkerSettings, write_dataset

_HERE = Path(__file__).parent
#: Type and view of the walk whose frames are drawn.
_SHOWN = "bg-01/036"


@dataclass(frozen=True)
class DemoResult:
    """What the demo shows.

    Attributes:
        title, columns, rows: the table: rank-1 in percent per condition, identical views excluded.
        lines: what else there is to say: files, durations.
    """

    title: str
    columns: list[str]
    rows: list[tuple[str, list[float]]]
    lines: list[str]


def run_demo(out: str | Path = "demo", *, seed: int = 0, quiet: bool = False) -> DemoResult:
    """Film walkers, find their heatmaps, train a small GaitHeat on them, test it on unseen people.

    Synthetic walkers are filmed in H.264; every frame is decoded, cropped and given to MoveNet
    Lightning; GaitHeat is trained on the heatmaps of some of the walkers and evaluated on the
    others. Run again in the same folder it makes nothing anew that is there, and trains on from its
    last checkpoint.

    Args:
        out: folder for everything it makes: ``walkers/`` (videos, boxes, partition), ``heatmaps/``,
            ``output/``, ``config.yaml``, ``frames.png``, ``alignment.png``, ``curves.png``.
        seed: of the walkers and of the training.
        quiet: no progress bars.
    """
    started = time.monotonic()
    out = Path(out)
    people = merge({"seed": seed}, load_yaml(_HERE / "demo_walkers.yaml"))
    settings = WalkerSettings.parse(people, where="demo")
    workers = max(1, min(os.cpu_count() or 1, 8))
    written = write_dataset(settings, out / "walkers", workers=workers, quiet=quiet)
    assert written.videos is not None
    sources = find_sources(written.videos, written.boxes)
    extracted = extract_dataset(
        sources,
        "movenet:lightning",
        out / "heatmaps",
        # MoveNet has learnt people: of walkers that are drawn small it scores some below what extraction asks for.
        ExtractSettings(form="compact", min_frames=1, min_score=0.2),
        workers=workers,
        quiet=quiet,
    )
    extracted.raise_failures("videos")
    sequences = out / "heatmaps" / "sequences"
    config = _config(sequences, written.partition)
    store.write_json(out / "config.yaml", config)  # JSON is YAML

    # The same network untrained: the very weights that training starts from.
    untrained = out / "untrained.pt"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        write_checkpoint(untrained, {"model": build_model(config["model_cfg"]).state_dict()})
    before = standalone.test(config, checkpoint=untrained, output=out / "output", quiet=quiet).evaluation
    begun = latest_checkpoint(HostConfig.read(config).folder(out / "output", training=True)) is not None
    trained = standalone.train(config, seed=seed, output=out / "output", resume=begun, quiet=quiet)
    after = standalone.test(config, checkpoint=trained.checkpoint, output=out / "output", quiet=quiet).evaluation

    conditions = ["NM", "BG", "CL"]
    rows = [
        ("GaitHeat, trained", [after.scalars[f"scalar/test_accuracy/{c}@R1"] for c in conditions]),
        ("the same, untrained", [before.scalars[f"scalar/test_accuracy/{c}@R1"] for c in conditions]),
        ("chance", [after.chance[c] for c in conditions]),
    ]
    shown = sequences / settings.identity_name(settings.identities) / _SHOWN
    figures = [
        write_contact_sheet(load_footage(shown), out / "frames.png", frames=6),
        show(shown, out / "alignment.png", ShowSettings(frames=3)).path,
        curves_figure(trained.rows, out / "curves.png"),
    ]
    testing = len(store.read_partition(written.partition)[1])
    return DemoResult(
        f"Rank-1 (%) of {testing} walkers unseen in training, identical views excluded",
        conditions,
        rows,
        [
            f"{len(sources)} videos; {trained.iteration} iterations; {time.monotonic() - started:.0f} s in all",
            *(f"figure: {path}" for path in figures),
            f"weights: {trained.checkpoint}",
            f"config:  {out / 'config.yaml'}  (gaitext test {out / 'config.yaml'} --output {out / 'output'})",
        ],
    )


def _config(sequences: Path, partition: Path) -> dict[str, Any]:
    data = {"dataset_root": str(sequences.resolve()), "dataset_partition": str(partition.resolve())}
    return merge({"data_cfg": data}, load_yaml(_HERE / "demo.yaml"))
