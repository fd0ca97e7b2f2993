"""From datasets as they are published, and from folders of own clips, to trees that the rest reads.

Videos become a tree for `gaitext extract`, released poses (:mod:`.poses`) leaves for a toolbox.
"""

from gaitext.extraction.prepare.items import Clip, Found, find_own
from gaitext.extraction.prepare.make import DATASETS, prepare, prepare_videos
from gaitext.extraction.prepare.poses.make import PosesReport, prepare_poses
from gaitext.extraction.prepare.published import find_casia_b, find_ccpg, find_sustech1k
from gaitext.extraction.prepare.report import PrepareReport

__all__ = [
    "DATASETS",
    "Clip",
    "Found",
    "PosesReport",
    "PrepareReport",
    "find_casia_b",
    "find_ccpg",
    "find_own",
    "find_sustech1k",
    "prepare",
    "prepare_poses",
    "prepare_videos",
]
