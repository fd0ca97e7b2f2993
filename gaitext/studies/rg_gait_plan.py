"""Which cells a study of RG-Gait has: tests of its systems, and what is reckoned from them.

How a study of RG-Gait shows the poster's tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from gaitext.studies.reporting import ColumnSettings, TableSettings
from gaitext.studies.rg_gait_settings import Occluded, RGGaitSettings, TableName
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
    "standard_tables",
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


_NAMES = {
    "gse": "GSE",
    "finetuned": "GSE, fine-tuned",
    "occ_aware": "Occ Aware",
    "mimicgait": "MimicGait",
    "rg_gait": "RG-Gait",
}
_ABLATION = {
    "gse": "Baseline-1 (the GSE, trained without occlusions)",
    "frn": "FRN alone (residual ✗ adaptive ✗ aware ✗)",
    "occ_aware": "Occ Aware (residual ✗ adaptive ✗ aware ✓)",
    "mimicgait": "MimicGait (Occ Aware, taught by the GSE)",
    "residual": "Vanilla residual (residual ✓ adaptive ✗ aware ✗)",
    "aware": "Aware only (residual ✓ adaptive ✗ aware ✓)",
    "adaptive": "Adaptive only (residual ✓ adaptive ✓ aware ✗)",
    "rg_gait": "RG-Gait (residual ✓ adaptive ✓ aware ✓)",
}
_OCCLUDED: dict[Occluded, str] = {"probes": "the probes alone occluded", "all": "all sequences occluded"}
_TITLES: dict[TableName, str] = {
    "retention": "Holistic retention",
    "ablation": "Ablation, mean over the occlusions seen in training",
    "generalisation": "Generalisation to unseen and adaptation to new occlusions",
}
_PUBLISHED: dict[TableName, tuple[str, ...]] = {
    "retention": (),
    "ablation": (
        "RG-Gait's poster, ablation, rank-1 / rank-5: Baseline-1 7.6 / 15.71, vanilla residual 35.3 / 50.8, aware only "
        "38.03 / 54.95, adaptive only 38.23 / 52.75, RG-Gait 40.84 / 57.25",
    ),
    "generalisation": (
        "RG-Gait's poster, generalisability, middle rank-1 / rank-5, dynamic rank-1 / rank-5: Occ Aware 17.93 / 32.15, "
        "21.27 / 36.5; MimicGait 21.73 / 37.37, 26.77 / 42.9; RG-Gait 37.7 / 55.25, 39.12 / 55.45",
        "RG-Gait's poster, adaptability, likewise: Occ Aware 26.7 / 43.82, 34.87 / 52.07; MimicGait 34.78 / 52.75, "
        "36.65 / 53.15; RG-Gait 47.62 / 63.57, 48.72 / 64.92",
    ),
}


def standard_tables(settings: RGGaitSettings) -> list[TableSettings]:
    """Of each name, one for each way to occlude: ``retention_probes``, ``retention_all``, …"""
    rows = {"retention": _retention, "ablation": _ablation, "generalisation": _generalisation}
    made = []
    for name in settings.standard:
        for occluded in settings.occluded:
            shown, columns = rows[name](settings, occluded)
            table = TableSettings(
                name=f"{name}_{occluded}",
                title=_title(settings, name, occluded),
                rows=shown,
                columns=tuple(columns),
                published=_PUBLISHED[name],
            )
            made.append(table)
    return made


def _title(settings: RGGaitSettings, name: TableName, occluded: Occluded) -> str:
    title = f"{_TITLES[name]}: {_OCCLUDED[occluded]}; seen in training: {', '.join(settings.seen)}"
    if name == "generalisation" or settings.release is None:
        return title
    release, (low, high) = settings.release, settings.release.rows
    return (
        f"{title}; {RELEASE}: {release.probability:.0%} of all sequences, probes and gallery alike, "
        f"lose {low:.0%} to {high:.0%} of their rows"
    )


Shown = tuple[dict[str, str], list[ColumnSettings]]


def _retention(settings: RGGaitSettings, occluded: Occluded) -> Shown:
    """What is kept on whole walkers and won on occluded ones, and over the signature extractor."""
    rows = {_NAMES[system]: system for system in COMPARED}
    rows |= {f"{_NAMES[system]} − GSE": gain(system) for system in COMPARED[1:]}
    conditions = (UNOCCLUDED, *settings.occlusions, *_release(settings))
    return rows, [_column(place(c, occluded), c, (rank,)) for rank in RANKS for c in conditions]


def _ablation(settings: RGGaitSettings, occluded: Occluded) -> Shown:
    """The poster's ablation and baselines, and whole walkers beside occluded ones."""
    rows = {_ABLATION[system]: system for system in ABLATED}
    shown = [(place("seen", occluded), "occluded"), (UNOCCLUDED, UNOCCLUDED)]
    return rows, [_column(*each) for each in (*shown, *((c, c) for c in _release(settings)))]


def _generalisation(settings: RGGaitSettings, occluded: Occluded) -> Shown:
    """Occlusions unseen in training, before and after training on with each of them."""
    rows = {f"Generalisation: {_NAMES[system]}": system for system in COMPARED}
    rows |= {f"Adaptation: {_NAMES[system]}": f"{system}+new" for system in ADAPTED}
    return rows, [_column(place(new, occluded), new) for new in settings.new]


def _release(settings: RGGaitSettings) -> tuple[str, ...]:
    return () if settings.release is None else (RELEASE,)


def _column(condition: str, label: str, ranks: tuple[int, ...] = tuple(RANKS)) -> ColumnSettings:
    names = {metric: f"rank-{rank}" for rank, metric in RANKS.items()}
    return ColumnSettings(condition=condition, label=label, metrics=tuple(RANKS[rank] for rank in ranks), names=names)
