"""What a training batch costs to load: upstream's float16 pkls against the compact form.

    python tools/bench_loading.py [--folder F] [--noise 0.004] [--cold] [--opengait ROOT]

Walkers of 100 frames are loaded as the toolboxes load them: ``pickle.load`` of each sequence of a
batch, then 30 frames drawn without order and gathered by ``numpy.asarray``, through OpenGait's own
``DataSet`` and ``CollateFn`` with ``--opengait``. Forms take turns, so that all meet the same
disturbances; given are medians with the quartiles, and ratios to upstream's form, which is what
its scripts write: ``pickle.dump`` of a float16 array [T, 17, 64, 48].

Bytes are those that read calls returned (``rchar`` of /proc/self/io), from the disk or the page
cache. ``--cold`` drops the files from the page cache before every batch.
"""

# ruff: noqa: T201, NPY002 (what it prints is what it is for; the toolboxes draw from numpy's global generator)
from __future__ import annotations

import argparse
import json
import logging
import os
import pickle
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gaitext import store
from gaitext.transforms import HeatmapMerge
from gaitext.walkers import WalkerSettings, write_dataset

IDENTITIES, TYPES, VIEWS, FRAMES, SAMPLED = 8, ["nm-01", "bg-01"], ["000", "090"], 100, 30
UPSTREAM = "upstream float16"
FORMS = (UPSTREAM, "gaitext float16", "lossless, 17 maps", "compact, 17 maps", "compact, 2 maps")
NAME = "0_heatmaps"


def make(folder: Path, noise: float, floor: float) -> None:
    """Walkers in all forms, once; ``noise`` is the σ of what is added to every pixel."""
    record = folder / "made.json"
    settings = WalkerSettings(
        identities=IDENTITIES,
        train_identities=IDENTITIES - 1,
        types=TYPES,
        views=VIEWS,
        frames=FRAMES,
        content=["heatmaps"],
    )
    made = {"noise": noise, "floor": floor, "settings": settings.model_dump(mode="json")}
    if record.exists() and json.loads(record.read_text()) == made:
        return
    record.unlink(missing_ok=True)
    walkers = write_dataset(settings, folder / "walkers", quiet=True)
    merge = HeatmapMerge("upper_lower")
    for number, leaf in enumerate(store.leaves(walkers.sequences)):
        heatmaps = store.read_leaf(leaf)[0]
        if noise:
            added = np.random.default_rng(number).normal(0, noise, heatmaps.shape)
            heatmaps = (heatmaps + added).astype(np.float16)
        place = (leaf.identity, leaf.type, leaf.view)
        upstream = folder / FORMS[0] / leaf.name
        upstream.mkdir(parents=True, exist_ok=True)
        with (upstream / f"{NAME}.pkl").open("wb") as stream:
            pickle.dump(heatmaps, stream)
        store.write_leaf(folder / FORMS[1], *place, {NAME: heatmaps})
        store.write_leaf(folder / FORMS[2], *place, {NAME: heatmaps}, {NAME: "lossless"})
        store.write_leaf(folder / FORMS[3], *place, {NAME: heatmaps}, {NAME: "compact"}, floor=floor)
        store.write_leaf(folder / FORMS[4], *place, {NAME: merge(heatmaps)}, {NAME: "compact"}, floor=floor)
    names = [settings.identity_name(i + 1) for i in range(IDENTITIES)]
    store.write_partition(folder / "partition.json", names, [])
    os.sync()
    store.write_json(record, made)


class Semantics:
    """What the toolboxes' dataset and collate function do, from their interface."""

    def __init__(self, root: Path, partition: Path) -> None:
        self.paths = [leaf.files() for leaf in store.leaves(root)]

    def load(self, index: int) -> list[Any]:
        loaded = []
        for path in self.paths[index]:
            with open(path, "rb") as f:
                loaded.append(pickle.load(f))
        assert len({len(sequence) for sequence in loaded}) == 1
        return loaded

    def batch(self, indices: list[int]) -> list[list[Any]]:
        loaded = [self.load(index) for index in indices]
        gathered = []
        for sequences in loaded:
            count = len(sequences[0])
            drawn = np.random.choice(list(range(count)), SAMPLED, replace=count < SAMPLED)
            gathered.append([[sequence[j] for j in drawn] for sequence in sequences])
        return [[np.asarray(inputs[i]) for inputs in gathered] for i in range(len(loaded[0]))]


def opengait(root: Path) -> Callable[[Path, Path], Any]:
    """The same through OpenGait's own classes."""
    sys.path.insert(0, str(root / "opengait"))
    quiet = SimpleNamespace(log_info=lambda *_: None, log_debug=lambda *_: None)
    import data.collate_fn as collate_fn
    import data.dataset as dataset

    dataset.get_msg_mgr = collate_fn.get_msg_mgr = lambda: quiet

    class Real:
        def __init__(self, folder: Path, partition: Path) -> None:
            cfg = {"dataset_name": "walkers", "dataset_root": str(folder), "dataset_partition": str(partition)}
            self.dataset = dataset.DataSet(cfg | {"data_in_use": [True], "cache": False}, True)
            self.collate = collate_fn.CollateFn(
                self.dataset.label_set, {"sample_type": "fixed_unordered", "frames_num_fixed": SAMPLED}
            )
            self.paths = [[Path(path) for path in info[-1]] for info in self.dataset.seqs_info]

        def batch(self, indices: list[int]) -> list[list[Any]]:
            return self.collate([self.dataset[index] for index in indices])[0]

    return Real


def read_so_far() -> int:
    with open("/proc/self/io") as stream:
        return int(stream.readline().split()[1])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    np.random.seed(seed)  # the toolboxes draw from it
    random.seed(seed)
    yield


def measure(loader: Any, indices: list[int], seed: int, cold: bool, cpu: bool) -> tuple[float, int]:
    if cold:
        for index in indices:
            for path in loader.paths[index]:
                handle = os.open(path, os.O_RDONLY)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(handle)
    with seeded(seed):
        clock = time.process_time if cpu else time.perf_counter
        before, started = read_so_far(), clock()
        batch = loader.batch(indices)
        seconds, count = clock() - started, read_so_far() - before
    assert len(batch[0]) == len(indices)
    assert batch[0][0].shape[0] == SAMPLED
    assert batch[0][0].dtype == np.float16
    return seconds, count


def size(folder: Path, form: str) -> float:
    files = list((folder / form).glob("*/*/*/*.pkl"))
    return sum(file.stat().st_size for file in files) / len(files) / FRAMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the data stand, kept for the next time; default: temporary")
    parser.add_argument("--noise", type=float, default=0.0, help="σ of noise on every pixel, as real estimators have")
    parser.add_argument("--floor", type=float, default=0.0, help="values nearer to 0 are stored as 0")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument(
        "--cpu", action="store_true", help="seconds of this process's CPU: for a machine that is shared"
    )
    parser.add_argument("--opengait", type=Path)
    asked = parser.parse_args()
    logging.disable()
    kind = Semantics if asked.opengait is None else opengait(asked.opengait)
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        make(folder, asked.noise, asked.floor)
        loaders = {form: kind(folder / form, folder / "partition.json") for form in FORMS}
        drawn = np.random.default_rng(0)
        taken: dict[str, list[tuple[float, int]]] = {form: [] for form in FORMS}
        for repeat in range(-1, asked.repeats):  # the first one warms up
            indices = drawn.permutation(IDENTITIES * len(TYPES) * len(VIEWS))[: asked.batch].tolist()
            for form in drawn.permutation(FORMS).tolist():
                one = measure(loaders[form], indices, repeat + 1, asked.cold, asked.cpu)
                if repeat >= 0:
                    taken[form].append(one)
        upstream = [seconds for seconds, _ in taken[UPSTREAM]]
        print(f"{asked.batch} sequences a batch, {asked.repeats} batches, {'cold' if asked.cold else 'page cache'}")
        print(f"{'':20} bytes/frame  MB/batch  fewer  ms/sequence (quartiles)   faster (quartiles)")
        for form in FORMS:
            seconds, counts = zip(*taken[form])
            each = sorted(1e3 * s / asked.batch for s in seconds)
            ratio = sorted(u / s for u, s in zip(upstream, seconds))
            fewer = taken[UPSTREAM][0][1] / statistics.mean(counts)
            low, middle, high = statistics.quantiles(each, n=4)
            slow, usual, fast = statistics.quantiles(ratio, n=4)
            print(
                f"{form:20} {size(folder, form):11.0f} {statistics.mean(counts) / 1e6:9.2f} {fewer:6.1f}"
                f"  {middle:6.2f} ({low:.2f} – {high:.2f})      {usual:5.1f} ({slow:.1f} – {fast:.1f})"
            )


if __name__ == "__main__":
    main()
