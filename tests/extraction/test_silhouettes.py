"""Silhouettes of tracked persons: what is written, whose they are, and frames without a mask."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from gaitext.cli import app
from gaitext.errors import ConfigError, DataError
from gaitext.extraction import ExtractSettings, Source, Track, extract_video
from gaitext.extraction.extract import Extraction
from gaitext.making import Records
from gaitext.segmentation import pretreat
from gaitext.store import leaves, read_leaf
from gaitext.video import write_video

pytest.importorskip("av")
from tests.extraction.people import Counting, box, make_boxes, make_video
from tests.segmentation.people import draw_person


class Boxed:
    """A segmenter that masks the left half of the person's box where the crop shows anything but grey."""

    input_size = (128, 128)

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {"segmenter": "boxed"}
        self.boxes: list[np.ndarray] = []

    def masks(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        assert images.shape[1:] == (3, 128, 128)
        masks = torch.zeros(len(images), 128, 128)
        for image, mask, (x, y, w, h) in zip(images, masks, boxes.tolist()):
            # Within the box, where the crop does not leave the frame.
            inside = image[:, round(y) : round(y + h), round(x) : round(x + w)]
            if inside.std() > 0.05:
                mask[round(y) : round(y + h), round(x) : round(x + w / 2)] = 0.9
        self.boxes.append(boxes.numpy())
        return masks


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """24 frames of two persons, of whom nothing is seen in frames 6 and 7; and their boxes."""
    folder = tmp_path_factory.mktemp("scene")
    video = make_video(folder / "walk.mp4", hidden=(5, 6))
    return video, make_boxes(folder / "boxes.csv")


def test_frames_without_a_mask_are_dropped_from_all_files_and_recorded(
    scene: tuple[Path, Path], tmp_path: Path
) -> None:
    segmenter, settings = Boxed(), ExtractSettings(content="silhouettes,poses,heatmaps", batch_size=7)
    report = extract_video(*scene, Counting(), tmp_path, settings, segmenter=segmenter)
    assert report.dropped == {"score": 0, "outside": 0, "mask": 4}
    assert "4 without a mask of the person" in str(report)
    for leaf in leaves(tmp_path / "sequences"):
        assert [file.name for file in leaf.files()] == ["0_heatmaps.pkl", "1_poses.pkl", "4_silhouettes.pkl"]
        heatmaps, poses, silhouettes = read_leaf(leaf)
        assert len(heatmaps) == len(poses) == len(silhouettes) == 22
        assert (silhouettes.dtype, silhouettes.shape[1:]) == (np.uint8, (64, 64))
        # Half a box of 90 by 130, 64 rows high: 22 columns about the middle.
        assert (silhouettes > 127).any(2).all()
        assert np.abs((silhouettes > 127).any(1).sum(1) - 64 * 45 / 130).max() <= 1.5
    for entry in dict(Records(tmp_path).all()).values():
        assert entry["frames"] == "1-5,8-24"
        assert entry["dropped"] == {"mask": "6-7"}
        assert entry["made_with"]["segmenter"] == {"segmenter": "boxed"}
        assert entry["made_with"]["content"] == ["heatmaps", "poses", "silhouettes"]
    # The person stands in the middle of a square 1.25 times as high.
    high = 128 / 1.25
    wide = high * box(0, 0)[2] / box(0, 0)[3]
    expected = [(128 - wide) / 2, (128 - high) / 2, wide, high]
    np.testing.assert_allclose(np.concatenate(segmenter.boxes), [expected] * 48, atol=1e-3)


def test_too_few_masks_make_no_sequence(scene: tuple[Path, Path], tmp_path: Path) -> None:
    class Blind(Boxed):
        def masks(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
            masks = torch.zeros(len(images), 128, 128)
            masks[:, 60:70, 60:70] = 1  # 1 % of the box
            return masks

    with pytest.raises(DataError, match="24 without a mask of the person"):
        extract_video(*scene, Counting(), tmp_path, ExtractSettings(content="silhouettes"), segmenter=Blind())


def test_content_decides_what_is_written_and_what_is_made_again(scene: tuple[Path, Path], tmp_path: Path) -> None:
    plain = extract_video(*scene, Counting(), tmp_path)
    assert len(plain.written) == 2
    assert "content" not in next(iter(dict(Records(tmp_path).all()).values()))["made_with"]
    alone = ExtractSettings(content=("silhouettes",))
    assert len(extract_video(*scene, Counting(), tmp_path, alone, segmenter=Boxed()).written) == 2
    assert [file.name for file in leaves(tmp_path / "sequences")[0].files()] == ["4_silhouettes.pkl"]
    again = Counting()
    assert len(extract_video(*scene, again, tmp_path, alone, segmenter=Boxed()).standing) == 2
    assert again.seen == 0
    for wrong, what in (("sils", "content"), ("", "content"), ((), "names nothing")):
        with pytest.raises(ConfigError, match=what):
            ExtractSettings.parse({"content": wrong}, where="extract")


def test_the_bundled_segmenter_from_video_to_silhouettes(tmp_path: Path) -> None:
    """A drawn person, who is tracked, and a second one beside them, who is not."""
    pairs = [draw_person(256, shift) for shift in np.linspace(-0.05, 0.05, 12)]
    film = [np.concatenate((image, image[:, ::-1]), 1) for image, _ in pairs]
    write_video(tmp_path / "walk.mp4", film, crf=4, preset="ultrafast")
    boxes = []
    for _, mask in pairs:
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        boxes.append((columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]))
    track = Track(1, np.arange(1, 13), np.array(boxes, np.float64))
    settings = ExtractSettings(content="silhouettes")
    extract_video(tmp_path / "walk.mp4", {1: track}, Counting(), tmp_path / "out", settings)
    ((silhouettes,),) = (read_leaf(leaf) for leaf in leaves(tmp_path / "out/sequences"))
    assert len(silhouettes) == 12
    for found, (_, mask) in zip(silhouettes, pairs):
        truth = pretreat(mask)
        assert truth is not None
        # Which column is the middle may turn on a pixel: the rule takes whole ones.
        shifted = [np.roll(truth, columns, 1) > 127 for columns in (-1, 0, 1)]
        assert max(((found > 127) & each).sum() / ((found > 127) | each).sum() for each in shifted) > 0.9


def test_the_command(scene: tuple[Path, Path], tmp_path: Path) -> None:
    from tests.pose.networks import dot_network

    pytest.importorskip("onnxruntime")
    dot_network(tmp_path / "dots.onnx")
    command = ["extract", str(scene[0]), "--boxes", str(scene[1]), "--estimator", f"onnx:{tmp_path / 'dots.onnx'}"]
    command += ["--out", str(tmp_path / "out"), "--content", "poses, silhouettes", "-q"]
    wrong = CliRunner().invoke(app, [*command, "--segmenter", "sam:x"])
    assert wrong.exit_code == 1
    assert "known ones: bundled, hf:…" in str(wrong.exception) + wrong.output
    # The dots are no people, and are told so.
    result = CliRunner().invoke(app, command)
    written = json.loads((tmp_path / "out/manifest.json").read_text())
    outcomes = [entry["dropped"].get("mask") or entry["kept"] for entry in written["leaves"].values()]
    assert len(outcomes) == 2, result.output
    assert all(outcomes)


def test_silhouettes_are_made_wherever_gaitext_finds_the_people_itself(tmp_path: Path) -> None:
    chosen = {
        detector: Extraction(tmp_path, ExtractSettings(), "movenet", detector)._contents(Source(tmp_path))
        for detector in (None, "bundled", "bundled?size=1024", "onnx:people.onnx")
    }
    assert [found for found, contents in chosen.items() if "silhouettes" in contents] == [
        None,
        "bundled",
        "bundled?size=1024",
    ]
    given = Extraction(tmp_path, ExtractSettings(), "movenet", "bundled")._contents(Source(tmp_path, boxes="full"))
    assert "silhouettes" not in given


def test_a_file_that_is_no_video_is_named_once_and_no_folder_is_promised(tmp_path: Path) -> None:
    (tmp_path / "letter.mp4").write_text("no video")
    result = CliRunner().invoke(app, ["extract", str(tmp_path / "letter.mp4"), "--out", str(tmp_path / "out"), "-q"])
    assert result.exit_code == 1
    assert result.output.count("letter.mp4") == 1
    assert "cannot be opened as a video" in result.output
    assert "dataset_root" not in result.output
