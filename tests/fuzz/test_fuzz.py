"""Some mutated inputs of every kind: a right read or a sentence, never a raw error, a crash or a hang.

``python tools/fuzz.py --count 10000`` tries more (docs/errors.md).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import running

#: Of each kind, as many as take a few seconds.
COUNT = {"boxes": 150, "checkpoint": 60, "leaf": 60, "npz": 40, "video": 60, "yaml_configs": 20}


@pytest.mark.parametrize("kind", sorted(COUNT))
def test_mutated_inputs_are_read_rightly_or_refused_in_a_sentence(kind: str) -> None:
    tally = running.run([kind], COUNT[kind])[kind]
    assert not tally.findings, "\n".join(f"{f.kind} {f.number}: {f.fault}: {f.text}" for f in tally.findings)
    assert sum(tally.words.values()) == COUNT[kind]
    assert set(tally.words) <= {"read", "refused"}


def test_every_kind_is_found() -> None:
    assert running.kinds().keys() == COUNT.keys()


@pytest.mark.parametrize("kind", sorted(COUNT))
def test_cases_are_the_same_everywhere(kind: str) -> None:
    assert running.content_of(kind, 0, 7) == running.content_of(kind, 0, 7)
    assert len({running.content_of(kind, 0, number)[0] for number in range(20)}) > 15


BAD = """
import os, signal, time
def mutate(rng):
    return b"x", ".bin"
def check(path):
    number = int(path.stem.removeprefix("case"))
    if number == 1:
        raise ValueError("raw")
    if number == 2:
        os.kill(os.getpid(), signal.SIGSEGV)
    if number == 3:
        bytearray(1 << 33)
    if number == 4:
        time.sleep(60)
"""


def test_what_goes_wrong_is_seen_and_does_not_stop_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = Path(running.__file__).with_name("bad_on_purpose.py")
    bad.write_text(BAD, encoding="utf-8")
    try:
        monkeypatch.setattr(running, "_SECONDS", 3.0)
        tally = running.run(["bad_on_purpose"], 6)["bad_on_purpose"]
    finally:
        bad.unlink()
    assert [(f.number, f.fault) for f in tally.findings] == [(1, "error"), (2, "crash"), (3, "error"), (4, "hang")]
    assert "raw" in tally.findings[0].text
    assert "MemoryError" in tally.findings[2].text
    assert tally.words == {"right": 2}
