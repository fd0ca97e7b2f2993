"""How a study of RG-Gait shows the poster's tables."""

from __future__ import annotations

from gaitext.studies.reporting import ColumnSettings, TableSettings
from gaitext.studies.rg_gait_plan import ABLATED, ADAPTED, COMPARED, RANKS, gain, place
from gaitext.studies.rg_gait_settings import Occluded, RGGaitSettings, TableName
from gaitext.studies.rg_gait_systems import RELEASE, UNOCCLUDED

__all__ = ["standard_tables"]

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
