"""Train and evaluate the bundled estimator on rendered walkers.

Run: OMP_NUM_THREADS=1 python tools/train_estimator.py --work FOLDER
Needs pycocotools besides gaitext[video]. FOLDER keeps crops (2.4 GB) and checkpoints: run again, it
resumes. Ends with gaitext/pose/data/walkers.pt and walkers.json, which records how it was made and
how good it is. --evaluate only evaluates what is there. Takes about 40 minutes on two cores.
"""

# ruff: noqa: T201 (progress and results are what it prints)
from __future__ import annotations

import argparse
import copy
import hashlib
import json
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from estimator_metrics import measure
from torch import Tensor
from walker_crops import FRAMES, Crops, collect

import gaitext
from gaitext.pose.bundled import PROVENANCE, WEIGHTS, BundledEstimator, PoseNet
from gaitext.pose.estimator import HEATMAP_SHAPE
from gaitext.skeleton import joint_mirror
from gaitext.store import atomic_path, write_json
from gaitext.walkers.dataset import GENERATOR

#: Seeds of the walkers to learn from and to be judged by: no identity, cloth or camera is in both.
TRAIN_SEED, TEST_SEED = 4001, 4002
#: Of the targets' peaks, heatmap pixels, as HRNet's for 256×192.
SIGMA = 2.0
#: A hidden joint's peak is this much lower, and its pixels count this much less.
HIDDEN = 0.5
#: A peak's own pixels count up to this many times more than the empty ones, which are most.
PEAKED = 2.0
#: Crops a step, and steps until the learning rate is highest.
BATCH, WARMING = 16, 990


def targets(joints: Tensor, visibility: Tensor) -> tuple[Tensor, Tensor]:
    """Heatmaps [N, 17, 64, 48] to learn, and how much each of them counts [N, 17, 1, 1].

    A joint that is seen has height 1, a hidden one 0.5, one outside the frame none: so scores say
    how well a joint is seen.
    """
    profiles = []
    for axis, size in ((1, HEATMAP_SHAPE[1]), (0, HEATMAP_SHAPE[2])):
        away = (torch.arange(size) - joints[..., axis, None]) / SIGMA
        profiles.append(torch.exp(-0.5 * away**2))
    weight = 1 - HIDDEN * (1 - visibility.clamp(0, 1))
    height = torch.where(visibility < 0, 0.0, weight)
    peaks = torch.einsum("nj,njh,njw->njhw", height, *profiles)
    return peaks, torch.where(visibility < 0, 1.0, weight)[..., None, None]


def batch(crops: Crops, chosen: np.ndarray, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images, targets and weights of crops, half of them mirrored, in other light."""
    images = torch.from_numpy(crops.images[chosen]).float() / 255
    joints, visibility = torch.from_numpy(crops.joints[chosen]), torch.from_numpy(crops.visibility[chosen])
    mirrored = torch.rand(len(chosen), generator=generator) < 0.5
    images[mirrored] = images[mirrored].flip(-1)
    swap = list(joint_mirror())
    joints[mirrored] = joints[mirrored][:, swap]
    joints[mirrored, :, 0] = HEATMAP_SHAPE[2] - 1 - joints[mirrored, :, 0]
    visibility[mirrored] = visibility[mirrored][:, swap]
    gain = torch.exp(0.2 * torch.randn(len(chosen), 1, 1, 1, generator=generator))
    tint = torch.exp(0.08 * torch.randn(len(chosen), 3, 1, 1, generator=generator))
    lift = 0.04 * torch.randn(len(chosen), 1, 1, 1, generator=generator)
    # What is black because it lies outside the frame stays black.
    lit = torch.where(images.amax(1, keepdim=True) > 0, images * gain * tint + lift, images)
    return lit.clamp_(0, 1), *targets(joints, visibility)


def train(network: PoseNet, crops: Crops, steps: int, seed: int, checkpoint: Path) -> PoseNet:
    """Train for one cycle of ``steps`` batches, on from ``checkpoint`` where there is one."""
    network.train()
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    warming = min(WARMING, steps // 4) / steps
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=warming)
    begun = 0
    if checkpoint.is_file():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        begun = state["step"]
        print(f"resumed at step {begun}")
    started, total = time.monotonic(), 0.0
    parameters = list(network.parameters())
    halves = _twins(network)
    pool = ThreadPoolExecutor(len(halves), initializer=torch.set_num_threads, initargs=(1,))
    for step in range(begun, steps):
        # A generator of the step's own: resumed or not, the same batches.
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        chosen = torch.randint(len(crops), (BATCH,), generator=generator).numpy()
        shares = [(part, int(torch.randint(2**31, (), generator=generator))) for part in np.split(chosen, len(halves))]
        results = list(pool.map(partial(_gradients, crops), halves, *zip(*shares)))
        losses, gradients = zip(*results)
        for parameter, *parts in zip(parameters, *gradients):
            parameter.grad = sum(parts[1:], parts[0]) / len(parts)
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimiser.step()
        schedule.step()
        total += sum(losses) / len(losses)
        if (step + 1) % 200 == 0:
            rate = (step + 1 - begun) * BATCH / (time.monotonic() - started)
            print(f"step {step + 1:5d}/{steps}  loss {total / 200:.3f}  {rate:.0f} crops/s", flush=True)
            total = 0.0
        if (step + 1) % 500 == 0 or step + 1 == steps:
            _average_statistics(network, halves)
            state = {"network": network.state_dict(), "optimiser": optimiser.state_dict()}
            state |= {"schedule": schedule.state_dict(), "step": step + 1}
            with atomic_path(checkpoint) as temporary:
                torch.save(state, temporary)
    return network.eval()


def _gradients(crops: Crops, network: PoseNet, chosen: np.ndarray, seed: int) -> tuple[float, tuple[Tensor, ...]]:
    """Loss and gradients of one half of a batch."""
    images, wanted, weight = batch(crops, chosen, torch.Generator().manual_seed(seed))
    # bfloat16 halves a step's time where the processor knows it.
    with torch.autocast("cpu", torch.bfloat16):
        heatmaps = network(images)
    weight = weight * (1 + PEAKED * wanted)
    loss = (weight * (heatmaps.float() - wanted).square()).mean() * 1000
    return loss.item(), torch.autograd.grad(loss, list(network.parameters()))


def _twins(network: PoseNet) -> list[PoseNet]:
    """Two networks with the same weights and statistics of their own.

    Each half of a batch has a thread of its own, that meets the other once a step: threads inside
    each operation meet hundreds of times, which is slow on a machine that others use, too.
    """
    shared: dict[int, Any] = {id(parameter): parameter for parameter in network.parameters()}
    return [copy.deepcopy(network, dict(shared)) for _ in range(2)]


def _average_statistics(network: PoseNet, twins: list[PoseNet]) -> None:
    """Give ``network`` the mean of its twins' running statistics, and them, too: resuming must not matter."""
    for own, *theirs in zip(network.buffers(), *(twin.buffers() for twin in twins)):
        mean = torch.stack([value.double() for value in theirs]).mean(0)
        for buffer in (own, *theirs):
            buffer.copy_(mean)


def write_weights(network: PoseNet, path: Path) -> str:
    """Write the weights as float16, loadable with ``weights_only``; return their SHA-256."""
    state = {name: value.half() if value.is_floating_point() else value for name, value in network.state_dict().items()}
    with atomic_path(path) as temporary:
        torch.save(state, temporary)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def estimate(estimator: BundledEstimator, images: np.ndarray) -> np.ndarray:
    """Heatmaps [N, 17, 64, 48] of uint8 images."""
    parts = [torch.from_numpy(images[i : i + BATCH]).float() / 255 for i in range(0, len(images), BATCH)]
    with torch.inference_mode():
        return torch.cat([estimator.heatmaps(part) for part in parts]).numpy()


def evaluate(crops: Crops) -> dict[str, Any]:
    """Numbers of the weights in the package, over all crops and over the least and most compressed third."""
    heatmaps = estimate(BundledEstimator(), crops.images)
    results = {"all": measure(heatmaps, crops.joints, crops.visibility, crops.boxes)}
    low, high = np.quantile(crops.crf, (1 / 3, 2 / 3))
    for name, part in ((f"crf < {low:.0f}", crops.crf < low), (f"crf > {high:.0f}", crops.crf > high)):
        results[name] = measure(heatmaps[part], crops.joints[part], crops.visibility[part], crops.boxes[part])
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for crops and checkpoints")
    parser.add_argument("--clips", type=int, default=1500)
    parser.add_argument("--test-clips", type=int, default=100)
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[5600, 3900, 14000], help="of each cycle of the learning rate"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the initial weights and the batches")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument("--evaluate", action="store_true", help="only evaluate the package's weights")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    rendered_by = options.work / "commit.txt"
    if not rendered_by.exists():
        rendered_by.write_text(_commit())
    tested = collect(options.work / "crops", TEST_SEED, options.test_clips, options.workers)
    if options.evaluate:
        print(json.dumps(evaluate(tested), indent=1))
        return
    started = time.monotonic()
    crops = collect(options.work / "crops", TRAIN_SEED, options.clips, options.workers)
    rendered = time.monotonic()
    torch.manual_seed(options.seed)
    network = PoseNet()
    name = f"{options.seed}-{options.clips}"
    for cycle, steps in enumerate(options.steps):
        name += f"-{steps}"
        network = train(network, crops, steps, options.seed + 1000 * cycle, options.work / f"{name}.pt")
    trained = time.monotonic()
    provenance = {
        "sha256": write_weights(network, WEIGHTS),
        "parameters": sum(p.numel() for p in network.parameters()),
        "command": f"python tools/train_estimator.py --work FOLDER --clips {options.clips} "
        f"--test-clips {options.test_clips} --steps {' '.join(map(str, options.steps))} --seed {options.seed}",
        "trained_on": f"{len(crops)} crops of {options.clips} rendered walkers, one clip each; no person ever filmed",
        "walkers": {"generator": GENERATOR, "train_seed": TRAIN_SEED, "test_seed": TEST_SEED, "crops_a_clip": FRAMES},
        "gaitext": gaitext.__version__,
        "commit": rendered_by.read_text(),
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "minutes": {"rendering": round((rendered - started) / 60, 1), "training": round((trained - rendered) / 60, 1)},
    }
    write_json(PROVENANCE, provenance)  # the estimator compares the digest when it loads
    provenance["results"] = evaluate(tested)
    write_json(PROVENANCE, provenance)
    print(json.dumps(provenance, indent=1))


def _commit() -> str:
    """The commit of this checkout, marked where the walkers differ from it."""
    here = Path(__file__).parent.parent
    ours = ["gaitext/walkers", "tools/walker_crops.py"]
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True).stdout.strip()
    changed = subprocess.run(["git", "status", "--porcelain", *ours], cwd=here, capture_output=True, text=True).stdout
    return commit + (" with changes" if changed.strip() else "")


if __name__ == "__main__":
    main()
