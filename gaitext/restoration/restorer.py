"""Training a restorer: FBCNN as it was published, on JPEG and on H.264, before it is shown any pose."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gaitext.checkpoints import load
from gaitext.errors import DataError
from gaitext.models import FBCNN
from gaitext.restoration.footage import Clip, prepare_footage
from gaitext.restoration.patches import MACROBLOCK, PatchData, Patches, jpeg, middle
from gaitext.restoration.restored import MEASURES, Measured, measure
from gaitext.restoration.restorer_settings import PixelLoss, RestorerConfig, RestorerModelSettings
from gaitext.store import atomic_path, disk_errors
from gaitext.training.best import BEST, BestJob, BestRun, BestTraining, check_batch, run_folder
from gaitext.training.launch import launch, repeatable, resolve_device, resolve_precision

log = logging.getLogger(__name__)

#: The quality factor of the pictures shown in TensorBoard's log.
_SHOWN = 10


@dataclass(frozen=True)
class RestorerRun(BestRun):
    """What a run left: ``validations`` hold the mean ``gain`` of PSNR (dB), by which the best is chosen, that of each
    way to compress, and ``quality-error``.

    Attributes:
        measured: what ``best.pt`` does to held-out frames; ``restoration.csv`` in the folder.
    """

    measured: list[Measured]


@dataclass(frozen=True)
class RestorerJob(BestJob):
    """What every process is given.

    Attributes:
        training, held_out: clips and pictures.
    """

    training: list[Clip]
    held_out: list[Clip]


class RestorerObjective(nn.Module):
    """FBCNN's losses: the L1 distance from the original, and λ times that of the predicted quality from its label.

    Args:
        network: of which every part trains.
        quality_weight: λ.
        pixel_loss: ``l1``, as published, or ``l2``, the mean of squares.
    """

    def __init__(self, network: FBCNN, quality_weight: float, pixel_loss: PixelLoss = "l1") -> None:
        super().__init__()
        self.network, self.quality_weight = network, quality_weight
        self.compare = F.mse_loss if pixel_loss == "l2" else F.l1_loss

    def forward(self, images: Tensor, originals: Tensor, quality: Tensor) -> dict[str, Tensor]:
        """``loss``, and its parts ``pixels`` and ``quality``.

        Args:
            images, originals: uint8 [N, 3, H, W].
            quality: [N, 1], true 1 − QF/100, or what stands for it.
        """
        restored, said = self.network.restore(images.float() / 255)
        pixels = self.compare(restored.float(), originals.float() / 255)
        error = F.l1_loss(said.float(), quality)
        return {"loss": pixels + self.quality_weight * error, "pixels": pixels, "quality": error}


def build_restorer(settings: RestorerModelSettings) -> FBCNN:
    """FBCNN as the settings say, on the CPU; fresh weights are torch's current generator's.

    Raises:
        CheckpointError: ``weights`` cannot be read or do not fit.
    """
    network = FBCNN(**settings.sizes)
    if settings.weights is not None:
        load(network, settings.weights)
    elif settings.start == "identity":
        network.start_as_identity()
    return network


def run_restorer(fabric: Any, job: RestorerJob) -> RestorerRun:
    """Train in this process; torch's random state outside is left alone."""
    with repeatable(fabric.device), disk_errors(job.folder):
        training = RestorerTraining(fabric, job)
        run = training.run()
        return RestorerRun(**vars(run), measured=training.measure_best())


class RestorerTraining(BestTraining):
    """One process's part of a run."""

    remedy = "lower trainer.lr, set trainer.clip, or raise the precision, and go on with --resume"
    shown = ("loss", "pixels", "quality", "lr")
    command = "gaitext correct pretrain"
    fixed = ("model",)
    validates_start = True

    def __init__(self, fabric: Any, job: RestorerJob) -> None:
        config = RestorerConfig.parse(job.config, where="config")
        self.cfg = config.trainer
        self.training = PatchData(job.training, self.cfg.patch)
        self.held_out = PatchData(job.held_out, MACROBLOCK)
        if self.cfg.h264 and not self.training.pairs:
            raise DataError("all videos are held out or too small", where="data.videos", how="give more")
        torch.manual_seed(job.seed)
        self.network = build_restorer(config.model)
        objective = RestorerObjective(self.network, self.cfg.quality_weight, self.cfg.pixel_loss)
        super().__init__(fabric, objective, self.network, job, self.cfg, self.cfg.iterations)

    def draw(self, iteration: int) -> Patches:
        fabric = self.fabric
        return self.training.draw(self.cfg, self.seed, iteration, rank=fabric.global_rank, world=fabric.world_size)

    def forward(self, batch: Patches) -> tuple[Tensor, Mapping[str, Tensor]]:
        losses = self.wrapped(*batch.to(self.fabric.device))
        return losses["loss"], losses

    def validate(self) -> tuple[dict[str, float], float]:
        """The gain of PSNR on held-out frames."""
        measured = self._measure()
        gain = float(np.mean([each.gain for each in measured]))
        error = float(np.mean([each.quality_error for each in measured]))
        if self.cfg.images:
            self._show()
        return {"gain": gain, **{each.name: each.gain for each in measured}, "quality-error": error}, gain

    def _measure(self) -> list[Measured]:
        fabric = self.fabric
        at, place = self.held_out.spread(self.cfg.validation_frames), (fabric.global_rank, fabric.world_size)
        return measure(
            self._restore,
            self.held_out,
            at,
            self.cfg.validation_size,
            device=fabric.device,
            rank=place[0],
            world=place[1],
        )

    def _restore(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Not through the wrapper: processes may call it differently often."""
        with self.fabric.autocast():
            return self.network.restore(images)

    @torch.no_grad()
    def _show(self) -> None:
        """JPEGs, restored and original, beside one another."""
        if self.writer is None:
            return
        for number, (clip, row) in enumerate(self.held_out.spread(self.cfg.images)):
            original = middle(self.held_out.original(clip, row), self.cfg.validation_size)
            images = [torch.from_numpy(image).float() / 255 for image in (jpeg(original, _SHOWN), original)]
            restored = self._restore(images[0][None].to(self.fabric.device))[0][0].float().cpu().clamp(0, 1)
            row_of = torch.cat((images[0], restored, images[1]), -1)
            self.writer.add_image(f"JPEG {_SHOWN}, restored, original/{number}", row_of, self.iteration)

    def measure_best(self) -> list[Measured]:
        """What ``best.pt`` does to held-out frames, also in ``restoration.csv``; its weights are the network's then."""
        load(self.network, self.folder / BEST)
        self.network.eval()
        measured = self._measure()
        if self.first:
            path = self.folder / "restoration.csv"
            with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
                rows = [each.row() for each in measured]
                writer = csv.DictWriter(stream, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        return measured

    def notes(self) -> dict[str, Any]:
        return super().notes() | {"kind": "restorer"}


def restoration_table(measured: list[Measured]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Headings and named rows for people: before → after."""
    rows = []
    for each in measured:
        name = f"JPEG {each.level:g}" if each.codec == "jpeg" else f"crf {each.level:g}"
        values = [f"{each.before[of]:.{n}f}→{each.after[of]:.{n}f}" for of, n in zip(MEASURES, (2, 3, 2))]
        rows.append((name, [*values, f"{each.quality_error:.3f}", str(each.frames)]))
    return [*MEASURES, "quality off", "frames"], rows


def train_restorer(
    config: str | Path | Mapping[str, Any] | RestorerConfig,
    *,
    device: str = "cpu",
    devices: int = 1,
    precision: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    seed: int = 0,
    output: str | Path = "output",
    workers: int = 0,
    quiet: bool = False,
) -> RestorerRun:
    """Train FBCNN to restore pictures as a config says; the folder is ``output/<name>``.

    Every draw is a function of ``seed``, the iteration and the place in the batch, so that a run that was killed and
    resumed gives the numbers of one that was not. ``best.pt`` has the weights that gained most PSNR on held-out frames;
    it is a corrector for every command, and ``model.weights`` of :func:`~gaitext.restoration.train_correction`.

    Args:
        config: a YAML file (:class:`~gaitext.restoration.RestorerConfig`), its contents, or the settings.
        device: ``cpu``, ``cuda`` or ``auto``.
        devices: processes, one per GPU. Under torchrun its processes are used.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``; None: as the config says.
        resume: go on from the latest checkpoint, if there is one.
        overwrite: begin anew where a run has left checkpoints; its folder is renamed, not deleted.
        seed: of the weights and of what is drawn.
        output: the folder that holds all runs.
        workers: processes that unpack and encode.
        quiet: no progress bar.

    Raises:
        ConfigError: the config is wrong, or the run's folder holds checkpoints and neither ``resume`` nor
            ``overwrite`` is given.
        DataError, VideoError: pictures or videos are missing or damaged, or the loss is no longer a number.
        CheckpointError: weights are missing or of other sizes.
        MissingDependencyError: lightning, PyAV or Pillow is not installed.
    """
    settings = RestorerConfig.of(config)
    check_batch(settings.trainer.batch_size, devices)
    device = resolve_device(device)
    chosen = resolve_precision(precision, settings.trainer.precision, False, device)
    folder = Path(output) / settings.name
    with run_folder(folder, resume=resume, overwrite=overwrite) as latest:
        with torch.random.fork_rng(devices=[]):
            build_restorer(settings.model)  # before the videos, which may take hours: its weights can be read
        training, held_out = prepare_footage(settings.data, workers=workers, quiet=quiet)
        plain = json.loads(settings.model_dump_json())
        job = RestorerJob(plain, folder, latest, overwrite, seed, quiet, training, held_out)
        run: RestorerRun = launch(run_restorer, job, device=device, devices=devices, precision=chosen)
    return run
