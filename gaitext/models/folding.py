"""The ResNet of gait maps where nothing is trained: BatchNorm folded into convolutions, what follows fused in.

Folding is done anew at every call, of the weights as they are then: a few milliseconds, for which a
copy can never be out of date, whatever loads, trains, moves or copies the network in between.

Whether a network's normalisations can be fixed: their running statistics have to be settled first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from gaitext.models.exact_layers import Conv2d
from gaitext.models.resnet import BasicBlock, Stem

__all__ = ["FoldedConv", "Layer", "channels_last", "chunk_size", "inference_layers", "unsettled"]


#: A stem or a stage: [N, c, h, w] -> [N, c', h', w'].
Layer = Callable[[Tensor], Tensor]

#: The operators to which torch's own compiler lowers a convolution with what follows it.
_FUSED: Any = (
    getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None
)
_FUSED_SUM: Any = None if _FUSED is None else torch.ops.mkldnn._convolution_pointwise_


def channels_last(maps: Tensor) -> Tensor:
    """The same maps [N, C, H, W], lying as [N, H, W, C], in which convolutions are fastest.

    torch takes maps of one channel for channels first, whatever their strides, unless these say otherwise.
    """
    if maps.shape[1] == 1:
        return maps.squeeze(1).contiguous().unsqueeze(-1).permute(0, 3, 1, 2)
    return maps.contiguous(memory_format=torch.channels_last)


def chunk_size(chosen: int | None, frames: Tensor, modules: Iterable[nn.Module]) -> int:
    """Frames that go through at once: the setting's, or as many as a CPU's caches hold, or a GPU keeps busy with.

    It is all of them where a gradient may be wanted, or a BatchNorm in ``modules`` takes statistics.
    """
    if torch.is_grad_enabled() or any(isinstance(m, _BatchNorm) and m.training for n in modules for m in n.modules()):
        return len(frames)
    return chosen or (16 if frames.device.type == "cpu" else 256)


class FoldedConv:
    """A convolution and its BatchNorm in one, ReLU and a sum with it.

    Args:
        weight: [out, in, k, k], scaled by the BatchNorm.
        bias: [out].
        stride, padding: the convolution's.
    """

    def __init__(self, weight: Tensor, bias: Tensor, stride: Sequence[int], padding: Sequence[int]) -> None:
        self.weight = weight.contiguous(memory_format=torch.channels_last)
        self.bias, self.stride, self.padding = bias, list(stride), list(padding)
        self.fused = (
            _FUSED is not None
            and torch.backends.mkldnn.enabled
            and weight.device.type == "cpu"
            and weight.dtype in (torch.float32, torch.bfloat16)
            and not torch.compiler.is_compiling()
            and not torch.jit.is_tracing()
        )

    def __call__(self, x: Tensor, *, relu: bool = True, add: Tensor | None = None) -> Tensor:
        """Convolve x [N, in, h, w] of any dtype, add ``add`` [N, out, h', w'], which is overwritten, then ReLU."""
        x = x.to(self.weight.dtype)
        if self.fused:
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


class _FoldedBlock:
    """A :class:`~gaitext.models.resnet.BasicBlock`. Without a projection it overwrites its input."""

    def __init__(self, first: FoldedConv, second: FoldedConv, shortcut: FoldedConv | None) -> None:
        self.first, self.second, self.shortcut = first, second, shortcut

    def __call__(self, x: Tensor) -> Tensor:
        out = self.first(x)
        return self.second(out, add=x if self.shortcut is None else self.shortcut(x, relu=False))


class _Chain:
    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


def inference_layers(modules: Sequence[nn.Module]) -> list[Layer] | None:
    """Stems and stages for a forward pass without gradients; None where they must run as they are.

    The layers take and give maps channels last, in the precision that autocast asks for, or that of
    the weights; a stage may overwrite its input.

    They must run as they are if a gradient may be wanted, a BatchNorm takes the batch's statistics,
    a hook looks at a module inside, or somebody has put other modules in place of ours.
    """
    if torch.is_grad_enabled():
        return None
    pairs: list[tuple[nn.Conv2d, _BatchNorm]] = []
    for module in modules:
        found = _pairs(module)
        if found is None or any(_hooked(m) for m in module.modules()):
            return None
        pairs += found
    if not all(_foldable(*pair) for pair in pairs):
        return None
    folded = iter(_fold(pairs))
    layers: list[Layer] = []
    for module in modules:
        if isinstance(module, Stem):
            layers.append(next(folded))
            continue
        blocks = []
        for block in cast(nn.Sequential, module):
            first, second = next(folded), next(folded)
            blocks.append(_FoldedBlock(first, second, next(folded) if _projects(block) else None))
        layers.append(_Chain(blocks))
    return layers


def _pairs(module: nn.Module) -> list[tuple[nn.Conv2d, _BatchNorm]] | None:
    """A stem's or stage's convolutions, each with its BatchNorm, block by block; None of anything else."""
    found: list[Any] = []
    if type(module) is Stem:
        return [(module.conv, module.norm)]
    if type(module) is not nn.Sequential:
        return None
    for block in module:
        if type(block) is not BasicBlock:
            return None
        found += [(block.conv1, block.norm1), (block.conv2, block.norm2)]
        if _projects(block):
            found.append(tuple(cast(nn.Sequential, block.shortcut)))
    return found


def _projects(block: nn.Module) -> bool:
    return isinstance(block.shortcut, nn.Sequential)


def _hooked(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _foldable(conv: nn.Module, norm: nn.Module) -> bool:
    return (
        type(conv) in (nn.Conv2d, Conv2d)
        and isinstance(norm, _BatchNorm)
        and not norm.training
        and norm.running_mean is not None
        and norm.weight is not None
    )


def _fold(pairs: Sequence[tuple[nn.Conv2d, _BatchNorm]]) -> list[FoldedConv]:
    """All of them at once: on a GPU every operation on every layer would cost as much as one on all."""
    convs, norms = zip(*pairs)
    device = convs[0].weight.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else convs[0].weight.dtype
    # A double network stays one; half precision is folded in float32, and rounded then.
    precise = torch.float64 if dtype == torch.float64 else torch.float32
    sizes = [len(norm.weight) for norm in norms]
    mean, var, weight, bias = (
        torch.cat([getattr(norm, name) for norm in norms]).double()
        for name in ("running_mean", "running_var", "weight", "bias")
    )
    eps = [norm.eps for norm in norms]
    var = var + eps[0] if len(set(eps)) == 1 else torch.cat([v + e for v, e in zip(var.split(sizes), eps)])
    scale = weight * torch.rsqrt(var)
    shift = (bias - mean * scale).to(dtype).split(sizes)
    scales = [each[:, None, None, None] for each in scale.split(sizes)]
    weights = torch._foreach_mul([conv.weight.to(precise) for conv in convs], [each.to(precise) for each in scales])
    return [
        FoldedConv(w.to(dtype), b, conv.stride, cast("tuple[int, int]", conv.padding))
        for w, b, conv in zip(weights, shift, convs)
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
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    few = [seen for seen in map(_seen, norms) if seen < _SETTLED]
    if not few:
        return None
    return (
        f"fix_BN: {len(few)} of {len(norms)} BatchNorms have seen {min(few)} batches, and hardly normalise: "
        "begin at a trained checkpoint (restore_hint)"
    )


def _seen(norm: nn.modules.batchnorm._BatchNorm) -> int:
    """How many batches the statistics have seen; some checkpoints hold statistics and no count."""
    mean, variance, count = norm.running_mean, norm.running_var, norm.num_batches_tracked
    seen = 0 if count is None else int(count)
    fresh = mean is None or variance is None or (not bool(mean.any()) and bool((variance == 1).all()))
    return _SETTLED if seen == 0 and not fresh else seen
