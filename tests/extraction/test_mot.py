"""Boxes from text: headers are honoured or refused, numbers bounded, and every fault has its line."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from gaitext.errors import DataError
from gaitext.extraction import read_boxes

BOXES = np.array([[10.5, 20, 30, 60], [12, 21.25, 31, 62], [-4, 22, 30.5, 61]])


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "boxes.csv"
    path.write_text(text, encoding="utf-8", newline="")
    return path


def table(header: str, mark: str, end: str) -> str:
    """:data:`BOXES` of track 7 in frames 2, 3 and 5, under a header's names (without case and punctuation)."""
    lines = [header.replace(",", mark)]
    for frame, (x, y, w, h) in zip((2, 3, 5), BOXES):
        values = {"frame": frame, "id": 7, "conf": 0.5, "x1": x, "y1": y, "x2": x + w, "y2": y + h, "w": w, "h": h}
        values |= {"cx": x + w / 2, "cy": y + h / 2, "note": "text", "x": -1, "y": -1, "z": -1}
        lines.append(mark.join(str(values[MEANS[name]]) for name in header.split(",")))
    return end.join([*lines, ""])


#: A header's name -> what is written below it.
MEANS = {name: name for name in ("frame", "id", "x1", "y1", "x2", "y2", "w", "h", "cx", "cy", "conf")} | {
    **{
        "left": "x1",
        "top": "y1",
        "right": "x2",
        "bottom": "y2",
        "xmin": "x1",
        "ymin": "y1",
        "xmax": "x2",
        "ymax": "y2",
    },
    **{"bb_left": "x1", "bb_top": "y1", "bb_width": "w", "bb_height": "h", "Frame ID": "frame", "TRACK_ID": "id"},
    **{
        "X1": "x1",
        "Y1": "y1",
        "X2": "x2",
        "Y2": "y2",
        " Width": "w",
        "height ": "h",
        "x_center": "cx",
        "y_centre": "cy",
    },
    **{"score": "conf", "x": "x1", "y": "y1", "x0": "x1", "y0": "y1", "bbox.x": "x1", "bbox.y": "y1", "note": "note"},
    **{"bbox.w": "w", "bbox.h": "h", "BBox X1": "x1", "BBox Y1": "y1", "BBox X2": "x2", "BBox Y2": "y2"},
}
HEADERS = [
    "frame,id,x1,y1,x2,y2,conf",
    "id,frame,x,y,w,h",
    "frame,id,left,top,right,bottom",
    "conf,ymax,xmax,ymin,xmin,id,frame",
    "Frame ID,TRACK_ID,X1,Y1,X2,Y2,score",
    "frame,id,bb_left,bb_top,bb_width,bb_height,conf",
    "frame,id,bbox.x,bbox.y,bbox.w,bbox.h",
    "note,frame,id,BBox X1,BBox Y1,BBox X2,BBox Y2",
    "frame,id,x_center,y_centre, Width,height ",
    "frame,id,left,top,w,h,x2,y2",
    "h,w,y,x,id,frame",
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(("mark", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\r")])
def test_a_header_decides_what_the_columns_are(tmp_path: Path, header: str, mark: str, end: str) -> None:
    tracks = read_boxes(write(tmp_path, "\ufeff" + table(header, mark, end)))
    assert list(tracks) == [7]
    assert tracks[7].frames.tolist() == [2, 3, 5]
    np.testing.assert_allclose(tracks[7].boxes, BOXES, atol=1e-9)


def test_corners_counted_from_0_and_worlds_places_of_mots_own_header(tmp_path: Path) -> None:
    path = write(tmp_path, "frame,id,x0,y0,x1,y1\n1,1,10,20,40,80\n")
    assert read_boxes(path)[1].boxes.tolist() == [[10, 20, 30, 60]]
    path = write(tmp_path, "frame,id,bb_left,bb_top,bb_width,bb_height,conf,x,y,z\n1,1,10,20,30,60,1,-1,-1,-1\n")
    assert read_boxes(path)[1].boxes.tolist() == [[10, 20, 30, 60]]
    # A header that leaves out what MOT's lines end with.
    path = write(tmp_path, "frame,id,x,y,w,h\n1,1,10,20,30,60,-1,-1,-1,\n")
    assert read_boxes(path)[1].boxes.tolist() == [[10, 20, 30, 60]]


def test_remarks_spaces_quotes_and_a_header_behind_a_hash(tmp_path: Path) -> None:
    text = '# made by hand\n\n# frame id x1 y1 x2 y2\n1 1 10 20 40 80\n# a remark\n"2" 1 10 20 40 80\n'
    with pytest.raises(DataError, match=r"csv:6: frame is '\"2\"'"):  # quotes are of tables with a mark
        read_boxes(write(tmp_path, text))
    assert read_boxes(write(tmp_path, text.replace('"', "")))[1].boxes.tolist() == [[10, 20, 30, 60]] * 2
    text = '"frame","id","x","y","w","h","name"\n"1","1","10","20","30","60","a, b"\n'
    assert read_boxes(write(tmp_path, text))[1].boxes.tolist() == [[10, 20, 30, 60]]
    assert read_boxes(write(tmp_path, "1\t1\t10\t20\t30\t60\n"))[1].boxes.tolist() == [[10, 20, 30, 60]]


def test_without_an_id_a_frame_holds_one_box(tmp_path: Path) -> None:
    assert list(read_boxes(write(tmp_path, "frame,x,y,w,h\n4,1,2,3,4\n5,1,2,3,4\n"))) == [1]
    with pytest.raises(DataError, match=r"csv:3: track 1 has a second box in frame 4"):
        read_boxes(write(tmp_path, "frame,x,y,w,h\n4,1,2,3,4\n4,5,2,3,4\n"))


def test_lines_of_other_classes_are_passed_over_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text = "frame,id,class,x,y,w,h\n1,1,Person,1,2,3,4\n1,2,car,1,2,3,4\n2,1,pedestrian,1,2,3,4\n"
    tracks = read_boxes(write(tmp_path, text))
    assert {number: track.frames.tolist() for number, track in tracks.items()} == {1: [1, 2]}
    assert "1 lines are of other classes" in caplog.text
    assert list(read_boxes(write(tmp_path, "frame,id,class,x,y,w,h\n1,1,3,1,2,3,4\n"))) == [1]
    with pytest.raises(DataError, match="no boxes of persons"):
        read_boxes(write(tmp_path, "frame,id,class,x,y,w,h\n1,1,dog,1,2,3,4\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame,id,a,b,c,d\n1,1,1,2,3,4\n", r"csv:1: the header names no box: frame,id,a,b,c,d"),
        ("frame,id,x1,y1,w\n1,1,1,2,3\n", r"csv:1: the header names no box"),
        ("id,x,y,w,h\n1,1,2,3,4\n", r"csv:1: the header names no frame"),
        ("image,id,x,y,w,h\n1,1,1,2,3,4\n", r"csv:1: the header names no frame"),
        ("nan,1,1,2,3,4\n", r"csv:1: the header names no frame"),
        (
            "frame,id,left,xmin,top,w,h\n1,1,1,2,3,4,5\n",
            r"csv:1: names the box's left more than once: 'left' and 'xmin'",
        ),
        ("frame,id,track_id,x,y,w,h\n1,1,1,2,3,4,5\n", r"csv:1: names the id more than once"),
        ("frame,frame_id,id,x,y,w,h\n1,1,1,2,3,4,5\n", r"csv:1: names the frame more than once"),
        ("frame,id,x,y,w,h\n1,1,10,5,20,3,30,1,60,2\n", r"csv:2: has 10 columns, the header 6"),
        ("frame;id;x;y;w;h\n1;1;10,5;20;30;60\n", r"csv:2: left is '10,5', which has a decimal comma"),
        ("frame,id,x1,y1,x2,y2\n1,1,10,20,5,80\n", r"csv:2: the box is -5 wide and 60 high"),
        ("1,1,10,20,50,100\n1e300,1,10,20,50,100\n", r"csv:2: frame is 1e300"),
        ("1,1,10,20,1e308,1e308\n", r"csv:1: the box .* is larger or farther away"),
        ("1,1,-1e308,20,50,100\n", r"csv:1: the box .* is larger or farther away"),
        ("1,1,1e-320,0,1e-320,1e-320\n", r"csv:1: the box .* less than a hundredth"),
        ("1,1,10,20,1e999,100\n", r"csv:1: width is '1e999', too large"),
        ("1,1e300,10,20,50,100\n", r"csv:1: id is 1e300"),
        ("1,1,1_0,20,50,100\n", r"csv:1: x is '1_0', not a number"),
        ("1,1,inf,20,50,100\n", r"csv:1: x is 'inf', not a number"),
        ("1,1,\u0661,20,50,100\n", r"csv:1: x is '\u0661', not a number"),
        ("1,1,," + "\n", r"csv:1: has 4 columns"),
        ("1,1,0.1,0.2,0.3,0.4\n2,1,0.1,0.2,0.3,0.4\n", r"csv: all its boxes lie between 0 and 1: they are shares"),
        ('frame,id,x,y,w,h\n"1,1,1,2,3,4\n', r"csv:2: has 1 columns, the header 6"),
        ("frame,id,class,x,y,w,h\n1\n", r"csv:2: has 1 columns, the header 7"),
        ("frame,id,x,y,w,h,conf\n1,1,1,2,3\n", r"csv:2: has 5 columns, the header 7"),
    ],
)
def test_what_is_malformed_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_boxes(write(tmp_path, text))


def test_all_of_300_boxes_come_back_through_any_order_of_columns(tmp_path: Path) -> None:
    rng = random.Random(0)
    for _ in range(20):
        names = [
            "frame",
            "id",
            *rng.choice((("x1", "y1", "x2", "y2"), ("left", "top", "w", "h"), ("cx", "cy", "w", "h"))),
        ]
        rng.shuffle(names)
        rows, wanted = [], {}
        for frame in range(1, 16):
            x, y, w, h = rng.uniform(-50, 300), rng.uniform(-50, 300), rng.uniform(1, 200), rng.uniform(1, 200)
            wanted[frame] = [x, y, w, h]
            values = {"frame": frame, "id": 3, "x1": x, "y1": y, "x2": x + w, "y2": y + h, "left": x, "top": y}
            values |= {"w": w, "h": h, "cx": x + w / 2, "cy": y + h / 2}
            rows.append(",".join(repr(values[name]) for name in names))
        rng.shuffle(rows)
        track = read_boxes(write(tmp_path, "\n".join([",".join(names), *rows])))[3]
        np.testing.assert_allclose(track.boxes, [wanted[frame] for frame in range(1, 16)], atol=1e-6)
