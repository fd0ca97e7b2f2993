"""The configs that ship are read, and say what the paper says."""

from pathlib import Path

from gaitext.config import load_yaml
from gaitext.restoration import CorrectionConfig, RestorerConfig
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


def test_the_restorers() -> None:
    published = RestorerConfig.of(FOLDER / "restorer_paper.yaml")
    assert published.model.sizes["channels"] == (64, 128, 256, 512)
    assert (published.trainer.quality, published.trainer.quality_weight, published.trainer.h264) == ((10, 95), 0.1, 0)
    rates = [published.trainer.rate(at, published.trainer.iterations) for at in (0, 200_000, 1_799_999, 1_800_000)]
    assert rates == [1, 0.5, 0.5**4, 0.5**5]
    small = RestorerConfig.of(FOLDER / "restorer.yaml")
    assert small.data.crf == (30, 51)
    assert small.model.start == "identity"
