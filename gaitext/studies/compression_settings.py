"""What a study of artifact correction says: its systems, where they are tested, and who is recognised."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, model_validator

from gaitext.config import Settings, load_yaml, merge
from gaitext.errors import ConfigError, suggest
from gaitext.evaluation.psymo import VARIATIONS
from gaitext.restoration import DegradeSettings
from gaitext.restoration.settings import CorrectionConfig, CropSettings, with_data
from gaitext.store.contract import PROTOCOLS, folder_name
from gaitext.studies.configs import check_config, check_embedded, located
from gaitext.studies.scoring import Config
from gaitext.studies.settings import StudySettings, repeated
from gaitext.walkers import WalkerSettings

#: The estimator as it is, which every study has.
BASE = "base"
#: What a pose test says; of original video nothing is lost that could be recovered.
NUMBERS = ("AP", "AP50", "AP75", "L2", "L2-norm", "within10", "PSNR", "frames")
RECOVERED = "recovered"
#: Files that this kind of study writes beside those of all; each domain of videos has one of its name, too.
PICTURES = ("histogram", "examples", "panels", "curves")
#: What a system may change of the correction's config: crops, split and estimator are those of all.
_OVERRIDES = ("model", "objective", "trainer", "finetune_trainer")

Seeds = tuple[Annotated[int, Field(ge=0)], ...]
Factor = Annotated[float, Field(ge=0, le=51)]


class Place(NamedTuple):
    """Where poses are looked for, and the condition's name.

    Attributes:
        domain: whose people; empty: the study's own.
        video: ``degraded`` (as the study's ``degrade`` says), ``original``, or ``crf37`` and so on.
    """

    domain: str
    video: str

    @property
    def name(self) -> str:
        return f"{self.domain}-{self.video}" if self.domain else self.video

    @property
    def is_original(self) -> bool:
        return self.video == "original"

    @property
    def crf(self) -> float | None:
        """None: that of ``degrade``."""
        return float(self.video.removeprefix("crf")) if self.video.startswith("crf") else None

    @property
    def numbers(self) -> tuple[str, ...]:
        """What is measured there."""
        return NUMBERS if self.is_original else (*NUMBERS, RECOVERED)


class PoseSystemSettings(Settings):
    """What finds poses: one of ``weights``, ``restorer`` and ``train``.

    Attributes:
        weights: a corrector that is there, such as ``fbcnn_color.pth``; null leaves the system out: its rows hold
            dashes.
        restorer: the study's restorer, as its pre-training leaves it: it has never seen a pose.
        train: ``estimator`` fine-tunes the estimator, ``corrector`` trains a corrector before the frozen one.
        begin: ``restorer``: the corrector's training begins with the restorer's weights.
        overrides: laid over the study's ``correction``: its ``model``, ``objective``, ``trainer`` and
            ``finetune_trainer``, which without one of its own is ``trainer``.
        videos: a folder of video without labels, which the corrector learns from beside the study's crops, degraded as
            the study says: ``data.videos`` of ``gaitext correct train``. Where it is not there, the system's rows hold
            dashes.
        obtain: how to get it, said where it is not there.
        seeds: of the study's, those that it is trained with; None: all.
    """

    weights: Path | None = None
    restorer: bool = False
    train: Literal["estimator", "corrector"] | None = None
    begin: Literal["restorer"] | None = None
    videos: Path | None = None
    obtain: str = ""
    overrides: dict[str, Any] = Field(default_factory=dict)
    seeds: Seeds | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _one_kind(self) -> PoseSystemSettings:
        given = [name for name in ("weights", "restorer", "train") if name in self.model_fields_set]
        if len(given) != 1 or (given == ["restorer"] and not self.restorer) or (given == ["train"] and not self.train):
            raise ValueError("give one of weights: FILE, restorer: true, train: estimator and train: corrector")
        if self.begin is not None and self.train != "corrector":
            raise ValueError("begin: only a corrector that is trained begins with the restorer")
        if (self.videos is not None or self.obtain) and self.train != "corrector":
            raise ValueError("videos, obtain: only a corrector learns from video without labels")
        if self.train is None and (self.overrides or self.seeds is not None):
            raise ValueError("overrides and seeds are of a system that is trained")
        if unknown := sorted(set(self.overrides) - set(_OVERRIDES)):
            raise ValueError(f"overrides: '{unknown[0]}'; {suggest(unknown[0], _OVERRIDES)}")
        return self

    @property
    def is_there(self) -> bool:
        """Whether it can be run."""
        if self.videos is not None:
            return self.videos.is_dir()
        return self.train is not None or self.restorer or self.weights is not None

    @property
    def needs_restorer(self) -> bool:
        return self.restorer or self.begin is not None


class DomainSettings(Settings):
    """Other people to test on, of whom nobody trains: ``walkers``, or ``videos`` of one's own.

    Attributes:
        walkers: rendered with these settings; all of them are tested.
        videos: a folder of videos, or a tree ``<id>/<type>/<view>``. Where it is not there the domain's columns hold
            dashes. Each person that the detector follows is a sequence; a video of a folder counts as one identity.
        obtain: how to get the videos, said where they are not there.
        estimator: whose poses in the original videos stand for the truth.
        min_score: its joints of a lower score are not known.
        crops: laid over the correction's ``data.crops``; real video needs ``{crop: box}`` as a rule.
        test_stride: of its frames; None: the study's.
    """

    walkers: dict[str, Any] | None = None
    videos: Path | None = None
    obtain: str = ""
    estimator: str = "movenet:thunder"
    min_score: float = Field(0.4, ge=0, le=1)
    crops: dict[str, Any] = Field(default_factory=dict)
    test_stride: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _one_kind(self) -> DomainSettings:
        if (self.walkers is None) == (self.videos is None):
            raise ValueError("give walkers, or videos: FOLDER")
        if self.walkers is not None:
            _check_content(self.walkers)
            if {"obtain", "estimator", "min_score"} & self.model_fields_set:
                raise ValueError("obtain, estimator and min_score are of videos: of walkers the renderer is the truth")
        return self

    @property
    def is_there(self) -> bool:
        """Whether it can be tested on."""
        return self.videos is None or self.videos.is_dir()


class TestSettings(Settings):
    """What else is tested.

    Attributes:
        crf: the originals degraded by these constant rate factors; conditions ``crf37`` and so on.
    """

    __test__ = False  # no test class, whatever pytest thinks

    crf: tuple[Factor, ...] = ()


class GaitSettings(Settings):
    """How identities are told.

    Attributes:
        config: such as gaitpt/tiny.yaml, relative to the study's. It is trained on the label source's poses, or
            heatmaps, of the identities that correctors are trained on (§IV-B): the extraction's that stands for the
            truth, or, of walkers, the renderer's.
        overrides: laid over it.
        input: what it takes: ``poses`` in frame pixels, or ``heatmaps``: of the renderer's walkers Gaussians at the
            true joints of the training crops.
        seeds: of its trainings; a cell is the mean over them.
        systems: whose test poses are recognised beside the base's; None: all.
        correction_seeds: of the study's, those whose test poses are recognised; None: all.
    """

    config: Path
    overrides: dict[str, Any] = Field(default_factory=dict)
    input: Literal["poses", "heatmaps"] = "poses"
    seeds: Seeds = Field((0,), min_length=1)
    systems: tuple[str, ...] | None = Field(None, min_length=1)
    correction_seeds: Seeds | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> GaitSettings:
        if repeated(self.seeds) or repeated(self.systems or ()):
            raise ValueError("seeds or systems: one is there twice")
        return self

    def host_config(self, root: Path, where: str) -> Config:
        """The config with ``overrides``, without its data's place.

        Args:
            root: the folder of the study's YAML.
            where: for the error.

        Raises:
            ConfigError: it is wrong; what concerns the data is seen when they are there.
        """
        config = merge(self.overrides, load_yaml(root / self.config))
        with located(where):
            there = {"data_cfg": {"dataset_root": ".", "dataset_partition": "."}}
            check_embedded(check_config(merge(there, config), with_data=False))
        return config


class CompressionSettings(StudySettings):
    """A study of kind ``compression``.

    Attributes:
        walkers: rendered and degraded first; None: ``correction.data`` names what ``gaitext degrade`` and
            ``gaitext extract`` made.
        degrade: how much is lost; of walkers and domains.
        correction: what ``gaitext correct train`` takes, or its file, relative to the study's; with walkers, its data's
            folders are filled in. As there, paths in it start from where the command is given.
        restorer: what ``gaitext correct pretrain`` takes, or its file, likewise; the training people's videos and
            crops are filled in as what it learns from.
        systems: what finds poses, beside ``base``, in the order of pictures.
        tests: what the study's own test people, and domains, are tested on beside ``degraded`` and ``original``.
        domains: other people; their conditions are ``NAME-degraded`` and so on.
        test_stride: poses are measured in frames whose number, from 0, is a multiple.
        recognition_stride: likewise of what is recognised, and of the renderer's poses that recognisers are trained
            on; its heatmaps are of ``correction.data.crops``, with their ``stride``.
        recognition: name -> how identities are told; conditions ``NAME-degraded`` and ``NAME-original``.
        nproc: GPUs, or processes, of one training; with several, trainings are done one after another.
    """

    walkers: dict[str, Any] | None = None
    degrade: DegradeSettings = DegradeSettings()
    correction: Path | dict[str, Any]
    restorer: Path | dict[str, Any] | None = None
    systems: dict[str, PoseSystemSettings] = Field(min_length=1)
    tests: TestSettings = TestSettings()
    domains: dict[str, DomainSettings] = Field(default_factory=dict)
    test_stride: int = Field(1, ge=1)
    recognition_stride: int = Field(1, ge=1)
    recognition: dict[str, GaitSettings] = Field(default_factory=dict)
    nproc: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _names(self) -> CompressionSettings:
        if BASE in self.systems:
            raise ValueError(f"systems: '{BASE}' is the estimator as it is, which is always there")
        places = {place.name for place in self._places("")}
        for what, names in (("systems", self.systems), ("domains", self.domains), ("recognition", self.recognition)):
            for name in names:
                try:
                    folder_name(name)
                except ValueError as error:
                    raise ValueError(f"{what}: {error}") from error
                if "@" in name or (what != "systems" and name in (*places, *PICTURES)):
                    raise ValueError(f"{what}: '{name}' may not be the name of one")
        if both := sorted(self.domains.keys() & self.recognition.keys()):
            raise ValueError(f"recognition: '{both[0]}' is a domain's name, too")
        for table in self.tables:
            if table.name in (*PICTURES, *self.domains):
                raise ValueError(f"tables: '{table.name}' is what another file of the study is called")
        return self

    @model_validator(mode="after")
    def _consistent(self) -> CompressionSettings:
        if self.walkers is not None:
            _check_content(self.walkers)
        if repeated(self.tests.crf) or self.degrade.rate_factor in self.tests.crf:
            raise ValueError("tests.crf: one is there twice (degrade.crf is what `degraded` is)")
        if self.recognition and self.test_stride % self.recognition_stride:
            raise ValueError("recognition_stride: test_stride is no multiple: poses are looked for in one or the other")
        if self.walkers is None and self.recognition_stride != 1:
            raise ValueError("recognition_stride: an extraction's poses are taken as they are: only walkers have one")
        if self.restorer is None and (needing := [n for n, system in self.systems.items() if system.needs_restorer]):
            raise ValueError(f"systems.{needing[0]}: there is no restorer")
        for name, gait in self.recognition.items():
            for system in gait.systems or ():
                if system not in self.systems:
                    near = suggest(system, self.systems)
                    raise ValueError(f"recognition.{name}.systems: '{system}'; {near}")
        return self

    def _places(self, domain: str) -> tuple[Place, ...]:
        return tuple(Place(domain, v) for v in ("degraded", "original", *(f"crf{crf:g}" for crf in self.tests.crf)))

    @property
    def places(self) -> tuple[Place, ...]:
        """Where poses are tested: with the study's own people, then in each domain."""
        return tuple(place for domain in ("", *self.domains) for place in self._places(domain))

    def seeds_of(self, system: str) -> tuple[int, ...]:
        """Of a system's cells; what nothing trains has a cell for each of the study's."""
        own = self.systems[system].seeds if system in self.systems else None
        return self.seeds if own is None else tuple(seed for seed in self.seeds if seed in own)

    def recognised(self, name: str, system: str) -> tuple[int, ...]:
        """Correction's seeds whose test poses of a system one of ``recognition`` is given."""
        gait = self.recognition[name]
        if system not in (BASE, *(self.systems if gait.systems is None else gait.systems)):
            return ()
        asked = gait.correction_seeds
        return tuple(seed for seed in self.seeds_of(system) if asked is None or seed in asked)

    def gait_metrics(self) -> set[str]:
        """What cells of recognition will have: numbers by variation, and by its probe angle."""
        views = (
            PROTOCOLS["psymo"][1] if self.walkers is None else WalkerSettings.parse(self.walkers, where="walkers").views
        )
        names = [*(name.upper() for name in VARIATIONS), "mean"]
        return {name + end for name in names for end in ("", "@R5", "@mAP", *(f"-{view}" for view in views or ()))}

    def correction_config(
        self, root: Path, folders: Mapping[str, Path], system: PoseSystemSettings | None = None
    ) -> CorrectionConfig:
        """What ``gaitext correct train`` is given, its paths absolute.

        Args:
            root: the folder of the study's YAML.
            folders: laid over its ``data``.
            system: whose overrides and videos are laid over it, too.

        Raises:
            ConfigError: it is wrong.
        """
        given = self.correction
        values = dict(given) if isinstance(given, dict) else load_yaml(root / given)
        values = with_data(values, {key: str(value) for key, value in folders.items()})
        if system is not None:
            if "finetune_trainer" in system.overrides and values.get("finetune_trainer") is None:
                values["finetune_trainer"] = values.get("trainer") or {}
            values = merge(system.overrides, values)
            if system.videos is not None:
                own = {"videos": str(system.videos), "degrade": self.degrade.model_dump(mode="json")}
                values = with_data(values, own)
        config = CorrectionConfig.parse(values, where="correction" if isinstance(given, dict) else str(root / given))
        if config.data.truth is None:  # of one's own video alone, without labels
            how = "give truth and degraded, or the study's walkers"
            raise ConfigError("nothing says what is true", where="correction.data", how=how)
        data = {name: value.resolve() for name, value in config.data if isinstance(value, Path)}
        changes: dict[str, Any] = {"data": config.data.model_copy(update=data)}
        if config.model.weights is not None:
            changes["model"] = config.model.model_copy(update={"weights": config.model.weights.resolve()})
        return config.model_copy(update=changes)

    def crops_in(self, domain: str, crops: CropSettings) -> CropSettings:
        """How a domain's people are cut out; ``crops``: the correction's.

        Raises:
            ConfigError: the domain's are wrong.
        """
        if not domain:
            return crops
        own = self.domains[domain].crops
        return CropSettings.parse({**crops.model_dump(mode="json"), **own}, where=f"domains.{domain}.crops")

    def stride_in(self, domain: str) -> int:
        """Of a domain's frames."""
        own = self.domains[domain].test_stride if domain else None
        return self.test_stride if own is None else own


def _check_content(walkers: Mapping[str, Any]) -> None:
    if not {"keypoints", "video"} <= set(walkers.get("content") or ()):
        raise ValueError("walkers.content: name keypoints and video, which are the truth and what is degraded")
