"""Which frame a picture's file name means, where nothing else says it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

__all__ = ["first_number", "numbers_in"]

_DIGITS = re.compile(r"[0-9]+")
#: What CVAT calls a video's frames; it counts them from 0.
_CVAT = re.compile(r"frame_[0-9]{6}\.PNG")
#: No video has more frames.
_MOST = 10**8


def numbers_in(names: Sequence[str]) -> list[int] | str:
    """The number in each file name: the only one in which they differ, and the last of a lone name.

    Folders and suffixes do not count.

    Returns:
        The numbers in the order of the names, or why there are none.

    >>> numbers_in(["cam2/frame_000000.PNG", "cam2/frame_000002.PNG"])
    [0, 2]
    >>> numbers_in(["left.jpg", "right.jpg"])
    "'left.jpg' and 'right.jpg' differ in more than a number"
    """
    stems = [PurePosixPath(name).stem for name in names]
    texts = [_DIGITS.sub("#", stem) for stem in stems]
    for name, text in zip(names, texts):
        if text != texts[0]:
            return f"'{names[0]}' and '{name}' differ in more than a number"
    if names and "#" not in texts[0]:
        return f"'{names[0]}' holds no number"
    found = [_DIGITS.findall(stem) for stem in stems]
    differ = [place for place, digits in enumerate(zip(*found)) if len({int(d[-18:]) for d in digits}) > 1]
    if len(differ) > 1:
        return f"the file names, such as '{names[0]}', differ in {len(differ)} numbers"
    place = differ[0] if differ else -1
    if any(len(digits[place].lstrip("0")) > len(str(_MOST)) for digits in found):
        return f"the file names' numbers, such as in '{names[0]}', are too large for a frame's"
    return [int(digits[place]) for digits in found]


def first_number(numbers: Sequence[int], names: Sequence[str]) -> int | str:
    """From what file names' numbers are counted: from 0 where there is a 0, from 1 where there is a 1 and no 0.

    CVAT's names (``frame_000001.PNG``) count from 0; without a 0 among them nothing tells whether they are
    CVAT's, or some that count from 1.

    Returns:
        0 or 1, or why neither is sure.
    """
    if 0 in numbers:
        return 0
    if 1 not in numbers:
        return f"the file names' numbers begin with {min(numbers)}, so that nothing says whether they count from 0 or 1"
    if any(_CVAT.fullmatch(PurePosixPath(name).name) for name in names):
        return "the file names are like CVAT's, which count from 0, and there is no 0 among them"
    return 1
