"""What a study of RG-Gait says and trains: its YAML, and its systems' configs, made of the three stages'.

A system that is adapted to a new occlusion begins with the weights of one that was trained before.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator

from gaitext.checkpoints import read_state_dict
from gaitext.config import Settings, need
from gaitext.errors import ConfigError
from gaitext.occlusion import OcclusionSettings, OcclusionType
from gaitext.studies.scoring import Config
from gaitext.studies.settings import StudySettings, repeated
from gaitext.studies.tasks import Task
from gaitext.studies.training import Training, checkpoint_of, train
from gaitext.training.runs import read_checkpoint, write_checkpoint

#: The condition of whole walkers.
UNOCCLUDED = "unoccluded"
#: The condition of the release's evaluation.
RELEASE = "release"

TableName = Literal["retention", "ablation", "generalisation"]
Occluded = Literal["probes", "all"]
_TABLES: tuple[TableName, ...] = ("retention", "ablation", "generalisation")


class StageConfigs(Settings):
    """Configs of the three stages: files, relative to the study's.

    Attributes:
        oem: stage 1, ``RGGaitOEM``.
        gse: stage 2, the signature extractor.
        rg_gait: stage 3, ``RGGait``.
    """

    oem: str
    gse: str
    rg_gait: str


class AdaptationSettings(Settings):
    """How long a system is trained on with a new occlusion; None: as long as before.

    Attributes:
        oem_iterations: of the occlusion evaluator.
        iterations: of recognition.
    """

    oem_iterations: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1)] | None = None


class ReleaseSettings(Settings):
    """How RG-Gait's release evaluates: some sequences, probes and gallery alike, have lost their top or bottom.

    Attributes:
        probability: of a sequence's being occluded; its configs for Gait3D have 1.
        rows: bounds of the share that is hidden; its configs for Gait3D have [0.4, 0.6].
    """

    probability: Annotated[float, Field(ge=0, le=1)] = 0.5
    rows: tuple[float, float] = (0.1, 0.6)

    @model_validator(mode="after")
    def _drawable(self) -> ReleaseSettings:
        OcclusionSettings.parse({"types": self.types, "rows": self.rows}, where="release")
        return self

    @property
    def types(self) -> dict[str, float]:
        return dict.fromkeys(("top", "bottom"), self.probability / 2)


class RGGaitStudySettings(StudySettings):
    """A study of kind ``rg-gait``.

    Attributes:
        stages: the three configs. Their checkpoints' places and ``save_name`` are the study's own.
        occlusions: to test under, one at a time: every test sequence has it. ``unoccluded`` is tested in any case.
        seen: of them, those in training; others are unseen. The ablation's numbers are their mean.
        new: of the unseen ones, those to adapt to.
        occluded: at test, the ``probes`` alone, before a gallery of whole walkers, or ``all`` sequences, each by an
            occlusion of its own; with several, there is a table of each. The poster is silent. A toolbox knows ``all``
            only.
        release: the release's way to evaluate, the condition ``release``; None: leave it out.
        mimicgait_labels: of MimicGait's loss: ``identity``, or ``instance`` ("intra only").
        options: other settings of test occlusions, such as ``rows``; None: stage 3's of training.
        test_seed: of the occlusions at test, the same for every system and seed.
        transform: the transform that occludes, put behind the configs' own.
        adaptation: see there.
        standard: which of the poster's tables to make; in the YAML their names stand in ``tables``, beside tables of
            one's own. They decide what is trained and tested.
    """

    stages: StageConfigs
    occlusions: tuple[OcclusionType, ...] = ("top", "bottom", "middle", "dynamic", "pole")
    seen: tuple[OcclusionType, ...] = Field(("top", "bottom"), min_length=1)
    new: tuple[OcclusionType, ...] = ("middle", "dynamic")
    occluded: tuple[Occluded, ...] = Field(("probes", "all"), min_length=1)
    release: ReleaseSettings | None = ReleaseSettings()
    mimicgait_labels: Literal["identity", "instance"] = "identity"
    options: dict[str, Any] | None = None
    test_seed: Annotated[int, Field(ge=0)] = 0
    transform: Literal["OcclusionSilhouettes", "OcclusionHeatmaps", "OcclusionPoses"] = "OcclusionSilhouettes"
    adaptation: AdaptationSettings = AdaptationSettings()
    standard: tuple[TableName, ...] = Field(_TABLES, min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _split(cls, values: Any) -> Any:
        """Tables by name apart from the others."""
        tables = values.get("tables") if isinstance(values, Mapping) else None
        if isinstance(tables, (list, tuple)):
            named = [table for table in tables if isinstance(table, str)]
            values = {**values, "standard": named, "tables": [t for t in tables if not isinstance(t, str)]}
        return values

    @model_validator(mode="after")
    def _consistent(self) -> RGGaitStudySettings:
        for name, chosen in (("seen", self.seen), ("new", self.new)):
            if not set(chosen) <= set(self.occlusions):
                raise ValueError(f"{name}: names an occlusion that occlusions does not")
        if set(self.seen) & set(self.new):
            raise ValueError("new: an occlusion that is seen in training is not new")
        if "generalisation" in self.standard and not self.new:
            raise ValueError("new: the table 'generalisation' is of new occlusions, and there are none")
        for name in ("occlusions", "seen", "new", "occluded", "standard"):
            if repeated(getattr(self, name)):
                raise ValueError(f"{'tables' if name == 'standard' else name}: one is there twice")
        return self

    @property
    def unseen(self) -> tuple[OcclusionType, ...]:
        """Occlusions to test under that are not in training."""
        return tuple(name for name in self.occlusions if name not in self.seen)


#: What is left out of the whole system. The poster's ablation begins with ``gse`` (its Baseline-1), which is no
#: system of stage 3; ``frn`` is all three switches off. Without the residual W begins at random, as with ``zero``
#: all embeddings would be alike.
_NO_RESIDUAL: Config = {"residual": False, "adaptive": False, "mix_init": "xavier"}
ABLATION: dict[str, Config] = {
    "frn": {**_NO_RESIDUAL, "occlusion_aware": False},
    "residual": {"adaptive": False, "occlusion_aware": False},
    "aware": {"adaptive": False},
    "adaptive": {"occlusion_aware": False},
}
#: The poster's "Occ Aware", W[FRN(x); o] alone.
_OCC_AWARE: Config = _NO_RESIDUAL
#: What MimicGait takes over from stage 3's ``model_cfg``, and its loss.
_MIMICGAIT_KEYS = ("gse", "oem", "init_from_gse", "occlusion", "inputs")
_MIMICGAIT_LOSS: list[Config] = [
    {"type": "AllTripletsLoss", "log_prefix": "triplet", "loss_term_weight": 1.0, "margin": 0.2}
]


class Systems:
    """``oem``, ``gse``, ``finetuned``, ``occ_aware``, ``mimicgait``, ``rg_gait``, those of :data:`ABLATION`, and
    ``<system>+<occlusion>`` for one trained on with a new occlusion.

    Args:
        settings: of the study.
        stages: the contents of the three configs.

    Raises:
        ConfigError: one of them is not a config of its stage.
    """

    def __init__(self, settings: RGGaitStudySettings, stages: Mapping[str, Config]) -> None:
        for name, stage in stages.items():
            _check_stage(name, stage)
        self.settings, self.stages = settings, stages
        self.trained_on = OcclusionSettings.parse(
            stages["rg_gait"]["model_cfg"].get("occlusion", {}).get("train", {}), where="occlusion.train"
        )

    def begins_with(self, system: str) -> tuple[str, ...]:
        """Systems of the same seed whose checkpoints a system's training begins with."""
        base, _, occlusion = system.partition("+")
        if occlusion:
            return (base,) if base in ("oem", "finetuned") else (base, f"oem+{occlusion}")
        return {"oem": (), "gse": (), "finetuned": ("gse",)}.get(base, ("gse", "oem"))

    def config(self, system: str) -> Config:
        """The config that trains a system, without the checkpoints that it begins with."""
        base, _, occlusion = system.partition("+")
        if occlusion:
            return self._adapted(base, occlusion)
        if base in ("oem", "gse"):
            return self._named(self.stages[base], system)
        if base == "finetuned":
            return self._finetuned(system, self._train_types())
        config = self._named(self.stages["rg_gait"], system)
        if base == "mimicgait":  # other losses and no classifier, the rest like RG-Gait
            theirs = config["model_cfg"]
            kept = {key: theirs[key] for key in _MIMICGAIT_KEYS if key in theirs}
            config["model_cfg"] = {"model": "MimicGait", **kept, "labels": self.settings.mimicgait_labels}
            config["loss_cfg"] = copy.deepcopy(_MIMICGAIT_LOSS)
        model = config["model_cfg"]
        model.update(_OCC_AWARE if base == "occ_aware" else ABLATION.get(base, {}))
        for part in ("gse", "oem"):
            model.setdefault(part, {}).pop("checkpoint", None)
        return config

    def with_checkpoints(self, system: str, checkpoints: Mapping[str, Path], start: Path) -> Config:
        """:meth:`config` with the checkpoints in it that it :meth:`begins_with`; an adapted evaluator or whole system
        begins with ``start``.
        """
        config = self.config(system)
        base, _, occlusion = system.partition("+")
        if occlusion and base != "finetuned":
            _begin_from(config, start)
        elif base == "finetuned":
            _begin_from(config, checkpoints[self.begins_with(system)[0]])
        elif base not in ("oem", "gse"):
            for part in ("gse", "oem"):
                config["model_cfg"][part]["checkpoint"] = str(checkpoints[part])
        return config

    def occluded(self, config: Config, occlusion: str) -> Config:
        """A system's config that occludes at test."""
        config = copy.deepcopy(config)
        evaluator, seed, release = config["evaluator_cfg"], self.settings.test_seed, self.settings.release
        if occlusion == RELEASE and release is not None:
            self._append(evaluator, release.types, seed, rows=list(release.rows))
        elif occlusion != UNOCCLUDED:
            self._append(evaluator, {occlusion: 1.0}, seed)
        return config

    def _adapted(self, base: str, occlusion: str) -> Config:
        """Trained on with a new occlusion, which takes an equal share beside those of before."""
        system = f"{base}+{occlusion}"
        types, longer = self._train_types(occlusion), self.settings.adaptation
        if base == "finetuned":
            return _shortened(self._finetuned(system, types), longer.iterations)
        config = self._named(self.config(base), system)
        model = config["model_cfg"]
        if base == "oem":
            model["types"] = [*model.get("types", ("none", "top", "bottom")), occlusion]
            extended = 1 / len(model["types"])
            model.setdefault("occlusion", {}).setdefault("train", {"rows": [0.4, 0.6]})
            model["occlusion"]["train"]["types"] = {t: extended for t in model["types"] if t != "none"}
            return _shortened(config, longer.oem_iterations)
        model["oem"]["types"] = self.config(f"oem+{occlusion}")["model_cfg"]["types"]
        model.setdefault("occlusion", {}).setdefault("train", {})["types"] = types
        return _shortened(config, longer.iterations)

    def _finetuned(self, system: str, types: Config) -> Config:
        """The signature extractor trained on under stage 3's occlusions, rates and iterations."""
        config = self._named(self.stages["gse"], system)
        for section in ("optimizer_cfg", "scheduler_cfg"):
            config[section] = copy.deepcopy(self.stages["rg_gait"][section])
        for key in ("total_iter", "save_iter", "sampler"):
            config["trainer_cfg"][key] = copy.deepcopy(self.stages["rg_gait"]["trainer_cfg"][key])
        sampler = config["trainer_cfg"]["sampler"]
        # With unfixed_ a transform gets all sequences as one, and would occlude them alike.
        sampler["sample_type"] = str(sampler["sample_type"]).replace("unfixed_", "fixed_")
        self._append(config["trainer_cfg"], types, None)
        return config

    def _train_types(self, new: str | None = None) -> Config:
        """Probabilities of the occlusions in training; a new one shares what is occluded evenly."""
        types: Config = {str(name): share for name, share in self.trained_on.types.items()}
        if new is None:
            return types
        return {name: sum(types.values()) / (len(types) + 1) for name in (*types, new)}

    def _named(self, config: Config, system: str) -> Config:
        config = copy.deepcopy(config)
        for section in ("trainer_cfg", "evaluator_cfg"):
            config[section]["save_name"] = system.replace("+", "_")
        return config

    def _append(self, section: Config, types: Config, seed: int | None, **over: Any) -> None:
        """Put the occluding transform behind a section's own; ``over`` is laid over its options."""
        options = self.settings.options
        if options is None or seed is None:
            options = self.trained_on.model_dump(mode="json", exclude={"types", "seed"})
        if self.settings.transform == "OcclusionPoses":
            options = {key: value for key, value in options.items() if key != "resize_visible"}
        last = {"type": self.settings.transform, **options, **over, "types": types}
        if seed is not None:
            last["seed"] = seed
        own = section["transform"]
        if len(own) != 1:
            raise ConfigError(
                f"there are {len(own)} lists of transforms, one for each input; the study occludes one",
                where="transform",
                how="study a model of one input",
            )
        first = own[0]
        steps = first if isinstance(first, list) else first["trf_cfg"] if first["type"] == "Compose" else [first]
        section["transform"] = [{"type": "Compose", "trf_cfg": [*copy.deepcopy(steps), last]}]


#: What the study takes from each stage's config, or writes into it.
_SECTIONS = ("data_cfg", "model_cfg", "trainer_cfg", "evaluator_cfg")
_OF_LAST = ("optimizer_cfg", "scheduler_cfg")
_MODELS = {"oem": "RGGaitOEM", "rg_gait": "RGGait"}


def _check_stage(name: str, stage: Config) -> None:
    where = f"stages.{name}"
    for section in (*_SECTIONS, *(_OF_LAST if name == "rg_gait" else ())):
        if not isinstance(found := need(stage, section, where=where), Mapping):
            raise ConfigError(f"holds {found!r}, not keys and values", where=f"{where}: {section}")
    for key in ("total_iter", "save_iter", "sampler") if name == "rg_gait" else ():
        need(stage["trainer_cfg"], key, where=f"{where}: trainer_cfg")
    for section in ("trainer_cfg", "evaluator_cfg"):
        need(stage[section], "transform", where=f"{where}: {section}")
    model = need(stage["model_cfg"], "model", where=f"{where}: model_cfg")
    if _MODELS.get(name, model) != model or (name not in _MODELS and model in _MODELS.values()):
        wanted = _MODELS.get(name, "a signature extractor")
        raise ConfigError(f"trains {model}, not {wanted}", where=where, how=f"name the config of {wanted}")


def _begin_from(config: Config, start: Path) -> None:
    """Train on from a checkpoint's weights, with everything else new."""
    config["trainer_cfg"].update(
        restore_hint=str(start), restore_ckpt_strict=True, optimizer_reset=True, scheduler_reset=True
    )


def _shortened(config: Config, iterations: int | None) -> Config:
    """The config with so many iterations, its schedule in proportion; None leaves it as it is."""
    if iterations is not None:
        trainer, schedule = config["trainer_cfg"], config["scheduler_cfg"]
        share = iterations / trainer["total_iter"]
        trainer.update(total_iter=iterations, save_iter=iterations)
        if "milestones" in schedule:
            schedule["milestones"] = [max(1, round(step * share)) for step in schedule["milestones"]]
    return config


Weights = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Adaptation:
    """A training that goes on from a trained system's weights.

    Args:
        training: whose config begins at :func:`start_file`.
        base: done.json of the trained system.
        evaluator: done.json of the adapted evaluator, for a whole system; None: ``base`` is an evaluator.
    """

    training: Training
    base: Path
    evaluator: Path | None = None

    def task(self, name: str, needs: tuple[str, ...]) -> Task:
        return Task(name, adapt, self, self.training.done, self.training.about, needs)


def start_file(folder: Path) -> Path:
    """Where the weights lie that an adapted training begins with, in its folder."""
    return folder / "start.pt"


def adapt(adaptation: Adaptation) -> None:
    """Write what the training begins with, and train.

    The evaluator's type head is given a class more, whose logit begins at 0; a whole system is given the evaluator that
    has been trained on with it.
    """
    weights = read_weights(checkpoint_of(adaptation.base))
    if adaptation.evaluator is None:
        for end in ("type_head.weight", "type_head.bias"):
            key = next(key for key in weights if key.endswith(end))
            weights[key] = torch.cat((weights[key], torch.zeros_like(weights[key][:1])))
    else:
        prefix = next(key for key in weights if "occlusion_evaluator." in key).partition("occlusion_evaluator.")[0]
        for key, value in read_weights(checkpoint_of(adaptation.evaluator)).items():
            weights[f"{prefix}occlusion_evaluator.{key.removeprefix('network.')}"] = value
    write_checkpoint(start_file(adaptation.training.folder), {"model": weights, "iteration": 0})
    train(adaptation.training)


def read_weights(path: Path) -> Weights:
    """A host's checkpoint's weights, under the host's names."""
    return read_state_dict(read_checkpoint(path), path)
