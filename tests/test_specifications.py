"""NAME?OPTION=VALUE: one grammar for estimators, detectors, trackers, segmenters and engines."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaitext.config import split_options
from gaitext.errors import ConfigError
from gaitext.execution.actors import parse_engine
from gaitext.extraction.detect import load_detector
from gaitext.extraction.tracker import load_tracker
from gaitext.pose import load_estimator
from gaitext.segmentation import load_segmenter

WORDS = st.text("abc:/._-=0", min_size=1)


@given(st.text("abc:/._-=0"), st.dictionaries(st.text("abc_", min_size=1), WORDS))
def test_what_is_joined_comes_apart_again(name: str, options: dict[str, str]) -> None:
    joined = "&".join(f"{key}={value}" for key, value in options.items())
    assert split_options(f"{name}?{joined}" if options else name, where="test") == (name, options)


@pytest.mark.parametrize(
    ("load", "name", "where"),
    [
        (load_estimator, "movenet:lightning", "estimator"),
        (load_detector, "bundled", "detector"),
        (load_tracker, "overlap", "tracker"),
        (load_segmenter, "bundled", "segmenter"),
        (parse_engine, "ray", "engine"),
    ],
)
def test_all_of_them_refuse_the_same(load: Callable[[str], Any], name: str, where: str) -> None:
    for wrong, what in (("score", "'score' in .* is no option"), ("=1", "'=1' in"), ("a=1&a=2", "'a' is given twice")):
        with pytest.raises(ConfigError, match=f"^{where}: .*{what}"):
            load(f"{name}?{wrong}")
