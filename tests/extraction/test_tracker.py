"""The tracker: invariants, crossings worked by hand, and the library's trackers on the same."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import ConfigError, MissingDependencyError, ShapeError
from gaitext.extraction.tracker import Track, TrackerSettings, load_tracker, longest, track

ANY = TrackerSettings(min_length=1, min_score=0, new_score=0)


def walk(
    frames: range, x: float, speed: float, *, y: float = 50, score: float = 0.9, width: float = 20
) -> dict[int, list[float]]:
    """A person: frame -> x, y, w, h, score; x is where the first frame has it."""
    return {frame: [x + speed * (frame - frames[0]), y, width, 60, score] for frame in frames}


def scene(*walks: dict[int, list[float]]) -> list[list[list[float]]]:
    last = max(max(one) for one in walks)
    return [[one[frame] for one in walks if frame in one] for frame in range(1, last + 1)]


def test_two_who_walk_apart() -> None:
    one, two = walk(range(1, 11), 100, -3), walk(range(3, 13), 140, 2, score=0.8)
    tracks = track(scene(two, one))
    assert list(tracks) == [1, 2]
    assert tracks[1].frames.tolist() == list(range(1, 11))
    assert tracks[1].boxes.tolist() == [box[:4] for box in one.values()]
    assert tracks[2].frames.tolist() == list(range(3, 13))
    assert tracks[2].scores is not None
    assert tracks[2].scores.tolist() == [0.8] * 10
    assert tracks[2].filled is not None
    assert not tracks[2].filled.any()


def test_a_crossing_is_walked_straight_through() -> None:
    # They meet at frame 21, where both boxes are equal: only the velocities tell who is who.
    one, two = walk(range(1, 42), 0, 5), walk(range(1, 42), 200, -5)
    assert one[21] == two[21]
    first, second = track(scene(one, two)).values()
    assert first.boxes.tolist() == [box[:4] for box in one.values()]
    assert second.boxes.tolist() == [box[:4] for box in two.values()]


def test_one_who_is_hidden_while_another_passes_comes_back_as_the_same() -> None:
    one, two = walk(range(1, 42), 0, 5), walk(range(1, 42), 200, -5)
    for frame in range(18, 25):  # only the one in front is seen
        del two[frame]
    first, second = track(scene(one, two)).values()
    assert first.boxes.tolist() == [box[:4] for box in one.values()]
    assert second.filled is not None
    assert second.scores is not None
    assert second.frames[second.filled].tolist() == list(range(18, 25))
    assert second.scores[second.filled].tolist() == [0] * 7
    # The bridge is the straight line that was walked.
    assert np.allclose(second.boxes[:, 0], 200 - 5 * np.arange(41))


def test_gaps_are_bridged_up_to_the_limit() -> None:
    for gap, tracks in ((4, 1), (5, 2)):
        one = walk(range(1, 31), 0, 2)
        for frame in range(11, 11 + gap):
            del one[frame]
        found = track(scene(one), TrackerSettings(max_gap=4))
        assert len(found) == tracks, gap
    assert [len(one.frames) for one in track(scene(walk(range(1, 9), 0, 1)), TrackerSettings(max_gap=0)).values()] == [
        8
    ]


def test_nearest_is_not_always_best() -> None:
    # Greedy by overlap would give box b to the first person and leave the second with nothing.
    before = [[0.0, 0, 20, 60, 1], [12.0, 0, 20, 60, 1]]
    after = [[-9.0, 0, 20, 60, 1], [4.0, 0, 20, 60, 1]]
    first, second = track([before, after], TrackerSettings(min_length=1, iou=0.2)).values()
    assert first.boxes[1, 0] == -9
    assert second.boxes[1, 0] == 4


def test_what_is_left_out() -> None:
    low, short = walk(range(1, 20), 0, 1, score=0.39), walk(range(1, 5), 300, 1)
    kept = walk(range(1, 20), 100, 1)
    tracks = track(scene(low, short, kept))
    assert [one.boxes[0, 0] for one in tracks.values()] == [100]
    assert track([]) == {}
    assert track([[], np.zeros((0, 5))]) == {}


def test_a_low_score_continues_a_track_but_begins_none() -> None:
    one, stranger = walk(range(1, 21), 0, 2), walk(range(1, 21), 300, 2, score=0.35)
    for frame in range(9, 13):  # half hidden
        one[frame][4] = 0.35
    (found,) = track(scene(one, stranger)).values()
    assert found.boxes.tolist() == [box[:4] for box in one.values()]
    assert found.filled is not None
    assert not found.filled.any()
    # One who was lost a frame ago is taken up by a sure box alone.
    del one[9]
    (found,) = track(scene(one, stranger)).values()
    assert found.filled is not None
    assert found.frames[found.filled].tolist() == [9, 10, 11, 12]
    # And not where low scores are not looked at.
    (found,) = track(scene(one, stranger), TrackerSettings(min_score=0.4)).values()
    assert found.frames[found.filled].tolist() == [9, 10, 11, 12]


def test_a_sure_box_is_chosen_before_an_unsure_one_that_overlaps_more() -> None:
    before, sure, unsure = [0.0, 0, 20, 60, 0.9], [4.0, 0, 20, 60, 0.9], [0.0, 0, 20, 60, 0.3]
    (found,) = track([[before], [unsure, sure]], TrackerSettings(min_length=2)).values()
    assert found.boxes[:, 0].tolist() == [0, 4]


@pytest.mark.parametrize("method", ["sort", "bytetrack", "ocsort", "botsort"])
def test_the_librarys_trackers_walk_through_a_crossing(method: str) -> None:
    pytest.importorskip("trackers")
    # One is taller, as people are: where both are at one place, the library's motion models alone do not tell.
    one, two = (
        walk(range(1, 42), 0, 5),
        {f: [x, 42, 20, 68, s] for f, (x, _, _, _, s) in walk(range(1, 42), 200, -5).items()},
    )
    first, second = track(scene(one, two), load_tracker(f"{method}?min_score=0.1&iou=0.1")).values()
    for found, true in ((first, one), (second, two)):
        given = {frame: box[:4] for frame, box in true.items()}
        # Which frame a library's track begins with is its own matter.
        assert found.frames[0] <= 3
        assert found.frames[-1] == 41
        assert [given[frame] for frame in found.frames.tolist()] == found.boxes.tolist()
    assert first.filled is not None
    assert not first.filled.any()


def test_a_tracker_by_name() -> None:
    assert load_tracker("overlap") == TrackerSettings()
    assert load_tracker("bytetrack?max_gap=30&min_score=0.2") == TrackerSettings(
        method="bytetrack", max_gap=30, min_score=0.2
    )
    for text, message in (
        ("bytetrak", "did you mean 'bytetrack'"),
        ("overlap?gap=3", "gap"),
        ("overlap?min_score=0.6", "new_score .* is below min_score"),
        ("overlap?max_gap", "is no option"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_tracker(text)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackers", None)
    with pytest.raises(MissingDependencyError, match=r"gaitext\[track\]"):
        track([[]], load_tracker("botsort"))


@pytest.mark.parametrize("boxes", [[[1, 2, 3, 4]], [1, 2, 3, 4, 5], [[0, 0, 0, 1, 1]], [[0, 0, float("nan"), 1, 1]]])
def test_wrong_boxes(boxes: list[object]) -> None:
    with pytest.raises(ShapeError, match="frame 2"):
        track([[], boxes])


box = st.tuples(
    st.integers(0, 30), st.integers(0, 5), st.integers(5, 20), st.integers(5, 20), st.sampled_from([0.3, 0.6, 0.9])
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(box, max_size=4, unique=True), max_size=8), st.randoms())
def test_every_box_is_used_once_whatever_the_order(frames: list[list[tuple[float, ...]]], random) -> None:
    tracks = track(frames, ANY)
    seen: dict[int, list[tuple[float, ...]]] = {frame: [] for frame in range(1, len(frames) + 1)}
    for one in tracks.values():
        assert one.filled is not None
        assert one.scores is not None
        assert np.array_equal(one.frames, np.arange(one.frames[0], one.frames[-1] + 1))
        assert not one.filled[0]
        assert not one.filled[-1]
        for frame, values, score, filled in zip(
            one.frames.tolist(), one.boxes.tolist(), one.scores.tolist(), one.filled
        ):
            if not filled:
                seen[frame].append((*values, score))
    assert [sorted(boxes) for boxes in seen.values()] == [sorted(map(tuple, boxes)) for boxes in frames]
    again = track([random.sample(boxes, len(boxes)) for boxes in frames], ANY)
    assert list(again) == list(tracks)
    for number, one in tracks.items():
        assert np.array_equal(one.frames, again[number].frames)
        assert np.array_equal(one.boxes, again[number].boxes)


def test_the_longest_is_the_one_that_was_seen_most() -> None:
    def made(number: int, length: int, filled: int = 0, width: float = 1) -> Track:
        marks = np.arange(length) < filled
        return Track(number, np.arange(length) + 1, np.full((length, 4), width), None, marks)

    given = [made(1, 10, 4), made(2, 7), made(3, 7, 0, 2), made(4, 7, 0, 2), Track(5, np.arange(3), np.ones((3, 4)))]
    first, others = longest({one.id: one for one in given})
    assert [one.id for one in (first, *others)] == [3, 4, 2, 1, 5]
    assert longest({5: given[-1]}) == (given[-1], [])
    with pytest.raises(ValueError, match="no tracks"):
        longest({})
