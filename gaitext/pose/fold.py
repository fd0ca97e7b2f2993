"""Convolutions that take in the normalisation behind them."""

from __future__ import annotations

import copy
import logging
from collections import Counter
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

__all__ = ["fold_normalisation"]

logger = logging.getLogger(__name__)

_Convolution = (nn.Conv2d, nn.ConvTranspose2d)


@torch.no_grad()
def fold_normalisation(network: nn.Module, probe: Tensor) -> nn.Module:
    """A network in which every BatchNorm that follows a convolution is part of its weights.

    In evaluation mode BatchNorm is one multiplication and one addition per channel, which the
    convolution can do. What follows what is seen by running the network once, so that any code
    may connect its modules. The result is checked on ``probe``; where it differs by more than
    rounding (a convolution whose output is read elsewhere, too), the network is left as it is.

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
    for convolution, norm in pairs:
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            cast(Tensor, norm.running_mean),
            cast(Tensor, norm.running_var),
            norm.eps,
            norm.weight,
            norm.bias,
            transpose=transposed,
        )
    gone = {id(norm) for _, norm in pairs}
    for module in folded.modules():
        for name, child in module.named_children():
            if id(child) in gone:
                setattr(module, name, nn.Identity())
    before, after = network(probe), folded(probe)
    # Rounding grows with depth; anything folded wrongly is off by the size of the values.
    if not torch.allclose(before, after, rtol=1e-3, atol=1e-4 * float(before.abs().max())):
        logger.debug("BatchNorm is not folded: the result differs by %g", float((before - after).abs().max()))
        return network
    return folded.requires_grad_(False)


def _followed(network: nn.Module, probe: Tensor) -> list[tuple[Any, nn.BatchNorm2d]]:
    """Convolutions and the BatchNorms that read their outputs, both used once, with weights of their own."""
    made: dict[int, tuple[nn.Module, Tensor]] = {}  # the tensors are kept, or ids would be given anew
    calls: Counter[int] = Counter()
    pairs: list[tuple[Any, nn.BatchNorm2d]] = []

    def after(module: nn.Module, _: Any, output: Tensor) -> None:
        calls[id(module)] += 1
        made[id(output)] = (module, output)

    def before(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        calls[id(module)] += 1
        if id(inputs[0]) in made:
            pairs.append((made[id(inputs[0])][0], module))  # type: ignore[arg-type]

    hooks = []
    for module in network.modules():
        if isinstance(module, _Convolution):
            hooks.append(module.register_forward_hook(after))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            hooks.append(module.register_forward_pre_hook(before))
    try:
        network(probe)
    finally:
        for hook in hooks:
            hook.remove()
    owners = Counter(id(module.weight) for module in network.modules() if isinstance(module, _Convolution))
    grouped = (c for c, _ in pairs if isinstance(c, nn.ConvTranspose2d) and c.groups > 1)
    skipped = {id(c) for c in grouped}  # their weights are laid out by group
    return [
        (c, n)
        for c, n in pairs
        if calls[id(c)] == 1 and calls[id(n)] == 1 and owners[id(c.weight)] == 1 and id(c) not in skipped
    ]
