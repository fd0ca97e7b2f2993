"""Occlusions of fixed and packed sequences."""

import numpy as np
import pytest
import torch

from gaitext.errors import ShapeError
from gaitext.models.occluding import (
    content_keys,
    draw_by_key,
    draw_in_training,
    occlude_pose_sequences,
    occlude_sequences,
)
from gaitext.occlusion import OCCLUSION_TYPES, Occlusion, Occlusions, OcclusionSettings, occlude, occlude_poses

EVERY = OcclusionSettings(types={"top": 0.2, "bottom": 0.2, "middle": 0.2, "dynamic": 0.2, "pole": 0.1}, seed=3)
LENGTHS = [7, 1, 40, 12, 3, 9]
KEYS = [("001", "nm-01", f"{view:03}") for view in range(len(LENGTHS))]


@pytest.fixture(scope="module")
def sequences() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [(torch.rand(length, 16, 12, generator=generator) > 0.5).float() for length in LENGTHS]


def test_packed_sequences_are_occluded_as_alone_in_whatever_order(sequences: list[torch.Tensor]) -> None:
    alone = []
    for sequence, key in zip(sequences, KEYS):
        done = occlude_sequences(sequence[None], None, draw_by_key(EVERY, [key]), binary=True)
        alone.append((done.frames[0], done.types[0], done.amounts[0]))
    assert len({int(kind) for _, kind, _ in alone}) > 2
    for order in ([0, 1, 2, 3, 4, 5], [5, 2, 0, 4, 1, 3], [3, 4]):
        pack = torch.cat([sequences[i] for i in order])[None]
        seqL = torch.tensor([[LENGTHS[i] for i in order]])
        before = pack.clone()
        done = occlude_sequences(pack, seqL, draw_by_key(EVERY, [KEYS[i] for i in order]), binary=True)
        assert torch.equal(pack, before)
        assert done.frames.shape == pack.shape
        for piece, i, kind, amount in zip(
            done.frames[0].split(seqL[0].tolist()), order, done.types, done.amounts, strict=True
        ):
            assert torch.equal(piece, alone[i][0])
            assert kind == alone[i][1]
            assert amount == alone[i][2]


def test_content_names_a_sequence_wherever_it_comes(sequences: list[torch.Tensor]) -> None:
    keys = content_keys(torch.cat(sequences)[None], LENGTHS)
    assert keys == [content_keys(sequence[None])[0] for sequence in sequences]
    assert len(set(keys)) == len(keys)
    assert list(draw_by_key(EVERY, keys)) == [draw_by_key(EVERY, [key])[0] for key in keys]
    other = OcclusionSettings(types=EVERY.types, seed=4)
    assert list(draw_by_key(other, keys)) != list(draw_by_key(EVERY, keys))


def test_fixed_sequences_get_one_occlusion_each() -> None:
    drawn = Occlusions.of([Occlusion("top", rows=0.25), Occlusion("pole", width=0.25, height=1, speed=64 / 16)])
    done = occlude_sequences(torch.ones(2, 5, 1, 16, 12), None, drawn, binary=True)
    expected = torch.ones(2, 5, 1, 16, 12)
    expected[0, :, :, :4] = 0
    for t in range(5):
        expected[1, t, :, :, t : t + 3] = 0
    assert torch.equal(done.frames, expected)
    assert done.types.tolist() == [1, 5]
    assert done.amounts.tolist() == pytest.approx([0.25, 0.25])
    assert done.frame_types.tolist() == [1] * 5 + [5] * 5
    assert done.frame_amounts.tolist() == [0.25] * 10


def test_a_patch_that_leaves_counts_for_the_frames_it_hides() -> None:
    leaving = Occlusions.of([Occlusion("dynamic", width=0.5, height=0.5, speed=24)])
    done = occlude_sequences(torch.ones(1, 4, 64, 64), None, leaving, binary=True)
    hidden = [0.25, 0.25, 0.5 * 16 / 64, 0]  # its left edge is at 0, 24, 48, 72
    assert done.frame_amounts.tolist() == hidden
    assert done.frame_types.tolist() == [4, 4, 4, 0]
    assert done.types.tolist() == [4]
    assert done.amounts.item() == pytest.approx(sum(hidden) / 4)
    nothing = Occlusions.of([Occlusion("dynamic", width=0.0, height=0.5, speed=1)])
    assert occlude_sequences(torch.ones(1, 4, 64, 64), None, nothing, binary=True).types.tolist() == [0]


def test_single_frames_each_with_its_own_occlusion(sequences: list[torch.Tensor]) -> None:
    torch.manual_seed(1)
    drawn = draw_in_training(EVERY, sum(LENGTHS))
    pack = torch.cat(sequences)
    done = occlude_sequences(pack[None], LENGTHS, drawn, binary=True)
    position = [t for length in LENGTHS for t in range(length)]
    for i, t in enumerate(position):
        # In frame t of its sequence a patch is where it is in frame t of a sequence of its own.
        assert torch.equal(done.frames[0, i], occlude(pack[i].expand(t + 1, -1, -1), drawn[i], binary=True)[t])
        if OCCLUSION_TYPES[int(done.frame_types[i])] in ("top", "bottom", "middle"):
            assert float(done.frame_amounts[i]) == pytest.approx(drawn[i].rows, abs=0.5 / 16 + 1e-6)
    assert set(done.frame_types.tolist()) == {0, 1, 2, 3, 4, 5}


def test_training_draws_follow_torchs_seed() -> None:
    torch.manual_seed(7)
    first, second = list(draw_in_training(EVERY, 20)), list(draw_in_training(EVERY, 20))
    torch.manual_seed(7)
    assert list(draw_in_training(EVERY, 20)) == first
    assert first != second


def test_poses_and_heatmaps_of_a_sequence_lose_the_same_joints() -> None:
    rng = np.random.default_rng(2)
    total = sum(LENGTHS)
    x, y = rng.integers(0, 48, (total, 17)), rng.integers(0, 64, (total, 17))
    frame, joint = np.indices((total, 17))
    heatmaps = torch.zeros(1, total, 17, 64, 48)
    heatmaps[0, frame, joint, y, x] = 1
    poses = torch.from_numpy(np.stack((x, y, np.ones_like(x)), -1)).float()[None]
    drawn = draw_by_key(EVERY, KEYS).without_resize()
    seen = occlude_sequences(heatmaps, LENGTHS, drawn, binary=False).frames.flatten(3).any(3)
    found = occlude_pose_sequences(poses, LENGTHS, drawn)
    assert torch.equal(found[..., 2] > 0, seen)
    assert 0 < seen.float().mean() < 1
    begin = LENGTHS[0] + LENGTHS[1]
    piece = slice(begin, begin + LENGTHS[2])
    assert torch.equal(found[0, piece], occlude_poses(poses[0, piece], drawn[2]))
    boxes = torch.tensor([10.0, 20.0, 96.0, 128.0]).expand(1, total, 4)
    larger = torch.cat((poses[..., :2] * 2 + 0.5 + torch.tensor([10.0, 20.0]), poses[..., 2:]), -1)
    assert torch.equal(occlude_pose_sequences(larger, LENGTHS, drawn, boxes=boxes)[..., 2] > 0, seen)


def test_a_wrong_number_of_occlusions_is_named() -> None:
    with pytest.raises(ShapeError, match="3 occlusions for 2 sequences of 8 frames"):
        occlude_sequences(torch.ones(2, 4, 8, 8), None, draw_in_training(EVERY, 3), binary=True)
