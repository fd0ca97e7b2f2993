"""What a study's YAML asks to be told of its cells: tables and claims."""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings

__all__ = ["ClaimSettings", "ColumnSettings", "TableSettings", "place_of"]


#: Names of files that every study writes.
RESERVED = ("claims", "study_results")


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
        if len(set(self.groups)) != len(self.groups):
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


def place_of(name: str) -> tuple[str, str | None]:
    """(system, condition) of ``system@condition``; a system alone has no condition.

    >>> place_of("gaitheat@level"), place_of("gaitheat")
    (('gaitheat', 'level'), ('gaitheat', None))
    """
    system, _, condition = name.partition("@")
    return system, condition or None
