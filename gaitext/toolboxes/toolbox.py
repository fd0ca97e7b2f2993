"""What differs between the toolboxes: one :class:`Toolbox` row each, and nothing elsewhere.

Facts only (docs/toolbox-contract.md), learnt from the toolboxes' interface.
"""

from __future__ import annotations

import ast
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from gaitext.errors import ToolboxError


@dataclass(frozen=True)
class ExtensionPoint:
    """Where a toolbox looks one kind of part up by the name a YAML gives.

    Attributes:
        kind: what it is called in messages.
        table: the table of :mod:`gaitext.toolboxes.parts` that lists gaitext's.
        module: the toolbox's module whose attributes are looked up.
        sources: globs, below the toolbox's package, of the files that fill that module.
    """

    kind: str
    table: str
    module: str
    sources: tuple[str, ...]


#: The same in both toolboxes.
EXTENSION_POINTS = (
    ExtensionPoint("model", "MODELS", "modeling.models", ("modeling/models/*.py", "modeling/models/*/__init__.py")),
    ExtensionPoint("transform", "TRANSFORMS", "data.transform", ("data/transform.py",)),
    ExtensionPoint("loss", "LOSSES", "modeling.losses", ("modeling/losses/*.py",)),
    ExtensionPoint("sampler", "SAMPLERS", "data.sampler", ("data/sampler.py",)),
    ExtensionPoint("evaluation", "EVALUATIONS", "evaluation.evaluator", ("evaluation/evaluator.py",)),
)


@dataclass(frozen=True)
class Toolbox:
    """One toolbox.

    Attributes:
        name: as its authors write it.
        package: the folder, below the root, that holds main.py and the top-level packages.
        tested: the commit gaitext was tried with.
        weight_hooks: methods, beside ``init_parameters``, that overwrite weights after
            ``build_network``.
        samplers: its own samplers, for where its files cannot be looked at.
        test_batch_is_world: its test insists on batch size = number of processes.
        default_cfg: the YAML it merges under every config.
        environment: the variable in which gaitext's tests look for its root.
        url: where to get it.
    """

    name: str
    package: str
    tested: str
    weight_hooks: tuple[str, ...]
    samplers: tuple[str, ...]
    test_batch_is_world: bool
    default_cfg: str
    environment: str
    url: str

    @property
    def main(self) -> str:
        """The main script, relative to the root."""
        return f"{self.package}/main.py"

    @property
    def plugin(self) -> str:
        """Where the plug-in goes, relative to the root: every file there is imported at start."""
        return f"{self.package}/modeling/models/gaitext_plugin.py"

    @property
    def signature(self) -> tuple[str, ...]:
        """Files by which a root is recognised."""
        return (
            self.main,
            f"{self.package}/modeling/base_model.py",
            f"{self.package}/modeling/models/__init__.py",
            self.default_cfg,
        )


TOOLBOXES = (
    Toolbox(
        name="OpenGait",
        package="opengait",
        tested="0efafd4",
        weight_hooks=(),
        samplers=("TripletSampler", "InferenceSampler", "CommonSampler", "BilateralSampler"),
        test_batch_is_world=True,
        default_cfg="configs/default.yaml",
        environment="OPENGAIT_ROOT",
        url="https://github.com/ShiqiYu/OpenGait",
    ),
    Toolbox(
        name="FastPoseGait",
        package="fastposegait",
        tested="94da9c8",
        weight_hooks=("zero_init_lastBN",),
        samplers=("TripletSampler", "InferenceSampler", "CommonSampler", "RandomTripletSampler"),
        test_batch_is_world=False,
        default_cfg="configs/default.yaml",
        environment="FASTPOSEGAIT_ROOT",
        url="https://github.com/BNU-IVC/FastPoseGait",
    ),
)


def _is(toolbox: Toolbox, root: Path) -> bool:
    return all((root / name).is_file() for name in toolbox.signature)


def detect(root: str | Path) -> Toolbox:
    """Tell which toolbox lies at ``root``.

    Raises:
        ToolboxError: none does; names what was looked for and the nearest folder that is one.
    """
    root = Path(root)
    if not root.is_dir():
        raise ToolboxError("no such folder", where=root, how="give the folder the toolbox was cloned into")
    for toolbox in TOOLBOXES:
        if _is(toolbox, root):
            return toolbox
    raise ToolboxError(_why_not(root), where=root, how=_guess(root))


def _why_not(root: Path) -> str:
    def found(toolbox: Toolbox) -> int:
        return sum((root / name).is_file() for name in toolbox.signature)

    closest = max(TOOLBOXES, key=found)
    if not found(closest):
        names = " and ".join(f"{t.main} ({t.name})" for t in TOOLBOXES)
        return f"is not a toolbox: looked for {names}, found neither"
    missing = [name for name in closest.signature if not (root / name).is_file()]
    return f"looks like {closest.name}, but {', '.join(missing)} is missing"


def _guess(root: Path) -> str:
    around = [*root.resolve().parents]
    with contextlib.suppress(OSError):
        around = [*sorted(p for p in root.iterdir() if p.is_dir()), *around]
    for folder in around:
        for toolbox in TOOLBOXES:
            if _is(toolbox, folder):
                return f"did you mean {folder} ({toolbox.name})?"
    return "clone one first: " + " or ".join(t.url for t in TOOLBOXES)


def defined_names(path: Path) -> set[str]:
    """Names a Python file binds at its top level to something of its own: classes, functions, assignments.

    What it merely imports is left out, except under a new name. An unreadable file has none.
    """
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return set()
    return set(_bound(tree.body))


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.asname for alias in node.names if alias.asname)
        elif isinstance(node, ast.If):
            yield from _bound([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            yield from _bound([*node.body, *node.orelse, *(s for h in node.handlers for s in h.body)])


def static_clashes(package: Path, point: ExtensionPoint, names: set[str], own: Path) -> dict[str, list[Path]]:
    """Files of the toolbox that define one of ``names`` at an extension point.

    Args:
        package: the toolbox's package folder.
        own: gaitext's own file there, which does not count.

    Returns:
        name -> files, for the names that are defined.
    """
    found: dict[str, list[Path]] = {}
    files = sorted(file for pattern in point.sources for file in package.glob(pattern))
    for file in files:
        if file.name != own.name:
            for name in sorted(defined_names(file) & names):
                found.setdefault(name, []).append(file)
    return found
