"""Work in this process and in processes of this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from gaitext.errors import DataError, GaitextError
from gaitext.execution import Outcome, map_sequences, raise_failures
from gaitext.execution.processes import cores
from tests.execution import work

ITEMS = list(range(9))


def plain(outcomes: list[Outcome]) -> list[tuple]:
    return [(o.item, o.result, type(o.error), str(o.error)) for o in outcomes]


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_outcomes_are_those_of_a_plain_loop_in_its_order(workers: int) -> None:
    expected = []
    for item in ITEMS:
        try:
            expected.append((item, work.half(item), type(None), "None"))
        except ValueError as error:
            expected.append((item, None, ValueError, str(error)))
    seen: list[Outcome] = []
    outcomes = map_sequences(work.half_backwards, ITEMS, workers=workers, quiet=True, on_outcome=seen.append)
    assert plain(outcomes) == expected
    assert sorted(map(id, seen)) == sorted(map(id, outcomes))
    with pytest.raises(GaitextError, match=r"(?s)2 of 9 things failed.*3: ValueError: 3 is odd.*8: ValueError"):
        raise_failures(outcomes, "things")
    error = outcomes[3].error
    assert error is not None
    assert not workers or "in half\n" in str(error.__cause__), "the worker's traceback is kept"


def test_no_items_are_no_work() -> None:
    assert map_sequences(work.half, [], workers=2, initialise=work.load_nothing, quiet=True) == []


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    results = raise_failures(map_sequences(work.where_am_i, range(2), workers=2, quiet=True), "items")
    assert {threads for _, _, threads in results} == {str(max(1, cores() // 2))}
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    assert map_sequences(work.where_am_i, [0], workers=1, quiet=True)[0].result[2] == "7"  # type: ignore[index]
    assert map_sequences(work.where_am_i, [0], quiet=True)[0].result[:2] == (0, os.getpid())  # type: ignore[index]


def test_each_worker_has_a_number_and_initialises_once(tmp_path: Path) -> None:
    outcomes = map_sequences(
        partial(work.meet, marks=tmp_path, workers=2),
        ITEMS,
        workers=2,
        initialise=work.load,
        initialise_arguments=("m", tmp_path),
        quiet=True,
    )
    results = raise_failures(outcomes, "items")
    assert {(index, *loaded) for index, _, loaded in results} == {(0, "m0"), (1, "m1")}
    assert len({pid for _, pid, _ in results} | {os.getpid()}) == 3
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("workers", [0, 2])
def test_initialising_that_fails_ends_the_job_with_its_error(workers: int, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        map_sequences(
            work.half,
            ITEMS,
            workers=workers,
            initialise=work.load_nothing,
            initialise_arguments=(tmp_path,),
            quiet=True,
        )
    assert (caught.value.what, caught.value.where, caught.value.how) == ("is not there", "model.pt", "download it")
    assert 1 <= len(list(tmp_path.iterdir())) <= max(1, workers), "nobody tries again"


def test_killed_workers_lose_nothing_and_are_replaced(tmp_path: Path) -> None:
    function = partial(work.die_at_first, marks=tmp_path, victims=(0, 3, 4))
    outcomes = map_sequences(function, ITEMS, workers=2, quiet=True)
    assert [o.result[0] for o in outcomes if o.result is not None] == ITEMS
    assert {o.result[1] for o in outcomes if o.result is not None} <= {0, 1}, "successors keep the index"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_kill_from_outside_loses_nothing(tmp_path: Path) -> None:
    def kill() -> None:
        os.kill(int(work.wait_for(tmp_path / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = map_sequences(partial(work.wait_to_be_killed, marks=tmp_path), ITEMS, workers=2, quiet=True)
    killer.join()
    assert raise_failures(outcomes, "items") == ITEMS


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_death_is_seen_although_a_child_holds_the_pipe(tmp_path: Path) -> None:
    started = time.monotonic()
    outcomes = map_sequences(partial(work.die_with_offspring, marks=tmp_path), [7], workers=1, quiet=True)
    assert raise_failures(outcomes, "items") == [7]
    assert time.monotonic() - started < 9.5, "not only when the child has gone"


def test_progress_counts_what_is_done_and_what_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, str]] = []

    @contextlib.contextmanager
    def progress(label: str, total: int, *, quiet: bool) -> Iterator[Callable[..., None]]:
        assert (label, total, quiet) == ("things", 5, False)
        yield lambda done, note="": shown.append((done, note))

    monkeypatch.setattr("gaitext.execution.sequences.progress", progress)
    map_sequences(work.half, [1, 3, 5, 8, 9], label="things")
    assert shown == [(1, ""), (2, "1 failed"), (3, "1 failed"), (4, "2 failed"), (5, "2 failed")]


def test_an_item_that_kills_its_workers_is_given_up_alone(tmp_path: Path) -> None:
    outcomes = map_sequences(partial(work.poison, marks=tmp_path), ITEMS, workers=2, attempts=2, quiet=True)
    assert [o.result for o in outcomes] == [0, 1, None, 3, 4, 5, 6, 7, 8]
    assert isinstance(outcomes[2].error, DataError)
    assert "2: the worker process died 2 times on it, last by SIGKILL" in str(outcomes[2].error)
    assert "memory" in str(outcomes[2].error)
    assert len(list(tmp_path.iterdir())) == 2
    (outcome,) = map_sequences(work.exit_with, [5], workers=1, attempts=1, quiet=True)
    assert "died once on it, last with exit status 5" in str(outcome.error)


def test_workers_that_die_starting_end_the_job_only_if_all_do(tmp_path: Path) -> None:
    run = partial(map_sequences, work.where_am_i, ITEMS, initialise=work.die_loading, quiet=True, attempts=2)
    with pytest.raises(GaitextError, match=r"(?s)died 2 times while starting, last by SIGKILL.*memory"):
        run(workers=1, initialise_arguments=(None, tmp_path))
    assert len(list(tmp_path.iterdir())) == 2
    outcomes = run(workers=2, initialise_arguments=(1, tmp_path))
    assert {index for index, _, _ in raise_failures(outcomes, "items")} == {0}


def test_what_does_not_pickle_is_reported_for_its_item() -> None:
    outcomes = map_sequences(work.fail_strangely, range(6), workers=1, quiet=True)
    said = [f"{type(o.error).__name__}: {o.error}" for o in outcomes]
    assert said[0] == "RemoteError: TwoArgumentsError: this and that"
    assert said[1] == "RemoteError: DoubledError: code 5"
    assert said[2] == "RemoteError: LockedError: locked"
    assert "pickle" in said[3]
    assert isinstance(outcomes[4].error, DataError)
    assert (outcomes[4].error.where, outcomes[4].error.how) == ("there", "so")
    assert outcomes[5].result == 5
    assert "raise TwoArgumentsError" in str(outcomes[0].error and outcomes[0].error.__cause__)

    outcomes = map_sequences(str, [1, threading.Lock(), 3], workers=1, quiet=True)
    assert [o.result for o in outcomes] == ["1", None, "3"]
    assert "pickle" in str(outcomes[1].error)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_function_that_exits_ends_the_job(workers: int) -> None:
    with pytest.raises(SystemExit):
        map_sequences(work.exit_python, [1], workers=workers, quiet=True)


def test_an_error_of_the_caller_ends_the_workers(tmp_path: Path) -> None:
    def stop(outcome: Outcome) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        map_sequences(work.where_am_i, ITEMS, workers=2, quiet=True, on_outcome=stop)


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from gaitext.execution import map_sequences
from tests.execution.work import announce_and_sleep
if __name__ == "__main__":
    map_sequences(partial(announce_and_sleep, marks=Path(sys.argv[1])), range(4), workers=2, label="sleep")
"""


def _job(tmp_path: Path) -> tuple[subprocess.Popen[str], list[int]]:
    (tmp_path / "job.py").write_text(SCRIPT)
    marks = tmp_path / "marks"
    marks.mkdir()
    root = str(Path(__file__).parents[2])
    job = subprocess.Popen(
        [sys.executable, str(tmp_path / "job.py"), str(marks)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": root},
    )
    until = time.monotonic() + work.PATIENCE
    while len(list(marks.iterdir())) < 2 and job.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    return job, [int(mark.name.removeprefix("pid-")) for mark in marks.iterdir()]


def _alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_job_however_it_ends(signum: signal.Signals, tmp_path: Path) -> None:
    job, pids = _job(tmp_path)
    assert len(pids) == 2
    assert all(map(_alive, pids))
    if signum == signal.SIGINT:
        os.killpg(job.pid, signum)  # as a terminal's Ctrl-C: to parent and workers
    else:
        job.send_signal(signum)
    _, said = job.communicate(timeout=20)
    until = time.monotonic() + 20
    while any(map(_alive, pids)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(map(_alive, pids))
    if signum == signal.SIGINT:
        assert said.count("KeyboardInterrupt") == said.count("Traceback") == 1, said
