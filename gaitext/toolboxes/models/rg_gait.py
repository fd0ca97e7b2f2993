"""RG-Gait's stage 3 in the hosts: residual correction over any of the host's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.errors import CheckpointError, ConfigError
from gaitext.models.heads import BNNeck
from gaitext.models.occluded_inputs import InputKind, input_kinds, occlude_inputs
from gaitext.models.occluding import draw_by_key, draw_in_training
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.packing import sequence_lengths
from gaitext.models.rg_gait import RGGait
from gaitext.models.rg_gait_settings import MimicGaitSettings, RGGaitSettings
from gaitext.models.signature import SignatureExtractor
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ListedTransform, ModelAdapter
from gaitext.toolboxes.models.rg_gait_oem import detached, sequence_keys
from gaitext.toolboxes.rehearsal import rehearse
from gaitext.toolboxes.signatures import OwnHost, ToolboxSignature

__all__ = ["RGGaitAdapter"]


def _settings(model_cfg: Mapping[str, Any]) -> Any:
    own = {key: value for key, value in model_cfg.items() if key != "model"}
    kind = MimicGaitSettings if model_cfg.get("model") == "MimicGait" else RGGaitSettings
    return kind.parse(own, where="model_cfg")


def _own_adapter(settings: Any) -> type[ModelAdapter] | None:
    """The GSE's adapter, if it is one of gaitext's models."""
    from gaitext.toolboxes.parts import MODELS  # parts lists this module's adapter

    return MODELS.get(settings.gse.model_cfg["model"])


class _HostedRGGait(RGGait):
    """The network with the settings of its run."""

    settings: Any
    kinds: list[InputKind] | None


class RGGaitAdapter(ModelAdapter):
    """RG-Gait on the inputs of its signature extractor, ``gse.model_cfg.model``.

    The batch is occluded once; extractor, restoration network and evaluator see the same frames.

    Losses: ``triplet`` on the embeddings and, where there is a BNNeck, ``softmax`` on its logits.
    """

    name = "RGGait"

    @classmethod
    def build(cls, model_cfg: Mapping[str, Any]) -> nn.Module:
        return cls.build_in(model_cfg, OwnHost(fresh=True))

    @classmethod
    def build_in(cls, model_cfg: Mapping[str, Any], host: Host) -> nn.Module:
        settings = _settings(model_cfg)
        where = "model_cfg.gse.model_cfg"
        gse, frn = (host.signature(settings.gse.model_cfg, where=where) for _ in range(2))
        evaluator = OcclusionEvaluator(**settings.oem.sizes) if settings.needs_evaluator else None
        if host.fresh:
            _restore(gse.network, settings.gse.checkpoint, "gse", cls.name, host)
            if settings.init_from_gse:
                frn.load_state_dict(gse.state_dict())
            if evaluator is not None:
                _restore(evaluator, settings.oem.checkpoint, "oem", cls.name, host)
        frn.remove_neck()
        tried = rehearse(settings, gse, frn, host, _known_shapes(settings), system=cls.name)
        network = cls.assemble(settings, gse, evaluator, frn, tried.shape, host)
        network.settings, network.kinds = settings, tried.kinds
        return network

    @classmethod
    def assemble(
        cls,
        settings: Any,
        gse: SignatureExtractor,
        evaluator: OcclusionEvaluator | None,
        frn: SignatureExtractor,
        shape: tuple[int, int],
        host: Host,
    ) -> _HostedRGGait:
        """The network of its parts, which hold the earlier stages' weights where a training begins."""
        return _HostedRGGait(
            gse,
            evaluator,
            frn,
            shape=shape,
            neck=_neck(settings, gse, shape, cls.name, host),
            residual=settings.residual,
            adaptive=settings.adaptive,
            occlusion_aware=settings.occlusion_aware,
            mix_init=settings.mix_init,
            inference=settings.inference,
        )

    @classmethod
    def pretreatment(cls, network: nn.Module) -> Any:
        assert isinstance(network, _HostedRGGait)
        gse = network.gse
        return gse.pretreat if isinstance(gse, ToolboxSignature) and gse.makes_inputs else None

    @classmethod
    def makes_inputs(cls, model_cfg: Mapping[str, Any]) -> bool:
        return _own_adapter(_settings(model_cfg)) is None

    @classmethod
    def class_count(cls, model_cfg: Mapping[str, Any]) -> int | None:
        settings = _settings(model_cfg)
        adapter = _own_adapter(settings)
        if adapter is not None:
            _check_own(adapter, settings.gse.model_cfg)
        classes: int | None = settings.class_num
        return classes

    @classmethod
    def loss_names(cls, model_cfg: Mapping[str, Any]) -> Mapping[str, Sequence[str]] | None:
        settings = _settings(model_cfg)
        triplet, both = {"triplet": ("embeddings", "labels")}, {"softmax": ("logits", "labels")}
        both = {**triplet, **both}
        if settings.neck != "gse":
            return triplet if settings.neck == "none" else both
        adapter = _own_adapter(settings)
        if adapter is None:
            return both if "SeparateBNNecks" in settings.gse.model_cfg else None
        _check_own(adapter, settings.gse.model_cfg)
        fed = adapter.loss_names(settings.gse.model_cfg) or {}
        return both if any(name.endswith("softmax") for name in fed) else triplet

    @classmethod
    def check_transforms(cls, model_cfg: Mapping[str, Any], lists: Sequence[Sequence[ListedTransform]]) -> None:
        settings = _settings(model_cfg)
        if any(transform.name == "PoseToAlignment" for each in lists for transform in each):
            raise ConfigError(
                "alignment matrices of the whole walker would tell what is occluded",
                where="model_cfg.gse.model_cfg.alignment.keypoints",
                how="write heatmaps or poses there, which are occluded like everything else",
            )
        adapter = _own_adapter(settings)
        if adapter is not None:
            adapter.check_transforms(settings.gse.model_cfg, lists)

    @classmethod
    def check_batch(cls, network: nn.Module, inputs: HostInputs) -> None:
        assert isinstance(network, _HostedRGGait)
        adapter = _own_adapter(network.settings)
        if adapter is not None:
            adapter.check_batch(network.gse.network, inputs)

    @classmethod
    def run(cls, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, _HostedRGGait)
        settings, sequences = network.settings, detached(inputs)
        known = network.kinds if network.kinds and len(network.kinds) == len(sequences) else None
        kinds = input_kinds(sequences, settings.inputs or known)
        lengths = sequence_lengths(sequences[0], inputs.lengths, where=cls.name)
        if training:
            drawn = draw_in_training(settings.occlusion.train, len(lengths))
        else:
            drawn = draw_by_key(settings.occlusion.test, sequence_keys(inputs))
        occluded = occlude_inputs(sequences, inputs.lengths, kinds, drawn, judged=settings.needs_evaluator)
        batch = replace(inputs, sequences=occluded.sequences)
        whole = cls.whole(replace(inputs, sequences=sequences), training)
        if isinstance(network.gse, ToolboxSignature):
            batch = network.gse.prepare(batch)  # once for both
            whole = {name: network.gse.prepare(each) for name, each in whole.items()}
        output = network(batch, lengths, frames=occluded.frames, **whole)
        images = {} if occluded.frames is None else {"occluded": occluded.frames[: lengths[0]]}
        if not training:
            return HostOutput({}, {"embeddings": output}, images)
        return HostOutput(cls.losses(network, output, inputs.labels), {}, images)

    @classmethod
    def whole(cls, inputs: HostInputs, training: bool) -> dict[str, HostInputs]:
        """What the network is handed of the batch before its occlusion."""
        return {}

    @classmethod
    def losses(cls, network: _HostedRGGait, output: Any, labels: Tensor) -> dict[str, dict[str, Tensor]]:
        """What the losses are fed of the network's output in training."""
        fed: dict[str, dict[str, Tensor]] = {"triplet": {"embeddings": output.embeddings, "labels": labels}}
        if output.logits is not None:
            fed["softmax"] = {"logits": output.logits, "labels": labels}
        return fed


def _check_own(adapter: type[ModelAdapter], model_cfg: Mapping[str, Any]) -> None:
    """Find what is wrong with an extractor's settings before anything is built."""
    if "signature" not in vars(adapter):
        raise ConfigError(
            f"{adapter.name} has no embeddings that RG-Gait could correct",
            where="model_cfg.gse.model_cfg.model",
            how="choose a model that recognises people",
        )
    try:
        adapter.class_count(model_cfg)  # reads, and so checks, all of it
    except ConfigError as error:
        raise ConfigError(f"in model_cfg.gse: {error.what}", where="model_cfg.gse.model_cfg", how=error.how) from error


def _restore(network: nn.Module, path: str | None, stage: str, system: str, host: Host) -> None:
    meant = f"the checkpoint of stage {'2, the signature extractor' if stage == 'gse' else '1, RGGaitOEM'}"
    if path is None:
        raise ConfigError(
            f"model_cfg.{stage}.checkpoint is not set, and a training begins",
            where=f"model_cfg.{stage}",
            how=f"name {meant}",
        )
    try:
        checkpoints.load(network, path)
    except CheckpointError as error:
        how = "; ".join(filter(None, (f"model_cfg.{stage}.checkpoint is to be {meant}", error.how)))
        raise CheckpointError(error.what, where=error.where, how=how) from error
    host.say(f"{system}: {stage} restored from {path}")


def _known_shapes(settings: RGGaitSettings) -> Sequence[Sequence[int]] | None:
    """Of one frame of each input, if the config or gaitext's own model says it."""
    adapter = _own_adapter(settings)
    if settings.gse.input_shapes is not None or adapter is None:
        return settings.gse.input_shapes
    return adapter.frame_shapes(settings.gse.model_cfg)


def _neck(
    settings: RGGaitSettings, gse: SignatureExtractor, shape: tuple[int, int], system: str, host: Host
) -> nn.Module | None:
    """The BNNeck that training starts from."""
    channels, parts = shape
    if settings.neck != "gse":
        return None if settings.neck == "none" else BNNeck(parts, channels, settings.class_num)
    theirs: Any = gse.neck()
    if theirs is None:
        host.say(f"{system}: the extractor has no BNNeck to take over, so there is the triplet loss alone")
        return None
    own_parts, own_channels, classes = theirs.classifier.shape
    if own_channels != channels or own_parts < parts:
        raise ConfigError(
            f"the extractor's BNNeck takes {own_channels} features of {own_parts} parts, its embeddings have "
            f"{channels} of {parts}",
            where="model_cfg.neck",
            how="write 'new' or 'none'",
        )
    if (own_parts, classes) == (parts, settings.class_num):
        found: nn.Module = theirs
        return found
    if not isinstance(theirs, BNNeck):
        raise ConfigError(
            f"the extractor's head tells {classes} identities apart, class_num is {settings.class_num}",
            where="model_cfg.class_num",
            how="write the same, or model_cfg.neck: new",
        )
    ours = BNNeck(parts, channels, settings.class_num)
    ours.take_norm([(theirs.norm, own_parts)])
    if classes == settings.class_num:
        # SwinGait's BNNeck has a part that its embeddings leave out.
        ours.classifier.data.copy_(theirs.classifier.data[:parts])
    else:
        host.say(
            f"{system}: the extractor tells {classes} identities apart, not {settings.class_num}: a new classifier"
        )
    return ours
