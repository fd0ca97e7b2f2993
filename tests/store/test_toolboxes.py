"""The unchanged data classes of both toolboxes load the compact form.

Needs a checkout: ``OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… pytest -m toolbox``. Nothing is written there.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gaitext import store
from gaitext.convert import convert_dataset
from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox

from .maps import heatmaps

pytestmark = [
    pytest.mark.toolbox,
    pytest.mark.slow,
    pytest.mark.parametrize(
        "toolbox",
        [
            pytest.param(
                toolbox,
                id=toolbox.name,
                marks=pytest.mark.skipif(
                    not os.environ.get(toolbox.environment), reason=f"set {toolbox.environment} to a checkout"
                ),
            )
            for toolbox in TOOLBOXES
        ],
    ),
]

#: Epochs through the toolbox's DataSet, CollateFn and torch's DataLoader; what is drawn is seeded.
EPOCHS = """
import pickle, random, sys, types
sys.dont_write_bytecode = True
package, root, partition = sys.argv[1:]
sys.path.insert(0, package)
import numpy as np
from torch.utils.data import DataLoader
import data.dataset, data.collate_fn
quiet = types.SimpleNamespace(log_info=lambda *a: None, log_debug=lambda *a: None)
data.dataset.get_msg_mgr = data.collate_fn.get_msg_mgr = lambda: quiet
def epoch(form, sample_type, workers, cache):
    cfg = {"dataset_name": "x", "dataset_root": f"{root}/{form}", "dataset_partition": partition,
           "data_in_use": [True, True, False], "cache": cache, "frame_threshold": 0}
    dataset = data.dataset.DataSet(cfg, True)
    collate = data.collate_fn.CollateFn(dataset.label_set, {"sample_type": sample_type, "frames_num_fixed": 30,
                                        "frames_num_min": 5, "frames_num_max": 9, "frames_skip_num": 2})
    def seeded(batch):
        np.random.seed(0), random.seed(0)
        return collate(batch)
    batches = DataLoader(dataset, batch_sampler=[[0, 3], [2, 1], [1]], collate_fn=seeded, num_workers=workers)
    return [[[np.asarray(a) for a in kind] for kind in b[0]] for b in batches]
pickle.dump({asked: epoch(*asked) for asked in pickle.load(sys.stdin.buffer)}, sys.stdout.buffer)
"""

Asked = tuple[str, str, int, bool]
Epoch = list[list[list[np.ndarray]]]


def epochs(toolbox: Toolbox, root: Path, asked: list[Asked]) -> dict[Asked, Epoch]:
    package = Path(os.environ[toolbox.environment]) / toolbox.package
    command = [sys.executable, "-c", EPOCHS, str(package), str(root), str(root / "partition.json")]
    run = subprocess.run(command, input=pickle.dumps(asked), capture_output=True, timeout=300, cwd=root)
    assert run.returncode == 0, run.stderr.decode()
    return pickle.loads(run.stdout)


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same data set as upstream writes it, lossless, and compact; moved after writing."""
    root = tmp_path_factory.mktemp("data")
    for i in range(4):
        frames = 20 + 8 * i
        maps, poses = heatmaps(frames, seed=i), np.full((frames, 17, 3), i, np.float32)
        leaf = store.write_leaf(
            root / "made", f"{i:03}", "nm", "0", {"0_maps": maps, "1_poses": poses, "2_more": poses}
        )
        (leaf.path / "0_maps.pkl").write_bytes(pickle.dumps(maps))
    store.write_json(root / "partition.json", {"TRAIN_SET": [f"{i:03}" for i in range(4)], "TEST_SET": []})
    for form in ("lossless", "compact"):
        convert_dataset(root / "made", root / "new" / form, form, quiet=True).raise_failures()
    convert_dataset(root / "new" / "compact", root / "new" / "decoded", "plain", quiet=True).raise_failures()
    (root / "made").rename(root / "upstream")
    for form in ("lossless", "compact", "decoded"):
        (root / "new" / form).rename(root / form)
    return root


def test_batches_are_those_of_upstreams_form(toolbox: Toolbox, datasets: Path) -> None:
    same = {"lossless": "upstream", "compact": "decoded"}
    asked = [
        (form, kind, 0, False)
        for kind in ("fixed_unordered", "unfixed_ordered", "all_ordered")
        for form in (*same, *same.values())
    ]
    asked += [(form, "fixed_unordered", 2, cache) for form in same for cache in (False, True)]
    found = epochs(toolbox, datasets, asked)
    for form, kind, workers, cache in asked:
        if form not in same:
            continue
        batches, expected = found[form, kind, workers, cache], found[same[form], kind, 0, False]
        assert len(batches) == len(expected) == 3
        for batch, wanted in zip(batches, expected):
            assert len(batch) == len(wanted) == 2
            for one, other in zip(batch, wanted):
                assert len(one) == len(other)
                for a, b in zip(one, other):
                    assert a.dtype == b.dtype
                    assert np.array_equal(a, b)
