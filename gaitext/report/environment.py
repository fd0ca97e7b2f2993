"""What made a report, and settings as they are shown in one."""

from __future__ import annotations

import datetime
import platform
from typing import Any

import numpy as np
import torch
import yaml

import gaitext


def environment() -> dict[str, str]:
    """What made the report itself."""
    return {
        "made": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "by": f"gaitext {gaitext.__version__}, torch {torch.__version__}, numpy {np.__version__}, "
        f"Python {platform.python_version()}",
    }


def yaml_text(value: Any, *, line: bool = False) -> str:
    """A value as YAML, its keys in their order; on one line, if asked for."""
    text = str(yaml.safe_dump(value, default_flow_style=line, sort_keys=False, allow_unicode=True, width=10**6))
    return text.removesuffix("...\n").strip() if line else text
