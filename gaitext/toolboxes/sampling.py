"""Two short sequences of a toolbox's dataset, as a run makes them for a model: to try the model out before it runs."""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitext.errors import ConfigError, GaitextError
from gaitext.store import Leaf, choose, read_partition
from gaitext.toolboxes.adapter import HostInputs
from gaitext.toolboxes.borrowed import quiet_randomness, reason
from gaitext.toolboxes.signatures import ToolboxSignature

__all__ = ["sample_batch"]

log = logging.getLogger("gaitext")

#: Frames of a sequence that are tried: enough for temporal windows of 3.
FRAMES = 6
_SEQUENCES = 2


def sample_batch(cfgs: Mapping[str, Any], phase: str, extractor: ToolboxSignature) -> HostInputs | None:
    """The dataset's first sequence, twice, sampled and transformed as the phase says; None: it cannot be read.

    Args:
        cfgs: the run's config; relative paths are relative to where it runs.
        phase: ``trainer_cfg`` or ``evaluator_cfg``.
        extractor: whose own ``inputs_pretreament`` is asked, if it has one.

    Raises:
        ConfigError: another number of transforms than of inputs.
    """
    leaf = _first_leaf(cfgs.get("data_cfg"), phase)
    if leaf is None:
        return None
    with quiet_randomness():
        try:
            return _made(leaf, cfgs, cfgs[phase], extractor)
        except ConfigError:
            raise
        except Exception as error:  # the run will stumble over it, and say it in its own words
            name = (cfgs.get("model_cfg") or {}).get("model", "RGGait")
            log.warning("%s: the first sequence, %s, cannot be tried out: %s", name, leaf.path, reason(error))
            return None


def _first_leaf(data: Any, phase: str) -> Leaf | None:
    if not isinstance(data, Mapping):
        return None
    try:
        train, test = read_partition(str(data.get("dataset_partition")))
        root = Path(str(data.get("dataset_root")))
        wanted = train if phase == "trainer_cfg" else test
        for identity in wanted:
            for view in sorted((root / identity).glob("*/*")):
                if view.is_dir() and any(view.glob("*.pkl")):
                    return Leaf(identity, view.parent.name, view.name, view)
    except (GaitextError, OSError):
        return None
    return None


def _made(leaf: Leaf, cfgs: Mapping[str, Any], engine: Mapping[str, Any], extractor: ToolboxSignature) -> HostInputs:
    # Read as the toolbox will read it a moment later: point clouds are lists, not arrays.
    files = [pickle.loads(file.read_bytes()) for file in choose(leaf.files(), cfgs["data_cfg"].get("data_in_use"))]
    sampler = dict(engine.get("sampler") or {})
    fixed = str(sampler.get("sample_type", "")).startswith("fixed")
    if not fixed:  # packs are tried as fixed batches: whether a model tells them apart is asked elsewhere
        files = [file[:FRAMES] for file in files]
        sampler.update(sample_type="fixed_ordered", frames_num_fixed=len(files[0]), frames_skip_num=0)
    collate = importlib.import_module("data.collate_fn").CollateFn([leaf.identity], sampler)
    of = [leaf.identity, leaf.type, leaf.view]
    batch = collate([(copy.deepcopy(files), of) for _ in range(_SEQUENCES)])
    lists = engine["transform"]
    transforms = importlib.import_module("data.transform").get_transform(lists)

    def base(given: Sequence[Any]) -> tuple[Any, ...]:
        if len(given[0]) != len(transforms):
            raise ConfigError(
                f"{len(transforms)} transforms for {len(given[0])} inputs ({leaf.path})",
                where="transform",
                how="data_cfg.data_in_use must switch on one file for each entry; several for one go into a Compose",
            )
        made = [np.asarray([transform(one) for one in each]) for transform, each in zip(transforms, given[0])]
        return [torch.from_numpy(np.ascontiguousarray(each)).float() for each in made], *given[1:]

    own = extractor.pretreat(batch, base, len(transforms))
    sequences, *_ = base(batch) if own is None else own
    return HostInputs(
        [sequence[:, :FRAMES].float().cpu() for sequence in sequences],
        torch.zeros(_SEQUENCES, dtype=torch.int64),
        [leaf.type] * _SEQUENCES,
        [leaf.view] * _SEQUENCES,
        None,
        prepared=own is not None,
        raw=[np.asarray(file[0]).shape for file in files] if own is None else None,
    )
