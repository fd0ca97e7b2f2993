"""Inputs that are occluded alike, and the one-channel frames that the evaluator sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaitext.errors import ConfigError, ShapeError
from gaitext.models.occluded_inputs import check_kinds, evaluator_frames, input_kinds, occlude_inputs, rasterise_poses
from gaitext.occlusion import OCCLUSION_TYPES, Occlusion, Occlusions


def walker(sequences: int = 1, frames: int = 2) -> torch.Tensor:
    """COCO poses [n, T, 17, 3] in heatmap pixels."""
    x = [24, 22, 26, 20, 28, 16, 32, 13, 35, 11, 37, 19, 29, 18, 30, 17, 31]
    y = [6, 5, 5, 6, 6, 15, 15, 24, 24, 32, 32, 33, 33, 46, 46, 60, 60]
    pose = torch.tensor([x, y, [1] * 17], dtype=torch.float32).T
    return pose.expand(sequences, frames, 17, 3).clone()


def heatmaps(poses: torch.Tensor) -> torch.Tensor:
    maps = torch.zeros(*poses.shape[:3], 64, 48)
    n, t, v = torch.meshgrid(*(torch.arange(s) for s in poses.shape[:3]), indexing="ij")
    maps[n, t, v, poses[..., 1].long(), poses[..., 0].long()] = 1
    return maps


def test_kinds_are_told_from_shapes_or_named() -> None:
    shapes = [(2, 5, 64, 44), (2, 5, 1, 64, 64), (2, 5, 17, 64, 48), (2, 5, 17, 3), (2, 5, 4)]
    tensors = [torch.zeros(shape) for shape in shapes]
    assert input_kinds(tensors) == ["silhouettes", "silhouettes", "heatmaps", "poses", "boxes"]
    assert input_kinds(tensors[:2], ("heatmaps", "other")) == ["heatmaps", "other"]
    with pytest.raises(ConfigError, match="1 kinds are named"):
        input_kinds(tensors, ("poses",))
    with pytest.raises(ConfigError, match="PoseOrder"):
        input_kinds([torch.zeros(1, 2, 18, 2)])
    with pytest.raises(ConfigError, match="does not tell"):
        input_kinds([torch.zeros(1, 2, 5)])
    with pytest.raises(ConfigError, match="none of the inputs"):
        occlude_inputs([torch.zeros(1, 2, 4)], None, ["boxes"], Occlusions.of([Occlusion()]))


@pytest.mark.parametrize(
    ("shape", "raw", "said"),
    [
        ((2, 4, 10, 17, 1), (17, 3), r"turn their 17 joints into features of shape \(2, 4, 10, 17, 1\)"),
        ((2, 4, 18, 3, 5), (18, 3), "turn their 18 joints into features"),
        ((2, 4, 12, 3), (17, 3), "leave 12 of their 17 joints"),
        ((2, 4, 10, 17, 1), None, "perhaps what transforms make of poses"),
        ((2, 4, 600, 4), (600, 4), "perhaps points in space"),
    ],
)
def test_what_transforms_made_of_poses_is_refused_with_the_reason_and_what_to_do(
    shape: tuple[int, ...], raw: tuple[int, ...] | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        input_kinds([torch.zeros(shape)], raw=None if raw is None else [raw])
    assert caught.value.how is not None
    if 17 in shape or raw in ((17, 3), (18, 3)):
        assert "GaitPT" in caught.value.how
        assert "GaitHeat" in caught.value.how
        assert "OcclusionPoses first" in caught.value.how
    # Poses that are only divided are poses; naming the kind goes before.
    assert input_kinds([torch.zeros(2, 4, 17, 2)], raw=[(17, 3)]) == ["poses"]
    assert input_kinds([torch.zeros(shape)], ["other"]) == ["other"]


def test_heatmaps_and_poses_lose_the_same_joints_and_nothing_is_resized() -> None:
    poses = walker(3)
    occlusions = Occlusions.of(
        [Occlusion("bottom", rows=0.5, resize=True), Occlusion("top", rows=0.3, resize=True), Occlusion()]
    )
    done = occlude_inputs([heatmaps(poses), poses], None, ["heatmaps", "poses"], occlusions)
    peaks = done.sequences[0].flatten(3).amax(-1) > 0
    assert torch.equal((done.sequences[1] != 0).any(-1), peaks)
    assert peaks[:, 0].sum(1).tolist() == [9, 10, 17]  # down to the elbows; from the elbows on; all
    assert torch.equal(done.sequences[1][2], poses[2])
    assert [OCCLUSION_TYPES[t] for t in done.types] == ["bottom", "top", "none"]
    np.testing.assert_allclose(done.amounts, [32 / 64, 19 / 64, 0])


@pytest.mark.parametrize("unit", [1.0, 7.5, 1 / 320])
def test_poses_alone_are_occluded_in_a_box_of_their_own_whatever_their_unit(unit: float) -> None:
    poses = walker(2)
    poses[..., :2] = (poses[..., :2] + 50) * unit
    occlusions = Occlusions.of([Occlusion("bottom", rows=0.4), Occlusion()])
    done = occlude_inputs([poses], None, ["poses"], occlusions)
    hidden = (done.sequences[0] == 0).all(-1)
    assert hidden[0, 0].nonzero().flatten().tolist() == [13, 14, 15, 16]
    assert not hidden[1].any()
    assert torch.equal(done.sequences[0][~hidden], poses[~hidden])  # to the last bit
    assert done.amounts[0] == pytest.approx(26 / 64)
    assert [OCCLUSION_TYPES[t] for t in done.frame_types] == ["bottom", "bottom", "none", "none"]
    drawn = done.frames
    assert drawn.shape == (4, 1, 64, 48)
    torch.testing.assert_close(drawn[0], drawn[1])
    assert min(drawn[0].sum(), drawn[2].sum()) > 100
    # What is left fills its own box: legs that reach the lower rows are gone.
    assert (drawn[0] - drawn[2]).abs().max() == 1


def test_silhouettes_are_made_binary_again_and_stay_themselves_where_nothing_is_hidden() -> None:
    frames = torch.zeros(2, 3, 64, 44)
    frames[:, :, 4:60, 10:34] = 1
    untouched = occlude_inputs([frames], None, ["silhouettes"], Occlusions.of([Occlusion()] * 2))
    assert untouched.sequences[0] is frames
    assert torch.equal(untouched.frames, frames.flatten(0, 1)[:, None])
    occlusions = Occlusions.of([Occlusion("top", rows=0.5, resize=True), Occlusion("pole", width=0.2, height=1.0)])
    done = occlude_inputs([frames], None, ["silhouettes"], occlusions)
    assert set(done.sequences[0].unique().tolist()) == {0.0, 1.0}
    assert torch.equal(done.frames[:3, 0], done.sequences[0][0])
    assert done.sequences[0][0, 0, 0].sum() == 24  # the lower half fills the frame
    assert frames[0, 0, 4:60].sum() == 56 * 24


def test_heatmaps_are_merged_and_boxed_poses_are_drawn_in_their_boxes() -> None:
    poses = walker()
    maps = heatmaps(poses)
    merged = evaluator_frames([maps * 1.5], ["heatmaps"])
    assert torch.equal(merged[:, 0], maps[0].amax(1))
    box = torch.tensor([[[100.0, 50.0, 96.0, 128.0]]]).expand(1, 2, 4)  # two pixels for one of the map's
    framed = poses.clone()
    framed[..., :2] = (poses[..., :2] + 0.5) * 2 - 0.5 + torch.tensor([100.0, 50.0])
    torch.testing.assert_close(
        evaluator_frames([box, framed], ["boxes", "poses"]), rasterise_poses(poses[0]), atol=1e-4, rtol=0
    )


def test_a_limb_is_drawn_where_it_is() -> None:
    poses = torch.zeros(1, 17, 3)
    poses[0, 5] = torch.tensor([10.0, 20.0, 1])
    poses[0, 7] = torch.tensor([10.0, 30.0, 1])  # left shoulder to left elbow
    poses[0, 16] = torch.tensor([40.0, 60.0, 1])  # an ankle whose knee is missing
    frame = rasterise_poses(poses)[0, 0]
    expected = np.zeros((64, 48))
    for row in range(64):
        for column in range(48):
            to_limb = np.hypot(column - 10, row - min(max(row, 20), 30))
            to_joint = np.hypot(column - 40, row - 60)
            expected[row, column] = np.clip(2 - min(to_limb, to_joint), 0, 1)
    np.testing.assert_allclose(frame, expected, atol=1e-5)
    assert rasterise_poses(torch.zeros(2, 17, 3)).sum() == 0
    with pytest.raises(ShapeError, match="COCO-17"):
        rasterise_poses(torch.zeros(1, 18, 2))


def test_numbers_tell_parsing_and_images_from_what_has_their_shape() -> None:
    parsing = torch.arange(8.0).repeat(16, 2)[None, None].expand(1, 2, 16, 16)
    maps = torch.rand(1, 2, 3, 16, 16)
    ratios = torch.ones(1, 2)
    given = [parsing, parsing.clamp(max=1), maps, maps - 0.5, parsing * 255 / 7, ratios]
    told = ["parsing", "silhouettes", "heatmaps", "images", "images", "other"]
    assert input_kinds(given, values=True) == told
    assert input_kinds(given) == [*["silhouettes"] * 2, *["heatmaps"] * 2, "silhouettes", "other"]
    shapes = [tuple(each.shape[2:]) for each in given]
    check_kinds(["images", "silhouettes"], shapes[:2], judged=True, name="It")
    check_kinds(["images", "other"], shapes[:2], judged=False, name="It")
    with pytest.raises(ConfigError, match=r"It reads images only \(images \[16, 16\]\)"):
        check_kinds(["images"], shapes[:1], judged=True, name="It")
    with pytest.raises(ConfigError, match=r"named silhouettes, but a frame of it has shape \[3, 16, 16\]"):
        check_kinds(["silhouettes"], shapes[2:3], judged=True, name="It")
    with pytest.raises(ConfigError, match=r"none of It's inputs \(other \[\]\)"):
        check_kinds(["other"], shapes[-1:], judged=False, name="It")


def test_parts_of_a_body_stay_parts_where_rows_are_stretched() -> None:
    rows = torch.arange(12.0)[:, None].expand(12, 10)
    parsing = rows[None, None].expand(1, 1, 12, 10)
    top = Occlusions.of([Occlusion(type="top", rows=0.5, resize=True)])
    done = occlude_inputs([parsing], None, ["parsing"], top)
    # Rows 6 to 11 are left; output row y shows the row about (y + ½)/2 below their beginning.
    expected = torch.tensor([6.0, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11])
    assert torch.equal(done.sequences[0][0, 0, :, 0], expected)
    assert done.frames is not None
    assert torch.equal(done.frames.unique(), torch.tensor([1.0]))
    whole = occlude_inputs([parsing], None, ["parsing"], Occlusions.of([Occlusion()]))
    assert whole.frames is not None
    assert torch.equal(whole.frames[0, 0, 0], torch.zeros(10))
    # Images go along unjudged.
    images = torch.randn(1, 1, 3, 12, 10)
    done = occlude_inputs([images], None, ["images"], top, judged=False)
    assert done.frames is None
    assert not torch.equal(done.sequences[0], images)
    with pytest.raises(ConfigError, match="can read none"):
        occlude_inputs([images], None, ["images"], top)
