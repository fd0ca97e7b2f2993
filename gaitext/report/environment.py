"""What made a report, and settings as they are shown in one."""

from __future__ import annotations

from typing import Any

import yaml

from gaitext.evaluation.origin import now, own_versions


def environment() -> dict[str, str]:
    """What made the report itself."""
    return {
        "made": now(),
        "by": ", ".join(f"{name.replace('python', 'Python')} {own}" for name, own in own_versions().items()),
    }


def yaml_text(value: Any, *, line: bool = False) -> str:
    """A value as YAML, its keys in their order; on one line, if asked for."""
    text = str(yaml.safe_dump(value, default_flow_style=line, sort_keys=False, allow_unicode=True, width=10**6))
    return text.removesuffix("...\n").strip() if line else text
