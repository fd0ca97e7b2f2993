"""A job array's share of the items."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from gaitext.errors import ConfigError

__all__ = ["Shard", "parse_shard"]

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Share ``number`` (counted from 1) of ``count``."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"there is no shard {self.number} of {self.count}",
                where="shard",
                how=f"shards count from 1 to {self.count}, so does `#SBATCH --array=1-{self.count}`"
                if self.count > 0
                else "give I/N with I from 1 to N",
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Every ``count``-th item: all shards together hold each item once, also large ones sorted first.

        Jobs agree on who does what only if each is given the same items in the same order. Take the
        share first, and leave out what is finished afterwards.

        >>> Shard(2, 3).of("abcdefgh")
        ['b', 'e', 'h']
        """
        return list(items[self.number - 1 :: self.count])


def parse_shard(text: str | Shard | None) -> Shard | None:
    """Read ``"I/N"``, 1-based; None stands for everything.

    >>> parse_shard("3/100")
    Shard(number=3, count=100)

    Raises:
        ConfigError: it is not of that form, or I is not within 1..N.
    """
    if text is None or isinstance(text, Shard):
        return text
    # At most nine digits: nothing sensible is longer, and int() limits them.
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
    if match is None:
        raise ConfigError(
            f"{text!r} is no share of the work",
            where="shard",
            how="give I/N, such as 3/100 or $SLURM_ARRAY_TASK_ID/100",
        )
    return Shard(int(match[1]), int(match[2]))
