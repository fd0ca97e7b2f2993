"""Runs the blocks whose mark names this file, on data so small that each takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.docs.pages import PAGES, Block, blocks, commands
from tests.test_cli import gaitext

MARK = "run by: tests/docs/test_run.py"
BLOCKS = [block for page in PAGES for block in blocks(page) if MARK in block.marks]
#: Put behind a command, where it replaces what the page says: as long, or with as many people, it would take minutes.
SHORTER = {
    ("config", "new"): ["--iterations", "2"],
    ("walkers", "people"): ["--identities", "4", "--train-identities", "2", "--frames", "4"],
}


def run(text: str) -> None:
    for words in commands(text):
        assert words[0] == "gaitext", words
        gaitext(*words[1:], *SHORTER.get((words[1], words[2]), []))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``clips`` of four people, with each one's boxes beside it in ``boxes``."""
    root = tmp_path_factory.mktemp("films")
    gaitext(
        "walkers", root, "--identities", 4, "--train-identities", 2, "--frames", 10, "--types", "nm-01,nm-02",
        "--views", "090", "--content", "video", "-q",
    )  # fmt: skip
    return root / "videos"


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder ``data`` of heatmaps and poses, as ``gaitext walkers`` makes them."""
    root = tmp_path_factory.mktemp("people") / "data"
    gaitext(
        "walkers", root, "--identities", 4, "--train-identities", 2, "--frames", 4, "--types", "nm-01,bg-01,cl-01",
        "--views", "000,090,180", "-q",
    )  # fmt: skip
    return root


def nothing(here: Path, request: pytest.FixtureRequest) -> None:
    """The block makes its own data."""


def clips(here: Path, request: pytest.FixtureRequest) -> None:
    shutil.copytree(request.getfixturevalue("films"), here / "clips")


def data(here: Path, request: pytest.FixtureRequest) -> None:
    shutil.copytree(request.getfixturevalue("people"), here / "data")


def trained(here: Path, request: pytest.FixtureRequest) -> None:
    """A config whose training is done, and a list of who is enrolled."""
    data(here, request)
    run("gaitext config new --model gaitheat --data data && gaitext train gaitheat.yaml")
    (here / "enrolled.txt").write_text("003/nm-01\n004/nm-01\n")


#: Page and first command of a block -> what makes that ready which the reader of the page has by then.
READY: dict[tuple[str, str], Callable[[Path, pytest.FixtureRequest], None]] = {
    ("README.md", "gaitext extract clips"): clips,
    ("datasets.md", "gaitext prepare heatmap-poses"): data,
    ("inspect.md", "gaitext walkers w"): nothing,
    ("own-data.md", "gaitext extract clips"): clips,
    ("own-data.md", "gaitext walkers people"): nothing,
    ("own-data.md", "gaitext test gaitheat.yaml"): trained,
    ("storage.md", "gaitext convert data/sequences"): data,
}


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_the_block_runs(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.chdir(tmp_path)
    READY[block.page.name, " ".join(commands(block.text)[0][:3])](tmp_path, request)
    run(block.text)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    for saved in tmp_path.glob("*.npz"):
        with np.load(saved) as file:
            assert len(file["labels"])
