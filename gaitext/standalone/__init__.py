"""The embedded host: trains and tests gaitext's models where no toolbox is (extra ``standalone``)."""

from gaitext.standalone.check import DataReport, check_data
from gaitext.standalone.tester import TestResult
from gaitext.standalone.tester import run_test as test
from gaitext.standalone.trainer import TrainResult, train

__all__ = ["DataReport", "TestResult", "TrainResult", "check_data", "test", "train"]
