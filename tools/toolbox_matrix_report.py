"""The toolbox matrix as a markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolbox_matrix_configs import CASES, MODELS

__all__ = ["markdown"]

_HEAD = """# The toolbox matrix

Every model of gaitext in every case, through the toolboxes' own, unchanged `main.py`. Made by

```
{command}
```

with {toolboxes}, on the {device}, with {processes} processes. Each cell is a `gaitext run` of
its own on tiny walkers (sequences of 1 to 9 frames) with a tiny network, {iterations} iterations: what is shown is that
it runs, that losses and weights are numbers, that the log says what it must (restored from, the protocol's results) and
that the checkpoint is there; not that anything is learnt. FastPoseGait tests in packs of four sequences, OpenGait one
sequence per process, as it insists.
"""

_CASES = """
- **train**: {iterations} iterations, with `find_unused_parameters: false`, which is both toolboxes' default.
- **resume**: goes on from **train**'s checkpoint by `restore_hint: {iterations}`.
- **test**: of **train**'s checkpoint; **test elsewhere**: of it on another dataset than trained on, by a path in
  `restore_hint`.
- **`with_test`**: tests from within the training.
- **`enable_float16`**, **`sync_BN`**: have no counterpart on the CPU; gaitext switches them off there and says so, and
  what is shown is that such a config trains.
- **`fix_BN`**: from **train**'s checkpoint (by a path); BatchNorms' statistics must not move. GaitPT,
  RGGaitOEM and ArtifactCorrector have no BatchNorm: of them `sync_BN` and `fix_BN` show that such a config trains.
- **`find_unused_parameters`**: `true`.

A cell gives its result with {each}: ✓ is ok, ✗ failed, – not applicable, · not run.
"""


def _cell(cells: Sequence[Mapping[str, Any]]) -> str:
    signs = {"ok": "✓", "failed": "✗", "not applicable": "–", "not run": "·"}
    shown = [signs[cell["state"]] for cell in cells]
    return "–" if set(shown) == {"–"} else " ".join(shown)


def markdown(results: Mapping[str, Any]) -> str:
    """The page.

    Args:
        results: ``matrix.json``.
    """
    toolboxes = list(dict.fromkeys(cell["toolbox"] for cell in results["cells"].values()))
    processes = results["processes"]
    both = " and ".join(str(count) for count in processes)
    commits = " and ".join(f"{name} {results['checkouts'][name]['commit']}" for name in toolboxes)
    device = "CPU" if results["device"] == "cpu" else "GPU"
    facts = {"command": results["command"], "toolboxes": commits, "device": device, "processes": both}
    lines = [_HEAD.format(**facts, iterations=results["iterations"]).rstrip()]
    each = " / ".join(f"{count} process{'es' if count > 1 else ''}" for count in processes)
    lines.append(_CASES.format(iterations=results["iterations"], each=each))
    for toolbox in toolboxes:
        own = [cell for cell in results["cells"].values() if cell["toolbox"] == toolbox]
        lines += [f"## {toolbox}", "", "| model | " + " | ".join(c.title for c in CASES.values()) + " |"]
        lines.append("|---" * (len(CASES) + 1) + "|")
        for model in MODELS:
            row = [[c for c in own if (c["model"], c["case"]) == (model, case)] for case in CASES]
            if any(row):
                lines.append(f"| {model} | " + " | ".join(_cell(cells) if cells else "" for cells in row) + " |")
        lines += ["", *_remarks(own), ""]
    lines += [*_evaluations(results["evaluations"].values()), ""]
    lines += ["## What is left behind", "", *_left(results["checkouts"])]
    return "\n".join(lines) + "\n"


def _remarks(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    states = [cell["state"] for cell in cells]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("ok", "failed", "not applicable", "not run") if s in states)
    seconds = [cell["seconds"] for cell in cells if cell.get("seconds")]
    mean = f"; {sum(seconds) / len(seconds):.0f} s a run" if seconds else ""
    lines = [f"{len(cells)} cells: {counts}{mean}."]
    for cell in cells:
        if cell["state"] == "failed":
            one = f"{cell['model']}, {cell['case']}, {cell['processes']} process{'es' if cell['processes'] > 1 else ''}"
            lines.append(f"- ✗ {one}: `{cell['reason']}`")
    for reason in dict.fromkeys(cell["reason"] for cell in cells if cell["state"] == "not applicable"):
        lines.append(f"- –: {reason}.")
    return lines


def _evaluations(found: Any) -> list[str]:
    lines = [
        "## Evaluators",
        "",
        "Rank-1 (%) over walkers laid out as each dataset, of a GaitHeat that has hardly been trained: the toolbox's "
        "function / gaitext's on the same embeddings. They agree to the toolboxes' rounding (each pair of views to two "
        "digits, before averaging). PsyMo they do not know: there both columns are gaitext's function, called by the "
        "toolbox and beside it.",
        "",
        "| toolbox | dataset | function | sequences | rank-1 | |",
        "|---|---|---|---|---|---|",
    ]
    for row in found:
        if row["state"] in ("not applicable", "not run"):
            lines.append(f"| {row['toolbox']} | {row['dataset']} | | | {row['reason'] or 'not run'} | – |")
            continue
        pairs = "; ".join(f"{name} {a:.2f} / {b:.2f}" for name, (a, b) in row.get("numbers", {}).items())
        sign = "✓" if row["state"] == "ok" else f"✗ {row['reason']}"
        function = f"`{row.get('function', '')}` ({row.get('whose', '')}'s)"
        lines.append(
            f"| {row['toolbox']} | {row['dataset']} | {function} | {row.get('sequences', '')} | {pairs} | {sign} |"
        )
    return lines


def _left(checkouts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, found in checkouts.items():
        added = ", ".join(f"`{line.strip()}`" for line in found["added"]) or "nothing"
        lines.append(f"- {name}: while it was linked, `git status` had one thing more: {added}.")
        if found["changed"]:
            lines.append(f"  After unlinking, {len(found['changed'])} differ: {', '.join(found['changed'][:5])}.")
        else:
            lines.append(f"  After unlinking, all {found['files']} files are what they were, to the byte.")
    return lines
