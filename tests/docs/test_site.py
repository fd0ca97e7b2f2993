"""What tools/site makes of the code: the configuration reference, and links and examples of docstrings."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import Field

import gaitext
from gaitext.config import Settings
from gaitext.toolboxes import parts
from tests.docs.pages import ROOT

#: Settings of files that come with gaitext, and that nobody else writes.
DATA = ("gaitext.report.publications.", "gaitext.models.pretrained.")


@pytest.fixture(scope="module")
def tools() -> Iterator[dict[str, ModuleType]]:
    sys.path.insert(0, str(ROOT / "tools" / "site"))
    names = ("api", "configuration", "docstrings", "published")
    yield {name: importlib.import_module(name) for name in names}
    sys.path.pop(0)
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def reference(tools: dict[str, ModuleType]) -> Iterator[dict[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        # Other tests in this process may have registered models of their own.
        shipped = {name: kind for name, kind in parts.MODELS.items() if kind.__module__.startswith("gaitext.")}
        patch.setattr(parts, "MODELS", shipped)
        made: dict[str, str] = tools["configuration"].pages()
        yield made


class Below(Settings):
    """What lies below.

    Attributes:
        left, right: either side.
    """

    left: float = Field(1.0, gt=0, lt=2)
    right: float | None = None


class Above(Settings):
    """What lies above.

    Attributes:
        name: of it.
        sizes: of its stages.
        kind: of thing.
        below: see :class:`Below`.
        many: by name.
    """

    name: str = Field(pattern="^a")
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field((1, 2), min_length=1)
    kind: Literal["a", "b"] = "a"
    below: Below = Below()
    many: dict[str, Below] = Field(default_factory=dict)
    rest: list[Any] | None = None
    where: Path = Path("x")
    switch: bool = False


@pytest.mark.parametrize(
    ("name", "kind", "default", "sections"),
    [
        ("name", "text, like `^a`", None, []),
        ("sizes", "list: whole number, ≥ 1, at least 1 entry", "[1, 2]", []),
        ("kind", "`a` or `b`", "a", []),
        ("below", "section", "defaults below", ["below"]),
        ("many", "keys and values: section", "{}", ["many.NAME"]),
        ("rest", "list: anything or `null`", "null", []),
        ("where", "path", "x", []),
        ("switch", "`true` or `false`", "false", []),
    ],
)
def test_a_key(
    tools: dict[str, ModuleType],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    kind: str,
    default: str | None,
    sections: list[str],
) -> None:
    keys = {key.name: key for key in tools["configuration"].keys_of(Above)}
    assert (keys[name].kind, keys[name].default) == (kind, default)
    assert [place for place, _ in keys[name].sections] == sections


def test_bounds_and_texts_of_settings_and_of_what_they_inherit(
    tools: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Further(Below):
        """More.

        Attributes:
            more: of it.
        """

        more: int = 0

    for kind in (Below, Further):  # docstrings of others, pydantic's for one, are not read
        monkeypatch.setattr(kind, "__module__", "gaitext.made_up")
    keys = {key.name: key for key in tools["configuration"].keys_of(Further)}
    assert keys["left"].kind == "number, > 0, < 2"
    assert keys["right"].kind == "number or `null`"
    assert [keys[name].text for name in ("left", "right", "more")] == ["either side.", "either side.", "of it."]


def test_every_key_has_a_text(reference: dict[str, str]) -> None:
    silent = [
        f"{path}: {key}" for path, text in reference.items() for key in re.findall(r"^`(.*?)` .*\n:   –", text, re.M)
    ]
    assert not silent, "say in the settings' docstring, below Attributes, what these are"
    assert sum(len(re.findall(r"^:   ", text, re.MULTILINE)) for text in reference.values()) > 400


def test_all_settings_are_in_the_reference(reference: dict[str, str]) -> None:
    for module in pkgutil.walk_packages(gaitext.__path__, "gaitext."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    anchors = re.findall(r"^\[\]\(\)\{#(.*)\}$", "\n".join(reference.values()), re.MULTILINE)
    assert len(anchors) == len(set(anchors))

    def missing(kind: type[Settings]) -> set[str]:
        """Settings that are not there, and neither are any that inherit from them."""
        heirs = kind.__subclasses__()
        own = f"{kind.__module__}.{kind.__qualname__}"
        absent = {name for heir in heirs for name in missing(heir)}
        ours = own.startswith("gaitext.") and not own.startswith(DATA)
        there = own in anchors or any(not missing(heir) for heir in heirs)
        return absent if there or not ours else {own, *absent}

    assert {name for kind in Settings.__subclasses__() for name in missing(kind)} == set()


def test_the_site_lists_each_page_once(tools: dict[str, ModuleType], reference: dict[str, str]) -> None:
    def listed(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values() if isinstance(entry, dict) else entry:
                yield from listed(value)

    config = (ROOT / "mkdocs.yml").read_text("utf-8")
    pages = list(listed(yaml.safe_load(config[config.index("\nnav:") :])["nav"]))
    docs = ROOT / "docs"
    there = {str(path.relative_to(docs)) for kind in ("*.md", "*.ipynb") for path in docs.rglob(kind)}
    made = {*reference, *tools["api"].pages(), *tools["published"].pages()}
    assert sorted(pages) == sorted(there | made)


def test_docstrings_become_markdown(tools: dict[str, ModuleType]) -> None:
    as_markdown, in_google_style = (tools["docstrings"].as_markdown, tools["docstrings"].in_google_style)
    made = as_markdown("See :class:`~gaitext.models.GaitHeat` and :func:`draw`.", "gaitext.here")
    assert made == (
        'See <autoref identifier="gaitext.models.GaitHeat" optional><code>GaitHeat</code></autoref> and '
        '<autoref identifier="gaitext.here.draw" optional><code>draw</code></autoref>.'
    )
    assert as_markdown("Text:\n\n>>> 1 + 1\n2\n\nMore", "m") == "Text:\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore"
    assert as_markdown("(docs/scale.md)", "m") == '(<a href="../scale.html">docs/scale.md</a>)'
    given = "Args:\n    a, b: text,\n        and more.\n    c: else.\n\nRaises (at call):\n    X: why."
    assert in_google_style(given) == (
        "Args:\n    a: text,\n        and more.\n    b: text,\n        and more.\n    c: else.\n\nRaises:\n    X: why."
    )
