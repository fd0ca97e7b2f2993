"""The configs that come with gaitext: a checkout's folder ``configs``, in an installed package beside this file."""

from __future__ import annotations

from pathlib import Path

__all__ = ["find_config", "shipped_configs"]

_HERE = Path(__file__).parent


def _folder() -> Path:
    inside = _HERE / "configs"
    return inside if inside.is_dir() else _HERE.parent / "configs"


def shipped_configs() -> dict[str, Path]:
    """Name, such as ``gaitheat/tiny``, and file of every config, sorted."""
    folder = _folder()
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find_config(path: str | Path) -> Path:
    """A config's file: the path itself where there is one, else the shipped config of that name.

    Args:
        path: of a file, or a shipped config's name: ``gaitheat/tiny``, with ``.yaml`` and ``configs/``
            or without.

    >>> find_config("gaitheat/tiny").name
    'tiny.yaml'
    """
    path = Path(path)
    if path.exists() or path.is_absolute() or ".." in path.parts:
        return path
    parts = path.parts[1:] if path.parts[:1] == ("configs",) else path.parts
    name = "/".join(parts).removesuffix(".yaml")
    return shipped_configs().get(name, path)
