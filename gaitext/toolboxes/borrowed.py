"""A toolbox's model without the toolbox's trainer: how it is made, how its own inputs reach it, its signatures."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gaitext.errors import ConfigError
from gaitext.models.heads import BNNeck
from gaitext.models.signature import SignatureExtractor
from gaitext.toolboxes.adapter import HostInputs

#: The trainer's class, in both toolboxes: what a model's class has of its own comes before it.
_TRAINER = "BaseModel"


def reason(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}" if text else type(error).__name__


class _TrainersWork(Exception):
    """A model's own ``__init__`` asks for loaders or optimizers, which a borrowed model has none of."""


class _Untrained:
    """Stands between a model's class and its trainer's: ``super()`` in the model ends here."""

    def __init__(self: Any, cfgs: Any = None, training: bool = False, *_: Any, **__: Any) -> None:
        _build(self, *self._borrowed)

    def inputs_pretreament(self: Any, inputs: Sequence[Any]) -> Any:
        """What :func:`_pretreated` says, in place of the trainer's."""
        return self._base(inputs)


def _refuse(self: Any, *_: Any, **__: Any) -> Any:
    raise _TrainersWork


def _class(kind: type) -> type:
    trainer = next((base for base in kind.__mro__ if base.__name__ == _TRAINER), None)
    if trainer is None:
        return kind
    between = type("Untrained", (_Untrained, trainer), {"__module__": __name__})
    names = ("get_loader", "get_optimizer", "get_scheduler", "resume_ckpt")
    return type(kind.__name__, (kind, between), {"__module__": kind.__module__, **dict.fromkeys(names, _refuse)})


def _defines(kind: type, name: str) -> bool:
    """Whether a model's class, and not its trainer's, defines ``name``."""
    for base in kind.__mro__:
        if base.__name__ == _TRAINER or base is nn.Module:
            return False
        if name in vars(base):
            return True
    return False


def _build(network: Any, attributes: Mapping[str, Any], model_cfg: Mapping[str, Any], hooks: Sequence[str]) -> None:
    nn.Module.__init__(network)
    network.training = False  # read while some models are built; it never leaves evaluation
    for name, value in attributes.items():
        setattr(network, name, value)
    network.build_network(copy.deepcopy(dict(model_cfg)))
    for hook in hooks:
        getattr(network, hook)()


def borrow(
    kind: type, model_cfg: Mapping[str, Any], attributes: Mapping[str, Any], weight_hooks: Sequence[str] = ()
) -> nn.Module:
    """A toolbox's model, built and its weights begun, without loaders, optimizers and devices.

    An ``__init__`` of the model's own runs too, if it goes through its trainer's, which is replaced.

    Args:
        kind: the model's class.
        model_cfg: copied, as models may change theirs.
        attributes: what the model may read of its trainer, such as ``cfgs``.
        weight_hooks: methods with which the toolbox then makes the weights that training starts
            from. Some models make parts of their network there.

    Raises:
        ConfigError: it cannot be built, and why.
    """
    made: Any = _class(kind)
    network: Any = made.__new__(made)
    object.__setattr__(network, "_borrowed", (attributes, model_cfg, weight_hooks))
    failed: str | None = None
    try:
        if issubclass(made, _Untrained) and _defines(kind, "__init__"):
            try:
                network.__init__(attributes.get("cfgs"), False)
            except Exception as error:  # whatever it wants of a trainer's config; forward may do without
                failed = reason(error)
                network = made.__new__(made)
                _build(network, attributes, model_cfg, weight_hooks)
        else:
            _build(network, attributes, model_cfg, weight_hooks)
    except Exception as error:  # whatever a model says of a config that is not its own, or of files it wants
        raise ConfigError(
            f"{kind.__name__} cannot be built from it: {reason(error)}",
            where="model_cfg.gse.model_cfg",
            how="write stage 2's model_cfg there; files that it names must be where the toolbox runs",
        ) from error
    vars(network).pop("_borrowed", None)
    object.__setattr__(network, "_init_failed", failed)
    found: nn.Module = network
    return found


def own_inputs(network: nn.Module) -> bool:
    """Whether the model makes its inputs of a batch itself (``inputs_pretreament``), beyond transforming them."""
    return isinstance(network, _Untrained) and _defines(type(network).__mro__[1], "inputs_pretreament")


def _pretreated(network: Any, batch: Sequence[Any], base: Callable[[Sequence[Any]], Any]) -> Any:
    """A batch as the model's own ``inputs_pretreament`` makes it, in evaluation.

    Args:
        network: a borrowed model for which :func:`own_inputs` holds.
        batch: (sequences, labels, types, views, seqL), as a toolbox's loader makes it.
        base: what the model gets where it calls its trainer's ``inputs_pretreament``.
    """
    object.__setattr__(network, "_base", base)
    try:
        return network.inputs_pretreament(batch)
    finally:
        del network.__dict__["_base"]


@contextmanager
def quiet_randomness() -> Iterator[None]:
    """Whatever is drawn inside leaves every random number outside what it would have been."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    # The toolboxes' transforms draw from the old global generators.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002


class _Bypass(nn.Module):
    """In place of a BNNeck, for the feature and for the logits: its input."""

    def forward(self, x: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        return x, x


class _BypassedNorm(nn.Module):
    """In place of a BatchNorm: its input. No BatchNorm itself, or SyncBatchNorm would replace it."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class _PlainNeck(nn.Module):
    """GaitGL's head: a BatchNorm and a classifier that is not a cosine."""

    def __init__(self, norm: nn.Module, classify: nn.Module) -> None:
        super().__init__()
        self.norm, self.classify = norm, classify

    @property
    def classifier(self) -> Any:
        """[p, c, classes], as of a BNNeck."""
        return self.classify.fc_bin

    def embed(self, x: Tensor) -> Tensor:
        normal: Tensor = self.norm(x)
        return normal

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.embed(x)
        return embedding, self.classify(embedding)


class _ToolboxNeck(nn.Module):
    """A BNNeck of the toolbox's that is set otherwise than gaitext's: used as it is."""

    def __init__(self, neck: nn.Module) -> None:
        super().__init__()
        self.neck = neck

    @property
    def classifier(self) -> Any:
        """[p, c, classes]."""
        return self.neck.fc_bin

    def embed(self, x: Tensor) -> Tensor:
        return self(x)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        embedding, logits = self.neck(x)
        return embedding, logits


class _OtherCount(Exception):
    """A model makes another number of inputs than there are lists of transforms."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


class ToolboxSignature(SignatureExtractor):
    """A toolbox's model, made without its trainer.

    Its BNNecks (modules of the class ``SeparateBNNecks``, and GaitGL's ``Bn`` with ``Head1``) are
    bypassed, so that the embeddings at test are those before them in every model. They stay where
    they are in the extractor, whose weights then are the checkpoint's; :meth:`remove_neck` takes
    them out of a twin.

    Args:
        network: the model, after ``build_network``.
        name: for messages.
    """

    def __init__(self, network: nn.Module, name: str) -> None:
        super().__init__(network)
        self.name = name
        self._classes: dict[str, type[nn.Module]] = {}
        self._necks = [key for key, m in network.named_modules() if type(m).__name__ == "SeparateBNNecks"]
        self._plain = bool(getattr(network, "Bn_head", False)) and hasattr(network, "Bn") and hasattr(network, "Head1")
        # Another class, and the weights stay where they are, under their names in a checkpoint.
        for key in self._necks:
            self._set_class(key, _Bypass)
        if self._plain:
            self._set_class("Bn", _BypassedNorm)

    def _set_class(self, name: str, kind: type[nn.Module]) -> None:
        module = self.network.get_submodule(name)
        self._classes[name] = type(module)
        module.__class__ = kind

    def _original(self, name: str) -> Any:
        """A copy of the module, of its own class again."""
        copied: Any = copy.deepcopy(self.network.get_submodule(name))
        copied.__class__ = self._classes.get(name, type(copied))
        return copied

    def remove_neck(self) -> None:
        for key in self._necks:
            parent, _, attribute = key.rpartition(".")
            setattr(self.network.get_submodule(parent), attribute, _Bypass())
        if self._plain:
            self.network.Bn = self.network.Head1 = nn.Identity()

    def neck(self) -> nn.Module | None:
        if self._plain:
            return _PlainNeck(self._original("Bn"), self._original("Head1"))
        if len(self._necks) != 1:
            return None
        theirs = self._original(self._necks[0])
        classifier = theirs.fc_bin
        if not (getattr(theirs, "norm", True) and isinstance(theirs.bn1d, nn.BatchNorm1d)):
            return _ToolboxNeck(theirs)
        ours = BNNeck(*classifier.shape)
        ours.take_norm([(theirs.bn1d, len(ours.classifier))])
        ours.classifier.data.copy_(classifier.data)
        return ours

    @property
    def makes_inputs(self) -> bool:
        """Whether the model makes its inputs of a batch itself, such as one of two."""
        return own_inputs(self.network)

    def pretreat(self, batch: Sequence[Any], base: Callable[[Sequence[Any]], Any], lists: int) -> Any:
        """A loader's batch as the model's own ``inputs_pretreament`` makes it, transformed by ``base``.

        Args:
            batch: (sequences, labels, types, views, None).
            base: transforms a batch, each input by its own list.
            lists: how many of them there are.

        Returns:
            What ``base`` returns. None: the model has no such method, or makes another number of
            inputs than there are lists; then each input is transformed by its own, occluded, and
            :meth:`prepare` asks the model.

        Raises:
            ConfigError: there are as many lists neither as of the one nor as of the other.
        """
        if not self.makes_inputs:
            return None

        def counted(inner: Sequence[Any]) -> Any:
            if len(inner[0]) != lists:
                raise _OtherCount(len(inner[0]))
            return base(inner)

        try:
            return _pretreated(self.network, batch, counted)
        except _OtherCount as other:
            if len(batch[0]) == lists:
                return None
            raise ConfigError(
                f"{lists} transforms for {len(batch[0])} inputs, of which {self.name} makes {other.count}",
                where="transform",
                how=f"list {other.count}, as for {self.name} alone, or one for each of the {len(batch[0])} inputs",
            ) from None

    def prepare(self, inputs: HostInputs) -> HostInputs:
        """The inputs as the model's own ``inputs_pretreament`` makes them of transformed ones, if it has one."""
        if inputs.prepared or not self.makes_inputs:
            return inputs
        device = inputs.sequences[0].device
        # Models work on numpy arrays there, a list of sequences for each input.
        arrays = [list(sequence.detach().cpu().numpy()) for sequence in inputs.sequences]

        def base(batch: Sequence[Any]) -> tuple[Any, ...]:
            tensors = [torch.from_numpy(np.ascontiguousarray(np.stack(list(each)))).float() for each in batch[0]]
            return [tensor.to(device) for tensor in tensors], *batch[1:]

        made, *_ = _pretreated(self.network, (arrays, inputs.labels, inputs.types, inputs.views, None), base)
        return replace(inputs, sequences=[tensor.float().to(device) for tensor in made], prepared=True)

    def extract(self, inputs: HostInputs, seqL: Any) -> Tensor:
        inputs = self.prepare(inputs)
        if inputs.lengths is None:
            return self._call(inputs.sequences, inputs.labels, inputs.types, inputs.views, None)
        lengths = inputs.lengths.reshape(-1).tolist()
        if len(set(lengths)) == 1 and len(lengths) > 1:
            # As one fixed batch: nothing can leak from one sequence to the next.
            fixed = [sequence.reshape(len(lengths), lengths[0], *sequence.shape[2:]) for sequence in inputs.sequences]
            return self._call(fixed, inputs.labels, inputs.types, inputs.views, None)
        if self.training:
            # As the toolbox trains the model: its normalisations see the whole batch.
            return self._packed(inputs)
        # Alone, as the toolbox tests it: convolutions over time would mix packed sequences.
        rows, begin = [], 0
        for index, length in enumerate(lengths):
            alone = [sequence[:, begin : begin + length] for sequence in inputs.sequences]
            one = slice(index, index + 1)
            of = inputs.lengths.reshape(1, -1)[:, one]
            rows.append(self._call(alone, inputs.labels[one], inputs.types[one], inputs.views[one], of))
            begin += length
        return torch.cat(rows)

    def _packed(self, inputs: HostInputs) -> Tensor:
        """All packed sequences at once."""
        found = self._call(inputs.sequences, inputs.labels, inputs.types, inputs.views, inputs.lengths)
        assert inputs.lengths is not None
        if len(found) != inputs.lengths.numel():
            raise ConfigError(
                f"{self.name} does not tell packed sequences apart when it infers",
                where="trainer_cfg.sampler.sample_type",
                how="train with a fixed_… sample_type",
            )
        return found

    def check_packs(self, inputs: HostInputs) -> None:
        """Refuse a model that cannot be trained on packs, before it is.

        Raises:
            ConfigError: it takes the pack for one sequence.
        """
        inputs = self.prepare(inputs)
        n, frames = inputs.sequences[0].shape[:2]
        lengths = torch.full((1, n), int(frames), dtype=torch.int32, device=inputs.sequences[0].device)
        packed = [sequence.flatten(0, 1)[None] for sequence in inputs.sequences]
        mode = self.training
        self.eval()
        try:
            with torch.no_grad():
                self._packed(replace(inputs, sequences=packed, lengths=lengths))
        finally:
            self.train(mode)

    def _call(self, sequences: list[Tensor], labels: Tensor, types: Any, views: Any, lengths: Tensor | None) -> Tensor:
        # Copies, as some models write into their inputs, which the next network reads too.
        # Labels only pass through, and GaitGL refuses more than one when it infers.
        output = self.network(([sequence.clone() for sequence in sequences], labels[:1], types, views, lengths))
        features = output.get("inference_feat") or {}
        found = features.get("embeddings")
        if not isinstance(found, Tensor):
            given = f", only {', '.join(map(str, features))}" if features else ""
            raise ConfigError(
                f"{self.name} gives no embeddings at test{given}",
                where="model_cfg.gse.model_cfg.model",
                how="choose a model that recognises people",
            )
        return found

    def normalised_by(self, inputs: HostInputs, seqL: Any = None) -> str | None:
        """The BatchNorm whose output the embeddings are, if they are: there is more of a BNNeck then."""
        mode = self.training
        self.eval()  # or the statistics would move
        outputs: dict[str, Tensor] = {}
        hooks = [
            module.register_forward_hook(lambda _m, _i, out, name=name: outputs.__setitem__(name, out))
            for name, module in self.network.named_modules()
            if isinstance(module, nn.modules.batchnorm._BatchNorm)
        ]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                found = self(inputs, seqL).flatten().sort().values
        finally:
            self.train(mode)
            for hook in hooks:
                hook.remove()
        for name, out in outputs.items():
            if out.numel() == found.numel() and torch.equal(out.flatten().sort().values, found):
                return name
        return None
