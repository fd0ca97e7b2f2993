"""The samplers as a toolbox uses them."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from types import SimpleNamespace

import pytest
import torch.distributed as dist

from gaitext.errors import ConfigError
from gaitext.toolboxes.samplers import BalancedTripletSampler, RepeatTripletSampler, SeededTripletSampler


def _dataset() -> SimpleNamespace:
    """What both toolboxes' datasets offer: four identities with many nm, few bg and cl."""
    rows = [
        (f"CASIA-B-{i:03d}", kind, f"{view:03d}")
        for i in range(4)
        for kind in ("nm-01", "nm-02", "nm-03", "nm-04", "nm-05", "nm-06", "bg-01", "cl-01")
        for view in (0, 90)
    ]
    labels = [row[0] for row in rows]
    return SimpleNamespace(
        label_set=sorted(set(labels)),
        indices_dict={label: [i for i, name in enumerate(labels) if name == label] for label in labels},
        types_list=[row[1] for row in rows],
        views_list=[row[2] for row in rows],
    )


def _as_rank(monkeypatch: pytest.MonkeyPatch, rank: int, world_size: int) -> None:
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_rank", lambda: rank)
    monkeypatch.setattr(dist, "get_world_size", lambda: world_size)


@pytest.mark.parametrize("kind", [SeededTripletSampler, BalancedTripletSampler, RepeatTripletSampler])
@pytest.mark.parametrize("shuffle", [False, True])
def test_processes_share_one_batch(
    monkeypatch: pytest.MonkeyPatch, kind: type[SeededTripletSampler], shuffle: bool
) -> None:
    whole = list(islice(kind(_dataset(), [3, 4], batch_shuffle=shuffle), 5))
    shares = []
    for rank in range(2):
        _as_rank(monkeypatch, rank, 2)
        shares.append(list(islice(kind(_dataset(), (3, 4), batch_shuffle=shuffle), 5)))
    for batch, first, second in zip(whole, *shares):
        assert first == batch[::2]
        assert second == batch[1::2]
    assert whole[0] != whole[1]
    assert list(islice(kind(_dataset(), [3, 4], batch_shuffle=shuffle, seed=1), 1)) != whole[:1]


def test_balanced_batches_have_all_conditions() -> None:
    dataset = _dataset()
    for batch in islice(BalancedTripletSampler(dataset, [2, 6]), 10):
        assert Counter(dataset.types_list[i][:2] for i in batch) == {"nm": 4, "bg": 4, "cl": 4}


def test_repeated_conditions_are_drawn_so_much_more_often() -> None:
    dataset = _dataset()
    batches = list(islice(RepeatTripletSampler(dataset, [2, 6]), 400))  # bg and cl three times
    drawn = Counter(dataset.types_list[i][:2] for batch in batches for i in batch)
    # Of an identity's 2 · (6 + 3 + 3) entries, as GaitPT's recipe has them.
    assert drawn["nm"] / 4800 == pytest.approx(6 / 12, abs=0.03)
    assert drawn["bg"] / 4800 == pytest.approx(3 / 12, abs=0.03)
    assert max(Counter(i for i in batch).most_common(1)[0][1] for batch in batches) == 3
    plain = SeededTripletSampler(dataset, [2, 6])
    assert [plain.draw(i) for i in range(9)] == [RepeatTripletSampler(dataset, [2, 6], {}).draw(i) for i in range(9)]
    assert len(RepeatTripletSampler(dataset, [2, 6])) == 4 * 24


def test_repeats_that_mean_nothing_are_named() -> None:
    with pytest.raises(ConfigError, match=r"sampler\.repeats(.|\n)*bg, cl, nm"):
        RepeatTripletSampler(_dataset(), [2, 6], {"bags": 3})
    with pytest.raises(ConfigError, match=r"sampler\.repeats(.|\n)*at least 1"):
        RepeatTripletSampler(_dataset(), [2, 6], {"bg": 0})
    with pytest.raises(ConfigError, match=r"sampler\.repeats(.|\n)*bg: 3"):
        RepeatTripletSampler(_dataset(), [2, 6], ["bg"])  # type: ignore[arg-type]


def test_wrong_batches_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="identities, sequences"):
        BalancedTripletSampler(_dataset(), [8])
    _as_rank(monkeypatch, 0, 5)
    with pytest.raises(ConfigError, match="5 processes"):
        BalancedTripletSampler(_dataset(), [2, 3])
