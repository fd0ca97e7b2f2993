"""Writers that do not know the length beforehand."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext import store
from gaitext.errors import DataError
from gaitext.store import LeafWriter, SequenceWriter

from .maps import heatmaps


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6).filter(any), st.sampled_from(store.FORMS))
def test_batches_make_the_same_file_as_the_whole(tmp_path_factory, counts, form) -> None:
    folder = tmp_path_factory.mktemp("w")
    whole = heatmaps(sum(counts), 3)
    store.write_sequence(folder / "whole.pkl", whole, form)
    with store.writer(folder / "parts.pkl", form, written=folder / "whole.pkl") as writer:
        start = 0
        for count in counts:
            writer.append(whole[start : start + count])
            start += count
    assert (folder / "parts.pkl").read_bytes() == (folder / "whole.pkl").read_bytes()


def test_lengths_beyond_four_gigabytes_are_written(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.pkl"
    written = []
    monkeypatch.setattr(SequenceWriter, "_encode", lambda self, frames: written.append(len(frames)) or [])
    with SequenceWriter(path) as writer:
        big = np.broadcast_to(np.float16(1), (10_000, 17, 64, 48))
        for _ in range(5):
            writer.append(big)
    data = path.read_bytes()
    size = 50_000 * 17 * 64 * 48 * 2
    assert size > 2**32
    assert data.endswith(b"\x96" + size.to_bytes(8, "little") + b"\x87R.")
    assert b"J" + (50_000).to_bytes(4, "little") in data


def test_memory_is_that_of_a_batch(tmp_path) -> None:
    code = (
        "import sys, resource, numpy as np; from gaitext import store\n"
        "batch = np.ones((16, 17, 64, 48), np.float16)\n"
        "for form in store.FORMS:\n"
        "    with store.writer(sys.argv[1], form) as w:\n"
        "        for i in range(4): w.append(batch)\n"
        "        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "        for i in range(60): w.append(batch)\n"
        "    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x")], capture_output=True, text=True, check=True)
    assert max(map(int, run.stdout.split())) < 8_000  # KiB; 60 batches are 100 MB


def test_unlike_frames_and_none_at_all_are_refused(tmp_path) -> None:
    writer = SequenceWriter(tmp_path / "x.pkl")
    writer.append(np.ones((2, 3)))
    for wrong in (np.ones((2, 4)), np.ones((2, 3), np.float32)):
        with pytest.raises(DataError, match="follow frames"):
            writer.append(wrong)
    writer.abandon()
    with pytest.raises(DataError, match="no frames"), SequenceWriter(tmp_path / "x.pkl") as writer:
        writer.append(np.ones((0, 3)))
    with pytest.raises(DataError, match="array of numbers"):
        SequenceWriter(tmp_path / "x.pkl").append(np.array([None]))
    assert list(tmp_path.iterdir()) == []


def test_leaves_are_written_side_by_side(tmp_path) -> None:
    whole = heatmaps(40)
    writers = [LeafWriter(tmp_path, f"{i:03}", "nm", "0", {"0_heatmaps": "compact"}) for i in range(1040)]
    for writer in writers[:30]:
        writer.append({"0_heatmaps": whole[:2], "1_poses": np.ones((2, 17, 3))})
    for writer in writers[30:]:  # more leaves than descriptors
        writer.append({"1_poses": np.ones((1, 17, 3))})
    assert store.leaves(tmp_path) == []
    for start in range(2, 40, 19):
        for writer in writers[:30]:
            writer.append({"1_poses": np.ones((19, 17, 3)), "0_heatmaps": whole[start : start + 19]})
    for writer in writers[:29]:
        writer.commit()
    for writer in writers[29:]:
        writer.abandon()
    found = store.leaves(tmp_path)
    assert len(found) == 29
    assert not list(tmp_path.glob(".*"))
    for leaf in found:
        maps, poses = store.read_leaf(leaf, lazy=True)
        assert isinstance(maps, store.CompactSequence)
        assert poses.shape == (40, 17, 3)
        assert maps.path == str(leaf.path / "0_heatmaps.pkl")


def test_a_leaf_replaces_an_old_one_or_leaves_it(tmp_path) -> None:
    store.write_leaf(tmp_path, "1", "nm", "0", {"a": np.ones((2, 3)), "b": np.ones((2, 1))})
    with pytest.raises(RuntimeError), LeafWriter(tmp_path, "1", "nm", "0") as writer:  # noqa: PT012
        writer.append({"a": np.zeros((9, 3))})
        raise RuntimeError("stopped")
    with pytest.raises(DataError, match="different lengths"), LeafWriter(tmp_path, "1", "nm", "0") as writer:
        writer.append({"a": np.zeros((9, 3)), "b": np.zeros((8, 1))})
    with pytest.raises(DataError, match="no frames"), LeafWriter(tmp_path, "1", "nm", "0"):
        pass
    assert [s.shape for s in store.read_leaf(tmp_path / "1/nm/0")] == [(2, 3), (2, 1)]
    with LeafWriter(tmp_path, "1", "nm", "0") as writer:
        writer.append({"a": np.zeros((9, 3))})
    assert [s.shape for s in store.read_leaf(tmp_path / "1/nm/0")] == [(9, 3)]
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("form", store.FORMS)
def test_a_full_disk_leaves_nothing_half(tmp_path, monkeypatch, number: int, form: store.Form) -> None:
    store.write_leaf(tmp_path, "1", "nm", "0", {"a": np.ones((2, 3))})
    real, left = Path.open, [4]

    def failing(self: Path, *args, **kwargs):
        stream = real(self, *args, **kwargs)
        if "b" not in str(args[0]) or "+" not in args[0]:
            return stream

        class Full:
            def __enter__(self):
                return self

            def __exit__(self, *error):
                stream.close()

            def seek(self, *position):
                return stream.seek(*position)

            def write(self, block):
                left[0] -= 1
                if left[0] < 0:
                    raise OSError(number, "no")
                return stream.write(block)

        return Full()

    monkeypatch.setattr(Path, "open", failing)
    writer = LeafWriter(tmp_path, "1", "nm", "0", {"a": form})
    with pytest.raises(DataError, match=r"(?s)1/nm/0.*cannot be written.*free some space"):  # noqa: PT012
        for _ in range(9):
            writer.append({"a": heatmaps(2)})
    monkeypatch.undo()
    assert [s.shape for s in store.read_leaf(tmp_path / "1/nm/0")] == [(2, 3)]
    assert [p.name for p in tmp_path.iterdir()] == ["1"]


def test_a_limit_on_file_size_is_a_full_disk(tmp_path) -> None:
    code = (
        "import sys, numpy as np, resource; from gaitext import store\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        "    store.write_sequence(sys.argv[1], np.ones((40, 17, 64, 48), np.float16))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    path = tmp_path / "x.pkl"
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert run.stdout.startswith("DataError")
    assert "free some space" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_plain_files_are_read_by_pickle_alone(tmp_path) -> None:
    path = tmp_path / "x.pkl"
    array = heatmaps(3)[:, ::2]
    store.write_sequence(path, array)
    code = (
        "import pickle, sys\n"
        "a = pickle.load(open(sys.argv[1], 'rb'))\n"
        "assert 'gaitext' not in sys.modules\n"
        "sys.stdout.buffer.write(pickle.dumps((a.shape, a.dtype.str, a.flags.writeable, a.tobytes())))"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, cwd=tmp_path)
    assert pickle.loads(run.stdout) == (array.shape, "<f2", True, array.tobytes())


def test_writers_end_once(tmp_path) -> None:
    with SequenceWriter(tmp_path / "x.pkl") as writer:
        writer.append(np.ones((2, 3)))
        writer.close()
        with pytest.raises(DataError, match="was closed"):
            writer.append(np.ones((2, 3)))
    assert store.read_sequence(tmp_path / "x.pkl").shape == (2, 3)
    with LeafWriter(tmp_path, "1", "nm", "0") as leaf:
        leaf.append({"a": np.ones((2, 3))})
        leaf.commit()
        for again in (leaf.commit, lambda: leaf.append({"a": np.ones((2, 3))})):
            with pytest.raises(DataError, match="was committed"):
                again()
    with LeafWriter(tmp_path, "2", "nm", "0") as leaf:
        leaf.append({"a": np.ones((2, 3))})
        leaf.abandon()
    assert [found.name for found in store.leaves(tmp_path)] == ["1/nm/0"]
