"""What ``mkdocs build`` calls: pages that are made from the code, and texts that have to differ on the site.

See ``hooks`` in mkdocs.yml. The pages are nowhere in the repository.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))

import api
import configuration
import published


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages that are made."""
    for path, text in {**configuration.pages(), **api.pages(), **published.pages()}.items():
        files.append(File.generated(config, path, content=text))
    return files
