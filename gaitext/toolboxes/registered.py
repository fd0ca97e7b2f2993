"""Gives gaitext's parts the form in which a toolbox calls them."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch

from gaitext.errors import ConfigError, suggest
from gaitext.evaluation import EvaluationResult
from gaitext.models.folding import unsettled
from gaitext.models.signature import SignatureExtractor
from gaitext.toolboxes.adapter import Host, HostInputs, HostModel, ModelAdapter
from gaitext.toolboxes.borrowed import ToolboxSignature, borrow
from gaitext.toolboxes.parts import adapter_for
from gaitext.toolboxes.rehearsal import sample_batch
from gaitext.toolboxes.toolbox import Toolbox
from gaitext.toolboxes.validate import validate_config

#: Attribute that tells gaitext's parts from a toolbox's.
MARK = "__gaitext__"


class ToolboxModel(HostModel):
    """A toolbox's model class, less the toolbox's base class.

    The toolbox's trainer, loader, checkpoints and logs are used as they are.
    """

    toolbox: ClassVar[Toolbox]

    def __init__(self, cfgs: dict[str, Any], training: bool) -> None:
        self._phase = "trainer_cfg" if training else "evaluator_cfg"
        notes = validate_config(
            cfgs,
            training,
            toolbox=self.toolbox,
            world_size=torch.distributed.get_world_size(),
        )
        super().__init__(cfgs, training)  # type: ignore[call-arg]
        for note in notes:
            self.msg_mgr.log_warning(note)  # type: ignore[attr-defined]

    def build_network(self, model_cfg: Mapping[str, Any]) -> None:
        engine = self.cfgs[self._phase]  # type: ignore[attr-defined]
        restored = engine.get("restore_hint", 0) != 0 and engine.get("restore_ckpt_strict", True)
        host = _ToolboxHost(self, fresh=self._phase == "trainer_cfg" and not restored)
        self.set_up(adapter_for(model_cfg), host)

    def inputs_pretreament(self, inputs: Sequence[Any]) -> tuple[Any, ...]:
        """Transform a batch as the toolbox does, and cut packed input along time, dimension 1.

        FastPoseGait would cut dimension 2 (docs/toolbox-contract.md, "Packs"), so the base class sees no lengths.
        """
        sequences, labels, types, views, lengths = inputs
        batch = (sequences, labels, types, views, None)
        base = super().inputs_pretreament  # type: ignore[misc]
        pretreatment = self.adapter.pretreatment(self.network)
        phase = "trainer_cfg" if self.training else "evaluator_cfg"
        made = pretreatment and pretreatment(batch, base, len(self.cfgs[phase]["transform"]))  # type: ignore[attr-defined]
        self._prepared = made is not None
        tensors, labels, types, views, _ = base(batch) if made is None else made
        if lengths is not None:
            lengths = torch.as_tensor(lengths, dtype=torch.int32, device=tensors[0].device)
            total = int(lengths.sum())
            tensors = [tensor[:, :total] for tensor in tensors]
        return tensors, labels, types, views, lengths

    def fix_BN(self) -> None:
        """What the toolbox does, and a warning where it is too early. Called at the start and after each test."""
        super().fix_BN()  # type: ignore[misc]
        warning = unsettled(self.network) if self.training else None
        if warning is not None:
            self.msg_mgr.log_warning(warning)  # type: ignore[attr-defined]

    def forward(self, inputs: Sequence[Any]) -> dict[str, dict[str, Any]]:
        if self.training:
            self.trained_share = self.iteration / self.engine_cfg["total_iter"]  # type: ignore[attr-defined]
        output = super().forward(inputs)
        # Logged as they are: mixed precision's types are not all known to tensorboard.
        output["visual_summary"] = {name: image.detach().float() for name, image in output["visual_summary"].items()}
        return output


class _ToolboxHost(Host):
    """A toolbox, as the model that it is building sees it."""

    def __init__(self, model: Any, fresh: bool) -> None:
        super().__init__(fresh)
        self.model = model

    @property
    def device(self) -> torch.device:
        # As both trainers place the model a little later.
        if not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", torch.distributed.get_rank())

    @property
    def packs(self) -> bool:
        kind = (self._engine.get("sampler") or {}).get("sample_type", "")
        return self._training and not str(kind).startswith("fixed")

    @property
    def _training(self) -> bool:
        return bool(self.model._phase == "trainer_cfg")

    @property
    def _engine(self) -> Mapping[str, Any]:
        engine: Mapping[str, Any] = self.model.cfgs[self.model._phase]
        return engine

    def sample(self, extractor: SignatureExtractor) -> HostInputs | None:
        if not isinstance(extractor, ToolboxSignature):
            return None
        return sample_batch(self.model.cfgs, self.model._phase, extractor)

    def signature(self, model_cfg: Mapping[str, Any], *, where: str) -> SignatureExtractor:
        models = importlib.import_module("modeling.models")
        name = str(model_cfg["model"])
        kind = getattr(models, name, None)
        if not isinstance(kind, type):
            known = [name for name, value in vars(models).items() if isinstance(value, type)]
            raise ConfigError(
                f"{self.model.toolbox.name} has no model {name!r}", where=f"{where}.model", how=suggest(name, known)
            )
        cfgs = {**self.model.cfgs, "model_cfg": model_cfg}
        attributes = {"cfgs": cfgs, "msg_mgr": self.model.msg_mgr, "iteration": 0, "engine_cfg": self._engine}
        hooks = [hook for hook in ("init_parameters", *self.model.toolbox.weight_hooks) if hasattr(kind, hook)]
        return ToolboxSignature(borrow(kind, model_cfg, attributes, hooks), kind.__name__)

    def say(self, text: str) -> None:
        self.model.msg_mgr.log_info(text)


def _keep_weights(self: Any) -> None:
    """Do nothing: the weights that ``build_network`` made or loaded stay."""


def model_class(adapter: type[ModelAdapter], base: type, toolbox: Toolbox, module_name: str) -> type:
    """The toolbox's model class for one of gaitext's networks.

    Args:
        base: the toolbox's ``BaseModel``.
        module_name: where the class is to appear to be defined.
    """
    namespace: dict[str, Any] = {
        "toolbox": toolbox,
        "__module__": module_name,
        "__doc__": adapter.__doc__,
        MARK: True,
    }
    namespace.update(dict.fromkeys(toolbox.weight_hooks, _keep_weights))
    return type(adapter.name, (ToolboxModel, base), namespace)


def _listed(parameters: Sequence[inspect.Parameter], *first: str) -> inspect.Signature:
    """A signature in which every parameter can be seen by ``getfullargspec(…)[0]``.

    That is where both toolboxes look; keyword-only parameters are invisible to them, and their
    values would be dropped without a word.
    """
    form = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    # Parameters without a default must come first in a signature; the order is of no use to the toolboxes.
    named.sort(key=lambda p: p.default is not p.empty)
    own = [inspect.Parameter(name, form) for name in first]
    return inspect.Signature(own + [p.replace(kind=form) for p in named])


def exposed(name: str, part: Callable[..., Any]) -> Any:
    """A transform, loss or sampler class, or an evaluation function, with all its parameters visible."""
    signature = inspect.signature(part)
    parameters = list(signature.parameters.values())
    if not inspect.isclass(part):

        def call(*args: Any, **kwargs: Any) -> Any:
            return part(*args, **kwargs)

        call.__name__ = call.__qualname__ = name
        call.__doc__ = part.__doc__
        call.__signature__ = _listed(parameters)  # type: ignore[attr-defined]
        setattr(call, MARK, True)
        return call

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        part.__init__(self, *args, **kwargs)

    __init__.__signature__ = _listed(parameters, "self")  # type: ignore[attr-defined]
    namespace = {"__init__": __init__, "__doc__": part.__doc__, "__module__": part.__module__, MARK: True}
    return type(name, (part,), namespace)


def reporting(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` for a toolbox: its result is logged, and comes back as the dict of its scalars.

    What is no :class:`EvaluationResult` comes back as it is.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        result = function(*args, **kwargs)
        if not isinstance(result, EvaluationResult):
            return result
        # The toolbox's own module, which has a message manager once the processes are connected.
        messages = importlib.import_module("utils").get_msg_mgr()
        for line in log_lines(result):
            messages.log_info(line)
        for note in result.notes:
            messages.log_warning(note)
        return dict(result.scalars)

    return call


def log_lines(result: EvaluationResult) -> list[str]:
    """A result as OpenGait's evaluation functions write theirs: titles, then ``NM: …``, then ``NM@R1: …``."""
    lines = [f"==={result.protocol}==="]
    for table in result.tables:
        lines.append(f"==={table.title}===")
        for name, values in table.rows:
            lines.append(f"{name}: " + ", ".join(f"{c} {cell}" for c, cell in zip(table.columns, table.cells(values))))
    kinds: dict[str, list[str]] = {}
    for name, value in result.scalars.items():
        short = name.rpartition("/")[2]
        kinds.setdefault(short.partition("@")[2], []).append(f"{short}: {value:.2f}{result.units.get(name, '%')}")
    return lines + ["\t".join(same) for same in kinds.values()]
