"""tools/rg_gait_study.py: what trains on what, that nothing is done twice, tables against numbers by hand."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.config import load_yaml
from gaitext.errors import ConfigError
from gaitext.models import GaitBase, OcclusionEvaluator, RGGait
from gaitext.standalone.settings import HostConfig
from gaitext.standalone.transforms import build_chains

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import rg_gait_study as study  # noqa: E402
import rg_gait_study_hosts as hosts  # noqa: E402
import rg_gait_study_starts as starts  # noqa: E402
import rg_gait_study_tables as tables  # noqa: E402

BASE = {"class_num": 3, "channels": (2, 2, 4, 4), "embedding_size": 4, "bins": 4}
STAGES = {
    name: load_yaml(ROOT / f"configs/rg-gait/{file}.yaml")
    for name, file in (("oem", "tiny_oem"), ("gse", "tiny_gse"), ("rg_gait", "tiny"))
}


def settings(**changes: Any) -> study.StudySettings:
    stages = {"oem": "a", "gse": "b", "rg_gait": "c"}
    return study.StudySettings.parse({"stages": stages, "seeds": [3, 5], **changes}, where="test")


class Recorder:
    """A host that trains nothing, and finds ranks that tell what was tested."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.trained, self.tested = folder, [], []  # type: ignore[var-annotated]

    def train(self, config: dict[str, Any], seed: int) -> Path:
        path = self.folder / f"{config['model_cfg']['model']}-{config['trainer_cfg']['save_name']}.pt"
        if not path.exists():
            self.trained.append(config)
            model = {
                "RGGaitOEM": OcclusionEvaluator(config["model_cfg"].get("types", ("none", "top", "bottom"))),
                "GaitBase": GaitBase(**BASE),
                "RGGait": RGGait(GaitBase(**BASE), OcclusionEvaluator()),
            }[config["model_cfg"]["model"]]
            path.parent.mkdir(exist_ok=True)
            torch.save({"model": {f"network.{k}": v for k, v in model.state_dict().items()}}, path)
        return path

    def test(self, config: dict[str, Any], checkpoint: Path, seed: int, clean: Any) -> dict[str, float]:
        self.tested.append((config, checkpoint, clean))
        value = 10.0 * seed + len(checkpoint.stem)
        return {"all rank-1": value, "all rank-5": 90.0, "probes rank-1": value / 2, "probes rank-5": 80.0}


def cells_of(made: study.Study, occluded: str = "all") -> Any:
    return partial(made.cells, occluded=occluded, seeds=made.settings.seeds)


@pytest.fixture
def recorded(tmp_path: Path) -> tuple[Recorder, study.Study]:
    host = Recorder(tmp_path / "host")
    return host, study.Study(settings(), STAGES, host, tmp_path / "study")


def test_systems_begin_from_their_own_seeds_stages(recorded: tuple[Recorder, study.Study]) -> None:
    host, made = recorded
    for system in ("rg_gait", "finetuned", "aware", "rg_gait+middle"):
        made.checkpoint(system, 5)
    configs = {config["trainer_cfg"]["save_name"]: config for config in host.trained}
    assert set(configs) == {"oem-5", "gse-5", "rg_gait-5", "finetuned-5", "aware-5", "oem_middle-5", "rg_gait_middle-5"}
    system = configs["rg_gait-5"]["model_cfg"]
    assert system["gse"]["checkpoint"].endswith("GaitBase-gse-5.pt")
    assert system["oem"]["checkpoint"].endswith("RGGaitOEM-oem-5.pt")
    assert configs["aware-5"]["model_cfg"] == {**system, "adaptive": False}
    tuned = configs["finetuned-5"]
    assert tuned["trainer_cfg"]["restore_hint"].endswith("GaitBase-gse-5.pt")
    assert tuned["optimizer_cfg"] == STAGES["rg_gait"]["optimizer_cfg"]
    assert tuned["trainer_cfg"]["total_iter"] == STAGES["rg_gait"]["trainer_cfg"]["total_iter"]
    own, hidden = tuned["trainer_cfg"]["transform"][0]["trf_cfg"]
    assert own == STAGES["gse"]["trainer_cfg"]["transform"][0]
    assert (hidden["type"], hidden["types"]) == ("OcclusionSilhouettes", {"top": 0.25, "bottom": 0.25})
    assert hidden["rows"] == [0.1, 0.6]
    assert "seed" not in hidden  # random in training
    for config in host.trained:
        HostConfig.of(config)
        build_chains(config["trainer_cfg"]["transform"], where="trainer_cfg.transform")


def test_adaptation_swaps_the_evaluator_and_keeps_the_extractor(recorded: tuple[Recorder, study.Study]) -> None:
    host, made = recorded
    before = starts.read_weights(made.checkpoint("rg_gait", 3))
    made.checkpoint("rg_gait+dynamic", 3)
    evaluator, system = (
        next(c for c in host.trained if c["trainer_cfg"]["save_name"] == name)
        for name in ("oem_dynamic-3", "rg_gait_dynamic-3")
    )
    assert (
        evaluator["model_cfg"]["types"] == system["model_cfg"]["oem"]["types"] == ["none", "top", "bottom", "dynamic"]
    )
    assert evaluator["model_cfg"]["occlusion"]["train"]["types"] == dict.fromkeys(("top", "bottom", "dynamic"), 0.25)
    assert system["model_cfg"]["occlusion"]["train"]["types"] == pytest.approx(
        dict.fromkeys(("top", "bottom", "dynamic"), 1 / 6)
    )
    for config in (evaluator, system):
        assert config["trainer_cfg"]["optimizer_reset"]
        assert config["trainer_cfg"]["restore_ckpt_strict"]
    first = starts.read_weights(Path(evaluator["trainer_cfg"]["restore_hint"]))
    OcclusionEvaluator(("none", "top", "bottom", "dynamic")).load_state_dict(
        {k.removeprefix("network."): v for k, v in first.items()}
    )
    assert not first["network.type_head.weight"][3].any()
    start = starts.read_weights(Path(system["trainer_cfg"]["restore_hint"]))
    adapted = starts.read_weights(made.checkpoint("oem+dynamic", 3))
    assert start.keys() == before.keys()
    for key, value in start.items():
        own = key.removeprefix("network.")
        if own.startswith("occlusion_evaluator."):
            assert torch.equal(value, adapted["network." + own.removeprefix("occlusion_evaluator.")])
        else:
            assert torch.equal(value, before[key])


def test_nothing_is_done_twice(recorded: tuple[Recorder, study.Study], tmp_path: Path) -> None:
    host, made = recorded
    first = tables.retention(made.settings, cells_of(made))
    trained, tested = len(host.trained), len(host.tested)
    assert (trained, tested) == (2 * 4, 2 * 3 * 6)
    probes = tables.retention(made.settings, cells_of(made, "probes"))
    assert probes.rows[0][1][0] == [value / 2 for value in first.rows[0][1][0]]
    assert (len(host.trained), len(host.tested)) == (trained, tested)
    again = study.Study(settings(seeds=[3, 5]), STAGES, host, tmp_path / "study")
    assert tables.retention(again.settings, cells_of(again)).rows == first.rows
    assert (len(host.trained), len(host.tested)) == (trained, tested)
    # A seed more does only what that seed needs; the ablation only its own four systems.
    more = study.Study(settings(seeds=[3, 5, 6]), STAGES, host, tmp_path / "study")
    tables.retention(more.settings, cells_of(more))
    assert (len(host.trained), len(host.tested)) == (3 * 4, 3 * 18)
    tables.ablation(again.settings, cells_of(again))
    assert (len(host.trained), len(host.tested)) == (12 + 2 * 4, 54 + 2 * 4 * 3)
    with pytest.raises(ConfigError, match="another study"):
        study.Study(settings(test_seed=1), STAGES, host, tmp_path / "study")


def test_every_system_is_tested_under_the_same_occlusion(recorded: tuple[Recorder, study.Study]) -> None:
    host, made = recorded
    for system in ("gse", "finetuned", "rg_gait"):
        made.cell(system, "middle", 3)
        made.cell(system, "unoccluded", 3)
    hidden, whole = host.tested[::2], host.tested[1::2]
    assert len({json.dumps(config["evaluator_cfg"]["transform"]) for config, _, _ in hidden}) == 1
    last = hidden[0][0]["evaluator_cfg"]["transform"][0]["trf_cfg"][-1]
    assert (last["types"], last["seed"]) == ({"middle": 1.0}, 0)
    for config, _, clean in whole:
        assert config["evaluator_cfg"]["transform"] == STAGES["gse"]["evaluator_cfg"]["transform"]
        assert config == clean
    assert not any(config["model_cfg"].get("occlusion", {}).get("test", {}).get("types") for config, _, _ in hidden)


def test_probes_alone_are_compared_with_whole_walkers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Galleries and probes of two identities on a line; occlusion swaps whom an embedding looks like."""
    names = [(label, kind, view) for label in "ab" for kind in ("nm-01", "nm-05") for view in ("000", "090")]
    kept = {key: np.array(column) for key, column in zip(("labels", "types", "views"), zip(*names))}
    at = np.array([0.0 if label == "a" else 1.0 for label, _, _ in names])[:, None, None]

    def embed(self: Any, config: dict[str, Any], checkpoint: Path, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(file, embeddings=1 - at if config["hidden"] else at, **kept)

    monkeypatch.setattr(hosts.Embedded, "_embed", embed)
    whole = {"data_cfg": {"dataset_name": "CASIA-B"}, "evaluator_cfg": {}, "hidden": False}
    host = hosts.Embedded(tmp_path, "cpu")
    assert host.test(whole, Path("c.pt"), 0, whole) == dict.fromkeys(
        ("all rank-1", "all rank-5", "probes rank-1", "probes rank-5"), 100.0
    )
    found = host.test({**whole, "hidden": True}, Path("c.pt"), 0, whole)
    assert (found["all rank-1"], found["probes rank-1"], found["probes rank-5"]) == (100.0, 0.0, 100.0)
    with pytest.raises(ConfigError, match="--toolbox"):
        host.test({**whole, "data_cfg": {"dataset_name": "Gait3D"}}, Path("c.pt"), 0, whole)


@pytest.mark.parametrize("change", [{"seen": ["top", "pole"], "occlusions": ["top"]}, {"new": ["top"]}, {"seeds": []}])
def test_wrong_settings(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        settings(**change)


def test_tables_hold_means_and_deviations(tmp_path: Path) -> None:
    ranks = {("gse", "top"): (50.0, 54.0), ("rg_gait", "top"): (57.0, 63.0), ("rg_gait", "bottom"): (61.0, 61.0)}

    def cells(system: str, occlusion: str) -> list[dict[str, float]]:
        return [{"rank-1": value, "rank-5": 80.0} for value in ranks.get((system, occlusion), (1.0, 2.0))]

    chosen = settings(occlusions=["top", "bottom"], new=[])
    table = tables.retention(chosen, cells)
    tables.write_table(table, tmp_path / "retention", "all")
    text = (tmp_path / "retention.md").read_text()
    rows = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[1:] for line in text.splitlines() if line.startswith("|")
    }
    column = table.columns.index("top rank-1")
    assert rows["GSE"][column] == "52.0 ± 2.8"
    assert rows["RG-Gait"][column] == "60.0 ± 4.2"
    assert rows["RG-Gait − GSE"][column] == "8.0 ± 1.4"  # of the seeds' differences 7 and 9
    saved = json.loads((tmp_path / "retention.json").read_text())
    value = saved["tables"][1]["rows"][0]["values"][column]
    assert value == pytest.approx(np.std([50, 54], ddof=1))
    seen = dict(tables.ablation(chosen, cells).rows)["RG-Gait (residual ✓ adaptive ✓ aware ✓)"][0]
    assert seen == [59.0, 62.0]  # per seed, the mean over top and bottom


@pytest.mark.parametrize(
    ("log", "ranks"),
    [
        ("{'scalar/test_accuracy/Rank-1': 51.5, 'scalar/test_accuracy/Rank-5': np.float64(70.0)}", (51.5, 70.0)),
        ("===x===\nNM: 000 1.00\nNM@R1: 40.00%\tBG@R1: 20.00%\nNM@R5: 60.00%", (30.0, 60.0)),
        ("INFO: NM@R1: [10. 20. 60.]\nBG@R1: [nan nan]\nNM@R1: 30.00%\tBG@R1: nan%", (30.0, float("nan"))),
        ("[2025 1.5] ==Rank-1==\n[2025 1.5] 48.250\n[2025 1.5] ==Rank-5==\n[2025 1.5] 61.000\n", (48.25, 61.0)),
    ],
)
def test_ranks_are_read_from_a_toolboxs_log(log: str, ranks: tuple[float, float]) -> None:
    found = hosts.logged_ranks(log)
    assert [found["rank-1"], found["rank-5"]] == pytest.approx(list(ranks), nan_ok=True)
