"""Video corrected: every frame through a trained corrector, in order and at its time."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, model_validator

from gaitext.config import Settings
from gaitext.errors import VideoError, import_extra
from gaitext.execution import parse_engine
from gaitext.extraction import Correction
from gaitext.inspect.contact_sheet import check_picture
from gaitext.making import Entry, Progress, Records, as_read_back
from gaitext.models import FixedFBCNN, Tiles
from gaitext.pose.torch_estimator import chosen_device
from gaitext.restoration.appearance import Finished, PictureChange, write_preview
from gaitext.restoration.corrector import load_corrector
from gaitext.restoration.degrade import Degraded, DegradeSettings, degrade_video, timed_frames
from gaitext.restoration.videos import DegradeReport, Videos, make_videos
from gaitext.store import disk_errors
from gaitext.video.sources import VideoSource

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gaitext.making import Work

log = logging.getLogger(__name__)

Frames = npt.NDArray[np.uint8]
#: Pixels from tile to tile at least: networks get on in steps of 8 (of three levels), and slower is of no use.
_LEAST = 16
_UNMEASURED = "how far its pictures are from their input is not known: an earlier gaitext has corrected it"


class ApplySettings(Settings):
    """How video is corrected and written.

    Attributes:
        write: ``video``, H.264; or ``frames``, folders of PNG, in which nothing is lost again.
        crf: of written video.
        quality: 1 − QF/100; None takes what the corrector was trained with.
        tile: larger frames are cut into tiles of this size; 0 takes them whole.
        overlap: of neighbouring tiles.
        batch_size: tiles, or small frames, that go through at a time.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        bf16: compute in bfloat16.
        preview: draw ``OUT/preview.png``: a few frames before and after, and what has changed.
    """

    write: Literal["video", "frames"] = "video"
    crf: float = Field(10.0, ge=0, le=51)
    quality: float | None = Field(None, ge=0, le=1)
    tile: int = Field(512, ge=0)
    overlap: int = Field(96, ge=0)
    batch_size: int = Field(4, ge=1)
    device: str = "auto"
    bf16: bool = False
    preview: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> ApplySettings:
        if self.tile and self.overlap >= self.tile:
            raise ValueError(f"tiles of {self.tile} pixels cannot overlap by {self.overlap}")
        if self.tile and self.tile - self.overlap < _LEAST:
            raise ValueError(f"tiles of {self.tile} pixels that overlap by {self.overlap} hardly get on")
        return self


@dataclass
class ApplyReport(DegradeReport):
    """What became of videos that were corrected.

    Attributes:
        change: how far the corrector's pictures are from its input, before they are compressed again; of all videos,
            those that stood included.
        preview: where before and after are drawn, if anything is.
    """

    change: PictureChange = field(default_factory=PictureChange)
    preview: Path | None = None

    def lines(self) -> list[str]:
        lines = super().lines()
        if self.change.values:
            lines.append(f"corrected pictures against their input, not an original: {self.change}")
        return lines + ([f"before and after: {self.preview}"] if self.preview else [])


def correct_dataset(
    sources: Sequence[VideoSource],
    checkpoint: str | Path,
    out: str | Path,
    settings: ApplySettings | None = None,
    **work: Unpack[Work],
) -> ApplyReport:
    """Correct every source to ``out/videos/<id>/<type>/<view>.mp4``, or a folder of PNG of that name.

    Names, records, resuming and what becomes of sources that cannot be used are those of
    :func:`~gaitext.restoration.degrade_dataset`; records hold the checkpoint's digest, so that with another
    corrector everything is made again. They also hold how far the corrected pictures are from their input.

    Args:
        sources: what :func:`gaitext.video.sources.find_clips` found.
        checkpoint: for :func:`~gaitext.restoration.load_corrector`.
        out: output folder, on a file system that all workers see.
        settings: how to correct and write.
        work: see :class:`gaitext.making.Work`.

    Raises:
        CheckpointError: no corrector.
        ConfigError: no such device, wrong engine or shard.
        DataError: two sources for one video, or an output folder that cannot be written to.
    """
    settings = settings or ApplySettings()
    corrector = load_corrector(checkpoint, settings.quality)
    if parse_engine(work.get("engine", "local")).kind == "local":
        chosen_device(settings.device)  # an error once, and not of every video
    preview = Path(out) / "preview.png"
    if settings.preview:
        check_picture(preview)
    if corrector.correct_at == "input":
        log.warning("%s was trained on crops of 192×256, not on frames as they are in the video", checkpoint)
    # Where and how it is computed hardly changes the result.
    shown = settings.model_dump(mode="json", exclude={"device", "batch_size", "preview"})
    recorded = {**shown, "corrector": corrector.settings, "resolution": None}
    recipe = _Corrections(Path(out), recorded, Path(checkpoint), settings)
    report = make_videos(sources, recipe, **work)
    assert isinstance(report, ApplyReport)
    if settings.preview and (finished := recipe.finished(sources)):
        report.preview = write_preview(finished, preview)
    return report


@torch.inference_mode()
def correct_frames(network: FixedFBCNN, frames: Frames) -> Frames:
    """Correct RGB frames uint8 [T, H, W, 3], rounded to uint8 again."""
    device = network.head.weight.device
    images = torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 255
    restored = network(images).clamp_(0, 1).mul_(255).round_().to(torch.uint8)
    corrected: Frames = restored.permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return corrected


def load_correction(checkpoint: str | Path, device: str = "auto", quality: float | None = None) -> Correction:
    """A corrector as a function of pictures [N, 3, H, W] in 0..1, for floors below, and what is recorded of it.

    Args:
        checkpoint: for :func:`~gaitext.restoration.load_corrector`.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        quality: as for :func:`~gaitext.restoration.load_corrector`.

    Raises:
        CheckpointError: no corrector.
        ConfigError: no such device.
    """
    corrector = load_corrector(checkpoint, quality)
    network = corrector.fixed(device=chosen_device(device))

    def correct(images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            restored: torch.Tensor = network(images.to(network.head.weight.device))
        return restored.to(images.device)

    return Correction(correct, corrector.settings)


def correction_of_crops(checkpoint: str | Path, device: str = "auto", quality: float | None = None) -> Correction:
    """What ``gaitext extract --correct`` does to crops before the estimator sees them: :func:`load_correction`.

    A corrector that was trained on the video's own pixels (``correct_at: native``) corrects resized crops, too;
    a warning says so: correct the video first (``gaitext correct apply``).
    """
    correction = load_correction(checkpoint, device, quality)
    if correction.settings["correct_at"] == "native":
        log.warning("%s was trained on video's own pixels, and corrects resized crops now", checkpoint)
    return correction


@dataclass
class _Corrections(Videos):
    """Video made better, by a network that is loaded once a process."""

    checkpoint: Path
    settings: ApplySettings
    #: Of the video at hand.
    apart: PictureChange = field(default_factory=PictureChange)

    report = ApplyReport

    @property
    def suffix(self) -> str:
        return "" if self.settings.write == "frames" else ".mp4"

    @cached_property
    def network(self) -> FixedFBCNN:
        settings = self.settings
        return load_corrector(self.checkpoint, settings.quality).fixed(
            device=chosen_device(settings.device),
            dtype=torch.bfloat16 if settings.bf16 else torch.float32,
            tiles=Tiles(settings.tile, settings.overlap) if settings.tile else None,
            batch_size=settings.batch_size,
        )

    def finished(self, sources: Sequence[VideoSource]) -> list[Finished]:
        """Those of the videos that are corrected as the settings say, by whichever command."""
        found, recorded = [], as_read_back(self.recorded)
        for source in sources:
            entry, path = Records(self.out).get(self.name(source)), self.path(source)
            if entry is not None and entry["made_with"]["settings"] == recorded and path.exists():
                found.append(Finished(self.name(source), source.path, path, entry["kept"]))
        return found

    def create(self, source: VideoSource, path: Path, progress: Progress | None) -> Entry:
        self.apart = PictureChange()
        entry, apart = super().create(source, path, progress), self.apart
        numbers = {"psnr": round(apart.psnr, 3) if apart.squared else None, "mean": round(apart.mean, 4)}
        return {**entry, "change": {**asdict(apart), **numbers}}

    def reported(self, source: VideoSource, entry: Entry, made: bool) -> ApplyReport:
        report = super().reported(source, entry, made)
        assert isinstance(report, ApplyReport)
        if "change" in entry:
            report.change = PictureChange(*(entry["change"][each.name] for each in fields(PictureChange)))
        else:
            report.notes[self.name(source)] = [_UNMEASURED]
        return report

    def change(self, source: Path, path: Path, progress: Progress | None) -> Degraded:
        if self.settings.write == "frames":
            return self._write_frames(source, path, progress)
        settings = DegradeSettings(crf=self.settings.crf)
        return degrade_video(source, path, settings, through=self._corrected, progress=progress)

    def _corrected(self, frames: Iterator[tuple[int, Frames]]) -> Iterator[tuple[int, Frames]]:
        """Frames corrected a few at a time; those of several sizes, one at a time."""
        while few := list(islice(frames, self.settings.batch_size)):
            same = len({image.shape for _, image in few}) == 1
            for part in [few] if same else [[one] for one in few]:
                ticks, images = zip(*part)
                before = np.stack(images)
                after = correct_frames(self.network, before)
                self.apart.compare(before, after)
                yield from zip(ticks, after)

    def _write_frames(self, source: Path, path: Path, progress: Progress | None) -> Degraded:
        image: Any = import_extra("PIL.Image", "video", "writing pictures")
        done = Degraded()
        staging = path.with_name(f".{path.name}.tmp")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            with disk_errors(path):
                staging.mkdir(parents=True)
                with closing(timed_frames(source, done)) as frames:
                    for number, (_, frame) in enumerate(self._corrected(frames), 1):
                        aspect = done.pixel_aspect
                        # Pixels an inch, which PNG keeps as whole pixels a metre: more across, as they are narrower.
                        sides = (aspect.denominator, aspect.numerator)
                        shape = {} if aspect == 1 else {"dpi": tuple(1000 * side * 0.0254 for side in sides)}
                        image.fromarray(frame).save(staging / f"{number:06d}.png", **shape)
                        if progress is not None:
                            progress(number, None)
                if not done.frames:
                    raise VideoError("has no frames", where=source)
                shutil.rmtree(path, ignore_errors=True)
                staging.rename(path)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return done
