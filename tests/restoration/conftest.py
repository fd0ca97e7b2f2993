"""Three walkers on video, degraded; made once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gaitext.restoration import DegradeSettings, degrade_dataset
from gaitext.video.sources import find_videos
from gaitext.walkers import WalkerSettings, write_dataset


@dataclass(frozen=True)
class World:
    walkers: Path
    degraded: Path
    split: Path


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("walkers")
    settings = WalkerSettings.parse(
        {
            "identities": 3,
            "protocol": "own",
            "types": ["nm-01"],
            "views": ["045", "090"],
            "frames": 6,
            "content": ["keypoints", "video"],
            "camera": {"width": 320, "height": 240, "distance": 8.0, "elevation": 0.95},
            "seed": 5,
        },
        where="walkers",
    )
    write_dataset(settings, root / "walkers", quiet=True)
    degrade_dataset(find_videos(root / "walkers" / "videos"), root / "degraded", DegradeSettings(crf=40), quiet=True)
    split = root / "split.json"
    split.write_text(json.dumps({"train": ["001"], "val": ["002"], "test": ["003"]}))
    return World(root / "walkers", root / "degraded", split)
