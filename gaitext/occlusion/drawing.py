"""Drawing occlusions, reproducibly, and what an occlusion hides: the one place that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from pydantic import AfterValidator, Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError, suggest

OcclusionType = Literal["none", "top", "bottom", "middle", "dynamic", "pole"]
#: Every type, named after what is hidden: ``top`` hides the head. Published labels (0 none, 1 top
#: visible, 2 bottom visible) name what is seen, so there 1 is ``bottom`` and 2 is ``top``.
OCCLUSION_TYPES: tuple[OcclusionType, ...] = get_args(OcclusionType)


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] > bounds[1]:
        raise ValueError(f"is {list(bounds)}: write the smaller bound first")
    return bounds


Fraction = Annotated[float, Field(ge=0, le=1)]
#: Bounds of a uniform draw; equal bounds fix the value.
Shares = Annotated[tuple[Fraction, Fraction], AfterValidator(_ordered)]
Speed = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Speeds = Annotated[tuple[Speed, Speed], AfterValidator(_ordered)]


class OcclusionSettings(Settings):
    """What :func:`~gaitext.occlusion.draw_occlusion` draws (spec of RG-Gait; at most one type a sequence).

    Attributes:
        types: probability of each type; what is left to 1 is ``none``. Default: one sequence in two,
            top or bottom, as RG-Gait is trained.
        rows: share of the rows that ``top`` and ``bottom`` hide: U(0.1, 0.6) for RG-Gait; the
            occlusion evaluator is trained with [0.4, 0.6].
        middle_rows: share of the rows that ``middle`` hides, about the middle.
        patch_width, patch_height: size of the ``dynamic`` patch as shares of the frame's; it stands
            on the bottom edge.
        pole_width: of the ``pole``, as a share of the frame's; it is as high as the frame.
        dynamic_poles: how many of the ``dynamic`` occlusions are poles in place of patches, of type
            ``dynamic`` all the same. The release's "dynamic" is a patch or a pole, in shares that are
            not known: 0.5 for that. The default is patches alone, as ``pole`` is a type by itself.
        speed: of patch and pole to the right, in pixels of a 64-row map per frame, from x = 0 at the
            sequence's first frame (as handed over: of the sampled frames). In maps of other heights
            it scales with the height, so that a pose in a box of 256 rows sees the same occlusion.
        resize_visible: ``top`` and ``bottom`` only: stretch the remaining rows to the full height, as
            a detector's box around what is seen would; off: zeros are left in their place. Poses are
            never resized, so turn it off where heatmaps and poses go together.
        seed: of evaluation, where an occlusion is a function of (seed, sequence). Training ignores it.
    """

    types: dict[OcclusionType, Fraction] = Field({"top": 0.25, "bottom": 0.25})
    rows: Shares = (0.1, 0.6)
    middle_rows: Shares = (0.5, 0.5)
    patch_width: Shares = (0.4, 0.6)
    patch_height: Shares = (0.3, 0.5)
    pole_width: Shares = (0.4, 0.6)
    dynamic_poles: Fraction = 0.0
    speed: Speeds = (0.5, 2.0)
    resize_visible: bool = True
    seed: int = Field(0, ge=0)

    @field_validator("types", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        for name in value if isinstance(value, Mapping) else ():
            if name not in OCCLUSION_TYPES:
                raise ConfigError(f"no occlusion {name!r}", how=suggest(str(name), OCCLUSION_TYPES))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> OcclusionSettings:
        total = sum(self.types.values())
        if total > 1 + 1e-9:
            raise ValueError(f"types: the probabilities add up to {total:g}, more than 1")
        if self.resize_visible and self.rows[1] == 1 and {"top", "bottom"} & set(self.types):
            raise ValueError("rows: with resize_visible something must be left to see; give an upper bound below 1")
        return self


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


#: Speeds are pixels of a map with this many rows.
REFERENCE_ROWS = 64

Integers = npt.NDArray[np.int64]


def regions(occlusions: Occlusions, index: npt.ArrayLike, height: int, width: int) -> Integers:
    """The hidden rectangle of each of n frames.

    ``top``, ``bottom``: share p of the rows; ``middle``: rows (1 − p)H/2 to (1 + p)H/2; ``dynamic``
    and ``pole``: a patch on the bottom edge whose left edge starts at x = 0 and moves right, and
    which ends up outside. Edges are rounded to the nearest pixel.

    Args:
        occlusions: one per frame (``Occlusions.repeat``).
        index: int [n], or one number for all: frames since the sequence's start.
        height, width: of the frames, in pixels.

    Returns:
        int64 [n, 4] as top, bottom, left, right, half-open and within the frame; empty regions
        have bottom = top or right = left.
    """
    kinds = np.array(OCCLUSION_TYPES)[occlusions.types]
    top, bottom = np.zeros(len(kinds)), np.zeros(len(kinds))
    left, right = np.zeros(len(kinds)), np.full(len(kinds), float(width))
    rows = np.rint(occlusions.rows * height)
    # At least one row is left where the rest is stretched.
    rows = np.where(occlusions.resize, np.minimum(rows, height - 1), rows)
    bottom[kinds == "top"] = rows[kinds == "top"]
    chosen = kinds == "bottom"
    top[chosen], bottom[chosen] = height - rows[chosen], height
    chosen = kinds == "middle"
    top[chosen] = np.rint((1 - occlusions.rows[chosen]) * height / 2)
    bottom[chosen] = np.rint((1 + occlusions.rows[chosen]) * height / 2)
    chosen = (kinds == "dynamic") | (kinds == "pole")
    moved = np.rint(occlusions.speed * np.asarray(index) * (height / REFERENCE_ROWS))
    top[chosen], bottom[chosen] = height - np.rint(occlusions.height * height)[chosen], height
    left[chosen] = np.minimum(moved, width)[chosen]
    right[chosen] = np.minimum(moved + np.rint(occlusions.width * width), width)[chosen]
    return np.stack((top, bottom, left, right), -1).astype(np.int64)


def region(occlusion: Occlusion, index: Any, height: int, width: int) -> Integers:
    """The hidden rectangle (top, bottom, left, right) of frame ``index``: int64 [4], or [T, 4] for indices [T].

    >>> region(Occlusion("pole", width=0.25, height=1.0, speed=2.0), [0, 1, 31], 64, 64).tolist()
    [[0, 64, 0, 16], [0, 64, 2, 18], [0, 64, 62, 64]]
    """
    at = np.asarray(index)
    found = regions(Occlusions.of([occlusion]).repeat(at.size), at.reshape(-1), height, width)
    return found.reshape(*at.shape, 4)


def occluded_shares(found: Integers, height: int, width: int) -> npt.NDArray[np.float32]:
    """Share of each frame's area that regions [n, 4] hide: float32 [n].

    For ``top``, ``bottom`` and ``middle`` that is the share of the rows; a patch's falls to 0 as it
    leaves the frame. A sequence's amount is the mean over its frames.
    """
    top, bottom, left, right = found.T
    return ((bottom - top) * (right - left) / (height * width)).astype(np.float32)


def labels(
    occlusions: Occlusions, index: npt.ArrayLike, height: int, width: int
) -> tuple[Integers, npt.NDArray[np.float32]]:
    """Type and amount of each of n frames, read off what is hidden there.

    A frame in which nothing is hidden, because the patch has left it, is of type ``none``.

    Args:
        occlusions, index, height, width: as for :func:`regions`.

    Returns:
        int64 [n], positions in ``OCCLUSION_TYPES``, and float32 [n].
    """
    amounts = occluded_shares(regions(occlusions, index, height, width), height, width)
    return np.where(amounts > 0, occlusions.types, 0), amounts
