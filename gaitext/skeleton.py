"""The COCO-17 skeleton: joint names, mirror pairs, limbs, body partitions and joint orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, nearest, suggest

#: COCO keypoint names in channel order (spec: COCO-17 order).
COCO_JOINTS: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)

#: Of each of COCO's joints, which of OpenPose's 18 it is: nose, neck, right arm, left arm, right leg, left leg, then
#: eyes and ears from right to left, as OUMVLP-Pose has them. The neck is none of COCO's.
OPENPOSE_18: tuple[int, ...] = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)

#: Shoulders and hips: neck and hip are their middles, and alignment reads nothing else.
SPINE_JOINTS: tuple[int, ...] = (5, 6, 11, 12)

#: Pairs of joints that change places when the image is mirrored.
MIRROR_PAIRS: tuple[tuple[int, int], ...] = tuple((i, i + 1) for i in range(1, 17, 2))

#: Pairs of joints that bones connect, for drawing and for rasterised limbs.
LIMBS: tuple[tuple[int, int], ...] = (
    (0, 1), (0, 2), (1, 3), (2, 4),
    (5, 6), (5, 7), (7, 9), (6, 8), (8, 10),
    (5, 11), (6, 12), (11, 12),
    (11, 13), (13, 15), (12, 14), (14, 16),
)  # fmt: skip

_HEAD = (0, 1, 2, 3, 4)
_TORSO = (5, 6, 11, 12)
_ARMS = (5, 6, 7, 8, 9, 10)
_LEGS = (11, 12, 13, 14, 15, 16)

#: A partition U = {u_1 … u_K} of the body: part name -> joint (channel) indices.
Partition = dict[str, tuple[int, ...]]
#: What a setting may hold: a name, part name -> indices, or a plain list of index lists.
PartitionLike = Union[str, Mapping[str, Sequence[int]], Sequence[Sequence[int]]]

#: Named partitions. ``upper_lower`` (K = 2) is the default, as in the GaitHeat release.
PARTITIONS: dict[str, Partition] = {
    "upper_lower": {"upper": _HEAD + _ARMS, "lower": _LEGS},
    "left_right": {
        "left": (0, 1, 3, 5, 7, 9, 11, 13, 15),
        "right": (0, 2, 4, 6, 8, 10, 12, 14, 16),
    },
    "head_torso_arms_legs": {"head": _HEAD, "torso": _TORSO, "arms": (7, 8, 9, 10), "legs": _LEGS[2:]},
    "limbs": {
        "left_arm": (5, 7, 9),
        "right_arm": (6, 8, 10),
        "left_leg": (11, 13, 15),
        "right_leg": (12, 14, 16),
    },
    "head_arms_legs": {"head": _HEAD, "arms": _ARMS, "legs": _LEGS},
}


def resolve_partition(partition: PartitionLike, joints: int = 17, *, where: object = "partition") -> Partition:
    """Turn a partition's name, mapping or list of lists into a checked :data:`Partition`.

    Args:
        partition: a key of :data:`PARTITIONS`, ``{part: [indices]}`` or ``[[indices], …]``
            (whose parts are then called ``part0``, ``part1``, …).
        joints: number of channels the indices refer to.
        where: named in the error.

    Raises:
        ConfigError: unknown name, empty part, or an index outside ``0 … joints - 1``.

    >>> sorted(resolve_partition("upper_lower"))
    ['lower', 'upper']
    """
    if isinstance(partition, str):
        if partition not in PARTITIONS:
            guess = nearest(partition, PARTITIONS)
            hint = f"did you mean '{guess}'? " if guess else ""
            raise ConfigError(
                f"unknown partition '{partition}'",
                where=where,
                how=f"{hint}named partitions are {', '.join(PARTITIONS)}; or give lists of joint indices",
            )
        named: Mapping[str, object] = PARTITIONS[partition]
    elif isinstance(partition, Mapping):
        named = partition
    elif isinstance(partition, Sequence):
        named = {f"part{i}": part for i, part in enumerate(partition)}
    else:
        named = {"partition": partition}
    if not named:
        raise ConfigError("a partition needs at least one part", where=where)
    resolved: Partition = {}
    for name, indices in named.items():
        if not isinstance(indices, Sequence) or not all(type(i) is int for i in indices):
            raise ConfigError(
                f"'{name}' holds {indices!r}, not a list of joint indices",
                where=where,
                how="give a name, such as upper_lower, or lists such as [[0, 1, 2], [3, 4]]",
            )
        resolved[str(name)] = tuple(indices)
        if not resolved[str(name)]:
            raise ConfigError(f"part '{name}' has no joints", where=where)
        wrong = [i for i in resolved[str(name)] if not 0 <= i < joints]
        if wrong:
            raise ConfigError(f"part '{name}' names joint {wrong[0]}", where=where, how=f"joints are 0 to {joints - 1}")
    return resolved


def merge_parts(heatmaps: npt.NDArray[Any], partition: PartitionLike) -> npt.NDArray[Any]:
    """Merge joints into parts by their maximum (GaitHeat, Eq. 5): [T, V, H, W] -> [T, K, H, W].

    Raises:
        ConfigError: no such partition, or of other joints.
    """
    parts = resolve_partition(partition, heatmaps.shape[1])
    return np.stack([heatmaps[:, list(part)].max(1) for part in parts.values()], 1)


def joint_mirror(joints: int = 17) -> tuple[int, ...]:
    """Permutation of the channels that a mirrored image asks for: ``mirrored = x[perm]``."""
    if joints != 17:
        raise ConfigError(f"the mirror is known for COCO-17, not for {joints} joints", where="joint_mirror")
    permutation = list(range(joints))
    for left, right in MIRROR_PAIRS:
        permutation[left], permutation[right] = right, left
    return tuple(permutation)


def part_mirror(partition: PartitionLike) -> tuple[int, ...]:
    """Permutation of the K part channels that a mirrored image asks for.

    A part goes to the part that holds the mirror images of its joints: upper to upper,
    left to right.

    Raises:
        ConfigError: some part's mirror image is not a part of the partition.
    """
    mirror = joint_mirror()
    parts = resolve_partition(partition)
    sets = [frozenset(part) for part in parts.values()]
    permutation = []
    for name, part in parts.items():
        image = frozenset(mirror[i] for i in part)
        if image not in sets:
            raise ConfigError(
                f"part '{name}' has no mirror image in the partition, so it cannot be flipped",
                where="partition",
                how="leave the flip out, or use a partition that is closed under left/right",
            )
        permutation.append(sets.index(image))
    return tuple(permutation)


#: What a joint order calls the copy of the nose that fills the head up to six points (GaitPT).
NOSE_COPY = 17

#: GaitPT's orders of the 17 joints and the nose's copy. Neighbours become a patch: three joints a
#: limb, two limbs a body part, three body parts the body.
POSE_ORDERS: dict[str, tuple[int, ...]] = {
    "head_upper_lower": (0, 1, 3, 17, 2, 4, 5, 7, 9, 6, 8, 10, 11, 13, 15, 12, 14, 16),
    "head_left_right": (0, 1, 3, 17, 2, 4, 5, 7, 9, 11, 13, 15, 6, 8, 10, 12, 14, 16),
    "head_opposite": (0, 1, 3, 17, 2, 4, 5, 7, 9, 12, 14, 16, 6, 8, 10, 11, 13, 15),
}


def resolve_order(order: str | Sequence[int], joints: int = 18, *, where: object = "partition") -> tuple[int, ...]:
    """Turn a joint order's name or list into checked indices: place -> joint.

    Args:
        order: a key of :data:`POSE_ORDERS`, or ``joints`` different indices, 0 to 16 for COCO's
            joints and 17 (:data:`NOSE_COPY`) for the nose once more.
        joints: how many places the order fills.
        where: named in the error.

    Raises:
        ConfigError: unknown name, wrong number of indices, a joint twice or one that is not there.

    >>> resolve_order("head_left_right")[:6]
    (0, 1, 3, 17, 2, 4)
    """
    if isinstance(order, str):
        if order not in POSE_ORDERS:
            raise ConfigError(
                f"unknown joint order '{order}'",
                where=where,
                how=f"{suggest(order, POSE_ORDERS)} Or give a list of {joints} joint indices",
            )
        resolved = POSE_ORDERS[order]
    elif isinstance(order, Sequence) and all(type(i) is int for i in order):
        resolved = tuple(int(i) for i in order)
    else:
        raise ConfigError(
            f"holds {order!r}, neither a name nor a list of joint indices",
            where=where,
            how=f"give one of {', '.join(POSE_ORDERS)}, or a list of {joints} joint indices",
        )
    how = f"give each place one joint: 0 to 16, and {NOSE_COPY} for the nose's copy"
    if len(resolved) != joints:
        raise ConfigError(f"orders {len(resolved)} joints, not {joints}", where=where, how=how)
    wrong = [i for i in resolved if not 0 <= i <= NOSE_COPY]
    if wrong:
        raise ConfigError(f"names joint {wrong[0]}", where=where, how=how)
    twice = [i for i in resolved if resolved.count(i) > 1]
    if twice:
        raise ConfigError(f"names joint {twice[0]} twice", where=where, how=how)
    return resolved


def coco_rows(order: str | Sequence[int], joints: int = 18) -> tuple[int, ...]:
    """The COCO-17 joint that stands at each place of an order: ``ordered = pose[..., rows, :]``.

    >>> coco_rows("head_upper_lower")[:6]
    (0, 1, 3, 0, 2, 4)
    """
    return tuple(0 if i == NOSE_COPY else i for i in resolve_order(order, joints))


def order_mirror(order: str | Sequence[int], joints: int = 18, *, where: object = "partition") -> tuple[int, ...]:
    """Permutation of an order's places that exchanges left and right joints: ``mirrored = x[perm]``.

    Raises:
        ConfigError: the order lacks the mirror image of one of its joints.
    """
    places = resolve_order(order, joints, where=where)
    mirror = (*joint_mirror(), NOSE_COPY)
    for joint in places:
        if mirror[joint] not in places:
            raise ConfigError(
                f"joint {joint} has no mirror image in the order, so left and right cannot be exchanged",
                where=where,
                how="leave the exchange out, or order both joints of every pair",
            )
    return tuple(places.index(mirror[joint]) for joint in places)
