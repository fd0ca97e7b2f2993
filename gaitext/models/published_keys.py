"""How published checkpoints name the weights of gaitext's networks.

Each table is a list of (pattern, replacement) for :func:`re.sub`; a published key must match one
pattern wholly.
"""

from __future__ import annotations

#: (regular expression over the published key, this package's key)
KeyTable = tuple[tuple[str, str], ...]

_BRANCHES = (("part", "local"), ("global", "global"), ("fusion", "fusion"))


def _blocks(prefix: str, stages: str, shift: int) -> list[tuple[str, str]]:
    """Rules for one stage's blocks: the published code counts its layers from 1."""
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


#: The published GaitHeat (../shared/checkpoints/gaitheat_fastposegait.json of the project).
GAITHEAT_KEYS: KeyTable = (
    (r"Backbone1\.forward_block\.conv1\.conv\.(\w+)", r"stem.conv.\1"),
    (r"Backbone1\.forward_block\.bn1\.(\w+)", r"stem.norm.\1"),
    *_blocks("Backbone{}", "stages", 0),
    *_blocks("Backbone{}_fusion", "fusion_stages", 1),
    *((rf"FCs_{theirs}\.fc_bin", f"heads.{ours}.fc.weight") for theirs, ours in _BRANCHES),
    *((rf"BNNecks_{theirs}\.fc_bin", f"heads.{ours}.neck.classifier") for theirs, ours in _BRANCHES),
    *((rf"BNNecks_{theirs}\.bn1d\.(\w+)", rf"heads.{ours}.neck.norm.\1") for theirs, ours in _BRANCHES),
)

#: The published ``Baseline`` (GaitBase) with a ResNet9.
GAITBASE_KEYS: KeyTable = (
    (r"Backbone\.forward_block\.conv1\.conv\.(\w+)", r"stem.conv.\1"),
    (r"Backbone\.forward_block\.bn1\.(\w+)", r"stem.norm.\1"),
    *(rule for rule in _blocks("Backbone", "stages", 0)),
    (r"FCs\.fc_bin", "head.fc.weight"),
    (r"BNNecks\.fc_bin", "head.neck.classifier"),
    (r"BNNecks\.bn1d\.(\w+)", r"head.neck.norm.\1"),
)

#: MimicGait's occlusion evaluator (../shared/checkpoints/oem_mimicgait.json of the project). Three
#: of its layers are saved twice, under two names.
OEM_KEYS: KeyTable = (
    *((rf"layer{i + 1}\.0\.(\w+)", rf"convolutions.{i}.\1") for i in range(3)),
    (r"(?:layer4\.0|fc1)\.(\w+)", r"embed.\1"),
    (r"(?:classification_head\.0|fc2)\.(\w+)", r"type_head.\1"),
    (r"(?:layer_amount\.0|fc_amount_head)\.(\w+)", r"amount_head.\1"),
)


def _encoder(theirs: str, ours: str) -> list[tuple[str, str]]:
    """Rules for torch's TransformerEncoder and the norm behind it."""
    source, target = rf"layers\.(\d+)\.{theirs}_module", rf"stages.\1.{ours}.encoder"
    layer = rf"{source}\.(?:spatial_)?transformer\.layers\.(\d+)"
    parts = (
        (r"self_attn\.in_proj_(\w+)", "qkv"),
        (r"self_attn\.out_proj\.(\w+)", "merge"),
        (r"linear1\.(\w+)", "expand"),
        (r"linear2\.(\w+)", "contract"),
        (r"norm1\.(\w+)", "attention_norm"),
        (r"norm2\.(\w+)", "mlp_norm"),
    )
    return [
        *((rf"{layer}\.{part}", rf"{target}.layers.\2.{name}.\3") for part, name in parts),
        (rf"{source}\.norm\.(\w+)", rf"{target}.norm.\2"),
    ]


#: GaitPT's release, whose keys carry DataParallel's ``module.`` (../shared/checkpoints/gaitpt.json of the project).
GAITPT_KEYS: KeyTable = (
    (r"layers\.(\d+)\.patch_embedding\.proj\.(\w+)", r"stages.\1.embedding.\2"),
    (r"layers\.(\d+)\.spatial_module\.spatial_pos_embed", r"stages.\1.spatial.position"),
    (r"layers\.(\d+)\.temporal_module\.temporal_cls_token", r"stages.\1.temporal.cls"),
    (r"layers\.(\d+)\.temporal_module\.temporal_pos_embed", r"stages.\1.temporal.position"),
    *_encoder("spatial", "spatial"),
    *_encoder("temporal", "temporal"),
    (r"projection\.(\w+)", r"head.\1"),
)


def _fbcnn() -> list[tuple[str, str]]:
    rules = [(rf"m_{end}\.(\w+)", rf"{end}.\1") for end in ("head", "tail")]
    block = r"\.res\.{}\.(\w+)"
    # Where blocks lie: (their prefix and how they number them, ours).
    blocks = [(rf"m_body_{body}\.(\d+)", rf"{body}.\1") for body in ("encoder", "decoder")]
    blocks += [(r"qf_pred\.([0-3])", r"predictor.blocks.\1")]
    for level in range(3):
        theirs = level + 1
        blocks += [(rf"m_down{theirs}\.([0-3])", rf"down.{level}.blocks.\1")]
        # In the up levels the transposed convolution comes first and is number 0.
        blocks += [(rf"m_up{theirs}\.{n + 1}()", rf"up.{level}.blocks.{n}\1") for n in range(4)]
        rules += [
            (rf"m_down{theirs}\.4\.(\w+)", rf"down.{level}.shrink.\1"),
            (rf"m_up{theirs}\.0\.(\w+)", rf"up.{level}.grow.\1"),
            (rf"to_gamma_{theirs}\.0\.(\w+)", rf"gamma.{level}.0.\1"),
            (rf"to_beta_{theirs}\.0\.(\w+)", rf"beta.{level}.0.\1"),
        ]
    for theirs, ours in ((0, 1), (2, 2)):
        rules += [(prefix + block.format(theirs), rf"{target}.conv{ours}.\2") for prefix, target in blocks]
    rules += [(rf"qf_pred\.{n + 6}\.(\w+)", rf"predictor.mlp.{n}.\1") for n in (0, 2, 4)]
    rules += [(r"qf_embed\.(\d)\.(\w+)", r"embedding.\1.\2")]
    return rules


#: FBCNN's ``fbcnn_color.pth`` and its siblings of the same sizes.
FBCNN_KEYS: KeyTable = tuple(_fbcnn())
