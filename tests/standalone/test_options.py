"""Options of another evaluation function, and packages that a toolbox lacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gaitext.errors import ConfigError
from gaitext.standalone.check import check_options, evaluation_function
from gaitext.toolboxes.doctor import _missing_packages


def host(function: str, **options: Any) -> Any:
    dataset = options.pop("dataset", "PsyMo")
    data = SimpleNamespace(dataset_name=dataset, test_dataset_name=None)
    return SimpleNamespace(evaluator=SimpleNamespace(eval_func=function), evaluation=options, data=data)


def test_an_option_of_another_protocol_is_refused_with_whose_it_is() -> None:
    with pytest.raises(ConfigError, match="evaluate_indoor_dataset has no 'gallery': it is evaluate_PsyMo's") as caught:
        check_options(host("evaluate_indoor_dataset", gallery="nm"))
    assert caught.value.how == "leave it out, or write eval_func: evaluate_PsyMo"
    check_options(host("evaluate_PsyMo", gallery="nm"))
    check_options(host("HID_submission", whatever=1))  # a toolbox's own, which trains here all the same


def test_a_list_is_read_from_the_configs_partition() -> None:
    config = host("evaluate_Gait3D", dataset="Gait3D")
    config.data.dataset_partition = Path("here.json")
    function, arguments = evaluation_function(config)
    assert (function.__name__, arguments) == ("evaluate_Gait3D", {"partition": Path("here.json")})
    config.evaluation["partition"] = "there.json"
    assert evaluation_function(config)[1] == {"partition": "there.json"}
    for name in ("evaluate_FreeGait", "evaluate_CCGR_MINI"):
        config.evaluator.eval_func = name
        assert evaluation_function(config)[0].__name__ == name
    config = host("evaluate_real_scene", dataset="GREW")
    assert evaluation_function(config)[1] == {}


def test_what_the_evaluation_will_refuse_is_refused_before_training() -> None:
    with pytest.raises(ConfigError, match="evaluate_PsyMo is for PsyMo, not 'CASIA-B'"):
        check_options(host("evaluate_PsyMo", dataset="CASIA-B"))
    with pytest.raises(ConfigError, match="unknown gallery 'everything'"):
        check_options(host("evaluate_PsyMo", gallery="everything"))


def test_all_missing_packages_of_a_toolbox_are_named(tmp_path: Path) -> None:
    package = tmp_path / "opengait"
    (package / "data").mkdir(parents=True)
    (package / "main.py").write_text("import os, no_such_one\nfrom data import loader\nfrom no_such_two.x import y\n")
    text = "import numpy\nimport main\ntry:\n    import optional_one\nexcept ImportError:\n    pass\n"
    (package / "data/loader.py").write_text(text)
    (package / "broken.py").write_text("def (")
    assert _missing_packages(tmp_path, SimpleNamespace(package="opengait")) == ["no_such_one", "no_such_two"]  # type: ignore[arg-type]
