"""Importing OpenMMLab's libraries and reading their checkpoints, with no more than is needed."""

from __future__ import annotations

import difflib
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from gaitext.checkpoints import check_values, read_file, read_state_dict
from gaitext.errors import CheckpointError, ConfigError, MissingDependencyError, import_extra

_FIT = "give the checkpoint that belongs to the config"

#: What mmengine's trainers pickle beside the weights. None of it is looked at.
_BESIDE_WEIGHTS = (
    "builtins.getattr",
    "mmengine.config.config.ConfigDict",
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *(
        f"numpy.dtypes.{kind}DType"
        for kind in ("Bool", "Int32", "Int64", "UInt8", "Float16", "Float32", "Float64", "Str")
    ),
)


def prepare(library: str, extra: str, purpose: str) -> None:
    """Import a library of OpenMMLab so that its networks are registered.

    ``mmcv-lite`` has no compiled operators, but mmpose and mmdet import some from ``mmcv.ops``
    when they are imported themselves. Where that module cannot be imported, a stand-in is put
    there, whose operators raise when they are made or called. mmpretrain's
    vision-language networks do not import beside a present transformers; they are left out, as
    mmpretrain does where there is no transformers.

    Args:
        library: ``"mmpose"``, ``"mmdet"`` or ``"mmpretrain"``.
        extra, purpose: see :func:`gaitext.errors.import_extra`.

    Raises:
        MissingDependencyError: it, or something that it imports, is missing or too new.
    """
    how = "install it as docs/estimators.md says: its pins are strict"
    for name in ("mmengine", "mmcv"):
        try:
            import_extra(name, extra, purpose)
        except MissingDependencyError as error:
            # The extra brings what they import; they themselves are installed without their dependencies.
            raise MissingDependencyError(error.what, how=f"{error.how}, and then {how}") from error
    _stand_in_for_operators()
    try:
        with _without_transformers():
            # First of all: mmdet tries it, too, and what failed half-way cannot be imported again.
            if find_spec("mmpretrain") is not None:
                with suppress(ImportError, AssertionError, ValueError, TypeError, AttributeError):
                    importlib.import_module("mmpretrain.models")
            importlib.import_module(f"{library}.models")
    # AssertionError: mmcv of another version. ValueError: compiled against another numpy.
    except (ImportError, AssertionError, ValueError, TypeError, AttributeError) as error:
        why = next(iter(str(error).splitlines()), repr(error))
        raise MissingDependencyError(
            f"{purpose} needs {library}, which cannot be imported ({why})",
            how=how,
        ) from error


def find_config(name: str, library: str) -> Path:
    """The file of a config: ``name`` itself, or the config of that name that ships with ``library``.

    Raises:
        ConfigError: neither; the nearest names are given.
    """
    path = Path(name)
    if path.is_file():
        return path
    (package,) = importlib.import_module(library).__path__
    # In a wheel they lie inside the package, in a source checkout beside it.
    roots = [Path(package) / ".mim" / "configs", Path(package).parent / "configs"]
    shipped = {file.stem: file for root in reversed(roots) for file in root.rglob("*.py") if "_base_" not in file.parts}
    stem = path.name.removesuffix(".py")
    if stem in shipped:
        return shipped[stem]
    near = difflib.get_close_matches(stem, shipped, n=3, cutoff=0.4)
    how = f"did you mean {' or '.join(near)}?" if near else f"give a file, or the name of a config of {library}"
    raise ConfigError(f"neither a file nor a config that ships with {library}", where=name, how=how)


def read_config(path: Path) -> Any:
    """An ``mmengine.Config``. A config in Python is code, and is run.

    Raises:
        ConfigError: it cannot be read.
    """
    from mmengine.config import Config

    try:
        return Config.fromfile(str(path))
    except Exception as error:  # whatever the config's code raises
        raise ConfigError(f"is not a readable config ({error})", where=path) from error


def build(registry: Any, settings: Any, scope: str, seed: int, where: str) -> nn.Module:
    """A network from its settings, with weights that depend on ``seed`` alone; nothing is downloaded.

    Pretrained weights named by a config are fetched by ``init_weights``, which is not called.

    Raises:
        ConfigError: it cannot be built.
    """
    from mmengine.model.utils import revert_sync_batchnorm
    from mmengine.registry import DefaultScope

    with torch.random.fork_rng(devices=[]), DefaultScope.overwrite_default_scope(scope):
        torch.manual_seed(seed)
        try:
            network: nn.Module = revert_sync_batchnorm(registry.build(settings))
        except Exception as error:  # whatever a network's constructor raises
            raise ConfigError(f"the network cannot be built ({error})", where=where) from error
    return network


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a checkpoint that mmengine or an older mmcv wrote, strictly, without running code of it.

    What trainers leave beside the weights (histories, numpy values, the dataset's description) is
    skipped.

    Raises:
        CheckpointError: no such file, damaged, or not of this network.
    """
    with _ignoring(_BESIDE_WEIGHTS):
        loaded = read_file(path)
    weights = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else None
    if not weights or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in weights.items()):
        raise CheckpointError("holds no state dict of tensors", where=path)
    if all(key.startswith("module.") for key in weights):
        consume_prefix_in_state_dict_if_present(weights, "module.")
    for key in [key for key in weights if key.startswith("data_preprocessor.")]:
        del weights[key]  # normalisation is the config's
    read_state_dict(weights, path)  # plain tensors alone
    check_values(weights, network.state_dict(), path)
    try:
        # Not strict itself: the networks' hooks first rename what older versions called otherwise.
        missing, unexpected = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # shapes
        lines = [line.strip() for line in str(error).splitlines()[1:]]
        raise CheckpointError(f"does not fit the network: {_first_few(lines)}", where=path, how=_FIT) from error
    if missing or unexpected:
        wrong = [
            f"{name} {_first_few(keys)}" for name, keys in (("lacks", missing), ("has beside it", unexpected)) if keys
        ]
        raise CheckpointError(f"does not fit the network: {'; '.join(wrong)}", where=path, how=_FIT)


class _Ignored:
    """Stands for an object whose pickle is read but not followed."""

    def __init__(self, *args: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


@contextmanager
def _ignoring(names: tuple[str, ...]) -> Iterator[None]:
    """Have ``torch.load(weights_only=True)`` make something inert of what ``names`` name."""
    before = torch.serialization.get_safe_globals()
    inert: list[Any] = []
    for name in names:
        module, _, attribute = name.rpartition(".")
        inert.append(type(attribute, (_Ignored,), {"__module__": module, "__qualname__": attribute}))
    torch.serialization.add_safe_globals(inert)
    try:
        yield
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


def _first_few(values: list[str]) -> str:
    return ", ".join(values[:3]) + (f" and {len(values) - 3} more" if len(values) > 3 else "")


def _stand_in_for_operators() -> None:
    if any(isinstance(finder, _Operators) for finder in sys.meta_path):
        return
    try:
        importlib.import_module("mmcv.ops")
    except (ImportError, AttributeError, OSError):
        sys.meta_path.insert(0, _Operators())


class _Operators(MetaPathFinder, Loader):
    """Gives ``mmcv.ops`` and its modules, in which every name is a class that cannot be made."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if f"{name}.".startswith("mmcv.ops.") else None

    def exec_module(self, module: Any) -> None:
        module.__doc__ = "gaitext's stand-in for the operators that mmcv-lite lacks"
        module.__getattr__ = _operator


def _operator(name: str) -> type[nn.Module]:
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(self: Any, *args: Any, **kwargs: Any) -> None:
        raise MissingDependencyError(
            f"{name} is an operator that mmcv-lite does not have", how="install mmcv instead of mmcv-lite"
        )

    return type(name, (nn.Module,), {"__init__": refuse})


@contextmanager
def _without_transformers() -> Iterator[None]:
    """Hide transformers from mmpretrain's look at what is installed, and from nothing else."""
    if find_spec("importlib_metadata") is None:
        yield
        return
    metadata: Any = importlib.import_module("importlib_metadata")
    real = metadata.distribution

    def distribution(name: str) -> Any:
        if name == "transformers":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    metadata.distribution = distribution
    try:
        yield
    finally:
        metadata.distribution = real
