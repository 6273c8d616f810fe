"""The settings of `--editeval-ray`, checked before anything is collected and without importing Ray."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
from dataclasses import dataclass

from pytest_editeval.errors import EditEvalError

INSTALL = "pip install 'pytest-editeval[ray]'"
AUTO, LOCAL = "auto", "local"
IMAGES = ("bytes", "paths")
CONNECT_SECONDS = 5

_ADDRESS = re.compile(r"(\[[0-9a-fA-F:]+\]|[\w.-]+):(\d{1,5})")


@dataclass(frozen=True)
class RayOptions:
    """Where the cluster is, how many actors, GPUs for each (`None`: what the cluster has), and how images travel."""

    address: str = AUTO
    actors: int | None = None
    gpus: float | None = None
    images: str = "bytes"

    @classmethod
    def read(cls, address: str, actors: str | None, gpus: str | None, images: str | None, device: str) -> RayOptions:
        """Check the texts of the options; `EditEvalError` says in a line what is allowed."""
        options = cls(address, _actors(actors), _gpus(gpus), images or "bytes")
        if options.images not in IMAGES:
            raise EditEvalError(f"unknown editeval_ray_images {images!r}; allowed: {', '.join(IMAGES)}")
        if device not in (AUTO, "cpu", "cuda"):
            raise EditEvalError(f"with --editeval-ray the device is auto, cpu or cuda, not {device}: Ray picks the GPU")
        if device == "cpu" and options.gpus:
            raise EditEvalError(f"--editeval-device cpu contradicts --editeval-ray-gpus {gpus}")
        if device == "cuda" and options.gpus == 0:
            raise EditEvalError("--editeval-device cuda contradicts --editeval-ray-gpus 0")
        spec = importlib.util.find_spec("ray")
        if spec is None or spec.origin is None:
            raise EditEvalError(f"--editeval-ray needs Ray: {INSTALL}")
        if options.host_port is not None:
            check_reachable(*options.host_port)
        if device == "cpu":
            return cls(address, options.actors, 0.0, options.images)
        return cls(address, options.actors, 1.0, options.images) if device == "cuda" and gpus is None else options

    @property
    def host_port(self) -> tuple[str, int] | None:
        """The named cluster's, `RAY_ADDRESS` included; `None` where one has to be found or started."""
        address = self.address
        if address == AUTO:
            address = os.environ.get("RAY_ADDRESS") or AUTO
        return None if address in (AUTO, LOCAL) else split_address(address)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``."""
    found = _ADDRESS.fullmatch(address)
    if found is not None:
        return found[1].strip("[]"), int(found[2])
    if address.startswith("ray://"):
        raise EditEvalError(
            f"{address} is Ray Client's; run pytest on a machine of the cluster and give host:port (6379 by default)"
        )
    raise EditEvalError(f"{address!r} is no address of a Ray cluster (host:port, auto, local); --editeval-ray=auto")


def check_reachable(host: str, port: int) -> None:
    """Whether anything listens there."""
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EditEvalError(f"no Ray cluster at {host}:{port}: {reason}") from None


def _actors(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise EditEvalError(f"editeval_ray_actors is a number of actors from 1, not {text!r}")
    return int(text)


def _gpus(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"\d+(\.\d+)?", text) or (float(text) > 1 and not float(text).is_integer()):
        raise EditEvalError(f"editeval_ray_gpus is a whole number of GPUs or a share of one, such as 0.5, not {text!r}")
    return float(text)
