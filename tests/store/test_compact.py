"""The compact form: exact where it says so, within half a step where not, and loaded by plain pickle."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gaitext import store
from gaitext.errors import DataError
from gaitext.store import CompactSequence, compact
from gaitext.store.coding import STEP_FLOOR

from .maps import heatmaps


def load(path: Path) -> CompactSequence:
    with open(path, "rb") as f:
        return pickle.load(f)


def rest(path: Path) -> bytes:
    """A file without its hash and the place it was written at."""
    data = path.read_bytes()
    return data[data.index(b"\x86R.") + 19 :]


FRAMES = hnp.arrays(
    st.sampled_from([np.float16, np.float32]),
    hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=9),
    elements=st.floats(-1, 1.5, width=16) | st.just(0.0) | st.floats(-16384, 16384, width=16),
)


def expected_step(channel: np.ndarray) -> float:
    """The slow way: the first power of two with which a zero point and 254 numbers reach all values."""
    low, high = min(float(channel.min()), 0.0), max(float(channel.max()), 0.0)
    step = STEP_FLOOR
    while True:
        zero = round(-low / step)
        zero += zero % 2 == 0
        if zero + round(high / step) <= 254:
            return step
        step *= 2


@settings(deadline=None)
@given(FRAMES)
def test_eight_bits_are_within_half_a_step_and_stable(tmp_path_factory, array) -> None:
    path = tmp_path_factory.mktemp("c") / "x.pkl"
    store.write_sequence(path, array, "compact")
    back = store.read_sequence(path)
    assert (back.shape, back.dtype) == (array.shape, array.dtype)
    assert (back[array == 0] == 0).all()
    channels = array.shape[1] if array.ndim == 4 else 1
    for stored, given_ in zip(
        back.reshape(len(array) * channels, -1).astype(np.float64),
        array.reshape(len(array) * channels, -1).astype(np.float64),
    ):
        assert np.abs(stored - given_).max() <= expected_step(given_) / 2
    again = path.with_name("again.pkl")
    store.write_sequence(again, back, "compact")
    assert rest(again) == rest(path)


@settings(deadline=None)
@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.int16, np.bool_]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9),
    )
)
def test_lossless_keeps_every_bit(tmp_path_factory, array) -> None:
    path = tmp_path_factory.mktemp("l") / "x.pkl"
    store.write_sequence(path, array, "lossless")
    assert store.read_sequence(path).tobytes() == array.tobytes()


def test_a_segment_is_stored_only_where_something_is() -> None:
    from gaitext.store.coding import FrameCoder

    frame = np.zeros((1, 2, 2, 16), np.float16)  # 2 channels of 4 segments
    frame[0, 1, 0, 8:10] = 0.5, -0.25
    (coded,) = FrameCoder(frame.dtype, (2, 2, 16)).encode(frame)
    # steps 1/2048 (row 0) and 1/256 (row 3: 0.5 needs 128 steps, 1/512 would make it 256)
    starts, counts = [256 - 1, 3 * 512 + 256 - 65], [0, 1]
    assert coded[:8] == np.array(starts + counts, "<u2").tobytes()
    assert coded[8:9] == bytes([0b00000100])
    assert list(coded[9:]) == [65 + 128, 65 - 64, 65, 65, 65, 65, 65, 65]


@pytest.mark.parametrize("form", ["compact", "lossless"])
def test_indexing_is_that_of_the_array(tmp_path, form: store.Form) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, heatmaps(13), form)
    whole = store.read_sequence(path)
    sequence = load(path)
    assert isinstance(sequence, CompactSequence)
    assert (len(sequence), sequence.shape, sequence.ndim, sequence.dtype) == (13, whole.shape, 4, whole.dtype)
    mask = np.arange(13) % 3 == 0
    for index in (
        *(3, -1, np.int64(4), np.uint8(2), slice(2, 9, 3), slice(None, None, -2), slice(5, 5), [4, 4, -1], mask),
        *(np.array([[1, 2], [3, -13]]), (2, 5), (slice(3), 4), (..., 3), ([1, 2], [3, 4]), (2, slice(None), 7), ()),
    ):
        got = sequence[index]
        assert got.dtype == whole.dtype
        assert np.array_equal(got, whole[index]), index
    assert np.array_equal(np.asarray(sequence), whole)
    assert np.asarray(sequence, np.float32).dtype == np.float32
    assert all(np.array_equal(a, b) for a, b in zip(sequence, whole))
    assert np.array_equal(np.asarray([sequence[j] for j in (5, 0, 5)]), whole[[5, 0, 5]])
    assert np.array_equal(np.concatenate([[sequence[0]], sequence[1:3]], 0), whole[:3])
    first, second = sequence[0], sequence[1]
    first += 1  # frames are the caller's own
    assert np.array_equal(sequence[0], whole[0])
    assert np.array_equal(second, whole[1])
    for wrong in (13, -14):
        with pytest.raises(IndexError):
            sequence[wrong]


def test_without_pread_the_same_is_read_and_the_file_stands_where_it_stood(tmp_path, monkeypatch) -> None:
    """As on Windows; whoever unpickles goes on reading the file that is looked at."""
    array = heatmaps(9)
    store.write_sequence(tmp_path / "a.pkl", array, form="lossless")
    monkeypatch.delattr(os, "pread")
    with open(tmp_path / "a.pkl", "rb") as f:
        found, stands = pickle.load(f), f.tell()
        assert f.read() == (tmp_path / "a.pkl").read_bytes()[stands:]
    assert np.array_equal(found[:], array)
    assert np.array_equal(found[4], array[4])


def test_half_the_bytes_are_read_for_half_the_frames(tmp_path) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, heatmaps(100), "compact")

    def read() -> int:
        return int(Path("/proc/self/io").read_text().split()[1])

    before = read()
    sequence = load(path)
    opened = read()
    for j in range(0, 100, 2):
        sequence[j]
    assert opened - before < 8192 + 2000
    assert abs((read() - opened) / (path.stat().st_size / 2) - 1) < 0.1


def test_a_floor_silences_noise(tmp_path) -> None:
    noisy = heatmaps(4, noise=0.002)
    for name, floor in (("a", 0.0), ("b", 0.01)):
        with store.CompactWriter(tmp_path / name, floor=floor) as writer:
            writer.append(noisy)
    quiet = store.read_sequence(tmp_path / "b")
    assert (quiet[np.abs(noisy.astype(np.float32)) < 0.01] == 0).all()
    assert (tmp_path / "b").stat().st_size < (tmp_path / "a").stat().st_size / 4


def test_what_eight_bits_cannot_hold_is_refused(tmp_path) -> None:
    for value in (np.nan, np.inf, 20000):
        with pytest.raises(DataError, match=r"(?s)x\.pkl.*lossless"):
            store.write_sequence(tmp_path / "x.pkl", np.full((2, 3, 8, 8), value, np.float32), "compact")
    with pytest.raises(DataError, match="uint8"):
        store.write_sequence(tmp_path / "x.pkl", np.ones((2, 8, 8), np.uint8), "compact")
    assert list(tmp_path.iterdir()) == []


def test_a_fresh_process_finds_a_moved_file(tmp_path) -> None:
    (tmp_path / "old").mkdir()
    store.write_sequence(tmp_path / "old/x.pkl", heatmaps(), "compact")
    (tmp_path / "old").rename(tmp_path / "new")
    total = float(store.read_sequence(tmp_path / "new/x.pkl").astype(np.float64).sum())
    # As the toolboxes do; bound to no name; through a function that holds the file; unbuffered.
    code = """
import pickle, sys, io
import numpy as np
def loader(path):
    with open(path, "rb") as f:
        _ = pickle.load(f)
    f.close()
    return _
class Held:
    def __init__(self, path): self.f = open(path, "rb", buffering=0)
    def read(self): return pickle.load(self.f)
found = [loader("x.pkl"), pickle.load(open("x.pkl", "rb")), Held("x.pkl").read()]
found.append(pickle.loads(pickle.dumps(found[0])))
print([float(np.asarray([s[j] for j in range(len(s))]).astype("f8").sum()) for s in found])
try:
    pickle.loads(open("x.pkl", "rb").read())
except Exception as error:
    print(type(error).__name__)
"""
    run = subprocess.run([sys.executable, "-c", code], cwd=tmp_path / "new", capture_output=True, text=True, check=True)
    sums, error = run.stdout.splitlines()
    assert json.loads(sums) == [total] * 4
    assert error == "DataError"


def test_bytes_alone_are_found_where_they_were_written(tmp_path) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, heatmaps(), "compact")
    data = path.read_bytes()
    assert np.array_equal(pickle.loads(data)[3], store.read_sequence(path)[3])
    store.write_sequence(path, heatmaps(seed=1), "compact")
    with pytest.raises(DataError, match="whose file is not known"):
        pickle.loads(data)


def test_another_open_file_is_not_taken_for_it(tmp_path) -> None:
    for name, seed in (("a", 0), ("b", 1)):
        store.write_sequence(tmp_path / name, heatmaps(seed=seed), "compact")
    with open(tmp_path / "a", "rb") as other, open(tmp_path / "b", "rb") as f:
        assert other.fileno() >= 0
        assert pickle.load(f).path == str(tmp_path / "b")


def test_reading_does_not_unpickle(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, heatmaps(), "compact")
    monkeypatch.setattr(compact, "reopen", lambda *_: pytest.fail("it was unpickled"))
    assert len(store.read_sequence(path)) == 12

    class Evil:
        def __reduce__(self):
            return (os.system, ("touch never",))

    evil = tmp_path / "evil.pkl"
    evil.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="only numpy arrays"):
        store.open_sequence(evil)
    # A pickle of another making that names reopen is not our form, and is not obeyed either.
    evil.write_bytes(b"\x80\x04cgaitext.store.compact\nreopen\n(C\x01aX\x01\x00\x00\x00atR.")
    with pytest.raises(DataError, match="only numpy arrays"):
        store.open_sequence(evil)


def test_truncation_is_found_at_opening_and_any_flipped_byte_by_verify(tmp_path) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, heatmaps(3, 2), "compact")
    whole = path.read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 150, 60, 40):
        path.write_bytes(whole[:length])
        for read in (store.read_sequence, store.open_sequence):
            with pytest.raises(DataError, match=r"x\.pkl"):
                read(path)
        with pytest.raises(Exception, match=r"truncated|exhausted|Ran out"):
            load(path)
    generator = np.random.default_rng(0)
    start = whole.index(b"\x86R.") + 3  # before it is the path, which is but a hint
    for position in [*generator.integers(start, len(whole), 60).tolist(), *range(34, 50), len(whole) - 1]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << generator.integers(8)
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"x\.pkl"):
            store.read_sequence(path)
        try:
            frames = np.asarray(store.open_sequence(path))
        except DataError:
            continue
        assert frames.shape == (3, 2, 64, 48)  # unverified, it reads something, and never beyond its memory


def test_a_file_replaced_while_in_use_is_noticed(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, heatmaps(), "compact")
    old, first = load(path), store.read_sequence(path)[0]
    store.write_sequence(path, heatmaps(seed=1), "compact")
    assert np.array_equal(old[0], first)  # its file is still open
    compact._files.clear()
    with pytest.raises(DataError, match="was replaced"):
        old[0]
    assert not np.array_equal(load(path)[0], first)


def test_many_sequences_share_few_descriptors_in_threads_and_forks(tmp_path) -> None:
    paths = [tmp_path / f"{i}.pkl" for i in range(300)]
    for i, path in enumerate(paths):
        store.write_sequence(path, np.full((3, 1, 8, 8), i, np.float16), "lossless")
    before = len(os.listdir("/proc/self/fd"))  # other tests of this process may have left some open
    sequences = [load(path) for path in paths]
    assert len(os.listdir("/proc/self/fd")) <= before + 128

    def check(seed: int) -> bool:
        order = np.random.default_rng(seed).permutation(300)
        return all((sequences[i][1] == i).all() for i in order)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(check, range(4)))
    stop = threading.Event()
    busy = threading.Thread(target=lambda: [check(9) for _ in iter(stop.is_set, True)])
    busy.start()
    try:
        for seed in range(5):  # a fork may happen while the other thread holds the lock
            child = os.fork()
            if child == 0:
                os._exit(0 if check(seed) else 1)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        busy.join()


def test_a_later_version_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(compact, "VERSION", 2)
    store.write_sequence(tmp_path / "x.pkl", heatmaps(), "compact")
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"(?s)form 2 is not known.*later gaitext"):
        store.open_sequence(tmp_path / "x.pkl")
