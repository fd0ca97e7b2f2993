"""Detectors: specifications, suppression, letterboxing, and networks that find red rectangles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gaitext.errors import ConfigError, ShapeError
from gaitext.extraction.detect import detect_video, load_detector, overlap, suppress
from gaitext.extraction.detect.onnx import find_layout
from gaitext.pose.onnx import open_session

from .detectors import SIZE, red_network

pytest.importorskip("onnxruntime")


def scene(*boxes: tuple[int, int, int, int], height: int = 48, width: int = 96) -> np.ndarray:
    """Red rectangles x, y, w, h on grey, with a white one that nothing should find."""
    frame = np.full((height, width, 3), 90, np.uint8)
    frame[:4, :4] = 255
    for x, y, w, h in boxes:
        frame[y : y + h, x : x + w] = (255, 0, 0)
    return frame


#: Layout -> whether its networks here take BGR, and whether the shape alone does not tell it.
LAYOUTS = {"yolov5": (False, False), "yolov8": (False, False), "end2end": (False, False)}
LAYOUTS |= {"mmdeploy": (True, False), "yolox": (True, True)}
#: Two rectangles of rows and columns of their own.
BOXES = [(9, 6, 24, 15), (51, 27, 36, 18)]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_layout_finds_the_rectangles(tmp_path: Path, layout: str) -> None:
    bgr, told = LAYOUTS[layout]
    path = red_network(tmp_path / "red.onnx", layout, bgr=bgr)
    detector = load_detector(f"onnx:{path}?person=1" + (f"&layout={layout}" if told else ""))
    two, one, none = detector.detect([scene(*BOXES), scene(BOXES[1]), scene()])
    assert two.dtype == np.float64
    # Shrinking blurs edges by less than one pixel of the network, which is 1.5 of the frame.
    assert np.abs(np.array(sorted(two[:, :4].tolist())) - BOXES).max() < 1.5
    assert np.abs(one[:, :4] - BOXES[1:]).max() < 1.5
    assert none.shape == (0, 5)
    assert ((two[:, 4] > 0.69) & (two[:, 4] < 0.91)).all()
    assert (np.diff(two[:, 4]) <= 0).all()
    assert detector.settings["layout"] == layout
    assert detector.settings["input"] == ("bgr" if bgr else "rgb")
    # The other class, and the other order of channels.
    more = f"layout={layout}&input=rgb" if bgr else f"layout={layout}&input=bgr"
    for options in (f"person=0&layout={layout}", f"person=1&{more}"):
        assert len(load_detector(f"onnx:{path}?{options}").detect([scene(*BOXES)])[0]) == 0


@pytest.mark.parametrize(("batch", "half"), [(1, False), (3, False), ("N", True)])
def test_batches_of_any_size_give_the_same(tmp_path: Path, batch: int | str, half: bool) -> None:
    detector = load_detector(f"onnx:{red_network(tmp_path / 'red.onnx', 'yolov8', batch=batch, half=half)}?person=1")
    scenes = [
        scene((x, 6, 24, 15), height=height, width=width) for x in (8, 30) for height, width in ((48, 96), (96, 60))
    ]
    together = detector.detect(scenes)
    assert [len(found) for found in together] == [1] * 4
    for frame, found in zip(scenes, together):
        assert np.allclose(detector.detect([frame])[0], found, atol=1e-6)
    assert detector.detect([]) == []


def test_an_open_size_is_chosen(tmp_path: Path) -> None:
    path = red_network(tmp_path / "red.onnx", "end2end", open_size=True)
    detector = load_detector(f"onnx:{path}?person=1&size={SIZE}")
    assert detector.settings["size"] == [SIZE, SIZE]
    assert len(detector.detect([scene(BOXES[0])])[0]) == 1


def test_a_small_frame_is_enlarged_exactly(tmp_path: Path) -> None:
    detector = load_detector(f"onnx:{red_network(tmp_path / 'red.onnx', 'yolov8')}?person=1")
    frame = scene((4, 5, 10, 12), height=32, width=16)  # doubled to 64×32, 16 to the left and right
    ((x, y, w, h, _),) = detector.detect([frame])[0]
    assert np.abs(np.array([x, y, w, h]) - (4, 5, 10, 12)).max() < 1e-3


def test_thresholds(tmp_path: Path) -> None:
    path = red_network(tmp_path / "red.onnx", "yolov8")
    large = scene((20, 4, 44, 40), height=64, width=64)  # with a cell of the largest grid in it
    (alone,) = load_detector(f"onnx:{path}?person=1").detect([large])
    assert alone[:, 4].tolist() == pytest.approx([0.9], abs=1e-6)
    (every,) = load_detector(f"onnx:{path}?person=1&iou=1").detect([large])
    assert {round(score, 3) for score in every[:, 4].tolist()} == {0.9, 0.8, 0.7}
    (high,) = load_detector(f"onnx:{path}?person=1&iou=1&score=0.75").detect([large])
    assert {round(score, 3) for score in high[:, 4].tolist()} == {0.9, 0.8}


@pytest.mark.parametrize("kind", ["rgb", "bgr", "bgr-imagenet"])
def test_what_the_network_is_fed(tmp_path: Path, kind: str) -> None:
    detector: Any = load_detector(f"onnx:{red_network(tmp_path / 'red.onnx', 'end2end')}?input={kind}")
    fed: list[np.ndarray] = []

    class Session:
        def run(self, _: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            fed.extend(inputs.values())
            return [np.zeros((len(fed[-1]), 0, 6), np.float32)]

    detector._session = Session()
    frame = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE // 2, 3), dtype=np.uint8)  # fits: not scaled
    detector.detect([frame])
    padded = np.full((SIZE, SIZE, 3), 114, np.uint8)
    padded[:, SIZE // 4 : -SIZE // 4] = frame
    for red, green, blue in (padded[0, 0], padded[5, 30]):
        # ImageNet's mean and deviation, times 255, as mmdet's configs write them for B, G, R.
        expected = {
            "rgb": (red / 255, green / 255, blue / 255),
            "bgr": (blue, green, red),
            "bgr-imagenet": ((blue - 103.53) / 57.375, (green - 116.28) / 57.12, (red - 123.675) / 58.395),
        }[kind]
        place = (0, 0) if (red, green, blue) == (114, 114, 114) else (5, 30)
        assert np.allclose(fed[0][0, :, place[0], place[1]], expected, atol=1e-5)


@pytest.mark.parametrize(("told", "asked", "used"), [("3", 0, 3), ("3", 2, 2), ("", 0, 0), ("4,2", 0, 0)])
def test_threads_are_those_of_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, asked: int, used: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    session = open_session(red_network(tmp_path / "red.onnx", "yolov8"), "this test", threads=asked)
    assert session.get_session_options().intra_op_num_threads == used


def test_every_frame_of_a_video_in_order(tmp_path: Path) -> None:
    images = pytest.importorskip("PIL.Image")
    for number in range(7):
        images.fromarray(scene((6 * number, 6, 24, 15))).save(tmp_path / f"{number}.png")
    detector = load_detector(f"onnx:{red_network(tmp_path / 'red.onnx', 'yolov8')}?person=1")
    seen: list[int] = []
    found = list(detect_video(tmp_path, detector, batch_size=3, progress=seen.append))
    assert seen == [3, 6, 7]
    assert np.abs([boxes[0, 0] - 6 * number for number, boxes in enumerate(found)]).max() < 1.5


@pytest.mark.parametrize(
    ("shapes", "layout"),
    [
        ([(1, 25200, 85)], "yolov5"),
        ([(4, 102000, 85)], "yolov5"),  # P6, 1280
        ([(1, 84, 8400)], "yolov8"),
        ([(1, 5, 8400)], "yolov8"),  # persons only
        ([(1, 116, 8400), (1, 32, 160, 160)], "yolov8"),  # with masks
        ([(1, 300, 6)], "end2end"),
        ([(1, 0, 6)], "end2end"),
        ([(2, 100), (2, 100, 5)], "mmdeploy"),
        ([(1, 8400, 85)], "may be YOLOX's or another's"),
        ([(1, 17, 64, 48)], "no layout gaitext knows"),
        ([(1, 300, 4)], "no layout gaitext knows"),
    ],
)
def test_layouts_are_told_by_the_shapes_of_published_files(shapes: list[tuple[int, ...]], layout: str) -> None:
    size = 1280 if shapes[0][1] == 102000 else 640
    if layout[:2] in ("yo", "en", "mm"):
        assert find_layout(shapes, size, size, "x") == layout
    else:
        with pytest.raises(ConfigError, match=layout):
            find_layout(shapes, size, size, "x")


def test_specifications_that_are_wrong(tmp_path: Path) -> None:
    path = red_network(tmp_path / "red.onnx", "yolov8")
    for specification, message in (
        ("yolo:x.onnx", r"unknown detector[\s\S]*mmdet:…, onnx:…"),
        ("onnx:", "names no model"),
        ("onnx:?score=1", "names no model"),
        (f"onnx:{path}?score", r"'score' in .* is no option"),
        (f"onnx:{path}?score=0.3&score=0.4", "option 'score' is given twice"),
        (f"onnx:{path}?scor=0.3", r"unknown key '.*scor'[\s\S]*did you mean 'score'"),
        (f"onnx:{path}?score=high", r"score"),
        (f"onnx:{path}?size=100", r"size"),
        (f"onnx:{tmp_path / 'none.onnx'}", "no such file"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_detector(specification)
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ConfigError, match="onnxruntime cannot load it"):
        load_detector(f"onnx:{tmp_path / 'text.onnx'}")
    for options, message in (
        (
            "layout=end2end",
            r"outputs \(\[1, 6, 84\]\) are not of the layout end2end \(none has three axes, the last of 6",
        ),
        ("layout=yolox", r"the grids have 84 cells"),
        ("person=2", r"not of the layout yolov8"),
    ):
        with pytest.raises(ShapeError, match=message):
            load_detector(f"onnx:{path}?{options}")
    from tests.pose.networks import dot_network

    with pytest.raises(ConfigError, match="no layout gaitext knows"):
        load_detector(f"onnx:{dot_network(tmp_path / 'pose.onnx')}")


@settings(deadline=None)
@given(
    arrays.arrays(np.float64, st.tuples(st.integers(0, 12), st.just(5)), elements=st.integers(1, 9)),
    st.sampled_from([0.3, 0.5, 1.0]),
    st.randoms(),
)
def test_suppression_against_the_definition(boxes: np.ndarray, iou: float, random) -> None:
    kept = suppress(boxes, iou)
    shuffled = boxes[random.sample(range(len(boxes)), len(boxes))]
    assert np.array_equal(suppress(shuffled, iou), kept)
    assert (np.diff(kept[:, 4]) <= 0).all()
    between = overlap(kept, kept)
    assert (between[~np.eye(len(kept), dtype=bool)] <= iou).all()
    rows = {tuple(row) for row in kept.tolist()}
    for row in boxes:  # what was left out overlaps a kept box that is no worse
        if tuple(row.tolist()) not in rows:
            assert ((overlap(row[None], kept)[0] > iou) & (kept[:, 4] >= row[4])).any()


def test_overlap_by_hand_and_by_pixels() -> None:
    assert overlap(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 1, 2, 2], [2, 0, 2, 2], [0, 0, 2, 2]])).tolist() == [
        [1 / 7, 0, 1]
    ]
    draw = np.random.default_rng(0)
    one, two = (np.concatenate((draw.integers(0, 9, (6, 2)), draw.integers(1, 9, (6, 2))), 1) for _ in range(2))

    def pixels(box: np.ndarray) -> np.ndarray:
        mask = np.zeros((20, 20), bool)
        mask[box[1] : box[1] + box[3], box[0] : box[0] + box[2]] = True
        return mask

    expected = [[(pixels(a) & pixels(b)).sum() / (pixels(a) | pixels(b)).sum() for b in two] for a in one]
    assert np.allclose(overlap(one.astype(float), two.astype(float)), expected)
