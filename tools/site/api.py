"""The API reference: a page for each of gaitext's packages, with what its ``__all__`` names."""

from __future__ import annotations

#: Packages and modules that are for who imports gaitext, and what they are for.
PARTS = {
    "models": "networks",
    "losses": "losses",
    "transforms": "what sequences go through",
    "pose": "pose estimators",
    "segmentation": "masks of people",
    "evaluation": "protocols and metrics",
    "extraction": "video to heatmaps, poses and silhouettes",
    "restoration": "degrade, correct, train a corrector",
    "standalone": "the embedded host",
    "studies": "experiments",
    "report": "pages of results",
    "walkers": "synthetic people",
    "occlusion": "occlusions",
    "skeleton": "joints and partitions",
    "geometry": "alignment's matrices",
    "store": "sequences on disk",
    "video": "video files",
    "convert": "other forms of data",
    "making": "the workshop",
    "execution": "processes and clusters",
    "checkpoints": "files of weights",
    "config": "YAML and typed settings",
    "errors": "errors",
}


def pages() -> dict[str, str]:
    """Path below ``docs`` -> Markdown."""
    rows = "\n".join(f"| [`gaitext.{name}`]({name}.md) | {what} |" for name, what in PARTS.items())
    index = f"""# API reference

What can be imported, by package, from the docstrings. Shapes are in brackets, `[T, 17, 64, 48]`: T frames, 17 joints,
height 64 and width 48. [The house](../architecture.md) says which package may import which.

| package | what stands there |
| --- | --- |
{rows}
"""
    return {
        "api/index.md": index,
        **{f"api/{name}.md": f"# `gaitext.{name}`\n\n::: gaitext.{name}\n" for name in PARTS},
    }
