"""Draw how gaitext's packages build on each other, read from their imports: ``python tools/draw_architecture.py``.

The picture is docs/images/architecture.png; docs/architecture.md says what the floors are. Imports
inside functions count; imports for type checkers alone do not.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.png"

#: From the top: a package or a module imports from its own floor and from those below.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("cli", "demo"),
    ("studies", "report"),
    ("standalone",),
    ("toolboxes",),
    ("restoration",),
    ("extraction", "inspect", "convert"),
    ("evaluation", "walkers", "training"),
    ("models", "losses", "transforms", "pose", "segmentation"),
    ("making", "execution", "store", "video", "occlusion", "checkpoints"),
    ("skeleton", "geometry", "config", "errors"),
)


def modules(package: Path) -> dict[str, Path]:
    """Dotted name -> file of every module of a package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(package: Path) -> dict[str, set[str]]:
    """Module -> the package's modules that it imports."""
    known = modules(package)
    return {
        name: {target for target in _targets(ast.parse(path.read_text("utf-8")), known) if target != name}
        for name, path in known.items()
    }


def _targets(tree: ast.AST, known: dict[str, Path]) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in known else node.module for name in below if node.module in known)
        else:
            yield from _targets(node, known)


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules each of which imports, by way of others, itself (Tarjan's components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for target in sorted(arrows[name]):
            if target not in index:
                visit(target)
            if target in stack:
                low[name] = min(low[name], low[target])
        if low[name] == index[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(arrows):
        if name not in index:
            visit(name)
    return found


def part(name: str) -> str:
    """The package or the single module below ``gaitext`` that a module belongs to."""
    return [*name.split("."), ""][1]


def floor(name: str) -> int | None:
    """A part's floor, counted from the lowest; None for what stands on none."""
    for number, parts in enumerate(reversed(FLOORS)):
        if name in parts:
            return number
    return None


def climbing(arrows: dict[str, set[str]]) -> list[str]:
    """Imports of a floor above, and parts that stand on no floor."""
    wrong = []
    for name, targets in arrows.items():
        for target in sorted(targets):
            mine, theirs = floor(part(name)), floor(part(target))
            if part(name) and part(target) and (mine is None or theirs is None or theirs > mine):
                wrong.append(f"{name} -> {target}")
    return wrong


def between(arrows: dict[str, set[str]]) -> Counter[tuple[str, str]]:
    """How many imports lead from one part to another."""
    pairs = ((part(name), part(target)) for name, targets in arrows.items() for target in targets)
    return Counter((a, b) for a, b in pairs if a and b and a != b)


def draw(package: Path, path: Path) -> None:
    """Draw the floors, how many lines each part has, and an arrow for what it imports."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.patches import FancyBboxPatch

    lines: Counter[str] = Counter()
    for name, file in modules(package).items():
        lines[part(name)] += len(file.read_text("utf-8").splitlines())
    figure, axes = pyplot.subplots(figsize=(11, 10.5))
    centre: dict[str, tuple[float, float]] = {}
    for number, parts in enumerate(reversed(FLOORS)):
        axes.axhspan(number - 0.42, number + 0.42, color="#f4f6f8" if number % 2 else "#e9edf2", zorder=0)
        width = 11 / max(map(len, FLOORS))
        for place, name in enumerate(parts):
            x = (place - (len(parts) - 1) / 2) * width
            centre[name] = (x, number)
            box = FancyBboxPatch(
                (x - 0.8, number - 0.26), 1.6, 0.52, boxstyle="round,pad=0.02", fc="white", ec="#41608a", zorder=3
            )
            axes.add_patch(box)
            axes.text(x, number + 0.07, name, ha="center", va="center", fontsize=10, weight="bold", zorder=4)
            axes.text(x, number - 0.14, f"{lines[name]:,} lines", ha="center", va="center", fontsize=7, zorder=4)
    for (a, b), count in between(imports(package)).items():
        if a in centre and b in centre and floor(b) != 0:  # everything imports errors and config
            (x, y), (u, v) = centre[a], centre[b]
            style = {"arrowstyle": "-|>", "color": "#41608a", "alpha": 0.35, "lw": min(0.6 + count / 12, 3)}
            start, end = (x, y - 0.28 if v < y else y), (u, v + 0.28 if v < y else v)
            axes.annotate("", end, start, arrowprops=style, zorder=1)
    axes.set_xlim(-5.6, 5.6)
    axes.set_ylim(-0.5, len(FLOORS) - 0.5)
    axes.axis("off")
    axes.set_title("gaitext: a part imports from its own floor and from floors below (lowest floor's arrows left out)")
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=PICTURE)
    draw(ROOT / "gaitext", parser.parse_args().out)
