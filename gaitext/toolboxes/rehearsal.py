"""RG-Gait's extractor and its twin, tried out before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from gaitext.errors import ConfigError
from gaitext.models.occluded_inputs import InputKind, check_kinds, input_kinds
from gaitext.models.rg_gait_settings import RGGaitSettings
from gaitext.models.signature import SignatureExtractor, freeze_unused
from gaitext.toolboxes.adapter import Host, HostInputs
from gaitext.toolboxes.borrowed import quiet_randomness, reason
from gaitext.toolboxes.signatures import ToolboxSignature

__all__ = ["Rehearsed", "rehearse"]

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
#: Of a made-up sequence: enough for temporal windows of 3.
_FRAMES = 6


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
