"""Joints go missing exactly where pixels do."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaitext import geometry
from gaitext.errors import ShapeError
from gaitext.occlusion import Occlusion, Occlusions, occlude, occlude_pose_batch, occlude_poses, pose_boxes
from tests.occlusion import reference
from tests.occlusion.test_pixels import EXAMPLES, occlusions

RNG = np.random.default_rng(1)


def poses(frames: int, width: float = 48, height: float = 64) -> np.ndarray:
    found = RNG.random((frames, 17, 3)) * (width - 1, height - 1, 0.9) + (0, 0, 0.1)
    return found.astype(np.float32)


@pytest.mark.parametrize("occlusion", EXAMPLES, ids=lambda o: f"{o.type}{'-resized' * o.resize}")
def test_poses_equal_the_slow_reference(occlusion: Occlusion) -> None:
    given_poses = poses(12)
    before = given_poses.copy()
    found = occlude_poses(given_poses, occlusion)
    assert np.array_equal(given_poses, before)
    assert not np.shares_memory(found, given_poses)
    assert found.dtype == np.float32
    gone = 0
    for t in range(12):
        for joint in range(17):
            x, y, _ = before[t, joint]
            lost = reference.hidden(occlusion, t, round(float(y)), round(float(x)), 64, 48)
            assert np.array_equal(found[t, joint], [0, 0, 0] if lost else before[t, joint])
            gone += lost
    assert (gone > 0) == (occlusion.type != "none")
    assert np.array_equal(occlude_poses(torch.from_numpy(before), occlusion).numpy(), found)


@given(occlusions(), st.integers(0, 2**32))
def test_a_joint_is_lost_exactly_if_its_heatmaps_peak_is(occlusion: Occlusion, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 48, (6, 17)), rng.integers(0, 64, (6, 17))
    heatmaps = np.zeros((6, 17, 64, 48), np.float32)
    frame, joint = np.indices((6, 17))
    heatmaps[frame, joint, y, x] = 1
    unresized = Occlusions.of([occlusion]).without_resize()[0]
    kept = occlude(heatmaps, unresized, binary=False).any((2, 3))
    found = occlude_poses(np.stack((x, y, np.ones_like(x)), -1).astype(np.float32), unresized)
    assert np.array_equal(found[..., 2] > 0, kept)
    # The same pose in the pixels of a four times larger image, and in a frame around its crop.
    larger = np.stack((x * 4 + 1.5, y * 4 + 1.5, np.ones_like(x)), -1).astype(np.float32)
    assert np.array_equal(occlude_poses(larger, unresized, 192, 256)[..., 2] > 0, kept)
    boxes = np.array([[100.5, 20.25, 192, 256]] * 6, np.float32)
    moved = larger + np.float32([100.5, 20.25, 0])
    assert np.array_equal(occlude_poses(moved, unresized, boxes=boxes)[..., 2] > 0, kept)
    tensors = occlude_poses(torch.from_numpy(moved), unresized, boxes=torch.from_numpy(boxes))
    assert np.array_equal(tensors[..., 2].numpy() > 0, kept)


def test_a_joint_outside_belongs_to_the_nearest_pixel() -> None:
    pose = np.array([[[10, -5, 1], [10, 70, 1], [-3, 63, 1], [50, 63, 1]]], np.float32)

    def kept(occlusion: Occlusion) -> list[bool]:
        return (occlude_poses(pose, occlusion)[0, :, 2] > 0).tolist()

    assert kept(Occlusion("top", rows=0.1)) == [False, True, True, True]
    assert kept(Occlusion("bottom", rows=0.1)) == [True, False, False, False]
    assert kept(Occlusion("pole", width=0.1, height=1)) == [True, True, False, True]


def test_poses_without_scores_and_other_numbers_of_joints() -> None:
    pose = np.array([[[10, 5], [10, 60]]], np.float64)
    assert occlude_poses(pose, Occlusion("top", rows=0.5)).tolist() == [[[0, 0], [10, 60]]]


def test_batches_are_their_sequences() -> None:
    chosen = [EXAMPLES[6], EXAMPLES[1], EXAMPLES[7]]
    lengths = [5, 3, 9]
    sequences = [poses(length) for length in lengths]
    alone = np.concatenate([occlude_poses(s, o) for s, o in zip(sequences, chosen)])
    index = np.concatenate([np.arange(length) for length in lengths])
    many = Occlusions.of(chosen).repeat(lengths)
    assert np.array_equal(occlude_pose_batch(np.concatenate(sequences), many, index), alone)
    with pytest.raises(ShapeError, match="17 occlusions for poses"):
        occlude_pose_batch(sequences[0], many, index)


def test_boxes_about_joints() -> None:
    found = np.zeros((3, 17, 3))
    found[0, 3] = 20, 30, 0.5
    found[0, 8] = 59, 149, 0.5
    found[1, 2] = 7, 9, 1
    boxes = pose_boxes(found)
    # Joints span pixels 20…59 × 30…149: 40 × 120, widened to 90 × 120, grown by 1.25.
    assert boxes[0] == pytest.approx([39.5 - 56.25, 89.5 - 75, 112.5, 150])
    assert boxes[1] == pytest.approx([7 - 0.625, 9 - 1.25 / 0.75 / 2, 1.25, 1.25 / 0.75])
    assert (boxes[:, 2:] > 0).all()
    inside = geometry.apply(geometry.crop_matrices(boxes[:1], 64, 48), found[:1, [3, 8], :2])
    assert ((inside > 0) & (inside < (47, 63))).all()
    # The head is in the box's upper part, whatever the size of the video.
    assert occlude_poses(found, Occlusion("top", rows=0.3), boxes=boxes)[0, 3].tolist() == [0, 0, 0]
    assert occlude_poses(found, Occlusion("top", rows=0.3), boxes=boxes)[0, 8].tolist() == [59, 149, 0.5]
