"""From datasets as they are published, and from folders of own clips, to a tree that `gaitext extract` reads."""

from gaitext.extraction.prepare.found import Clip, Found
from gaitext.extraction.prepare.make import PrepareReport, prepare
from gaitext.extraction.prepare.pattern import find_own
from gaitext.extraction.prepare.published import find_casia_b, find_ccpg, find_sustech1k

__all__ = [
    "Clip",
    "Found",
    "PrepareReport",
    "find_casia_b",
    "find_ccpg",
    "find_own",
    "find_sustech1k",
    "prepare",
]
