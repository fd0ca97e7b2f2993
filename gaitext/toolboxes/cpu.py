"""Runs a toolbox's unchanged main.py on a machine without CUDA.

``python -m gaitext.toolboxes.cpu <main.py> [its arguments]``, in each rank under torchrun
(:mod:`gaitext.toolboxes.run` does that). Both toolboxes are written for CUDA and NCCL; here every
call that names CUDA is sent to the CPU and every NCCL group becomes a gloo group, before main.py
is run as ``__main__``. Mixed precision and synchronised BatchNorm have no CPU counterpart there
and are switched off with one line saying so. Nothing on disk is changed.
"""

from __future__ import annotations

import atexit
import functools
import gc
import logging
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from gaitext.execution.memory import keep_freed_memory

log = logging.getLogger(__name__)

#: Functions that make a tensor on the device they are given.
_FACTORIES = (
    *("arange", "as_tensor", "eye", "linspace", "randint", "randperm", "tensor"),
    *("empty", "full", "ones", "rand", "randn", "zeros"),
    *("empty_like", "full_like", "ones_like", "rand_like", "randn_like", "zeros_like"),
)

#: The toolboxes' top-level packages.
_TOOLBOX_PACKAGES = ("modeling", "data", "evaluation", "utils")


def _on_cpu(value: Any) -> Any:
    """``value``, or the CPU if it names a CUDA device."""
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    if isinstance(value, str) and (value == "cuda" or value.startswith("cuda:")):
        return "cpu"
    return value


def _patch(owner: Any, name: str, value: Any) -> None:
    setattr(owner, name, value)


@functools.cache
def _note(message: str) -> None:
    if int(os.environ.get("RANK", "0")) == 0:
        log.warning("gaitext, on CPU: %s", message)


def _translated(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with CUDA devices among its arguments sent to the CPU."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if "device" in kwargs:
            # A bare number is a CUDA device.
            kwargs["device"] = "cpu" if type(kwargs["device"]) is int else _on_cpu(kwargs["device"])
        return function(*map(_on_cpu, args), **kwargs)

    return call


def _tensors() -> None:
    def cuda(self: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return self

    def moved(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def to(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if args and type(args[0]) is int:
                args = ("cpu", *args[1:])
            return _translated(original)(self, *args, **kwargs)

        return to

    # Module.cuda and Module.to go through these.
    _patch(torch.Tensor, "cuda", cuda)
    _patch(torch.Tensor, "to", moved(torch.Tensor.to))
    for name in _FACTORIES:
        _patch(torch, name, _translated(getattr(torch, name)))

    original_load = torch.load

    @functools.wraps(original_load)
    def load(f: Any, map_location: Any = None, *args: Any, **kwargs: Any) -> Any:
        place = _on_cpu(map_location)
        if place is None or callable(place) or isinstance(place, dict):
            place = "cpu"
        return original_load(f, place, *args, **kwargs)

    _patch(torch, "load", load)

    actual: Any = torch._C.TensorBase.is_cuda

    def is_cuda(self: torch.Tensor) -> bool:
        # A toolbox that asks goes on to call .cuda(), which is a no-op here, or leaves something
        # undefined. Everybody else, torch itself above all, gets the truth.
        asker = str(sys._getframe(1).f_globals.get("__name__"))
        return asker.partition(".")[0] in _TOOLBOX_PACKAGES or bool(actual.__get__(self))

    _patch(torch.Tensor, "is_cuda", property(is_cuda))


def _devices(world_size: int) -> None:
    _patch(torch.cuda, "is_available", lambda: False)
    _patch(torch.cuda, "device_count", lambda: world_size)
    _patch(torch.cuda, "current_device", lambda: int(os.environ.get("LOCAL_RANK", "0")))
    _patch(torch.cuda, "set_device", lambda device: None)
    _patch(torch.cuda, "synchronize", lambda device=None: None)
    _patch(torch.cuda, "manual_seed", lambda seed: None)
    _patch(torch.cuda, "manual_seed_all", lambda seed: None)
    _patch(torch.cuda, "empty_cache", lambda: None)


def _distributed() -> None:
    original_init = torch.distributed.init_process_group

    @functools.wraps(original_init)
    def init_process_group(backend: str | None = None, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("device_id", None)
        original_init("gloo" if backend in (None, "nccl") else backend, *args, **kwargs)

    _patch(torch.distributed, "init_process_group", init_process_group)

    original_ddp = nn.parallel.DistributedDataParallel.__init__

    @functools.wraps(original_ddp)
    def ddp(self: Any, module: nn.Module, device_ids: Any = None, output_device: Any = None, **kwargs: Any) -> None:
        original_ddp(self, module, **kwargs)

    _patch(nn.parallel.DistributedDataParallel, "__init__", ddp)

    def convert_sync_batchnorm(module: nn.Module, process_group: Any = None) -> nn.Module:
        _note("sync_BN is off: BatchNorm can be synchronised on GPUs only")
        return module

    _patch(nn.SyncBatchNorm, "convert_sync_batchnorm", staticmethod(convert_sync_batchnorm))


def _precision() -> None:
    class Autocast(torch.autocast):
        def __init__(self, enabled: bool = True, *_: Any, **__: Any) -> None:
            if enabled:
                _note("enable_float16 is off: training and testing in float32")
            super().__init__("cpu", enabled=False)

    class GradScaler(torch.amp.GradScaler):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__("cpu", enabled=False)

    _patch(torch.cuda.amp, "autocast", Autocast)
    _patch(torch.cuda.amp, "GradScaler", GradScaler)


def redirect(world_size: int | None = None) -> None:
    """Send what is CUDA-only to the CPU, in this process, for good.

    Args:
        world_size: number of processes, reported as the number of devices; default: torchrun's.
    """
    if getattr(torch.cuda, "gaitext_redirected", False):
        return
    _patch(torch.cuda, "gaitext_redirected", True)
    _devices(world_size or int(os.environ.get("WORLD_SIZE", "1")))
    _tensors()
    _distributed()
    _precision()


def main(arguments: list[str]) -> None:
    """Redirect, then run ``arguments[0]`` as ``python <script> …`` would."""
    script = Path(arguments[0]).resolve()
    sys.argv = [arguments[0], *arguments[1:]]
    sys.path[0] = str(script.parent)
    redirect()
    keep_freed_memory()
    runpy.run_path(str(script), run_name="__main__")
    _leave()


def _leave() -> NoReturn:
    """End this process with status 0, without the interpreter's teardown.

    Tearing gloo's threads down at exit aborted a finished rank ("terminate called without an
    active exception") once in some 80 runs.
    """
    for thing in gc.get_objects():
        # What a toolbox logged last is still in its writer.
        if type(thing).__name__ == "SummaryWriter" and type(thing).__module__.startswith("torch."):
            thing.close()
    atexit._run_exitfuncs()
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
