"""Bodies for tests."""

from gaitext.walkers.body import SHARES, Body


def mean_body(stature: float = 1.70) -> Body:
    """The body that has every segment's mean share of ``stature`` (metres)."""
    return Body(stature, **{name: share * stature for name, (share, _) in SHARES.items()})
