"""Whether a network's normalisations can be fixed: their running statistics have to be settled first."""

from __future__ import annotations

from torch import nn

__all__ = ["unsettled"]

#: By then a statistic's start weighs less than half a per cent (0.9 ** 50), with torch's momentum.
_SETTLED = 50


def unsettled(network: nn.Module) -> str | None:
    """What to say of a network whose BatchNorms are to be fixed (``fix_BN``) too early; None where all is well.

    A BatchNorm begins with mean 0 and variance 1, and moves them by a tenth with each batch. Fixed
    before that has come anywhere, it does not normalise, and losses grow until they are no numbers,
    in the toolboxes' own models as well.

    >>> unsettled(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    'fix_BN: 1 of 1 BatchNorms have seen 0 batches, and hardly normalise: begin at a trained checkpoint (restore_hint)'
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    few = [seen for seen in map(_seen, norms) if seen < _SETTLED]
    if not few:
        return None
    return (
        f"fix_BN: {len(few)} of {len(norms)} BatchNorms have seen {min(few)} batches, and hardly normalise: "
        "begin at a trained checkpoint (restore_hint)"
    )


def _seen(norm: nn.modules.batchnorm._BatchNorm) -> int:
    """How many batches the statistics have seen; some checkpoints hold statistics and no count."""
    mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
    seen = 0 if count is None else int(count)
    fresh = mean is None or variance is None or (not bool(mean.any()) and bool((variance == 1).all()))
    return _SETTLED if seen == 0 and not fresh else seen
