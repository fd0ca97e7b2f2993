"""From datasets as they are published, and from folders of own clips, to trees that the rest reads.

Videos become a tree for `gaitext extract`, released poses and silhouettes (:mod:`.released`) leaves for a toolbox.
"""

from gaitext.extraction.prepare.items import Clip, Found, find_own
from gaitext.extraction.prepare.make import DATASETS, prepare, prepare_videos
from gaitext.extraction.prepare.published import find_casia_b, find_ccpg, find_sustech1k
from gaitext.extraction.prepare.released import ReleasedReport, prepare_released
from gaitext.extraction.prepare.report import PrepareReport

__all__ = [
    "DATASETS",
    "Clip",
    "Found",
    "PrepareReport",
    "ReleasedReport",
    "find_casia_b",
    "find_ccpg",
    "find_own",
    "find_sustech1k",
    "prepare",
    "prepare_released",
    "prepare_videos",
]
