"""A drawn person, the same on every machine, for networks that mask people."""

import numpy as np

#: Joints of a walking figure in a picture of height and width 1: x, y.
_PLACES = {
    "head": (0.52, 0.17), "neck": (0.50, 0.25), "hip": (0.48, 0.52), "knee": (0.58, 0.70), "foot": (0.60, 0.88),
    "other knee": (0.44, 0.71), "other foot": (0.32, 0.86), "elbow": (0.40, 0.38), "hand": (0.42, 0.52),
    "other elbow": (0.58, 0.39), "other hand": (0.66, 0.50),
}  # fmt: skip
#: From, to, radius, colour.
_LIMBS = (
    ("neck", "other elbow", 0.030, (0.25, 0.35, 0.55)), ("other elbow", "other hand", 0.024, (0.80, 0.62, 0.52)),
    ("hip", "other knee", 0.048, (0.16, 0.17, 0.24)), ("other knee", "other foot", 0.036, (0.15, 0.16, 0.22)),
    ("hip", "knee", 0.050, (0.18, 0.19, 0.27)), ("knee", "foot", 0.038, (0.17, 0.18, 0.25)),
    ("neck", "hip", 0.075, (0.28, 0.38, 0.60)), ("neck", "elbow", 0.034, (0.30, 0.41, 0.64)),
    ("elbow", "hand", 0.026, (0.82, 0.64, 0.54)), ("neck", "head", 0.028, (0.80, 0.62, 0.52)),
    ("head", "head", 0.055, (0.84, 0.66, 0.56)),
)  # fmt: skip


def draw_person(size: int = 256, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A person on a lawn before a wall: RGB uint8 [size, size, 3], and their mask, bool [size, size].

    Args:
        shift: to the right, as a share of the picture's width.
    """
    y, x = (np.mgrid[:size, :size] + 0.5) / size
    image = np.stack((0.62 + 0.1 * x, 0.62 + 0.08 * y, 0.60 + 0 * x), -1)
    image[y > 0.8] = (0.35, 0.48, 0.25)
    mask = np.zeros((size, size), bool)
    for one, two, radius, colour in _LIMBS:
        start, end = (np.add(_PLACES[place], (shift, 0)) for place in (one, two))
        way = end - start
        along = ((x - start[0]) * way[0] + (y - start[1]) * way[1]) / max(way @ way, 1e-9)
        along = np.clip(along, 0, 1)
        away = np.hypot(x - start[0] - along * way[0], y - start[1] - along * way[1])
        limb = away < radius
        shade = 0.75 + 0.25 * np.sqrt(np.clip(1 - (away / radius) ** 2, 0, 1))
        image[limb] = np.array(colour) * shade[limb][:, None]
        mask |= limb
    return (image * 255).round().astype(np.uint8), mask
