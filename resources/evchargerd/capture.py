"""A capture: the frames of one charger for some minutes, with its profile and the versions, without secrets.

A user attaches the file to a forum post; `evcharger replay` acts as that charger, so that its bug becomes a test.
Recorded are the questions to this charger and what was heard after each, as they were on the wire, in seconds from the
start. Registers that hold a serial number or a badge are masked: their bytes are "X", and the checksum fits the mask.
"""

from __future__ import annotations

import json
import logging
import platform
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import serial

from . import __version__, profile
from .bus import Bus
from .charger import ActionError
from .config import ChargerConfig
from .memory import write_atomically
from .modbus.frame import FRAMINGS, READ_FUNCTIONS, Request
from .modbus.port import LineSettings
from .profile import Profile, ProfileError

log = logging.getLogger(__name__)

FORMAT = "evcharger-capture-1"
MAX_SECONDS = 600
MAX_BYTES = 5 * 1024 * 1024  # of one file
FRAME_OVERHEAD = 24  # characters around the digits of one frame in the file
SECRET_COMMANDS = ("serial", "rfid")
#: Words in the names of points that hold a secret.
SECRET_WORDS = {"serial", "rfid", "uid", "card", "badge", "tag", "user", "owner", "password", "pin", "token"}
SECRET_WORDS |= {"mac", "ip", "ssid", "imei", "iccid", "vin"}
MASKED_WORD = 0x5858  # "XX"
TABLES = {function: table for table, function in READ_FUNCTIONS.items()}
Frame = tuple[float, str, str]  # seconds, direction, hexadecimal digits


def secrets(model: Profile) -> tuple[str, ...]:
    """The points that may tell whose charger it is: what serial and rfid are made of, and what is named so."""
    needed = {need for name in SECRET_COMMANDS if name in model.commands for need in model.commands[name].needs}
    return tuple(name for name in model.points if name in needed or SECRET_WORDS.intersection(name.split("_")))


class Recorder:
    """Hears a line (`Line.tap`) and keeps what concerns one unit, up to MAX_BYTES."""

    def __init__(self, model: Profile, unit: int, framing: str) -> None:
        self.frames: list[Frame] = []
        self.truncated = False
        self.masked = secrets(model)
        self._unit = unit
        self._framing = FRAMINGS[framing]()
        self._binary = framing in ("rtu", "tcp")
        points = [model.points[name] for name in self.masked]
        self._secret = {(p.table, address) for p in points for address in range(p.address, p.last + 1)}
        self._question: bytes | None = None
        self._size = 0
        self._began = time.monotonic()

    def __call__(self, direction: str, data: bytes) -> None:
        if direction == ">":
            asked = self._framing.question(data)
            self._question = data if asked is not None and asked[0] == self._unit else None
            if self._question is not None:
                self._keep(direction, data.hex())
        elif direction == "<" and self._question is not None:
            self._keep(direction, self._without_secrets(self._question, data))
        elif direction == "?":  # whose it is nobody knows
            self._keep(direction, data.hex() if not self._secret else "58" * len(data))

    def _keep(self, direction: str, digits: str) -> None:
        self._size += len(digits) + FRAME_OVERHEAD
        if self._size > MAX_BYTES - profile.MAX_BYTES:
            self.truncated = True
        else:
            self.frames.append((round(time.monotonic() - self._began, 4), direction, digits))

    def _without_secrets(self, question: bytes, heard: bytes) -> str:
        """What was heard, in hexadecimal digits, with the secret registers masked."""
        unit, pdu = self._framing.question(question) or (0, b"")
        table = TABLES.get(pdu[0])
        if table is None:
            return heard.hex()
        first, count = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        hidden = [i for i in range(count) if (table, first + i) in self._secret]
        if not hidden:
            return heard.hex()
        answer = self._answer(heard, unit, Request(unit, pdu[0], first, count))
        plain = self._framing.answer(unit, answer, question) if answer is not None else b""
        if answer is None or plain not in heard:
            return "58" * len(heard)  # damaged: who knows where the secret is
        masked = bytearray(answer)
        for i in hidden:
            masked[2 + 2 * i : 4 + 2 * i] = MASKED_WORD.to_bytes(2, "big")
        return heard.replace(plain, self._framing.answer(unit, bytes(masked), question)).hex()

    def _answer(self, heard: bytes, unit: int, request: Request) -> bytes | None:
        """The PDU of the answer, if it is there as a whole."""
        opening = bytes((unit,)) + request.answer_opening
        size = 1 + request.answer_size
        if self._binary:
            at = heard.find(opening)
            body = heard[at : at + size] if at >= 0 else b""
        else:
            at = heard.find(opening.hex().upper().encode())
            try:
                body = bytes.fromhex(heard[at : at + 2 * size].decode("ascii")) if at >= 0 else b""
            except ValueError:
                body = b""
        return body[1:] if len(body) == size else None


class Capture:
    """One capture under way."""

    def __init__(self, bus: Bus, config: ChargerConfig, folder: Path) -> None:
        framing = "tcp" if config.line.port.startswith("tcp://") else config.line.framing
        self.recorder = Recorder(config.profile, config.unit, framing)
        self.began = datetime.now().astimezone()
        self.path = folder / f"{self.began:%Y-%m-%d-%H%M%S}-{config.profile.id}.json"
        self._bus, self._config, self._framing = bus, config, framing
        self._monotonic = time.monotonic()
        if bus.line.tap is not None:
            raise ActionError("une capture est déjà en cours sur cette ligne")
        bus.line.tap = self.recorder

    def finish(self) -> None:
        """Stop listening and write the file. Raises OSError where that fails."""
        self._bus.line.tap = None
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(self.document(), ensure_ascii=False))

    def document(self) -> dict[str, Any]:
        model = self._config.profile
        try:
            described = profile.document(model.id)
        except ProfileError as error:  # it has been changed meanwhile
            described = {"id": model.id, "error": str(error)}
        return {
            "format": FORMAT,
            "began": self.began.isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - self._monotonic, 1),
            "versions": {
                "evcharger": __version__,
                "python": platform.python_version(),
                "pyserial": serial.VERSION,
                "system": f"{platform.system()} {platform.machine()}",
            },
            "line": _line(self._config.line, self._framing) | {"unit": self._config.unit},
            "masked": list(self.recorder.masked),
            "note": "Les registres des points « masked » sont remplacés par des X ; le port et la clé n'y sont pas.",
            "truncated": self.recorder.truncated,
            "profile": described,
            "frames": [list(frame) for frame in self.recorder.frames],
        }


def _line(line: LineSettings, framing: str) -> dict[str, object]:
    """The settings; of the port only what kind it is, for its name tells of the house."""
    kind = line.port.split("://")[0] if line.is_url else "serial"
    settings = {"baudrate": line.baudrate, "parity": line.parity, "stopbits": line.stopbits, "framing": framing}
    return {"port": kind} | settings


class Captures:
    """The daemon's captures, each ended by a timer. Its end comes as an event of type "capture"."""

    def __init__(self, folder: Path | None, event: Callable[[Mapping[str, object]], None]) -> None:
        self._folder, self._event = folder, event
        self._lock = threading.Lock()
        self._running: dict[int, tuple[Capture, threading.Timer]] = {}

    def start(self, bus: Bus, config: ChargerConfig, seconds: int) -> str:
        """Begin; the name that the file will have. Raises ActionError."""
        if self._folder is None:
            raise ActionError("le démon n'a pas de dossier pour ses captures")
        with self._lock:
            if config.id in self._running:
                raise ActionError("une capture de ce chargeur est déjà en cours")
            capture = Capture(bus, config, self._folder)
            timer = threading.Timer(seconds, self.stop, (config.id,))
            timer.daemon = True
            self._running[config.id] = (capture, timer)
        timer.start()
        bus.act(config.id, "refresh")  # so that what is read only once is in it
        return capture.path.name

    def stop(self, charger: int) -> str | None:
        """End the capture of this charger, if there is one; the name of its file."""
        with self._lock:
            capture, timer = self._running.pop(charger, (None, None))
        if capture is None or timer is None:
            return None
        timer.cancel()
        told: dict[str, object] = {"type": "capture", "charger": charger, "file": capture.path.name}
        try:
            capture.finish()
        except OSError as error:
            told["error"] = f"capture non enregistrée : {error.strerror}"
            log.error("%s", told["error"])
        frames = len(capture.recorder.frames)
        self._event(told | {"frames": frames, "truncated": capture.recorder.truncated, "done": True})
        return capture.path.name

    def stop_all(self) -> None:
        for charger in list(self._running):
            self.stop(charger)
