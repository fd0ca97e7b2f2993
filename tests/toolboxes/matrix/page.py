"""The toolbox matrix as a markdown page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gaitext.evaluation.result import markdown_table
from tests.toolboxes.matrix.configs import CASES, MODELS, PROCESSES

_HEAD = """# The toolbox matrix

Every model of gaitext in every case, through the toolboxes' own, unchanged `main.py`. Made by

```
OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… GAITEXT_WRITE_DOCS=1 python -m pytest tests/toolboxes/matrix
```

with {commits}, on the CPU, with 1 and 2 processes. Each cell is a `gaitext run` of
its own on tiny walkers (sequences of 1 to 9 frames) with a tiny network, 2 iterations: what is shown is that
it runs, that losses and weights are numbers, that the log says what it must (restored from, the protocol's results) and
that the checkpoint is there; not that anything is learnt. FastPoseGait tests in packs of four sequences, OpenGait one
sequence per process, as it insists.

- **train**: 2 iterations, with `find_unused_parameters: false`, which is both toolboxes' default.
- **resume**: goes on from **train**'s checkpoint by `restore_hint: 2`.
- **test**: of **train**'s checkpoint; **test elsewhere**: of it on another dataset than trained on, by a path in
  `restore_hint`.
- **`with_test`**: tests from within the training.
- **`enable_float16`**, **`sync_BN`**: have no counterpart on the CPU; gaitext switches them off there and says so, and
  what is shown is that such a config trains.
- **`fix_BN`**: from **train**'s checkpoint (by a path); BatchNorms' statistics must not move. GaitPT,
  RGGaitOEM and ArtifactCorrector have no BatchNorm: of them `sync_BN` and `fix_BN` show that such a config trains.
- **`find_unused_parameters`**: `true`.

A cell gives its result with 1 process / 2 processes: ✓ is ok, ✗ failed, – not applicable, · not run.
"""


def markdown(results: Mapping[str, Any]) -> str:
    """The page.

    Args:
        results: ``cells``, ``evaluations`` and ``checkouts`` by name, as the tests record them.
    """
    lines = [_HEAD.format(commits=" and ".join(f"{n} {found['commit']}" for n, found in results["checkouts"].items()))]
    for toolbox in results["checkouts"]:
        own = [cell for cell in results["cells"].values() if cell["toolbox"] == toolbox]
        found = {(cell["model"], cell["case"], cell["processes"]): cell["state"] for cell in own}
        ran = {model for model, _, _ in found}
        rows = [[m, *(_cell([found.get((m, c, p)) for p in PROCESSES]) for c in CASES)] for m in MODELS if m in ran]
        lines += [f"## {toolbox}", "", *markdown_table(["model", *(case.title for case in CASES.values())], rows)]
        lines += ["", *_remarks(own), ""]
    lines += [*_evaluations(results["evaluations"].values()), ""]
    lines += ["## What is left behind", "", *_left(results["checkouts"])]
    return "\n".join(lines) + "\n"


def _cell(states: Sequence[str | None]) -> str:
    """A model's states in a case with each number of processes; None: it was not run."""
    signs = {"ok": "✓", "failed": "✗", "not applicable": "–", None: "·"}
    shown = [signs[state] for state in states]
    return "–" if set(shown) == {"–"} else " ".join(shown)


def _remarks(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    states = [cell["state"] for cell in cells]
    counts = ", ".join(f"{states.count(s)} {s}" for s in ("ok", "failed", "not applicable") if s in states)
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
    ]
    rows = []
    for row in found:
        if row["state"] == "not applicable":
            rows.append([row["toolbox"], row["dataset"], "", "", row["reason"], "–"])
            continue
        pairs = "; ".join(f"{name} {a:.2f} / {b:.2f}" for name, (a, b) in row.get("numbers", {}).items())
        sign = "✓" if row["state"] == "ok" else f"✗ {row['reason']}"
        function = f"`{row.get('function', '')}` ({row.get('whose', '')}'s)"
        rows.append([row["toolbox"], row["dataset"], function, str(row.get("sequences", "")), pairs, sign])
    return lines + markdown_table(["toolbox", "dataset", "function", "sequences", "rank-1", ""], rows)


def _left(checkouts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, found in checkouts.items():
        added = ", ".join(f"`{line.strip()}`" for line in found["added"]) or "nothing"
        lines.append(f"- {name}: while it was linked, `git status` had one thing more: {added}.")
        lines.append(f"  After unlinking, all {found['files']} files are what they were, to the byte.")
    return lines
