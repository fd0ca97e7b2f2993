"""Crops against cutting by hand; targets of walkers and of extractions; draws."""

from __future__ import annotations

import json
import multiprocessing
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gaitext.errors import ConfigError, DataError
from gaitext.extraction import ExtractSettings, extract_dataset, find_sources, read_boxes
from gaitext.restoration import CropSettings, degrade_dataset, find_targets, prepare_correction, prepare_crops
from gaitext.restoration.crop_data import CropData, read_split
from gaitext.restoration.degrade import DegradeSettings
from gaitext.restoration.objective import fit_to_input
from gaitext.skeleton import COCO_JOINTS
from gaitext.store import map_sequence, read_leaf, read_sequence, write_sequence
from gaitext.video import read_frames
from gaitext.video.sources import find_videos

WINDOW = CropSettings(window=(120, 180), window_for=240)


def leaf(out, name="001/nm-01/090"):
    return read_leaf(out / "sequences" / name)


def test_walkers_targets_are_the_renderers(world):
    targets = find_targets(world.walkers, world.degraded)
    assert [t.pair.leaf for t in targets][:2] == ["001/nm-01/045", "001/nm-01/090"]
    for target in targets:
        truth = read_sequence(world.walkers / "sequences" / target.pair.leaf / "5_keypoints.pkl")
        assert target.pair.poses[..., :2] == pytest.approx(truth[..., :2], abs=1e-4)
        for score, visibility in zip(target.pair.poses[..., 2].ravel(), truth[..., 2].ravel()):
            assert score == (1 if visibility >= 0.5 else 0.5)  # all are inside
        (track,) = read_boxes(world.walkers / "boxes" / f"{target.pair.leaf}.csv").values()
        assert np.array_equal(target.boxes, track.boxes)


def test_windows_are_cut_where_they_say(world, tmp_path):
    report = prepare_crops(find_targets(world.walkers, world.degraded), tmp_path, WINDOW, quiet=True)
    assert report.frames == 36
    assert report.dropped == 0
    degraded, original, poses, boxes, crops = leaf(tmp_path)
    target = find_targets(world.walkers, world.degraded)[1]
    for images, video in ((degraded, target.pair.degraded), (original, target.pair.original)):
        for row, frame in read_frames(video):
            x, y, w, h = target.boxes[row]
            left, top = round(x + w / 2 - 60), round(y + h / 2 - 90)
            window = torch.from_numpy(frame[top : top + 180, left : left + 120]).permute(2, 0, 1)[None].float() / 255
            wanted = (fit_to_input(window, (256, 192)) * 255).round()[0]
            inner = (wanted - torch.from_numpy(images[row]).float()).abs()[:, 2:-2]
            assert inner.max() <= 1
            # 120×180 is padded by 7 at the left and 8 at the right to 135×180.
            assert crops[row].tolist() == [left - 7, top, 135, 180]
            scale = 192 / 135
            place = (target.pair.poses[row, :, :2] + 0.5 - (left - 7, top)) * scale - 0.5
            assert poses[row, :, :2] == pytest.approx(place, abs=1e-3)
            assert boxes[row] == pytest.approx(
                [(x - left + 7) * scale, (y - top) * scale, w * scale, h * scale], abs=1e-3
            )


def test_frames_whose_window_leaves_the_picture_are_dropped_and_counted(world, tmp_path):
    targets = find_targets(world.walkers, world.degraded)
    wide = CropSettings(window=(300, 200), window_for=None)
    report = prepare_crops(targets, tmp_path, wide, quiet=True)
    kept = 0
    for target in targets:
        corner = np.rint(target.boxes[:, :2] + target.boxes[:, 2:] / 2 - (150, 100))
        kept += int(((corner >= 0) & (corner <= (20, 40))).all(1).sum())
    assert report.frames == kept
    assert report.dropped == 36 - kept
    assert 0 < kept < 36
    with pytest.raises(DataError, match="no frame is left: all 36"):
        prepare_crops(targets, tmp_path / "none", CropSettings(window=(400, 600), window_for=None), quiet=True)


def test_what_stands_is_kept_and_other_settings_cut_again(world, tmp_path):
    targets = find_targets(world.walkers, world.degraded)
    prepare_crops(targets, tmp_path, WINDOW, quiet=True)
    file = tmp_path / "sequences" / "001/nm-01/090" / "0_degraded.pkl"
    before = file.stat().st_mtime_ns
    again = prepare_crops(targets, tmp_path, WINDOW, quiet=True)
    assert (len(again.standing), len(again.written)) == (6, 0)
    assert file.stat().st_mtime_ns == before
    fewer = prepare_crops(targets, tmp_path, WINDOW.model_copy(update={"stride": 4}), quiet=True)
    assert len(fewer.written) == 6
    assert fewer.leaves["001/nm-01/090"] == 2


def test_native_windows_are_the_videos_own_pixels(world, tmp_path):
    native = CropSettings(window=(120, 180), window_for=240, correct_at="native")
    targets = find_targets(world.walkers, world.degraded)
    prepare_crops(targets, tmp_path, native, quiet=True)
    degraded, _, poses, *_ = leaf(tmp_path)
    assert degraded.shape == (6, 3, 180, 120)
    frame = next(frame for _, frame in read_frames(targets[1].pair.degraded))
    x, y, w, h = targets[1].boxes[0]
    left, top = round(x + w / 2 - 60), round(y + h / 2 - 90)
    assert np.array_equal(degraded[0].transpose(1, 2, 0), frame[top : top + 180, left : left + 120])
    prepare_crops(targets, tmp_path / "input", WINDOW, quiet=True)
    assert np.array_equal(poses, leaf(tmp_path / "input")[2])
    with pytest.raises(ConfigError, match="crops of one size"):
        CropSettings.parse({"crop": "box", "correct_at": "native"}, where="crops")


def test_a_smaller_degraded_video_shows_the_same_persons(world, tmp_path):
    degraded = tmp_path / "small"
    degrade_dataset(
        find_videos(world.walkers / "videos"), degraded, DegradeSettings(crf=10, resolution=120), quiet=True
    )
    targets = find_targets(world.walkers, degraded)
    assert targets[0].pair.scale == (0.5, 0.5)
    prepare_crops(targets, tmp_path / "cut", WINDOW, quiet=True)
    prepare_crops(find_targets(world.walkers, world.degraded), tmp_path / "whole", WINDOW, quiet=True)
    small, whole = leaf(tmp_path / "cut"), leaf(tmp_path / "whole")
    # Windows begin at whole pixels of the degraded video, which are two of the original's.
    assert small[2][..., :2] == pytest.approx(whole[2][..., :2], abs=3.5)
    assert np.abs(small[0].astype(int) - small[1]).mean() < 12


def test_targets_of_an_extraction_have_its_boxes(world, tmp_path):
    sources = find_sources(world.walkers / "videos", world.walkers / "boxes")
    extract_dataset(sources, "movenet:lightning", tmp_path, ExtractSettings(min_score=0, min_frames=1), quiet=True)
    given = find_targets(tmp_path, world.degraded, world.walkers / "boxes")
    guessed = find_targets(tmp_path, world.degraded)
    walkers = find_targets(world.walkers, world.degraded)
    for one, other, true in zip(given, guessed, walkers):
        assert np.allclose(one.boxes, true.boxes)
        assert np.allclose(
            other.boxes[:, :2] + other.boxes[:, 2:] / 2, true.boxes[:, :2] + true.boxes[:, 2:] / 2, atol=1e-3
        )
        # 3:4 around the box: as high as it, or wider.
        assert (other.boxes[:, 2:] >= true.boxes[:, 2:] - 1e-3).all()
    with pytest.raises(DataError, match="files of boxes"):
        find_targets(tmp_path, world.degraded, tmp_path)


def test_splits(tmp_path):
    names = [f"{i:03d}" for i in range(50)]
    drawn = read_split(None, names, 3)
    assert (len(drawn.train), len(drawn.val), len(drawn.test)) == (40, 5, 5)
    assert sorted((*drawn.train, *drawn.val, *drawn.test)) == names
    assert drawn == read_split(None, names[::-1], 3)
    assert drawn != read_split(None, names, 4)
    with pytest.raises(DataError, match="2 identities"):
        read_split(None, ["a", "b"])
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["1"], "val": ["2"], "test": ["1"]}))
    with pytest.raises(DataError, match="listed twice"):
        read_split(path, [])
    for wrong in ("[]", '{"train": ["1"], "val": ["2"]}', '{"train": "001", "val": ["2"], "test": ["3"]}'):
        path.write_text(wrong)
        with pytest.raises(DataError, match="is no split"):
            read_split(path, [])
    for unreadable in (path.with_name("none.json"), tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_split(unreadable, [])


def test_a_split_of_others_is_said_before_anything_is_cut(world, tmp_path, caplog):
    def prepared(**split):
        path = tmp_path / "split.json"
        path.write_text(json.dumps({"test": [], **split}))
        data = {
            "degraded": world.degraded,
            "truth": world.walkers,
            "split": path,
            "cache": tmp_path / "cache",
            "crops": {"window": (120, 180), "window_for": 240},
        }
        return prepare_correction({"estimator": "movenet:lightning", "data": data}, quiet=True)

    for split in ({"train": [], "val": ["002"]}, {"train": [1], "val": ["002"]}, {"train": ["001"], "val": ["9"]}):
        with pytest.raises(DataError, match=r"split\.json: of nobody for '(train|val)'.*\n.*001, 002, 003"):
            prepared(**split)
    assert not (tmp_path / "cache").exists()
    assert len(prepared(train=["001", "777"], val=["002"]).leaves) == 4
    assert "for 'train', nothing is there of 777" in caplog.text


def test_truth_that_is_not_the_videos_is_refused(world, tmp_path):
    def spoiled(change):
        copy = tmp_path / "walkers"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(world.walkers, copy)
        (file,) = (copy / "sequences/001/nm-01/045").glob("*_keypoints.pkl")
        write_sequence(file, change(np.array(read_sequence(file))))
        return copy

    def nan(joints):
        joints[2, 3, 0] = np.nan
        joints[2, 3, 2] = 1
        return joints

    with pytest.raises(DataError, match="keypoints of 5 frames, the video 6"):
        find_targets(spoiled(lambda joints: joints[:5]), world.degraded)
    # The renderer's joints outside the picture do not count, and NaN is nowhere in it.
    (target,) = (t for t in find_targets(spoiled(nan), world.degraded) if t.pair.leaf == "001/nm-01/045")
    assert target.pair.poses[2, 3].tolist() == [0, 0, 0]
    other = spoiled(lambda joints: joints)
    shutil.copy(other / "videos/002/nm-01/045.mp4", other / "videos/001/nm-01/045.mp4")
    with pytest.raises(DataError, match="001/nm-01/045 was not made from"):
        find_targets(other, world.degraded)


def cut(argument):
    world, cache = argument
    return len(prepare_crops(find_targets(world.walkers, world.degraded), cache, WINDOW, quiet=True).written)


def test_of_processes_that_come_together_one_cuts(world, tmp_path):
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        written = pool.map(cut, [(world, tmp_path / "cache")] * 3, chunksize=1)
    assert sorted(written) == [0, 0, 6]
    assert not list((tmp_path / "cache" / "sequences").glob(".*"))


@pytest.fixture(scope="module")
def data(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("crops")
    report = prepare_crops(find_targets(world.walkers, world.degraded), out, WINDOW, quiet=True)
    return CropData(out, report.leaves)


def test_hidden_joints_count_unless_their_score_is_too_low(data):
    scores = np.concatenate([read_leaf(data.root / name)[2][..., 2] for name in data.names])
    assert set(scores.ravel()) == {0.5, 1}
    for least, counted in ((0, scores > 0), (0.6, scores == 1)):
        own = CropData(data.root.parent, data.names_and_frames(), least)
        assert np.array_equal(own.frames(np.arange(len(own))).weights, counted)


def test_draws_depend_on_seed_and_iteration_alone(data):
    whole = data.draw(8, 1, 5, original_share=0.5, mirror=0.5, paired=True)
    for a, b in zip(whole, data.draw(8, 1, 5, original_share=0.5, mirror=0.5, paired=True)):
        assert torch.equal(a, b)
    assert not torch.equal(whole.images, data.draw(8, 1, 6, original_share=0.5, mirror=0.5, paired=True).images)
    parts = [data.draw(8, 1, 5, rank=rank, world=2, original_share=0.5, mirror=0.5, paired=True) for rank in (0, 1)]
    for k, value in enumerate(whole):
        assert torch.equal(value[0::2], parts[0][k])
        assert torch.equal(value[1::2], parts[1][k])


def test_shares(data):
    at = np.arange(len(data))
    degraded, original = data.frames(at), data.frames(at, np.ones(len(at), bool))
    assert not torch.equal(degraded.images, original.images)
    assert torch.equal(degraded.targets, original.targets)
    drawn = data.draw(64, 0, 0, original_share=1.0).images
    assert all(any(torch.equal(image, known) for known in original.images) for image in drawn)


def test_a_mirrored_crop_is_mirrored_with_its_joints(data):
    plain, turned = data.frames([3]), data.frames([3], mirrored=np.array([True]))
    assert torch.equal(turned.images, plain.images.flip(-1))
    left, right = COCO_JOINTS.index("left_wrist"), COCO_JOINTS.index("right_wrist")
    assert turned.targets[0, left, 0] == pytest.approx(191 - float(plain.targets[0, right, 0]), abs=1e-4)
    assert turned.targets[0, left, 1] == plain.targets[0, right, 1]
    x, _, w, _ = plain.boxes[0]
    assert turned.boxes[0, 0] == pytest.approx(float(192 - x - w), abs=1e-4)


@given(st.sampled_from(["uint8", "float32", "int16"]), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_mapped_sequences_are_those_written(tmp_path_factory, dtype, shape):
    path = tmp_path_factory.mktemp("map") / "x.pkl"
    array = (np.arange(np.prod(shape)).reshape(shape) % 200).astype(dtype)
    write_sequence(path, array)
    mapped = map_sequence(path)
    assert isinstance(mapped, np.memmap)
    assert mapped.dtype == array.dtype
    assert np.array_equal(mapped, array)


def test_other_files_are_read_whole(tmp_path):
    import pickle

    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(np.arange(6).astype(np.float32)))
    assert np.array_equal(map_sequence(path), np.arange(6))
    short = tmp_path / "y.pkl"
    write_sequence(short, np.zeros((50, 100), np.uint8))
    short.write_bytes(short.read_bytes()[:3000])
    with pytest.raises(DataError):
        map_sequence(short)
