"""GaitHeat the slow, obvious way: the published arrangement, under the published names.

Written from the paper's equations and the published checkpoint's keys and shapes alone: one
sequence, one frame, one map at a time, plain functional calls, weights looked up by their
published names.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

UPPER, LOWER = range(0, 11), range(11, 17)


def random_weights(shapes: dict[str, list[int]], seed: int = 0) -> dict[str, Tensor]:
    """Weights of the published shapes at a scale at which signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    weights: dict[str, Tensor] = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            weights[key] = torch.tensor(1)
        elif key.endswith("running_var") or (key.endswith("weight") and len(shape) == 1):
            weights[key] = torch.rand(shape, generator=generator) + 0.5
        elif len(shape) == 1:
            weights[key] = torch.randn(shape, generator=generator) * 0.1
        else:
            fan_in = math.prod(shape[1:]) if len(shape) == 4 else shape[1]
            weights[key] = torch.randn(shape, generator=generator) * (2 / fan_in) ** 0.5
    return weights


def published_shapes() -> dict[str, list[int]]:
    return json.loads((Path(__file__).parent / "gaitheat_fastposegait.json").read_text())


def batch_norm(w: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    shape = (1, -1, 1, 1) if x.ndim == 4 else (1, -1)
    scaled = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + 1e-5)
    return scaled * w[f"{name}.weight"].view(shape) + w[f"{name}.bias"].view(shape)


def block(w: dict[str, Tensor], name: str, x: Tensor, stride: int) -> Tensor:
    out = F.relu(batch_norm(w, f"{name}.bn1", F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)))
    out = batch_norm(w, f"{name}.bn2", F.conv2d(out, w[f"{name}.conv2.weight"], padding=1))
    if f"{name}.downsample.0.weight" in w:
        x = batch_norm(w, f"{name}.downsample.1", F.conv2d(x, w[f"{name}.downsample.0.weight"], stride=stride))
    return F.relu(out + x)


def align_frame(frame: Tensor, gamma: float, always: bool = False) -> Tensor:
    """Eqs. 1–4 for one frame [17, 64, 48], pixel by pixel in spirit: rotate, then translate, then sample once."""
    peaks = {}
    for joint in (5, 6, 11, 12):
        if frame[joint].max() <= frame[joint].min():
            return frame
        index = int(frame[joint].argmax())
        peaks[joint] = (index % 48, index // 48)
    neck = [(peaks[5][i] + peaks[6][i]) / 2 for i in (0, 1)]
    hip = [(peaks[11][i] + peaks[12][i]) / 2 for i in (0, 1)]
    theta = math.atan2(neck[0] - hip[0], hip[1] - neck[1])
    if abs(math.degrees(theta)) < gamma and not always:
        return frame
    mid = [(neck[i] + hip[i]) / 2 for i in (0, 1)]
    c, s = math.cos(-theta), math.sin(-theta)
    # Eq. 2, as printed
    rotation = torch.tensor(
        [[c, -s, (1 - c) * mid[0] + s * mid[1]], [s, c, -s * mid[0] + (1 - c) * mid[1]], [0, 0, 1]], dtype=torch.float64
    )
    turned = rotation @ torch.tensor([*neck, 1.0], dtype=torch.float64)
    # Eq. 3's bias; the forward map moves by it
    shift = torch.eye(3, dtype=torch.float64)
    shift[0, 2], shift[1, 2] = 24 - turned[0], 16 - turned[1]
    back = torch.linalg.inv(shift @ rotation)
    out = torch.zeros_like(frame)
    for y in range(64):
        for x in range(48):
            source = back @ torch.tensor([x, y, 1.0], dtype=torch.float64)
            sx, sy = min(max(float(source[0]), 0), 47), min(max(float(source[1]), 0), 63)
            x0, y0 = int(sx), int(sy)
            x1, y1 = min(x0 + 1, 47), min(y0 + 1, 63)
            fx, fy = sx - x0, sy - y0
            out[:, y, x] = (
                frame[:, y0, x0] * (1 - fx) * (1 - fy)
                + frame[:, y0, x1] * fx * (1 - fy)
                + frame[:, y1, x0] * (1 - fx) * fy
                + frame[:, y1, x1] * fx * fy
            )
    return out


def embed_sequence(w: dict[str, Tensor], heatmaps: Tensor, gamma: float = 5.0) -> Tensor:
    """The fusion embedding [256, 16] of one sequence [T, 17, 64, 48] (release: after the BNNeck)."""
    heatmaps = (heatmaps - heatmaps.min()) / (heatmaps.max() - heatmaps.min())
    fusion_maps = []
    for frame in heatmaps:
        aligned = align_frame(frame, gamma)
        whole = aligned.max(0).values
        parts = [aligned[list(UPPER)].max(0).values, aligned[list(LOWER)].max(0).values]
        streams = []
        for single in (whole, *parts):
            x = single[None, None]
            x = F.conv2d(x, w["Backbone1.forward_block.conv1.conv.weight"], padding=1)
            streams.append(F.relu(batch_norm(w, "Backbone1.forward_block.bn1", x)))
        fused: Tensor | None = None
        for i, stride in enumerate((1, 2, 2, 1), start=1):
            streams = [block(w, f"Backbone{i}.forward_block.layer{i}.0", x, stride) for x in streams]
            strongest = torch.cat(streams).max(0, keepdim=True).values
            if fused is None:
                fused = strongest
            else:
                fused = strongest + block(w, f"Backbone{i}_fusion.forward_block.layer{i}.0", fused, stride)
        assert fused is not None
        fusion_maps.append(fused[0])
    pooled = torch.stack(fusion_maps).max(0).values  # [512, 16, 12]
    embedding = torch.zeros(256, 16)
    for part in range(16):
        feature = pooled[:, part].mean(-1) + pooled[:, part].max(-1).values
        embedding[:, part] = feature @ w["FCs_fusion.fc_bin"][part]
    flat = batch_norm(w, "BNNecks_fusion.bn1d", embedding.reshape(1, -1)).reshape(256, 16)
    return flat / flat.norm(dim=0, keepdim=True)
