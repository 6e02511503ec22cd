"""The daemon: its buses, its socket, its callback, and its life from the pid file to SIGTERM."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import signal
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

from . import __version__, profile
from .capture import MAX_SECONDS as MAX_CAPTURE_S
from .capture import Captures
from .charger import ActionError
from .chargers import Chargers
from .config import Config, ConfigError, parse, parse_charger, parse_device, parse_port
from .jeedom.listener import Listener
from .jeedom.publisher import Publisher
from .job import T
from .memory import Store
from .modbus.errors import ModbusError
from .modbus.frame import MAX_COUNT, READ_FUNCTIONS
from .profile import ProfileError
from .scan.runner import Scans

log = logging.getLogger(__name__)

EXIT_OK, EXIT_CRASH, EXIT_USAGE, EXIT_ALREADY_RUNNING, EXIT_PORT_TAKEN = range(5)
STOP_SECONDS = 1.5  # of the 2 s that SIGTERM may take
START_SECONDS = 5.0  # that the very first messages may wait for the configuration of the start
DEFAULT_CAPTURE_S = 120
MAX_CONFIG_BYTES = 1024 * 1024

Answer = dict[str, object]


class StartError(Exception):
    """The daemon cannot start; `code` is its exit code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class PidFile:
    """The pid file, locked as long as the daemon lives: what a killed daemon leaves behind stands in nobody's way."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Write our pid. Raises StartError where another daemon holds the file."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StartError(EXIT_USAGE, f"fichier pid {self._path} : {error.strerror}") from error
        file = os.fdopen(handle, "r+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            other = file.read().strip()
            file.close()
            raise StartError(EXIT_ALREADY_RUNNING, f"un démon tourne déjà (pid {other}, {self._path})") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            self._file.close()
            self._file = None


class Daemon:
    """Wires the parts together. `run` returns when SIGTERM or SIGINT comes."""

    def __init__(
        self,
        config_file: Path,
        port: int,
        callback: str,
        apikey: str,
        pid_file: Path,
        cycle: float,
        memory: Path | None,
    ) -> None:
        self._config_file = config_file
        self._pid_file = PidFile(pid_file)
        self._publisher = Publisher(callback, apikey, cycle)
        self._listener = Listener(port, apikey, self.handle)
        self._chargers = Chargers(self._on_values, Store(memory))
        self._slow = ThreadPoolExecutor(max_workers=4, thread_name_prefix="slow")
        self._captures = Captures(memory.parent / "captures" if memory is not None else None, self._publisher.event)
        self._scans = Scans(self._publisher.event, self._chargers)
        self._configuring = threading.Lock()
        self._ready = threading.Event()
        self._stop = threading.Event()

    def run(self) -> int:
        """The daemon's whole life; its exit code. Raises StartError."""
        self._pid_file.take()
        try:
            config = self._read_config()
            try:
                self._listener.start()
            except OSError as error:
                reason = f"le port {self._listener.port} du démon est pris : {error.strerror}"
                raise StartError(EXIT_PORT_TAKEN, reason) from error
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self._stop.set())
            log.info("Démon EVcharger %s démarré, socket 127.0.0.1:%s", __version__, self._listener.port)
            self._configure(config)
            self._publisher.start()
            self._ready.set()
            self._stop.wait()
            log.info("Arrêt du démon")
            return EXIT_OK
        finally:
            self._listener.stop()
            self._scans.stop()
            self._captures.stop_all()
            self._chargers.stop(STOP_SECONDS / 2)
            self._publisher.stop(STOP_SECONDS / 2)
            self._slow.shutdown(wait=False, cancel_futures=True)
            self._pid_file.release()

    def _read_config(self) -> Config:
        try:
            with self._config_file.open("rb") as file:
                text = file.read(MAX_CONFIG_BYTES + 1)
            if len(text) > MAX_CONFIG_BYTES:
                raise StartError(EXIT_USAGE, f"{self._config_file} : plus de {MAX_CONFIG_BYTES} octets")
            return parse(json.loads(text))
        except OSError as error:
            raise StartError(EXIT_USAGE, f"configuration {self._config_file} : {error.strerror}") from error
        except (ValueError, RecursionError, ConfigError) as error:
            raise StartError(EXIT_USAGE, f"configuration {self._config_file} : {error}") from error

    def _on_values(self, charger: int, values: Mapping[str, Any], whole: bool) -> None:
        self._publisher.publish(charger, values, whole=whole)

    def _configure(self, config: Config) -> Answer:
        self._scans.leave({charger.line.port for charger in config.chargers.values()})
        with self._configuring:
            for error in config.errors:
                log.error("%s", error)
            for charger in self._chargers.apply(config):
                self._publisher.forget(charger)
        if config.errors:
            return _failure(" ; ".join(config.errors))
        return {"ok": True, "chargers": sorted(config.chargers)}

    # --- Messages ----------------------------------------------------------------------------------------------------

    def handle(self, message: Mapping[str, object]) -> Answer | Future[Answer]:
        """One message whose key was right; must not block: what takes time is a future."""
        handlers: dict[str, Callable[[Mapping[str, object]], Answer | Future[Answer]]] = {
            "execute": self._on_execute,
            "refresh": self._on_refresh,
            "configure": self._on_configure,
            "read": self._on_read,
            "registers": self._on_registers,
            "check": self._on_check,
            "scan": self._on_scan,
            "capture": self._on_capture,
            "status": lambda _: {"ok": True, "version": __version__, **self._chargers.status()},
            "ping": lambda _: {"ok": True, "version": __version__},
        }
        action = message.get("action")
        if not isinstance(action, str) or action not in handlers:
            return _failure(f"action inconnue : {_shown(action)} ; attendu : {', '.join(handlers)}")
        self._ready.wait(START_SECONDS)
        try:
            return handlers[action](message)
        except (ActionError, ConfigError) as error:
            return _failure(str(error))

    def _on_execute(self, message: Mapping[str, object]) -> Future[Answer]:
        name = message.get("logicalId")
        if not isinstance(name, str):
            raise ActionError(f"logicalId : un texte est attendu, non {_shown(name)}")
        charger = _charger_id(message)
        log.debug("Chargeur %s : %s %s", charger, name, _shown(message.get("value")))
        return _answered(self._chargers.act(charger, name, message.get("value")), lambda _: {"ok": True})

    def _on_refresh(self, message: Mapping[str, object]) -> Answer | Future[Answer]:
        if "charger" in message:
            return _answered(self._chargers.act(_charger_id(message), "refresh", None), lambda _: {"ok": True})
        for charger in self._chargers.ids():
            self._chargers.act(charger, "refresh", None)
        return {"ok": True}

    def _on_configure(self, message: Mapping[str, object]) -> Future[Answer]:
        return self._slow.submit(lambda: self._configure(parse(message.get("config"))))

    def _on_read(self, message: Mapping[str, object]) -> Future[Answer]:
        if "config" not in message:
            future = self._chargers.act(_charger_id(message), "refresh", None)
            return _answered(future, lambda values: {"ok": True, "values": values})
        raw = message["config"]
        charger = parse_charger({"id": 0, **raw} if isinstance(raw, dict) else raw, "config")
        return _answered(
            self._slow.submit(self._chargers.read_once, charger), lambda values: {"ok": True, "values": values}
        )

    def _on_registers(self, message: Mapping[str, object]) -> Future[Answer]:
        """Registers or bits of any device, for a user who explores it."""
        if "config" in message:
            device = parse_device(message["config"], "config")
        else:
            device = self._chargers.device(_charger_id(message))
        table, address, count = message.get("table", "holding"), message.get("address"), message.get("count", 1)
        if not isinstance(table, str) or table not in READ_FUNCTIONS:
            raise ActionError(f"table : l'une de {', '.join(READ_FUNCTIONS)} est attendue, non {_shown(table)}")
        most = MAX_COUNT[READ_FUNCTIONS[table]]
        address, count = _whole("address", address, 0, 0xFFFF), _whole("count", count, 1, most)
        if address + count > 0x10000:
            raise ActionError(f"address + count : 65536 au plus est attendu, non {address + count}")
        words = self._slow.submit(self._chargers.words, device, table, address, count)
        return _answered(words, lambda words: {"ok": True, "words": list(words)})

    def _on_scan(self, message: Mapping[str, object]) -> Answer:
        """Begin a scan, or stop the one that runs; what it finds comes as events."""
        if message.get("stop"):
            return {"ok": True, "scan": self._scans.stop()}
        port = message.get("port")
        return {"ok": True, "scan": self._scans.start(parse_port(port, "port") if port else None, message.get("depth"))}

    def _on_capture(self, message: Mapping[str, object]) -> Answer:
        """Record a charger's frames into a file, or end that; the end comes as an event."""
        charger = _charger_id(message)
        if message.get("stop"):
            return {"ok": True, "file": self._captures.stop(charger)}
        seconds = _whole("seconds", message.get("seconds", DEFAULT_CAPTURE_S), 1, MAX_CAPTURE_S)
        bus, config = self._chargers.bus_of(charger)
        return {"ok": True, "file": self._captures.start(bus, config, seconds), "seconds": seconds}

    def _on_check(self, message: Mapping[str, object]) -> Future[Answer]:
        return self._slow.submit(self._check, message.get("profile"))

    def _check(self, document: object) -> Answer:
        """Whether a user's profile is one, and what it would offer."""
        try:
            checked = profile.parse(document)
            if checked.id in profile.shipped():
                raise ProfileError("profil", "$.id", f"un autre identifiant : le plugin a déjà un modèle {checked.id}")
        except ProfileError as error:
            return _failure(str(error)) | {"file": error.file, "path": error.path, "expected": error.expected}
        return {"ok": True, "id": checked.id, "title": checked.title, "commands": list(checked.offered())}


def _charger_id(message: Mapping[str, object]) -> int:
    return _whole("charger", message.get("charger"), 0, 2**31 - 1, "l'identifiant d'un chargeur")


def _whole(name: str, raw: object, low: int, high: int, what: str = "") -> int:
    """A whole number; PHP may send it as text."""
    if isinstance(raw, str) and raw.isascii() and raw.isdigit() and len(raw) < 11:
        raw = int(raw)
    if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
        expected = what or f"un nombre entier de {low} à {high}"
        raise ActionError(f"{name} : {expected} est attendu, non {_shown(raw)}")
    return raw


def _answered(future: Future[T], answer: Callable[[T], Answer]) -> Future[Answer]:
    """The future answer to what this future brings: an expected error becomes its French reason."""
    result: Future[Answer] = Future()

    def done(finished: Future[T]) -> None:
        try:
            result.set_result(answer(finished.result()))
        except (ActionError, ModbusError) as error:
            result.set_result(_failure(str(error)))
        except Exception as error:
            result.set_exception(error)

    future.add_done_callback(done)
    return result


def _failure(reason: str) -> Answer:
    return {"ok": False, "error": reason}


def _shown(value: object) -> str:
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        return json.dumps(value, ensure_ascii=False)[:60]
    return "…"
