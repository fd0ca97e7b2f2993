"""A GPU without one: tensors that have a device, shape and type, and no numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _NothingComesBack(TorchDispatchMode):
    """Raises where an operation takes what is on the GPU to the CPU."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if "cuda" in _devices((args, kwargs)) and "cpu" in _devices(result):
            raise AssertionError(f"{func} copies from the GPU to the CPU")
        return result


def _devices(values: Any) -> set[str]:
    return {value.device.type for value in tree_leaves(values) if isinstance(value, torch.Tensor)}


@contextmanager
def fake_gpu() -> Iterator[None]:
    """What is made within is made on a GPU, unless it says otherwise; copying it to the CPU raises.

    So does asking for a number, of which there are none.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), _NothingComesBack(), torch.device("cuda"):
        yield
