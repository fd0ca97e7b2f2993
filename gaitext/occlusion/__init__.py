"""Occlusions of walkers: drawn once per sequence, applied to silhouettes, heatmaps and poses (RG-Gait).

What is hidden is decided in one place, :func:`regions`; pixels, joints, labels and pictures all read
it there, so they cannot disagree. Everything is drawn on the CPU from a numpy generator, five numbers
an occlusion whatever its type, and applied on the device that the frames are on.

>>> settings = OcclusionSettings(types={"middle": 1.0})
>>> occlusion = draw_occlusion(settings, sequence_generator(0, "0001", "nm-01", "090"))
>>> region(occlusion, 0, 64, 48).tolist()
[16, 48, 0, 48]
"""

from gaitext.occlusion.applying import occlude, occlude_batch, occlude_pose_batch, occlude_poses, pose_boxes
from gaitext.occlusion.drawing import (
    OCCLUSION_TYPES,
    Occlusion,
    Occlusions,
    OcclusionSettings,
    OcclusionType,
    content_key,
    draw_occlusion,
    draw_occlusions,
    labels,
    occluded_shares,
    region,
    regions,
    sequence_generator,
)

__all__ = [
    "OCCLUSION_TYPES",
    "Occlusion",
    "OcclusionSettings",
    "OcclusionType",
    "Occlusions",
    "content_key",
    "draw_occlusion",
    "draw_occlusions",
    "labels",
    "occlude",
    "occlude_batch",
    "occlude_pose_batch",
    "occlude_poses",
    "occluded_shares",
    "pose_boxes",
    "region",
    "regions",
    "sequence_generator",
]
