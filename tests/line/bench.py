"""A box that speaks Modbus, wires for it to hang on, and lines to ask it."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from evchargerd.modbus.frame import Request, pack_bits
from evchargerd.modbus.line import Line, LineSettings
from evchargerd.simulator.wire import Wire

#: Fast enough for a quick suite; the timing tests choose their own speed.
BAUDRATE = 38400
#: For answers that will come, on a machine that may be busy.
SOON = 1.0
#: For answers that will not come.
BRIEF = 0.2


class Box:
    """A slave with registers 0..999, register n holding n + 1000, and coils 0..999, coil n being on if n is odd.

    Everything that it is asked is in `asked`, with the time.
    """

    def __init__(self) -> None:
        self.registers = {address: address + 1000 for address in range(1000)}
        self.coils = {address: address % 2 for address in range(1000)}
        self.asked: list[tuple[float, bytes]] = []

    def __call__(self, pdu: bytes) -> bytes:
        self.asked.append((time.monotonic(), pdu))
        function, address, count = struct.unpack_from(">BHH", pdu)
        table = self.coils if function in (1, 2, 5, 15) else self.registers
        wanted = range(address, address + (1 if function in (5, 6) else count))
        if wanted.stop > 1000:
            return bytes((function | 0x80, 2))
        if function in (1, 2):
            bits = pack_bits([self.coils[item] for item in wanted])
            return bytes((function, len(bits))) + bits
        if function in (3, 4):
            return struct.pack(f">BB{count}H", function, 2 * count, *(self.registers[item] for item in wanted))
        if function == 5:
            table[address] = count >> 15
        elif function == 6:
            table[address] = count
        elif function == 15:
            table.update((item, pdu[6 + n // 8] >> n % 8 & 1) for n, item in enumerate(wanted))
        else:
            table.update(zip(wanted, struct.unpack_from(f">{count}H", pdu, 6), strict=True))
        return pdu[:5]

    @property
    def functions(self) -> list[int]:
        return [pdu[0] for _, pdu in self.asked]


def registers(address: int, count: int) -> tuple[int, ...]:
    """What a fresh box holds there."""
    return tuple(range(address + 1000, address + count + 1000))


def holding(address: int, count: int, unit: int = 1) -> Request:
    return Request.read(unit, "holding", address, count)


def wait_for(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


class Bench:
    """Makes wires and lines, and closes them all at the end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.box = Box()

    def wire(self, settings: LineSettings | None = None, slaves: dict[int, Any] | None = None, **options: Any) -> Wire:
        wire = Wire(slaves or {1: self.box}, settings or LineSettings("", BAUDRATE), **options)
        self._stack.callback(wire.close)
        return wire

    def line(self, port: str, **settings: Any) -> Line:
        line = Line(LineSettings(port, **{"baudrate": BAUDRATE, **settings}))
        self._stack.callback(line.close)
        return line

    def both(self, settings: LineSettings | None = None, **options: Any) -> tuple[Wire, Line]:
        settings = settings or LineSettings("", BAUDRATE)
        wire = self.wire(settings, **options)
        return wire, self.line(
            wire.open_pty(), baudrate=settings.baudrate, parity=settings.parity, stopbits=settings.stopbits,
            framing=settings.framing,
        )  # fmt: skip
