"""Tells what is installed, what is linked, and how to mend what is not."""

from __future__ import annotations

import ast
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import torch

import gaitext
from gaitext.errors import GaitextError
from gaitext.toolboxes import parts
from gaitext.toolboxes.link import clash_lines, link_state
from gaitext.toolboxes.run import environment
from gaitext.toolboxes.toolbox import EXTENSION_POINTS, Toolbox, detect

State = Literal["ok", "warn", "fail"]

#: Seconds that importing a toolbox may take.
_PROBE_LIMIT = 300.0
#: pip's names, where they are not the module's.
_PIP_NAMES = {"cv2": "opencv-python", "yaml": "PyYAML", "sklearn": "scikit-learn", "PIL": "pillow"}


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        name: what was looked at.
        state: ``ok``, ``warn`` (works, but) or ``fail``.
        detail: what was found.
        mend: how to mend it; empty when nothing is wrong.
    """

    name: str
    state: State
    detail: str
    mend: str = ""


@dataclass(frozen=True)
class DoctorReport:
    """All that was looked at, in order."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return all(check.state != "fail" for check in self.checks)


def doctor(root: str | Path | None = None) -> DoctorReport:
    """Look at this installation and, if ``root`` is given, at the toolbox there."""
    checks = [*_installation(), *_extras()]
    if root is not None:
        checks += _toolbox(Path(root).resolve())
    return DoctorReport(tuple(checks))


def _installation() -> Iterator[Check]:
    yield Check("gaitext", "ok", gaitext.__version__)
    yield Check("python", "ok", f"{platform.python_version()} ({platform.system()} {platform.machine()})")
    yield Check("torch", "ok", torch.__version__)
    count = torch.cuda.device_count()
    if count:
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(count))
        yield Check("cuda", "ok", f"{count} device{'s' * (count > 1)}: {names}")
    else:
        yield Check("cuda", "ok", "no device; `gaitext run --device cpu` and `gaitext train` work without one")


def _extras() -> Iterator[Check]:
    """The optional dependencies, as gaitext's own metadata lists them."""
    try:
        distribution = metadata.distribution("gaitext")
    except metadata.PackageNotFoundError:
        yield Check("extras", "warn", "gaitext is not installed, only importable", "pip install gaitext")
        return
    extras: dict[str, list[str]] = {}
    for requirement in distribution.requires or []:
        name, _, marker = requirement.partition(";")
        extra = marker.partition("extra == ")[2].strip().strip("\"'")
        if extra and extra not in ("all", "test", "dev"):
            extras.setdefault(extra, []).append(_bare(name))
    for extra, names in extras.items():
        missing = [name for name in names if not _installed(name)]
        if missing:
            yield Check(f"extra {extra}", "warn", f"missing {', '.join(missing)}", f"pip install 'gaitext[{extra}]'")
        else:
            yield Check(f"extra {extra}", "ok", ", ".join(names))


def _bare(requirement: str) -> str:
    """The name in a requirement: ``av>=12`` is ``av``."""
    name = requirement.strip()
    for position, letter in enumerate(name):
        if not (letter.isalnum() or letter in "-_."):
            return name[:position]
    return name


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _toolbox(root: Path) -> Iterator[Check]:
    try:
        toolbox = detect(root)
    except GaitextError as error:
        yield Check("toolbox", "fail", error.what, error.how or "")
        return
    commit = _commit(root)
    detail = f"{toolbox.name} at {root}" + (f", commit {commit}" if commit else "")
    if commit and commit != toolbox.tested:
        detail += f" (gaitext was tried with {toolbox.tested})"
    yield Check("toolbox", "ok", detail)
    linked = _link(root, toolbox)
    yield linked
    for clash in clash_lines(root, toolbox):
        yield Check("clash", "warn", clash, "rename the toolbox's if you need it, or ignore this if you do not")
    yield from _imported(root, toolbox, expected=linked.state != "fail")


def _commit(root: Path) -> str | None:
    """The checked-out commit, if ``root`` itself is a git work tree."""
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "--short=7", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return None
    return found.stdout.strip() or None


def _link(root: Path, toolbox: Toolbox) -> Check:
    state = link_state(root, toolbox)
    if state == "current":
        return Check("link", "ok", toolbox.plugin)
    if state == "outdated":
        return Check("link", "warn", f"{toolbox.plugin} is from another version of gaitext", f"gaitext link {root}")
    if state == "edited":
        mend = f"remove {root / toolbox.plugin}, then gaitext link {root}"
        return Check("link", "warn", f"{toolbox.plugin} was edited by hand", mend)
    if state == "foreign":
        return Check("link", "fail", f"{toolbox.plugin} is not gaitext's file", f"rename it, then gaitext link {root}")
    return Check("link", "fail", "gaitext is not linked into it", f"gaitext link {root}")


def _imported(root: Path, toolbox: Toolbox, expected: bool) -> Iterator[Check]:
    """Import the toolbox in a process of its own and compare what is registered with what should be."""
    found = _probe(root)
    if found["error"]:
        error = str(found["error"])
        where = f" in {Path(found['where']).name}" if found["where"] else ""
        mend = _mend_import(error)
        others = _missing_packages(root, toolbox) if mend.startswith("pip install ") else []
        names = list(dict.fromkeys([mend.removeprefix("pip install "), *others]))
        if others:
            mend = f"pip install {' '.join(names)}"
        lacking = f"; missing are {', '.join(names)}" if len(names) > 1 else ""
        yield Check("import", "fail", f"{toolbox.name} cannot be imported: {error}{where}{lacking}", mend)
        return
    yield Check("import", "ok", f"{toolbox.name}'s models can be imported")
    if not expected:
        return
    for point in EXTENSION_POINTS:
        names = sorted(getattr(parts, point.table))
        missing = [name for name in names if name not in found["registered"].get(point.kind, ())]
        if missing:
            why = "; ".join(found["warnings"]) or "the link did not run"
            yield Check(
                point.table.lower(), "fail", f"{', '.join(missing)} not registered: {why}", f"gaitext link {root}"
            )
        elif names:
            yield Check(point.table.lower(), "ok", ", ".join(names))


def _probe(root: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"error": None, "where": None, "registered": {}, "warnings": []}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "probe.json"
        command = [sys.executable, "-m", "gaitext.toolboxes.probe", str(root), str(result)]
        env = {**environment(root, "cpu", 1), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, timeout=_PROBE_LIMIT)
        except subprocess.TimeoutExpired:
            return {**empty, "error": f"the import took longer than {_PROBE_LIMIT:g} s"}
        if result.exists():
            return {**empty, **json.loads(result.read_text(encoding="utf-8"))}
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return {**empty, "error": f"the process ended with status {done.returncode} ({last})"}


def _missing_packages(root: Path, toolbox: Toolbox) -> list[str]:
    """pip's names of all packages that the toolbox's files import at their top and that are not installed."""
    package = root / toolbox.package
    own = {path.stem for path in (*package.iterdir(), *root.iterdir())}
    found: set[str] = set()
    for path in sorted(package.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8", errors="replace"))
        except (OSError, SyntaxError, ValueError):
            continue
        own |= {sibling.stem for sibling in path.parent.iterdir()}
        # Not inside functions or try blocks: those can do without.
        for statement in tree.body:
            if isinstance(statement, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in statement.names}
            elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
                found.add(statement.module.partition(".")[0])
    missing = []
    for module in sorted(found - own - set(sys.stdlib_module_names)):
        try:
            there = importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            there = False
        if not there:
            missing.append(_PIP_NAMES.get(module, module))
    return missing


def _mend_import(error: str) -> str:
    kind, _, message = error.partition(": ")
    if kind == "ModuleNotFoundError" and "'" in message:
        module = message.split("'")[1].partition(".")[0]
        if importlib.util.find_spec(module) is None:
            return f"pip install {_PIP_NAMES.get(module, module)}"
    return "the toolbox's own requirements are in its README; mend that file, or update the toolbox"
