"""Starts the processes: devices, precision and DDP are Lightning Fabric's."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException

from gaitext.errors import ConfigError, GaitextError, import_extra
from gaitext.execution.memory import keep_freed_memory
from gaitext.store import atomic_path

log = logging.getLogger(__name__)

#: What gloo and NCCL say where the process at the other end is gone.
_LOST = re.compile(r"Connection (?:closed|reset) by peer|broken pipe|remote process exited", re.IGNORECASE)


def resolve_device(device: str) -> str:
    """``cpu`` or ``cuda``; ``auto`` takes a GPU if there is one.

    Raises:
        ConfigError: another name, or no GPU where one is asked for.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise ConfigError(f"unknown device {device!r}", where="device", how="choose cpu, cuda or auto")
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("torch sees no CUDA device", where="device", how="use --device cpu")
    return device


def resolve_precision(asked: str | None, configured: str | None, float16: bool, device: str) -> str:
    """Which precision to compute in: what is asked for, ``fabric_cfg.precision``, or ``enable_float16``.

    ``enable_float16`` means float16 on a GPU; on a CPU, where that is not possible, float32.

    Raises:
        ConfigError: float16 is asked for by name on a CPU, or the name is unknown.
    """
    chosen = asked or configured or ("16-mixed" if float16 and device == "cuda" else "32-true")
    if chosen not in ("32-true", "bf16-mixed", "16-mixed"):
        raise ConfigError(
            f"unknown precision {chosen!r}", where="precision", how="choose 32-true, bf16-mixed or 16-mixed"
        )
    if chosen == "16-mixed" and device == "cpu":
        raise ConfigError(
            "16-mixed needs a GPU", where="fabric_cfg.precision", how="use bf16-mixed or 32-true on a CPU"
        )
    return chosen


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Train here: the same seed gives the same numbers, and torch's random state outside, this GPU's too, is kept."""
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []), contextlib.ExitStack() as stack:
        if on_gpu:
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True))
        yield


def process_count(devices: int) -> int:
    """How many processes will run: torchrun's, on all machines, or ``devices``."""
    return int(os.environ["WORLD_SIZE"]) if _under_torchrun() else devices


def _under_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def leads() -> bool:
    """Whether this process is the one that writes, of those that run the same command (torchrun's)."""
    return not _under_torchrun() or os.environ.get("RANK", "0") == "0"


def launch(
    body: Callable[..., Any],
    *arguments: Any,
    device: str,
    devices: int,
    precision: str,
    find_unused_parameters: bool = False,
) -> Any:
    """Call ``body(fabric, *arguments)`` in every process and return what the first one returns.

    Under torchrun the processes are torchrun's; otherwise ``devices`` > 1 starts fresh ones here,
    so the calling script needs its ``if __name__ == "__main__"``.

    Args:
        body: a function of a module, picklable.
        arguments: picklable.
        device: ``cpu`` or ``cuda``.
        devices: how many processes, one per GPU.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        find_unused_parameters: DDP's.

    Raises:
        GaitextError: what ``body`` raises in any of the processes, as it is; or a process has ended before its work
            was done, killed by a signal for example. The others are stopped.
    """
    fabric_module = import_extra("lightning.fabric", "standalone", "training")
    strategies = import_extra("lightning.fabric.strategies", "standalone", "training")
    nodes, strategy, torchrun = 1, "auto", _under_torchrun()
    if torchrun:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = process_count(devices) // devices
        strategy = strategies.DDPStrategy(find_unused_parameters=find_unused_parameters)
    elif devices > 1:
        strategy = strategies.DDPStrategy(start_method="spawn", find_unused_parameters=find_unused_parameters)
    fabric = fabric_module.Fabric(
        accelerator=device, devices=devices, num_nodes=nodes, strategy=strategy, precision=precision
    )
    if torchrun or devices == 1:
        return pickle.loads(fabric.launch(_Call(body, arguments)))
    with tempfile.TemporaryDirectory(prefix="gaitext.") as folder:
        result = Path(folder) / "result"
        try:
            fabric.launch(_Call(body, arguments, result))
        except ProcessRaisedException as error:
            if _error_beside(result).exists():
                raise pickle.loads(_error_beside(result).read_bytes()) from None
            if not _LOST.search(str(error)):
                raise
            raise _ended("a process lost the connection to another, which has ended", error) from error
        except ProcessExitedException as error:
            # Tearing gloo's threads down aborts a finished process now and then. The result is
            # there only if all processes had finished; nothing of theirs can be lost any more.
            if error.signal_name != "SIGABRT" or not result.exists():
                raise _ended(f"process {error.error_index} of {devices} has ended: {_cause(error)}", error) from error
            log.debug("a finished process aborted at its end: %s", error)
        return pickle.loads(result.read_bytes())


def _cause(error: ProcessExitedException) -> str:
    if error.signal_name is None:
        return f"exit status {error.exit_code}"
    return f"{error.signal_name} (pid {error.error_pid})"


def _ended(what: str, error: ProcessExitedException | ProcessRaisedException) -> GaitextError:
    how = "what was saved stands; a training goes on from it with --resume"
    if getattr(error, "signal_name", None) == "SIGKILL":
        how += "; if nobody killed it, memory was short: lower the batch size or the number of processes"
    return GaitextError(f"{what}; the other processes were stopped", how=how)


def _error_beside(result: Path) -> Path:
    """Where a process writes the error that stops it."""
    return result.with_name("error")


class _Call:
    """A call that Fabric cannot look into: it walks through arguments and results, and stumbles
    over frozen dataclasses.

    Args:
        body: called with the fabric and ``arguments``.
        arguments: see ``body``.
        result: where the first process writes what it has to return, once all have finished, if
            they were started for this call; otherwise it is returned as bytes.
    """

    def __init__(self, body: Callable[..., Any], arguments: tuple[Any, ...], result: Path | None = None) -> None:
        self.body, self.arguments, self.result = body, arguments, result

    def __call__(self, fabric: Any) -> bytes:
        if fabric.device.type == "cpu":
            keep_freed_memory()
        try:
            returned = pickle.dumps(self.body(fabric, *self.arguments))
        except GaitextError as error:
            if self.result is not None:  # from here it would come as a traceback in a string
                with atomic_path(_error_beside(self.result)) as temporary:
                    temporary.write_bytes(pickle.dumps(error))
            raise
        if self.result is None:
            return returned
        fabric.barrier()
        if fabric.global_rank == 0:
            with atomic_path(self.result) as temporary:
                temporary.write_bytes(returned)
        fabric.barrier()
        dist.destroy_process_group()
        return b""
