"""The daemon's scans: one at a time, in the background; progress and results go out as events."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from .. import profile
from ..charger import ActionError
from .plan import Depth
from .ports import serial_ports
from .scanner import Owner, Progress, Scanner

DEPTHS = {depth.name.lower(): depth for depth in Depth}


class Buses(Protocol):
    """What the daemon owns."""

    def owner(self, port: str) -> Owner | None: ...

    def ports(self) -> tuple[str, ...]: ...


class Scans:
    """Events are `{"type": "scan", "id", "progress", "text", "found", "errors", "done"}`."""

    def __init__(self, event: Callable[[Mapping[str, object]], None], buses: Buses) -> None:
        self._event, self._buses = event, buses
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._number = 0
        self._scanner: Scanner | None = None  # the one that runs

    def start(self, port: str | None, depth: object = None) -> int:
        """Scan this port, or all: those of the machine and those that the daemon owns. The number of the scan."""
        if depth is not None and (not isinstance(depth, str) or depth not in DEPTHS):
            raise ActionError(f"depth : l'un de {', '.join(DEPTHS)} est attendu")
        with self._lock:
            if self._scanner is not None:
                raise ActionError("une recherche est déjà en cours")
            ports = (port,) if port is not None else self._all_ports()
            if not ports:
                raise ActionError("aucun port série sur cette machine")
            number = self._number = next(self._numbers)
            chosen = DEPTHS[str(depth)] if depth is not None else Depth.NORMAL

            def report(progress: Progress) -> None:
                if progress.done:
                    with self._lock:
                        self._scanner = None
                self._event(_event(number, progress))

            scanner = self._scanner = Scanner(ports, profile.usable()[0], chosen, report, self._buses.owner)
        threading.Thread(target=scanner.run, name=f"scan {number}", daemon=True).start()
        return number

    def stop(self) -> int | None:
        """Stop the scan that runs, if one does; its number. Its end comes as an event."""
        with self._lock:
            if self._scanner is None:
                return None
            self._scanner.stop()
            return self._number

    def leave(self, ports: Iterable[str]) -> None:
        """A charger is to run on these ports: a scan must not hold them."""
        with self._lock:
            scanner = self._scanner
        if scanner is not None:
            scanner.leave(ports)

    def _all_ports(self) -> tuple[str, ...]:
        """By the name of the configuration where a port is ours."""
        own = self._buses.ports()
        real = {os.path.realpath(port) for port in own}
        return (*own, *(port for port in serial_ports() if os.path.realpath(port) not in real))


def _event(number: int, progress: Progress) -> dict[str, object]:
    return {
        "type": "scan",
        "id": number,
        "progress": round(progress.progress, 2),
        "text": progress.text,
        "found": [found.as_json() for found in progress.found],
        "errors": dict(progress.errors),
        "done": progress.done,
    }
