"""The pages people read, and the commands on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

_BLOCK = re.compile(r"^(?P<marks>(?:<!--[^\n]*-->\n)*)```bash\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- (.*?) -->")
_INLINE = re.compile(r"`(gaitext [^`\n]+)`")
#: Words behind which another command begins.
_ENDS = {"&&", "||", ";", "|", "&", "do"}


@dataclass(frozen=True)
class Block:
    """A block of bash on a page."""

    page: Path
    line: int
    marks: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of bash on a page, with the comments that stand right above them."""
    text = page.read_text("utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start("text"))
        yield Block(page, line, tuple(_MARK.findall(found["marks"])), found["text"])


def inline(page: Path) -> Iterator[tuple[int, str]]:
    """Line and text of each `gaitext …` on a page, outside of blocks."""
    text = re.sub(r"^```.*?^```$", lambda b: "\n" * b[0].count("\n"), page.read_text("utf-8"), flags=re.M | re.S)
    for found in _INLINE.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, found[1]


def commands(text: str) -> list[list[str]]:
    """The simple commands of a script, as words.

    >>> commands("cd x && gaitext train \\\\\\n  'a b' # why\\nls")
    [['cd', 'x'], ['gaitext', 'train', 'a b'], ['ls']]
    """
    found: list[list[str]] = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        words.whitespace_split = True
        found.append([])
        for word in words:
            if word in _ENDS:
                found.append([])
            else:
                found[-1].append(word)
    return [words for words in found if words]
