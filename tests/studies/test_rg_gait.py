"""RG-Gait's study: what trains on what, that nothing is done twice, cells and tables against numbers by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from gaitext.config import load_yaml, merge
from gaitext.errors import ConfigError, DataError
from gaitext.evaluation import evaluate_file, read_saved, write_saved
from gaitext.models import GaitBase, OcclusionEvaluator, RGGait
from gaitext.standalone.data import build_chains
from gaitext.standalone.settings import HostConfig
from gaitext.store import write_json
from gaitext.studies import Cell, Running, parse_study
from gaitext.studies import rg_gait_systems as systems_module
from gaitext.studies import toolbox as toolbox_host
from gaitext.studies import training as embedded_host
from gaitext.studies.cells import WeightedSum, add_cells
from gaitext.studies.rg_gait import RGGaitStudy
from gaitext.studies.scoring import short_numbers
from gaitext.studies.tasks import Task
from gaitext.studies.training import Embedding, Testing, Training

ROOT = Path(__file__).parents[2]
FILES = {"oem": "tiny_oem", "gse": "tiny_gse", "rg_gait": "tiny"}
STAGES = {name: load_yaml(ROOT / f"configs/rg-gait/{file}.yaml") for name, file in FILES.items()}
BASE: dict[str, Any] = {"class_num": 3, "channels": (2, 2, 4, 4), "embedding_size": 4, "bins": 4}


def lay(file: Path, over: dict[str, Any]) -> None:
    file.write_text(yaml.safe_dump(merge(over, load_yaml(file))))


def written(folder: Path, over: dict[str, Any] | None = None, **changes: Any) -> Path:
    """The study's YAML and its stages', with ``over`` laid over each stage's config."""
    for name, stage in STAGES.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(stage))
        lay(folder / f"{name}.yaml", over or {})
    values = {"kind": "rg-gait", "title": "T", "stages": {n: f"{n}.yaml" for n in STAGES}, "seeds": [3, 5], **changes}
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Data that no test reads, for the check of configs."""
    partition = tmp_path / "partition.json"
    write_json(partition, {"TRAIN_SET": ["001"], "TEST_SET": ["002"]})
    for identity in ("001", "002"):
        leaf = tmp_path / "sequences" / identity / "nm-01" / "000"
        leaf.mkdir(parents=True)
        (leaf / "4_silhouettes.pkl").touch()
    return {"data_cfg": {"dataset_root": str(tmp_path / "sequences"), "dataset_partition": str(partition)}}


def tasks_of(path: Path, out: Path, toolbox: Path | None = None) -> dict[str, Task]:
    made = parse_study(path).tasks(Running(out, device="cpu", toolbox=toolbox))
    return {task.name: task for task in made}


def training(tasks: dict[str, Task], system: str, seed: int = 5) -> Training:
    argument = tasks[f"train {system}, seed {seed}"].argument
    found: Training = argument.training if isinstance(argument, systems_module.Adaptation) else argument
    return found


def test_systems_begin_from_their_own_seeds_stages(tmp_path: Path, data: dict[str, Any]) -> None:
    tasks = tasks_of(written(tmp_path, data), tmp_path / "out")
    gse, oem, system = (training(tasks, name) for name in ("gse", "oem", "rg_gait"))
    assert system.config["model_cfg"]["gse"]["checkpoint"] == str(gse.checkpoint)
    assert system.config["model_cfg"]["oem"]["checkpoint"] == str(oem.checkpoint)
    assert "seed-5" in str(gse.checkpoint)
    whole = system.config["model_cfg"]
    assert training(tasks, "aware").config["model_cfg"] == {**whole, "adaptive": False}
    alone = {"residual": False, "adaptive": False, "mix_init": "xavier"}
    assert training(tasks, "occ_aware").config["model_cfg"] == {**whole, **alone}
    assert training(tasks, "frn").config["model_cfg"] == {**whole, **alone, "occlusion_aware": False}
    mimic = training(tasks, "mimicgait").config
    taken = {key: whole[key] for key in ("gse", "oem", "occlusion")}
    assert mimic["model_cfg"] == {"model": "MimicGait", "labels": "identity", **taken}
    (loss,) = mimic["loss_cfg"]
    assert (loss["type"], loss["margin"]) == ("AllTripletsLoss", 0.2)
    assert mimic["optimizer_cfg"] == system.config["optimizer_cfg"]
    intra = tasks_of(written(tmp_path, data, mimicgait_labels="instance"), tmp_path / "out")
    assert training(intra, "mimicgait").config["model_cfg"]["labels"] == "instance"
    assert training(intra, "mimicgait").folder != training(tasks, "mimicgait").folder
    assert training(intra, "rg_gait").folder == training(tasks, "rg_gait").folder
    needs = {name: set(task.needs) for name, task in tasks.items()}
    assert needs["train gse, seed 5"] == set()
    assert needs["train rg_gait, seed 5"] == {"train gse, seed 5", "train oem, seed 5"}
    assert needs["train finetuned, seed 5"] == {"train gse, seed 5"}
    for name in ("rg_gait", "occ_aware", "mimicgait"):
        assert needs[f"train {name}, seed 5"] == {"train gse, seed 5", "train oem, seed 5"}
        assert needs[f"train {name}+middle, seed 5"] == {f"train {name}, seed 5", "train oem+middle, seed 5"}
    assert needs["train finetuned+middle, seed 5"] == {"train finetuned, seed 5"}
    tuned = training(tasks, "finetuned").config
    assert tuned["trainer_cfg"]["restore_hint"] == str(gse.checkpoint)
    assert tuned["optimizer_cfg"] == STAGES["rg_gait"]["optimizer_cfg"]
    assert tuned["trainer_cfg"]["total_iter"] == STAGES["rg_gait"]["trainer_cfg"]["total_iter"]
    own, hidden = tuned["trainer_cfg"]["transform"][0]["trf_cfg"]
    assert own == STAGES["gse"]["trainer_cfg"]["transform"][0]
    assert (hidden["type"], hidden["types"]) == ("OcclusionSilhouettes", {"top": 0.25, "bottom": 0.25})
    assert hidden["rows"] == [0.1, 0.6]
    assert "seed" not in hidden  # random in training
    for name in tasks:
        if name.startswith("train"):
            config = training(tasks, name.split()[1].rstrip(",")).config
            HostConfig.of(config)
            build_chains(config["trainer_cfg"]["transform"], where="trainer_cfg.transform")


def test_a_study_may_be_moved(tmp_path: Path, data: dict[str, Any]) -> None:
    path = written(tmp_path, data)
    here, there = (tasks_of(path, tmp_path / name) for name in ("here", "there"))
    assert here.keys() == there.keys()
    for name, task in here.items():
        assert task.about == there[name].about
        assert task.done.relative_to(tmp_path / "here") == there[name].done.relative_to(tmp_path / "there")


def test_adaptation_swaps_the_evaluator_and_keeps_the_extractor(
    tmp_path: Path, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(given: Training) -> None:
        model: torch.nn.Module = RGGait(GaitBase(**BASE), OcclusionEvaluator())
        if given.config["model_cfg"]["model"] == "RGGaitOEM":
            model = OcclusionEvaluator(given.config["model_cfg"]["types"])
        given.checkpoint.parent.mkdir(parents=True)
        torch.save({"model": {f"network.{k}": v for k, v in model.state_dict().items()}}, given.checkpoint)
        write_json(given.done, {"checkpoint": str(given.checkpoint.relative_to(given.folder))})

    monkeypatch.setattr(systems_module, "train", train)
    adaptation = {"oem_iterations": 500, "iterations": 200}
    tasks = tasks_of(written(tmp_path, data, adaptation=adaptation), tmp_path / "out")
    for name in ("oem", "rg_gait"):
        train(training(tasks, name))
    for name in ("oem+dynamic", "rg_gait+dynamic"):
        task = tasks[f"train {name}, seed 5"]
        task.function(task.argument)
    evaluator, system = (training(tasks, name) for name in ("oem+dynamic", "rg_gait+dynamic"))
    types = ["none", "top", "bottom", "dynamic"]
    assert evaluator.config["model_cfg"]["types"] == system.config["model_cfg"]["oem"]["types"] == types
    trained = [each.config["model_cfg"]["occlusion"]["train"]["types"] for each in (evaluator, system)]
    assert trained[0] == dict.fromkeys(("top", "bottom", "dynamic"), 0.25)
    assert trained[1] == pytest.approx(dict.fromkeys(("top", "bottom", "dynamic"), 1 / 6))
    assert [each.config["trainer_cfg"]["total_iter"] for each in (evaluator, system)] == [500, 200]
    assert system.config["scheduler_cfg"]["milestones"] == [125, 175]
    for each in (evaluator, system):
        assert each.config["trainer_cfg"]["optimizer_reset"]
        assert each.config["trainer_cfg"]["restore_ckpt_strict"]
    first = systems_module.read_weights(Path(evaluator.config["trainer_cfg"]["restore_hint"]))
    OcclusionEvaluator(types).load_state_dict({k.removeprefix("network."): v for k, v in first.items()})
    assert not first["network.type_head.weight"][3].any()
    before = systems_module.read_weights(training(tasks, "rg_gait").checkpoint)
    start = systems_module.read_weights(Path(system.config["trainer_cfg"]["restore_hint"]))
    adapted = systems_module.read_weights(evaluator.checkpoint)
    assert start.keys() == before.keys()
    for key, value in start.items():
        own = key.removeprefix("network.")
        if own.startswith("occlusion_evaluator."):
            assert torch.equal(value, adapted["network." + own.removeprefix("occlusion_evaluator.")])
        else:
            assert torch.equal(value, before[key])


def test_what_there_is_to_do(tmp_path: Path, data: dict[str, Any]) -> None:
    """Five systems whole, under five occlusions and the release's mixture, four ablated under two, four adapted to two;
    evaluators beside.
    """
    tasks = tasks_of(written(tmp_path, data), tmp_path / "out")
    counts = {kind: sum(name.startswith(kind) for name in tasks) for kind in ("train", "embed", "test")}
    embedded = 5 * 7 + 4 * 4 + 8 * 2  # an adapted one's whole gallery included
    tested = 5 * (2 + 2 * 5) + 4 * (2 + 2 * 2) + 8 * 2
    assert counts == {"train": 2 * (6 + 4 + 8 + 2), "embed": 2 * embedded, "test": 2 * tested}
    tasks = tasks_of(written(tmp_path, data, release=None, tables=["ablation"]), tmp_path / "out")
    counts = {kind: sum(name.startswith(kind) for name in tasks) for kind in ("train", "embed", "test")}
    # The fine-tuned extractor is in no row there; Baseline-1 is.
    assert counts == {"train": 2 * 9, "embed": 2 * 8 * 3, "test": 2 * 8 * 5}
    assert "test gse@top/probes, seed 3" in tasks


def test_additions_leave_what_is_there(tmp_path: Path, data: dict[str, Any]) -> None:
    out = tmp_path / "out"
    first = tasks_of(written(tmp_path, data), out)
    for change in ({"seeds": [3, 5, 6]}, {"tables": ["retention"]}, {"occluded": ["all"]}):
        other = tasks_of(written(tmp_path, data, **change), out)
        assert other.keys() >= first.keys() or other.keys() <= first.keys()
        for name in first.keys() & other.keys():
            assert (first[name].done, first[name].about) == (other[name].done, other[name].about)


def test_other_settings_make_anew_what_follows_from_them_alone(tmp_path: Path, data: dict[str, Any]) -> None:
    out = tmp_path / "out"
    first = tasks_of(written(tmp_path, data), out)

    def kept(tasks: dict[str, Task]) -> set[str]:
        return {n for n, t in tasks.items() if (first[n].done, first[n].about) == (t.done, t.about)}

    other = tasks_of(written(tmp_path, data, test_seed=1), out)
    assert kept(other) == {name for name in first if name.startswith("train") or "unoccluded" in name}
    other = tasks_of(written(tmp_path, data, release={"probability": 1, "rows": [0.4, 0.6]}), out)
    assert kept(other) == {name for name in first if "release" not in name}
    path = written(tmp_path, data)
    lay(tmp_path / "oem.yaml", {"optimizer_cfg": {"lr": 0.5}})
    other = tasks_of(path, out)
    systems = ("gse", "finetuned", "finetuned+middle", "finetuned+dynamic", "finetuned+new", "finetuned-gse")
    apart = {name for name in first if name.split()[1].split("@")[0].rstrip(",") in systems}
    assert kept(other) == apart


def test_every_system_is_tested_under_the_same_occlusion(tmp_path: Path, data: dict[str, Any]) -> None:
    tasks = tasks_of(written(tmp_path, data), tmp_path / "out")
    found: dict[tuple[str, str], Embedding] = {
        (system, occlusion): tasks[f"embed {system}@{occlusion}, seed 3"].argument
        for system in ("gse", "finetuned", "rg_gait", "mimicgait", "rg_gait+middle", "occ_aware+middle")
        for occlusion in ("middle", "unoccluded")
    }
    hidden, whole = (
        {json.dumps(e.config["evaluator_cfg"]["transform"]) for (_, o), e in found.items() if o == occlusion}
        for occlusion in ("middle", "unoccluded")
    )
    assert (len(hidden), len(whole)) == (1, 1)
    last = json.loads(hidden.pop())[0]["trf_cfg"][-1]
    assert (last["types"], last["seed"]) == ({"middle": 1.0}, 0)
    assert json.loads(whole.pop()) == STAGES["gse"]["evaluator_cfg"]["transform"]
    configs = [embedding.config["model_cfg"] for embedding in found.values()]
    assert not any(config.get("occlusion", {}).get("test", {}).get("types") for config in configs)
    probes: Testing = tasks["test rg_gait@middle/probes, seed 3"].argument
    assert probes.embeddings == found["rg_gait", "middle"].file
    assert probes.gallery == found["rg_gait", "unoccluded"].file
    assert tasks["test rg_gait@middle/all, seed 3"].argument.gallery is None


def test_the_releases_evaluation_occludes_some_of_probes_and_gallery(tmp_path: Path, data: dict[str, Any]) -> None:
    for given, (types, rows) in {
        None: ({"top": 0.25, "bottom": 0.25}, [0.1, 0.6]),
        (1.0, (0.4, 0.6)): ({"top": 0.5, "bottom": 0.5}, [0.4, 0.6]),
    }.items():
        own = {} if given is None else {"release": {"probability": given[0], "rows": list(given[1])}}
        # The study's own options are of its other occlusions.
        path = written(tmp_path, data, **own, options={"rows": [0.3, 0.3]}, test_seed=7)
        tasks = tasks_of(path, tmp_path / "out")
        for system in ("gse", "rg_gait", "mimicgait", "frn"):
            test: Testing = tasks[f"test {system}@release, seed 3"].argument
            embedding: Embedding = tasks[f"embed {system}@release, seed 3"].argument
            assert (test.embeddings, test.gallery) == (embedding.file, None)
            last = embedding.config["evaluator_cfg"]["transform"][0]["trf_cfg"][-1]
            assert (last["types"], last["rows"], last["seed"]) == (types, rows, 7)
            build_chains(embedding.config["evaluator_cfg"]["transform"], where="transform")
    with pytest.raises(ConfigError, match="rows"):
        tasks_of(written(tmp_path, data, release={"rows": [0.6, 0.1]}), tmp_path / "out")


def test_probes_alone_are_compared_with_whole_walkers(tmp_path: Path, data: dict[str, Any]) -> None:
    """Galleries and probes of two identities on a line; occlusion swaps whom an embedding looks like."""
    names = [(label, kind, view) for label in "ab" for kind in ("nm-01", "nm-05") for view in ("000", "090")]
    kept = {key: np.array(column) for key, column in zip(("labels", "types", "views"), zip(*names))}
    at = np.array([0.0 if label == "a" else 1.0 for label, _, _ in names])[:, None, None]
    tasks = tasks_of(written(tmp_path, data, save_embeddings=True), tmp_path / "out")
    for name, embeddings in (("unoccluded", at), ("middle", 1 - at)):
        embedding: Embedding = tasks[f"embed gse@{name}, seed 3"].argument
        write_saved(embedding.file, {**kept, "embeddings": embeddings}, paths=["x"] * 8, about={"host": "embedded"})
    found = {}
    for condition in ("unoccluded", "middle/all", "middle/probes"):
        task = tasks[f"test gse@{condition}, seed 3"]
        embedded_host.test(task.argument)
        assert task.is_done()
        saved = task.done.with_suffix(".npz")
        left = read_saved(saved)
        assert left.paths is not None
        assert left.about == {"host": "embedded", "study": {"system": "gse", "condition": condition, "seed": 3}}
        again = short_numbers(evaluate_file(saved).scalars)
        assert again["mean"] == pytest.approx(Cell.read(task.done)[0].number("mean"))
        saved.unlink()
        assert not task.is_done()  # so that a study which is asked for its results later makes them
        saved.touch()
        cell, _ = Cell.read(task.done)
        assert (cell.system, cell.condition, cell.seed) == ("gse", condition, 3)
        found[condition] = (cell.scalars["mean"], cell.scalars["mean@R5"])
        for metric in ("mean", "mean@R5"):
            assert set(cell.people[metric]) == {"a", "b"}
            assert np.mean(list(cell.people[metric].values())) == pytest.approx(cell.scalars[metric])
    assert found == {"unoccluded": (100, 100), "middle/all": (100, 100), "middle/probes": (0, 100)}


def test_means_and_gains_are_of_each_seed_and_identity(tmp_path: Path, data: dict[str, Any]) -> None:
    tasks = tasks_of(written(tmp_path, data, tables=["retention", "generalisation"]), tmp_path / "out")
    rng = np.random.default_rng(0)
    made: dict[str, dict[str, float]] = {}
    for task in tasks.values():
        if isinstance(task.argument, Testing):
            people = {name: float(rng.uniform(0, 100)) for name in "abc"}
            scalars = {"mean": float(np.mean(list(people.values()))), "mean@R5": float("nan")}
            given = task.argument
            cell = Cell(given.system, given.condition, given.training.seed, scalars, {"mean": people})
            cell.write(task.done, **task.about)
            made[f"{given.system}@{given.condition},{given.training.seed}"] = people
    found = {}
    for task in tasks.values():  # parts come before what is made of them
        if isinstance(task.argument, WeightedSum):
            add_cells(task.argument)
            assert task.is_done()
            cell, _ = Cell.read(task.done)
            found[f"{cell.system}@{cell.condition},{cell.seed}"] = cell.people["mean"]
            assert cell.scalars["mean"] == pytest.approx(np.mean(list(cell.people["mean"].values())))
            assert np.isnan(cell.scalars["mean@R5"])

    def average(system: str, *occlusions: str) -> dict[str, float]:
        return {p: float(np.mean([made[f"{system}@{o}/probes,5"][p] for o in occlusions])) for p in "abc"}

    assert found["gse@seen/probes,5"] == pytest.approx(average("gse", "top", "bottom"))
    assert found["rg_gait@unseen/probes,5"] == pytest.approx(average("rg_gait", "middle", "dynamic", "pole"))
    gain = {p: average("rg_gait", "top", "bottom")[p] - average("gse", "top", "bottom")[p] for p in "abc"}
    assert found["rg_gait-gse@seen/probes,5"] == pytest.approx(gain)
    kept = {p: made["finetuned@unoccluded,3"][p] - made["gse@unoccluded,3"][p] for p in "abc"}
    assert found["finetuned-gse@unoccluded,3"] == pytest.approx(kept)
    assert found["rg_gait+new@dynamic/all,3"] == pytest.approx(made["rg_gait+dynamic@dynamic/all,3"])
    both = [made[f"rg_gait+{new}@{new}/all,3"] for new in ("middle", "dynamic")]
    assert found["rg_gait+new@new/all,3"] == pytest.approx({p: (both[0][p] + both[1][p]) / 2 for p in "abc"})


def test_cells_of_other_identities_are_not_summed(tmp_path: Path) -> None:
    paths = [tmp_path / name / "seed-0.json" for name in ("one", "two")]
    for path, name in zip(paths, "ab"):
        Cell("s", "c", 0, {"mean": 1.0}, {"mean": {name: 1.0}}).write(path)
    with pytest.raises(DataError, match="different identities"):
        add_cells(WeightedSum("s", "d", 0, tuple((0.5, path) for path in paths), tmp_path / "d.json"))


def test_tables_are_the_posters(tmp_path: Path) -> None:
    own = {"name": "own", "title": "O", "rows": ["gse"], "columns": [{"condition": "pole/all"}]}
    kinds = ["retention", "ablation", "generalisation"]
    study: RGGaitStudy = parse_study(written(tmp_path, tables=[*kinds, own]))
    tables = {table.name: table for table in study.settings.tables}
    assert list(tables) == [f"{kind}_{occluded}" for kind in kinds for occluded in ("probes", "all")] + ["own"]
    conditions = ("unoccluded", "top", "bottom", "middle", "dynamic", "pole")
    shown = [*conditions, "release"]
    assert tables["retention_all"].headers() == [f"{c} {rank}" for rank in ("rank-1", "rank-5") for c in shown]
    assert [column.condition for column in tables["retention_probes"].columns[:2]] == ["unoccluded", "top/probes"]
    names = ["GSE", "GSE, fine-tuned", "Occ Aware", "MimicGait", "RG-Gait"]
    assert list(tables["retention_all"].rows) == [*names, *(f"{name} − GSE" for name in names[1:])]
    shown = [f"{name} {rank}" for name in ("occluded", "unoccluded", "release") for rank in ("rank-1", "rank-5")]
    assert tables["ablation_probes"].headers() == shown
    assert "50% of all sequences, probes and gallery alike, lose 10% to 60%" in tables["ablation_probes"].title
    ablated = tables["ablation_all"].rows
    assert list(ablated.values()) == [
        "gse",
        "frn",
        "residual",
        "aware",
        "adaptive",
        "occ_aware",
        "mimicgait",
        "rg_gait",
    ]
    assert next(iter(ablated)).startswith("Baseline-1 (the GSE")
    rows = [f"{kind}: {name}" for kind in ("Generalisation", "Adaptation") for name in names]
    assert list(tables["generalisation_all"].rows) == [row for row in rows if row != "Adaptation: GSE"]
    with pytest.raises(ConfigError, match="retention_all"):
        parse_study(written(tmp_path, tables=["retention", {**own, "name": "retention_all"}]))


def test_the_studys_own_claims_have_their_cells() -> None:
    study: RGGaitStudy = parse_study(ROOT / "configs/rg-gait/study_walkers.yaml")
    assert len(study.settings.claims) == 29
    # The poster's first row is the extractor that has seen no occlusion.
    beaten = {claim.than for claim in study.settings.claims if "Baseline-1" in claim.name}
    assert {text.partition("@")[0] for text in map(str, beaten)} == {"gse"}


@pytest.mark.parametrize(
    "change",
    [
        {"seen": ["top", "pole"], "occlusions": ["top"]},
        {"new": ["top"]},
        {"new": []},
        {"seeds": []},
        {"tables": ["retentoin"]},
        {"tables": ["retention", "retention"]},
        {"tables": []},
        {"tables": ["retention"], "claims": [{"name": "n", "better": "aware@seen/all", "than": "gse@seen/all"}]},
    ],
)
def test_wrong_settings(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        parse_study(written(tmp_path, **change))


def test_what_would_fail_later_is_refused_first(tmp_path: Path, data: dict[str, Any]) -> None:
    path = written(tmp_path, data)
    lay(tmp_path / "gse.yaml", {"evaluator_cfg": {"transform": STAGES["gse"]["evaluator_cfg"]["transform"] * 2}})
    with pytest.raises(ConfigError, match="one input"):
        tasks_of(path, tmp_path / "out")
    path = written(tmp_path, data)
    lay(tmp_path / "rg_gait.yaml", {"model_cfg": {"occlusion_awear": True}})
    with pytest.raises(ConfigError, match="occlusion_awear"):
        tasks_of(path, tmp_path / "out")
    gait3d = merge({"data_cfg": {"test_dataset_name": "FVG"}}, data)
    for name in ("gse", "rg_gait"):
        path = written(tmp_path, data)
        lay(tmp_path / f"{name}.yaml", gait3d)
        with pytest.raises(ConfigError, match="FVG"):
            tasks_of(path, tmp_path / "out")


def test_wrong_stages_options_and_metrics_are_refused_first(tmp_path: Path, data: dict[str, Any]) -> None:
    for stage, wrong, said in (("gse", "oem", "trains RGGaitOEM"), ("rg_gait", "gse", "not RGGait")):
        written(tmp_path, data)
        files = {name: f"{name}.yaml" for name in STAGES} | {stage: f"{wrong}.yaml"}
        with pytest.raises(ConfigError, match=rf"stages\.{stage}: .*{said}"):
            parse_study(written(tmp_path, data, stages=files))
    path = written(tmp_path, data)
    (tmp_path / "gse.yaml").write_text("identities: 3\n")
    with pytest.raises(ConfigError, match=r"missing key 'stages\.gse\.data_cfg'"):
        parse_study(path)
    with pytest.raises(ConfigError, match="did you mean 'rows'"):
        tasks_of(written(tmp_path, data, options={"rowz": [0.1, 0.2]}), tmp_path / "out")
    claim = {"name": "a", "better": "rg_gait@seen/all", "than": "gse@seen/all", "metric": "mean@R50"}
    with pytest.raises(ConfigError, match="did you mean 'mean@R5'"):
        tasks_of(written(tmp_path, data, claims=[claim]), tmp_path / "out")


def test_a_toolbox_trains_one_seed_and_tests_all_occluded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "toolbox"

    def run(root: Path, config: dict[str, Any], folder: Path, phase: str, device: str) -> str:
        if phase == "test":
            assert Path(config["evaluator_cfg"]["restore_hint"]).exists()
            return "{'scalar/test_accuracy/Rank-1': 51.5}"
        trainer, model = config["trainer_cfg"], config["model_cfg"]
        for part in ("gse", "oem") if model["model"] in ("RGGait", "MimicGait") else ():
            assert Path(model[part]["checkpoint"]).exists()
        file = root / "output" / "Gait3D" / model["model"] / trainer["save_name"] / "checkpoints"
        file.mkdir(parents=True)
        torch.save({}, file / f"{trainer['save_name']}-{trainer['total_iter']:05}.pt")
        return ""

    monkeypatch.setattr(toolbox_host, "_run", run)
    gait3d = {"data_cfg": {"dataset_name": "Gait3D", "test_dataset_name": "Gait3D"}}
    given = {"tables": ["retention"], "occlusions": ["top", "bottom"], "new": []}
    for wrong in ({"seeds": [0]}, {"seeds": [0, 1], "occluded": ["all"]}):
        with pytest.raises(ConfigError, match="sets its own seed"):
            tasks_of(written(tmp_path, gait3d, **given, **wrong), tmp_path / "out", root)
    tasks = tasks_of(written(tmp_path, gait3d, **given, seeds=[0], occluded=["all"]), tmp_path / "out", root)
    assert not any(name.startswith("embed") for name in tasks)
    for task in tasks.values():
        task.function(task.argument)
        assert task.is_done()
    assert len(list(root.rglob("*.pt"))) == 6
    cell, _ = Cell.read(tasks["test rg_gait@top/all, seed 0"].done)
    assert cell.scalars["mean"] == 51.5
    assert np.isnan(cell.scalars["mean@R5"])  # the log names none
    assert not cell.people
    mean, _ = Cell.read(tasks["sum rg_gait-gse@seen/all, seed 0"].done)
    assert mean.scalars["mean"] == 0
