"""The connection to a Ray cluster: found, or started on this machine, and quiet."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any

from pytest_editeval.errors import EditEvalError
from pytest_editeval.scoring.cluster.options import AUTO, LOCAL, RayOptions, check_reachable, split_address

CONNECT_SECONDS = 60
LOOPBACK = ("localhost", "127.0.0.1", "::1")


class RayLink:
    """A connection of this process; one that another plugin made is used, and left open."""

    def __init__(self, options: RayOptions) -> None:
        self.ray = importlib.import_module("ray")
        self._logger = logging.getLogger("ray")
        self._level = self._logger.level
        self._over = Event()
        self._is_ours = not self.ray.is_initialized()
        if not self._is_ours:
            return
        # pytest shows what is logged and printed, and Ray has much to say.
        self._logger.setLevel(logging.CRITICAL)
        address = self._address(options)
        try:
            with _loopback(address):
                self._connect(address)
        except BaseException:
            self._over.set()
            self._logger.setLevel(self._level)
            raise

    def close(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        if self._is_ours:
            self.ray.shutdown()
            self._over.set()
            self._logger.setLevel(self._level)

    def _address(self, options: RayOptions) -> str:
        """``host:port`` where something listens, or ``local`` for a cluster of our own."""
        if options.address == LOCAL:
            return LOCAL
        if options.host_port is not None:
            host, port = options.host_port
            check_reachable(host, port)
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        found = None
        with suppress(Exception):  # Ray raises where it finds none; a cluster that crashed leaves its address behind
            found = importlib.import_module("ray._private.services").canonicalize_bootstrap_address(AUTO)
            check_reachable(*split_address(found))
            return str(found)
        return LOCAL

    def _connect(self, address: str) -> None:
        options: dict[str, Any] = {"address": address, "log_to_driver": False, "configure_logging": False}
        if address == LOCAL:
            options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours reports to nobody
        failure: list[BaseException] = []
        ready = Event()

        def connect() -> None:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # a warning of Ray must not fail somebody's `-W error` run
                    self.ray.init(**options)
            except BaseException as error:  # Ray ends the process in some cases
                failure.append(error)
            ready.set()
            self._over.wait()  # the kernel ends the processes of a cluster with the thread that started them

        # In a thread, because Ray tries for many minutes where something else than a cluster listens.
        Thread(target=connect, name="editeval-ray", daemon=True).start()
        try:
            ready.wait(CONNECT_SECONDS)
        except KeyboardInterrupt:
            if address == LOCAL:
                ready.wait(CONNECT_SECONDS)
                self.close()
            raise
        if not ready.is_set():
            raise EditEvalError(f"the Ray cluster at {address} did not answer for {CONNECT_SECONDS} s")
        if failure:
            raise EditEvalError(f"cannot connect to the Ray cluster at {address}: {first_line(failure[0])}")


def first_line(error: BaseException) -> str:
    """What an exception of Ray says: the last line of a traceback that it quotes, else its first line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return first_line(error.__cause__) if error.__cause__ is not None else type(error).__name__
    quoted = [line for line in lines if line.split(":")[0].endswith(("Error", "Exception")) and ":" in line]
    return quoted[-1] if quoted and "Traceback" in str(error) else lines[0]


@contextmanager
def _loopback(address: str) -> Iterator[None]:
    """Have Ray keep a loopback address, which it otherwise replaces by one that other machines can reach."""
    constants = None
    if address == LOCAL or split_address(address)[0] in LOOPBACK:
        with suppress(ImportError):
            constants = importlib.import_module("ray._private.ray_constants")
    before = getattr(constants, "ENABLE_RAY_CLUSTER", None)
    if before is None or sys.platform != "linux":  # elsewhere that is what Ray does
        yield
        return
    setattr(constants, "ENABLE_RAY_CLUSTER", False)  # noqa: B010  a module is not known to have it
    try:
        yield
    finally:
        setattr(constants, "ENABLE_RAY_CLUSTER", before)  # noqa: B010
