"""A host's inputs, occluded alike, and what the occlusion evaluator sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from gaitext import geometry
from gaitext.errors import ConfigError, ShapeError
from gaitext.models.occluding import OccludedSequences, occlude_pose_sequences, occlude_sequences
from gaitext.models.packing import flatten_frames
from gaitext.occlusion import Occlusions, pose_boxes
from gaitext.skeleton import LIMBS

#: What an input shows. ``parsing``: silhouettes whose pixels are numbers of body parts. ``images``: any maps that the
#: occlusion evaluator cannot read, such as RGB. ``boxes`` are the crops of poses in frame pixels; ``other`` is left as
#: it is.
InputKind = Literal["silhouettes", "parsing", "heatmaps", "images", "poses", "boxes", "other"]
#: Kinds that are occluded pixel by pixel, and those by which the occlusion evaluator judges.
_MAPS = ("silhouettes", "parsing", "heatmaps", "images")
_JUDGED = ("silhouettes", "parsing", "heatmaps", "poses")

#: Of a skeleton, in the toolboxes' datasets; and what to do where transforms make something else of it.
_JOINTS = (17, 18)
_NO_POSES = (
    "use GaitPT, which reads poses themselves, GaitHeat on heatmaps, or a model of silhouettes; or train and test the "
    "model itself, without a residual, on occluded poses: OcclusionPoses first in its transforms (with a seed at test)"
)

#: The map that a pose is occluded in and drawn on.
_GRID = (64, 48)
#: Coordinates no larger than this are shares of a frame's side, which is taken to have this many pixels.
_LARGEST_SHARE, _PIXELS = 10.0, 512.0


@dataclass(frozen=True)
class OccludedInputs:
    """Inputs after their occlusion.

    Attributes:
        sequences: as they were given, [n, T, …] or [1, ΣT, …]; untouched where nothing is hidden.
        frames: [N, 1, H, W] in 0..1, what the occlusion evaluator sees of them; None if it can read none.
        types: int64 [n], positions in ``OCCLUSION_TYPES``; ``amounts``: float32 [n], occluded shares.
        frame_types, frame_amounts: the same of each frame [N].
    """

    sequences: list[Tensor]
    frames: Tensor | None
    types: Tensor
    amounts: Tensor
    frame_types: Tensor
    frame_amounts: Tensor


def input_kinds(
    sequences: Sequence[Tensor],
    given: Sequence[str] | None = None,
    *,
    values: bool = False,
    raw: Sequence[tuple[int, ...]] | None = None,
) -> list[InputKind]:
    """What each input shows: as ``given``, or told from its shape.

    Told are silhouettes [n, T, H, W] and [n, T, 1, H, W], heatmaps [n, T, C, H, W], poses of COCO's
    joints [n, T, 17, 2 or 3] and boxes [n, T, 4]; a number a frame [n, T] is ``other``.

    Args:
        sequences, given: the inputs, and what is known of them.
        values: look at the numbers too, and wait for the device: whole ones above 1 are ``parsing``,
            others outside 0..1 ``images``.
        raw: the shape of a frame of each before its transforms, if known; for the message.

    Raises:
        ConfigError: a shape that does not tell, or another number of kinds than of inputs.
    """
    if given is not None:
        if len(given) != len(sequences):
            raise ConfigError(
                f"{len(given)} kinds are named, but {len(sequences)} inputs are used",
                where="model_cfg.inputs",
                how="name one for each file that data_cfg.data_in_use switches on",
            )
        return [_known(kind) for kind in given]
    before = raw if raw is not None and len(raw) == len(sequences) else [None] * len(sequences)
    kinds = [_kind(n, tuple(sequence.shape), before[n]) for n, sequence in enumerate(sequences)]
    return [_by_values(kind, sequence) if values else kind for kind, sequence in zip(kinds, sequences)]


def _by_values(kind: InputKind, sequence: Tensor) -> InputKind:
    if kind not in ("silhouettes", "heatmaps"):
        return kind
    least, most = (float(edge) for edge in torch.aminmax(sequence.detach()))
    if least >= -1e-3 and most <= 1 + 1e-3:
        return kind
    whole = kind == "silhouettes" and least >= 0 and bool((sequence == sequence.round()).all())
    return "parsing" if whole and most < 255 else "images"


def check_kinds(kinds: Sequence[InputKind], shapes: Sequence[tuple[int, ...]], *, judged: bool, name: str) -> None:
    """Refuse inputs that cannot be occluded, or not judged.

    Args:
        kinds: see :func:`input_kinds`.
        shapes: of one frame of each, for the message.
        judged: whether the occlusion evaluator is used.
        name: the model that reads them.

    Raises:
        ConfigError: naming what they are.
    """
    shown = ", ".join(f"{kind} {list(shape)}" for kind, shape in zip(kinds, shapes))
    for kind, shape in zip(kinds, shapes):
        if kind in ("silhouettes", "parsing") and not (len(shape) == 2 or (len(shape) == 3 and shape[0] == 1)):
            raise ConfigError(
                f"an input of {name}'s is named {kind}, but a frame of it has shape {list(shape)}",
                where="model_cfg.inputs",
                how="name it heatmaps, images or other",
            )
    if not any(kind in _MAPS or kind == "poses" for kind in kinds):
        raise ConfigError(
            f"none of {name}'s inputs ({shown}) can be occluded",
            where="model_cfg.inputs",
            how="use silhouettes, heatmaps or poses",
        )
    if judged and not any(kind in _JUDGED for kind in kinds):
        raise ConfigError(
            f"{name} reads images only ({shown}), which tell the occlusion evaluator nothing",
            where="model_cfg.inputs",
            how="give maps in 0..1, or switch adaptive and occlusion_aware off, which ask the evaluator",
        )


def _known(kind: str) -> InputKind:
    found: InputKind | None = next((k for k in get_args(InputKind) if k == kind), None)
    if found is None:
        raise ConfigError(f"no input {kind!r}", where="model_cfg.inputs", how=f"choose of {get_args(InputKind)}")
    return found


def _kind(position: int, shape: tuple[int, ...], raw: tuple[int, ...] | None) -> InputKind:
    if len(shape) == 5 and shape[2] == 1:
        return "silhouettes"
    if len(shape) == 5 and min(shape[3:]) >= 8:
        return "heatmaps"
    if len(shape) == 4 and shape[2] == 17 and shape[3] in (2, 3):
        return "poses"
    if len(shape) == 4 and min(shape[2:]) >= 8:
        return "silhouettes"
    if len(shape) == 3 and shape[2] == 4:
        return "boxes"
    if len(shape) == 2 or (len(shape) == 3 and shape[2] == 1):
        return "other"
    if len(shape) == 4 and shape[2] == 18 and shape[3] in (2, 3):
        raise ConfigError(
            "poses of 18 joints have lost the order in which they could be occluded and drawn",
            where="model_cfg.inputs",
            how="leave PoseOrder out of the transforms: the network orders COCO's joints itself",
        )
    if raw is not None and len(raw) == 2 and raw[1] in (2, 3) and raw[0] in _JOINTS:
        raise _no_poses_any_more(position, shape, raw[0])
    what, how = _guess(shape)
    raise ConfigError(
        f"input number {position} has shape {shape}, which does not tell what it shows: {what}",
        where="model_cfg.inputs",
        how=f"{how}; name each input there if you know better: {', '.join(get_args(InputKind))}",
    )


def _no_poses_any_more(position: int, shape: tuple[int, ...], joints: int) -> ConfigError:
    if len(shape) == 4 and shape[3] in (2, 3):
        why = f"leave {shape[2]} of their {joints} joints, in an order that cannot be drawn for the occlusion evaluator"
    else:
        why = (
            f"turn their {joints} joints into features of shape {shape}, such as bones, angles and motion: there no "
            "joint can be hidden any more, and nothing be drawn for the occlusion evaluator"
        )
    return ConfigError(
        f"input number {position} is no poses any more: transforms {why}",
        where="model_cfg.inputs",
        how=_NO_POSES,
    )


def _guess(shape: tuple[int, ...]) -> tuple[str, str]:
    """What an input that cannot be occluded may be, and what to use in its place."""
    if any(joints in shape[2:] for joints in _JOINTS):
        return (
            "perhaps what transforms make of poses: joints can be hidden in poses [n, T, 17, 2 or 3] alone, and "
            "show all the same behind their bones, angles and motion",
            _NO_POSES,
        )
    if len(shape) == 4 and shape[3] in (2, 3, 4):
        return (
            "perhaps points in space, or joints in an order that is not known: neither can be hidden or drawn",
            "use a model of silhouettes, heatmaps or COCO's poses",
        )
    if len(shape) == 3:
        return "numbers of each frame that may tell what is hidden", "leave it out, or write 'other' to let it pass"
    return "no kind of input looks so", "use silhouettes, heatmaps or poses"


def occlude_inputs(
    sequences: Sequence[Tensor],
    seqL: Tensor | Sequence[int] | None,
    kinds: Sequence[InputKind],
    occlusions: Occlusions,
    *,
    judged: bool = True,
) -> OccludedInputs:
    """Occlude all inputs of a batch by the same occlusions.

    Silhouettes are made binary again where they are stretched. Poses are never resized, so with
    poses among the inputs nothing is. Poses are occluded in their boxes if there are some, else in
    the heatmaps' pixels if there are heatmaps, else in a box about the joints that were found.

    Args:
        sequences: [n, T, …], or packed [1, ΣT, …].
        seqL: lengths of packed sequences.
        kinds: see :func:`input_kinds`.
        occlusions: one per sequence, or one per frame.
        judged: whether the occlusion evaluator is to see them.

    Raises:
        ConfigError: none of the inputs can be occluded, or judged.
    """
    if "poses" in kinds:
        occlusions = occlusions.without_resize()
    pixels = [position for position, kind in enumerate(kinds) if kind in _MAPS]
    if not pixels and "poses" not in kinds:
        raise ConfigError(
            "none of the inputs can be occluded", where="model_cfg.inputs", how="use silhouettes, heatmaps or poses"
        )
    occluded: OccludedSequences | None = None
    out = list(sequences)
    # Nothing is copied, and no rounding can differ, where nothing is hidden.
    hides = bool(occlusions.types.any())
    for position in pixels:
        kind = kinds[position]
        done = occlude_sequences(
            sequences[position], seqL, occlusions, binary=kind == "silhouettes", nearest=kind == "parsing"
        )
        out[position] = done.frames if hides else sequences[position]
        occluded = occluded or done
    for position, kind in enumerate(kinds):
        if kind == "poses" and hides:
            poses, boxes = _in_pixels(sequences, kinds, position)
            hidden = occlude_pose_sequences(poses, seqL, occlusions, boxes=boxes, grid=_GRID) != poses
            # Not scaled to pixels and back: joints that are seen stay what they were, to the last bit.
            seen = ~hidden.any(-1, keepdim=True)
            out[position] = torch.where(seen, sequences[position], torch.zeros_like(poses))
    if occluded is None:  # poses alone: the labels are those of the map that they are occluded in
        like = next(sequence for sequence, kind in zip(sequences, kinds) if kind == "poses")
        blank = torch.zeros((*like.shape[:2], *_GRID), dtype=torch.uint8, device=like.device)
        occluded = occlude_sequences(blank, seqL, occlusions, binary=False)
    return OccludedInputs(
        sequences=out,
        frames=evaluator_frames(out, kinds) if judged or any(kind in _JUDGED for kind in kinds) else None,
        types=occluded.types,
        amounts=occluded.amounts,
        frame_types=occluded.frame_types,
        frame_amounts=occluded.frame_amounts,
    )


def evaluator_frames(sequences: Sequence[Tensor], kinds: Sequence[InputKind]) -> Tensor:
    """One-channel frames [N, 1, H, W] in 0..1 of the first input that the evaluator can read.

    Silhouettes as they are, of parsing all parts alike, heatmaps by their maximum over the
    channels, poses drawn.
    """
    for position, (sequence, kind) in enumerate(zip(sequences, kinds)):
        frames = flatten_frames(sequence)
        if kind == "parsing":
            return (frames if frames.ndim == 4 else frames[:, None]).gt(0).float()
        if kind == "silhouettes":
            return (frames if frames.ndim == 4 else frames[:, None]).float()
        if kind == "heatmaps":
            return frames.float().amax(1, keepdim=True).clamp(0, 1)
        if kind == "poses":
            poses, boxes = _in_pixels(sequences, kinds, position)
            return rasterise_poses(flatten_frames(poses), _GRID, boxes=None if boxes is None else flatten_frames(boxes))
    raise ConfigError("the occlusion evaluator can read none of the inputs", where="model_cfg.inputs")


def _in_pixels(sequences: Sequence[Tensor], kinds: Sequence[InputKind], position: int) -> tuple[Tensor, Tensor | None]:
    """The poses at ``position`` in pixels, and the boxes [n, T, 4] they lie in; None: a heatmap's pixels.

    Poses that come alone are in any unit, such as shares of the frame's width.
    """
    poses = sequences[position]
    if "boxes" in kinds:
        return poses, sequences[kinds.index("boxes")].float()
    if "heatmaps" in kinds:
        return poses, None
    if float(poses[..., :2].abs().max()) <= _LARGEST_SHARE:
        poses = poses * _PIXELS
    found = pose_boxes(flatten_frames(poses).detach().cpu().numpy())
    return poses, torch.from_numpy(found).to(poses.device, torch.float32).unflatten(0, poses.shape[:2])


#: Frames drawn at once: 16 limbs on 64×48 pixels are 200 KB a frame.
_CHUNK = 256


@torch.no_grad()
def rasterise_poses(
    poses: Tensor,
    size: tuple[int, int] = (64, 48),
    *,
    boxes: Tensor | None = None,
    thickness: float = 1.5,
) -> Tensor:
    """Draw COCO-17 skeletons: limbs and joints as strokes of 1 on 0, with a soft edge of one pixel.

    Args:
        poses: [N, 17, ≥2]: x, y, … in pixels; a joint whose numbers are all 0 is missing, and so are
            the limbs that end there.
        size: (H, W) of the frames.
        boxes: [N, 4] as x, y, w, h, in the poses' pixels: the part of the image that is drawn. None:
            the poses are in pixels of the frames themselves.
        thickness: half a stroke's width, in pixels.

    Returns:
        [N, 1, H, W], float32 in 0..1.
    """
    if poses.ndim != 3 or poses.shape[1] != 17 or poses.shape[2] < 2:
        raise ShapeError(
            f"poses have shape {tuple(poses.shape)}", where="rasterise_poses", how="give COCO-17 poses [N, 17, 3]"
        )
    there = (poses != 0).any(-1)
    points = poses[..., :2].float()
    if boxes is not None:
        points = geometry.apply(geometry.crop_matrices(boxes.float(), *size), points)
    # A joint is a limb that begins and ends there.
    begins, ends = (_ends(which, poses.device) for which in (0, 1))
    drawn = [
        _draw(some[:, begins], some[:, ends], seen[:, begins] & seen[:, ends], size, thickness)
        for some, seen in zip(points.split(_CHUNK), there.split(_CHUNK))
    ]
    return torch.cat(drawn)[:, None] if drawn else points.new_zeros(0, 1, *size)


def _ends(which: int, device: torch.device) -> Tensor:
    return torch.tensor([*(limb[which] for limb in LIMBS), *range(17)], device=device)


def _draw(begins: Tensor, ends: Tensor, seen: Tensor, size: tuple[int, int], thickness: float) -> Tensor:
    """Strokes between points [N, s, 2] where ``seen`` [N, s]: [N, H, W]."""
    rows, columns = (torch.arange(count, device=begins.device, dtype=begins.dtype) for count in size)
    pixels = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), -1)  # [H, W, 2] as x, y
    along = (ends - begins)[:, :, None, None]
    start = begins[:, :, None, None]
    length = along.square().sum(-1).clamp_min(1e-6)
    place = (((pixels - start) * along).sum(-1) / length).clamp(0, 1)
    apart = (pixels - start - place[..., None] * along).norm(dim=-1)
    strokes = (thickness + 0.5 - apart).clamp(0, 1) * seen[:, :, None, None]
    return strokes.amax(1)
