"""All chargers on their buses, kept as the last configuration wants them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from .bus import Bus, Values
from .charger import ActionError
from .config import ChargerConfig, Config, Device
from .job import Ask, Job, T, patient
from .memory import Store
from .modbus.frame import Request
from .modbus.port import LineSettings
from .scan.scanner import Owner


class Chargers:
    """Every method may be called from any thread."""

    def __init__(self, publish: Callable[[int, Mapping[str, Any], bool], None], store: Store) -> None:
        self._publish, self._store = publish, store
        self._config = Config({}, (), "fr_FR")
        self._buses: dict[str, Bus] = {}  # by port
        self._lock = threading.RLock()

    def apply(self, config: Config) -> set[int]:
        """Touch only the chargers that changed; the ids of those that are gone."""
        with self._lock:
            before, after = self._config, config
            same_language = before.language == after.language
            gone = set(before.chargers) - set(after.chargers)
            kept = {
                charger
                for charger, wanted in after.chargers.items()
                if same_language and before.chargers.get(charger) == wanted
            }
            for charger, old in before.chargers.items():
                if charger not in kept:
                    self._buses[old.line.port].remove(charger)
            self._config = after
            self._stop_buses_without(after)
            for charger, wanted in after.chargers.items():
                if charger not in kept:
                    self._bus(wanted).put(wanted, after.language)
            for charger in gone:
                self._store.forget(charger)
            return gone

    def _stop_buses_without(self, config: Config) -> None:
        wanted = {charger.line.port: charger.line for charger in config.chargers.values()}
        idle = [port for port, bus in self._buses.items() if wanted.get(port) != bus.settings]
        for port in idle:
            self._buses[port].stop()
        for port in idle:
            self._buses.pop(port).join()

    def _bus(self, charger: ChargerConfig) -> Bus:
        bus = self._buses.get(charger.line.port)
        if bus is None:
            bus = self._buses[charger.line.port] = Bus(charger.line, self._publish, self._store)
            bus.start()
        return bus

    def act(self, charger: int, name: str, value: object) -> Future[Values]:
        """Raises ActionError for a charger that is not configured."""
        with self._lock:
            config = self._configured(charger)
            return self._buses[config.line.port].act(charger, name, value)

    def ids(self) -> tuple[int, ...]:
        with self._lock:
            return tuple(self._config.chargers)

    def read_once(self, charger: ChargerConfig) -> Values:
        """Read a charger that need not be configured."""
        language = self._config.language
        return self._visit(charger.line, lambda bus: bus.read_once(charger, language))

    def words(self, device: Device, table: str, address: int, count: int) -> tuple[int, ...]:
        """Registers (or bits) of a device that need not be configured."""
        ask = Ask(Request.read(device.unit, table, address, count), device.timeout, device.pause)
        return self._visit(device.line, lambda bus: bus.visit(patient(_asking(ask))))

    def device(self, charger: int) -> Device:
        """Where a configured charger is to be found. Raises ActionError for one that is not configured."""
        config = self._configured(charger)
        return Device(config.line, config.unit, config.profile.timeout, config.profile.pause)

    def bus_of(self, charger: int) -> tuple[Bus, ChargerConfig]:
        """Raises ActionError for a charger that is not configured."""
        with self._lock:
            config = self._configured(charger)
            return self._buses[config.line.port], config

    def owner(self, port: str) -> Owner | None:
        """For a scan: our bus on this port, and the chargers that are on it."""
        with self._lock:
            bus = self._owner(port)
            if bus is None:
                return None
            mine = [charger for charger in self._config.chargers.values() if charger.line.port == bus.settings.port]
            return Owner(bus, {charger.unit: (charger.id, charger.profile) for charger in mine})

    def ports(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._buses)

    def _visit(self, line: LineSettings, ask: Callable[[Bus], Future[T]]) -> T:
        """What a bus brings: the daemon's own where the port is ours, else one for this occasion. Waits for it."""
        with self._lock:
            own = self._owner(line.port)
            if own is not None:
                if replace(own.settings, port=line.port) != line:
                    raise ActionError(f"le port {line.port} est utilisé avec d'autres réglages ({own.settings})")
                future = ask(own)
        if own is not None:
            return future.result()
        bus = Bus(line, lambda *_: None)
        bus.start()
        try:
            return ask(bus).result()
        finally:
            bus.stop()
            bus.join()

    def _owner(self, port: str) -> Bus | None:
        """Our bus on this port, whatever name it goes by. The lock is held."""
        real = os.path.realpath(port)
        return next((bus for name, bus in self._buses.items() if os.path.realpath(name) == real), None)

    def _configured(self, charger: int) -> ChargerConfig:
        with self._lock:
            config = self._config.chargers.get(charger)
        if config is None:
            raise ActionError(f"chargeur inconnu : {charger}")
        return config

    def status(self) -> dict[str, object]:
        with self._lock:
            buses = dict(self._buses)
        return {
            "chargers": {str(charger): facts for bus in buses.values() for charger, facts in bus.status().items()},
            "lines": {port: {"load": bus.load()} for port, bus in buses.items()},
        }

    def stop(self, timeout: float) -> None:
        with self._lock:
            buses = list(self._buses.values())
        for bus in buses:
            bus.stop()
        for bus in buses:
            bus.join(timeout)


def _asking(ask: Ask) -> Job[tuple[int, ...]]:
    return tuple((yield ask))
