"""RG-Gait's tables for any config: retention, the poster's ablation, generalisation and adaptation.

python tools/rg_gait_study.py configs/rg-gait/study_walkers.yaml --out study

The YAML names the three stages' configs and what to do with them (:class:`StudySettings`). A study
is made of trainings (a system and a seed) and of cells (a trained system under one occlusion).
What ``--out`` holds already is not done again, so a study that was killed goes on, and seeds,
occlusions and tables can be added to it later. With other stage configs the folder is refused.

Tables lie in ``--out`` as .md, .csv and .json. With ``--toolbox ROOT`` a linked toolbox trains
and tests, through ``gaitext run``; its seed is its own, so there is one.
"""

from __future__ import annotations

import argparse
import copy
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator
from rg_gait_study_hosts import Embedded, StudyHost, Toolbox
from rg_gait_study_starts import add_class, begin_from, read_weights, replace_evaluator, shortened
from rg_gait_study_tables import Cells, ablation, generalisation, retention, write_table

from gaitext.config import Settings, load_yaml
from gaitext.errors import ConfigError
from gaitext.occlusion import OcclusionSettings, OcclusionType
from gaitext.store import atomic_path, write_json

__all__ = ["Study", "StudySettings", "main"]

Config = dict[str, Any]
TableName = Literal["retention", "ablation", "generalisation"]
_TABLES: dict[str, Callable[..., Any]] = {
    "retention": retention,
    "ablation": ablation,
    "generalisation": generalisation,
}

#: The poster's ablation, and how we read it; ``residual: false`` is our guess at its first row.
ABLATION: dict[str, Config] = {
    "none": {"residual": False, "adaptive": False, "occlusion_aware": False},
    "residual": {"adaptive": False, "occlusion_aware": False},
    "aware": {"adaptive": False},
    "adaptive": {"occlusion_aware": False},
}


class StageConfigs(Settings):
    """Files, relative to the study's: stage 1 (``RGGaitOEM``), 2 (the signature extractor), 3 (``RGGait``)."""

    oem: str
    gse: str
    rg_gait: str


class AdaptationSettings(Settings):
    """How long evaluator and recognition are trained on with a new occlusion; None: as long as before."""

    oem_iterations: Annotated[int, Field(ge=1)] | None = None
    iterations: Annotated[int, Field(ge=1)] | None = None


class StudySettings(Settings):
    """What a study does.

    Attributes:
        stages: the three configs. Their checkpoints' places and ``save_name`` are the study's own.
        seeds: of the trainings; all stages of a seed belong together.
        occlusions: to test under, one at a time: every test sequence has it. ``unoccluded`` is
            tested in any case.
        seen: of them, those in training; others are unseen. The ablation's numbers are their mean.
        new: of the unseen ones, those to adapt to.
        occluded: at test, the ``probes`` alone, before a gallery of whole walkers, or ``all`` sequences,
            each by an occlusion of its own; with several, there is a table of each. The poster is
            silent. A toolbox knows ``all`` only.
        options: other settings of test occlusions, such as ``rows``; None: stage 3's of training.
        test_seed: of the occlusions at test, the same for every system and seed.
        transform: the transform that occludes, put behind the configs' own.
        tables: which to make.
        adaptation: see there.
    """

    stages: StageConfigs
    seeds: tuple[int, ...] = Field((0, 1, 2), min_length=1)
    occlusions: tuple[OcclusionType, ...] = ("top", "bottom", "middle", "dynamic", "pole")
    seen: tuple[OcclusionType, ...] = ("top", "bottom")
    new: tuple[OcclusionType, ...] = ("middle", "dynamic")
    occluded: tuple[Literal["probes", "all"], ...] = Field(("probes", "all"), min_length=1)
    options: dict[str, Any] | None = None
    test_seed: Annotated[int, Field(ge=0)] = 0
    transform: Literal["OcclusionSilhouettes", "OcclusionHeatmaps", "OcclusionPoses"] = "OcclusionSilhouettes"
    tables: tuple[TableName, ...] = ("retention", "ablation", "generalisation")
    adaptation: AdaptationSettings = AdaptationSettings()

    @model_validator(mode="after")
    def _consistent(self) -> StudySettings:
        for name, chosen in (("seen", self.seen), ("new", self.new)):
            if not set(chosen) <= set(self.occlusions):
                raise ValueError(f"{name}: names an occlusion that occlusions does not")
        if set(self.seen) & set(self.new):
            raise ValueError("new: an occlusion that is seen in training is not new")
        return self


class Study:
    """Trainings and cells of a study, made when they are asked for and not there yet.

    Args:
        settings: what to do.
        stages: the contents of the three configs.
        host: who trains and tests.
        out: the study's folder.
    """

    def __init__(self, settings: StudySettings, stages: dict[str, Config], host: StudyHost, out: Path) -> None:
        self.settings, self.stages, self.host, self.out = settings, stages, host, out
        fixed = {
            "stages": stages,
            **settings.model_dump(mode="json", include={"options", "test_seed", "transform", "adaptation"}),
        }
        known = out / "study.json"
        if known.exists() and json.loads(known.read_text(encoding="utf-8")) != fixed:
            raise ConfigError("holds another study", where=out, how="choose another --out")
        write_json(known, fixed)
        self.trained_on = OcclusionSettings.parse(
            stages["rg_gait"]["model_cfg"].get("occlusion", {}).get("train", {}), where="occlusion.train"
        )

    # Trainings -----------------------------------------------------------------------------------

    def checkpoint(self, system: str, seed: int) -> Path:
        """Of a trained system; trains it, and what it begins from, if need be.

        Systems: ``oem``, ``gse``, ``finetuned``, ``rg_gait``, those of :data:`ABLATION`, and
        ``<system>+<occlusion>`` for one trained on with a new occlusion.
        """
        return self.host.train(self.config(system, seed), seed)

    def config(self, system: str, seed: int) -> Config:
        """The training config of a system."""
        base, _, occlusion = system.partition("+")
        if occlusion:
            return self._adapted(base, occlusion, seed)
        if base in ("oem", "gse"):
            return self._named(self.stages[base], system, seed)
        if base == "finetuned":
            return self._finetuned(system, seed, self.checkpoint("gse", seed), self._train_types())
        config = self._named(self.stages["rg_gait"], system, seed)
        model = config["model_cfg"]
        model.update(ABLATION.get(base, {}))
        model["gse"]["checkpoint"] = str(self.checkpoint("gse", seed))
        model["oem"]["checkpoint"] = str(self.checkpoint("oem", seed))
        return config

    def _adapted(self, base: str, occlusion: str, seed: int) -> Config:
        """Trained on with a new occlusion, which takes an equal share beside those of before."""
        types = self._train_types(occlusion)
        longer = self.settings.adaptation
        if base == "finetuned":
            config = self._finetuned(f"{base}+{occlusion}", seed, self.checkpoint(base, seed), types)
            return shortened(config, longer.iterations)
        config = self._named(self.config(base, seed), f"{base}+{occlusion}", seed)
        weights = read_weights(self.checkpoint(base, seed))
        model = config["model_cfg"]
        if base == "oem":
            model["types"] = [*model.get("types", ("none", "top", "bottom")), occlusion]
            extended = 1 / len(model["types"])
            model.setdefault("occlusion", {}).setdefault("train", {"rows": [0.4, 0.6]})
            model["occlusion"]["train"]["types"] = {t: extended for t in model["types"] if t != "none"}
            add_class(weights)
        else:
            evaluator = self.config(f"oem+{occlusion}", seed)["model_cfg"]
            model["oem"]["types"] = evaluator["types"]
            model.setdefault("occlusion", {}).setdefault("train", {})["types"] = types
            replace_evaluator(weights, read_weights(self.checkpoint(f"oem+{occlusion}", seed)))
        start = self.out / "begun" / f"{base}+{occlusion}-{seed}.pt"
        start.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(start) as temporary:
            torch.save({"model": weights, "iteration": 0}, temporary)
        begin_from(config, start)
        return shortened(config, longer.oem_iterations if base == "oem" else longer.iterations)

    def _finetuned(self, system: str, seed: int, start: Path, types: Config) -> Config:
        """The signature extractor trained on under stage 3's occlusions, rates and iterations."""
        config = self._named(self.stages["gse"], system, seed)
        for section in ("optimizer_cfg", "scheduler_cfg"):
            config[section] = copy.deepcopy(self.stages["rg_gait"][section])
        for key in ("total_iter", "save_iter", "sampler"):
            config["trainer_cfg"][key] = copy.deepcopy(self.stages["rg_gait"]["trainer_cfg"][key])
        sampler = config["trainer_cfg"]["sampler"]
        # With unfixed_ a transform gets all sequences as one, and would occlude them alike.
        sampler["sample_type"] = str(sampler["sample_type"]).replace("unfixed_", "fixed_")
        begin_from(config, start)
        self._append(config["trainer_cfg"], types, None)
        return config

    def _train_types(self, new: str | None = None) -> Config:
        """Probabilities of the occlusions in training; a new one shares what is occluded evenly."""
        types = dict(self.trained_on.types)
        if new is None:
            return types
        return {name: sum(types.values()) / (len(types) + 1) for name in (*types, new)}

    def _named(self, config: Config, system: str, seed: int) -> Config:
        config = copy.deepcopy(config)
        name = f"{system.replace('+', '_')}-{seed}"
        for section in ("trainer_cfg", "evaluator_cfg"):
            config[section]["save_name"] = name
        return config

    def _append(self, section: Config, types: Config, seed: int | None) -> None:
        """Put the occluding transform behind a section's own."""
        options = self.settings.options
        if options is None or seed is None:
            options = self.trained_on.model_dump(mode="json", exclude={"types", "seed"})
        if self.settings.transform == "OcclusionPoses":
            options = {key: value for key, value in options.items() if key != "resize_visible"}
        last = {"type": self.settings.transform, **options, "types": types}
        if seed is not None:
            last["seed"] = seed
        own = section["transform"]
        steps = own[0]["trf_cfg"] if len(own) == 1 and own[0]["type"] == "Compose" else own
        section["transform"] = [{"type": "Compose", "trf_cfg": [*copy.deepcopy(steps), last]}]

    # Cells ---------------------------------------------------------------------------------------

    def cell(self, system: str, occlusion: str, seed: int) -> dict[str, float]:
        """Rank-1 and rank-5 in percent of a system under an occlusion: ``all rank-1``, ``probes rank-1``, …"""
        path = self.out / "cells" / f"seed-{seed}" / f"{system}.{occlusion}.json"
        if path.exists():
            found: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
            return found
        config = self.config(system, seed)
        checkpoint = self.host.train(config, seed)
        tested = copy.deepcopy(config)
        if occlusion != "unoccluded":
            self._append(tested["evaluator_cfg"], {occlusion: 1.0}, self.settings.test_seed)
        numbers = self.host.test(tested, checkpoint, seed, clean=config)
        write_json(path, numbers)
        said = "  ".join(f"{k} {v:.2f}" for k, v in numbers.items())
        print(f"seed {seed}  {system:20} {occlusion:12} {said}", flush=True)  # noqa: T201
        return numbers

    def cells(self, system: str, occlusion: str, occluded: str, seeds: Sequence[int]) -> list[dict[str, float]]:
        """Rank-1 and rank-5 of each seed."""
        found = [self.cell(system, occlusion, seed) for seed in seeds]
        return [{rank: cell[f"{occluded} {rank}"] for rank in ("rank-1", "rank-5")} for cell in found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="YAML of StudySettings")
    parser.add_argument("--out", type=Path, required=True, help="the study's folder")
    parser.add_argument("--seeds", help="comma-separated, instead of the YAML's")
    parser.add_argument("--tables", help="comma-separated, of retention, ablation, generalisation")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--toolbox", type=Path, help="root of a linked toolbox that trains and tests")
    chosen = parser.parse_args()
    values = load_yaml(chosen.study)
    if chosen.seeds is not None:
        values["seeds"] = [int(seed) for seed in chosen.seeds.split(",")]
    if chosen.tables is not None:
        values["tables"] = chosen.tables.split(",")
    settings = StudySettings.parse(values, where=str(chosen.study))
    stages = {
        name: load_yaml(chosen.study.parent / file) for name, file in settings.stages.model_dump(mode="json").items()
    }
    host: StudyHost = Embedded(chosen.out / "runs", chosen.device)
    if chosen.toolbox is not None:
        if len(settings.seeds) > 1 or settings.occluded != ("all",):
            raise ConfigError(
                "a toolbox sets its own seed, and keeps its embeddings to itself",
                where="seeds, occluded",
                how="name one seed (--seeds 0), and `occluded: [all]`",
            )
        host = Toolbox(chosen.toolbox, chosen.out, chosen.device)
    study = Study(settings, stages, host, chosen.out)
    for name in settings.tables:
        for seed in settings.seeds:  # one after another, so that a study that is stopped has whole seeds
            _TABLES[name](settings, partial(study.cells, occluded=settings.occluded[0], seeds=[seed]))
        for occluded in settings.occluded:
            cells: Cells = partial(study.cells, occluded=occluded, seeds=settings.seeds)
            path = chosen.out / f"{name}_{occluded}"
            write_table(_TABLES[name](settings, cells), path, occluded)
            print(path.with_suffix(".md").read_text(encoding="utf-8"))  # noqa: T201


if __name__ == "__main__":
    main()
