"""What an extraction tells its caller."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["ExtractReport"]


@dataclass
class ExtractReport:
    """What an extraction did.

    Attributes:
        written: leaves (``id/type/view``) written now.
        standing: leaves finished by an earlier run with the same settings.
        skipped: leaf -> why it was not written (now or by an earlier run).
        stale: leaves of this video's tracks in the output folder that these settings do not make;
            they are left alone.
        frames: crops estimated now.
        dropped: reason -> how many of them were dropped.
        seconds: wall time.
    """

    written: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    frames: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"score": 0, "outside": 0})
    seconds: float = 0.0

    def __str__(self) -> str:
        """A few lines for people."""
        rate = f", {self.frames / self.seconds:.1f} crops/s" if self.frames and self.seconds else ""
        lines = [
            f"{len(self.written)} sequences written, {len(self.standing)} already there "
            f"({self.frames} crops in {self.seconds:.1f} s{rate})",
            f"dropped frames: {self.dropped['score']} below the score, {self.dropped['outside']} outside the frame",
        ]
        lines += [f"not written: {leaf}: {why}" for leaf, why in self.skipped.items()]
        lines += [f"left from other settings: {leaf}" for leaf in self.stale]
        return "\n".join(lines)
