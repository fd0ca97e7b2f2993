"""Where the work is done: on this machine, or over a Ray cluster."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import ConfigError, suggest

__all__ = ["Engine", "parse_engine"]

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
    name, _, options = text.strip().partition("?")
    kind, _, address = name.partition(":")
    if kind not in ("local", "ray"):
        raise ConfigError(f"unknown engine {text!r}", where="engine", how=f"{suggest(kind, ['local', 'ray'])} {_HOW}")
    if kind == "local" and name + options != "local":
        raise ConfigError(f"{text!r}: the local engine has no options", where="engine", how=_HOW)
    if address.startswith("//"):  # "ray://HOST:10001", as Ray writes the address of its client server
        address = f"ray:{address}"
    values: dict[str, Any] = dict(parse_qsl(options, keep_blank_values=True))
    for key in values.keys() & {"kind", "address"}:
        raise ConfigError(f"unknown key 'engine.{key}'", where="engine", how=_HOW)
    return Engine.parse(values | {"kind": kind, "address": address or None}, where="engine")
