"""The house of docs/architecture.md, held against the imports."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "tools" / "draw_architecture.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_circles(tool: ModuleType) -> None:
    assert tool.circles(tool.imports(ROOT / "gaitext")) == []


def test_nothing_imports_from_a_floor_above(tool: ModuleType) -> None:
    assert tool.climbing(tool.imports(ROOT / "gaitext")) == []


def test_the_page_names_the_floors(tool: ModuleType) -> None:
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for parts in tool.FLOORS:
        assert all(f"`{part}`" in page for part in parts), parts


def test_circles_and_climbing_are_found(tool: ModuleType, tmp_path: Path) -> None:
    """A package made up: a circle by way of a lazy import, and a network that imports a command."""
    package = tmp_path / "gaitext"
    files = {
        "__init__": "",
        "cli/__init__": "from gaitext.models import net\n",
        "models/__init__": "",
        "models/net": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import gaitext.models.free\n"
        "def f():\n    from gaitext.models.other import g\n",
        "models/other": "import gaitext.models.net\nfrom gaitext.cli import app\n",
        "models/free": "import gaitext.models.net\n",
    }
    for name, text in files.items():
        path = package / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    arrows = tool.imports(package)
    assert arrows["gaitext.cli"] == {"gaitext.models.net"}
    # By way of the command line, too.
    assert tool.circles(arrows) == [["gaitext.cli", "gaitext.models.net", "gaitext.models.other"]]
    assert tool.climbing(arrows) == ["gaitext.models.other -> gaitext.cli"]
