"""Where each probe's matches stand in a gallery that holds some of the probe's own sequences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gaitext.evaluation.distances import Array, Reference
from gaitext.evaluation.ranking import Nearest, Standing, places_of, standing

__all__ = ["Matches", "Sequences", "match"]

#: Distances held at once: 64 MiB.
_HELD = 2**24


@dataclass(frozen=True)
class Sequences:
    """n embedded sequences, what they are told apart by in numbers.

    Args:
        embeddings: [n, c, p].
        identity: [n], integers.
        own: [n], integers: sequences with the same number are never compared.
    """

    embeddings: Array
    identity: Array
    own: Array

    def where(self, chosen: Array | slice) -> Sequences:
        """Those of a mask [n], of indices, or of a slice."""
        return Sequences(self.embeddings[chosen], self.identity[chosen], self.own[chosen])

    def __len__(self) -> int:
        return len(self.identity)


@dataclass(frozen=True)
class Matches:
    """What ranking a gallery gave each of n probes; equally near sequences stand in random order.

    Args:
        first: where the nearest match stands.
        precision: [n], average precision; NaN where there is no match.
        chance: [n], the share of matches among the sequences compared; 0 where there is none.
        withheld: [n], whether the identity is in the gallery, but only in sequences that are not for this probe.
        mixed: [n], whether a match is exactly as near as another's sequence.
    """

    first: Nearest
    precision: Array
    chance: Array
    withheld: Array
    mixed: Array


def match(probe: Sequences, gallery: Sequences, metric: str = "euc") -> Matches:
    """Rank the gallery for each probe.

    Example:
        >>> import numpy as np
        >>> people = Sequences(np.array([[[0.0]], [[1.0]], [[3.0]], [[4.0]]]), np.array([0, 1, 0, 0]), np.arange(4))
        >>> found = match(people.where([0]), people)
        >>> found.first.within(3).tolist(), found.precision.round(4).tolist(), found.chance.round(4).tolist()
        ([[0.0, 1.0, 1.0]], [0.5833], [0.6667])
    """
    if not len(probe) or not len(gallery):
        none = np.zeros(len(probe))
        never = none.astype(bool)
        places = none.astype(np.int64)
        return Matches(Nearest(places, places, places), none + np.nan, none, never, never)
    reference = Reference(gallery.embeddings, metric)
    rows = max(1, _HELD // max(1, len(gallery)))
    parts = [_block(probe.where(slice(i, i + rows)), gallery, reference) for i in range(0, len(probe), rows)]
    ranked, chance, withheld = zip(*parts)

    def joined(of: str) -> Array:
        return np.concatenate([getattr(each, of) for each in ranked])

    first = (np.concatenate([getattr(each.first, of) for each in ranked]) for of in ("before", "size", "matches"))
    return Matches(
        Nearest(*first), joined("precision"), np.concatenate(chance), np.concatenate(withheld), joined("mixed")
    )


def _block(probe: Sequences, gallery: Sequences, reference: Reference) -> tuple[Standing, Array, Array]:
    """How the gallery ranks, chance and withheld."""
    same, known = places_of(probe.identity, gallery.identity)  # [n, k] places in the gallery, and which are any
    own, own_known = places_of(probe.own, gallery.own)
    wanted = known & ~(gallery.own[same] == probe.own[:, None])
    compared = len(gallery) - own_known.sum(1)
    apart = reference.distances(probe.embeddings)
    row, column = np.nonzero(own_known)
    apart[row, own[row, column]] = np.inf
    found = standing(apart, same, wanted)
    return found, found.count / np.maximum(compared, 1), known.any(1) & (found.count == 0)
