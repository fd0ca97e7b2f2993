"""Trainings and tests of a study in the embedded host, or a toolbox: what runs in the workers."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitext import standalone
from gaitext.errors import CheckpointError, DataError, GaitextError
from gaitext.evaluation import PROTOCOLS, Saved, read_saved, write_saved
from gaitext.studies.cells import Cell
from gaitext.studies.scoring import Config, dataset_of, evaluate, with_gallery_of
from gaitext.studies.tasks import Running, Task, digest_of, finish, plain, seedless
from gaitext.studies.toolbox import last_checkpoint, toolbox_checkpoint, toolbox_test, toolbox_train

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """A system and a seed.

    Args:
        system: its name.
        config: the host's.
        seed: of everything random; a toolbox sets its own.
        folder: of this training; the embedded host's ``output``.
        device: ``cpu`` or ``cuda``.
        about: what :attr:`done` says.
        toolbox: root of the linked toolbox that trains; None: the embedded host.
        is_theirs: the model is the toolbox's own, which no other host has.
    """

    system: str
    config: Config
    seed: int
    folder: Path
    device: str
    about: Mapping[str, Any]
    toolbox: Path | None = None
    is_theirs: bool = False

    @property
    def done(self) -> Path:
        return self.folder / "done.json"

    @property
    def checkpoint(self) -> Path:
        """Where the host will leave its last one."""
        if self.toolbox is not None:
            return toolbox_checkpoint(self.toolbox, self.config, self.folder)
        return last_checkpoint(self.folder, self.config)

    def task(self, name: str, needs: tuple[str, ...]) -> Task:
        return Task(name, train, self, self.done, self.about, needs)


@dataclass(frozen=True)
class Embedding:
    """Embeddings of the test sequences, which several tests share.

    Args:
        training: of the system.
        config: the host's, whose ``evaluator_cfg`` and ``data_cfg`` decide.
        file: .npz to write.
        about: what they are made of.
    """

    training: Training
    config: Config
    file: Path
    about: Mapping[str, Any]

    @property
    def done(self) -> Path:
        return self.file.with_suffix(".json")

    def task(self, name: str, needs: tuple[str, ...]) -> Task:
        return Task(name, embed, self, self.done, self.about, needs, passing=True)


@dataclass(frozen=True)
class Testing:
    """A trained system under a condition.

    Args:
        system, condition: of the cell.
        config: the host's, whose ``evaluator_cfg`` and ``data_cfg`` decide.
        training: of the system.
        cell: the file to write.
        about: what the cell is made of.
        embeddings: what an :class:`Embedding` has written with ``config``; None: embed here.
        gallery: another, whose gallery sequences stand in for those of ``embeddings`` (occluded probes before a whole
            gallery).
        ranks: which of a cross-view protocol to report; empty: the protocol's own.
        seed: of the cell, where it is of something else that was trained; None: the training's.
        metrics: that tables and claims name; one that a toolbox's log does not is no number, which fails nothing.
        save: leave the result beside the cell.
    """

    __test__ = False  # no test class, whatever pytest thinks

    system: str
    condition: str
    config: Config
    training: Training
    cell: Path
    about: Mapping[str, Any]
    embeddings: Path | None = None
    gallery: Path | None = None
    ranks: tuple[int, ...] = ()
    seed: int | None = None
    metrics: tuple[str, ...] = ()
    save: bool = False

    @property
    def saved(self) -> Path | None:
        """Where the result is left; None: nowhere."""
        return self.cell.with_suffix(".npz") if self.save else None

    @property
    def cell_seed(self) -> int:
        return self.training.seed if self.seed is None else self.seed

    def task(self, needs: tuple[str, ...]) -> Task:
        name = f"test {self.system}@{self.condition}, seed {self.cell_seed}"
        return Task(name, test, self, self.cell, self.about, needs, beside=self.saved)


def host_name(running: Running, toolbox: Path | None = None) -> str:
    """What tells hosts apart, whose numbers are not one system's; ``toolbox``: the one that trains, if another."""
    toolbox = toolbox or running.toolbox
    return "embedded" if toolbox is None else toolbox.name


def run_folder(running: Running, system: str, about: Mapping[str, Any]) -> Path:
    """Where a training stands: beside the other seeds of what it is made of."""
    return running.out / "runs" / f"{system}-{digest_of(seedless(about))}" / f"seed-{about['seed']}"


def cell_file(running: Running, system: str, condition: str, seed: int, about: Mapping[str, Any]) -> Path:
    """Where a cell stands: in a folder that tells what it is made of, so that other settings do not replace it."""
    made = digest_of({**about, "trained": seedless(about["trained"])})
    return running.out / "cells" / f"{system}@{condition.replace('/', '-')}-{made}" / f"seed-{seed}.json"


def train(training: Training) -> None:
    """Train, or go on where a killed training stopped."""
    if training.toolbox is not None:
        found = toolbox_train(training.toolbox, training.config, training.folder, training.device)
        finish(training.done, training.about, checkpoint=str(found))
        return
    begun = any(training.checkpoint.parent.glob("*.pt"))
    with _mended_by_deleting(training, training.config):
        result = standalone.train(
            training.config,
            device=training.device,
            output=training.folder,
            seed=training.seed,
            resume=begun,
            quiet=True,
        )
    relative = result.checkpoint.relative_to(training.folder)
    finish(training.done, training.about, checkpoint=str(relative), seconds=round(result.seconds, 1))


def checkpoint_of(trained: Path) -> Path:
    """The checkpoint that a training's done.json names."""
    try:
        name = json.loads(trained.read_text(encoding="utf-8"))["checkpoint"]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"names no checkpoint ({error!r})", where=trained, how="delete it: it is made again") from error
    path = trained.parent / name
    if not path.is_file():
        raise DataError("the checkpoint is gone", where=path, how=f"delete {trained}, and it is trained again")
    return path


def embed(embedding: Embedding) -> None:
    """Write embeddings for tests."""
    _embed(embedding.config, embedding.training, embedding.file)
    finish(embedding.done, embedding.about)


def test(testing: Testing) -> None:
    """Embed the test sequences, unless that is done; evaluate them, and write the cell.

    Where a toolbox tests, the cell's scalars are the toolbox's; the embedded host embeds with the same weights for the
    identities' own numbers, where it knows protocol and model: of a toolbox's own model there are none.
    """
    training, scalars = testing.training, {}
    people: dict[str, dict[str, float]] = {}
    if training.toolbox is not None:
        folder, checkpoint = testing.cell.parent / testing.cell.stem, checkpoint_of(training.done)
        scalars = toolbox_test(training.toolbox, testing.config, checkpoint, folder, training.device, testing.saved)
    known = dataset_of(testing.config) in (*PROTOCOLS, "PsyMo", "CCPG") and not training.is_theirs
    if training.toolbox is None or known:
        try:
            ours, people = evaluate(_embeddings(testing).data(), testing.config, testing.ranks)
            scalars = {**ours, **scalars}
        except GaitextError as error:
            if training.toolbox is None:
                raise
            log.warning("%s@%s: no numbers of identities: %s", testing.system, testing.condition, error)
    for name in (f"mean@R{rank}".removesuffix("@R1") for rank in testing.ranks):
        scalars.setdefault(name, math.nan)  # a toolbox may not report it
    if training.is_theirs and (silent := [name for name in testing.metrics if name not in scalars]):
        log.warning("%s@%s: the toolbox's log does not name %s", testing.system, testing.condition, ", ".join(silent))
        scalars |= dict.fromkeys(silent, math.nan)
    cell = Cell(testing.system, testing.condition, testing.cell_seed, scalars, people)
    cell.write(testing.cell, **plain(testing.about))


def _embeddings(testing: Testing) -> Saved:
    """What is evaluated; it is left beside the cell where that is asked for."""
    file = testing.embeddings or testing.cell.with_suffix(".npz")
    theirs = testing.save and testing.training.toolbox is not None  # the toolbox has left its own there
    if testing.embeddings is None and not theirs:
        _embed(testing.config, testing.training, file)
    found = _read(file)
    if testing.embeddings is None and not testing.save:
        file.unlink()
    if testing.gallery is not None:
        found = with_gallery_of(found, _read(testing.gallery), testing.config)
    if testing.saved is not None and not theirs:
        cell = {"system": testing.system, "condition": testing.condition, "seed": testing.cell_seed}
        write_saved(testing.saved, found.data(), paths=found.paths, about={**found.about, "study": cell})
    return found


def _embed(config: Config, training: Training, file: Path) -> None:
    config = copy.deepcopy(config)
    config["evaluator_cfg"]["sampler"]["batch_size"] = 8  # packed; it does not change results
    file.parent.mkdir(parents=True, exist_ok=True)
    with _mended_by_deleting(training, config):
        standalone.test(
            config,
            checkpoint=checkpoint_of(training.done),
            device=training.device,
            output=file.parent,
            save_embeddings=file,
            quiet=True,
        )


@contextlib.contextmanager
def _mended_by_deleting(training: Training, config: Config) -> Iterator[None]:
    """What was made once is damaged or gone: say what to delete, so that it is made again."""
    data, out = Path(config["data_cfg"]["dataset_root"]), training.folder.parents[2]
    if not data.is_dir():
        own = out / "data"
        how = f"delete {own}/*.json, and they are made again" if data.is_relative_to(own) else "mend the study's `data`"
        raise DataError("the data are gone", where=data, how=how)
    try:
        yield
    except CheckpointError as error:
        file, runs = Path(error.where or "."), out / "runs"
        if not file.is_relative_to(runs):
            raise
        made = runs.joinpath(*file.relative_to(runs).parts[:2])  # which may be of a training before
        raise CheckpointError(error.what, where=file, how=f"delete {made}, and it is trained again") from error


def _read(file: Path) -> Saved:
    try:
        return read_saved(file)
    except DataError as error:
        how = f"delete {file.with_suffix('.json')}: they are made again"
        raise DataError(error.what, where=file, how=how) from error
