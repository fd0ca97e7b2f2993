"""gaitext's networks against the published arrangements: same weights, same inputs, in turn.

    python tools/bench_models.py --model gaitheat --phase inference --precision fp32
    python tools/bench_models.py --model gaitheat --precision bf16 --theirs-precision fp32
    python tools/bench_models.py --model all --phase all --device cuda --precision fp16 --compile ours

The published arrangements stand in tests/models/reference_*.py. Ratios are of neighbouring runs, theirs
by ours, so that what else the machine does touches both; given are the median and the quartiles. On a
CPU, the process's own CPU time counts unless --wall is given; on a GPU, CUDA events. A train step is
the forward pass, the losses, the backward pass and the optimizer's step. Peak memory is what a run
needs beside weights and inputs, each in a process of its own on a CPU.
"""

# ruff: noqa: T201 (what it prints is what it is for)
from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from bench_cases import CASES, Case
from torch import nn

from gaitext.execution.memory import keep_freed_memory

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
WHO = ("ours", "theirs")


def autocast(options: argparse.Namespace, precision: str) -> AbstractContextManager[None]:
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(options.device, DTYPES[precision])  # type: ignore[return-value]


def stepper(case: Case, who: int, phase: str, precision: str, options: argparse.Namespace) -> Callable[[], object]:
    """What is timed."""
    network: nn.Module = case.networks[who]
    if phase == "inference":
        if who == 0 and case.serving is not None:
            network = case.serving(DTYPES[precision])
        network.eval()
    else:
        network.train()
    if who == 1 and options.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.compile in (WHO[who], "both"):
        network.compile(mode=options.compile_mode)
    if phase == "inference":

        def infer() -> torch.Tensor:
            with torch.inference_mode(), autocast(options, precision):
                return case.infer(network)

        return infer
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=1e-6, momentum=0.9, weight_decay=5e-4)
    scaler = torch.amp.GradScaler(options.device, enabled=precision == "fp16")

    def step() -> None:
        optimizer.zero_grad()
        with autocast(options, precision):
            loss = case.loss(network)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def milliseconds(run: Callable[[], object], options: argparse.Namespace) -> float:
    if options.device == "cuda":
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end)
    clock = time.perf_counter if options.wall else time.process_time
    begun = clock()
    run()
    return (clock() - begun) * 1e3


def compare(case: Case, phase: str, options: argparse.Namespace) -> None:
    """Alternate the two, who comes first too, and print what was found."""
    precisions = (options.precision, options.theirs_precision or options.precision)
    runs = [stepper(case, who, phase, precisions[who], options) for who in (0, 1)]
    for run in runs * options.warmup:
        run()
    taken: list[list[float]] = [[], []]
    for turn in range(options.runs):
        for who in (0, 1) if turn % 2 else (1, 0):
            taken[who].append(milliseconds(runs[who], options))
    count = case.count[phase == "train"]
    per = [statistics.median(each) / count for each in taken]
    ratios = [theirs / ours for ours, theirs in zip(*taken)]
    low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(
        f"{phase:9} ours {precisions[0]} {per[0]:.4g} ms a {case.unit}, as published {precisions[1]} {per[1]:.4g}; "
        f"ratio {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {options.runs} pairs)"
    )


def difference(case: Case, options: argparse.Namespace) -> None:
    """Print how far the outputs lie apart: of both in float32, and of ours in the other precision."""
    runs = [stepper(case, who, "inference", "fp32", options) for who in (0, 1)]
    mine, theirs = (run() for run in runs)
    assert isinstance(mine, torch.Tensor)
    assert isinstance(theirs, torch.Tensor)
    if case.same is not None:
        with torch.inference_mode():
            published, theirs = theirs, case.same(case.networks[1])
        print(f"outputs   of the arrangement as it is timed differ by up to {(mine - published).abs().max():.1e}")
    print(f"outputs   fp32 differ by up to {(mine - theirs).abs().max():.1e} of {theirs.abs().max():.2g}")
    assert (mine - theirs).abs().max() <= 1e-4 * max(1.0, float(theirs.abs().max()))
    if options.precision != "fp32":
        coarse = stepper(case, 0, "inference", options.precision, options)()
        assert isinstance(coarse, torch.Tensor)
        likeness = torch.cosine_similarity(coarse.float().flatten(1), theirs.flatten(1))
        print(f"outputs   ours {options.precision} to published fp32: least cosine {likeness.min():.6f}")


def resident(field: str) -> float:
    """MiB: VmRSS now, VmHWM at most so far. (getrusage would count the process that started this one.)"""
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(field)) / 1024


def peak(case: Case, who: int, phase: str, options: argparse.Namespace) -> float:
    """MiB that a run needs beside what is there before it."""
    precision = options.precision if who == 0 else options.theirs_precision or options.precision
    run = stepper(case, who, phase, precision, options)
    if options.device == "cuda":
        run()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    before = resident("VmRSS")
    run()
    return resident("VmHWM") - before


def peaks(name: str, case: Case, phase: str, options: argparse.Namespace) -> None:
    found = []
    for who in (0, 1):
        if options.device == "cuda":
            found.append(peak(case, who, phase, options))
            continue
        own = ["--model", name, "--phase", phase, "--peak-of", WHO[who]]
        run = subprocess.run([sys.executable, *sys.argv, *own], check=True, capture_output=True, text=True)
        found.append(json.loads(run.stdout.splitlines()[-1]))
    print(f"{phase:9} peak memory ours {found[0]:.0f} MiB, as published {found[1]:.0f} MiB")


def profile(case: Case, phase: str, options: argparse.Namespace) -> None:
    activities = [torch.profiler.ProfilerActivity.CPU]
    if options.device == "cuda":
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    for who in (0, 1):
        run = stepper(case, who, phase, options.precision, options)
        run()
        with torch.profiler.profile(activities=activities) as found:
            run()
        key = "self_cuda_time_total" if options.device == "cuda" else "self_cpu_time_total"
        print(
            f"{phase}, {WHO[who]}:\n{found.key_averages().table(sort_by=key, row_limit=16, max_name_column_width=44)}"
        )


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[*CASES, "all"], default="gaitheat")
    parser.add_argument("--phase", choices=["inference", "train", "all"], default="all")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=list(DTYPES), default="fp32")
    parser.add_argument("--theirs-precision", choices=list(DTYPES), help="of the published arrangement; default: ours")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--warmup", type=int, default=1, help="runs before those that count")
    parser.add_argument("--wall", action="store_true", help="on a CPU, wall time rather than CPU time")
    parser.add_argument("--compile", choices=["none", *WHO, "both"], default="none", help="torch.compile")
    parser.add_argument("--compile-mode", help="reduce-overhead uses CUDA graphs")
    parser.add_argument("--channels-last", action="store_true", help="give that to the published arrangement, too")
    parser.add_argument("--no-tf32", action="store_true", help="on a GPU, full float32 in convolutions")
    parser.add_argument("--sequences", type=int, default=2, help="packed in inference")
    parser.add_argument("--frames", type=int, default=48, help="of each")
    parser.add_argument("--batch", type=int, default=8, help="sequences of a train step")
    parser.add_argument("--train-frames", type=int, default=6, help="of each")
    parser.add_argument("--keep-memory", action="store_true", help="as the embedded host does")
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--profile", action="store_true", help="print where the time goes instead")
    parser.add_argument("--tiny", action="store_true", help="networks of a few channels: does it run?")
    parser.add_argument("--peak-of", choices=WHO, help=argparse.SUPPRESS)
    return parser.parse_args(given)


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = not options.no_tf32
    if options.keep_memory:
        keep_freed_memory()
    names = list(CASES) if options.model == "all" else [options.model]
    phases = ["inference", "train"] if options.phase == "all" else [options.phase]
    if options.peak_of is None:
        where = torch.cuda.get_device_name() if options.device == "cuda" else torch.backends.cpu.get_cpu_capability()
        clock = "CUDA events" if options.device == "cuda" else "wall time" if options.wall else "CPU time"
        print(f"torch {torch.__version__}, {where}, {options.threads} threads, {clock}")
    for name in names:
        torch.manual_seed(0)
        case = CASES[name](options)
        if options.peak_of is not None:
            print(json.dumps(peak(case, WHO.index(options.peak_of), phases[0], options)))
            continue
        print(f"== {name}: {case.note}" if case.note else f"== {name}")
        if not options.profile:
            difference(case, options)
        for phase in phases:
            if options.profile:
                profile(case, phase, options)
                continue
            compare(case, phase, options)
            if not options.no_memory:
                peaks(name, case, phase, options)


if __name__ == "__main__":
    main()
