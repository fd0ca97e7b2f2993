"""What every study's YAML has, and the kinds there are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from gaitext.config import Settings, find_config, load_yaml
from gaitext.errors import ConfigError, suggest
from gaitext.studies.reporting import ClaimSettings, TableSettings
from gaitext.studies.tables import places

__all__ = ["StudySettings", "parse_study"]


class StudySettings(Settings):
    """Common to all kinds.

    Attributes:
        kind: of study, see :func:`parse_study`.
        title: of the whole.
        seeds: of trainings; each is one more row of cells.
        tables: what to write of the cells.
        claims: what to decide by them.
    """

    KIND: ClassVar[str] = ""

    kind: str
    title: str
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    tables: tuple[TableSettings, ...] = ()
    claims: tuple[ClaimSettings, ...] = ()

    @model_validator(mode="after")
    def _apart(self) -> StudySettings:
        for what, names in (("seeds", self.seeds), ("tables", [t.name for t in self.tables])):
            if len(set(names)) != len(names):
                raise ValueError(f"{what}: one is there twice")
        return self

    def check_places(self, places: set[tuple[str, str]]) -> None:
        """Refuse tables and claims of cells that this study does not make.

        Args:
            places: (system, condition) of all cells.

        Raises:
            ConfigError: naming the nearest one.
        """
        known = {f"{system}@{condition}": None for system, condition in places}
        systems = {system for system, _ in places}
        for claim in self.claims:
            for name in (claim.better, claim.than):
                if name not in known:
                    raise ConfigError(
                        f"there will be no cells '{name}'", where=f"claim '{claim.name}'", how=suggest(name, known)
                    )
        for table in self.tables:
            for row in table.rows.values():
                system, at, _ = row.partition("@")
                if system not in systems or (at and row not in known):
                    raise ConfigError(
                        f"there will be no cells '{row}'",
                        where=f"table '{table.name}'",
                        how=suggest(row, known if at else systems),
                    )
            for column in table.columns:
                if column.condition is not None and column.condition not in {c for _, c in places}:
                    raise ConfigError(
                        f"nothing is tested on '{column.condition}'",
                        where=f"table '{table.name}'",
                        how=suggest(column.condition, {c for _, c in places}),
                    )
            for row in table.rows.values():
                if "@" not in row and any(column.condition is None for column in table.columns):
                    raise ConfigError(
                        f"row '{row}' names no condition, and a column has none",
                        where=f"table '{table.name}'",
                        how=f"write {row}@CONDITION, or `condition:` in the column",
                    )

    def asked_of(self, system: str, condition: str) -> list[str]:
        """Metrics that tables and claims ask of a cell."""
        return sorted({metric for _, place, metric in self._asked() if place == (system, condition)})

    def _asked(self) -> list[tuple[str, tuple[str, str], str]]:
        """Who asks, of which (system, condition), and for which metric."""
        asked = [
            (f"table '{table.name}'", (system, condition), metric)
            for table in self.tables
            for _, line in places(table)
            for system, condition, metric in line
        ]
        for claim in self.claims:
            for name in (claim.better, claim.than):
                system, _, condition = name.partition("@")
                asked.append((f"claim '{claim.name}'", (system, condition), claim.metric))
        return asked

    def check_metrics(self, known: Mapping[tuple[str, str], Collection[str]]) -> None:
        """Refuse metrics that cells will not have.

        Args:
            known: (system, condition) -> metrics, where they are known before anything is tested.

        Raises:
            ConfigError: naming the nearest one.
        """
        for where, place, metric in self._asked():
            if place in known and metric not in known[place]:
                raise ConfigError(
                    f"{'@'.join(place)} will have no '{metric}'", where=where, how=suggest(metric, sorted(known[place]))
                )


def parse_study(path: str | Path, overrides: dict[str, Any] | None = None) -> Any:
    """The study that a YAML file describes, ready for :func:`~gaitext.studies.run_study`.

    Kinds: ``recognition`` (systems trained and tested on data sets), ``rg-gait`` (RG-Gait's tables) and
    ``compression`` (those of artifact correction).

    Args:
        path: the file; other files it names are relative to it.
        overrides: laid over its top level.

    Raises:
        ConfigError: the file is no study.
    """
    from gaitext.studies.kinds import KINDS

    path = find_config(path)
    values = {**load_yaml(path), **(overrides or {})}
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise ConfigError(f"is {kind!r}", where=f"{path}: kind", how=suggest(str(kind), KINDS))
    return KINDS[kind](values, path)
