"""Where the work is done; and workers that are Ray actors, on one machine or many."""

from __future__ import annotations

import logging
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Literal

from pydantic import Field

from gaitext.config import Settings, split_options
from gaitext.errors import ConfigError, DataError, GaitextError, import_extra, suggest
from gaitext.execution import workers
from gaitext.execution.workers import Lost, Task

log = logging.getLogger(__name__)

#: How long the head of a cluster may take to accept a connection, seconds.
_TIMEOUT = 10.0
#: How long no worker may have started before the log says what they wait for, seconds.
_PATIENCE = 30.0


_HOW = "give local, ray, or ray:ADDRESS such as ray:10.0.0.1:6379?num_cpus=2&num_gpus=0.5"


class Engine(Settings):
    """Where the work is done.

    Attributes:
        kind: ``"local"`` (this process or processes of this machine) or ``"ray"``.
        address: of the Ray cluster; None takes the one Ray finds (``RAY_ADDRESS``, then a cluster
            running on this machine) or starts one here.
        num_cpus: cores that Ray reserves for a worker; also its number of OpenMP threads.
        num_gpus: GPUs that Ray reserves for a worker; None is 1 where the cluster has any, else 0.
    """

    kind: Literal["local", "ray"] = "local"
    address: str | None = None
    num_cpus: float = Field(default=1, gt=0)
    num_gpus: float | None = Field(default=None, ge=0)


def parse_engine(text: str | Engine) -> Engine:
    """Read ``local`` or ``ray[:ADDRESS][?num_cpus=…&num_gpus=…]``.

    >>> engine = parse_engine("ray:10.0.0.1:6379?num_gpus=0.5")
    >>> engine.address, engine.num_gpus
    ('10.0.0.1:6379', 0.5)

    Raises:
        ConfigError: it is of another form, or an option is unknown or out of range.
    """
    if isinstance(text, Engine):
        return text
    name, options = split_options(text.strip(), where="engine")
    kind, _, address = name.partition(":")
    if kind not in ("local", "ray"):
        raise ConfigError(f"unknown engine {text!r}", where="engine", how=f"{suggest(kind, ['local', 'ray'])} {_HOW}")
    if kind == "local" and (name, options) != ("local", {}):
        raise ConfigError(f"{text!r}: the local engine has no options", where="engine", how=_HOW)
    if address.startswith("//"):  # "ray://HOST:10001", as Ray writes the address of its client server
        address = f"ray:{address}"
    for key in options.keys() & {"kind", "address"}:
        raise ConfigError(f"unknown key 'engine.{key}'", where="engine", how=_HOW)
    return Engine.parse({**options, "kind": kind, "address": address or None}, where="engine")


@contextmanager
def ray_actors(task: Task, engine: Engine, wanted: int, items: int) -> Iterator[tuple[Actors, int]]:
    """Connect to Ray, or start it, and yield what starts actors and how many there are to be.

    A Ray that this process had connected to before is used, and left connected.

    Args:
        task: what they do.
        engine: which cluster, and what each actor reserves.
        wanted: actors; 0 is as many as the cluster holds now.
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
        count = min(wanted or _free_places(ray, engine.num_cpus, num_gpus), items)
        yield Actors(ray, task, num_cpus=engine.num_cpus, num_gpus=num_gpus), count
    finally:
        if not before:
            ray.shutdown()


def _connect(ray: Any, address: str | None) -> None:
    host, _, port = (address or "").rpartition(":")
    if port.isdecimal():
        _expect_answer(host.rpartition("//")[2].strip("[]"), int(port))
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster started here reports to nobody
    try:
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error


def _expect_answer(host: str, port: int) -> None:
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


def _free_places(ray: Any, num_cpus: float, num_gpus: float) -> int:
    """How many actors the machines of the cluster hold, at least one."""
    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            fits = [has.get("CPU", 0) / num_cpus] + ([has.get("GPU", 0) / num_gpus] if num_gpus else [])
            room += int(min(fits))
    return max(1, room)


class Actors:
    """Starts workers that are Ray actors.

    Ray places them; those that find no place wait for one, which new machines bring.
    """

    def __init__(self, ray: Any, task: Task, *, num_cpus: float, num_gpus: float) -> None:
        self.ray = ray
        self._needs = {"num_cpus": num_cpus, "num_gpus": num_gpus}
        self._kind = ray.remote(_Actor)
        self._task = ray.put(ray.cloudpickle.dumps(task))
        self._silent = True  # no worker has started, and nobody has been told

    def start(self, index: int) -> Actor:
        # No restarts by Ray: work_through counts deaths, and restarts.
        actor = self._kind.options(**self._needs, max_restarts=0).remote()
        return Actor(self, actor, actor.begin.remote(self._task, index, os.getcwd()))

    def await_start(self, begun: Any) -> None:
        """Wait for an actor; say so if it takes long and no other has started yet."""
        ready, _ = self.ray.wait([begun], timeout=_PATIENCE)
        if not ready and self._silent:
            has = self.ray.cluster_resources()
            cluster = {name: has.get(name, 0.0) for name in ("CPU", "GPU")}
            log.warning("no Ray worker has started yet: each needs %s, the cluster has %s", self._needs, cluster)
        self._silent = False


class Actor:
    """A :class:`~gaitext.execution.workers.Worker` that is an actor.

    Args:
        crew: whose it is.
        actor: its handle.
        begun: what promises its first answer.
    """

    def __init__(self, crew: Actors, actor: Any, begun: Any) -> None:
        self._crew, self._ray, self._actor, self._begun = crew, crew.ray, actor, begun

    def begin(self) -> bytes:
        self._crew.await_start(self._begun)
        return self._answer(self._begun)

    def work(self, item: Any) -> bytes:
        pickled = self._ray.cloudpickle.dumps(item)
        return self._answer(self._actor.work.remote(pickled))

    def _answer(self, promised: Any) -> bytes:
        try:
            answer: bytes = self._ray.get(promised)
            return answer
        except self._ray.exceptions.RayError as error:  # its process, its machine, or its answer is gone
            self.kill()  # it may only be out of reach, and must not go on
            raise Lost(f"with {type(error).__name__}{_reason(str(error))}", str(error)) from None

    def end(self) -> None:
        self.kill()

    def kill(self) -> None:
        with suppress(Exception):  # it is gone already
            self._ray.kill(self._actor)


def _reason(said: str) -> str:
    """The clause that tells one death from another in a page of Ray's advice."""
    if "running low on memory" in said:
        return " (the node ran low on memory)"
    because = re.search(r"is dead because (its [^.:]*)", said)
    return f" ({because[1]})" if because else ""


class _Actor:
    """The process at the other end."""

    def begin(self, task: bytes, index: int, folder: str) -> bytes:
        self._dumps = import_extra("ray.cloudpickle", "ray", "the ray engine").dumps
        try:
            os.chdir(folder)  # relative paths mean what they mean where the command was typed
        except OSError as error:
            missing = DataError(
                f"cannot be entered on {socket.gethostname()} ({error.strerror})",
                where=folder,
                how="start the job in a folder that all machines share",
            )
            return workers.failure("stop", missing, self._dumps)
        return workers.begin(task, index, self._dumps)

    def work(self, item: bytes) -> bytes:
        return workers.work(item, self._dumps)
