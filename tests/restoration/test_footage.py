"""What a restorer is shown: clips and their H.264, patches and their JPEG, and what is held out."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gaitext.errors import ConfigError, DataError, VideoError
from gaitext.restoration import degrade_frames, prepare_correction
from gaitext.restoration.footage import CRFS, Clip, prepare_footage
from gaitext.restoration.patches import PatchData, h264_quality, jpeg, jpeg_quality, middle
from gaitext.restoration.restorer_settings import RestorerConfig, RestorerDataSettings, RestorerTrainerSettings
from gaitext.store import read_sequence, write_sequence
from gaitext.video import probe, read_frames
from tests.restoration.conftest import World


def data(cache: Path, **values: Any) -> RestorerDataSettings:
    return RestorerDataSettings.parse({"cache": cache, "frames": 3, **values}, where="data")


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise that is the same nowhere, smooth enough for a JPEG to keep something of it."""
    return np.random.default_rng(seed).integers(80, 160, (3, height, width), dtype=np.uint8)


def clip(path: Path, *frames: np.ndarray) -> Clip:
    write_sequence(path, np.stack(frames))
    return Clip(len(frames), str(path), ())


def by_pillow(image: np.ndarray, factor: int) -> np.ndarray:
    memory = io.BytesIO()
    Image.fromarray(image.transpose(1, 2, 0)).save(memory, "JPEG", quality=factor)
    return np.asarray(Image.open(memory)).transpose(2, 0, 1)


@pytest.fixture(scope="module")
def unpacked(world: World, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Clip], list[Clip]]:
    cache = tmp_path_factory.mktemp("footage")
    return prepare_footage(data(cache, videos=[world.walkers], held_out_share=0.34), quiet=True)


def test_clips_are_the_videos_frames_and_what_h264_makes_of_all_of_them(
    world: World, unpacked: tuple[list[Clip], list[Clip]]
) -> None:
    for each in (unpacked[0][0], unpacked[1][0]):
        *_, person, view, _ = Path(each.original).parts
        source = world.walkers / "videos" / person.replace("+", "/") / f"{view}.mp4"
        frames = np.stack([frame for _, frame in read_frames(source)])
        kept = np.linspace(0, len(frames) - 1, 3).round().astype(int)
        assert each.frames == 3
        assert np.array_equal(read_sequence(each.original), frames[kept].transpose(0, 3, 1, 2))
        for crf, path in each.degraded:
            worse = degrade_frames(frames, crf, rate=float(probe(source).fps))[kept]
            assert np.array_equal(read_sequence(path), worse.transpose(0, 3, 1, 2))


def test_every_clip_has_crfs_of_its_own_and_held_out_ones_the_tables(unpacked: tuple[list[Clip], list[Clip]]) -> None:
    training, held_out = unpacked
    drawn = [crf for each in training for crf, _ in each.degraded]
    assert len(set(drawn)) == len(drawn) == 2 * len(training)
    assert all(30 <= crf <= 51 for crf in drawn)
    assert all(tuple(crf for crf, _ in each.degraded) == CRFS for each in held_out)


def test_a_person_is_on_one_side_only(unpacked: tuple[list[Clip], list[Clip]]) -> None:
    people = [{Path(each.original).parts[-3].split("+")[0] for each in part} for part in unpacked]
    assert len(people[0]) == 2
    assert len(people[1]) == 1
    assert not people[0] & people[1]


def test_more_rounds_change_no_crf_and_what_stands_is_kept(world: World, tmp_path: Path) -> None:
    video = world.walkers / "videos" / "001" / "nm-01"
    assert {path.name for path in video.iterdir()} == {"045.mp4", "090.mp4"}
    few = prepare_footage(data(tmp_path, videos=[video], rounds=1), quiet=True)  # a folder without names of persons
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pkl")}
    again = prepare_footage(data(tmp_path, videos=[video], rounds=1), quiet=True)
    assert few == again
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.pkl")}
    more = prepare_footage(data(tmp_path, videos=[video], rounds=2), quiet=True)
    assert [each.degraded[0] for each in more[0]] == [each.degraded[0] for each in few[0]]
    other = prepare_footage(data(tmp_path, videos=[video], rounds=1, seed=1), quiet=True)
    assert {crf for each in other[0] for crf, _ in each.degraded} != {c for each in few[0] for c, _ in each.degraded}
    assert not list(tmp_path.glob(".h264.*"))


def test_pictures_of_any_size_below_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for number, name in enumerate(("a.png", "deep/er/b.png", "deep/c.png", "d.png")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(40 + number, 33, number).transpose(1, 2, 0)).save(path)
    training, held_out = prepare_footage(data(tmp_path / "cache", pictures=[folder], held_out_share=0.25), quiet=True)
    assert (len(training), len(held_out)) == (3, 1)
    found = [read_sequence(each.original)[0] for each in (*training, *held_out)]
    assert {image.shape[1] for image in found} == {40, 41, 42, 43}
    assert all(np.array_equal(image, picture(image.shape[1], 33, image.shape[1] - 40)) for image in found)
    assert not any(each.degraded for each in (*training, *held_out))


def test_what_is_named_is_held_out(world: World, tmp_path: Path) -> None:
    people = [world.walkers / "videos" / identity / "nm-01" for identity in ("001", "002")]
    training, held_out = prepare_footage(
        data(tmp_path, videos=[people[0]], held_out={"videos": [people[1]]}, rounds=1, frames=1), quiet=True
    )
    for part, folder in ((training, people[0]), (held_out, people[1])):
        assert len(part) == 2
        first = np.stack([next(read_frames(path))[1] for path in sorted(folder.iterdir())]).transpose(0, 3, 1, 2)
        assert np.array_equal(np.concatenate([read_sequence(each.original) for each in part]), first)


def test_crops_of_correct_train_and_their_crf(world: World, tmp_path: Path) -> None:
    crops = {"window": [120, 180], "window_for": 240}
    truth: dict[str, Any] = {"degraded": str(world.degraded), "truth": str(world.walkers), "split": str(world.split)}
    prepare_correction(
        {"estimator": "movenet:lightning", "data": {**truth, "cache": str(tmp_path / "crops"), "crops": crops}},
        quiet=True,
    )
    both = prepare_footage(data(tmp_path / "cache", crops=[tmp_path / "crops"], held_out_share=0.5), quiet=True)
    assert all(len(part) == 2 for part in both)  # of one person each
    (crf, path), original = both[0][0].degraded[0], both[0][0].original
    assert crf == 40  # as `gaitext degrade` has written down
    assert Path(path).name == "0_degraded.pkl"
    assert Path(original).name == "1_original.pkl"
    os.rename(tmp_path / "crops" / "records", tmp_path / "crops" / "lost")
    with pytest.raises(DataError, match="crops_crf"):
        prepare_footage(data(tmp_path / "cache", crops=[tmp_path / "crops"]), quiet=True)
    told = prepare_footage(data(tmp_path / "cache", crops=[tmp_path / "crops"], crops_crf=33), quiet=True)
    assert told[0][0].degraded[0][0] == 33


def test_labels() -> None:
    assert jpeg_quality(10) == pytest.approx(0.9)
    assert jpeg_quality(95) == pytest.approx(0.05)
    assert h264_quality(51) == 1
    assert h264_quality(45) == pytest.approx(45 / 51)


def test_jpeg_is_pillows() -> None:
    image = picture(37, 50)
    assert np.array_equal(jpeg(image, 20), by_pillow(image, 20))


def test_a_patch_of_jpeg_is_cut_out_of_a_turned_picture_that_was_compressed(tmp_path: Path) -> None:
    settings = RestorerTrainerSettings(patch=16, h264=0, quality=(10, 30))
    image = picture(24, 24)
    drawn = PatchData([clip(tmp_path / "a.pkl", image)], 16)
    turned = [np.rot90(side, times, (1, 2)) for side in (image, image[:, :, ::-1]) for times in range(4)]
    places = [(t, y, x) for t in range(8) for y in range(9) for x in range(9)]
    aligned, ways, factors = 0, set(), set()
    for row in range(200):
        compressed, original, label = drawn.row(settings, 3, 0, row)
        found = [(t, y, x) for t, y, x in places if np.array_equal(turned[t][:, y : y + 16, x : x + 16], original)]
        ((way, top, left),) = found
        factor = round(100 * (1 - label))
        whole = by_pillow(np.ascontiguousarray(turned[way]), factor)
        assert np.array_equal(compressed, whole[:, top : top + 16, left : left + 16])
        aligned += top % 8 == 0 and left % 8 == 0
        ways.add(way)
        factors.add(factor)
    assert ways == set(range(8))
    assert factors == set(range(10, 31))
    assert 80 < aligned < 130  # half, and 4 in 81 of the others


def test_a_patch_of_h264_is_of_one_place_of_both(unpacked: tuple[list[Clip], list[Clip]]) -> None:
    drawn, settings = PatchData(unpacked[0], 32), RestorerTrainerSettings(patch=32, h264=1)
    for row in range(6):
        compressed, original, label = drawn.row(settings, 0, 0, row)
        pairs = [
            (frame, worse)
            for each in unpacked[0]
            for crf, path in each.degraded
            if np.isclose(crf / 51, label)
            for frame, worse in zip(read_sequence(each.original), read_sequence(path))
        ]
        assert any(
            np.array_equal(frame[:, y : y + 32, x : x + 32], original)
            and np.array_equal(worse[:, y : y + 32, x : x + 32], compressed)
            for frame, worse in pairs
            for y, x in np.argwhere((frame[:, :-31, :-31] == original[:, :1, :1]).all(0))
        )


def test_a_batch_is_the_same_however_it_is_shared_out(unpacked: tuple[list[Clip], list[Clip]]) -> None:
    drawn, settings = PatchData(unpacked[0], 16), RestorerTrainerSettings(patch=16, batch_size=5)
    whole = drawn.draw(settings, 1, 7)
    parts = [drawn.draw(settings, 1, 7, rank=rank, world=2) for rank in range(2)]
    for mine, *shared in zip(whole, *parts):
        assert all(torch.equal(mine[rank::2], shared[rank]) for rank in range(2))
    assert whole.quality.shape == (5, 1)
    assert not torch.equal(whole.originals, drawn.draw(settings, 1, 8).originals)


def test_the_middle_begins_at_a_macroblock() -> None:
    image = picture(100, 71)
    assert np.array_equal(middle(image, 32), image[:, 32:64, 16:48])
    assert np.array_equal(middle(image, 0), image)
    assert np.array_equal(middle(image, 80), image[:, 0:80, :])


def test_small_pictures_are_left_out_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    clips = [clip(tmp_path / "small.pkl", picture(15, 40)), clip(tmp_path / "large.pkl", picture(16, 16))]
    assert len(PatchData(clips, 16).clips) == 1
    assert "small.pkl" in caplog.text
    with pytest.raises(DataError, match=r"trainer\.patch"):
        PatchData(clips, 17)


def test_bad_input(world: World, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no picture")
    video = world.walkers / "videos" / "001" / "nm-01" / "045.mp4"
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"pictures": [tmp_path / "empty"]}, DataError, "holds no pictures"),
        ({"pictures": [tmp_path / "broken"]}, VideoError, "cannot be read"),
        ({"videos": [tmp_path / "nowhere"]}, DataError, "no such file or folder"),
        ({"videos": [video]}, DataError, "nothing is left to measure on"),
        ({"crops": [world.walkers / "sequences"]}, DataError, "no leaf of crops"),
    ]
    for values, kind, message in cases:
        with pytest.raises(kind, match=message):
            prepare_footage(data(tmp_path / "cache", frames=1, rounds=1, **values), quiet=True)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("data", {"crf": [51, 30]}, "51 is above 30"),
        ("data", {"videos": []}, "names nothing"),
        ("data", {"video": ["a"]}, "did you mean 'videos'"),
        ("data", {"videos": [], "pictures": ["a"]}, "no videos and no crops: write 0"),
        ("trainer", {"quality": [95, 10]}, "95 is above 10"),
        ("trainer", {"quality": [0, 95]}, "quality"),
        ("trainer", {"validation_size": 3}, "too few"),
        ("model", {"image_channels": 1}, "pictures are RGB"),
        ("model", {"start": "zero"}, "start"),
    ],
)
def test_settings_that_cannot_be(section: str, values: dict[str, Any], message: str) -> None:
    config: dict[str, Any] = {"data": {"videos": ["a"], "cache": "c"}}
    config[section] = config.get(section, {}) | values
    with pytest.raises(ConfigError, match=message):
        RestorerConfig.of(config)
