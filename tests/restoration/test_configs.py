"""The configs that ship are read, and say what the paper says."""

from pathlib import Path

from gaitext.config import load_yaml
from gaitext.restoration import CorrectionConfig
from gaitext.walkers import WalkerSettings

FOLDER = Path(__file__).parents[2] / "configs" / "correction"


def test_the_papers() -> None:
    config = CorrectionConfig.read(FOLDER / "paper.yaml")
    assert config.data.crops.window == (400, 600)
    assert config.model.sizes["channels"] == (64, 128, 256, 512)
    assert config.objective.quality == 0.5
    assert config.trainer.original_share == 0
    assert config.model_copy(update={"mode": "finetune"}).steps.batch_size == 240


def test_the_walkers() -> None:
    preset = load_yaml(FOLDER / "walkers.yaml")
    WalkerSettings.parse(preset["walkers"], where="walkers")
    data = {"degraded": "a", "truth": "b", "cache": "c"}
    preset["correction"]["data"] |= data
    config = CorrectionConfig.parse(preset["correction"], where="correction")
    assert config.estimator == "movenet:lightning"
    # The baseline has the same data and budget.
    tuned = config.finetune_trainer
    assert tuned is not None
    assert (tuned.iterations, tuned.batch_size) == (config.trainer.iterations, config.trainer.batch_size)
