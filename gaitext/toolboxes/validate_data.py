"""Checks a config against the data it names: partition, identities, a leaf's files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gaitext.config import need
from gaitext.errors import ConfigError
from gaitext.store import read_partition, root_within

__all__ = ["compare_with_data", "phases", "section"]


def section(cfgs: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The section of that name, if it holds keys."""
    found = need(cfgs, name, where="config")
    if not isinstance(found, Mapping):
        raise ConfigError(f"'{name}' holds no keys (got {found!r})", where="config", how=f"indent {name}'s keys")
    return found


def phases(cfgs: Mapping[str, Any], training: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """The engine sections that matter: both toolboxes may test while they train."""
    trainer = section(cfgs, "trainer_cfg")
    if not training:
        return [("evaluator_cfg", section(cfgs, "evaluator_cfg"))]
    phases = [("trainer_cfg", trainer)]
    if trainer.get("with_test"):
        phases.append(("evaluator_cfg", section(cfgs, "evaluator_cfg")))
    return phases


def compare_with_data(
    cfgs: Mapping[str, Any], training: bool, class_count: int | None, base: Path, *, makes_inputs: bool = False
) -> list[str]:
    """Compare a config with the partition and the folders it names; returns remarks.

    Args:
        class_count: how many identities the model can tell apart, None for any number.
        makes_inputs: whether the model may make other inputs of a leaf's files, one of two, say.
        base: what relative paths are relative to.
    """
    data = section(cfgs, "data_cfg")
    root = base / str(need(data, "dataset_root", where="data_cfg"))
    if not root.is_dir():
        raise ConfigError(
            f"there is no folder {root}", where="data_cfg.dataset_root", how="give the folder that holds <id>/…"
        )
    inner = root_within(root)
    if inner is not None:
        raise ConfigError(
            f"{root} is the folder above the dataset's root", where="data_cfg.dataset_root", how=f"give {inner}"
        )
    train, test = read_partition(base / str(need(data, "dataset_partition", where="data_cfg")))
    remarks = []
    for wanted, name in _wanted_sets(cfgs, training, train, test):
        present = [identity for identity in wanted if (root / identity).is_dir()]
        if not present:
            raise ConfigError(
                f"none of the {len(wanted)} identities of {name} is in {root}",
                where="data_cfg.dataset_partition",
                how="the partition is another dataset's, or identities are written differently",
            )
        if len(present) < len(wanted):
            remarks.append(f"data_cfg: {len(wanted) - len(present)} of {name}'s {len(wanted)} identities have no data")
        if name == "TRAIN_SET" and class_count is not None:
            remarks += _check_classes(class_count, len(present), len(wanted))
        if name == "TRAIN_SET":
            size = (section(cfgs, "trainer_cfg").get("sampler") or {}).get("batch_size")
            asked = size[0] if isinstance(size, (list, tuple)) and size else 0
            entries = cfgs.get("loss_cfg") or ()
            entries = [entries] if isinstance(entries, Mapping) else entries
            losses = [str(entry.get("type")) for entry in entries if isinstance(entry, Mapping)]
            # A corrector's batch of one identity is as good as any.
            if isinstance(asked, int) and asked > len(present) and any("Triplet" in loss for loss in losses):
                remarks.append(
                    f"trainer_cfg.sampler.batch_size asks for {asked} identities, and {len(present)} have data: "
                    f"write [{len(present)}, …], or a toolbox may draw a batch of one identity, which has no triplets"
                )
        _check_inputs(cfgs, training, root / present[0], makes_inputs)
    return remarks


def _wanted_sets(
    cfgs: Mapping[str, Any], training: bool, train: list[str], test: list[str]
) -> list[tuple[list[str], str]]:
    sets = [(train, "TRAIN_SET")] if training else []
    if not training or section(cfgs, "trainer_cfg").get("with_test"):
        sets.append((test, "TEST_SET"))
    return sets


def _check_classes(class_count: int, present: int, wanted: int) -> list[str]:
    if class_count < present:
        raise ConfigError(
            f"class_num is {class_count}, but there are {present} identities to train on",
            where="model_cfg.class_num",
            how=f"write {wanted}",
        )
    if class_count > wanted:
        return [f"model_cfg.class_num is {class_count}, but TRAIN_SET has {wanted} identities: the rest is never used"]
    return []


def _check_inputs(cfgs: Mapping[str, Any], training: bool, identity: Path, makes_inputs: bool) -> None:
    """Compare ``data_in_use`` with a leaf's files and with the lists of transforms."""
    leaf = next((view for view in sorted(identity.glob("*/*")) if view.is_dir()), None)
    if leaf is None:
        raise ConfigError(f"there is no <type>/<view> in {identity}", where="data_cfg.dataset_root")
    files = sorted(file.name for file in leaf.iterdir())
    use = section(cfgs, "data_cfg").get("data_in_use")
    if use is None:
        count = len(files)
    elif all(isinstance(u, bool) for u in use):
        chosen = [position for position, u in enumerate(use) if u]
        count = len(chosen)
        if chosen and chosen[-1] >= len(files):
            _missing_input(chosen[-1], leaf, files)
    else:
        count = len(use)
        if use and max(use) >= len(files):
            _missing_input(max(use), leaf, files)
    for name, phase in [] if makes_inputs else phases(cfgs, training):
        lists = phase.get("transform")
        if isinstance(lists, (list, tuple)) and len(lists) != count:
            raise ConfigError(
                f"{len(lists)} transforms for {count} inputs ({', '.join(files)} in {leaf.name})",
                where=f"{name}.transform",
                how="data_cfg.data_in_use must switch on one file for each entry; several for one go into a Compose",
            )


def _missing_input(position: int, leaf: Path, files: Sequence[str]) -> None:
    raise ConfigError(
        f"asks for file number {position}, but {leaf} has {len(files)}: {', '.join(files)}",
        where="data_cfg.data_in_use",
        how="count a leaf's files in the order of their names, from 0",
    )
