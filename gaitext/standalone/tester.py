"""The test phase: embed every test sequence, then evaluate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from gaitext.config import naming_file
from gaitext.errors import CheckpointError, ConfigError, DataError
from gaitext.evaluation import (
    FUNCTIONS,
    EvaluationResult,
    check_saved_path,
    check_table_path,
    on_device,
    write_saved,
)
from gaitext.evaluation.origin import origin, protocol_of
from gaitext.execution import progress
from gaitext.standalone.building import EmbeddedModel, build_model, load_weights
from gaitext.standalone.check import check_leaves, evaluation_function
from gaitext.standalone.data import SequenceDataset, build_chains, find_leaves, loader
from gaitext.standalone.settings import HostConfig
from gaitext.training.launch import launch, process_count, resolve_device, resolve_precision
from gaitext.training.runs import checkpoint_path, latest_checkpoint, read_checkpoint

log = logging.getLogger(__name__)

#: Those that read embeddings, labels, types and views only, and so can be rehearsed.
_REHEARSABLE = frozenset(FUNCTIONS.values())
#: So many identities' sequences rehearse an evaluation.
_REHEARSED = 50


@dataclass(frozen=True)
class TestResult:
    """What a test run found.

    Args:
        evaluation: what ``eval_func`` returned.
        checkpoint: the weights that were tested.
        sequences: how many sequences were embedded.
        embeddings: where they were saved, if they were.
    """

    __test__ = False  # no test class, whatever pytest thinks

    evaluation: EvaluationResult | Any
    checkpoint: Path
    sequences: int
    embeddings: Path | None = None

    def __str__(self) -> str:
        return str(self.evaluation)


def run_test(
    config: str | Path | Mapping[str, Any],
    *,
    iteration: int | None = None,
    checkpoint: str | Path | None = None,
    save_embeddings: str | Path | None = None,
    table: str | Path | None = None,
    device: str = "cpu",
    devices: int = 1,
    precision: str | None = None,
    output: str | Path = "output",
    seed: int = 0,
    quiet: bool = False,
) -> TestResult:
    """Test a model as ``evaluator_cfg`` says.

    ``evaluator_cfg.sampler.batch_size`` is the number of sequences packed together, over all
    processes. Results do not depend on it, as models are right for packed sequences.

    Args:
        config: a YAML file, or its contents.
        iteration: which of the run's checkpoints.
        checkpoint: a checkpoint anywhere: the embedded host's, a toolbox's, or a published one.
            Without either, ``evaluator_cfg.restore_hint``; without that, the run's latest.
        save_embeddings: the ``.npz`` to write the result to (:class:`~gaitext.evaluation.Saved`: embeddings, labels,
            types, views, paths, and what made them), instead of ``evaluator_cfg.save_embeddings``.
        table: a .md, .csv or .json to write the result to, instead of ``evaluator_cfg.table``.
        device, devices, precision, output, quiet: as for :func:`~gaitext.standalone.train`.
        seed: decides which frames a ``fixed_…`` test takes; ``all_…`` draws nothing.

    Raises:
        ConfigError: the config is wrong.
        DataError: data are missing or damaged, or ``save_embeddings`` cannot be written.
        CheckpointError: no checkpoint, or one of another model.
        MissingDependencyError: lightning is not installed.
    """
    if iteration is not None and checkpoint is not None:
        raise ConfigError(
            f"both an iteration ({iteration}) and a checkpoint ({checkpoint}) are given",
            where="checkpoint",
            how="give one: --iter takes the run's own, --checkpoint any file",
        )
    saved = None if save_embeddings is None else check_saved_path(save_embeddings)
    host = HostConfig.checked(config, training=False, world_size=process_count(devices))
    if table is not None:
        host = replace(host, evaluation={**host.evaluation, "table": str(table)})
    with naming_file(config):
        evaluation_function(host)
    device = resolve_device(device)
    chosen = resolve_precision(precision, host.fabric.precision, host.evaluator.enable_float16, device)
    path = _which(host, Path(output), iteration, checkpoint)
    dataset = testing_set(host, seed)
    check_test(host, dataset)
    if saved is None and host.evaluator.save_embeddings is not None:
        saved = Path(host.evaluator.save_embeddings)
    data, reached = launch(_test, host, path, dataset, quiet, device=device, devices=devices, precision=chosen)
    if saved is not None:
        saved = save(host, data, dataset, saved, path, reached, seed)
    with on_device(device):
        return TestResult(evaluate(host, data), path, len(dataset), saved)


def _which(host: HostConfig, output: Path, iteration: int | None, checkpoint: str | Path | None) -> Path:
    hint = checkpoint if checkpoint is not None else iteration
    if hint is None:
        hint = host.evaluator.restore_hint
    if isinstance(hint, (str, Path)):
        return Path(hint)
    folder = host.folder(output, training=False)
    path = latest_checkpoint(folder) if hint is None else checkpoint_path(folder, hint)
    if path is None:
        raise CheckpointError("has no checkpoint", where=folder, how="train first, or name one")
    return path


def testing_set(host: HostConfig, seed: int) -> SequenceDataset:
    """The test set, in the order in which it is embedded."""
    found = find_leaves(host.data, training=False, allow_missing=host.fabric.allow_missing)
    chains = build_chains(host.evaluator.transform, where="evaluator_cfg.transform")
    return SequenceDataset(found, host.data, host.evaluator.sampler.frames, chains, seed)


def check_test(host: HostConfig, dataset: SequenceDataset) -> None:
    """Find before anything runs what would stop a test at its end.

    The evaluation is rehearsed with made-up embeddings of the test set's labels, types and views.

    Raises:
        ConfigError: the evaluation function, its arguments, its dataset or the batch size is wrong.
        DataError: files are damaged, or no probe has a gallery.
    """
    function, _ = evaluation_function(host)
    _pack(host)
    if host.fabric.check != "none":
        check_leaves(dataset.leaves, host.data, "tail").raise_problems()
    if function not in _REHEARSABLE:
        return  # a registered one may read more than embeddings
    some = set(dataset.label_set[:_REHEARSED])
    chosen = [i for i, label in enumerate(dataset.label_list) if label in some]
    names = {"labels": dataset.label_list, "types": dataset.types_list, "views": dataset.views_list}
    data: dict[str, Any] = {key: [values[i] for i in chosen] for key, values in names.items()}
    data["embeddings"] = np.random.default_rng(0).normal(size=(len(chosen), 2, 1)).astype(np.float32)
    check_table_path(host.evaluation.get("table"))
    rehearsed = {key: value for key, value in host.evaluation.items() if key != "table"}
    try:
        evaluate(replace(host, evaluation=rehearsed), data)
    except DataError:
        if len(some) == len(dataset.label_set):
            raise  # otherwise the identities left out may bring what is missing


def _pack(host: HostConfig) -> int:
    size = host.evaluator.sampler.batch_size
    if not isinstance(size, int) or size < 1:
        raise ConfigError(f"batch_size is {size}", where="evaluator_cfg.sampler", how="give one number for the test")
    return size


def _test(
    fabric: Any, host: HostConfig, path: Path, dataset: SequenceDataset, quiet: bool
) -> tuple[dict[str, Any], int | None]:
    """:func:`embed`'s data, and the iteration that the checkpoint names."""
    model = build_model(host.model, fresh=False)
    loaded = read_checkpoint(path)
    load_weights(model, path, loaded, strict=host.evaluator.restore_ckpt_strict)
    reached = loaded.get("iteration")
    data = embed(fabric, model.to(fabric.device), host, dataset, quiet=quiet)
    return data, reached if isinstance(reached, int) else None


def embed(
    fabric: Any, model: EmbeddedModel, host: HostConfig, dataset: SequenceDataset, *, quiet: bool
) -> dict[str, Any]:
    """Run the model on all sequences, shared out among the processes.

    Returns:
        A toolbox's evaluation data: each entry of ``inference_feat`` as an array [n, …] in the
        dataset's order, and the lists ``labels`` (identities), ``types`` and ``views``.
    """
    pack = max(1, _pack(host) // fabric.world_size)
    packs = [range(start, min(start + pack, len(dataset))) for start in range(0, len(dataset), pack)]
    share = range(fabric.global_rank, len(packs), fabric.world_size)
    collected: dict[str, list[np.ndarray[Any, Any]]] = {}
    indices: list[int] = []
    model.eval()
    with torch.no_grad(), progress("testing", len(share), quiet=quiet or fabric.global_rank > 0) as update:
        for done, batch in enumerate(loader(dataset, packs.__getitem__, share, fabric.device), start=1):
            with fabric.autocast():
                features = model(batch.inputs(fabric.device))["inference_feat"]
            for name, value in features.items():
                collected.setdefault(name, []).append(value.float().cpu().numpy())
            indices += batch.indices
            update(done)
    part = (indices, {name: np.concatenate(arrays) for name, arrays in collected.items()})
    parts: list[Any] = [part]
    if fabric.world_size > 1:
        parts = [None] * fabric.world_size
        dist.all_gather_object(parts, part)
        parts = [p for p in parts if p[0]]
    order = np.argsort(np.concatenate([np.asarray(p[0]) for p in parts]))
    data: dict[str, Any] = {name: np.concatenate([p[1][name] for p in parts])[order] for name in parts[0][1]}
    return {**data, "labels": dataset.label_list, "types": dataset.types_list, "views": dataset.views_list}


def evaluate(host: HostConfig, data: dict[str, Any]) -> Any:
    """Call the config's evaluation function on :func:`embed`'s data."""
    function, arguments = evaluation_function(host)
    return function(data, _dataset_name(host), **arguments)


def save(
    host: HostConfig,
    data: Mapping[str, Any],
    dataset: SequenceDataset,
    path: str | Path,
    checkpoint: Path,
    iteration: int | None,
    seed: int,
) -> Path:
    """Write :func:`embed`'s data and what made them to a result file; returns its path."""
    function, arguments = evaluation_function(host)
    protocol = protocol_of(function, host.evaluator.eval_func, _dataset_name(host), arguments)
    about = origin("embedded", host.sections, protocol, checkpoint=checkpoint, iteration=iteration, seed=seed)
    return write_saved(path, data, paths=[leaf.path.absolute() for leaf in dataset.leaves], about=about)


def _dataset_name(host: HostConfig) -> str:
    return host.data.test_dataset_name or host.data.dataset_name
