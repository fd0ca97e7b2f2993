"""RG-Gait's extractor and its twin, tried out before anything is trained: on the run's own data where there are any."""

from __future__ import annotations

import copy
import importlib
import logging
import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gaitext.errors import ConfigError, GaitextError
from gaitext.models.occluded_inputs import InputKind, check_kinds, input_kinds
from gaitext.models.rg_gait_settings import RGGaitSettings
from gaitext.models.signature import SignatureExtractor, freeze_unused
from gaitext.store import Leaf, choose, read_partition
from gaitext.toolboxes.adapter import Host, HostInputs
from gaitext.toolboxes.borrowed import ToolboxSignature, quiet_randomness, reason

log = logging.getLogger("gaitext")

#: Tried in turn where nobody says what a model's frames look like.
_SHAPES: tuple[tuple[tuple[int, ...], ...], ...] = (
    ((64, 44),),
    ((64, 64),),
    ((1, 64, 44),),
    ((2, 64, 44),),
    ((3, 64, 44),),
    ((17, 64, 48),),
    ((17, 3),),
)
#: Frames of a sequence that are tried: enough for temporal windows of 3.
_FRAMES = 6
_SEQUENCES = 2


@dataclass(frozen=True)
class Rehearsed:
    """What the run at the start tells.

    Attributes:
        shape: (c, p) of the embeddings.
        kinds: what the inputs show; None: to be told from each batch's shapes.
    """

    shape: tuple[int, int]
    kinds: list[InputKind] | None


def rehearse(
    settings: RGGaitSettings,
    gse: SignatureExtractor,
    frn: SignatureExtractor,
    host: Host,
    shapes: Sequence[Sequence[int]] | None,
    *,
    system: str,
) -> Rehearsed:
    """Run a small batch where the model will live: sizes, and the twin's weights without a part in them, now frozen.

    Args:
        settings, gse, frn, host: of the system that is being built.
        shapes: of one frame of each input, if known; else the host's own data are tried, and then
            the usual shapes.
        system: the name of the model that is being built, for the log.

    Raises:
        ConfigError: the model cannot be used, and why.
    """
    name = str(settings.gse.model_cfg["model"])
    sample = host.sample(gse)
    kinds: list[InputKind] | None = None
    if sample is not None:
        frames = [tuple(sequence.shape[2:]) for sequence in sample.sequences]
        try:
            kinds = input_kinds(sample.sequences, settings.inputs, values=True, raw=sample.raw)
        except ConfigError as error:
            raise ConfigError(f"for {name}: {error.what}", where=error.where, how=error.how) from error
        check_kinds(kinds, frames, judged=settings.needs_evaluator, name=name)
    failures: list[str] = []
    with quiet_randomness():
        try:
            for what, batch in _batches(sample, shapes):
                moved = replace(
                    batch,
                    sequences=[sequence.to(host.device) for sequence in batch.sequences],
                    labels=batch.labels.to(host.device),
                )
                try:
                    shape = _try(gse.to(host.device), frn.to(host.device), moved, host, system)
                except ConfigError:
                    raise
                except Exception as error:  # whatever a model says of frames that it is not made for
                    failures.append(f"{what}: {reason(error)}")
                    continue
                return Rehearsed(shape, kinds)
        finally:
            gse.to("cpu")
            frn.to("cpu")
    began = getattr(gse.network, "_init_failed", None)
    if began:
        failures.append(f"its __init__ did not get through, either: {began}")
    raise ConfigError(
        f"{name} cannot be run on {host.device.type}, on {'; '.join(failures)}",
        where="model_cfg.gse",
        how="give it the data_in_use and transforms of its stage 2"
        if sample is not None
        else "give the shape of one frame of each of its inputs as gse.input_shapes, such as [[64, 44]]",
    )


def _batches(sample: HostInputs | None, shapes: Sequence[Sequence[int]] | None) -> Iterator[tuple[str, HostInputs]]:
    if shapes is not None:
        yield f"made-up frames {[list(s) for s in shapes]}", _made_up(shapes)
    elif sample is not None:
        frames = [list(sequence.shape[2:]) for sequence in sample.sequences]
        yield f"the dataset's frames {frames}", sample
    else:
        for usual in _SHAPES:
            yield f"made-up frames {[list(s) for s in usual]}", _made_up(usual)


def _made_up(shapes: Sequence[Sequence[int]]) -> HostInputs:
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.rand(2, _FRAMES, *shape, generator=generator) for shape in shapes]
    return HostInputs(sequences, torch.zeros(2, dtype=torch.int64), ["nm-01"] * 2, ["000"] * 2, None)


def _try(
    gse: SignatureExtractor, frn: SignatureExtractor, batch: HostInputs, host: Host, system: str
) -> tuple[int, int]:
    shape, frozen = freeze_unused(frn, batch)
    if not any(weight.requires_grad for weight in frn.parameters()):
        # The model compares by a part of itself that it never trains, such as a moving average of another.
        frn.requires_grad_(True)
        shape, frozen = freeze_unused(frn, batch)
    if frozen:
        host.say(f"{system}: {len(frozen)} weights of the FRN have no part in its embeddings: {', '.join(frozen)}")
    if isinstance(gse, ToolboxSignature):
        norm = gse.normalised_by(batch)
        if norm is not None:
            raise ConfigError(
                f"{gse.name}'s embeddings at test come out of its BatchNorm '{norm}', and not from before a BNNeck",
                where="model_cfg.gse.model_cfg.model",
                how="choose a model whose BNNeck is a SeparateBNNecks, or none",
            )
        if host.packs:
            gse.check_packs(batch)
    return shape


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
        files = [file[:_FRAMES] for file in files]
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
        [sequence[:, :_FRAMES].float().cpu() for sequence in sequences],
        torch.zeros(_SEQUENCES, dtype=torch.int64),
        [leaf.type] * _SEQUENCES,
        [leaf.view] * _SEQUENCES,
        None,
        prepared=own is not None,
        raw=[np.asarray(file[0]).shape for file in files] if own is None else None,
    )
