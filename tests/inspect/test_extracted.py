"""Pictures of what an extraction wrote: the heat lies on the persons' joints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gaitext.extraction import ExtractSettings, extract_video
from gaitext.inspect.footage import load_footage
from gaitext.inspect.inspect import inspect
from gaitext.inspect.overlay import draw_overlay

pytest.importorskip("av")
pytest.importorskip("onnxruntime")
from tests.extraction.people import SIZE, joints, make_boxes, make_video
from tests.pose.networks import dot_network


@pytest.mark.parametrize("merge", [None, "left_right"])
def test_heat_lies_on_the_joints(tmp_path: Path, merge: str | None) -> None:
    video = make_video(tmp_path / "walk.mp4", frames=8, hidden=(2,))
    network = dot_network(tmp_path / "dots.onnx")
    out = tmp_path / "out"
    settings = ExtractSettings(min_frames=3, form="compact", merge=merge)
    extract_video(video, make_boxes(tmp_path / "boxes.csv", frames=8), f"onnx:{network}", out, settings)
    whole = inspect(out)
    assert (whole.sequences, whole.frames, whole.records, whole.odd) == (2, 14, 2, {})
    for person in (0, 1):
        leaf = out / f"sequences/{person + 1}/nm-01/000"
        assert inspect(leaf).problems == []
        footage = load_footage(leaf)
        assert footage.video == video
        assert footage.numbers.tolist() == [1, 2, 4, 5, 6, 7, 8]
        if merge:
            assert [group.name for group in footage.groups] == ["left", "right"]
        footage.poses = footage.poses_frame = None
        drawn = draw_overlay(footage, 3, np.zeros((*SIZE, 3), np.uint8), text=False).sum(-1).astype(float)
        y, x = np.mgrid[: SIZE[0], : SIZE[1]]
        for joint in joints(person, 4):  # position 3 is frame 5
            near = drawn * (np.hypot(x - joint[0], y - joint[1]) < 7)
            centre = np.array([(near * x).sum(), (near * y).sum()]) / near.sum()
            assert np.abs(centre - joint).max() < 0.8
