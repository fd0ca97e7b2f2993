"""Published results as tables: a page made of ``gaitext/report/published/*.yaml``, where there are such files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parents[2] / "gaitext" / "report" / "published"
#: A table of more metrics has a row for each of them, and a column for each system.
WIDEST = 10


def pages(folder: Path = FOLDER) -> dict[str, str]:
    """Path below ``docs`` -> Markdown; empty where the folder has no tables."""
    papers = [yaml.safe_load(path.read_text("utf-8")) for path in sorted(folder.glob("*.yaml"))]
    if not papers:
        return {}
    made = [
        "# Published results",
        "These numbers are the papers'. None of them was made with gaitext. `gaitext report` puts them beside a run of "
        "the same data set and protocol, and marks them as published.",
    ]
    for paper in papers:
        made.append(f"## {paper['paper']}")
        for table in paper["tables"]:
            on = " · ".join(
                text
                for text in (
                    f"tested on {table['dataset']}" if table.get("dataset") else "the paper does not name the data set",
                    f"trained on {table['trained_on']}" if table.get("trained_on") else "",
                    table["protocol"],
                )
                if text
            )
            made += [f"### {table['table']}", on[0].upper() + on[1:] + ".", _table(table["rows"])]
    return {"published.md": "\n\n".join(made) + "\n"}


def _table(rows: list[dict[str, Any]]) -> str:
    metrics = list(dict.fromkeys(metric for row in rows for metric in row["numbers"]))
    inputs = any(row.get("input") for row in rows)
    head = ["published", *(["input"] if inputs else []), *metrics]
    lines = [head, ["---"] * (len(head) - len(metrics)) + ["---:"] * len(metrics)]
    for row in rows:
        numbers = [f"{row['numbers'][metric]:g}" if metric in row["numbers"] else "–" for metric in metrics]
        lines.append([row["system"], *([row.get("input") or "–"] if inputs else []), *numbers])
    if len(metrics) > WIDEST and not inputs:
        lines = [list(column) for column in zip(*(line for line in lines if line is not lines[1]))]
        lines.insert(1, ["---"] + ["---:"] * len(rows))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
