"""A protocol's numbers under short names: ``NM``, ``NM@R5``, ``mean``."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gaitext.evaluation.cross_view import mean

_PREFIX = "scalar/test_accuracy/"
_REID = "-ReID"


def short_numbers(scalars: Mapping[str, float]) -> dict[str, float]:
    """Without the toolboxes' prefix, rank-1 by the condition's name alone, and the conditions' ``mean``.

    CCPG's re-identification is another protocol, and has its own: ``mean-ReID``, ``mean-ReID@mAP``.

    >>> short_numbers({"scalar/test_accuracy/NM@R1": 50.0, "scalar/test_accuracy/CL@R1": 30.0})
    {'NM': 50.0, 'CL': 30.0, 'mean': 40.0}
    >>> short_numbers({"CL-ReID@R1": 50.0, "UP-ReID@R1": 30.0, "CL-ReID@mAP": 20.0})
    {'CL-ReID': 50.0, 'UP-ReID': 30.0, 'CL-ReID@mAP': 20.0, 'mean-ReID': 40.0, 'mean-ReID@mAP': 20.0}
    """
    numbers = {name.removeprefix(_PREFIX): float(value) for name, value in scalars.items()}
    for rank in sorted({name.partition("@")[2] for name in numbers if "@" in name}):
        of_rank = {n.partition("@")[0]: v for n, v in numbers.items() if n.partition("@")[2] == rank}
        for protocol in ("", _REID):
            # SUSTech1K's Overall and PsyMo's mean are of the other conditions.
            conditions = [
                value
                for name, value in of_rank.items()
                if name not in ("mean", "Overall", f"mean{_REID}") and name.endswith(_REID) == bool(protocol)
            ]
            if conditions:
                numbers.setdefault(f"mean{protocol}@{rank}", mean(np.array(conditions)))
    renamed = {name.removesuffix("@R1"): value for name, value in numbers.items()}
    means = ("mean", f"mean{_REID}")
    return {name: renamed[name] for name in sorted(renamed, key=lambda n: n.partition("@")[0] in means)}
