"""Layers whose training step on a CPU is exact and safe, however maps and weights lie in memory.

Two faults of torch's CPU kernels are kept away from here:

* BatchNorm of maps that lie channels last, and of [N, C], adds up a batch in one float32 number per
  channel. The more there is to add, the more is lost: of 2,880 maps of 64×48 the variance is off by
  more than itself, and gradients and running statistics with it.
* The weight's gradient of a 1×1 convolution with a stride, of fewer than 16 channels that lie
  channels last, writes beyond its memory (torch 2.14.1, oneDNN 3.12).

Parameters, buffers, checkpoints and options are torch's; on other devices so is the computation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

Network = TypeVar("Network", bound=nn.Module)

#: Values that are worked on at once: they stay in a core's cache from one pass over them to the next.
_BLOCK = 1 << 18


class _ExactBatchNorm(_BatchNorm):
    """What the classes below share."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Take any."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        batch = self.training or self.running_mean is None
        wanted = torch.is_grad_enabled() and self.affine and (self.weight.requires_grad or self.bias.requires_grad)
        # Of too few values torch complains.
        if not (batch or wanted) or input.numel() < 2 * input.shape[1] or not _eager_on_cpu(input):
            return super().forward(input)
        input = _dense(input)
        if batch:
            with torch.no_grad():
                mean, variance = moments(_maps(input))
                if self.training:
                    count = input.numel() // input.shape[1]
                    self._track(mean, variance * (count / (count - 1)))
        else:
            assert self.running_mean is not None
            assert self.running_var is not None
            mean, variance = self.running_mean.double(), self.running_var.double()
        normalised: Tensor = _Normalise.apply(
            input, self.weight, self.bias, mean, torch.rsqrt(variance + self.eps), batch
        )
        return normalised

    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as torch does."""
        if self.running_mean is None or self.running_var is None:
            return
        share = self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if share is None:
                share = 1 / float(self.num_batches_tracked)
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            running.copy_(torch.lerp(running.double(), found, float(share or 0)))


class BatchNorm1d(_ExactBatchNorm, nn.BatchNorm1d):
    """:class:`torch.nn.BatchNorm1d`."""

    _check_input_dim = nn.BatchNorm1d._check_input_dim


class BatchNorm2d(_ExactBatchNorm, nn.BatchNorm2d):
    """:class:`torch.nn.BatchNorm2d`."""

    _check_input_dim = nn.BatchNorm2d._check_input_dim


class BatchNorm3d(_ExactBatchNorm, nn.BatchNorm3d):
    """:class:`torch.nn.BatchNorm3d`."""

    _check_input_dim = nn.BatchNorm3d._check_input_dim


class Conv2d(nn.Conv2d):
    """:class:`torch.nn.Conv2d`, which on a CPU leaves out pixels by itself where its kernel is 1×1."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if input.device.type == "cpu" and _is_strided_1x1(self):
            return F.conv2d(_strided(input, self.stride), weight, bias, groups=self.groups)
        return super()._conv_forward(input, weight, bias)


def exact_on_cpu(network: Network) -> Network:
    """Have a network's BatchNorms and 1×1 convolutions work as those here, whoever wrote it; in place.

    Names and weights stay. What has a forward pass of its own is left alone.
    """
    ours = {nn.BatchNorm1d: BatchNorm1d, nn.BatchNorm2d: BatchNorm2d, nn.BatchNorm3d: BatchNorm3d}
    for module in network.modules():
        if isinstance(module, _BatchNorm) and type(module).forward is _BatchNorm.forward:
            module.__class__ = ours.get(type(module), _ExactBatchNorm)
        elif isinstance(module, nn.Conv2d) and not isinstance(module, Conv2d) and _is_strided_1x1(module):
            # Libraries have subclasses of their own, whose forward pass must still be called.
            module.register_forward_pre_hook(_TakeStridedPixels(module.stride))
            module.stride = (1, 1)
    return network


class _TakeStridedPixels:
    """Before a 1×1 convolution: only the pixels that its stride would have met."""

    def __init__(self, stride: tuple[int, ...]) -> None:
        self.stride = stride

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return _strided(inputs[0], self.stride), *inputs[1:]


def _is_strided_1x1(conv: nn.Conv2d) -> bool:
    """Whether it sees some pixels, one by one, and not the others."""
    return conv.kernel_size == (1, 1) and conv.padding in ((0, 0), "valid", "same") and conv.stride != (1, 1)


def _strided(x: Tensor, stride: tuple[int, ...]) -> Tensor:
    return x[..., :: stride[0], :: stride[1]]


def _eager_on_cpu(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling() and not torch.jit.is_tracing()


def _dense(x: Tensor) -> Tensor:
    """[N, C, …] whose memory is [N, C, …] or [N, …, C]: itself, if it lies so."""
    return x if x.is_contiguous() else x.movedim(1, -1).contiguous().movedim(-1, 1)


def _maps(x: Tensor) -> Tensor:
    """What is laid out as [N, C, S] or, channels last, as [M, C, 1], in the same memory."""
    return x.view(*x.shape[:2], -1) if x.is_contiguous() else x.movedim(1, -1).view(-1, x.shape[1], 1)


def _blocks(*maps: Tensor) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(each.split(max(1, _BLOCK // each[0].numel())) for each in maps))


def _precise(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype == torch.float64 else torch.float32


def moments(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of the channels of ``maps`` [N, C, S]: two float64 tensors [C].

    Each block's deviations are taken from its own mean, so that nothing cancels, and the blocks are put
    together in float64 (Chan, Golub & LeVeque 1983). What rounding a block's mean leaves over is made good.
    """
    found, counts = [], []
    for (block,) in _blocks(maps):
        count = len(block) * block.shape[2]
        centre = block.sum((0, 2), dtype=_precise(maps)).div_(count)
        away = block - centre[:, None]
        found.append((centre, away.sum((0, 2)), away.square_().sum((0, 2))))
        counts.append([count])
    each = torch.tensor(counts, dtype=torch.float64)
    centres, rests, squares = (torch.stack(parts).double() for parts in zip(*found))
    means = centres + rests / each
    mean = (means * each).sum(0) / each.sum()
    inside = squares - rests.square() / each
    return mean, (inside + each * (means - mean).square()).sum(0) / each.sum()


class _Normalise(torch.autograd.Function):
    """(x − mean) · inverse_sd · weight + bias, block by block.

    Args:
        x: [N, C, …], laid out.
        mean, inverse_sd: [C], float64.
        batch: they are x's own, and x's gradient goes through them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, inverse_sd: Tensor, batch: bool
    ) -> Tensor:
        ctx.save_for_backward(x, weight, bias, mean, inverse_sd)
        ctx.batch = batch
        kind = _precise(x)
        centre = mean.to(kind)
        scale = inverse_sd if weight is None else inverse_sd * weight
        # What rounding the mean leaves over.
        shift = (centre - mean) * scale
        shift = (shift if bias is None else shift + bias).to(kind)
        scale = scale.to(kind)
        y = torch.empty_like(x)
        centre, scale, shift = (each[:, None] for each in (centre, scale, shift))
        for block, into in _blocks(_maps(x), _maps(y)):
            away = torch.sub(block, centre, out=into) if x.dtype == kind else block - centre
            torch.addcmul(shift, away, scale, out=away)
            if away is not into:
                into.copy_(away)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse_sd = ctx.saved_tensors
        kind = _precise(x)
        centre = mean.to(kind)
        alike = grad.contiguous() if x.is_contiguous() else grad.movedim(1, -1).contiguous().movedim(-1, 1)
        maps, given = _maps(x), _maps(alike)
        sums = [
            (g.sum((0, 2), dtype=kind), (block - centre[:, None]).mul_(g).sum((0, 2)))
            for block, g in _blocks(maps, given)
        ]
        total, along = (torch.stack(each).sum(0, dtype=torch.float64) for each in zip(*sums))
        rest = centre - mean
        along += rest * total
        grad_weight = None if weight is None else (along * inverse_sd).to(weight.dtype)
        grad_bias = None if bias is None else total.to(bias.dtype)
        if not ctx.needs_input_grad[0]:
            return None, grad_weight, grad_bias, None, None, None
        # scale · (g − mean(g) − (x − mean) · mean(g · (x − mean)) / variance)
        scale = inverse_sd if weight is None else inverse_sd * weight
        share = ctx.batch / (x.numel() // x.shape[1])
        slope = -scale * along * inverse_sd.square() * share
        shift = rest * slope - scale * total * share
        centre, scale, slope, shift = (each.to(kind)[:, None] for each in (centre, scale, slope, shift))
        grad_x = torch.empty_like(x)
        for block, g, into in _blocks(maps, given, _maps(grad_x)):
            away = torch.sub(block, centre, out=into) if x.dtype == kind else block - centre
            torch.addcmul(shift, away, slope, out=away).addcmul_(g, scale)
            if away is not into:
                into.copy_(away)
        return grad_x, grad_weight, grad_bias, None, None, None
