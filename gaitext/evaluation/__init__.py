"""Recognition protocols and metrics, on plain numpy arrays."""

from gaitext.evaluation.ccpg import evaluate_CCPG
from gaitext.evaluation.cross_view import PROTOCOLS, CrossView, cross_view, evaluate_indoor_dataset
from gaitext.evaluation.distances import distances
from gaitext.evaluation.oem import evaluate_OEM
from gaitext.evaluation.ranking import Ranking, chance_rank1, rank
from gaitext.evaluation.result import EvaluationResult, Gait, Table
from gaitext.evaluation.saved import evaluate_file

__all__ = [
    "PROTOCOLS",
    "CrossView",
    "EvaluationResult",
    "Gait",
    "Ranking",
    "Table",
    "chance_rank1",
    "cross_view",
    "distances",
    "evaluate_CCPG",
    "evaluate_OEM",
    "evaluate_file",
    "evaluate_indoor_dataset",
    "rank",
]
