"""Part-wise heads: horizontal pyramid, separate FC and BNNeck, over feature maps [n, c, h, w]."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from keyword import iskeyword
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gaitext.models.exact_layers import BatchNorm1d


def horizontal_pyramid(maps: Tensor, bins: Sequence[int]) -> Tensor:
    """Horizontal pyramid mapping (HPM): mean plus max of each bin of rows.

    Args:
        maps: [n, c, h, w].
        bins: each entry divides the rows into that many bins.

    Returns:
        [n, c, p] with p = sum(bins).
    """
    pooled = []
    for count in bins:
        rows = maps.reshape(*maps.shape[:2], count, -1)
        pooled.append(rows.mean(-1) + rows.amax(-1))
    return pooled[0] if len(pooled) == 1 else torch.cat(pooled, -1)


class SeparateFC(nn.Module):
    """A linear map without bias for each part: [n, in, p] -> [n, out, p]; weight [p, in, out]."""

    def __init__(self, parts: int, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(parts, in_features, out_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.bmm(x.permute(2, 0, 1), self.weight).permute(1, 2, 0)


class BNNeck(nn.Module):
    """BatchNorm over all parts' features, then a cosine classifier per part.

    One BatchNorm1d over the c·p features (channel-major), L2-normalisation per part, logits =
    normalised feature × normalised class weights, without bias.
    """

    def __init__(self, parts: int, features: int, class_num: int) -> None:
        super().__init__()
        self.norm = BatchNorm1d(features * parts)
        self.classifier = nn.Parameter(torch.empty(parts, features, class_num))
        nn.init.xavier_uniform_(self.classifier)

    @classmethod
    def side_by_side(cls, necks: Sequence[BNNeck]) -> BNNeck:
        """One neck in place of several, their parts one after another; its weights are copies."""
        _, features, class_num = necks[0].classifier.shape
        joined = cls(sum(len(neck.classifier) for neck in necks), features, class_num)
        with torch.no_grad():
            joined.classifier.copy_(torch.cat([neck.classifier for neck in necks]))
            joined.take_norm([(neck.norm, len(neck.classifier)) for neck in necks])
        return joined

    @torch.no_grad()
    def take_norm(self, norms: Sequence[tuple[nn.BatchNorm1d, int]]) -> None:
        """Copy the statistics and weights of norms over all parts; of each the parts that it has.

        Args:
            norms: each over c·p channel-major features, and its number of parts; parts beyond this
                neck's are left out.
        """
        parts = len(self.classifier)
        for name, own in self.norm.state_dict().items():
            if name == "num_batches_tracked":
                own.copy_(norms[0][0].state_dict()[name])
                continue
            rows = torch.cat([norm.state_dict()[name].unflatten(0, (-1, count)) for norm, count in norms], 1)
            own.copy_(rows[:, :parts].reshape(-1))

    def embed(self, x: Tensor) -> Tensor:
        """[n, c, p] -> [n, c, p], batch-normalised and of unit length per part."""
        return F.normalize(self.norm(x.flatten(1)).view_as(x), dim=1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[n, c, p] -> embedding [n, c, p] and logits [n, classes, p] (cosines, unscaled)."""
        embedding = self.embed(x)
        logits = torch.bmm(embedding.permute(2, 0, 1), F.normalize(self.classifier, dim=1))
        return embedding, logits.permute(1, 2, 0)


class HeadOutput(NamedTuple):
    """What a head gives in training.

    Attributes:
        embeddings: [n, c, p] before the BNNeck, for the triplet loss.
        logits: [n, classes, p], for the cross-entropy.
    """

    embeddings: Tensor
    logits: Tensor


class Head(nn.Module):
    """Horizontal pyramid -> separate FC -> BNNeck, on temporally pooled maps [n, in, h, w]."""

    def __init__(self, bins: Sequence[int], in_features: int, out_features: int, class_num: int) -> None:
        super().__init__()
        self.bins = tuple(bins)
        parts = sum(self.bins)
        self.fc = SeparateFC(parts, in_features, out_features)
        self.neck = BNNeck(parts, out_features, class_num)

    def forward(self, maps: Tensor) -> HeadOutput:
        embeddings = self.fc(horizontal_pyramid(maps, self.bins))
        return HeadOutput(embeddings, self.neck(embeddings)[1])

    def embed(self, maps: Tensor, *, bnneck: bool = True) -> Tensor:
        """The embedding alone [n, out, p]; the classifier is not run."""
        embeddings = self.fc(horizontal_pyramid(maps, self.bins))
        return self.neck.embed(embeddings) if bnneck else embeddings


class Heads(nn.Module):
    """Heads by their names, which stand in state dicts as they are.

    As attributes those that Python keeps to itself (``global``) have a ``_`` behind: code that ``torch.export`` writes
    could not name them.

    >>> heads = Heads({"global": nn.Linear(2, 1, bias=False)})
    >>> list(heads.state_dict()), heads["global"] is heads.global_
    (['global.weight'], True)
    """

    def __init__(self, heads: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.names = tuple(heads)
        for name, head in heads.items():
            self.add_module(_attribute(name), head)

    def __getitem__(self, name: str) -> nn.Module:
        head: nn.Module = getattr(self, _attribute(name))
        return head

    def items(self) -> list[tuple[str, nn.Module]]:
        return [(name, self[name]) for name in self.names]

    def values(self) -> list[nn.Module]:
        return [self[name] for name in self.names]

    def state_dict(self, *, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:  # type: ignore[override]
        found: dict[str, Any] = OrderedDict() if destination is None else destination
        for name, head in self.items():
            head.state_dict(destination=found, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        return found

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        for name in self.names:
            own, theirs = f"{prefix}{_attribute(name)}.", f"{prefix}{name}."
            for key in [key for key in state_dict if own != theirs and key.startswith(theirs)]:
                state_dict[own + key.removeprefix(theirs)] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _attribute(name: str) -> str:
    return f"{name}_" if iskeyword(name) else name
