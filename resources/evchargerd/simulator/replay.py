"""A charger that does again what a capture has recorded of it."""

from __future__ import annotations

import json
import struct
from collections import defaultdict, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..capture import FORMAT, MAX_BYTES, TABLES
from ..config import BAUDRATES
from ..modbus.frame import FRAMINGS, READ_BITS, Answer, Request, pack_bits
from ..modbus.port import LineSettings
from ..profile import Profile, ProfileError, parse
from .slave import ILLEGAL_ADDRESS, ILLEGAL_FUNCTION
from .wire import TURNAROUND, Emissions


class CaptureError(Exception):
    """A file that is no capture; str() says in French what is wrong."""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What was heard after a question, and how long after its end; nothing: silence."""

    delay: float
    heard: bytes


class Replay:
    """Answers each question as it was answered in the capture, in that order; then from the last registers seen.

    It is a `Fault` of a wire: what was heard is said again as it was, damaged or late or not at all.
    """

    def __init__(self, document: Any) -> None:
        try:
            if document["format"] != FORMAT:
                raise CaptureError(f"ce n'est pas une capture ({FORMAT})")
            line = document["line"]
            self.settings = _settings(line)
            self.unit = int(line["unit"])
            self._framing = FRAMINGS[self.settings.framing]()
            self._recorded: dict[bytes, deque[_Recorded]] = defaultdict(deque)
            self._image: dict[tuple[str, int], int] = {}
            self._take([(float(at), str(way), bytes.fromhex(digits)) for at, way, digits in document["frames"]])
        except (LookupError, TypeError, ValueError) as error:
            raise CaptureError(f"capture illisible : {error!r}") from error
        try:
            self.profile: Profile | None = parse(document.get("profile"))
        except ProfileError:
            self.profile = None  # from another version: the frames are what counts

    @classmethod
    def of(cls, path: Path) -> Replay:
        """Raises CaptureError."""
        try:
            if path.stat().st_size > MAX_BYTES:
                raise CaptureError(f"{path.name} : plus de {MAX_BYTES} octets")
            return cls(json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise CaptureError(f"{path.name} : {error.strerror}") from error
        except (ValueError, RecursionError) as error:
            raise CaptureError(f"{path.name} : JSON invalide : {error}") from error

    def answer(self, pdu: bytes) -> bytes:
        """From the last registers seen: a slave of a wire."""
        function = pdu[0]
        if len(pdu) < 5 or (function not in TABLES and function not in (5, 6, 16)):
            return bytes((function | 0x80, ILLEGAL_FUNCTION))
        address, count = struct.unpack_from(">HH", pdu, 1)
        if function in TABLES:
            keys = [(TABLES[function], address + i) for i in range(count)]
            if not keys or any(key not in self._image for key in keys):
                return bytes((function | 0x80, ILLEGAL_ADDRESS))
            words = [self._image[key] for key in keys]
            data = pack_bits(words) if function in READ_BITS else struct.pack(f">{count}H", *words)
            return bytes((function, len(data))) + data
        if function == 5:
            self._image["coil", address] = int(pdu[3] == 0xFF)
        elif function == 6:
            self._image["holding", address] = count
        else:
            values = struct.unpack_from(f">{(len(pdu) - 6) // 2}H", pdu, 6)
            self._image.update({("holding", address + i): value for i, value in enumerate(values)})
        return pdu[:5]

    def fault(self, frame: bytes, emissions: Emissions) -> Emissions:
        """What is said after this question."""
        question = self._framing.question(frame)
        if question is None or question[0] != self.unit or not self._recorded.get(question[1]):
            return emissions
        recorded = self._recorded[question[1]].popleft()
        heard = recorded.heard
        if self.settings.framing == "tcp":  # the number of the question
            heard = frame[:2] + heard[2:] if heard else b""
        return ((recorded.delay, heard),) if heard else ()

    def _take(self, frames: list[tuple[float, str, bytes]]) -> None:
        asked: tuple[float, bytes] | None = None
        for at, way, data in frames:
            if way == ">":
                if asked is not None:
                    self._record(*asked, asked[0], b"")
                asked = (at, data)
            elif way == "<" and asked is not None:
                self._record(*asked, at, data)
                asked = None

    def _record(self, asked_at: float, frame: bytes, heard_at: float, heard: bytes) -> None:
        question = self._framing.question(frame)
        if question is None:
            return
        if heard.startswith(frame):
            heard = (
                heard[len(frame) :] if question[1][0] in TABLES else heard
            )  # the adapter's echo is not the charger's
        wire_time = (len(frame) + len(heard)) * self.settings.character_time if self.settings.framing != "tcp" else 0.0
        delay = max(TURNAROUND, heard_at - asked_at - wire_time)
        self._recorded[question[1]].append(_Recorded(delay, heard))
        self._remember(question, heard)

    def _remember(self, question: tuple[int, bytes], heard: bytes) -> None:
        """Keep the registers of an answer."""
        unit, pdu = question
        if pdu[0] not in TABLES or len(pdu) != 5:
            return
        function, address, count = struct.unpack(">BHH", pdu)
        framing = FRAMINGS["rtu" if self.settings.framing == "tcp" else self.settings.framing]()
        request = Request(unit, function, address, count)
        if self.settings.framing == "tcp" and heard:
            heard = framing.answer(unit, heard[7:], b"")
        found = framing.hunt(heard, request, over=True)
        if isinstance(found, Answer):
            self._image.update({(TABLES[function], address + i): value for i, value in enumerate(found.values)})


def _settings(line: Any) -> LineSettings:
    """Raises ValueError, LookupError or TypeError."""
    framing, parity = str(line["framing"]), str(line["parity"])
    baudrate, stopbits = int(line["baudrate"]), int(line["stopbits"])
    if framing not in FRAMINGS or parity not in ("N", "E", "O") or baudrate not in BAUDRATES or stopbits not in (1, 2):
        raise ValueError("line")
    return LineSettings("", max(BAUDRATES) if framing == "tcp" else baudrate, parity, stopbits, framing)
