"""GaitHeat in the hosts: its inputs, losses and checks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gaitext import geometry
from gaitext.errors import ConfigError, DataError
from gaitext.models.gaitheat import GaitHeat
from gaitext.models.gaitheat_settings import AlignmentSettings, GaitHeatSettings
from gaitext.skeleton import SPINE_JOINTS, resolve_partition
from gaitext.toolboxes.adapter import Host, HostInputs, HostOutput, ListedTransform, ModelAdapter


class GaitHeatAdapter(ModelAdapter):
    """GaitHeat: heatmaps first, then what its alignment reads (``alignment.keypoints``).

    ``poses``: poses as the second input, and, if they are in pixels of the frame
    (``alignment.pose_pixels``), crop boxes as the third. ``matrices``: matrices as the second.

    Losses: ``<branch>_triplet`` on the embeddings and ``<branch>_softmax`` on the logits of each
    branch (``local``, ``global``, ``fusion``) (Eq. 9).
    """

    name = "GaitHeat"
    settings_type = GaitHeatSettings
    settings: GaitHeatSettings

    def build(self, host: Host | None = None) -> nn.Module:
        return GaitHeat.from_settings(self.settings)

    @property
    def class_count(self) -> int | None:
        return self.settings.class_num

    @property
    def loss_names(self) -> Mapping[str, Sequence[str]] | None:
        names: dict[str, Sequence[str]] = {}
        for branch in self.settings.branches:
            names[f"{branch}_triplet"] = ("embeddings", "labels")
            names[f"{branch}_softmax"] = ("logits", "labels")
        return names

    def check_transforms(self, lists: Sequence[Sequence[ListedTransform]]) -> None:
        settings = self.settings
        alignment = settings.alignment
        for transform in (transform for each in lists for transform in each):
            if transform.name == "PoseToAlignment":
                _compare_alignment(alignment, transform)
            elif transform.name in ("HeatmapMerge", "HeatmapFlip"):
                _compare_partition(settings, transform)
            elif transform.name == "HeatmapPretreatment" and alignment.needs is not None:
                raise ConfigError(
                    f"HeatmapPretreatment moves the person, but alignment.keypoints is '{alignment.needs}', "
                    "which tells where the person was before",
                    where=transform.where,
                    how="set model_cfg.alignment.keypoints to 'heatmaps', or leave HeatmapPretreatment out",
                )
        second = [transform.name for transform in lists[1]] if len(lists) > 1 else []
        if alignment.needs == "matrices" and "PoseToAlignment" not in second:
            raise ConfigError(
                "alignment.keypoints is 'matrices', but no PoseToAlignment makes them of the second input",
                where="model_cfg.alignment.keypoints",
                how="switch the poses on in data_cfg.data_in_use and end their list of transforms "
                "(trainer_cfg.transform and evaluator_cfg.transform) with PoseToAlignment",
            )
        if alignment.needs == "poses":
            if "PoseToAlignment" in second:
                raise ConfigError(
                    "alignment.keypoints is 'poses', but PoseToAlignment makes matrices of the second input",
                    where="model_cfg.alignment.keypoints",
                    how="write 'matrices' there, or leave PoseToAlignment out of the list of transforms",
                )
            _check_pose_inputs(alignment, len(lists))

    @torch.no_grad()
    def check_batch(self, network: nn.Module, inputs: HostInputs) -> None:
        alignment = self.settings.alignment
        if alignment.needs != "poses":
            return
        extra = self._extra(inputs)
        poses, crops = extra["poses"], extra.get("crops")
        if poses.shape[-2:] != (17, 3) or (crops is not None and crops.shape != (*poses.shape[:-2], 4)):
            return  # the network names the shapes
        height, width = self.settings.map_size
        spine = poses[..., list(SPINE_JOINTS), :].flatten(0, -3).float()
        points = spine[..., :2]
        if crops is not None:
            points = geometry.apply(geometry.crop_matrices(crops.flatten(0, -2).float(), height, width), points)
        # A walker's shoulders and hips are inside the map; half a map around it is for bad poses.
        size = points.new_tensor([width, height])
        outside = ((points < -size / 2) | (points > 1.5 * size)).any(-1)
        seen = spine[..., 2] > alignment.min_score
        share, count = (outside & seen).sum(), seen.sum()
        if bool(share * 2 <= count):
            return
        found = f"{int(share)} of {int(count)} shoulders and hips of the first batch lie far outside the heatmaps"
        if crops is None:
            raise DataError(
                f"{found}: the poses look like pixels of the frame, not of the heatmap",
                where="model_cfg.alignment.pose_pixels",
                how="set it to 'frame' and switch the crop boxes on as the third input in data_cfg.data_in_use, "
                "or switch the poses in heatmap pixels on in place of these",
            )
        raise DataError(
            f"{found}, mapped through the crop boxes: the poses look like pixels of the heatmap",
            where="model_cfg.alignment.pose_pixels",
            how="set it to 'heatmap' and switch the crop boxes off in data_cfg.data_in_use, "
            "or switch the poses in frame pixels on in place of these",
        )

    def _extra(self, inputs: HostInputs) -> dict[str, Tensor]:
        """What alignment reads beside the heatmaps."""
        alignment = self.settings.alignment
        if alignment.needs == "poses":
            extra = {"poses": inputs.sequence(1, "poses (alignment.keypoints: poses)")}
            if alignment.pose_pixels == "frame":
                extra["crops"] = inputs.sequence(2, "crop boxes (alignment.pose_pixels: frame)")
            else:
                _check_pose_inputs(alignment, len(inputs.sequences))
            return extra
        if alignment.needs == "matrices":
            return {"matrices": inputs.sequence(1, "alignment matrices (PoseToAlignment)")}
        return {}

    def signature(self, network: nn.Module, inputs: HostInputs) -> Tensor:
        assert isinstance(network, GaitHeat)
        return network.signature(inputs.sequence(0, "heatmaps"), inputs.lengths, **self._extra(inputs))

    @property
    def frame_shapes(self) -> list[tuple[int, ...]] | None:
        settings = self.settings
        alignment = settings.alignment
        offline = alignment.merge == "offline"
        channels = len(resolve_partition(settings.partition, settings.joints)) if offline else settings.joints
        shapes: list[tuple[int, ...]] = [(channels, *settings.map_size)]
        if alignment.needs == "matrices":
            return [*shapes, (2, 3)]
        if alignment.needs == "poses":
            shapes += [(17, 3), (4,)] if alignment.pose_pixels == "frame" else [(17, 3)]
        return shapes

    def run(self, network: nn.Module, inputs: HostInputs, *, training: bool) -> HostOutput:
        assert isinstance(network, GaitHeat)
        heatmaps = inputs.sequence(0, "heatmaps")
        output = network(heatmaps, inputs.lengths, **self._extra(inputs))
        if not training:
            return HostOutput({}, {"embeddings": output}, {})
        losses: dict[str, dict[str, Tensor]] = {}
        for branch, head in output.heads.items():
            losses[f"{branch}_triplet"] = {"embeddings": head.embeddings, "labels": inputs.labels}
            losses[f"{branch}_softmax"] = {"logits": head.logits, "labels": inputs.labels}
        # The first sequence's frames as the network saw them: aligned, merged.
        return HostOutput(losses, {}, {"aligned": output.preview})


def _compare_alignment(alignment: AlignmentSettings, transform: ListedTransform) -> None:
    if alignment.needs != "matrices":
        return
    names = ["anchor"]
    if "min_score" in alignment.model_fields_set:
        names.append("min_score")
    for name in names:
        theirs, ours = transform.argument(name), getattr(alignment, name)
        if (tuple(theirs) if isinstance(theirs, list) else theirs) != ours:
            raise ConfigError(
                f"PoseToAlignment's {name} is {theirs}, but model_cfg.alignment.{name} is {ours}",
                where=f"{transform.where}.{name}",
                how="write the same in both places",
            )


def _compare_partition(settings: GaitHeatSettings, transform: ListedTransform) -> None:
    merge = settings.alignment.merge
    if transform.name == "HeatmapMerge" and merge != "offline":
        raise ConfigError(
            f"HeatmapMerge merges the heatmaps, but model_cfg.alignment.merge is '{merge}', which takes all joints'",
            where=transform.where,
            how="leave HeatmapMerge out, or set model_cfg.alignment.merge to 'offline'",
        )
    given = transform.argument("partition")
    if given is None:
        return
    where = f"{transform.where}.partition"

    def parts(partition: Any) -> list[frozenset[int]]:
        return [frozenset(part) for part in resolve_partition(partition, where=where).values()]

    if parts(given) != parts(settings.partition):
        raise ConfigError(
            f"{transform.name}'s partition is {given}, but model_cfg.partition is {settings.partition}",
            where=where,
            how="write the same in both places, the parts in the same order",
        )


def _check_pose_inputs(alignment: AlignmentSettings, inputs: int) -> None:
    if alignment.pose_pixels == "frame":
        wanted, why = 3, "poses in frame pixels need heatmaps, poses and crop boxes"
    else:
        wanted, why = 2, "poses in heatmap pixels need heatmaps and poses, and nothing is read of a third input"
    if inputs == wanted:
        return
    how = f"switch {wanted} inputs on, each with a transform list of its own"
    if inputs > wanted == 2:
        how += ", or set model_cfg.alignment.pose_pixels to 'frame' if the poses are in frame pixels"
    raise ConfigError(
        f"{inputs} inputs are used, but alignment.pose_pixels is '{alignment.pose_pixels}': {why}",
        where="data_cfg.data_in_use",
        how=how,
    )
