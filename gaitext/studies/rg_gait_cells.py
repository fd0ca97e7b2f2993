"""Which cells a study of RG-Gait has, tests of its systems and sums of these, and the poster's tables of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gaitext.studies.rg_gait_systems import RELEASE, UNOCCLUDED, Occluded, RGGaitStudySettings, TableName
from gaitext.studies.settings import ColumnSettings, TableSettings

#: Systems of the retention table, the first of which the others are compared with, and their names there.
COMPARED = {
    "gse": "GSE",
    "finetuned": "GSE, fine-tuned",
    "occ_aware": "Occ Aware",
    "mimicgait": "MimicGait",
    "rg_gait": "RG-Gait",
}
#: Those that are trained on with new occlusions, and whose gain over the signature extractor is shown.
ADAPTED = tuple(COMPARED)[1:]
#: Systems of the ablation, Baseline-1 first, and their names there.
ABLATED = {
    "gse": "Baseline-1 (the GSE, trained without occlusions)",
    "frn": "FRN alone (residual ✗ adaptive ✗ aware ✗)",
    "residual": "Vanilla residual (residual ✓ adaptive ✗ aware ✗)",
    "aware": "Aware only (residual ✓ adaptive ✗ aware ✓)",
    "adaptive": "Adaptive only (residual ✓ adaptive ✓ aware ✗)",
    "occ_aware": "Occ Aware (residual ✗ adaptive ✗ aware ✓)",
    "mimicgait": "MimicGait (Occ Aware, taught by the GSE)",
    "rg_gait": "RG-Gait (residual ✓ adaptive ✓ aware ✓)",
}
#: Ranks that are reported, and the cells' metrics of them.
RANKS = {1: "mean", 5: "mean@R5"}

Place = tuple[str, str]


@dataclass(frozen=True)
class CellTest:
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
        return self.system, condition_of(self.occlusion, self.occluded)


def condition_of(occlusion: str, occluded: Occluded) -> str:
    """A cell's condition."""
    return occlusion if occlusion in (UNOCCLUDED, RELEASE) else f"{occlusion}/{occluded}"


def gain_of(system: str) -> str:
    """What a system's difference to the signature extractor is called, as a system."""
    return f"{system}-gse"


class CellPlan:
    """The cells that a study's tables need.

    Attributes:
        occlusions: system -> what it is tested under.
        tests: all that are tested.
        sums: (system, condition) -> weights and cells that it is the sum of, which come before it: means over
            occlusions, identity by identity, and gains over the signature extractor. Conditions ``seen``, ``unseen``
            and ``new`` are means, of systems that are tested under all of them. The system ``rg_gait+new`` is, under a
            new occlusion, the one that was trained on with it.
    """

    def __init__(self, settings: RGGaitStudySettings) -> None:
        self._settings = settings
        self.occlusions = self._occlusions()
        once: dict[str, tuple[Occluded, ...]] = {UNOCCLUDED: settings.occluded[:1], RELEASE: ("all",)}
        self.tests = [
            CellTest(system, occlusion, occluded)
            for system, occlusions in self.occlusions.items()
            for occlusion in occlusions
            for occluded in once.get(occlusion, settings.occluded)
        ]
        self.sums: dict[Place, tuple[tuple[float, Place], ...]] = {}
        self.places = {test.place for test in self.tests}
        for occluded in settings.occluded:
            self._add_means(occluded)
        for system in ADAPTED:
            for condition in dict.fromkeys(condition for _, condition in sorted(self.places)):
                self._add((gain_of(system), condition), {(system, condition): 1.0, ("gse", condition): -1.0})

    def _occlusions(self) -> Mapping[str, tuple[str, ...]]:
        settings = self._settings
        found: dict[str, list[str]] = {}
        always = (UNOCCLUDED,) if settings.release is None else (UNOCCLUDED, RELEASE)
        for table, systems, tested in (
            ("retention", COMPARED, (*always, *settings.occlusions)),
            ("ablation", ABLATED, (*always, *settings.seen)),
        ):
            for system in systems if table in settings.standard else ():
                found.setdefault(system, []).extend(tested)
        for new in settings.new if "generalisation" in settings.standard else ():
            for system in (*COMPARED, *(f"{system}+{new}" for system in ADAPTED)):
                found.setdefault(system, []).append(new)
        return {system: tuple(dict.fromkeys(of)) for system, of in found.items()}

    def _add_means(self, occluded: Occluded) -> None:
        settings = self._settings
        for system in ADAPTED:
            for condition, new in ((condition_of(new, occluded), new) for new in settings.new):
                self._add((f"{system}+new", condition), {(f"{system}+{new}", condition): 1.0})
        groups = {"seen": settings.seen, "unseen": settings.unseen, "new": settings.new}
        for system in (*self.occlusions, *(f"{system}+new" for system in ADAPTED)):
            for group, members in groups.items():
                parts = {(system, condition_of(member, occluded)): 1 / len(members) for member in members}
                self._add((system, condition_of(group, occluded)), parts)

    def _add(self, place: Place, parts: Mapping[Place, float]) -> None:
        """A sum, if all its parts are there."""
        if parts and parts.keys() <= self.places:
            self.places.add(place)
            self.sums[place] = tuple((weight, part) for part, weight in parts.items())


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


def standard_tables(settings: RGGaitStudySettings) -> list[TableSettings]:
    """Of each name, one for each way to occlude: ``retention_probes``, ``retention_all``, …"""
    made = []
    for name in settings.standard:
        for occluded in settings.occluded:
            rows, columns = _shown(settings, name, occluded)
            title = f"{_TITLES[name]}: {_OCCLUDED[occluded]}; seen in training: {', '.join(settings.seen)}"
            if name != "generalisation" and (release := settings.release) is not None:
                low, high = release.rows
                title += (
                    f"; {RELEASE}: {release.probability:.0%} of all sequences, probes and gallery alike, "
                    f"lose {low:.0%} to {high:.0%} of their rows"
                )
            table = TableSettings(
                name=f"{name}_{occluded}", title=title, rows=rows, columns=tuple(columns), published=_PUBLISHED[name]
            )
            made.append(table)
    return made


def _shown(
    settings: RGGaitStudySettings, name: TableName, occluded: Occluded
) -> tuple[dict[str, str], list[ColumnSettings]]:
    """A table's rows and columns."""
    release = () if settings.release is None else (RELEASE,)
    if name == "retention":  # what is kept on whole walkers and won on occluded ones, and over the signature extractor
        rows = {label: system for system, label in COMPARED.items()}
        rows |= {f"{COMPARED[system]} − GSE": gain_of(system) for system in ADAPTED}
        conditions = (UNOCCLUDED, *settings.occlusions, *release)
        return rows, [_column(condition_of(c, occluded), c, (rank,)) for rank in RANKS for c in conditions]
    if name == "ablation":  # the poster's, and its baselines; whole walkers beside occluded ones
        rows = {label: system for system, label in ABLATED.items()}
        conditions = (UNOCCLUDED, *release)
        return rows, [_column(condition_of("seen", occluded), "occluded"), *(_column(c, c) for c in conditions)]
    # Occlusions unseen in training, before and after training on with each of them.
    rows = {f"Generalisation: {label}": system for system, label in COMPARED.items()}
    rows |= {f"Adaptation: {COMPARED[system]}": f"{system}+new" for system in ADAPTED}
    return rows, [_column(condition_of(new, occluded), new) for new in settings.new]


def _column(condition: str, label: str, ranks: tuple[int, ...] = tuple(RANKS)) -> ColumnSettings:
    names = {metric: f"rank-{rank}" for rank, metric in RANKS.items()}
    return ColumnSettings(condition=condition, label=label, metrics=tuple(RANKS[rank] for rank in ranks), names=names)
