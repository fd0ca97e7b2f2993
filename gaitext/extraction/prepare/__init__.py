"""From datasets as they are published, and from folders of own clips, to trees that the rest reads.

Videos become a tree for `gaitext extract`, released poses (:mod:`.poses`) leaves for a toolbox.
"""

from gaitext.extraction.prepare.items import find_own
from gaitext.extraction.prepare.make import DATASETS, prepare
from gaitext.extraction.prepare.published import find_casia_b
from gaitext.extraction.prepare.report import PrepareReport

__all__ = ["DATASETS", "PrepareReport", "find_casia_b", "find_own", "prepare"]
