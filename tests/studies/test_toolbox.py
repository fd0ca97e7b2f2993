"""What a toolbox's log says of ranks."""

from __future__ import annotations

import pytest

from gaitext.studies.toolbox import logged_ranks


@pytest.mark.parametrize(
    ("log", "ranks"),
    [
        ("{'scalar/test_accuracy/Rank-1': 51.5, 'scalar/test_accuracy/Rank-5': np.float64(70.0)}", (51.5, 70.0)),
        ("===x===\nNM: 000 1.00\nNM@R1: 40.00%\tBG@R1: 20.00%\nNM@R5: 60.00%", (30.0, 60.0)),
        ("INFO: NM@R1: [10. 20. 60.]\nBG@R1: [nan nan]\nNM@R1: 30.00%\tBG@R1: nan%", (30.0, float("nan"))),
        ("[2025 1.5] ==Rank-1==\n[2025 1.5] 48.250\n[2025 1.5] ==Rank-5==\n[2025 1.5] 61.000\n", (48.25, 61.0)),
    ],
)
def test_ranks_are_read_from_a_toolboxs_log(log: str, ranks: tuple[float, float]) -> None:
    found = logged_ranks(log)
    assert [found["rank-1"], found["rank-5"]] == pytest.approx(list(ranks), nan_ok=True)
