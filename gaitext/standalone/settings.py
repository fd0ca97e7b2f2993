"""A toolbox's YAML as typed settings, with OpenGait's defaults."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from gaitext.config import Settings, load_yaml, naming_file, need
from gaitext.errors import ConfigError, suggest
from gaitext.toolboxes.validate import check_shape, validate_config
from gaitext.training.sampling import FrameSampling

log = logging.getLogger(__name__)


class DataSettings(Settings):
    """``data_cfg``: where the sequences are.

    Attributes:
        dataset_name: names the folder that runs are kept in; a test chooses its protocol by it.
        dataset_root: the folder of ``<id>/<type>/<view>``.
        dataset_partition: the json with ``TRAIN_SET`` and ``TEST_SET``.
        num_workers: processes that read data; 0 reads in the training's own.
        data_in_use: which files of a leaf are read, in the order of their names: a switch for each, or their numbers.
            None: all.
        cache: read all frames into memory, once.
        test_dataset_name: the data set that is tested, where it is another; it chooses the protocol then.
        remove_no_gallery: for some toolboxes; it has no effect here, as in OpenGait.
        frame_threshold: as ``remove_no_gallery``.
    """

    dataset_name: str
    dataset_root: Path
    dataset_partition: Path
    num_workers: int = Field(0, ge=0)
    data_in_use: tuple[bool, ...] | tuple[int, ...] | None = None
    cache: bool = False
    test_dataset_name: str | None = None
    remove_no_gallery: bool = False
    frame_threshold: int = 0


class SamplerSettings(Settings):
    """``sampler``: which sequences, and which of their frames.

    Attributes:
        type: ``TripletSampler``, or one of gaitext's; ``InferenceSampler`` in a test.
        batch_size: ``[P, K]``: P identities with K sequences each. A number in a test.
        batch_shuffle: mix a batch's sequences, which decides what goes to which process.
        seed: added to the run's seed.
        repeats: condition -> how often its sequences count, for the sampler that takes it.
        sample_type: ``fixed_…`` takes ``frames_num_fixed`` frames of a sequence, ``unfixed_…`` a number drawn between
            ``frames_num_min`` and ``frames_num_max``, ``all_…`` all. ``…_ordered`` takes them in order, ``…_unordered``
            at random.
        frames_num_fixed: needed by ``fixed_…``.
        frames_num_min: needed by ``unfixed_…``.
        frames_num_max: needed by ``unfixed_…``, inclusive.
        frames_skip_num: needed by ``fixed_ordered`` and ``unfixed_ordered``: the window they are taken from has so many
            more frames than are wanted.
        frames_all_limit: with ``all_…``, so many frames from the start; -1 takes all.
    """

    type: str
    batch_size: int | tuple[int, int]
    batch_shuffle: bool = False
    seed: int = 0
    repeats: dict[str, int] | None = None
    sample_type: str = "all_ordered"
    frames_num_fixed: int | None = None
    frames_num_min: int | None = None
    frames_num_max: int | None = None
    frames_skip_num: int | None = None
    frames_all_limit: int = -1

    @property
    def frames(self) -> FrameSampling:
        return FrameSampling(
            self.sample_type,  # type: ignore[arg-type]  # checked there, with a hint
            self.frames_num_fixed,
            self.frames_num_min,
            self.frames_num_max,
            self.frames_skip_num,
            self.frames_all_limit,
        )


class TrainerSettings(Settings):
    """``trainer_cfg``: the training phase.

    Attributes:
        sampler: what a batch is.
        transform: a list of transforms for each input.
        save_name: of the run's folder.
        total_iter: iterations in all.
        log_iter: iterations between two lines of the log.
        save_iter: iterations between two checkpoints.
        restore_hint: a number goes on at that iteration of the run; a path starts from that checkpoint's weights; 0
            starts anew.
        restore_ckpt_strict: every weight of the model must be in the checkpoint, and no other.
        optimizer_reset: start the optimizer anew.
        scheduler_reset: start the schedule anew.
        enable_float16: mixed precision on a GPU; it has no effect on a CPU.
        find_unused_parameters: for networks of whose weights some take no part in a step, over several processes.
        fix_BN: keep BatchNorms' statistics as they are.
        sync_BN: share BatchNorms' statistics between GPUs.
        with_test: test at every checkpoint.
    """

    sampler: SamplerSettings
    transform: Any = None
    save_name: str
    total_iter: int = Field(80000, ge=1)
    log_iter: int = Field(100, ge=1)
    save_iter: int = Field(2000, ge=1)
    restore_hint: int | str = 0
    restore_ckpt_strict: bool = True
    optimizer_reset: bool = False
    scheduler_reset: bool = False
    enable_float16: bool = True
    find_unused_parameters: bool = False
    fix_BN: bool = False
    sync_BN: bool = False
    with_test: bool = False


class EvaluatorSettings(Settings):
    """``evaluator_cfg``: the test phase. What is not named here are the eval_func's arguments.

    Attributes:
        sampler: which frames of a sequence are tested.
        transform: a list of transforms for each input.
        save_name: of the folder of the run that is tested; None: the training's.
        restore_hint: the checkpoint: an iteration of the run, or a path. None: the run's latest.
        restore_ckpt_strict: every weight of the model must be in the checkpoint, and no other.
        enable_float16: mixed precision on a GPU.
        eval_func: the protocol.
        save_embeddings: the result file that a test leaves (:func:`gaitext.evaluation.write_saved`); None: none.
    """

    sampler: SamplerSettings = SamplerSettings(type="InferenceSampler", batch_size=1)
    transform: Any = None
    save_name: str | None = None
    restore_hint: int | str | None = None
    restore_ckpt_strict: bool = True
    enable_float16: bool = False
    eval_func: str = "evaluate_indoor_dataset"
    save_embeddings: str | None = None


class FabricSettings(Settings):
    """``fabric_cfg``: what only the embedded host reads; the toolboxes ignore the section.

    Attributes:
        precision: None: what ``enable_float16`` says on a GPU, full precision on a CPU.
        check: how well data are checked before training; see :func:`gaitext.standalone.check_data`.
        allow_missing: identities of the partition may have no folder (the toolboxes skip them silently).
        tensorboard: write TensorBoard's log.
    """

    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = None
    check: Literal["auto", "tail", "full", "none"] = "auto"
    allow_missing: bool = False
    tensorboard: bool = True


_SECTIONS = (
    "data_cfg",
    "evaluator_cfg",
    "fabric_cfg",
    "loss_cfg",
    "model_cfg",
    "optimizer_cfg",
    "scheduler_cfg",
    "trainer_cfg",
)
_SAMPLER: dict[str, Any] = {"type": "TripletSampler", "batch_size": (8, 16)}
_LOSS: dict[str, Any] = {"type": "TripletLoss", "log_prefix": "triplet"}
_OPTIMIZER: dict[str, Any] = {"solver": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4}
_SCHEDULER: dict[str, Any] = {"scheduler": "MultiStepLR", "gamma": 0.1, "milestones": [20000, 40000, 60000]}


@dataclass(frozen=True)
class HostConfig:
    """A whole config. :meth:`read` makes one from a YAML file or a dict."""

    data: DataSettings
    trainer: TrainerSettings
    evaluator: EvaluatorSettings
    fabric: FabricSettings
    model: dict[str, Any]
    losses: list[dict[str, Any]]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    #: Arguments of the evaluation function.
    evaluation: dict[str, Any]
    #: The whole, as it was read.
    sections: Mapping[str, Any]

    @classmethod
    def read(cls, config: str | Path | Mapping[str, Any]) -> HostConfig:
        """Read and check a config.

        Raises:
            ConfigError: naming what is unknown, missing or wrong, and the nearest valid name.
        """
        if isinstance(config, Mapping):
            return cls.of(config)
        return cls.of(load_yaml(config), where=str(config))

    @classmethod
    def checked(cls, config: str | Path | Mapping[str, Any], *, training: bool, world_size: int) -> HostConfig:
        """:meth:`read`, and everything that :func:`validate_config` finds before a model is built.

        Raises:
            ConfigError: naming the key, the place and the nearest valid name.
            DataError: the partition is missing or wrong.
        """
        with naming_file(config):
            sections, where = (
                (config, "the config") if isinstance(config, Mapping) else (load_yaml(config), str(config))
            )
            host = cls.of(sections, where=where)
            optional: dict[str, Any] = {"evaluator_cfg": {}} if training else {"evaluator_cfg": {}, "trainer_cfg": {}}
            for remark in validate_config(
                {**optional, "loss_cfg": host.losses, **sections}, training, world_size=world_size
            ):
                log.warning(remark)
        return host

    @classmethod
    def of(cls, sections: Mapping[str, Any], *, where: str = "the config") -> HostConfig:
        """Check a config's sections; ``where`` names them in errors."""
        for name in sections:
            if name not in _SECTIONS:
                raise ConfigError(f"unknown section '{name}'", where=where, how=suggest(name, _SECTIONS))
        check_shape(sections)
        model = need(sections, "model_cfg", where=where)
        need(model, "model", where="model_cfg")
        evaluator = dict(sections.get("evaluator_cfg") or {})
        own = {key: evaluator.pop(key) for key in list(evaluator) if key in EvaluatorSettings.model_fields}
        if evaluator.pop("cross_view_gallery", False):
            raise ConfigError(
                "the embedded host has no cross-view gallery protocol",
                where="evaluator_cfg.cross_view_gallery",
                how="set it to false, or evaluate with OpenGait",
            )
        if "repeats" in (own.get("sampler") or {}):
            raise ConfigError(
                "a test draws nothing, so nothing repeats",
                where="evaluator_cfg.sampler.repeats",
                how="leave it out",
            )
        # A config that only tests needs no trainer_cfg; `train` asks for it.
        trainer_cfg = sections.get("trainer_cfg") or {"save_name": own.get("save_name", "tmp"), "sampler": _SAMPLER}
        trainer = TrainerSettings.parse(trainer_cfg, where="trainer_cfg")
        losses = sections.get("loss_cfg") or _LOSS
        return cls(
            data=DataSettings.parse(need(sections, "data_cfg", where=where), where="data_cfg"),
            trainer=trainer,
            evaluator=EvaluatorSettings.parse(own, where="evaluator_cfg"),
            fabric=FabricSettings.parse(sections.get("fabric_cfg"), where="fabric_cfg"),
            model=dict(model),
            losses=[dict(losses)] if isinstance(losses, Mapping) else [dict(loss) for loss in losses],
            optimizer=_defaulted(sections.get("optimizer_cfg") or {}, _OPTIMIZER, "solver"),
            scheduler=_defaulted(sections.get("scheduler_cfg") or {}, _SCHEDULER, "scheduler"),
            evaluation=evaluator,
            sections=sections,
        )

    def folder(self, output: str | Path, *, training: bool) -> Path:
        """``<output>/<dataset>/<model>/<save_name>``, where the toolboxes put a run."""
        name = self.trainer.save_name if training else self.evaluator.save_name or self.trainer.save_name
        return Path(output) / self.data.dataset_name / str(self.model["model"]) / name


def _defaulted(given: Mapping[str, Any], default: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Complete ``given`` by OpenGait's default.yaml where both name the same class."""
    return {**default, **given} if given.get(name, default[name]) == default[name] else dict(given)
