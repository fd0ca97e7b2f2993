"""RG-Gait's stage 3 in the hosts: residual correction over any of the host's models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn

from gaitext import checkpoints
from gaitext.config import Settings
from gaitext.errors import CheckpointError, ConfigError, suggest
from gaitext.models.heads import BNNeck
from gaitext.models.occluded_inputs import InputKind, input_kinds, occlude_inputs
from gaitext.models.occluding import draw_by_key, draw_in_training
from gaitext.models.occlusion_evaluator import OcclusionEvaluator
from gaitext.models.packing import sequence_lengths
from gaitext.models.rg_gait import RGGait
from gaitext.models.rg_gait_settings import RGGaitSettings
from gaitext.models.signature import NetworkSignature, SignatureExtractor
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ListedTransform, ModelAdapter
from gaitext.toolboxes.borrowed import ToolboxSignature
from gaitext.toolboxes.models.rg_gait_oem import detached, sequence_keys
from gaitext.toolboxes.rehearsal import rehearse


class _OwnSignature(NetworkSignature):
    """One of gaitext's networks in a host: its adapter knows which inputs it reads."""

    def __init__(self, adapter: ModelAdapter) -> None:
        SignatureExtractor.__init__(self, adapter.build())
        self.adapter = adapter

    def extract(self, inputs: HostInputs, seqL: Any) -> Tensor:
        return self.adapter.signature(self.network, inputs)


class RGGaitAdapter(ModelAdapter):
    """RG-Gait on the inputs of its signature extractor, ``gse.model_cfg.model``.

    The batch is occluded once; extractor, restoration network and evaluator see the same frames.

    Losses: ``triplet`` on the embeddings and, where there is a BNNeck, ``softmax`` on its logits.

    Attributes:
        gse: the extractor's adapter; None: it is a toolbox's model.
        kinds: what the inputs show, as the run at the start tells; None: to be told from each batch's shapes.
    """

    name = "RGGait"
    settings_type: ClassVar[type[Settings]] = RGGaitSettings

    def __init__(
        self, model_cfg: Mapping[str, Any], models: Mapping[str, type[ModelAdapter]] = MappingProxyType({})
    ) -> None:
        super().__init__(model_cfg, models)
        self.gse = _adapter(self.settings.gse.model_cfg, models)
        self.kinds: list[InputKind] | None = None
        self._known_models = sorted(models)

    def build(self, host: Host | None = None) -> nn.Module:
        host = host or Host()
        settings = self.settings
        gse, frn = self._extractor(host), self._extractor(host)
        evaluator = OcclusionEvaluator(**settings.oem.sizes) if settings.needs_evaluator else None
        if host.fresh:
            self._restore(gse.network, settings.gse.checkpoint, "gse", host)
            if settings.init_from_gse:
                frn.load_state_dict(gse.state_dict())
            if evaluator is not None:
                self._restore(evaluator, settings.oem.checkpoint, "oem", host)
        frn.remove_neck()
        shapes = settings.gse.input_shapes
        if shapes is None and self.gse is not None:
            shapes = self.gse.frame_shapes
        tried = rehearse(settings, gse, frn, host, shapes, system=self.name)
        self.kinds = tried.kinds
        return self.assemble(gse, evaluator, frn, tried.shape, host)

    def _extractor(self, host: Host) -> SignatureExtractor:
        if self.gse is not None:
            return _OwnSignature(self.gse)
        model_cfg, where = self.settings.gse.model_cfg, "model_cfg.gse.model_cfg"
        found = host.signature(model_cfg, where=where)
        if found is None:
            raise ConfigError(
                f"no model {model_cfg['model']!r} here, where there are gaitext's own only",
                where=f"{where}.model",
                how=suggest(model_cfg["model"], self._known_models),
            )
        return found

    def _restore(self, network: nn.Module, path: str | None, stage: str, host: Host) -> None:
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
        host.say(f"{self.name}: {stage} restored from {path}")

    def assemble(
        self,
        gse: SignatureExtractor,
        evaluator: OcclusionEvaluator | None,
        frn: SignatureExtractor,
        shape: tuple[int, int],
        host: Host,
    ) -> RGGait:
        """The network of its parts, which hold the earlier stages' weights where a training begins."""
        settings = self.settings
        return RGGait(
            gse,
            evaluator,
            frn,
            shape=shape,
            neck=self._neck(gse, shape, host),
            residual=settings.residual,
            adaptive=settings.adaptive,
            occlusion_aware=settings.occlusion_aware,
            mix_init=settings.mix_init,
            inference=settings.inference,
        )

    def pretreatment(self, network: nn.Module) -> Any:
        assert isinstance(network, RGGait)
        gse = network.gse
        return gse.pretreat if isinstance(gse, ToolboxSignature) and gse.makes_inputs else None

    @property
    def makes_inputs(self) -> bool:
        return self.gse is None

    @property
    def class_count(self) -> int | None:
        classes: int | None = self.settings.class_num
        return classes

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        triplet = {"triplet": ("embeddings", "labels")}
        both = {**triplet, "softmax": ("logits", "labels")}
        if self.settings.neck != "gse":
            return triplet if self.settings.neck == "none" else both
        if self.gse is None:
            return both if "SeparateBNNecks" in self.settings.gse.model_cfg else None
        return both if any(name.endswith("softmax") for name in self.gse.loss_names or ()) else triplet

    def check_transforms(self, lists: Sequence[Sequence[ListedTransform]]) -> None:
        if any(transform.name == "PoseToAlignment" for each in lists for transform in each):
            raise ConfigError(
                "alignment matrices of the whole walker would tell what is occluded",
                where="model_cfg.gse.model_cfg.alignment.keypoints",
                how="write heatmaps or poses there, which are occluded like everything else",
            )
        if self.gse is not None:
            self.gse.check_transforms(lists)

    def check_batch(self, network: nn.Module, inputs: HostInputs) -> None:
        assert isinstance(network, RGGait)
        if self.gse is not None:
            self.gse.check_batch(network.gse.network, inputs)

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, RGGait)
        settings, sequences = self.settings, detached(inputs)
        known = self.kinds if self.kinds and len(self.kinds) == len(sequences) else None
        kinds = input_kinds(sequences, settings.inputs or known)
        lengths = sequence_lengths(sequences[0], inputs.lengths, where=self.name)
        if training:
            drawn = draw_in_training(settings.occlusion.train, len(lengths))
        else:
            drawn = draw_by_key(settings.occlusion.test, sequence_keys(inputs))
        occluded = occlude_inputs(sequences, inputs.lengths, kinds, drawn, judged=settings.needs_evaluator)
        batch = replace(inputs, sequences=occluded.sequences)
        whole = self.whole(replace(inputs, sequences=sequences), training)
        if isinstance(network.gse, ToolboxSignature):
            batch = network.gse.prepare(batch)  # once for both
            whole = {name: network.gse.prepare(each) for name, each in whole.items()}
        output = network(batch, lengths, frames=occluded.frames, **whole)
        images = {} if occluded.frames is None else {"occluded": occluded.frames[: lengths[0]]}
        if not training:
            return HostOutput({}, {"embeddings": output}, images)
        return HostOutput(self.losses(output, inputs.labels), {}, images)

    def whole(self, inputs: HostInputs, training: bool) -> dict[str, HostInputs]:
        """What the network is handed of the batch before its occlusion."""
        return {}

    def losses(self, output: Any, labels: Tensor) -> dict[str, dict[str, Tensor]]:
        """What the losses are fed of the network's output in training."""
        fed: dict[str, dict[str, Tensor]] = {"triplet": {"embeddings": output.embeddings, "labels": labels}}
        if output.logits is not None:
            fed["softmax"] = {"logits": output.logits, "labels": labels}
        return fed

    def _neck(self, gse: SignatureExtractor, shape: tuple[int, int], host: Host) -> nn.Module | None:
        """The BNNeck that training starts from."""
        settings, (channels, parts) = self.settings, shape
        if settings.neck != "gse":
            return None if settings.neck == "none" else BNNeck(parts, channels, settings.class_num)
        theirs: Any = gse.neck()
        if theirs is None:
            host.say(f"{self.name}: the extractor has no BNNeck to take over, so there is the triplet loss alone")
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
            new = f"not {settings.class_num}: a new classifier"
            host.say(f"{self.name}: the extractor tells {classes} identities apart, {new}")
        return ours


def _adapter(model_cfg: Mapping[str, Any], models: Mapping[str, type[ModelAdapter]]) -> ModelAdapter | None:
    """The extractor's adapter, if it is one of gaitext's models; what is wrong with its settings is said now."""
    kind = models.get(model_cfg["model"])
    if kind is None:
        return None
    if kind.signature is ModelAdapter.signature:
        raise ConfigError(
            f"{kind.name} has no embeddings that RG-Gait could correct",
            where="model_cfg.gse.model_cfg.model",
            how="choose a model that recognises people",
        )
    try:
        return kind(model_cfg, models)
    except ConfigError as error:
        raise ConfigError(f"in model_cfg.gse: {error.what}", where="model_cfg.gse.model_cfg", how=error.how) from error
