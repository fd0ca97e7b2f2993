"""What every study's YAML has: seeds, the tables and claims that it asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError, suggest

#: Names of files that every study writes.
RESERVED = ("claims", "study_results", "report")


class ColumnSettings(Settings):
    """A column of a table, or one for each metric.

    Attributes:
        condition: the cells' condition; None: a row's own (``system@condition`` in ``rows``).
        metrics: of the cells.
        label: before the metric's name; None: the condition.
        names: metric -> what it is called, in place of its own name.
    """

    condition: str | None = None
    metrics: tuple[str, ...] = Field(("mean",), min_length=1)
    label: str | None = None
    names: dict[str, str] = Field(default_factory=dict)


class TableSettings(Settings):
    """A table.

    Attributes:
        name: of its files; not one that the study itself gives to others.
        title: what it shows.
        rows: systems, or ``system@condition``; ``{label: system}`` gives a row another name.
        columns: see there.
        groups: each row is there once for each of these; ``{group}`` in a metric stands for it.
        published: lines that stand below the table, of published numbers and where they stand.
        unit: of the numbers.
    """

    name: str = Field(pattern=r"^[\w-]+$")
    title: str
    rows: dict[str, str] = Field(min_length=1)
    columns: tuple[ColumnSettings, ...] = Field(min_length=1)
    groups: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    unit: str = "%"

    @field_validator("name")
    @classmethod
    def _free(cls, name: str) -> str:
        if name in RESERVED:
            raise ValueError(f"'{name}' is what another file of the study is called")
        return name

    @model_validator(mode="after")
    def _grouped(self) -> TableSettings:
        if repeated(self.groups):
            raise ValueError("groups: one is there twice")
        if not self.groups and any("{group}" in metric for column in self.columns for metric in column.metrics):
            raise ValueError("columns: a metric asks for {group}, and there are no groups")
        return self

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        rows = values.get("rows") if isinstance(values, dict) else None
        if isinstance(rows, (list, tuple)):
            named: dict[str, str] = {}
            for row in rows:
                own = row if isinstance(row, dict) else {str(row): str(row)}
                if twice := sorted(map(str, named.keys() & own)):
                    raise ValueError(f"row '{twice[0]}' is there twice")
                named.update(own)
            values = {**values, "rows": named}
        return values

    def headers(self) -> list[str]:
        """The columns' names: of each column's metrics, with its label or condition before it."""
        names = []
        for column in self.columns:
            label = (column.condition or "") if column.label is None else column.label
            names += [f"{label} {column.names.get(metric, metric)}".strip() for metric in column.metrics]
        return names

    def lines(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """Each row's name, and of each of its cells system, condition and metric."""
        lines = []
        for group in self.groups or ("",):
            for name, row in self.rows.items():
                system, _, own = row.partition("@")
                line = [
                    (system, column.condition or own, metric.replace("{group}", group))
                    for column in self.columns
                    for metric in column.metrics
                ]
                lines.append((f"{group}: {name}" if group else name, line))
        return lines


class ClaimSettings(Settings):
    """That one system is better than another.

    Attributes:
        name: of the claim, in a sentence.
        better, than: ``system@condition``.
        metric: that decides.
        by: the least difference that counts; the claim is that it is more.
        lower_is_better: for distances.
        source: the paper's table or sentence.
        published: what it has found, with where it stands.
        unit: of the metric.
    """

    name: str
    better: str = Field(pattern=r".+@.+")
    than: str = Field(pattern=r".+@.+")
    metric: str = "mean"
    by: float = Field(0.0, allow_inf_nan=False)
    lower_is_better: bool = False
    source: str = ""
    published: str = ""
    unit: str = "%"

    def places(self) -> list[tuple[str, str]]:
        """(system, condition) of ``better`` and of ``than``."""
        return [(system, condition) for system, _, condition in (n.partition("@") for n in (self.better, self.than))]


class StudySettings(Settings):
    """Common to all kinds.

    Attributes:
        kind: of study, see :func:`~gaitext.studies.parse_study`.
        title: of the whole.
        seeds: of trainings; each is one more row of cells.
        tables: what to write of the cells.
        claims: what to decide by them.
        save_embeddings: whether each test leaves its result beside its cell, as ``seed-0.npz``
            (:func:`~gaitext.evaluation.read_saved`).
    """

    kind: str
    title: str
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((0, 1, 2), min_length=1)
    tables: tuple[TableSettings, ...] = ()
    claims: tuple[ClaimSettings, ...] = ()
    save_embeddings: bool = False

    @model_validator(mode="after")
    def _apart(self) -> StudySettings:
        for what, names in (("seeds", self.seeds), ("tables", [t.name for t in self.tables])):
            if repeated(names):
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
        systems, conditions = ({place[side] for place in places} for side in (0, 1))
        for claim in self.claims:
            for name in (claim.better, claim.than):
                if name not in known:
                    raise ConfigError(
                        f"there will be no cells '{name}'", where=f"claim '{claim.name}'", how=suggest(name, known)
                    )
        for table in self.tables:
            where = f"table '{table.name}'"
            for row in table.rows.values():
                system, at, _ = row.partition("@")
                if system not in systems or (at and row not in known):
                    near = suggest(row, known if at else systems)
                    raise ConfigError(f"there will be no cells '{row}'", where=where, how=near)
            for condition in (column.condition for column in table.columns):
                if condition is not None and condition not in conditions:
                    near = suggest(condition, conditions)
                    raise ConfigError(f"nothing is tested on '{condition}'", where=where, how=near)
            for row in table.rows.values():
                if "@" not in row and any(column.condition is None for column in table.columns):
                    raise ConfigError(
                        f"row '{row}' names no condition, and a column has none",
                        where=where,
                        how=f"write {row}@CONDITION, or `condition:` in the column",
                    )

    def metrics_at(self, system: str, condition: str) -> list[str]:
        """Metrics that tables and claims want of a cell."""
        return sorted({metric for _, place, metric in self._wanted() if place == (system, condition)})

    def _wanted(self) -> list[tuple[str, tuple[str, str], str]]:
        """Which table or claim wants, of which (system, condition), which metric."""
        wanted = [
            (f"table '{table.name}'", (system, condition), metric)
            for table in self.tables
            for _, line in table.lines()
            for system, condition, metric in line
        ]
        return wanted + [(f"claim '{c.name}'", place, c.metric) for c in self.claims for place in c.places()]

    def check_metrics(self, known: Mapping[tuple[str, str], Collection[str]]) -> None:
        """Refuse metrics that cells will not have.

        Args:
            known: (system, condition) -> metrics, where they are known before anything is tested.

        Raises:
            ConfigError: naming the nearest one.
        """
        for where, place, metric in self._wanted():
            if place in known and metric not in known[place]:
                raise ConfigError(
                    f"{'@'.join(place)} will have no '{metric}'", where=where, how=suggest(metric, sorted(known[place]))
                )


def repeated(names: Collection[Any]) -> bool:
    """Whether one of the names is there twice."""
    return len(set(names)) < len(names)
