"""Studies: a YAML says what is trained and tested, one driver does it, tables and claims come out."""

from gaitext.studies.cells import Cell, Cells
from gaitext.studies.driver import StudyResult, run_study
from gaitext.studies.kinds import parse_study
from gaitext.studies.tasks import Running

__all__ = ["Cell", "Cells", "Running", "StudyResult", "parse_study", "run_study"]
