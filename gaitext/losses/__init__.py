"""Losses on part-wise embeddings and logits, and on keypoints, with the toolboxes' meaning and signature.

Every loss takes its tensors by keyword, returns ``(loss, info)`` and carries a ``loss_term_weight``,
which whoever adds losses up multiplies with the loss's mean.
"""

from gaitext.losses.all_triplets_loss import AllTripletsLoss
from gaitext.losses.coordinate_l1_loss import CoordinateL1Loss
from gaitext.losses.cross_entropy_loss import CrossEntropyLoss
from gaitext.losses.loss import Info, Loss
from gaitext.losses.occlusion_loss import OcclusionLoss
from gaitext.losses.triplet_loss import BatchHardTripletLoss, TripletLoss

__all__ = [
    "AllTripletsLoss",
    "BatchHardTripletLoss",
    "CoordinateL1Loss",
    "CrossEntropyLoss",
    "Info",
    "Loss",
    "OcclusionLoss",
    "TripletLoss",
]
