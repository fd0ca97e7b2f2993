"""Published results as tables: a page made of ``gaitext/report/published/*.yaml``, where there are such files."""

from __future__ import annotations


def pages() -> dict[str, str]:
    """Path below ``docs`` -> Markdown."""
    return {}
