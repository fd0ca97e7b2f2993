"""How published checkpoints name the weights of gaitext's networks.

Each table is a list of (pattern, replacement) for :func:`re.sub`; a published key must match one
pattern wholly.
"""

from __future__ import annotations

__all__ = ["GAITHEAT_KEYS", "KeyTable"]

#: (regular expression over the published key, this package's key)
KeyTable = tuple[tuple[str, str], ...]

_BRANCHES = (("part", "local"), ("global", "global"), ("fusion", "fusion"))


def _blocks(prefix: str, stages: str, shift: int) -> list[tuple[str, str]]:
    """Rules for one stage's blocks: FastPoseGait counts its layers from 1."""
    rules = []
    for layer in range(1, 5):
        source = rf"{prefix.format(layer)}\.forward_block\.layer{layer}\.(\d+)"
        target = rf"{stages}.{layer - 1 - shift}.\1"
        rules += [
            (rf"{source}\.conv(\d)\.(\w+)", rf"{target}.conv\2.\3"),
            (rf"{source}\.bn(\d)\.(\w+)", rf"{target}.norm\2.\3"),
            (rf"{source}\.downsample\.(\d)\.(\w+)", rf"{target}.shortcut.\2.\3"),
        ]
    return rules


#: FastPoseGait's GaitHeat (../shared/checkpoints/gaitheat_fastposegait.json of the project).
GAITHEAT_KEYS: KeyTable = (
    (r"Backbone1\.forward_block\.conv1\.conv\.(\w+)", r"stem.conv.\1"),
    (r"Backbone1\.forward_block\.bn1\.(\w+)", r"stem.norm.\1"),
    *_blocks("Backbone{}", "stages", 0),
    *_blocks("Backbone{}_fusion", "fusion_stages", 1),
    *((rf"FCs_{theirs}\.fc_bin", f"heads.{ours}.fc.weight") for theirs, ours in _BRANCHES),
    *((rf"BNNecks_{theirs}\.fc_bin", f"heads.{ours}.neck.classifier") for theirs, ours in _BRANCHES),
    *((rf"BNNecks_{theirs}\.bn1d\.(\w+)", rf"heads.{ours}.neck.norm.\1") for theirs, ours in _BRANCHES),
)
