import os
import pickle
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gaitext import store
from gaitext.errors import DataError
from gaitext.store.files import temporary_beside


@given(
    hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.uint8]), hnp.array_shapes(min_dims=1, max_dims=4, min_side=1)
    )
)
def test_sequences_round_trip_and_plain_pickle_reads_them(tmp_path_factory, array) -> None:
    path = tmp_path_factory.mktemp("s") / "x.pkl"
    store.write_sequence(path, array)
    for back in (store.read_sequence(path), pickle.loads(path.read_bytes())):
        assert back.dtype == array.dtype
        assert np.array_equal(back, array, equal_nan=array.dtype.kind == "f")
        assert back.flags.writeable


def test_files_name_no_numpy_internals(tmp_path) -> None:
    store.write_sequence(tmp_path / "x.pkl", np.ones((2, 3)))
    assert b"_core" not in (tmp_path / "x.pkl").read_bytes()


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpys_own_pickles_are_read(tmp_path, protocol: int) -> None:
    array = np.arange(24, dtype=np.float16).reshape(2, 3, 4)
    for value in (array, list(array)):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(value, protocol=protocol))
        assert np.array_equal(store.read_sequence(tmp_path / "x.pkl"), array)
    # as numpy 1.x names its internals
    old = pickle.dumps(array, protocol=2).replace(b"numpy._core", b"numpy.core")
    (tmp_path / "x.pkl").write_bytes(old)
    assert np.array_equal(store.read_sequence(tmp_path / "x.pkl"), array)


def test_a_pickle_that_runs_code_is_refused(tmp_path) -> None:
    class Evil:
        def __reduce__(self):
            return (os.system, ("touch never",))

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(DataError, match="only numpy arrays"):
        store.read_sequence(tmp_path / "x.pkl")


def test_damaged_files_are_named(tmp_path) -> None:
    path = tmp_path / "x.pkl"
    store.write_sequence(path, np.ones((4, 17, 8, 6), np.float16))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"junk", pickle.dumps(np.ones((0, 3))), pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.pkl"):
            store.read_sequence(path)
    with pytest.raises(DataError, match="no such file"):
        store.read_sequence(tmp_path / "none.pkl")


def test_leaves_are_listed_sorted_and_read_by_position(tmp_path) -> None:
    for identity in ("002", "001"):
        store.write_leaf(tmp_path, identity, "nm-01", "090", {"1_b": np.zeros((3, 2)), "0_a": np.ones((3, 1))})
    found = store.leaves(tmp_path)
    assert [leaf.name for leaf in found] == ["001/nm-01/090", "002/nm-01/090"]
    assert [s.shape for s in store.read_leaf(found[0])] == [(3, 1), (3, 2)]
    assert [s.shape for s in store.read_leaf(found[0], [False, True])] == [(3, 2)]
    assert [s.shape for s in store.read_leaf(found[0], [1, 0])] == [(3, 2), (3, 1)]
    store.write_leaf(tmp_path, "001", "nm-01", "090", {"0_a": np.zeros((5, 1))})
    assert [s.shape for s in store.read_leaf(found[0])] == [(5, 1)]


def test_inputs_of_different_lengths_are_refused_at_both_ends(tmp_path) -> None:
    with pytest.raises(DataError, match="different lengths"):
        store.write_leaf(tmp_path, "1", "nm", "0", {"a": np.ones((3, 1)), "b": np.ones((4, 1))})
    assert store.leaves(tmp_path) == []
    leaf = store.write_leaf(tmp_path, "1", "nm", "0", {"a": np.ones((3, 1))})
    store.write_sequence(leaf.path / "b.pkl", np.ones((4, 1)))
    with pytest.raises(DataError, match=r"a\.pkl: 3, b\.pkl: 4"):
        store.read_leaf(leaf)


@pytest.mark.slow
def test_kill_9_leaves_whole_leaves_or_none(tmp_path) -> None:
    code = (
        "import sys, itertools, numpy as np; from gaitext import store\n"
        "for i in itertools.count():\n"
        "    both = {'a': np.ones((60, 17, 64, 48), np.float16), 'b': np.ones((60, 2))}\n"
        "    store.write_leaf(sys.argv[1], f'{i:05d}', 'nm', '0', both)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    while not list(tmp_path.glob("00003/*/0")):
        time.sleep(0.02)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = store.leaves(tmp_path)
    assert len(found) >= 4
    for leaf in found:
        assert [s.shape for s in store.read_leaf(leaf)] == [(60, 17, 64, 48), (60, 2)]


def test_partition_files(tmp_path, caplog) -> None:
    path = tmp_path / "p.json"
    with pytest.raises(DataError, match="no such partition"):
        store.read_partition(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not valid json"):
        store.read_partition(path)
    path.write_text('{"TRAIN_SET": []}')
    with pytest.raises(DataError, match="TEST_SET"):
        store.read_partition(path)
    for sets, named in (
        ({"TRAIN_SET": "001", "TEST_SET": []}, "no list"),
        ({"TRAIN_SET": ["1", "1"], "TEST_SET": []}, "more than once"),
    ):
        store.write_json(path, sets)
        with pytest.raises(DataError, match=named):
            store.read_partition(path)
    store.write_json(path, {"TRAIN_SET": ["1", "2"], "TEST_SET": ["2"]})
    store.read_partition(path)
    assert "both sets, such as 2" in caplog.text
    store.write_json(path, {"TRAIN_SET": ["1"], "TEST_SET": ["2"]})
    assert store.read_partition(path) == (["1"], ["2"])


def test_a_failed_write_leaves_the_old_file(tmp_path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def write() -> None:
        with store.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError):
        write()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_a_killed_writer_are_cleared_and_nothing_else(tmp_path) -> None:
    left = [".a.k3_x9abc.tmp.mp4", ".a.zzzzzzzz.tmp.mp4"]
    stays = ["a.mp4", ".a.b.k3_x9abc.tmp.mp4", ".a.k3_x9abc.tmp.json", ".ab.k3_x9abc.tmp.mp4", ".a.mp4"]
    for name in left + stays:
        (tmp_path / name).touch()
    store.clear_temporaries(tmp_path / "a.mp4")
    store.clear_temporaries(tmp_path / "no folder" / "a.mp4")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stays)
    # These are the names that it writes under.
    temporary = temporary_beside(tmp_path / "c.mp4")
    store.clear_temporaries(tmp_path / "c.mp4")
    assert not temporary.exists()
