"""Typed settings of GaitPT: every size and switch, with the published value as default."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Union

from pydantic import Field, field_validator, model_validator

from gaitext.config import Settings
from gaitext.skeleton import order_mirror, resolve_order

__all__ = ["GaitPTSettings", "TestSettings"]

Positive = Annotated[int, Field(ge=1)]
Sizes = Annotated[tuple[Positive, ...], Field(min_length=1)]


class TestSettings(Settings):
    """What a sequence's embedding is averaged over in evaluation.

    Attributes:
        windows: sequences longer than a window are seen through ``two`` of them, one of each
            half (as published), or one in the ``center``, at half the cost.
        flip: also the windows played backwards.
        mirror: also the windows mirrored: ``plain`` reflects x at the frame's mean x (as
            published), ``swap`` exchanges left and right joints as well and leaves missing
            joints (0, 0) missing. With ``flip`` too, all four combinations.
    """

    __test__ = False  # not pytest's

    windows: Literal["two", "center"] = "two"
    flip: bool = False
    mirror: Literal["none", "plain", "swap"] = "none"

    @property
    def variants(self) -> int:
        """How many times each window is seen."""
        return (1 + self.flip) * (1 + (self.mirror != "none"))


class GaitPTSettings(Settings):
    """GaitPT's ``model_cfg``.

    Attributes:
        frames: T, the frames of a window: 60 on CASIA-B, 30 on GREW and Gait3D.
        channels: coordinates of a joint.
        joints: V, with the nose's copy.
        patches: how many neighbours a stage joins: joints to limbs, body parts, body.
        dims, depths: the stages' sizes and numbers of layers.
        heads: of every attention.
        mlp_ratio: the feed-forward nets' width.
        dropout: in training, of attention weights and of what is added to a residual.
        embedding_size: features of the embedding.
        partition: the order of the joints: a key of ``gaitext.skeleton.POSE_ORDERS``, or a list
            of indices, 17 standing for the nose's copy. It orders raw COCO poses; poses that the
            transform ``PoseOrder`` has ordered are taken as they are.
        short: a sequence of fewer than T frames is played again until there are T (``repeat``,
            as the toolboxes' samplers do), or seen at its own length, with the first of the
            position embeddings (``trim``).
        test: see :class:`TestSettings`.
        chunk: windows that go through the network at once in evaluation; bounds memory. None:
            4 on a CPU, whose caches they then fit, 256 elsewhere.
    """

    frames: int = Field(60, ge=1)
    channels: int = Field(2, ge=1)
    joints: int = Field(18, ge=1)
    patches: Sizes = (1, 3, 2, 3)
    dims: Sizes = (32, 64, 128, 256)
    depths: Sizes = (3, 3, 3, 3)
    heads: int = Field(8, ge=1)
    mlp_ratio: int = Field(4, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)
    embedding_size: int = Field(256, ge=1)
    partition: Union[str, tuple[int, ...]] = "head_upper_lower"
    short: Literal["repeat", "trim"] = "repeat"
    test: TestSettings = TestSettings()
    chunk: Union[Positive, None] = None

    @field_validator("partition", mode="before")
    @classmethod
    def _known(cls, value: Any) -> Any:
        # Of a list, the number of indices is looked at when the number of joints is known.
        joints = len(value) if isinstance(value, (list, tuple)) else 18
        resolve_order(value, joints, where="model_cfg.partition")
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _consistent(self) -> GaitPTSettings:
        counts = {name: len(getattr(self, name)) for name in ("patches", "dims", "depths")}
        if len(set(counts.values())) != 1:
            raise ValueError(f"patches, dims and depths name different numbers of stages: {counts}")
        tokens = self.joints
        for patch in self.patches:
            if tokens % patch:
                raise ValueError(f"patches: {tokens} tokens cannot be joined {patch} by {patch}")
            tokens //= patch
        wrong = [size for size in self.dims if size % self.heads]
        if wrong:
            raise ValueError(f"dims: {wrong[0]} features cannot be shared out among {self.heads} heads")
        resolve_order(self.partition, self.joints, where="model_cfg.partition")
        if self.test.mirror == "swap":
            order_mirror(self.partition, self.joints, where="model_cfg.partition")
        return self

    @property
    def order(self) -> tuple[int, ...]:
        """Place -> joint."""
        return resolve_order(self.partition, self.joints)

    @property
    def tokens(self) -> tuple[int, ...]:
        """Tokens of a frame in each stage."""
        counts: list[int] = []
        for patch in self.patches:
            counts.append((counts[-1] if counts else self.joints) // patch)
        return tuple(counts)
