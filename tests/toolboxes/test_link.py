"""Linking: one file, idempotent, never over somebody else's, and back to exactly what was."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaitext.errors import ToolboxError
from gaitext.toolboxes import link as linking
from gaitext.toolboxes import parts
from gaitext.toolboxes.link import link, link_state, plugin_text, unlink
from gaitext.toolboxes.toolbox import TOOLBOXES, detect

from .checkout import hashes
from .fake import make_toolbox

PLUGIN = "opengait/modeling/models/gaitext_plugin.py"


@pytest.fixture
def toolbox(tmp_path: Path) -> Path:
    return make_toolbox(tmp_path / "OpenGait")


def test_adds_one_file_and_removes_it(toolbox: Path) -> None:
    before = hashes(toolbox)
    report = link(toolbox)
    assert (report.action, report.toolbox, report.clashes) == ("linked", "OpenGait", ())
    assert set(hashes(toolbox)) - set(before) == {PLUGIN}
    assert (toolbox / PLUGIN).read_text().startswith("# gaitext-plugin 2 ")
    cache = toolbox / "opengait/modeling/models/__pycache__"
    cache.mkdir()
    (cache / "gaitext_plugin.cpython-311.pyc").touch()
    assert unlink(toolbox).action == "unlinked"
    assert hashes(toolbox) == before
    assert not cache.exists()


def test_is_idempotent(toolbox: Path) -> None:
    link(toolbox)
    stamp = (toolbox / PLUGIN).stat().st_mtime_ns
    assert link(toolbox).action == "already linked"
    assert (toolbox / PLUGIN).stat().st_mtime_ns == stamp
    unlink(toolbox)
    assert unlink(toolbox).action == "was not linked"


def test_renews_an_older_link(toolbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linking, "FORMAT", 0)
    link(toolbox)
    monkeypatch.undo()
    assert link_state(toolbox, TOOLBOXES[0]) == "outdated"
    assert link(toolbox).action == "updated"
    assert link_state(toolbox, TOOLBOXES[0]) == "current"


def test_renews_the_first_format_which_had_no_digest(toolbox: Path) -> None:
    body = plugin_text().partition("\n")[2]
    for names in ("('GaitHeat', 'GaitPT')", "('GaitHeat',)"):
        first = "# gaitext-plugin 1\n" + body.replace(str(tuple(sorted(parts.MODELS))), names)
        (toolbox / PLUGIN).write_text(first)
        assert link_state(toolbox, TOOLBOXES[0]) == "outdated"
        (toolbox / PLUGIN).write_text(first + "import mine\n")
        assert link_state(toolbox, TOOLBOXES[0]) == "edited"
    (toolbox / PLUGIN).write_text(first)
    assert link(toolbox).action == "updated"


@pytest.mark.parametrize("action", [link, unlink])
@pytest.mark.parametrize(
    ("old", "new"),
    [("do not edit.", "edited."), ("# gaitext-plugin 2", "# gaitext-plugin 3"), ("\n\n\n", "\n\nimport mine\n\n")],
)
def test_leaves_an_edited_link_alone(toolbox: Path, action: object, old: str, new: str) -> None:
    link(toolbox)
    text = (toolbox / PLUGIN).read_text()
    edited = text.replace(old, new, 1) if old in text else ""
    (toolbox / PLUGIN).write_text(edited)
    before = hashes(toolbox)
    if old.startswith("#"):  # another version's: the body is as it was written
        assert link_state(toolbox, TOOLBOXES[0]) == "outdated"
        return
    with pytest.raises(ToolboxError, match=r"was edited since .* left alone"):
        action(toolbox)  # type: ignore[operator]
    assert hashes(toolbox) == before


def test_a_folder_that_cannot_be_written_is_named(toolbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link(toolbox)

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(30, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(ToolboxError, match=r"gaitext_plugin\.py: cannot be removed \(Read-only"):
        unlink(toolbox)


@pytest.mark.parametrize("action", [link, unlink])
def test_leaves_a_foreign_file_alone(toolbox: Path, action: object) -> None:
    (toolbox / PLUGIN).write_text("class Mine: ...\n")
    before = hashes(toolbox)
    with pytest.raises(ToolboxError, match="not gaitext's file"):
        action(toolbox)  # type: ignore[operator]
    assert hashes(toolbox) == before


def test_failed_write_leaves_nothing(toolbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = hashes(toolbox)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    with pytest.raises(ToolboxError, match="No space left"):
        link(toolbox)
    assert hashes(toolbox) == before


def test_wrong_folder_names_the_right_one(toolbox: Path, tmp_path: Path) -> None:
    for wrong in (toolbox / "opengait", tmp_path):
        with pytest.raises(ToolboxError, match="did you mean") as caught:
            link(wrong)
        assert str(toolbox.resolve()) in str(caught.value)
    with pytest.raises(ToolboxError, match="no such folder"):
        detect(tmp_path / "missing")
    (toolbox / "configs/default.yaml").unlink()
    with pytest.raises(ToolboxError, match=r"looks like OpenGait, but configs/default\.yaml is missing"):
        detect(toolbox)
    (tmp_path / "empty").mkdir()


def test_empty_folder_is_told_what_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ToolboxError, match=r"looked for opengait/main\.py \(OpenGait\)") as caught:
        detect(tmp_path)
    assert "github.com" in str(caught.value)


def test_reports_clashes(tmp_path: Path) -> None:
    root = make_toolbox(tmp_path, zoo="class GaitHeat:\n    pass\n")
    (root / "opengait/data/transform.py").write_text("def helper(): ...\n\nclass HeatmapInput: ...\n")
    clashes = link(root).clashes
    assert [c.split(" is also")[0] for c in clashes] == ["the model GaitHeat", "the transform HeatmapInput"]
    assert "opengait/modeling/models/zoo.py" in clashes[0]
