"""How long and how fast a network is trained: settings that several trainings share."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from gaitext.config import Settings


class StepSettings(Settings):
    """A rate that falls in steps.

    Attributes:
        at: when, in units of ``of``; a run of another length has them at the same shares of it.
        of: the whole: HRNet's 210 epochs, for example.
        factor: that the rate is multiplied by at each.
    """

    at: tuple[Annotated[float, Field(gt=0)], ...] = Field(min_length=1)
    of: float = Field(gt=0)
    factor: float = Field(0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _rising(self) -> StepSettings:
        if list(self.at) != sorted(set(self.at)) or self.at[-1] >= self.of:
            raise ValueError(f"at: {list(self.at)} do not rise towards {self.of:g}")
        return self

    def rate(self, share: float) -> float:
        """What is left of the rate after this share of the run."""
        return self.factor ** sum(share >= at / self.of for at in self.at)


class PaceSettings(Settings):
    """How long and how fast.

    Attributes:
        iterations: in all.
        batch_size: pictures an iteration, over all processes.
        lr: AdamW's highest rate.
        warmup: share of the iterations until it is highest; it falls to 0 by a cosine from there, or in ``steps``.
        steps: the rate's, instead of the cosine.
        weight_decay: AdamW's; with 0 it is Adam.
        clip: the gradient's largest norm; 0 does not clip.
        average: what is validated and kept as best are weights averaged over iterations: each step's count
            1 − this, all before this (0.98: over about 50). 0, as published, averages nothing.
        log_every, save_every, validate_every: iterations.
        validation_frames: at most so many, evenly spread; 0 takes all.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        images: corrections shown in TensorBoard's log; 0 shows none.
    """

    iterations: int = Field(10_000, ge=1)
    batch_size: int = Field(32, ge=1)
    lr: float = Field(1e-4, gt=0)
    warmup: float = Field(0.05, ge=0, le=1)
    steps: StepSettings | None = None
    weight_decay: float = Field(0.0, ge=0)
    clip: float = Field(0.0, ge=0)
    average: float = Field(0.0, ge=0, lt=1)
    log_every: int = Field(50, ge=1)
    save_every: int = Field(1000, ge=1)
    validate_every: int = Field(1000, ge=1)
    validation_frames: int = Field(0, ge=0)
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    images: int = Field(4, ge=0)

    def rate(self, iteration: int, length: int) -> float:
        """The share of ``lr`` at an iteration of ``length``: up in a straight line, then down."""
        rising = self.warmup * length
        if iteration < rising:
            return (iteration + 1) / (rising + 1)
        if self.steps is not None:
            return self.steps.rate(iteration / length)
        return 0.5 * (1 + math.cos(math.pi * (iteration - rising) / max(1.0, length - rising)))
