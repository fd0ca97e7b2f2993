"""The release kit: versions agree, requirements are whole, and wheel and sdist hold all that they must."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import HeaderParser
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from typer.testing import CliRunner

import gaitext
from gaitext import cli
from gaitext.toolboxes import doctor
from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox

ROOT = Path(__file__).parent.parent
#: What a release is made of; beside it may lie environments, results and the like.
FOLDERS = (".ci", ".github", "configs", "docs", "gaitext", "requirements", "tests", "tools")
FILES = (
    *(".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE", "MANIFEST.in"),
    *("README.md", "pyproject.toml", "setup.py", *(path.name for path in ROOT.glob("*.yml"))),
)
CFF_KEYS = {"cff-version", "message", "title", "authors", "license", "references"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def fallback() -> str:
    (found,) = re.findall(r'^FALLBACK_VERSION = "(.+)"$', read("setup.py"), re.MULTILINE)
    return found


def requirements(name: str) -> dict[str, Requirement]:
    lines = [line for line in read(f"requirements/{name}.txt").splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}


def own_requirements() -> set[str]:
    listed = (Requirement(line) for line in metadata.requires("gaitext") or [])
    return {canonicalize_name(requirement.name) for requirement in listed if requirement.marker is None}


def test_citation_names_the_four_papers() -> None:
    citation = yaml.safe_load(read("CITATION.cff"))
    assert set(citation) >= CFF_KEYS
    assert citation["license"] == "Apache-2.0"
    papers = {paper["scope"]: paper for paper in citation["references"]}
    assert list(papers) == ["GaitHeat", "GaitPT", "RG-Gait", "artifact correction"]
    for paper in papers.values():
        assert paper["title"]
        assert paper["type"]
        assert all(set(author) == {"given-names", "family-names"} for author in paper["authors"])
    assert [len(paper["authors"]) for paper in papers.values()] == [7, 3, 3, 5]


def test_versions_agree() -> None:
    assert gaitext.__version__ == metadata.version("gaitext")
    assert CliRunner().invoke(cli.app, ["--version"]).output.strip() == gaitext.__version__
    released = re.findall(r"^## \[(\d.+)\] - \d{4}-\d\d-\d\d$", read("CHANGELOG.md"), re.MULTILINE)
    assert re.findall(r"^## \[(.+)\]", read("CHANGELOG.md"), re.MULTILINE) == ["Unreleased", *released]
    assert released == sorted(released, key=Version, reverse=True)
    assert yaml.safe_load(read("CITATION.cff")).get("version") == next(iter(released), None)
    assert all(Version(version) < Version(fallback()) for version in released)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_version_is_the_tag(tmp_path: Path) -> None:
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)

    def version() -> str:
        command = [sys.executable, "setup.py", "--version"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.split()[-1]

    def git(*words: str) -> None:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", *words]
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    assert version() == fallback()
    git("init")
    git("add", ".")
    git("commit", "-m", "one")
    git("tag", "v7.8.9")
    assert version() == "7.8.9"
    git("commit", "--allow-empty", "-m", "two")
    assert Version(version()).base_version == "7.8.10"
    assert Version(version()).dev == 1


@pytest.mark.parametrize("name", ["opengait", "fastposegait"])
def test_requirements_are_names_in_order(name: str) -> None:
    listed = requirements(name)
    assert len(listed) >= 5
    assert list(listed) == sorted(listed)


@pytest.mark.toolbox
@pytest.mark.parametrize("toolbox", TOOLBOXES, ids=lambda toolbox: toolbox.name)
def test_requirements_hold_all_that_a_toolbox_imports(toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    root = os.environ.get(toolbox.environment)
    if root is None:
        pytest.skip(f"set {toolbox.environment} to a checkout of {toolbox.name}")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)  # as if nothing were installed
    imported = {canonicalize_name(package) for package in doctor._missing_packages(Path(root), toolbox)}
    listed = {name.removesuffix("-headless") for name in requirements(toolbox.package)}
    assert imported - own_requirements() <= listed
    assert listed - imported == {"tensorboard"}  # torch.utils.tensorboard's


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="the command is a POSIX shell's")
def test_wheel_and_sdist_are_whole(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]"))
    for file in FILES:
        shutil.copy(ROOT / file, copy)
    present = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    (command,) = re.findall(r"<!-- build -->\n```bash\n(.+?)\n```", read("CONTRIBUTING.md"), re.DOTALL)
    env = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
    done = subprocess.run(["bash", "-c", command], cwd=copy, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2

    (wheel,) = (copy / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        (about,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        headers = HeaderParser().parsestr(archive.read(about).decode())
        assert about.replace("METADATA", "licenses/LICENSE") in archive.namelist()
    wanted = {name for name in present if name.startswith("gaitext/")}
    wanted |= {f"gaitext/{name}" for name in present if name.startswith("configs/")}
    assert packed == wanted
    assert (headers["Name"], headers["Version"]) == ("gaitext", fallback())

    (sdist,) = (copy / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert present <= held
