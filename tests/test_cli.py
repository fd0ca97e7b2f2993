"""The command line, run as a user runs it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.testing import CliRunner

from gaitext import store
from gaitext.cli import app, main
from gaitext.errors import GaitextError
from tests.restoration.clips import film


def gaitext(*arguments: object, code: int = 0) -> str:
    """What the command says, run in this process: a process of its own takes seconds to import torch."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["gaitext", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    output = out.getvalue() + err.getvalue()
    assert (ended.value.code or 0) == code, output
    assert "Traceback" not in output
    return " ".join(output.split())


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A walkers set and a config for it, so small that a run takes seconds."""
    root = tmp_path_factory.mktemp("cli")
    said = gaitext(
        "walkers", root / "walkers", "--identities", 4, "--train-identities", 2, "--frames", 4,
        "--types", "nm-01,nm-05", "--views", "000,090", "-q",
    )  # fmt: skip
    assert "16 sequences written" in said
    config = yaml.safe_load((Path(__file__).parent.parent / "configs/gaitheat/tiny.yaml").read_text())
    config["data_cfg"].update(
        dataset_root=str(root / "walkers/sequences"), dataset_partition=str(root / "walkers/partition.json")
    )
    config["model_cfg"].update(class_num=2, channels=[2, 2, 4, 4], embedding_size=4)
    config["trainer_cfg"].update(total_iter=2, save_iter=1, log_iter=1)
    config["trainer_cfg"]["sampler"].update(batch_size=[2, 2])
    config["evaluator_cfg"]["restore_hint"] = 2
    (root / "config.yaml").write_text(yaml.safe_dump(config))
    return root


@pytest.mark.slow
def test_walkers_train_test_evaluate(small: Path) -> None:
    output = small / "output"
    said = gaitext("train", small / "config.yaml", "--output", output, "--device", "cpu", "-q")
    assert "2 iterations" in said
    saved = small / "embeddings.npz"
    said = gaitext("test", small / "config.yaml", "--output", output, "--save-embeddings", saved, "-q")
    assert "NM" in said
    assert "chance" in said
    with np.load(saved) as file:
        assert file["embeddings"].shape == (8, 4, 8)
    assert gaitext("evaluate", saved) in said  # which names the checkpoint and the file, too
    again = small / "again.npz"
    given = yaml.safe_load((small / "config.yaml").read_text())
    given["evaluator_cfg"].update(save_embeddings=str(again), metric="cos")
    (small / "again.yaml").write_text(yaml.safe_dump(given))
    said = gaitext("test", small / "again.yaml", "--output", output, "-q")
    assert "metric cos" in said
    assert gaitext("evaluate", again) in said
    assert "did you mean 'CASIA-B'" in gaitext("evaluate", saved, "--dataset", "CASIAB", code=1)
    assert "no such file" in gaitext("evaluate", small / "none.npz", code=1)
    assert "ok" in gaitext("doctor", "--data", small / "config.yaml", "-q")


@pytest.mark.slow
def test_a_truncated_sequence_stops_the_run_before_training_and_doctor_names_it(small: Path, tmp_path: Path) -> None:
    config = yaml.safe_load((small / "config.yaml").read_text())
    root = Path(config["data_cfg"]["dataset_root"])
    broken = tmp_path / "sequences"
    for leaf in store.leaves(root):
        (broken / leaf.name).mkdir(parents=True)
        for file in leaf.files():
            (broken / leaf.name / file.name).write_bytes(file.read_bytes())
    victim = broken / "001/nm-01/090/0_heatmaps.pkl"
    victim.write_bytes(victim.read_bytes()[:5000])
    config["data_cfg"]["dataset_root"] = str(broken)
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    for command in (("train", tmp_path / "config.yaml", "--output", tmp_path / "out", "-q"),
                    ("doctor", "--data", tmp_path / "config.yaml", "-q")):  # fmt: skip
        assert "001/nm-01/090/0_heatmaps.pkl" in gaitext(*command, code=1).replace(" ", "")
    assert not list((tmp_path / "out").rglob("*.pt"))


def test_errors_are_said_in_a_line_and_a_status(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(json.dumps({"model_cfg": {"model": "GaitHeat", "clas_num": 3}}))
    assert "is not a toolbox" in gaitext("link", tmp_path, code=1)
    assert "cannot be read" in gaitext("train", tmp_path / "none.yaml", code=1)
    assert "To mend it" in gaitext("train", tmp_path / "a.yaml", code=1)
    said = gaitext(
        "extract",
        tmp_path / "none.mp4",
        "--boxes",
        tmp_path / "b.csv",
        "--estimator",
        "onnx:x",
        "--out",
        tmp_path,
        code=1,
    )
    assert "no such file" in said


def test_a_name_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """A file that somebody else made is named by its letters; what is no letter is named by its code."""
    config = tmp_path / "\x1b[31mré\u202egpj.yaml"
    config.write_text("data_cfg: [", encoding="utf-8")
    said = gaitext("train", config, code=1)
    assert "\\x1b[31mré\\u202egpj.yaml" in said
    assert not {"\x1b", "\u202e"} & set(said)


def test_evaluate_with_a_list_of_probes(tmp_path: Path) -> None:
    saved, partition = tmp_path / "e.npz", tmp_path / "Gait3D.json"
    rows = [(f"{i:04d}", f"camid{k}", "seq0") for i in range(4) for k in range(3)]
    labels, types, views = (np.array(column) for column in zip(*rows))
    embeddings = np.repeat(np.eye(4, dtype=np.float32), 3, 0)
    np.savez(saved, embeddings=embeddings, labels=labels, types=types, views=views)
    partition.write_text(json.dumps({"PROBE_SET": [f"{i:04d}-camid0-seq0" for i in range(4)]}))
    said = gaitext("evaluate", saved, "--dataset", "Gait3D", "--partition", partition, "--device", "cpu")
    assert "4 probes in 8 gallery sequences" in said
    assert "│ 100.00 │ 25.00 │ 4 │ 8 │" in said
    assert "it is for Gait3D" in gaitext("evaluate", saved, "--dataset", "CCPG", "--partition", partition, code=1)


def test_evaluate_psymo_and_its_table(tmp_path: Path) -> None:
    rows = [(i, t, v) for i in "ab" for t in ("nm-01", "nm-02", "bg") for v in ("000", "090", "270")]
    labels, types, views = np.array(rows).T
    saved = tmp_path / "saved.npz"
    np.savez(saved, embeddings=np.eye(len(rows)), labels=labels, types=types, views=views)
    table = tmp_path / "table.csv"
    options = ("--gallery", "all", "--exclude-same-walk", "--table", table)
    said = gaitext("evaluate", saved, "--dataset", "PsyMo", *options)
    assert said.startswith("PsyMo, gallery all (every sequence of the gallery's angle), metric euc")
    assert "Rank-1" in said
    assert "mAP" in said
    assert f"result in {table}" in said.replace("\n", "")
    assert "gallery all" in table.read_text()
    assert "leave it out: it is for PsyMo" in gaitext("evaluate", saved, "--gallery", "nm", code=1)
    assert "it is for PsyMo" in gaitext("evaluate", saved, "--dataset", "CCPG", "--exclude-same-walk", code=1)
    assert "did you mean 'same'" in gaitext("evaluate", saved, "--dataset", "PsyMo", "--gallery", "sme", code=1)
    assert "end its name in" in gaitext("evaluate", saved, "--dataset", "PsyMo", "--table", "a.doc", code=1)
    assert "--gallery" in gaitext("evaluate", "--help")


def test_help_names_every_command() -> None:
    said = gaitext("--help")
    names = "demo train test evaluate link unlink run doctor walkers prepare extract degrade convert inspect show study"
    for name in [*names.split(), "compare", "report"]:
        assert name in said


def test_degrade(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from gaitext.video import count_frames, write_video

    frames = np.random.default_rng(0).integers(0, 255, (6, 32, 48, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", frames)
    said = gaitext("degrade", tmp_path / "a.mp4", "--out", tmp_path / "out", "--crf", 45, "-q")
    assert "1 videos written" in said
    assert count_frames(tmp_path / "out/videos/a.mp4") == 6
    said = gaitext("degrade", tmp_path / "a.mp4", "--out", tmp_path / "out", "--crf", 45, "--bitrate", "1M", code=1)
    assert "give one" in said
    (tmp_path / "b.mp4").write_bytes(b"")
    assert "FAILED: b" in gaitext("degrade", tmp_path / "b.mp4", "--out", tmp_path / "out", "-q", code=1)


def test_show(small: Path, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    leaf = small / "walkers/sequences/001/nm-01/000"
    said = gaitext(
        "show", leaf, "--out", tmp_path / "a.png", "--what", "heatmap,parts", "--frames", 1, "--partition",
        "[[0, 1], [2]]", "--occlusions", "none,middle", "-q",
    )  # fmt: skip
    assert "a.png: 3 rows of none, middle" in said.replace("\n", "")
    assert "--video" in said
    assert "did you mean 'aligned'" in gaitext("show", leaf, "--out", tmp_path / "b.png", "--what", "alined", code=1)
    assert "no RGB" in gaitext("show", leaf, "--out", tmp_path / "b.png", "--what", "rgb", "-q", code=1)
    said = gaitext("show", leaf, "--out", tmp_path / "b.png", "--correct", tmp_path / "none.pt", code=1)
    assert "none.pt" in said
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    "command",
    [
        "walkers PLACE --identities 2 --train-identities 1 --types nm-01 --views 000 --frames 2",
        "convert DATA/walkers/sequences PLACE --form compact",
        "train DATA/config.yaml --output PLACE --device cpu",
        "test DATA/config.yaml --save-embeddings PLACE/e.npz --device cpu",
        "demo --out PLACE",
        "inspect DATA/walkers/sequences/001/nm-01/000 --sheet PLACE/s.png",
        "inspect DATA/walkers/sequences/001/nm-01/000 --overlay PLACE/o.mp4",
        "show DATA/walkers/sequences/001/nm-01/000 --out PLACE/s.png",
        "degrade VIDEOS/own/a_nm-01_000.mp4 --out PLACE",
        "extract VIDEOS/own/a_nm-01_000.mp4 --out PLACE --boxes full --estimator movenet:lightning",
        "prepare own VIDEOS/own --out PLACE",
    ],
    ids=lambda command: "-".join(word.lstrip("-") for word in command.split()[:1] + command.split()[-2:-1]),
)
@pytest.mark.parametrize("place", ["a file", "read-only"])
def test_places_that_cannot_be_written_are_said(small: Path, tmp_path: Path, command: str, place: str) -> None:
    pytest.importorskip("av")
    (tmp_path / "own").mkdir()
    for person in "ab":
        film(tmp_path / f"own/{person}_nm-01_000.mp4", 3)
    (tmp_path / "a file").touch()
    out = tmp_path / "a file" / "out" if place == "a file" else Path("/proc/self/out")
    words = command.replace("DATA", str(small)).replace("VIDEOS", str(tmp_path)).split()
    result = CliRunner().invoke(app, [word.replace("PLACE", str(out)) for word in words])
    assert isinstance(result.exception, GaitextError), result.output
    assert re.search(rf"{out}.* cannot be (written|made)[\s\S]*To mend it", str(result.exception))


def test_a_reader_that_has_seen_enough_ends_it_quietly(small: Path) -> None:
    command = f"{sys.executable} -c 'from gaitext.cli import main; main()'"
    done = subprocess.run(
        f"{command} inspect {small / 'walkers'} --json | head -c 1",
        shell=True, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("{", "")
