"""Leaves a toolbox's test results in a file: ``evaluator_cfg.save_embeddings``, whatever model and ``eval_func``."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gaitext.evaluation.origin import commit_of, origin, protocol_of
from gaitext.evaluation.saved import check_saved_path, write_saved
from gaitext.toolboxes.toolbox import Toolbox
from gaitext.training.runs import checkpoint_path

#: Attribute of an ``inference`` that saves.
_SAVES = "__gaitext_saves__"


def save_results(base: type, toolbox: Toolbox) -> None:
    """Let all models of a toolbox save what their tests find, where the config says so.

    Both toolboxes' tests call ``inference``, which every model has from ``BaseModel``, on all ranks, and evaluate what
    rank 0 has of it with the labels of ``test_loader.dataset`` (docs/toolbox-contract.md, "Evaluation"). So does this.

    Args:
        base: the toolbox's ``BaseModel``.
    """
    inner: Callable[..., Any] | None = getattr(base, "inference", None)
    if inner is None or getattr(inner, _SAVES, False):
        return

    @functools.wraps(inner)
    def inference(self: Any, rank: int) -> Any:
        given = self.cfgs["evaluator_cfg"].get("save_embeddings")
        if given is None:
            return inner(self, rank)
        path = check_saved_path(given)
        found = inner(self, rank)
        if rank == 0:
            dataset = self.test_loader.dataset
            names = {"labels": dataset.label_list, "types": dataset.types_list, "views": dataset.views_list}
            paths = [Path(files[0]).absolute().parent if files else "" for *_, files in dataset.seqs_info]
            write_saved(path, {**found, **names}, paths=paths, about=_about(self, toolbox))
            self.msg_mgr.log_info(f"embeddings in {path}")
        return found

    setattr(inference, _SAVES, True)
    base.inference = inference  # type: ignore[attr-defined]


def _about(model: Any, toolbox: Toolbox) -> dict[str, Any]:
    config, evaluator = model.cfgs, model.cfgs["evaluator_cfg"]
    data = config["data_cfg"]
    data = data if isinstance(data, Mapping) else data[0]  # OpenGait's models of several datasets
    name = str(evaluator.get("eval_func", "identification"))
    module = importlib.import_module("evaluation.evaluator")
    function = getattr(module, name)
    taken = {key: evaluator[key] for key in inspect.getfullargspec(function)[0] if key in evaluator}
    protocol = protocol_of(function, name, str(data.get("test_dataset_name") or data["dataset_name"]), taken)
    checkpoint, iteration = _weights(model)
    commit = commit_of(Path(module.__file__ or "").absolute())
    return origin(
        toolbox.name,
        config,
        protocol,
        checkpoint=checkpoint,
        iteration=iteration,
        seed=None,
        **{toolbox.name: commit},
    )


def _weights(model: Any) -> tuple[Path | None, int | None]:
    """The checkpoint that is tested, and its iteration: a training's own, just written, or what was restored."""
    engine = model.engine_cfg
    hint = engine["restore_hint"] if engine is model.cfgs["evaluator_cfg"] else model.iteration
    if isinstance(hint, int):
        return (checkpoint_path(Path(model.save_path), hint), hint) if hint else (None, None)
    return Path(hint), None
