"""Runs mutated inputs, one after the other, in a process that may crash, hang or be refused memory.

Every module of this folder that has ``mutate(rng) -> (bytes, suffix)`` and ``check(path)`` is a kind of
input. ``check`` reads the file and raises whatever is wrong: a raw error, an error that names no file,
other data than were written. It returns a word for the count, ``read`` or ``refused``.
A case is a function of (seed, kind, number).
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["Finding", "Tally", "content_of", "kinds", "run"]

_HERE = Path(__file__).parent
#: Beyond what the process takes before the first case.
_MEMORY = 2 << 30
_SECONDS = 30.0


@dataclass
class Finding:
    """A case that went wrong: ``error``, ``crash`` or ``hang``, and what was seen."""

    kind: str
    number: int
    fault: str
    text: str


@dataclass
class Tally:
    """What became of a kind's cases, by word, and which went wrong."""

    words: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    seconds: float = 0.0

    def __str__(self) -> str:
        faults = Counter(finding.fault for finding in self.findings)
        counted = ", ".join(f"{count} {word}" for word, count in sorted(self.words.items()))
        wrong = ", ".join(f"{faults[fault]} {fault}" for fault in ("error", "crash", "hang"))
        return f"{counted or 'none right'}; {wrong}; {self.seconds:.0f} s"


def kinds() -> dict[str, str]:
    """Every kind and its module's name."""
    found = {}
    for path in sorted(_HERE.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if not path.stem.startswith("test_") and "\ndef mutate" in text and "\ndef check(" in text:
            found[path.stem] = f"{__package__}.{path.stem}"
    return found


def content_of(kind: str, seed: int, number: int) -> tuple[bytes, str]:
    """A case's bytes, and the suffix of its file's name."""
    module = importlib.import_module(kinds()[kind])
    content: tuple[bytes, str] = module.mutate(random.Random(f"{seed}/{kind}/{number}"))
    return content


def run(chosen: Sequence[str], count: int, seed: int = 0, first: int = 0) -> dict[str, Tally]:
    """Try ``count`` cases of each kind, from number ``first`` on."""
    tallies = {kind: Tally() for kind in chosen}
    todo = [(kind, number) for kind in chosen for number in range(first, first + count)]
    while todo:
        for kind, number, answer in _answers(todo, seed):
            tally, (word, text, seconds) = tallies[kind], answer
            tally.seconds += seconds
            if word in ("error", "crash", "hang"):
                tally.findings.append(Finding(kind, number, word, text))
            else:
                tally.words[word] += 1
            todo.pop(0)
    return tallies


def _answers(todo: list[tuple[str, int]], seed: int) -> Iterator[tuple[str, int, tuple[str, str, float]]]:
    """What one process finds, until it has done all or is lost."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    with tempfile.TemporaryDirectory() as folder:
        process = context.Process(target=_work, args=(theirs, list(todo), seed, folder), daemon=True)
        process.start()
        theirs.close()
        try:
            if not ours.poll(300):
                raise RuntimeError("the process for mutated inputs does not begin")
            with contextlib.suppress(EOFError):
                ours.recv()
            for kind, number in list(todo):
                begun = time.monotonic()
                answer = None
                if ours.poll(_SECONDS):
                    with contextlib.suppress(EOFError, ConnectionResetError):
                        answer = ours.recv()
                    if answer is None:
                        process.join()
                        answer = "crash", f"exit code {process.exitcode}", time.monotonic() - begun
                        yield kind, number, answer
                        return
                    yield kind, number, answer
                else:
                    yield kind, number, ("hang", f"no answer in {_SECONDS:.0f} s", _SECONDS)
                    return
        finally:
            process.kill()
            process.join()


def _work(pipe: Connection, todo: Iterable[tuple[str, int]], seed: int, folder: str) -> None:
    """The process: reads what ``todo`` names and answers for each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    modules: dict[str, Any] = {}
    for kind, name in kinds().items():
        if any(kind == asked for asked, _ in todo):
            modules[kind] = importlib.import_module(name)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + _MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    pipe.send("begun")
    for kind, number in todo:
        begun = time.monotonic()
        path = None
        try:
            content, suffix = content_of(kind, seed, number)
            path = Path(folder, f"case{number}{suffix}")
            path.write_bytes(content)
            word = modules[kind].check(path) or "right"
            answer = word, "", time.monotonic() - begun
        except BaseException:
            answer = "error", traceback.format_exc(limit=-6), time.monotonic() - begun
        if path is not None:
            path.unlink(missing_ok=True)
        pipe.send(answer)
