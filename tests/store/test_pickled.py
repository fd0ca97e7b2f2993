"""What is read as a sequence, and what is refused: without calling anything that a file names."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gaitext.errors import DataError
from gaitext.store import map_sequence, read_sequence, write_sequence
from gaitext.store.pickles import DamagedPickle, Unread, read_pickle

FRAMES = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
#: Pickle of numpy's own kind up to the state: _reconstruct(ndarray, (0,), b"b").
BEGIN = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
DTYPE = (
    b"cnumpy\ndtype\n(X\x02\x00\x00\x00f4\x89\x88tR(K\x03X\x01\x00\x00\x00<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
)


def written(folder: Path, content: bytes) -> Path:
    path = folder / "0_heatmaps.pkl"
    path.write_bytes(content)
    return path


def mapped(folder: Path, array: np.ndarray) -> np.ndarray:
    found = np.memmap(folder / "map", array.dtype, "w+", shape=array.shape)
    found[:] = array
    return found


SOUND: dict[str, Any] = {
    "array": FRAMES,
    "Fortran order": np.asfortranarray(FRAMES),
    "neither order": FRAMES.transpose(1, 0, 2),
    "a slice": FRAMES[:, ::2],
    "float64": FRAMES.astype(np.float64),
    "float16": FRAMES.astype(np.float16),
    "uint8": FRAMES.astype(np.uint8),
    "int64": FRAMES.astype(np.int64),
    "bool": FRAMES > 5,
    "big-endian": FRAMES.astype(">f4"),
    "big-endian halves": FRAMES.astype(">f2"),
    "matrix": np.matrix(FRAMES[0]),
    "masked, nothing masked": np.ma.masked_array(FRAMES, mask=False),
    "masked in Fortran order": np.ma.masked_array(np.asfortranarray(FRAMES)),
    "frames": list(FRAMES),
    "frames in a tuple": tuple(FRAMES),
    "frames, one of them twice": [FRAMES[0], FRAMES[1], FRAMES[1]],
    "frames of several dtypes": [FRAMES[0], np.ones((3, 4))],
    "tensor": torch.from_numpy(FRAMES.copy()),
    "tensor of halves": torch.from_numpy(FRAMES.astype(np.float16)),
    "tensor of bfloat16": torch.from_numpy(FRAMES.copy()).bfloat16(),
    "tensor of bytes": torch.from_numpy(FRAMES.astype(np.uint8)),
    "tensor of booleans": torch.from_numpy(FRAMES > 5),
    "tensor's view": torch.from_numpy(FRAMES.copy()).permute(2, 0, 1)[1:],
    "expanded tensor": torch.ones(1, 4).expand(3, 4),
    "parameter": torch.nn.Parameter(torch.from_numpy(FRAMES.copy())),
    "tensors, one a frame": [torch.from_numpy(FRAMES[0].copy()), torch.from_numpy(FRAMES[1].copy())],
}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", SOUND)
def test_sound_pickles_are_read(tmp_path: Path, name: str, protocol: int) -> None:
    value = SOUND[name]
    many = isinstance(value, (list, tuple))
    expected = np.stack([np.asarray(frame) for frame in value]) if many else None
    if expected is None:
        plain = value.detach().float() if getattr(value, "dtype", None) is torch.bfloat16 else value
        expected = plain.detach().numpy() if isinstance(plain, torch.Tensor) else np.asarray(plain)
    back = read_sequence(written(tmp_path, pickle.dumps(value, protocol=protocol)))
    assert type(back) is np.ndarray
    assert back.dtype == expected.dtype.newbyteorder("=")
    assert back.dtype.isnative
    assert np.array_equal(back, expected)
    assert back.flags.writeable


@pytest.mark.parametrize("protocol", range(6))
def test_memory_maps_are_read(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(mapped(tmp_path, FRAMES), protocol=protocol)
    assert np.array_equal(read_sequence(written(tmp_path, content)), FRAMES)
    old = content.replace(b"cnumpy\nmemmap\n", b"cnumpy.core.memmap\nmemmap\n")  # as old numpy named it
    assert (old != content) == (protocol < 4)
    assert np.array_equal(read_sequence(written(tmp_path, old)), FRAMES)


def test_what_python_2_wrote_is_read(tmp_path: Path) -> None:
    """Its texts are bytes, its numbers may be long, and it quotes what protocol 0 writes."""
    quoted = repr(FRAMES.tobytes())[1:].encode()
    text = (
        b"cnumpy.core.multiarray\n_reconstruct\np0\n(cnumpy\nndarray\np1\n(I0\ntp2\nS'b'\np3\ntp4\nRp5\n"
        b"(I1\n(L2L\nL3L\nI4\ntp6\ncnumpy\ndtype\np7\n(S'f4'\np8\nI0\nI1\ntp9\nRp10\n"
        b"(I3\nS'<'\np11\nNNNI-1\nI-1\nI0\ntp12\nbI00\nS" + quoted + b"\np13\ntp14\nb."
    )
    data = FRAMES.tobytes()
    binary = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nq\x01K\x00\x85U\x01b\x87R(K\x01K\x02K\x03K\x04\x87"
        b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        b"T" + struct.pack("<i", len(data)) + data + b"tb."
    )
    for content in (text, binary):
        assert np.array_equal(pickle.loads(content, encoding="latin1"), FRAMES)
        assert np.array_equal(read_sequence(written(tmp_path, content)), FRAMES)


def state(shape: bytes, dtype: bytes, data: bytes) -> bytes:
    return BEGIN + b"(K\x01" + shape + dtype + b"\x89" + data + b"tb."


def test_the_hand_written_array_is_sound(tmp_path: Path) -> None:
    """So that each refusal below is of what was changed."""
    content = state(b"K\x02\x85", DTYPE, b"C\x08" + np.float32([1, 2]).tobytes())
    assert read_sequence(written(tmp_path, content)).tolist() == [1, 2]


TAMPERED = DTYPE.replace(b"NNN", b"X\x01\x00\x00\x00x\x85NN")
EIGHT = b"C\x08" + bytes(8)
REFUSED: dict[str, tuple[bytes, str]] = {
    "hidden fields": (state(b"K\x02\x85", TAMPERED, EIGHT), "tampered"),
    "flags": (state(b"K\x02\x85", DTYPE.replace(b"K\x00tb", b"K\x3ftb"), EIGHT), "tampered"),
    "another size": (state(b"K\x02\x85", DTYPE.replace(b"J\xff\xff\xff\xff", b"J\x08\0\0\0", 1), EIGHT), "tampered"),
    "a state twice": (state(b"K\x02\x85", DTYPE + b"(K\x03tb", EIGHT), "state"),
    "objects": (state(b"K\x02\x85", DTYPE.replace(b"f4", b"O8"), EIGHT), "Python objects"),
    "a dtype by name of a class": (state(b"K\x02\x85", b"cnumpy\nfloat32\n", EIGHT), "dtype"),
    "a huge shape": (state(b"\x8a\x06\0\0\0\0\0\x01\x85", DTYPE, EIGHT), "claims"),
    "a shape that wraps": (state(b"\x8a\x08\0\0\0\0\0\0\0\x40K\x04\x86", DTYPE, EIGHT), "claims"),
    "a negative shape": (state(b"J\xff\xff\xff\xffJ\xfe\xff\xff\xff\x86", DTYPE, EIGHT), "claims"),
    "fewer than it holds": (state(b"K\x01\x85", DTYPE, EIGHT), "claims"),
    "more than it holds": (state(b"K\x03\x85", DTYPE, EIGHT), "claims"),
    "no buffer": (BEGIN + b".", "no buffer"),
    "made with a size": (BEGIN.replace(b"K\x00\x85", b"J\xff\xff\xff\x7f\x85") + b".", "begins with a size"),
    "ndarray without a buffer": (b"\x80\x04cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85\x85R.", "no buffer"),
    "bytes of a size": (state(b"K\x02\x85", DTYPE, b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R"), "buffer"),
    "a huge count": (b"\x80\x04B\xff\xff\xff\xff.", "claims"),
    "a huger count": (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "claims"),
    "a huge integer": (b"\x80\x04\x8b\xff\xff\xff\x7f.", "integer"),
    "a huge frame": (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", "claims"),
    "an unknown operation": (b"\x80\x04\xff.", "operation"),
    "an empty stack": (b"\x80\x040.", "no sense|stack"),
    "a memo that is none": (b"\x80\x04h\x07.", "no sense"),
    "out of band": (b"\x80\x05\x97.", "not in the file"),
    "a dict": (b"\x80\x04}.", "a dict"),
    "None": (b"\x80\x04N.", "None"),
    "a reference": (b"\x80\x04K\x01Q.", "reference"),
    "two pickles": (state(b"K\x02\x85", DTYPE, EIGHT) * 2, "follow its end"),
    "itself": (b"\x80\x04]q\x00h\x00a.", "a list"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    content, named = REFUSED[name]
    with pytest.raises(DataError, match=named) as caught:
        read_sequence(written(tmp_path, content))
    assert "0_heatmaps.pkl" in str(caught.value)


class _Run:
    def __reduce__(self) -> Any:
        return os.system, ("touch never",)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (np.ma.masked_array(FRAMES, FRAMES > 5), "18 values are masked"),
        (np.zeros(3, [("x", "f4")]), "structured"),
        (np.zeros(3, np.complex64), "complex"),
        (np.array(["a", "b"]), "text"),
        (np.array([b"a", b"b"]), "text"),
        (np.array(["2024-01-01"], "datetime64[D]"), "dates"),
        (np.array([1, None]), "Python objects"),
        (np.float32(3), "numbers, not an array"),
        ([np.float32(3), np.float32(4)], "numbers, not an array"),
        ([[1.0, 2.0], [3.0, 4.0]], "a list where"),
        ([list(FRAMES)], "a list where"),
        ({"heatmaps": FRAMES}, "a dict where"),
        (torch.ones(2, 3).to_sparse(), "torch object"),
        (torch.ones(2, 3, device="meta"), "torch object"),
        (torch.ones(2, 3, dtype=torch.complex64), "torch object"),
        (np.zeros(3).view(np.recarray), "class numpy.re"),
        (_Run(), "only numpy arrays"),
    ],
)
def test_what_is_no_sequence_is_named_and_not_to_be_deleted(tmp_path: Path, value: Any, named: str) -> None:
    for protocol in (2, 5):
        with pytest.raises(DataError, match=named) as caught:
            read_sequence(written(tmp_path, pickle.dumps(value, protocol=protocol)))
        assert "delete" not in str(caught.value)
        assert caught.value.how
    assert not Path("never").exists()


@pytest.mark.parametrize(
    ("start", "named"),
    [
        (b"PK\x03\x04", "torch.save"),
        (b"\x93NUMPY\x01", "npy"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"version https://git", "LFS"),
    ],
)
def test_files_of_other_formats_are_named(tmp_path: Path, start: bytes, named: str) -> None:
    with pytest.raises(DataError, match=named):
        read_sequence(written(tmp_path, start + bytes(200)))


BOMBS = {
    "nested lists": b"\x80\x04]q\x00" + b"".join(b"](" + b"h%c" % n * 10 + b"eq%c" % (n + 1) for n in range(60)) + b".",
    "marks": b"\x80\x04" + b"(" * 3_000_000 + b".",
    "lists": b"\x80\x04" + b"]" * 3_000_000 + b".",
    "one frame many times": b"\x80\x04("
    + state(b"\x8a\x04\0\0\x10\0\x85", DTYPE, b"B\0\0\x40\0" + bytes(4 << 20))[2:-1]
    + b"q\x00" + b"h\x00" * 100_000 + b"t.",
    "a tensor shown many times": pickle.dumps(torch.ones(1, 1).expand(1 << 20, 1 << 20)),
    "nested calls": b"\x80\x04" + b"cbuiltins\nbytearray\n" * 100_000 + b"C\x01a" + b"\x85R" * 100_000 + b".",
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_memory(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, BOMBS[name])
    code = (
        "import resource, sys; import gaitext.store as s; from gaitext.errors import DataError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: s.read_sequence(sys.argv[1])\n"
        "except DataError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100_000, "KiB"


def test_a_map_of_a_file_whose_header_lies_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pkl"
    write_sequence(path, FRAMES)
    whole = path.read_bytes()
    for count in (1, 3, (1 << 31) - 1):
        path.write_bytes(whole.replace(b"(J" + struct.pack("<i", 2), b"(J" + struct.pack("<i", count)))
        for read in (read_sequence, map_sequence):
            with pytest.raises(DataError, match="claims"):
                read(path)


def test_reading_leaves_descriptions_alone() -> None:
    """A pickle is described: nothing is imported or called, and sizes are the file's."""
    content = pickle.dumps(_Run())
    call, used = read_pickle(io.BytesIO(content), len(content))
    assert (call.name.rpartition(".")[2], call.arguments, used) == ("system", ("touch never",), len(content))
    with pytest.raises(Unread, match="more than 10 operations"):
        read_pickle(io.BytesIO(b"N0" * 100 + b"N."), 202, most=10)
    for cut in range(len(content)):
        with pytest.raises((DamagedPickle, Unread)):
            read_pickle(io.BytesIO(content[:cut]), cut)


def test_a_map_of_a_file_of_impossible_sizes_is_refused(tmp_path: Path) -> None:
    """Sizes whose product fits no integer of 64 bits."""
    shape = b"".join(b"J" + struct.pack("<i", (1 << 31) - 1) for _ in range(3))
    path = written(tmp_path, b"\x80\x05cnumpy\nndarray\n(" + shape + b"tX\x03\0\0\0<f4\x96" + bytes(8) + b"\x87R.")
    for read in (read_sequence, map_sequence):
        with pytest.raises(DataError, match="claims"):
            read(path)
