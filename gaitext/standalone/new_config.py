"""A config for one's own data, made of a shipped one: `gaitext config new`.

What depends on the data is set by rules (docs/own-data.md has them in a table) and says so in a comment; all else, and
its comments, is the shipped config's.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from gaitext.config import naming_file, parse_yaml, shipped_configs
from gaitext.errors import ConfigError, DataError, suggest
from gaitext.standalone.check import check_batch, evaluation_function
from gaitext.standalone.memory import TrainingMemory, training_memory
from gaitext.standalone.own_data import OwnData, position_of
from gaitext.standalone.settings import HostConfig
from gaitext.store import atomic_path
from gaitext.store.contract import folder_name
from gaitext.training.runs import checkpoint_path

#: Fewer people than this train a small network: the smallest data set that the published ones were made for has 74.
SMALL_BELOW = 50
#: Iterations are not scaled below this, or the shipped config's where it has fewer, nor above this, or its own.
_LEAST, _MOST = 1000, 10_000
#: Inputs of less than this in all are read once.
_CACHED = 2**30


@dataclass(frozen=True)
class _Base:
    """A shipped config that others are made of.

    Attributes:
        name: of the config.
        sequences: how many training sequences the data have that it was made for.
    """

    name: str
    sequences: int


_CASIA_B, _GAIT3D = 74 * 110, 18_940
_HEAT_WALKERS, _POSE_WALKERS, _MASK_WALKERS = 36 * 4 * 3, 36 * 8 * 6, 48 * 4 * 3
#: Size -> model -> base.
_BASES: dict[str, dict[str, _Base]] = {
    "published": {
        "gaitheat": _Base("gaitheat/casia-b", _CASIA_B),
        "gaitpt": _Base("gaitpt/casia-b", _CASIA_B + 74 * 8 * 11),  # its bg and cl count three times
        "gaitbase": _Base("gaitbase/casia-b", _CASIA_B),
        "oem": _Base("rg-gait/gait3d_oem", _GAIT3D),
        "rg-gait": _Base("rg-gait/casia-b_gaitheat", _CASIA_B),
        "mimicgait": _Base("rg-gait/casia-b_gaitheat_mimicgait", _CASIA_B),
    },
    "small": {
        "gaitheat": _Base("gaitheat/tiny", _HEAT_WALKERS),
        "gaitpt": _Base("gaitpt/tiny", _POSE_WALKERS),
        "gaitbase": _Base("rg-gait/tiny_gse", _MASK_WALKERS),
        "oem": _Base("rg-gait/tiny_oem", _MASK_WALKERS),
        "rg-gait": _Base("rg-gait/tiny", _MASK_WALKERS),
        "mimicgait": _Base("rg-gait/tiny_mimicgait", _MASK_WALKERS),
    },
}
#: Network -> what it sees.
_INPUTS = {"gaitheat": "heatmaps", "gaitpt": "poses", "gaitbase": "silhouettes"}
#: Systems over one of them, written ``rg-gait`` or ``rg-gait:gaitpt``.
_SYSTEMS = ("rg-gait", "mimicgait")
MODELS = (*_INPUTS, *_SYSTEMS)


@dataclass(frozen=True)
class NewConfig:
    """A config that was written.

    Attributes:
        path: of the YAML.
        text: what stands in it.
        memory: what its training takes.
        written: whether it was written now; it may have been there, just so.
    """

    path: Path
    text: str
    memory: TrainingMemory
    written: bool


def new_config(
    model: str,
    data: str | Path,
    *,
    partition: str | Path | None = None,
    size: str | None = None,
    iterations: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> list[NewConfig]:
    """Write a config that trains and tests on one's own data as it is, in the embedded host and in a toolbox.

    RG-Gait and MimicGait are trained in three stages, and so have three configs, in this order: the occlusion
    evaluator, the signature extractor, the system, which names the checkpoints of both.

    Args:
        model: one of :data:`MODELS`; a system may name its extractor, ``rg-gait:gaitpt``. Without, it is the one that
            the data have inputs for: silhouettes before heatmaps before poses.
        data: what `gaitext extract` wrote to, or a root of ``<id>/<type>/<view>``.
        partition: None: ``partition.json`` beside the sequences.
        size: ``published`` or ``small``, whose networks are for a laptop; None: small where fewer than
            :data:`SMALL_BELOW` people train.
        iterations: of each training; None: by the rule.
        out: the YAML; None: MODEL.yaml in this folder. Stages before the last have ``_oem`` or ``_gse`` in their name.
        overwrite: replace a file that holds something else.

    Returns:
        What was written, in the order in which it is trained.

    Raises:
        ConfigError: an unknown model or size, or data without the model's input.
        DataError: see :meth:`OwnData.read`; or another file is in the place.
    """
    system, _, extractor = model.partition(":")
    if system not in MODELS or (extractor and (system not in _SYSTEMS or extractor not in _INPUTS)):
        known = [*MODELS, *(f"{system}:{extractor}" for system in _SYSTEMS for extractor in _INPUTS)]
        raise ConfigError(
            f"there is no model '{model}' to make a config for", where="--model", how=suggest(model, known)
        )
    own = OwnData.read(data, partition)
    size = size or ("small" if own.people < SMALL_BELOW else "published")
    if size not in _BASES:
        raise ConfigError(f"there is no size '{size}'", where="--size", how=suggest(size, _BASES))
    path = Path(f"{model.replace(':', '_')}.yaml") if out is None else Path(out)
    if path.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"{path} names no YAML", where="--out", how="end its name in .yaml")
    if system in _INPUTS:
        made = [(path, _Writer(own, size, system, path.stem, iterations))]
    else:
        made = _stages(own, size, system, extractor or _extractor(own), path, iterations)
    texts = [(place, writer.text()) for place, writer in made]
    if not overwrite:
        for place, text in texts:
            if place.exists() and place.read_bytes() != text.encode():
                raise DataError("is there already, and is another", where=place, how="give --overwrite, or --out FILE")
    found = []
    for place, text in texts:
        config = parse_yaml(text, where=str(place))
        with naming_file(config):
            for training in (True, False):
                host = HostConfig.checked(config, training=training, world_size=1)
            check_batch(host)
            evaluation_function(host)
        stood = place.exists() and place.read_bytes() == text.encode()
        if not stood:
            with atomic_path(place) as temporary:
                temporary.write_text(text, encoding="utf-8")
        found.append(NewConfig(place, text, training_memory(config), not stood))
    return found


def _extractor(own: OwnData) -> str:
    """The network that the data have inputs for."""
    for network in ("gaitbase", "gaitheat", "gaitpt"):
        if _INPUTS[network] in own.kinds:
            return network
    raise ConfigError(
        f"no network sees what the leaves hold: {', '.join(own.kinds)}",
        where=own.root,
        how="extract heatmaps, poses or silhouettes",
    )


def _stages(
    own: OwnData, size: str, system: str, network: str, path: Path, iterations: int | None
) -> list[tuple[Path, _Writer]]:
    """The three configs of a system over a network."""
    places = [path.with_name(f"{path.stem}_{stage}{path.suffix}") for stage in ("oem", "gse")]
    evaluator = _Writer(own, size, "oem", places[0].stem, iterations, network)
    extractor = _Writer(own, size, network, places[1].stem, iterations)
    whole = _Writer(own, size, system, path.stem, iterations, network, extractor)
    inner = whole.config["model_cfg"]
    extracting = extractor.config["model_cfg"]
    inner["gse"]["model_cfg"] = CommentedMap((key, extracting[key]) for key in extracting if key != "augmentation")
    for key, stage, name in (("gse", extractor, places[1].name), ("oem", evaluator, places[0].name)):
        _set(inner[key], "checkpoint", str(stage.checkpoint), f"of {name}")
    if system == "rg-gait" and network == "gaitpt":  # it has no BNNeck, and so no classifier
        whole.config["loss_cfg"] = extractor.config["loss_cfg"]
    for section in ("trainer_cfg", "evaluator_cfg"):
        # What occludes needs COCO's joints; the network orders them.
        steps = _without(extractor.config[section]["transform"], ("PoseOrder",))
        for writer in (evaluator, whole):
            writer.config[section]["transform"] = steps
    for section in ("trainer_cfg", "evaluator_cfg"):
        evaluator.config[section]["transform"] = _without(evaluator.config[section]["transform"], ("PosePointNoise",))
    return [(places[0], evaluator), (places[1], extractor), (path, whole)]


class _Writer:
    """One config, fitted to the data.

    Attributes:
        config: its sections, with their comments.
    """

    def __init__(
        self,
        own: OwnData,
        size: str,
        model: str,
        save_name: str,
        iterations: int | None,
        network: str | None = None,
        extractor: _Writer | None = None,
    ) -> None:
        self.own, self.base = own, _BASES[size][model]
        network = network or model
        self.config: CommentedMap = _yaml().load(shipped_configs()[self.base.name].read_text(encoding="utf-8"))
        self._head(model, network, size)
        position = position_of(_INPUTS[network], own, network)
        self._data(position)
        self._inputs(network, position)
        people, each = self.config["trainer_cfg"]["sampler"]["batch_size"]
        self.published = people * each
        if extractor is None:
            self._batch(people, each)
        else:  # batch and frames are stage 2's
            self.config["trainer_cfg"]["sampler"] = extractor.config["trainer_cfg"]["sampler"]
        size_of_batch = self.config["trainer_cfg"]["sampler"]["batch_size"]
        self.batch = size_of_batch[0] * size_of_batch[1]
        self._schedule(iterations)
        for section in ("trainer_cfg", "evaluator_cfg"):
            self.config[section]["save_name"] = folder_name(save_name)
        if "class_num" in self.config["model_cfg"]:
            _set(self.config["model_cfg"], "class_num", own.people, "people in TRAIN_SET")
        self._protocol()

    @property
    def checkpoint(self) -> Path:
        """The last one, where a run in this folder puts it."""
        host = HostConfig.of(parse_yaml(self.text(), where=self.base.name))
        return checkpoint_path(host.folder("output", training=True), host.trainer.total_iter)

    def text(self) -> str:
        """The YAML."""
        stream = io.StringIO()
        _yaml().dump(self.config, stream)
        return stream.getvalue()

    def _head(self, model: str, network: str, size: str) -> None:
        own = self.own
        over = "" if network == model else f" over {network}"
        self.config.yaml_set_start_comment(
            f"{model}{over}, {size} size, on {own.people} people's {len(own.train)} sequences; "
            f"made by `gaitext config new` from configs/{self.base.name}.yaml.\n"
            "Where a number is the data's, a comment says so; all else is that config's. The rules: docs/own-data.md."
        )

    def _data(self, position: int) -> None:
        own, section = self.own, self.config["data_cfg"]
        name = own.root.parent.name if own.root.name == "sequences" else own.root.name
        for key in ("dataset_name", "test_dataset_name"):
            _set(section, key, folder_name(name))
        _set(section, "dataset_root", str(own.root))
        _set(section, "dataset_partition", str(own.partition))
        use = [at == position for at in range(len(own.kinds))]
        _set(section, "data_in_use", use, f"{own.names[position]}, of {', '.join(own.names)}")
        small = own.size(position) < _CACHED
        _set(section, "cache", small, f"its training sequences are about {own.size(position) / 1e6:.0f} MB in memory")
        if small:
            _set(section, "num_workers", 0, "as all is in memory")

    def _inputs(self, network: str, position: int) -> None:
        """What a frame is: silhouettes' sides, and poses of videos of any size."""
        shape = self.own.frames[position]
        if network == "gaitheat" and shape[0] != 17:
            raise ConfigError(
                f"the heatmaps are merged to {shape[0]} parts, and GaitHeat aligns 17 joints' maps",
                where=self.own.root,
                how="extract them without --merge, or write model_cfg.alignment.merge: offline yourself",
            )
        for section in ("trainer_cfg", "evaluator_cfg"):
            for step in _steps(self.config[section]["transform"]):
                if step["type"] == "SilhouetteInput":
                    width = shape[-1]
                    _set(step, "cut", 10 * width // 64 if width == shape[-2] else 0, f"frames are {shape[-2]}x{width}")
                elif step["type"] == "PoseNormalize":
                    step.pop("size", None)
                    _set(step, "by", "box", "videos of any size; published: the frame's width")
        if network == "gaitpt" and "frames" in self.config["model_cfg"]:
            self._shorten(self.config["model_cfg"], "frames")

    def _shorten(self, section: Any, key: str) -> None:
        if key in section and section[key] > self.own.length:
            _set(section, key, self.own.length, "half of the sequences have no more frames")

    def _batch(self, people: int, each: int) -> None:
        """P × K sequences, and frames of each."""
        own, sampler = self.own, self.config["trainer_cfg"]["sampler"]
        if sampler["type"] == "RepeatTripletSampler":  # of CASIA-B's conditions
            sampler.pop("repeats", None)
            sampler["type"] = "TripletSampler"
        size = [min(people, own.people), min(each, max(2, own.each))]
        said = f"identities, sequences of each; {people}, {each} there, {own.people} people have about {own.each} here"
        _set(sampler, "batch_size", size, said)
        for key in ("frames_num_fixed", "frames_num_min", "frames_num_max"):
            self._shorten(sampler, key)

    def _schedule(self, iterations: int | None) -> None:
        """As many draws of each sequence as the shipped config makes, and its milestones in proportion."""
        trainer, scheduler = self.config["trainer_cfg"], self.config["scheduler_cfg"]
        before = trainer["total_iter"]
        draws = before * self.published / self.base.sequences
        fitted = draws * len(self.own.train) / self.batch
        total = round(min(max(fitted, min(before, _LEAST)), max(before, _MOST)))
        total = iterations or (total if total < 100 or total == before else -(-total // 100) * 100)
        share = total / before
        why = f"each sequence is drawn {total * self.batch / len(self.own.train):.0f} times; {draws:.0f} there"
        _set(trainer, "total_iter", total, why)
        _set(self.config["evaluator_cfg"], "restore_hint", total, "the last checkpoint")
        trainer["save_iter"] = max(1, round(trainer["save_iter"] * share))
        trainer["log_iter"] = max(1, min(trainer["log_iter"], total // 20))
        scaled: dict[str, Callable[[Any], Any]] = {
            "milestones": lambda those: [max(1, round(one * share)) for one in those],
            "step_size_up": lambda one: max(1, round(one * share)),
            "total_steps": lambda one: total,
        }
        for key, change in scaled.items():
            if key in scheduler:
                _set(scheduler, key, change(scheduler[key]), "in proportion to total_iter")
        if scheduler.get("mode") == "exp_range":
            _set(scheduler, "gamma", round(scheduler["gamma"] ** (1 / share), 8), "the same decay over all iterations")

    def _protocol(self) -> None:
        section = self.config["evaluator_cfg"]
        if section["eval_func"] == "evaluate_OEM":
            return
        for key in ("gallery", "exclude_same_walk"):
            section.pop(key, None)
        chosen, why = self.own.protocol()
        section["eval_func"] = "evaluate_gallery_probe"
        place = list(section).index("eval_func") + 1
        for key, value in reversed(chosen.items()):
            section.insert(place, key, _plain(value))
        _set(section, "eval_func", section["eval_func"], why)


def _yaml() -> YAML:
    yaml = YAML()
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.width = 4096
    yaml.preserve_quotes = True
    return yaml


def _set(section: Any, key: str, value: Any, why: str = "") -> None:
    """Set a value, and say after it why; the blank line that may follow stays, an older comment does not."""
    old = section.get(key)
    if isinstance(value, list) and isinstance(old, CommentedSeq):
        old[:] = value  # it keeps its form
    else:
        section[key] = _plain(value)
    token = (section.ca.items.get(key) or [None] * 3)[2]
    after = "" if token is None else token.value.partition("\n")[2]
    text = (f"# {why}" if why else "") + "\n" + after
    if token is None and why:
        section.yaml_add_eol_comment(why, key, column=0)
    elif token is not None:
        token.value = text
        token.start_mark = CommentMark(0)
    if isinstance(old, CommentedSeq) and old.ca.comment is not None:
        old.ca.comment[0] = section.ca.items[key][2]


def _plain(value: Any) -> Any:
    """A value as it is written: a mapping in one line, a text in quotes where YAML could read something else."""
    if isinstance(value, dict):
        flowing = CommentedMap((_plain(key), _plain(inner)) for key, inner in value.items())
        flowing.fa.set_flow_style()
        return flowing
    if isinstance(value, list):
        listed = CommentedSeq(map(_plain, value))
        listed.fa.set_flow_style()
        return listed
    if isinstance(value, str) and (not re.fullmatch(r"[A-Za-z/][\w./-]*", value) or _other(value)):
        return DoubleQuotedScalarString(value)
    return value


def _other(text: str) -> bool:
    """Whether the toolboxes' YAML reads something else: ``no`` is False."""
    return bool(parse_yaml(text, where="a name") != text)


def _steps(section: Any) -> list[Any]:
    """The transforms of all inputs, in or out of a Compose."""
    listed = []
    for entry in section:
        listed += _steps(entry["trf_cfg"]) if entry["type"] == "Compose" else [entry]
    return listed


def _without(section: Any, names: tuple[str, ...]) -> CommentedSeq:
    """A list of transforms without some."""
    kept = CommentedSeq()
    for entry in section:
        if entry["type"] == "Compose":
            kept.append(CommentedMap(type="Compose", trf_cfg=_without(entry["trf_cfg"], names)))
        elif entry["type"] not in names:
            kept.append(CommentedMap(entry))
    return kept
