"""What gaitext's docstrings have that Markdown does not: roles of Sphinx, and examples beside text."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: ``:class:`~gaitext.models.GaitHeat```, ``:func:`draw```: the role, a tilde that shortens, the name.
_ROLE = re.compile(r":(?:class|func|mod|meth|data|attr|exc):`(~?)([\w.]+)`")
#: A page of the site. What is made of docstrings lies in a folder of the site.
_PAGE = re.compile(r"\bdocs/([\w-]+)\.md\b")
#: Entries ``a, b: text`` of a list, with the lines that go on below.
_TOGETHER = re.compile(r"^(?P<indent> +)(?P<names>\w+(?:, \w+)+): (?P<text>.*(?:\n(?P=indent) +\S.*)*)", re.MULTILINE)
#: Lines of a doctest, up to the next blank one.
_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", re.MULTILINE)


def as_markdown(text: str, module: str) -> str:
    """A docstring's text as Markdown.

    Roles become links, where the site has what they name, and pages' names, too; doctests become code.

    Args:
        text: the docstring, or a part of it.
        module: whose it is: names without a dot are looked for there.
    """

    def link(role: re.Match[str]) -> str:
        shortened, name = role.groups()
        shown = name.rpartition(".")[2] if shortened else name
        full = name if name.startswith("gaitext") else f"{module}.{name}"
        return f'<autoref identifier="{full}" optional><code>{shown}</code></autoref>'

    def fence(example: re.Match[str]) -> str:
        indent = example["indent"]
        return f"{indent}```pycon\n{example[0]}\n{indent}```"

    linked = _PAGE.sub(r'<a href="../\1.html">docs/\1.md</a>', _ROLE.sub(link, text))
    return _EXAMPLE.sub(fence, linked)


def in_google_style(text: str) -> str:
    """A docstring with the headings that Google's style knows, and one entry for each name.

    >>> print(in_google_style("    width, height: of the frame.\\n\\n    Raises (at call):"))
        width: of the frame.
        height: of the frame.
    <BLANKLINE>
        Raises:
    """

    def apart(entry: re.Match[str]) -> str:
        return "\n".join(f"{entry['indent']}{name}: {entry['text']}" for name in entry["names"].split(", "))

    headed = re.sub(r"^( *)Raises \(at \w+\):$", r"\1Raises:", text, flags=re.MULTILINE)
    return _TOGETHER.sub(apart, re.sub(r"^( *)Example:$", r"\1Examples:", headed, flags=re.MULTILINE))


class GaitextDocstrings(griffe.Extension):
    """Rewrites docstrings before mkdocstrings reads them, and takes ``#:`` comments for attributes' docstrings."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.is_attribute and obj.docstring is None and obj.lineno is not None:
            said = _comment_above(obj.lines_collection[obj.filepath], obj.lineno)
            obj.docstring = griffe.Docstring(said, parent=obj) if said else None
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(in_google_style(obj.docstring.value), obj.module.path)


def _comment_above(lines: list[str], line: int) -> str:
    """The comment ``#: …`` that ends above a line, counted from 1."""
    said: list[str] = []
    for text in reversed(lines[: line - 1]):
        if not text.lstrip().startswith("#:"):
            break
        said.insert(0, text.strip()[2:].strip())
    return "\n".join(said)
