"""Where a study of artifact correction tests: its own people or others, rendered or filmed, degraded and cut."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.extraction import ExtractSettings, Source, extract_dataset
from gaitext.making import Records, frame_numbers
from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.restoration.crop_data import CropData, read_split
from gaitext.restoration.crops import prepare_crops
from gaitext.restoration.settings import CropSettings
from gaitext.restoration.targets import Targets, find_targets
from gaitext.studies.compression_data import CompressionData, clips_about, rendered
from gaitext.studies.compression_settings import DomainSettings, Place
from gaitext.studies.tasks import Task, digest_of, estimator_about, finish
from gaitext.video.sources import VideoSource, find_clips, find_videos
from gaitext.walkers import WalkerSettings, write_dataset

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Domain:
    """People to test on.

    Args:
        name: of the domain; empty: the study's own, of whom others train.
        data: the study's.
    """

    name: str
    data: CompressionData

    @property
    def settings(self) -> DomainSettings | None:
        """None: the study's own people."""
        return self.data.settings.domains[self.name] if self.name else None

    @property
    def walkers(self) -> WalkerSettings | None:
        own = self.settings
        if own is None:
            return self.data.walkers
        return None if own.walkers is None else WalkerSettings.parse(own.walkers, where=f"domains.{self.name}.walkers")

    @property
    def is_filmed(self) -> bool:
        """Whether they are videos that a domain names."""
        return self.settings is not None and self.settings.videos is not None

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the originals and their truth are."""
        own = self.settings
        if own is None:
            return self.data.videos_about
        if self.walkers is not None:
            return {"walkers": self.walkers.model_dump(mode="json")}
        assert own.videos is not None
        return {"videos": clips_about(own.videos), "estimator": estimator_about(own.estimator)}

    @property
    def truth(self) -> Path:
        """What :func:`~gaitext.restoration.find_targets` takes for the truth."""
        if self.settings is None:
            return self.data.truth
        if self.walkers is not None:
            return rendered(self.data.folder, self.walkers)
        return self.data.folder / f"{self.name}-{digest_of(self.about)}"

    @property
    def boxes(self) -> Path | None:
        """Likewise for the boxes."""
        if self.settings is None:
            return self.data.config.data.boxes
        return self.truth / "boxes" if self.is_filmed else None

    def videos(self) -> list[Source]:
        """The originals of a domain of videos, those of a folder or of a tree, in which a detector finds people."""
        assert self.settings is not None
        assert self.settings.videos is not None
        found = find_clips(self.settings.videos.resolve())
        return [Source(video.path, video.identity, video.type, video.view) for video in found]

    def task(self) -> Task:
        """Makes the originals and their truth."""
        if self.settings is None:
            return self.data.videos_task()
        done = self.data.folder / f"{self.name}-{digest_of(self.about)}.json"
        return Task(f"data {self.name}", _make_domain, self, done, self.about, alone=True)

    def crops(self, place: Place, *, whole: bool = False) -> TestCrops:
        """Crops for the poses of a place, which lies in this domain; ``original`` has those of ``degraded``.

        Args:
            place: see there.
            whole: those that are recognised, too, and not those alone that poses are measured in.
        """
        settings, config = self.data.settings, self.data.config
        degrade: DegradeSettings | None = settings.degrade
        if place.crf is not None:
            degrade = settings.degrade.model_copy(update={"crf": place.crf, "bitrate": None})
        elif self.settings is None:
            degrade = None
        cut = settings.crops_in(self.name, config.data.crops).model_copy(update={"stride": 1})
        min_score = self.settings.min_score if self.settings and self.is_filmed else config.data.min_score
        stride = settings.recognition_stride if whole else settings.stride_in(self.name)
        return TestCrops(self, degrade, cut, min_score, stride)


@dataclass(frozen=True)
class TestCrops:
    """Crops of a domain's test people, of original video and of a degraded version.

    Args:
        domain: whose.
        degrade: how it is degraded; None: as the study's training videos are, which is done.
        settings: how crops are cut.
        min_score: true joints of a lower score are not known.
        stride: cut frames whose number, from 0, is a multiple.
    """

    __test__ = False  # no test class, whatever pytest thinks

    domain: Domain
    degrade: DegradeSettings | None
    settings: CropSettings
    min_score: float
    stride: int

    @property
    def about(self) -> dict[str, Any]:
        data = self.domain.data
        own = data.about if self.domain.settings is None else {}
        degrade = None if self.degrade is None else self.degrade.model_dump(mode="json")
        cut = {"crops": self.settings.model_dump(mode="json"), "min_score": self.min_score, "stride": self.stride}
        return {**self.domain.about, **own, "degraded": degrade, **cut}

    @property
    def degraded(self) -> Path:
        """The degraded videos."""
        if self.degrade is None:
            return self.domain.data.degraded
        made = {"of": self.domain.about, "degrade": self.degrade.model_dump(mode="json")}
        return self.domain.data.folder / f"degraded-{digest_of(made)}"

    @property
    def folder(self) -> Path:
        return self.domain.data.folder / f"test-crops-{digest_of(self.about)}"

    @property
    def done(self) -> Path:
        """Names the crops, for :func:`read_crops`."""
        return self.folder.with_suffix(".json")

    def task(self) -> Task:
        whose = f" of {self.domain.name}" if self.domain.name else ""
        factor = None if self.degrade is None else self.degrade.rate_factor
        name = f"data test crops{whose}{'' if factor is None else f', crf {factor:g}'}"
        return Task(name, _make_crops, self, self.done, self.about, (self.domain.task().name,), alone=True)

    def tested(self, identities: Sequence[str]) -> set[str]:
        """Who of those that are there is tested: all, but of the study's own the split's."""
        if self.domain.settings is not None:
            return set(identities)
        data = self.domain.data.config.data
        return set(read_split(data.split, identities, data.split_seed).test)


def _make_domain(domain: Domain) -> None:
    data, own = domain.data, domain.settings
    assert own is not None
    if domain.walkers is not None:
        write_dataset(domain.walkers, domain.truth, data.workers, quiet=data.quiet)
    else:
        # Of a video that lies alone all people are taken, each a sequence of the video's name.
        lone = domain.videos()[0].place is None
        names = {"identity": "{video}", "type": "person-{track:02d}", "view": "000"} if lone else {}
        settings = ExtractSettings.parse({"content": ("poses_frame", "boxes"), **names}, where="extract")
        report = extract_dataset(
            domain.videos(), own.estimator, domain.truth, settings, workers=data.workers, quiet=data.quiet
        )
        if not report.written and not report.standing:
            raise DataError(f"nothing could be made of its videos:\n{report}", where=own.videos)
        log.log(logging.WARNING if report.failed else logging.INFO, "%s: %s", own.videos, report)
    finish(domain.task().done, domain.about)


def _originals(crops: TestCrops) -> list[VideoSource]:
    """Videos of those who are tested, named after their sequences."""
    truth = crops.domain.truth
    if (truth / "walkers.json").is_file():
        sources = find_videos(truth / "videos")
    else:  # of a video with several people's sequences the first names it
        named = {entry["video"]: leaf for leaf, entry in reversed(list(Records(truth).all())) if "video" in entry}
        sources = [VideoSource(Path(video), *leaf.split("/")) for video, leaf in named.items()]
    tested = crops.tested([str(source.identity) for source in sources])
    return [source for source in sources if source.identity in tested]


def _make_crops(crops: TestCrops) -> None:
    domain, data = crops.domain, crops.domain.data
    if crops.degrade is not None:
        made = degrade_dataset(_originals(crops), crops.degraded, crops.degrade, workers=data.workers, quiet=data.quiet)
        made.raise_failures("videos")
    targets = find_targets(domain.truth, crops.degraded, domain.boxes)
    tested = crops.tested([target.identity for target in targets])
    thinned = [_thinned(target, crops.stride) for target in targets if target.identity in tested]
    chosen = [target for target in thinned if len(target.pair)]
    if not chosen:
        raise DataError("of nobody for 'test' there is a degraded video with poses", where=data.config.data.split)
    report = prepare_crops(chosen, crops.folder, crops.settings, workers=data.workers, quiet=data.quiet)
    records = Records(crops.folder)
    frames = {leaf: (records.get(leaf) or {})["frames"] for leaf in report.leaves}
    finish(crops.done, crops.about, leaves=report.leaves, frames=frames, dropped=report.dropped)


def _thinned(target: Targets, stride: int) -> Targets:
    """The frames whose number in the degraded video, from 0, is a multiple of ``stride``."""
    pair = target.pair
    kept = pair.degraded_frames % stride == 0
    arrays = ("original_frames", "degraded_frames", "poses", "crops")
    chosen = replace(pair, **{name: getattr(pair, name)[kept] for name in arrays})
    return Targets(chosen, target.boxes[kept])


def read_crops(done: Path, min_score: float) -> tuple[CropData, Array]:
    """The test crops that a task has cut, and each one's frame in its video, int64 [N], from 0.

    Raises:
        DataError: the file names none.
    """
    try:
        read = json.loads(done.read_text(encoding="utf-8"))
        data = CropData(done.with_suffix(""), read["leaves"], min_score)
        frames = np.concatenate([frame_numbers(read["frames"][leaf]) - 1 for leaf in data.names])
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"names no crops ({error!r})", where=done, how="delete it: they are cut again") from error
    return data, frames
