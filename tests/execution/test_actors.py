"""The same work over a Ray cluster on this machine, whose workers and machines are killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from gaitext.errors import DataError, GaitextError, MissingDependencyError
from gaitext.execution import map_sequences, parse_engine, raise_failures
from gaitext.execution.actors import _connect, _free_places
from tests.execution import work
from tests.execution.test_processes import ITEMS, plain

ray = pytest.importorskip("ray")
STORE = 80_000_000
#: Reports to nobody, and leaves no token in the home folder of whoever runs the tests.
ENVIRONMENT = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder for Ray, where it finds no other cluster; paths of sockets are short."""
    folder = Path(tempfile.mkdtemp(prefix="ray-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with short_folder() as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"RAY_TMPDIR": str(folder)}).items():
            patch.setenv(name, value)
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 2, "num_gpus": 0, "object_store_memory": STORE, "include_dashboard": False},
        )
        ray.init(address=cluster.address, **QUIET)
        yield cluster
        ray.shutdown()
        cluster.shutdown()


def test_ray_gives_the_outcomes_of_a_plain_loop(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = map_sequences(work.half, ITEMS, quiet=True)
    seen = []
    outcomes = map_sequences(work.half, ITEMS, engine="ray", workers=2, quiet=True, on_outcome=seen.append)
    assert plain(outcomes) == plain(local)
    assert len(seen) == len(ITEMS)
    assert "in half\n" in str(outcomes[3].error and outcomes[3].error.__cause__)
    assert ray.is_initialized(), "a cluster that the caller had connected to stays"

    (tmp_path / "here").touch()
    monkeypatch.chdir(tmp_path)
    results = raise_failures(
        map_sequences(
            lambda item: (*work.meet(item, tmp_path, 2), Path("here").exists()),
            ITEMS,
            engine="ray?num_cpus=0.5",
            workers=2,
            initialise=work.load,
            initialise_arguments=("m", tmp_path),
            quiet=True,
        ),
        "items",
    )
    assert {(index, *loaded, here) for index, _, loaded, here in results} == {(0, "m0", True), (1, "m1", True)}
    assert len({pid for _, pid, _, _ in results} | {os.getpid()}) == 3
    assert len(list(tmp_path.glob("load-*"))) == 2, "each actor initialises once"


def test_killed_actors_lose_nothing(cluster: Any, tmp_path: Path) -> None:
    function = partial(work.die_at_first, marks=tmp_path, victims=(0, 4))
    outcomes = map_sequences(function, ITEMS, engine="ray", workers=2, quiet=True)
    assert [o.result[0] for o in outcomes if o.result is not None] == ITEMS
    assert {o.result[1] for o in outcomes if o.result is not None} <= {0, 1}

    def kill() -> None:
        os.kill(int(work.wait_for(tmp_path / "pid").read_text()), signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    outcomes = map_sequences(
        partial(work.wait_to_be_killed, marks=tmp_path), ITEMS, engine="ray", workers=2, quiet=True
    )
    killer.join()
    assert raise_failures(outcomes, "items") == ITEMS


def test_what_cannot_work_on_ray_says_so(cluster: Any, tmp_path: Path) -> None:
    outcomes = map_sequences(
        partial(work.poison, marks=tmp_path), ITEMS, engine="ray", workers=1, attempts=2, quiet=True
    )
    assert [o.result for o in outcomes] == [0, 1, None, 3, 4, 5, 6, 7, 8]
    assert isinstance(outcomes[2].error, DataError)
    assert "2: the worker process died 2 times on it, last with ActorDiedError (its worker process has died)" in str(
        outcomes[2].error
    )
    assert len(list(tmp_path.iterdir())) == 2

    with pytest.raises(DataError, match=r"model\.pt: is not there\nTo mend it: download it"):
        map_sequences(
            work.half, ITEMS, engine="ray", initialise=work.load_nothing, initialise_arguments=(tmp_path,), quiet=True
        )
    outcomes = map_sequences(work.fail_strangely, [0, 4], engine="ray", workers=1, quiet=True)
    assert [type(o.error).__name__ for o in outcomes] == ["RemoteError", "DataError"]


def test_a_cluster_is_joined_by_its_address_and_left(cluster: Any) -> None:
    ray.shutdown()
    try:
        outcomes = map_sequences(os.path.basename, ["a/b", "c"], engine=f"ray:{cluster.address}", quiet=True)
        assert not ray.is_initialized()
    finally:
        ray.init(address=cluster.address, **QUIET)
    assert [o.result for o in outcomes] == ["b", "c"]
    assert ray.nodes()[0]["Alive"]


def test_a_wrong_address_is_said_at_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # not listening
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        for engine in (f"ray:{address}", f"ray://{address}"):
            with pytest.raises(GaitextError, match=rf"no Ray cluster at {address}.*refused"):
                _connect(ray, parse_engine(engine).address)
    with pytest.raises(GaitextError, match="no Ray cluster at nonsense"):
        _connect(ray, "nonsense")


def test_ray_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"the ray engine needs ray.*\n.*pip install 'gaitext\[ray\]'"):
        map_sequences(work.half, [1], engine="ray", quiet=True)


SCRIPT = """
import sys
from functools import partial
from pathlib import Path
from gaitext.execution import map_sequences
from tests.execution.work import announce_and_sleep
map_sequences(partial(announce_and_sleep, marks=Path(sys.argv[1])), range(4), workers=1, engine="ray?num_cpus=0.1")
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_a_ray_that_was_started_ends_with_ctrl_c(tmp_path: Path) -> None:
    here = str(Path(__file__).parents[2])
    with short_folder() as folder:
        job = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path)],
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | ENVIRONMENT | {"PYTHONPATH": here, "RAY_TMPDIR": str(folder)},
        )
        until = time.monotonic() + work.PATIENCE
        while not list(tmp_path.iterdir()) and job.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        started = _marked(folder)
        os.killpg(job.pid, signal.SIGINT)
        _, said = job.communicate(timeout=60)
        assert "KeyboardInterrupt" in said
        assert started > 2, "the job, a raylet, an actor"
        until = time.monotonic() + 20
        while _marked(folder) and time.monotonic() < until:
            time.sleep(0.05)
        assert _marked(folder) == 0


def _marked(mark: Path) -> int:
    """Processes that were started with ``mark`` in their environment."""
    count = 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            count += str(mark).encode() in (process / "environ").read_bytes()
    return count


def test_a_machine_that_is_lost_loses_nothing(cluster: Any, tmp_path: Path) -> None:
    """Three actors on two machines; the one that a second machine brought goes down with it."""
    machine = cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=STORE)
    doomed = machine.node_id
    cluster.wait_for_nodes()
    assert _free_places(ray, 1, 0) == 3
    assert _free_places(ray, 2, 0) == 1
    assert _free_places(ray, 1, 1) == _free_places(ray, 0.25, 1) == _free_places(ray, 1, 0.25) == 1
    (gpu,) = map_sequences(os.getenv, ["CUDA_VISIBLE_DEVICES"], engine="ray", quiet=True)
    assert gpu.result == "0", "where a cluster has GPUs, a worker has one"

    def at_work() -> bool:
        return any(tmp_path.glob(f"{doomed}-*"))

    def wait_until_at_work() -> None:
        until = time.monotonic() + work.PATIENCE
        while not at_work() and time.monotonic() < until:
            time.sleep(0.02)

    def where(item: int) -> tuple[int, str]:
        here = ray.get_runtime_context().get_node_id()
        (tmp_path / f"{here}-{item}").touch()
        if here == doomed:
            time.sleep(work.PATIENCE)
        wait_until_at_work()
        return item, here

    def pull_the_plug() -> None:
        wait_until_at_work()
        cluster.remove_node(machine, allow_graceful=False)

    saboteur = threading.Thread(target=pull_the_plug)
    saboteur.start()
    results = raise_failures(map_sequences(where, ITEMS, engine="ray?num_gpus=0", quiet=True), "items")
    saboteur.join()
    assert [item for item, _ in results] == ITEMS
    assert doomed not in {here for _, here in results}
    assert at_work(), "it had been given an item"
