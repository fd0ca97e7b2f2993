"""BatchNorm taken into the convolutions before it, where nothing is trained.

In evaluation BatchNorm is one multiplication and one addition per channel, which a convolution's weight and bias can
do. :class:`Folding` does it for the blocks of gaitext's own networks, and undoes it when they train again or change;
:func:`fold_network` for a network of anybody's, in a copy that stays in evaluation. The arithmetic is
:func:`folded_weights`, for both.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from gaitext.models.exact_layers import Conv2d
from gaitext.models.packing import exporting

log = logging.getLogger(__name__)

#: The operators to which torch's own compiler lowers a convolution with what follows it: a tenth faster than
#: one operation after the other, and the same to the last bit.
_FUSED: Any = (
    getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None
)
_FUSED_SUM: Any = None if _FUSED is None else torch.ops.mkldnn._convolution_pointwise_


def folded_weights(
    conv: Any, norm: Any, dtype: torch.dtype, statistics: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that does its BatchNorm's work, too.

    Args:
        conv: a (transposed) convolution.
        norm: a BatchNorm with running statistics, in evaluation mode.
        dtype: of the result; half precision is computed in float32, and rounded then.
        statistics: in which the BatchNorm's numbers are worked with.
    """
    mean, variance = norm.running_mean.to(statistics), norm.running_var.to(statistics)
    gain = torch.ones_like(mean) if norm.weight is None else norm.weight.to(statistics)
    bias = torch.zeros_like(mean) if norm.bias is None else norm.bias.to(statistics)
    inverse_sd = torch.rsqrt(variance + norm.eps)
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    per_output = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    scaled = conv.weight.to(precise) * (gain * inverse_sd).to(precise).view(per_output)
    own = torch.zeros_like(mean) if conv.bias is None else conv.bias
    return scaled.to(dtype), ((own - mean) * inverse_sd * gain + bias).to(dtype)


class FoldedConv:
    """A convolution and its BatchNorm in one, ReLU and a sum with it."""

    def __init__(self, conv: Any, norm: Any, dtype: torch.dtype) -> None:
        weight, self.bias = folded_weights(conv, norm, dtype)
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.stride, self.padding = list(conv.stride), [int(size) for size in conv.padding]

    def __call__(self, x: Tensor, *, relu: bool = True, add: Tensor | None = None) -> Tensor:
        """Convolve x [N, in, h, w] of any dtype, add ``add`` [N, out, h', w'], which is overwritten, then ReLU."""
        x = x.to(self.weight.dtype)
        if self._fuses:
            given = (x, self.weight, self.bias, self.padding, self.stride, [1, 1], 1)
            if add is not None:
                summed: Tensor = _FUSED_SUM.binary(add, *given, "add", 1.0, "relu" if relu else None, [], "")
                return summed
            convolved: Tensor = _FUSED(*given, "relu" if relu else "none", [], "")
            return convolved
        y = F.conv2d(x, self.weight, self.bias, self.stride, self.padding)
        if add is not None:
            y = y.add_(add)
        return y.relu_() if relu else y

    @property
    def _fuses(self) -> bool:
        return bool(
            _FUSED is not None
            and torch.backends.mkldnn.enabled
            and self.weight.device.type == "cpu"
            and (self.weight.dtype == torch.float32 or (self.weight.dtype == torch.bfloat16 and _bf16_fuses()))
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
        )


@cache
def _bf16_fuses() -> bool:
    """Whether this processor has what oneDNN's bfloat16 needs: AVX-512, or AVX-NE-CONVERT; without, it raises."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Folding(nn.Module):
    """A block that folds its BatchNorms in evaluation, without gradients.

    It is done once, at the first forward pass after ``eval()``. Training mode, a move to another device or dtype and
    another precision of autocast undo it, and so does every change of a weight or statistic that torch counts:
    ``load_state_dict``, an optimizer's step, any operation in place. What is written through ``.data`` torch does not
    count; call ``eval()`` after it. Copies and pickles do not take the folded weights with them.
    """

    _folded: tuple[list[Any], list[FoldedConv]] | None = None

    def convolutions(self) -> list[tuple[nn.Module, nn.Module]]:
        """Each convolution with the BatchNorm that reads it."""
        raise NotImplementedError

    def folded(self) -> list[FoldedConv] | None:
        """The same convolutions, folded, in the precision that autocast asks for, or that of the weights.

        None where the block must run as it is: a gradient may be wanted, a BatchNorm takes the batch's statistics, a
        hook looks at a module inside, or somebody has put other modules in place of ours.
        """
        if torch.is_grad_enabled() or exporting():
            return None
        pairs = self.convolutions()
        if not all(_foldable(*pair) for pair in pairs) or any(map(_hooked, self.modules())):
            return None
        conv: Any = pairs[0][0]
        device = conv.weight.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else conv.weight.dtype
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return [FoldedConv(*pair, dtype) for pair in pairs]
        state = [dtype, *(_state(tensor) for pair in pairs for module in pair for tensor in _tensors(module))]
        if self._folded is None or None in state or self._folded[0] != state:
            self._folded = state, [FoldedConv(*pair, dtype) for pair in pairs]
        return self._folded[1]

    def train(self, mode: bool = True) -> Folding:
        """As of every module; what was folded is folded anew when it is next needed."""
        self._folded = None
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Folding:
        self._folded = None
        return super()._apply(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_folded"}


def _tensors(module: nn.Module) -> list[Tensor]:
    return [*module._parameters.values(), *module._buffers.values()]  # type: ignore[list-item]


def _state(tensor: Tensor | None) -> Any:
    """What differs when a tensor has changed or moved; None where that cannot be told."""
    if tensor is None:
        return ()
    # A tensor made under inference_mode has no version.
    return None if tensor.is_inference() else (tensor._version, tensor.data_ptr(), tensor.dtype, tensor.device)


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        isinstance(conv, nn.Conv2d)
        and type(conv) in (nn.Conv2d, Conv2d)
        and not isinstance(conv.padding, str)
        and (conv.dilation, conv.groups) == ((1, 1), 1)
        and isinstance(norm, _BatchNorm)
        and not norm.training
        and norm.running_mean is not None
        and norm.weight is not None
    )


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


@torch.no_grad()
def fold_network(network: nn.Module, probe: Tensor) -> nn.Module:
    """A network in which every BatchNorm that follows a convolution is part of its weights.

    What follows what is seen by running the network once, so that any code may connect its modules. The result is
    checked on ``probe``; where it differs by more than rounding (a convolution whose output is read elsewhere, too),
    the network is left as it is.

    Args:
        network: on the CPU, in float32 and evaluation mode. It is not changed.
        probe: an input of it, not constant.

    Returns:
        The folded copy, or ``network`` where there is nothing to fold.
    """
    folded = copy.deepcopy(network)
    pairs = _followed(folded, probe)
    if not pairs:
        return network
    for conv, norm in pairs:
        # In float32 as ever: extracted heatmaps stay the same to the last bit.
        weight, bias = folded_weights(conv, norm, torch.float32, torch.float32)
        conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    gone = {id(norm) for _, norm in pairs}
    for module in folded.modules():
        for name, child in module.named_children():
            if id(child) in gone:
                setattr(module, name, nn.Identity())
    before, after = network(probe), folded(probe)
    # Rounding grows with depth; anything folded wrongly is off by the size of the values.
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4 * float(before.abs().max())):
        log.debug("BatchNorm is not folded: the result differs by %g", float((before - after).abs().max()))
        return network
    return folded.requires_grad_(False)


def _followed(network: nn.Module, probe: Tensor) -> Sequence[tuple[Any, nn.Module]]:
    """Convolutions and the BatchNorms that read their outputs, both used once, with weights of their own."""
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensors are kept, or ids would be given anew
    calls: Counter[int] = Counter()
    pairs: list[tuple[Any, nn.Module]] = []

    def after(module: nn.Module, _: Any, output: Tensor) -> None:
        calls[id(module)] += 1
        made[id(output)] = (module, output)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[id(module)] += 1
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))

    convolutions = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.track_running_stats]
    hooks = [conv.register_forward_hook(after) for conv in convolutions]
    hooks += [norm.register_forward_pre_hook(before) for norm in norms]
    try:
        network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    owners = Counter(id(conv.weight) for conv in convolutions)
    return [
        (conv, norm)
        for conv, norm in pairs
        if calls[id(conv)] == calls[id(norm)] == owners[id(conv.weight)] == 1
        # A transposed convolution's weights are laid out by group.
        and not (isinstance(conv, nn.ConvTranspose2d) and conv.groups > 1)
    ]


#: By then a statistic's start weighs less than half a per cent (0.9 ** 50), with torch's momentum.
_SETTLED = 50


def unsettled(network: nn.Module) -> str | None:
    """What to say of a network whose BatchNorms are to be fixed (``fix_BN``) too early; None where all is well.

    A BatchNorm begins with mean 0 and variance 1, and moves them by a tenth with each batch. Fixed
    before that has come anywhere, it does not normalise, and losses grow until they are no numbers,
    in the toolboxes' own models as well.

    >>> unsettled(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
    'fix_BN: 1 of 1 BatchNorms have seen 0 batches, and hardly normalise: begin at a trained checkpoint (restore_hint)'
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    few = [seen for seen in map(_seen, norms) if seen < _SETTLED]
    if not few:
        return None
    return (
        f"fix_BN: {len(few)} of {len(norms)} BatchNorms have seen {min(few)} batches, and hardly normalise: "
        "begin at a trained checkpoint (restore_hint)"
    )


def _seen(norm: _BatchNorm) -> int:
    """How many batches the statistics have seen; some checkpoints hold statistics and no count."""
    mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
    seen = 0 if count is None else int(count)
    fresh = mean is None or variance is None or (not bool(mean.any()) and bool((variance == 1).all()))
    return _SETTLED if seen == 0 and not fresh else seen
