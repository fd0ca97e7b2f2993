"""Occlusions as transforms of a host's list."""

from typing import Any

import numpy as np
import pytest

from gaitext.errors import ConfigError, DataError
from gaitext.occlusion import OcclusionSettings, draw_occlusion, occlude, occlude_poses, pose_boxes
from gaitext.standalone.data import build_chains
from gaitext.transforms import OcclusionHeatmaps, OcclusionPoses, OcclusionSilhouettes

RNG = np.random.default_rng(0)
SILHOUETTES = ((RNG.random((30, 6, 64, 64)) > 0.5) * 255).astype(np.uint8)
HEATMAPS = RNG.random((30, 6, 17, 16, 12)).astype(np.float16)
POSES = (RNG.random((30, 6, 17, 3)) * (47, 63, 1)).astype(np.float32)
TYPES = {"top": 0.2, "bottom": 0.2, "middle": 0.2, "dynamic": 0.2, "pole": 0.2}
CASES = [(OcclusionSilhouettes, SILHOUETTES), (OcclusionHeatmaps, HEATMAPS), (OcclusionPoses, POSES)]


@pytest.mark.parametrize(("kind", "sequences"), CASES)
def test_a_seed_makes_it_a_function_of_the_sequence(kind: Any, sequences: np.ndarray) -> None:
    before = sequences.copy()
    first = [kind(types=TYPES, seed=1)(sequence) for sequence in sequences]
    transform = kind(types=TYPES, seed=1)
    again = [transform(sequence) for sequence in sequences[::-1]][::-1]
    assert np.array_equal(sequences, before)
    assert all(np.array_equal(one, other) for one, other in zip(first, again))
    assert all(one.dtype == sequences.dtype and one.shape == sequences.shape[1:] for one in first)
    other_seed = [kind(types=TYPES, seed=2)(sequence) for sequence in sequences]
    assert sum(not np.array_equal(one, other) for one, other in zip(first, other_seed)) > 20
    assert sum(not np.array_equal(one, sequence) for one, sequence in zip(first, sequences)) > 25


@pytest.mark.parametrize(("kind", "sequences"), CASES)
def test_without_a_seed_draws_follow_the_generator_or_the_hosts_seed(kind: Any, sequences: np.ndarray) -> None:
    def run(**arguments: Any) -> list[bytes]:
        transform = kind(types=TYPES, **arguments)
        return [transform(sequences[0]).tobytes() for _ in range(10)]

    assert run(generator=np.random.default_rng(1)) == run(generator=np.random.default_rng(1))
    np.random.seed(3)  # noqa: NPY002 (the toolboxes' seed)
    first = run()
    assert len(set(first)) > 3
    assert run() != first
    np.random.seed(3)  # noqa: NPY002
    assert run() == first
    # The embedded host gives a generator for each sequence; a seed overrides it.
    entry = {"type": kind.__name__, "types": TYPES}
    (chain,) = build_chains([entry], where="transform")
    drawn = {chain(sequences[0], np.random.default_rng(i)).tobytes() for i in range(10)}
    assert len(drawn) > 3
    (chain,) = build_chains([{**entry, "seed": 1}], where="transform")
    assert len({chain(sequences[0], np.random.default_rng(i)).tobytes() for i in range(10)}) == 1


def test_what_each_does_with_a_drawn_occlusion() -> None:
    for number in range(12):
        generators = [np.random.default_rng(number) for _ in range(2)]

        def drawn(resize: bool, generator: np.random.Generator = generators[0]) -> Any:
            return draw_occlusion(OcclusionSettings(types=TYPES, resize_visible=resize), generator)

        found = OcclusionSilhouettes(types=TYPES, generator=generators[1])(SILHOUETTES[0])
        assert np.array_equal(found, occlude(SILHOUETTES[0], drawn(True), binary=True))
        found = OcclusionHeatmaps(types=TYPES, generator=generators[1])(HEATMAPS[0])
        assert np.array_equal(found, occlude(HEATMAPS[0], drawn(False), binary=False))
        found = OcclusionHeatmaps(types=TYPES, resize_visible=True, generator=generators[1])(HEATMAPS[0])
        assert np.array_equal(found, occlude(HEATMAPS[0], drawn(True), binary=False))
        found = OcclusionPoses(types=TYPES, generator=generators[1])(POSES[0])
        assert np.array_equal(found, occlude_poses(POSES[0], drawn(False)))
        found = OcclusionPoses(width=320, height=240, types=TYPES, generator=generators[1])(POSES[0] * 3)
        assert np.array_equal(found, occlude_poses(POSES[0] * 3, drawn(False), 320, 240))
        found = OcclusionPoses(box="joints", types=TYPES, generator=generators[1])(POSES[0])
        boxes = pose_boxes(POSES[0]).astype(np.float32)
        assert np.array_equal(found, occlude_poses(POSES[0], drawn(False), boxes=boxes))


def test_channels_of_silhouettes_are_occluded_alike() -> None:
    stacked = np.stack((SILHOUETTES[0], SILHOUETTES[0]), 1)
    found = OcclusionSilhouettes(types={"top": 1}, generator=np.random.default_rng(0))(stacked)
    alone = OcclusionSilhouettes(types={"top": 1}, generator=np.random.default_rng(0))(SILHOUETTES[0])
    assert np.array_equal(found, np.stack((alone, alone), 1))


def test_it_is_random_without_a_seed_only() -> None:
    assert OcclusionSilhouettes.is_random({"types": {"top": 1}})
    assert OcclusionSilhouettes.is_random({"seed": None})
    assert not OcclusionSilhouettes.is_random({"seed": 0})


def test_wrong_arguments_and_sequences_are_named() -> None:
    with pytest.raises(ConfigError, match=r"OcclusionSilhouettes(.|\n)*did you mean 'middle'"):
        OcclusionSilhouettes(types={"midle": 1})
    with pytest.raises(ConfigError, match=r"OcclusionHeatmaps.*smaller bound first"):
        OcclusionHeatmaps(rows=[0.6, 0.1])
    with pytest.raises(ConfigError, match="did you mean 'joints'"):
        OcclusionPoses(box="joint")
    with pytest.raises(ConfigError, match="size in pixels"):
        OcclusionPoses(width=0)
    with pytest.raises(DataError, match="silhouettes of shape"):
        OcclusionSilhouettes()(POSES[0, 0])
    with pytest.raises(DataError, match="heatmaps of shape"):
        OcclusionHeatmaps()(SILHOUETTES[0])
    with pytest.raises(DataError, match="poses of shape"):
        OcclusionPoses()(HEATMAPS[0])
