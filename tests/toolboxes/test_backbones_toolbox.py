"""Every model class of both toolboxes under RG-Gait: trained and tested once, or refused with the reason.

Needs checkouts, and what their models import (opencv, kornia, lightly, …). What comes out is the table in
docs/rg-gait-backbones.md, one section a toolbox, which ``GAITEXT_WRITE_DOCS=1`` writes anew::

    OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… GAITEXT_WRITE_DOCS=1 pytest -m toolbox tests/toolboxes/test_backbones_toolbox.py

``GAITEXT_WALK=folder`` keeps what was walked there, so that a walk that was stopped goes on.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox

from .checkout import linked_copy, needs

DOCS = Path(__file__).parents[2] / "docs/rg-gait-backbones.md"
#: Of the embeddings' scale.
CLOSE = 1e-6


def verdict(row: Mapping[str, Any]) -> str:
    """What happened, in a table's cell."""
    if row.get("own"):
        return "gaitext's own is used under that name"
    refusals = [text.rstrip(".") for text in row["refusals"]]
    if "difference" not in row:
        if "unbuilt" in row:
            refusals.append(f"nor can the toolbox build it here: {row['unbuilt']}")
        if row.get("alone"):
            refusals.append("the toolbox cannot test it here either")
        return "refused: " + "; ".join(dict.fromkeys(refusals))
    done = "trains and tests"
    if row.get("added"):
        done += f" with `{row['added']}`, which the config lacks"
    if row["settings"]:
        given = ", ".join(f"{key}: {json.dumps(value)}" for key, value in row["settings"].items())
        done += f" with `{given.replace(chr(34), '')}`; without, refused: {refusals[0]}"
    return done


def table(found: Mapping[str, Any]) -> str:
    """A toolbox's section."""
    heads = (
        "model",
        "config",
        "a frame of each input: transforms",
        "outcome",
        "FRN's weights trained",
        "f is the model's",
    )
    lines = [f"| {' | '.join((*heads, 'difference'))} |", "| --- " * 7 + "|"]
    configs = found["configs"]
    for name in sorted(configs, key=lambda name: (configs[name]["model"].lower(), name)):
        row = configs[name]
        if "like" in row:
            continue
        alike = sum(other.get("like") == name for other in configs.values())
        more = f" and {alike} built alike" if alike else ""
        trained = f"{row['trained']} of {row['of']}" if "trained" in row else ""
        text = verdict(row).replace("|", "\\|")
        if row.get("mimicked"):
            text += "; so does MimicGait"
        difference = f"{row['difference']:.0e}" if "difference" in row else ""
        cells = (
            row["model"],
            f"{name}{more}",
            row.get("inputs", ""),
            text,
            trained,
            row.get("compares", ""),
            difference,
        )
        lines.append(f"| {' | '.join(cells)} |")
    named = {row["model"] for row in configs.values()}
    rest = [name for name in found["classes"] if name not in named]
    lines += ["", f"Without a config of their own: {', '.join(rest) or 'none'}."]
    return "\n".join(lines)


def section(text: str, toolbox: str) -> str:
    """What stands between a toolbox's heading and the next."""
    return text.partition(f"\n## {toolbox}\n")[2].partition("\n## ")[0].strip()


def rounded(section: str) -> str:
    """Without the differences, as another machine rounds otherwise."""
    return re.sub(r"\| \d+e[-+]\d+ \|", "| |", section)


def test_the_table_says_what_happened() -> None:
    found = {
        "classes": ["A", "B", "C", "Odd"],
        "configs": {
            "b.yaml": {"model": "B", "refusals": ["B reads images"]},
            "a.yaml": {
                **{"model": "A", "refusals": ["input 1 tells"], "settings": {"inputs": ["silhouettes", "other"]}},
                **{"compares": "its embedding", "difference": 2e-7, "trained": 3, "of": 4, "inputs": "[9, 9]: T"},
            },
            "a2.yaml": {"model": "A", "like": "a.yaml"},
            "c.yaml": {"model": "C", "own": True},
        },
    }
    text = table(found)
    assert (
        "| A | a.yaml and 1 built alike | [9, 9]: T | trains and tests with `inputs: [silhouettes, other]`; without, "
        "refused: input 1 tells | 3 of 4 | its embedding | 2e-07 |"
    ) in text
    assert "| B | b.yaml |  | refused: B reads images |  |  |  |" in text
    assert "Without a config of their own: Odd." in text
    assert rounded(text).count("| |") == 1
    assert section(f"# x\n\n## T\n\n{text}\n\n## U\n\nno", "T") == text


@pytest.mark.toolbox
@pytest.mark.slow
@pytest.mark.parametrize("toolbox", [pytest.param(each, id=each.name, marks=needs(each)) for each in TOOLBOXES])
def test_every_model_trains_and_tests_or_is_refused(toolbox: Toolbox, tmp_path: Path) -> None:
    kept = Path(os.environ.get("GAITEXT_WALK", tmp_path))
    result = kept / f"{toolbox.name}.json"
    with linked_copy(toolbox, tmp_path) as root:
        command = [sys.executable, "-m", "tests.toolboxes.walk", str(root), str(result)]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(command, check=True, cwd=DOCS.parents[1], env=environment, stdout=subprocess.DEVNULL)
    found = json.loads(result.read_text())
    rows = found["configs"]
    assert not {name: row["trace"] for name, row in rows.items() if "fault" in row}
    assert not {name: row["difference"] for name, row in rows.items() if row.get("difference", 0) > CLOSE}
    assert all(row.get("own") or "like" in row or row["refusals"] or "difference" in row for row in rows.values())
    text = DOCS.read_text(encoding="utf-8")
    if os.environ.get("GAITEXT_WRITE_DOCS"):
        old = section(text, toolbox.name)
        assert old, f"no section {toolbox.name} in {DOCS.name}"
        DOCS.write_text(text.replace(old, table(found)), encoding="utf-8")
    else:
        assert rounded(section(text, toolbox.name)) == rounded(table(found))
