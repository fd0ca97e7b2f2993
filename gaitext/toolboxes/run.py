"""Runs a toolbox's own, unchanged main.py, on its GPUs or on the CPU."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch

import gaitext
from gaitext.config import load_yaml, merge, naming_file
from gaitext.errors import ConfigError, ToolboxError, nearest
from gaitext.execution import cores
from gaitext.toolboxes.link import link_state
from gaitext.toolboxes.toolbox import Toolbox, detect
from gaitext.toolboxes.validate import uses_gaitext, validate_config

log = logging.getLogger(__name__)

#: Seconds a stopped run has to end by itself.
_GRACE = 10.0
#: In the environment of all processes of a run: which.
_MARK = "GAITEXT_RUN"


def run(
    root: str | Path,
    arguments: Sequence[str],
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    nproc: int | None = None,
    time_limit: float | None = None,
) -> int:
    """Run the toolbox's main.py under torchrun, in the toolbox's root.

    gaitext's parts of the config are checked first (:mod:`gaitext.toolboxes.validate`).

    Args:
        root: the toolbox's root.
        arguments: main.py's own, for example ``["--cfgs", "my.yaml", "--phase", "train"]``. A
            relative config is looked for in the caller's folder first, then in the root.
        device: ``cuda`` runs main.py as it is; ``cpu`` through :mod:`gaitext.toolboxes.cpu`;
            ``auto`` takes what is there.
        nproc: processes. Default: one per visible GPU; one on the CPU.
        time_limit: seconds after which the run is stopped.

    Returns:
        The exit status of torchrun: 0 when all processes ended well.

    Raises:
        ToolboxError: no toolbox, not linked, no such device, or the time limit was passed.
        ConfigError: the config is missing, or gaitext's part of it is wrong.
    """
    root = Path(root).resolve()
    toolbox = detect(root)
    _linked(root, toolbox)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    processes = _processes(device, nproc)
    arguments = _with_config(root, toolbox, list(arguments), processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes)]
    command += ["--master_addr", "127.0.0.1", "--master_port", str(_free_port())]
    if device == "cpu":
        command += ["--module", "gaitext.toolboxes.cpu"]
    command += [toolbox.main, *arguments]
    return _supervise(command, root, environment(root, device, processes), time_limit)


def check_linked(root: str | Path) -> None:
    """Refuse what :func:`run` would refuse of a toolbox.

    Raises:
        ToolboxError: there is none, or gaitext is not linked into it.
    """
    root = Path(root).resolve()
    _linked(root, detect(root))


def _linked(root: Path, toolbox: Toolbox) -> None:
    state = link_state(root, toolbox)
    if state in ("absent", "foreign"):
        raise ToolboxError(
            f"gaitext is not linked into this {toolbox.name}", where=root, how=f"gaitext link {root}, then run again"
        )
    if state == "outdated":
        log.warning("the link in %s was written by another version of gaitext: renew it with `gaitext link`", root)


def _processes(device: str, nproc: int | None) -> int:
    if nproc is not None and nproc < 1:
        raise ToolboxError(f"nproc is {nproc}", how="give the number of processes, 1 or more")
    if device == "cpu":
        return nproc or 1
    there = torch.cuda.device_count()
    if there < (nproc or 1):
        raise ToolboxError(f"{nproc or 1} GPUs are asked for, {there} are visible", how="run on the CPU: --device cpu")
    return nproc or there


def _with_config(root: Path, toolbox: Toolbox, arguments: list[str], processes: int) -> list[str]:
    """Make a config path given relative to the caller's folder absolute, and check the config."""
    if {"-h", "--help"} & set(arguments):
        return arguments
    value, position = None, 0
    for i, argument in enumerate(arguments):
        if argument == "--cfgs" and i + 1 < len(arguments):
            value, position = arguments[i + 1], i + 1
        elif argument.startswith("--cfgs="):
            value, position = argument[len("--cfgs=") :], i
    if value is None:
        raise ConfigError("main.py needs a config", where="--cfgs", how="add --cfgs FILE.yaml --phase train|test")
    path = _find_config(Path(value).expanduser(), root)
    arguments[position] = str(path) if arguments[position] == value else f"--cfgs={path}"
    cfgs = merge(load_yaml(path), load_yaml(root / toolbox.default_cfg))
    if uses_gaitext(cfgs):
        training = not {"--phase=test", "--phase test"} & {*arguments, *map(" ".join, itertools.pairwise(arguments))}
        # Its remarks are logged by the model, where they also reach the toolbox's log file.
        with naming_file(path):
            validate_config(cfgs, training, toolbox=toolbox, base=root, world_size=processes)
    return arguments


def _find_config(path: Path, root: Path) -> Path:
    for folder in (Path.cwd(), root):
        if (folder / path).is_file():
            return folder / path
    beside = {str(file): file for folder in (Path.cwd(), root) for file in (folder / path).parent.glob("*.y*ml")}
    guess = nearest(str(root / path), beside) or nearest(str(Path.cwd() / path), beside)
    raise ConfigError(
        f"no such config, neither in {Path.cwd()} nor in {root}",
        where=path,
        how=f"did you mean {guess}?" if guess else "check the path",
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(root: Path, device: str, processes: int) -> dict[str, str]:
    """The environment of a toolbox's processes: the caller's, and what they need beside it."""
    env = dict(os.environ)
    if device == "cpu":
        # Otherwise torchrun gives each of several processes one thread.
        env.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
        env["CUDA_VISIBLE_DEVICES"] = ""
        loopback = {"lo", "lo0"} & {name for _, name in socket.if_nameindex()}
        if loopback:
            # gloo would resolve the host's name, which fails or is slow on many laptops and containers.
            env.setdefault("GLOO_SOCKET_IFNAME", loopback.pop())
    else:
        # Both toolboxes insist that the processes are as many as the visible GPUs.
        env["CUDA_VISIBLE_DEVICES"] = ",".join(visible_gpus(env)[:processes])
    if not _importable(root, env):
        above = str(Path(gaitext.__file__).resolve().parents[1])
        env["PYTHONPATH"] = os.pathsep.join(filter(None, [above, env.get("PYTHONPATH")]))
    return env


def visible_gpus(env: Mapping[str, str]) -> list[str]:
    """The GPUs that a process with this environment may use, as CUDA_VISIBLE_DEVICES names them."""
    visible = env.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]


def _importable(root: Path, env: dict[str, str]) -> bool:
    """Whether another process in ``root`` would import this very gaitext."""
    code = "import gaitext; print(gaitext.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=root, env=env, capture_output=True, text=True)
    return found.returncode == 0 and Path(found.stdout.strip()).resolve() == Path(gaitext.__file__).resolve()


def _supervise(command: list[str], root: Path, env: dict[str, str], time_limit: float | None) -> int:
    """Wait for ``command``; on Ctrl-C or after the time limit end it and all its children.

    Of a run that ended badly nothing stays: a killed process's loader workers wait for ever, once they have no
    reader, with a batch that does not fit the pipe, and are nobody's children by then.
    """
    run = uuid.uuid4().hex
    process = subprocess.Popen(command, cwd=root, env={**env, _MARK: run}, start_new_session=os.name == "posix")
    status = None
    try:
        status = process.wait(timeout=time_limit)
        return status
    except subprocess.TimeoutExpired as error:
        raise ToolboxError(
            f"stopped after the time limit of {time_limit:g} s",
            where=root,
            how="raise the limit; if the log had stopped, run again: training resumes from the last checkpoint",
        ) from error
    finally:
        if process.poll() is None:
            _end(process)
        if status != 0:
            _kill(_marked(run))


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))


def _marked(run: str) -> list[int]:
    """Processes that were started by this run, whoever their parents are now; where there is /proc."""
    found, mark = [], f"{_MARK}={run}".encode()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        # Gone by now, or somebody else's.
        with contextlib.suppress(OSError):
            if mark in environ.read_bytes().split(b"\0"):
                found.append(int(environ.parent.name))
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    # torchrun puts each rank into a session of its own, out of a group signal's reach.
    below = _descendants(process.pid)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=_GRACE)
    if process.poll() is None:
        process.kill()
        process.wait()
    _kill(below)


def _descendants(pid: int) -> list[int]:
    """Processes below ``pid``, where ``ps`` can tell."""
    try:
        listed = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True).stdout
    except OSError:
        return []
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found, row = [], {pid}
    while row:
        row = {child for child, parent in pairs if parent in row}
        found += sorted(row)
    return found
