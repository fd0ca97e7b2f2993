"""Protocols and metrics of recognition and of poses, on plain numpy arrays."""

from gaitext.evaluation.analysis import Analysis, Condition, Confusion, analyse
from gaitext.evaluation.ccpg import evaluate_CCPG
from gaitext.evaluation.compare import Comparison, Difference, compare
from gaitext.evaluation.cross_view import PROTOCOLS, CrossView, cross_view, evaluate_indoor_dataset
from gaitext.evaluation.distances import distances
from gaitext.evaluation.gallery_probe import check_gallery_probe, evaluate_gallery_probe
from gaitext.evaluation.identities import by_identity
from gaitext.evaluation.keypoints import (
    COCO_SIGMAS,
    KeypointAP,
    box_areas,
    joint_boxes,
    joint_distances,
    keypoint_ap,
    oks,
    pose_distances,
)
from gaitext.evaluation.oem import evaluate_OEM
from gaitext.evaluation.pose import evaluate_pose
from gaitext.evaluation.protocols import FUNCTIONS
from gaitext.evaluation.psymo import check_PsyMo, evaluate_PsyMo
from gaitext.evaluation.ranking import Matches, Ranking, Sequences, chance_rank1, match, rank
from gaitext.evaluation.reid import (
    check_listed,
    evaluate_CCGR_MINI,
    evaluate_FreeGait,
    evaluate_Gait3D,
    evaluate_GREW_local,
    evaluate_real_scene,
)
from gaitext.evaluation.result import EvaluationResult, Gait, Table, check_table_path, write_result
from gaitext.evaluation.saved import Saved, check_saved_path, evaluate_file, read_saved, write_saved
from gaitext.evaluation.verification import OpenSet, Verification

__all__ = [
    "COCO_SIGMAS",
    "FUNCTIONS",
    "PROTOCOLS",
    "Analysis",
    "Comparison",
    "Condition",
    "Confusion",
    "CrossView",
    "Difference",
    "EvaluationResult",
    "Gait",
    "KeypointAP",
    "Matches",
    "OpenSet",
    "Ranking",
    "Saved",
    "Sequences",
    "Table",
    "Verification",
    "analyse",
    "box_areas",
    "by_identity",
    "chance_rank1",
    "check_PsyMo",
    "check_gallery_probe",
    "check_listed",
    "check_saved_path",
    "check_table_path",
    "compare",
    "cross_view",
    "distances",
    "evaluate_CCGR_MINI",
    "evaluate_CCPG",
    "evaluate_FreeGait",
    "evaluate_GREW_local",
    "evaluate_Gait3D",
    "evaluate_OEM",
    "evaluate_PsyMo",
    "evaluate_file",
    "evaluate_gallery_probe",
    "evaluate_indoor_dataset",
    "evaluate_pose",
    "evaluate_real_scene",
    "joint_boxes",
    "joint_distances",
    "keypoint_ap",
    "match",
    "oks",
    "pose_distances",
    "rank",
    "read_saved",
    "write_result",
    "write_saved",
]
