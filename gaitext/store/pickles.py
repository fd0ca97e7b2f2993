"""Pickles read as descriptions: what they would call is noted, and nothing is called.

Python's own unpicklers make what a file names, of sizes that the file claims: classes, dtypes with
hidden fields, gigabytes of zeros. This one makes numbers, text, bytes, tuples, lists and notes of
calls. It holds no more than the file does, and refuses what is longer than its own limits. Who
reads arrays or weights then looks whether the notes say what numpy or torch write.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from typing import Any, BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

#: A long run of bytes: memory of its own, of which an array can be made without a copy.
Blob = npt.NDArray[np.uint8]

_LONG = 1 << 12  # bytes from which on they become a Blob
_LINE = 1 << 10  # of numbers and names in protocol 0
_STACK = 1 << 18
_FLOAT = 64
_INTEGER = 255  # bytes: what str() of an integer still takes


class DamagedPickle(Exception):
    """It is truncated, or no pickle at all; the text says why."""


class Unread(Exception):
    """It may be sound, but is nothing that this reader takes.

    Args:
        what: it holds, completing "holds …".
        how: to make of it what is read.
    """

    def __init__(self, what: str, how: str) -> None:
        super().__init__(what)
        self.what, self.how = what, how


class Name:
    """What the pickle names: ``module.attribute``, numpy's old and new core alike called ``numpy.core``."""

    __slots__ = ("text",)

    def __init__(self, module: str, attribute: str) -> None:
        module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
        if module == "numpy._core" or module.startswith("numpy._core."):
            module = "numpy.core" + module.removeprefix("numpy._core")
        self.text = f"{module}.{attribute}"


class Call:
    """What the pickle would call: ``name(*arguments)``, then given ``state`` and ``items``."""

    __slots__ = ("arguments", "items", "name", "state")

    def __init__(self, name: str, arguments: Any) -> None:
        self.name, self.arguments = name, arguments
        self.state: Any = None
        self.items: list[Any] = []


class Pairs:
    """A dict: ``items`` holds its pairs."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Any] = []


class Persistent:
    """What lies outside the pickle, under a key."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


def words(value: Any) -> str | None:
    """Text, or the bytes that stand for it in what Python 2 wrote; None for anything else."""
    if isinstance(value, str):
        return value
    return value.decode("latin-1") if isinstance(value, bytes) else None


def describe(value: Any) -> str:
    """A value for an error: what it is, not all that it holds."""
    if isinstance(value, Call):
        return f"a call of {value.name[:80]}"
    if isinstance(value, Name):
        return f"the name {value.text[:80]}"
    kinds = {Pairs: "a dict", Persistent: "a reference", type(None): "None", np.ndarray: "bytes"}
    known = kinds.get(type(value))
    return known or f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"


def read_pickle(
    stream: BinaryIO, size: int, *, most: int = 4_000_000, notes: list[Call | Persistent] | None = None
) -> tuple[Any, int]:
    """Read one pickle of any protocol.

    Args:
        stream: at the pickle's beginning.
        size: bytes from there to the end of the file.
        most: operations.
        notes: where every call and reference is noted, those too that the result does not hold.

    Returns:
        What it describes, and the bytes it takes.

    Raises:
        DamagedPickle: it is truncated, or does not obey the format.
        Unread: it uses extensions or buffers outside the file, or is longer than ``most``.
        OSError: the stream cannot be read.
    """
    reader = _Reader(stream, size, notes)
    try:
        return reader.load(most), reader.at
    except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
        raise DamagedPickle(f"its byte {reader.at} makes no sense") from error


class _Reader:
    def __init__(self, stream: BinaryIO, size: int, notes: list[Call | Persistent] | None) -> None:
        self.stream, self.size, self.at, self.notes = stream, size, 0, notes
        self.stack: list[Any] = []
        self.outer: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.frame_end = 0

    def load(self, most: int) -> Any:
        for _ in range(most):
            begun = self.at
            code = self.take(1)[0]
            if code == 0x2E:  # STOP
                if self.outer or len(self.stack) != 1:
                    raise DamagedPickle("it ends with a stack that is not in order")
                self.inside_frame(begun)
                return self.stack.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise DamagedPickle(f"byte {code:#04x} at {begun} is no operation of a pickle")
            operation(self)
            self.inside_frame(begun)
            if len(self.stack) > _STACK or len(self.outer) > _STACK:
                raise DamagedPickle("it piles up more than a sequence needs")
        raise Unread(f"more than {most} operations", "write one array, not many small objects")

    def inside_frame(self, begun: int) -> None:
        if begun < self.frame_end < self.at:
            raise DamagedPickle("a frame ends within an operation")

    # Bytes.

    def check(self, count: int) -> None:
        if not 0 <= count <= self.size - self.at:
            raise DamagedPickle(f"it claims {count} bytes where {self.size - self.at} are left")

    def take(self, count: int) -> bytes:
        self.check(count)
        data = self.stream.read(count)
        if len(data) != count:
            raise DamagedPickle("it became shorter while it was read")
        self.at += count
        return data

    def blob(self, count: int) -> Blob:
        self.check(count)
        data = np.empty(count, np.uint8)
        view, filled = memoryview(data), 0  # type: ignore[arg-type]
        while filled < count:
            got = self.stream.readinto(view[filled:])  # type: ignore[attr-defined]
            if not got:
                raise DamagedPickle("it became shorter while it was read")
            filled += got
        self.at += count
        return data

    def line(self, most: int) -> bytes:
        data = self.stream.readline(min(most, self.size - self.at) + 1)
        if not data.endswith(b"\n"):
            raise DamagedPickle("a line of it has no end")
        self.at += len(data)
        return data[:-1]

    def number(self, form: str) -> Any:
        (value,) = struct.unpack(form, self.take(struct.calcsize(form)))
        return value

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def note(self, made: Call | Persistent) -> None:
        if self.notes is not None:
            self.notes.append(made)

    def refer(self, key: Any) -> None:
        made = Persistent(key)
        self.note(made)
        self.push(made)

    def since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.outer.pop()
        return items

    # Operations with a body of their own; the rest stand in the table.

    def text(self, form: str) -> None:
        self.push(self.take(self.number(form)).decode("utf-8", "surrogatepass"))

    def binary(self, form: str) -> None:
        count = self.number(form)
        self.push(self.take(count) if count < _LONG else self.blob(count))

    def escaped(self) -> None:
        line = self.line(self.size).strip()
        if len(line) < 2 or line[:1] not in b"'\"" or line[:1] != line[-1:]:
            raise DamagedPickle("a text of it has no quotes")
        self.push(codecs.escape_decode(line[1:-1])[0])

    def decimal(self) -> None:
        line = self.line(_FLOAT).rstrip(b"L")
        self.push({b"00": False, b"01": True}.get(line) if line in (b"00", b"01") else int(line))

    def long(self, form: str) -> None:
        count = self.number(form)
        if count > _INTEGER:
            raise DamagedPickle(f"an integer of {count} bytes is none")
        self.push(int.from_bytes(self.take(count), "little", signed=True))

    def put(self, key: int) -> None:
        if key < 0:
            raise DamagedPickle("a reference of it is negative")
        self.memo[key] = self.stack[-1]

    def get(self, key: int) -> None:
        self.push(self.memo[key])

    def named(self) -> None:
        module, attribute = (self.line(_LINE).decode() for _ in range(2))
        self.push(Name(module, attribute))

    def stacked_name(self) -> None:
        attribute, module = words(self.stack.pop()), words(self.stack.pop())
        if module is None or attribute is None or len(module) + len(attribute) > _LINE:
            raise DamagedPickle("a name of it is no text")
        self.push(Name(module, attribute))

    def call(self, function: Any, arguments: Any) -> None:
        if not isinstance(arguments, tuple):
            raise DamagedPickle("it calls with what are no arguments")
        call = Call(function.text if isinstance(function, Name) else describe(function), arguments)
        self.note(call)
        self.push(call)

    def reduce(self) -> None:
        arguments = self.stack.pop()
        self.call(self.stack.pop(), arguments)

    def new_with_names(self) -> None:
        names = self.stack.pop()
        arguments = self.stack.pop()
        self.call(self.stack.pop(), (*arguments, names))

    def instance(self) -> None:
        self.named()
        name = self.stack.pop()
        self.call(name, tuple(self.since_mark()))

    def object(self) -> None:
        function, *arguments = self.since_mark()
        self.call(function, tuple(arguments))

    def build(self) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        if not isinstance(made, Call) or made.state is not None:
            raise DamagedPickle("it gives a state to what takes none")
        made.state = state

    def add(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if isinstance(target, list):
            target.extend(items)
        elif isinstance(target, Call):
            target.items.extend(items)
        else:
            raise DamagedPickle("it adds items to what is no list")

    def set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, (Pairs, Call)) or len(items) % 2:
            raise DamagedPickle("it adds pairs to what is no dict")
        target.items.extend(zip(items[::2], items[1::2]))

    def pair(self) -> None:
        value = self.stack.pop()
        self.set([self.stack.pop(), value])

    def filled(self, target: Pairs | Call) -> None:
        items = self.since_mark()
        self.push(target)
        (self.set if isinstance(target, Pairs) else self.add)(items)

    def frame(self) -> None:
        count = self.number("<Q")
        self.check(count)
        if self.at - 9 < self.frame_end:
            raise DamagedPickle("a frame begins within another")
        self.frame_end = self.at + count

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.stack = self.outer.pop()

    def mark(self) -> None:
        self.outer.append(self.stack)
        self.stack = []

    def protocol(self) -> None:
        if self.take(1)[0] > 5:
            raise Unread("a pickle of a later protocol than 5", "write it with pickle.dump(array, file, protocol=4)")

    def top(self, count: int) -> None:
        if len(self.stack) < count:
            raise DamagedPickle("it takes more from its stack than lies there")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.push(items)

    def unread(self) -> NoReturn:
        raise Unread("what is not in the file (a buffer or an extension)", "write it with pickle.dump(array, file)")


_Operation = Callable[[_Reader], None]
_OPERATIONS: dict[int, _Operation] = {
    **{ord(code): operation for code, operation in {
        "(": _Reader.mark,
        "0": _Reader.pop,
        "1": lambda r: (r.since_mark(), None)[1],
        "2": lambda r: r.push(r.stack[-1]),
        "F": lambda r: r.push(float(r.line(_FLOAT))),
        "I": _Reader.decimal,
        "J": lambda r: r.push(r.number("<i")),
        "K": lambda r: r.push(r.number("B")),
        "L": _Reader.decimal,
        "M": lambda r: r.push(r.number("<H")),
        "N": lambda r: r.push(None),
        "P": lambda r: r.refer(r.line(_LINE).decode("latin-1")),
        "Q": lambda r: r.refer(r.stack.pop()),
        "R": _Reader.reduce,
        "S": _Reader.escaped,
        "T": lambda r: r.binary("<i"),
        "U": lambda r: r.binary("B"),
        "V": lambda r: r.push(r.line(r.size).decode("raw-unicode-escape")),
        "X": lambda r: r.text("<I"),
        "a": lambda r: r.add([r.stack.pop()]),
        "b": _Reader.build,
        "c": _Reader.named,
        "d": lambda r: r.filled(Pairs()),
        "e": lambda r: r.add(r.since_mark()),
        "g": lambda r: r.get(int(r.line(_FLOAT))),
        "h": lambda r: r.get(r.number("B")),
        "i": _Reader.instance,
        "j": lambda r: r.get(r.number("<I")),
        "l": lambda r: r.push(r.since_mark()),
        "o": _Reader.object,
        "p": lambda r: r.put(int(r.line(_FLOAT))),
        "q": lambda r: r.put(r.number("B")),
        "r": lambda r: r.put(r.number("<I")),
        "s": _Reader.pair,
        "t": lambda r: r.push(tuple(r.since_mark())),
        "u": lambda r: r.set(r.since_mark()),
        "B": lambda r: r.binary("<I"),
        "C": lambda r: r.binary("B"),
        "G": lambda r: r.push(r.number(">d")),
        ")": lambda r: r.push(()),
        "]": lambda r: r.push([]),
        "}": lambda r: r.push(Pairs()),
    }.items()},
    0x80: _Reader.protocol,
    0x81: _Reader.reduce,  # NEWOBJ
    0x82: _Reader.unread,  # EXT1, EXT2, EXT4
    0x83: _Reader.unread,
    0x84: _Reader.unread,
    0x85: lambda r: r.top(1),
    0x86: lambda r: r.top(2),
    0x87: lambda r: r.top(3),
    0x88: lambda r: r.push(True),
    0x89: lambda r: r.push(False),
    0x8A: lambda r: r.long("B"),
    0x8B: lambda r: r.long("<i"),
    0x8C: lambda r: r.text("B"),
    0x8D: lambda r: r.text("<Q"),
    0x8E: lambda r: r.binary("<Q"),
    0x8F: lambda r: r.push(Call("builtins.set", ())),
    0x90: lambda r: r.add(r.since_mark()),
    0x91: lambda r: r.filled(Call("builtins.frozenset", ())),
    0x92: _Reader.new_with_names,
    0x93: _Reader.stacked_name,
    0x94: lambda r: r.put(len(r.memo)),
    0x95: _Reader.frame,
    0x96: lambda r: r.push(r.blob(r.number("<Q"))),
    0x97: _Reader.unread,  # NEXT_BUFFER, READONLY_BUFFER
    0x98: _Reader.unread,
}  # fmt: skip
