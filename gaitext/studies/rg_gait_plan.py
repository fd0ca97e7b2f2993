"""Which cells a study of RG-Gait has: tests of its systems, and what is reckoned from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gaitext.studies.rg_gait_settings import Occluded, RGGaitSettings
from gaitext.studies.rg_gait_systems import ABLATION, RELEASE, UNOCCLUDED

__all__ = [
    "ABLATED",
    "ADAPTED",
    "COMPARED",
    "RANKS",
    "Reckoned",
    "Tested",
    "gain",
    "needed",
    "place",
    "reckoned",
    "tested",
]

#: Systems of the retention table, the first of which the others are compared with.
COMPARED = ("gse", "finetuned", "occ_aware", "mimicgait", "rg_gait")
#: Those that are trained on with new occlusions.
ADAPTED = COMPARED[1:]
#: Systems of the ablation, Baseline-1 first.
ABLATED = ("gse", *ABLATION, "occ_aware", "mimicgait", "rg_gait")
#: Ranks that are reported, and the cells' metrics of them.
RANKS = {1: "mean", 5: "mean@R5"}

Place = tuple[str, str]


@dataclass(frozen=True)
class Tested:
    """A cell that is tested.

    Attributes:
        system: which.
        occlusion: of all test sequences.
        occluded: which of them have it; of whole walkers without meaning, of the release's evaluation ``all``.
    """

    system: str
    occlusion: str
    occluded: Occluded

    @property
    def place(self) -> Place:
        return self.system, place(self.occlusion, self.occluded)


@dataclass(frozen=True)
class Reckoned:
    """A cell that is a weighted sum of others, which come before it."""

    system: str
    condition: str
    parts: tuple[tuple[float, Place], ...]

    @property
    def place(self) -> Place:
        return self.system, self.condition


def place(occlusion: str, occluded: Occluded) -> str:
    """A cell's condition."""
    return occlusion if occlusion in (UNOCCLUDED, RELEASE) else f"{occlusion}/{occluded}"


def gain(system: str) -> str:
    """What a system's difference to the signature extractor is called, as a system."""
    return f"{system}-gse"


def needed(settings: RGGaitSettings) -> dict[str, tuple[str, ...]]:
    """System -> what it is tested under, for the tables that are asked for."""
    wanted: dict[str, list[str]] = {}
    always = (UNOCCLUDED,) if settings.release is None else (UNOCCLUDED, RELEASE)
    if "retention" in settings.standard:
        for system in COMPARED:
            wanted.setdefault(system, []).extend((*always, *settings.occlusions))
    if "ablation" in settings.standard:
        for system in ABLATED:
            wanted.setdefault(system, []).extend((*always, *settings.seen))
    if "generalisation" in settings.standard:
        for new in settings.new:
            for system in COMPARED:
                wanted.setdefault(system, []).append(new)
            for system in ADAPTED:
                wanted.setdefault(f"{system}+{new}", []).append(new)
    return {system: tuple(dict.fromkeys(of)) for system, of in wanted.items()}


def tested(settings: RGGaitSettings) -> list[Tested]:
    """All tests."""
    found = []
    once: dict[str, tuple[Occluded, ...]] = {UNOCCLUDED: settings.occluded[:1], RELEASE: ("all",)}
    for system, occlusions in needed(settings).items():
        for occlusion in occlusions:
            for occluded in once.get(occlusion, settings.occluded):
                found.append(Tested(system, occlusion, occluded))
    return found


def reckoned(settings: RGGaitSettings) -> list[Reckoned]:
    """Means over occlusions, identity by identity, and gains over the signature extractor.

    Conditions ``seen``, ``unseen`` and ``new`` are means, of systems that are tested under all of them. The system
    ``rg_gait+new`` is, under a new occlusion, the one that was trained on with it.
    """
    there = {test.place for test in tested(settings)}
    found: list[Reckoned] = []

    def add(system: str, condition: str, parts: list[tuple[float, Place]]) -> None:
        if parts and all(part in there for _, part in parts):
            there.add((system, condition))
            found.append(Reckoned(system, condition, tuple(parts)))

    adapted = [f"{system}+new" for system in ADAPTED]
    for occluded in settings.occluded:
        for system in ADAPTED:
            for new in settings.new:
                add(f"{system}+new", place(new, occluded), [(1.0, (f"{system}+{new}", place(new, occluded)))])
        for system in (*needed(settings), *adapted):
            for group, members in _groups(settings):
                parts = [(1 / len(members), (system, place(member, occluded))) for member in members]
                add(system, place(group, occluded), parts)
    for system in COMPARED[1:]:
        for condition in dict.fromkeys(condition for _, condition in sorted(there)):
            add(gain(system), condition, [(1.0, (system, condition)), (-1.0, (COMPARED[0], condition))])
    return found


def _groups(settings: RGGaitSettings) -> Iterator[tuple[str, tuple[str, ...]]]:
    for group in ("seen", "unseen", "new"):
        if members := getattr(settings, group):
            yield group, members
