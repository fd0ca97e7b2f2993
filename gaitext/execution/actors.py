"""Workers that are Ray actors, on one machine or many."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from gaitext.errors import DataError, GaitextError, import_extra
from gaitext.execution.processes import Desk, Lost, Task, failure_answer
from gaitext.execution.sequences import Engine

__all__ = ["ray_actors"]

logger = logging.getLogger(__name__)

#: How long the head of a cluster may take to accept a connection, seconds.
_TIMEOUT = 10.0
#: How long no worker may have started before the log says what they wait for, seconds.
_PATIENCE = 30.0


@contextmanager
def ray_actors(task: Task, engine: Engine, workers: int, items: int) -> Iterator[tuple[Actors, int]]:
    """Connect to Ray, or start it, and yield a crew of actors and how many it is to have.

    A Ray that this process had connected to before is used, and left connected.

    Args:
        task: what they do.
        engine: which cluster, and what each actor reserves.
        workers: actors wanted; 0 is as many as the cluster holds now.
        items: no more actors than these.

    Raises:
        MissingDependencyError: Ray is not installed.
        GaitextError: there is no cluster at the address.
    """
    ray = import_extra("ray", "ray", "the ray engine")
    before = ray.is_initialized()
    if not before:
        _connect(ray, engine.address)
    try:
        num_gpus = engine.num_gpus
        if num_gpus is None:
            num_gpus = 1.0 if ray.cluster_resources().get("GPU", 0) else 0.0
        count = min(workers or _room(ray, engine.num_cpus, num_gpus), items)
        yield Actors(ray, task, num_cpus=engine.num_cpus, num_gpus=num_gpus), count
    finally:
        if not before:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal():
        _knock(host.rpartition("//")[2].strip("[]"), int(port))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here reports to nobody
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error


def _knock(host: str, port: int) -> None:
    """Meet a wrong address at once: Ray itself would try for minutes."""
    try:
        socket.create_connection((host, port), _TIMEOUT).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(f"{host}:{port}", error) from error


def _unreachable(address: str | None, error: Exception) -> GaitextError:
    what = "Ray cannot be started" if address is None else f"there is no Ray cluster at {address}"
    return GaitextError(
        f"{what} ({error})",
        where="engine",
        how="`ray status` on the head shows whether the cluster runs; Python and Ray must be of the same versions "
        "on all machines; a cluster with token authentication wants RAY_AUTH_MODE=token here, too",
    )


def _room(ray: Any, num_cpus: float, num_gpus: float) -> int:
    """How many actors the machines of the cluster hold, at least one."""
    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            fits = [has.get("CPU", 0) / num_cpus] + ([has.get("GPU", 0) / num_gpus] if num_gpus else [])
            room += int(min(fits))
    return max(1, room)


class Actors:
    """A :class:`~gaitext.execution.processes.Crew` of Ray actors.

    Ray places them; those that find no place wait for one, which new machines bring.
    """

    def __init__(self, ray: Any, task: Task, *, num_cpus: float, num_gpus: float) -> None:
        self._ray = ray
        self._needs = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._kind = ray.remote(_Actor)
        self._task = ray.put(ray.cloudpickle.dumps(task))
        self._actors: dict[int, Any] = {}
        self._asked: dict[Any, int] = {}  # reference of the awaited answer -> worker
        self._patience: float | None = _PATIENCE

    def start(self, index: int) -> None:
        # No restarts by Ray: work_through counts deaths, and restarts.
        actor = self._kind.options(**self._needs, max_restarts=0).remote()
        self._actors[index] = actor
        self._asked[actor.start.remote(self._task, index, os.getcwd())] = index

    def give(self, index: int, item: Any) -> None:
        pickled = self._ray.cloudpickle.dumps(item)
        self._asked[self._actors[index].work.remote(pickled)] = index

    def answers(self) -> list[tuple[int, bytes | Lost]]:
        asked = list(self._asked)
        ready, _ = self._ray.wait(asked, num_returns=1, timeout=self._patience)
        if not ready:
            logger.warning(
                "no Ray worker has started yet: each needs %s, the cluster has %s", self._needs, self._cluster()
            )
            self._patience = None
            ready, _ = self._ray.wait(asked, num_returns=1)
        self._patience = None
        return [(self._asked[reference], self._receive(reference)) for reference in ready]

    def _cluster(self) -> dict[str, float]:
        has = self._ray.cluster_resources()
        return {name: has.get(name, 0.0) for name in ("CPU", "GPU")}

    def _receive(self, reference: Any) -> bytes | Lost:
        index = self._asked.pop(reference)
        try:
            answer: bytes = self._ray.get(reference)
            return answer
        except self._ray.exceptions.RayError as error:  # its process, its machine, or its answer is gone
            self._kill(self._actors.pop(index))  # it may only be out of reach, and must not go on
            return Lost(f"with {type(error).__name__}{_reason(str(error))}", str(error))

    def close(self, idle: Collection[int]) -> None:
        for actor in self._actors.values():
            self._kill(actor)
        self._actors.clear()
        self._asked.clear()

    def _kill(self, actor: Any) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.kill(actor)


def _reason(said: str) -> str:
    """The clause that tells one death from another in a page of Ray's advice."""
    if "running low on memory" in said:
        return " (the node ran low on memory)"
    because = re.search(r"is dead because (its [^.:]*)", said)
    return f" ({because[1]})" if because else ""


class _Actor:
    """The process at the other end."""

    def start(self, task: bytes, index: int, folder: str) -> bytes:
        cloudpickle = import_extra("ray.cloudpickle", "ray", "the ray engine")

        try:
            os.chdir(folder)  # relative paths mean what they mean where the command was typed
        except OSError as error:
            missing = DataError(
                f"cannot be entered on {socket.gethostname()} ({error.strerror})",
                where=folder,
                how="start the job in a folder that all machines share",
            )
            return failure_answer("stop", missing, cloudpickle.dumps)
        self._desk = Desk(task, index, cloudpickle.dumps)
        return self._desk.start()

    def work(self, item: bytes) -> bytes:
        return self._desk.work(item)
