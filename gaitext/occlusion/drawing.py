"""Drawing occlusions, reproducibly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gaitext.errors import ConfigError, suggest
from gaitext.occlusion.settings import OCCLUSION_TYPES, OcclusionSettings, OcclusionType

__all__ = ["Occlusion", "Occlusions", "content_key", "draw_occlusion", "draw_occlusions", "sequence_generator"]

#: Numbers in [0, 1) that one occlusion takes from a generator, whatever its type: type, rows, width,
#: height, speed. So n occlusions drawn at once equal n drawn one after another.
_DRAWS = 5


@dataclass(frozen=True)
class Occlusion:
    """One sequence's occlusion. What it hides: :func:`~gaitext.occlusion.region`.

    Attributes:
        type: one of ``OCCLUSION_TYPES``.
        rows: share of the rows hidden (top, bottom, middle); else 0.
        width, height: patch and pole, as shares of the frame's; else 0.
        speed: patch and pole, in pixels of a 64-row map per frame; else 0.
        resize: the visible rows are stretched to the full height (top, bottom).

    The occluded share of each frame, which depends on the frame's size and number, is
    :func:`~gaitext.occlusion.occluded_shares`.
    """

    type: OcclusionType = "none"
    rows: float = 0.0
    width: float = 0.0
    height: float = 0.0
    speed: float = 0.0
    resize: bool = False

    def __post_init__(self) -> None:
        if self.type not in OCCLUSION_TYPES:
            raise ConfigError(
                f"no occlusion {self.type!r}", where="Occlusion.type", how=suggest(str(self.type), OCCLUSION_TYPES)
            )


@dataclass(frozen=True, eq=False)
class Occlusions(Sequence[Occlusion]):
    """n occlusions as arrays [n], for work on a batch at once; a sequence of :class:`Occlusion`.

    Attributes:
        types: int64, positions in ``OCCLUSION_TYPES``.
        rows, width, height, speed: float64, as in :class:`Occlusion`.
        resize: bool.
    """

    types: npt.NDArray[np.int64]
    rows: npt.NDArray[np.float64]
    width: npt.NDArray[np.float64]
    height: npt.NDArray[np.float64]
    speed: npt.NDArray[np.float64]
    resize: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, occlusions: Sequence[Occlusion]) -> Occlusions:
        """Gather single occlusions.

        >>> Occlusions.of([Occlusion("top", rows=0.5), Occlusion()]).types.tolist()
        [1, 0]
        """
        if isinstance(occlusions, Occlusions):
            return occlusions
        rows, width, height, speed = (
            np.array([getattr(each, name) for each in occlusions], np.float64)
            for name in ("rows", "width", "height", "speed")
        )
        types = np.array([OCCLUSION_TYPES.index(each.type) for each in occlusions], np.int64)
        resize = np.array([each.resize for each in occlusions], bool)
        return cls(types, rows, width, height, speed, resize)

    def __len__(self) -> int:
        return len(self.types)

    def __getitem__(self, index: Any) -> Any:
        """An :class:`Occlusion` for an integer; :class:`Occlusions` for a slice or an array."""
        if not isinstance(index, (int, np.integer)):
            return Occlusions(*(getattr(self, field.name)[index] for field in fields(self)))
        return Occlusion(
            type=OCCLUSION_TYPES[self.types[index]],
            rows=float(self.rows[index]),
            width=float(self.width[index]),
            height=float(self.height[index]),
            speed=float(self.speed[index]),
            resize=bool(self.resize[index]),
        )

    def __iter__(self) -> Iterator[Occlusion]:
        return (self[i] for i in range(len(self)))

    def repeat(self, counts: int | Sequence[int]) -> Occlusions:
        """Each occlusion as many times as its sequence has frames."""
        return self[np.repeat(np.arange(len(self)), counts)]

    def without_resize(self) -> Occlusions:
        """The same occlusions, leaving zeros in place of the hidden rows."""
        return replace(self, resize=np.zeros_like(self.resize))


def draw_occlusions(settings: OcclusionSettings, count: int, generator: np.random.Generator) -> Occlusions:
    """Draw ``count`` occlusions; the same as :func:`draw_occlusion` called ``count`` times."""
    return _occlusions(settings, generator.random((count, _DRAWS)))


def draw_occlusion(settings: OcclusionSettings, generator: np.random.Generator) -> Occlusion:
    """Draw one sequence's occlusion.

    >>> draw_occlusion(OcclusionSettings(types={}), np.random.default_rng(0)).type
    'none'
    """
    occlusion: Occlusion = draw_occlusions(settings, 1, generator)[0]
    return occlusion


def _occlusions(settings: OcclusionSettings, draws: npt.NDArray[np.float64]) -> Occlusions:
    """Occlusions of numbers [n, 5] in [0, 1)."""
    # In the order of OCCLUSION_TYPES, not of the YAML's keys; nothing is left for none if they make up 1.
    named = OCCLUSION_TYPES[1:]
    probabilities = np.array([settings.types.get(name, 0.0) for name in named])
    edges = np.cumsum(probabilities)
    if edges[-1] > 1 - 1e-9:
        edges[np.flatnonzero(probabilities)[-1] :] = 1
    types = (np.searchsorted(edges, draws[:, 0], side="right") + 1) % len(OCCLUSION_TYPES)

    def uniform(column: int, bounds: tuple[float, float]) -> npt.NDArray[np.float64]:
        return bounds[0] + (bounds[1] - bounds[0]) * draws[:, column]

    def only(values: Any, *chosen: str) -> npt.NDArray[np.float64]:
        return np.where(np.isin(types, [OCCLUSION_TYPES.index(name) for name in chosen]), values, 0.0)

    # Rows have no part in a dynamic occlusion, so their number is free to tell what kind it is.
    poles = only(draws[:, 1] < settings.dynamic_poles, "dynamic") + only(1.0, "pole") > 0
    patches = only(1.0, "dynamic") * ~poles
    return Occlusions(
        types=types.astype(np.int64),
        rows=only(uniform(1, settings.rows), "top", "bottom") + only(uniform(1, settings.middle_rows), "middle"),
        width=patches * uniform(2, settings.patch_width) + poles * uniform(2, settings.pole_width),
        height=patches * uniform(3, settings.patch_height) + poles,
        speed=only(uniform(4, settings.speed), "dynamic", "pole"),
        resize=only(float(settings.resize_visible), "top", "bottom") > 0,
    )


def sequence_generator(seed: int, *key: Any) -> np.random.Generator:
    """The generator of one sequence: a function of (seed, key) alone, in every process and on every machine.

    Args:
        seed: of the evaluation.
        key: what names the sequence, for example label, type and view; or its :func:`content_key`.
    """
    digest = hashlib.blake2b(digest_size=16)
    for part in key:
        text = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(text).to_bytes(8, "little") + text)  # ("ab", "c") is not ("a", "bc")
    words = np.frombuffer(digest.digest(), "<u4").tolist()
    return np.random.default_rng(np.random.SeedSequence((seed, *words)))


def content_key(sequence: npt.NDArray[Any] | torch.Tensor) -> bytes:
    """A key for :func:`sequence_generator` from a sequence's content [T, …].

    Values count as they are handed over: float 0..1 and 8-bit 0..255 have different keys.
    """
    if isinstance(sequence, torch.Tensor):
        sequence = sequence.detach().cpu().numpy()
    array = np.ascontiguousarray(sequence)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.blake2b(head + array.tobytes(), digest_size=16).digest()
