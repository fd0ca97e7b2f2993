"""Every command on the pages: it exists with its options, and its block says who runs it or what it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from gaitext.cli import app
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, inline

COMMAND: Any = typer.main.get_command(app)
#: click's error of a wrong command line; newer versions of typer have a click of their own.
USAGE = typer.BadParameter.__mro__[1]

#: What a block may need that a test does not have.
NEEDS = {
    "licensed data",
    "a GPU",
    "weights",
    "a toolbox",
    "a cluster",
    "a download",
    "time",
    "your files",
    "an environment of its own",
}
BLOCKS = [block for page in PAGES for block in blocks(page)]


def is_group(command: Any) -> bool:
    return hasattr(command, "commands")


def parse(arguments: list[str]) -> Any:
    """The click context of a command line; nothing is run.

    Raises:
        USAGE: no such command or option, an argument too many or too few, a value of another type.
    """
    command = COMMAND
    context = command.make_context("gaitext", list(arguments))
    while is_group(command):
        words = [*(getattr(context, "_protected_args", None) or []), *context.args]
        if not words and command.invoke_without_command:
            break
        name, command, rest = command.resolve_command(context, words)
        context = command.make_context(name, rest, parent=context)
    return context


def unknown_words(arguments: list[str]) -> list[str]:
    """Words of a command line, be it incomplete, that name no command, and options that are not there."""
    command, words = COMMAND, list(arguments)
    while is_group(command) and words and not words[0].startswith(("-", "…")):
        _, found, rest = command.resolve_command(command.make_context("", [], resilient_parsing=True), words)
        if found is None:
            return [words[0]]
        command, words = found, list(rest)
    if "--" in words:
        words = words[: words.index("--")]
    if command.context_settings.get("ignore_unknown_options"):
        return []
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options = [word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z][\w-]*(=.*)?", word)]
    return [option for option in options if option not in {*known, "--help", "-h"}]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_commands_of_a_block_are_there(block: Block) -> None:
    for words in commands(block.text):
        name = Path(words[0]).name
        if name == "gaitext" and words[1:] != ["--help"]:
            parse(words[1:])
        elif name in ("python", "python3") and len(words) > 1 and words[1].endswith(".py"):
            assert (ROOT / words[1]).is_file(), words[1]
        for word in words:
            if re.match(r"(configs|tests|tools)/", word) and "opengait/main.py" not in words:
                assert (ROOT / word.partition("::")[0]).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_the_text_are_there(page: Path) -> None:
    unknown = [
        (line, wrong)
        for line, text in inline(page)
        for words in commands(text)
        if words[0] == "gaitext" and (wrong := unknown_words(words[1:]))
    ]
    assert not unknown


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_says_who_runs_it_or_what_it_needs(block: Block) -> None:
    said = [mark.partition(": ") for mark in block.marks if mark.startswith(("run by: ", "needs: "))]
    assert len(said) == 1, f"{block}: put <!-- run by: TEST --> or <!-- needs: … --> above it"
    ((kind, _, what),) = said
    if kind == "needs":
        assert set(what.split(", ")) <= NEEDS
    else:
        file, _, test = what.partition("::")
        assert (ROOT / file).is_file()
        assert test in (ROOT / file).read_text("utf-8")


def test_wrong_commands_are_found() -> None:
    for wrong in (["trian", "x"], ["train"], ["train", "x", "--nproc", "two"], ["train", "x", "--epochs", "1"]):
        with pytest.raises(USAGE):
            parse(wrong)
    assert parse(["train", "x", "--nproc", "2"]).params["nproc"] == 2
    assert unknown_words(["config", "nwe"]) == ["nwe"]
    assert unknown_words(["train", "--epochs", "1"]) == ["--epochs"]
    assert unknown_words(["train", "--nproc", "2"]) == []
