"""Small released trees, made by hand, and how they are read back."""

import json
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from gaitext.extraction.prepare import PrepareReport, prepare

Numbers = list[Any]


def person(seed: int, x: float = 100.0, y: float = 50.0, height: float = 200.0) -> Numbers:
    """51 numbers: somebody whose box begins at (x, y)."""
    rng = np.random.default_rng(seed)
    points = rng.uniform((x, y), (x + height / 3, y + height), (17, 2))
    points[0], points[16] = (x, y), (x, y + height)
    return [float(v) for row in np.column_stack([points, rng.uniform(0.1, 1.0, 17)]) for v in row]


def frames(count: int, seed: int = 0) -> list[dict[str, Any]]:
    """A walk as AlphaPose writes it, one person a frame."""
    return [
        {"image_id": f"{t}.jpg", "category_id": 1, "keypoints": person(seed + t, x=100.0 + t), "score": 2.5}
        for t in range(count)
    ]


def put(path: Path, value: Any) -> Path:
    """Write text, or anything else as json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def ready(name: str, root: Path, out: Path, **options: Any) -> PrepareReport:
    report = prepare(name, root, out, quiet=True, **options)
    assert isinstance(report, PrepareReport)
    return report


def names(out: Path) -> list[str]:
    """All leaves, each with its only file."""
    files = sorted(path.relative_to(out / "sequences") for path in (out / "sequences").rglob("*") if path.is_file())
    assert all(file.name == "2_poses_frame.pkl" for file in files)
    return [file.parent.as_posix() for file in files]


def leaf(out: Path, name: str) -> np.ndarray:
    """What a toolbox loads."""
    with (out / "sequences" / name / "2_poses_frame.pkl").open("rb") as stream:
        loaded = pickle.load(stream)
    assert loaded.dtype == np.float32
    assert loaded.shape[1:] == (17, 3)
    return loaded


def expected(rows: list[Numbers]) -> np.ndarray:
    """The slow way: number by number, joint by joint, frame by frame."""
    kept = []
    for numbers in rows:
        pose, shown = np.zeros((17, 3), np.float32), False
        for joint in range(17):
            triple = [math.nan if v is None else float(v) for v in numbers[3 * joint : 3 * joint + 3]]
            if all(math.isfinite(v) for v in triple) and triple[2] > 0:
                pose[joint], shown = triple, True
        if shown:
            kept.append(pose)
    return np.stack(kept) if kept else np.zeros((0, 17, 3), np.float32)
