"""What all transforms share.

A transform is called on one input's frames, an array [T, …], and returns a new array; it never
changes what it is given. The toolboxes call it once per sequence with ``fixed_…`` sampling, and
once on *all* sequences of the process, concatenated without their lengths, with ``all_…`` and
``unfixed_…`` sampling; and they transform the inputs of a leaf independently (docs/toolbox-contract.md). Three
attributes say what a transform needs in order to be right, and a config that cannot give it is
refused (docs/transforms.md):

* ``per_sequence``: it must see one sequence at a time;
* ``random``: it tosses a coin, which inputs transformed alone cannot share. With more than one
  input, use the model's ``augmentation`` settings. Where that depends on a transform's arguments,
  ``is_random`` says it for those that a config lists;
* ``alone``: what it draws is a function of its own input, so that other inputs cannot share it, be it
  random or not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError

Array = npt.NDArray[Any]


class Transform(ABC):
    """Array [T, …] -> array [T', …], frame by frame unless it says otherwise."""

    per_sequence: ClassVar[bool] = False
    random: ClassVar[bool] = False
    alone: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, sequence: Array) -> Array:
        """Transform one input's frames into a new array."""

    @classmethod
    def is_random(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether the transform is ``random`` when it is built with these arguments of a YAML."""
        return cls.random

    @classmethod
    def needs_one_sequence(cls, arguments: Mapping[str, Any]) -> bool:
        """Whether the transform is ``per_sequence`` when it is built with these arguments of a YAML."""
        return cls.per_sequence


class SeededTransform(Transform):
    """A transform that draws.

    Args:
        generator: where draws come from; the embedded host sets it for each sequence. None: a
            generator seeded, at each call, from numpy's global state, which the toolboxes seed
            per process; so draws go on also where the toolbox builds its transforms anew at
            every batch.
    """

    random = True
    per_sequence = True  # one draw for a whole pack would be none of its sequences' own

    def __init__(self, generator: np.random.Generator | None = None) -> None:
        self.generator = generator

    def draws(self) -> np.random.Generator:
        """Where this call's draws come from."""
        if self.generator is not None:
            return self.generator
        return np.random.default_rng(np.random.randint(2**31, size=4))  # noqa: NPY002 (the toolboxes' seed)


class RandomTransform(SeededTransform):
    """A transform that is applied with some probability.

    Args:
        probability: chance of being applied, drawn once per call.
        generator: see :class:`SeededTransform`.
    """

    def __init__(self, probability: float = 0.5, generator: np.random.Generator | None = None) -> None:
        if not 0 <= probability <= 1:
            raise DataError(f"probability is {probability}", where=type(self).__name__, how="give a number in 0..1")
        super().__init__(generator)
        self.probability = probability

    def __call__(self, sequence: Array) -> Array:
        return self.change(sequence) if self.draws().random() < self.probability else sequence

    @abstractmethod
    def change(self, sequence: Array) -> Array:
        """Apply the transform, coin or no coin; what else it draws comes from :meth:`draws`."""


def checked(sequence: Array, tail: tuple[int | None, ...], *, where: str, what: str) -> Array:
    """The sequence as an array, if it has frames of shape ``tail`` (None: any size) and no NaN.

    Raises:
        DataError: naming the shape that was expected, or the first bad frame.
    """
    array = np.asarray(sequence)
    fits = array.ndim == 1 + len(tail) and all(
        want is None or want == got for want, got in zip(tail, array.shape[1:], strict=True)
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in tail)
        raise DataError(
            f"{what} of shape {array.shape}",
            where=where,
            how=f"[T, {expected}] was expected: check data_in_use and the order of the transforms",
        )
    if len(array) == 0:
        raise DataError(f"{what} without a frame", where=where, how="remove the empty sequence")
    if array.dtype.kind == "f":
        finite = np.isfinite(array).reshape(len(array), -1).all(1)
        if not finite.all():
            raise DataError(
                f"{what} with NaN or infinity in frame {int(np.argmin(finite))}",
                where=where,
                how="make the sequence again; `gaitext doctor --data CONFIG` finds all such files",
            )
    return array
