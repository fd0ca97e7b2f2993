"""FBCNN as its description says, one operation after the other, on weights under the published names."""

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

Weights = dict[str, Tensor]


def published_shapes(channels: tuple[int, ...] = (64, 128, 256, 512), embedding: int = 512) -> dict[str, list[int]]:
    """The published names and shapes, with other numbers of channels: 64 becomes channels[0] and so on."""
    shapes = json.loads((Path(__file__).parent / "fbcnn_color.json").read_text())
    new = dict(zip((64, 128, 256, 512), channels))

    def resized(name: str, shape: list[int]) -> list[int]:
        sizes = [new.get(size, size) for size in shape]
        if name.startswith("qf_embed"):
            sizes = [embedding if size == 512 else size for size in shape]
        elif name.startswith("to_") and len(shape) == 2:
            sizes[1] = embedding
        return sizes

    return {name: resized(name, shape) for name, shape in shapes.items()}


def random_weights(shapes: dict[str, list[int]], seed: int = 0) -> Weights:
    """Weights under which no part of the network is negligible, and nothing explodes."""
    generator = torch.Generator().manual_seed(seed)
    weights = {}
    for name, shape in shapes.items():
        fan_in = max(1, torch.Size(shape[1:]).numel())
        scale = 0.1 if name.endswith("bias") else (0.3 if ".res." in name else 1.0) * fan_in**-0.5
        weights[name] = torch.randn(shape, generator=generator) * scale
        if name.startswith("qf_embed"):
            weights[name].abs_()  # few ReLUs with weights of any sign may all be shut, whatever the quality
    return weights


def fbcnn(weights: Weights, images: Tensor, quality: Tensor | None, levels: int = 3, blocks: int = 4) -> Tensor:
    """Restored images; ``quality`` [N, 1], or None for the predictor's."""
    w = {name: value.double() for name, value in weights.items()}
    height, width = images.shape[2:]
    down, right = -height % 2**levels, -width % 2**levels
    x = images.double()
    # The last row and column again and again.
    x = torch.cat([x, *[x[:, :, -1:]] * down], 2)
    x = torch.cat([x, *[x[:, :, :, -1:]] * right], 3)

    def conv(x: Tensor, name: str, stride: int = 1, padding: int = 1) -> Tensor:
        return F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=stride, padding=padding)

    def residual(x: Tensor, name: str) -> Tensor:
        return conv(conv(x, f"{name}.res.0").clamp(min=0), f"{name}.res.2")

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    before = [conv(x, "m_head")]
    for level in range(1, levels + 1):
        x = before[-1]
        for block in range(blocks):
            x = x + residual(x, f"m_down{level}.{block}")
        before.append(conv(x, f"m_down{level}.{blocks}", stride=2, padding=0))
    x = before[-1]
    for block in range(blocks):
        x = x + residual(x, f"m_body_encoder.{block}")
    if quality is None:
        quality = predicted(weights, x, blocks)
    for block in range(blocks):
        x = x + residual(x, f"m_body_decoder.{block}")
    embedded = quality.double()
    for layer in (0, 2, 4):
        embedded = linear(embedded, f"qf_embed.{layer}").clamp(min=0)
    for level in range(levels, 0, -1):
        x = x + before[level]
        name = f"m_up{level}.0"
        x = F.conv_transpose2d(x, w[f"{name}.weight"], w[f"{name}.bias"], stride=2)
        gamma = 1 / (1 + torch.exp(-linear(embedded, f"to_gamma_{level}.0")))
        beta = torch.tanh(linear(embedded, f"to_beta_{level}.0"))
        for block in range(1, blocks + 1):
            x = x + gamma[:, :, None, None] * residual(x, f"m_up{level}.{block}") + beta[:, :, None, None]
    return conv(x + before[0], "m_tail")[:, :, :height, :width]


def predicted(weights: Weights, encoded: Tensor, blocks: int = 4) -> Tensor:
    """The predictor's quality [N, 1] of the encoder's output."""
    w = {name: value.double() for name, value in weights.items()}
    x = encoded
    for block in range(blocks):
        hidden = F.conv2d(x, w[f"qf_pred.{block}.res.0.weight"], w[f"qf_pred.{block}.res.0.bias"], padding=1)
        name = f"qf_pred.{block}.res.2"
        x = x + F.conv2d(hidden.clamp(min=0), w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
    x = x.flatten(2).mean(2)
    for layer in (6, 8, 10):
        x = x @ w[f"qf_pred.{layer}.weight"].T + w[f"qf_pred.{layer}.bias"]
        if layer < 10:
            x = x.clamp(min=0)
    return 1 / (1 + torch.exp(-x))
