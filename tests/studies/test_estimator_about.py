"""What a study is made of names the contents of its estimator's files."""

from __future__ import annotations

from pathlib import Path

from gaitext.studies.tasks import digest_of, estimator_about


def test_new_weights_under_the_old_name_are_another_estimator(tmp_path: Path) -> None:
    config, weights = tmp_path / "config.py", tmp_path / "weights.pth"
    config.write_text("model = 1")
    weights.write_bytes(b"one")
    specification = f"mmpose:{config}:{weights}?flip_test=true"
    first = estimator_about(specification)
    assert estimator_about(specification) == first
    weights.write_bytes(b"two")
    assert digest_of(estimator_about(specification)) != digest_of(first)
    assert estimator_about("movenet:lightning") == "movenet:lightning"
