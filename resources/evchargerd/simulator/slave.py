"""The Modbus side of a simulated charger: which functions and addresses it has, and how it refuses the others.

Clauses are of the MODBUS Application Protocol V1.1b3.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from typing import Protocol

from ..modbus.frame import BIT_TABLES, pack_bits
from ..modbus.port import LineSettings
from ..profile import Profile
from .wire import TURNAROUND, Late, Slave

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3  # 7
READ_TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
WRITE_TABLES = {5: "coil", 6: "holding", 15: "coil", 16: "holding"}
COIL_VALUES = {0x0000: 0, 0xFF00: 1}  # 6.5
MAX_BITS_READ, MAX_BITS_WRITTEN, MAX_REGISTERS_WRITTEN = 2000, 1968, 123  # 6.1, 6.11, 6.12
FRAME_BYTES = 3  # unit and CRC around a PDU
PAUSE_SLACK = 0.02  # s: how late a busy machine may call us; the pauses that matter are 100 ms and more
ASLEEP_AFTER = 5.0  # s of silence; chosen: no manual says after how long such a box misses a question


class Registers(Protocol):
    """What is behind the Modbus side. `write` is told of writes that the charger takes."""

    def read(self, table: str, address: int, count: int) -> tuple[int, ...]: ...

    def write(self, table: str, address: int, values: Sequence[int]) -> None: ...


class _Refusal(Exception):
    """The exception code of the answer."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Server:
    """Question PDU in, answer PDU out."""

    def __init__(self, profile: Profile, registers: Registers) -> None:
        self._registers = registers
        points = profile.points.values()
        self._max_registers = profile.max_registers
        self._blocks = profile.blocks
        self._exact = profile.exact
        readable = [point for point in points if point.readable]
        self._readable = {
            (point.table, address) for point in readable for address in range(point.address, point.last + 1)
        } | {
            (table, address)
            for table, ranges in profile.blocks.items()
            for first, last in ranges
            for address in range(first, last + 1)
        }
        self._spans = {(point.table, point.address, point.count) for point in readable}
        self._writable = {(point.table, point.address): point.last for point in points if point.writable}
        tables = {table for table, _ in self._readable}
        self._functions = {function for function, table in READ_TABLES.items() if table in tables}
        self._functions |= {point.write_function for point in points if point.writable}

    def answer(self, pdu: bytes) -> bytes:
        function = pdu[0]
        try:
            if function not in self._functions:
                raise _Refusal(ILLEGAL_FUNCTION)
            if function in READ_TABLES:
                return self._read(pdu)
            return self._write(pdu)
        except _Refusal as refusal:
            return bytes((function | 0x80, refusal.code))

    def _read(self, pdu: bytes) -> bytes:
        if len(pdu) != 5:
            raise _Refusal(ILLEGAL_VALUE)
        function, address, count = struct.unpack(">BHH", pdu)
        table = READ_TABLES[function]
        if not 1 <= count <= (MAX_BITS_READ if table in BIT_TABLES else self._max_registers):
            raise _Refusal(ILLEGAL_VALUE)
        if not all((table, each) in self._readable for each in range(address, address + count)):
            raise _Refusal(ILLEGAL_ADDRESS)
        if self._exact and not self._is_whole(table, address, count):
            raise _Refusal(ILLEGAL_ADDRESS)
        values = self._registers.read(table, address, count)
        data = pack_bits(values) if table in BIT_TABLES else struct.pack(f">{count}H", *values)
        return bytes((function, len(data))) + data

    def _is_whole(self, table: str, address: int, count: int) -> bool:
        """Whether this is a block, or a point that lies in none."""
        blocks = self._blocks.get(table, ())
        if any(first <= address <= last for first, last in blocks):
            return (address, address + count - 1) in blocks
        return (table, address, count) in self._spans

    def _write(self, pdu: bytes) -> bytes:
        function = pdu[0]
        table = WRITE_TABLES[function]
        if len(pdu) < 5:
            raise _Refusal(ILLEGAL_VALUE)
        address, second = struct.unpack_from(">HH", pdu, 1)
        if function == 5:
            if second not in COIL_VALUES:
                raise _Refusal(ILLEGAL_VALUE)
            values: tuple[int, ...] = (COIL_VALUES[second],)
        elif function == 6:
            values = (second,)
        else:
            values = _unpacked(pdu, bits=table in BIT_TABLES)
        self._check_writable(table, address, address + len(values) - 1)
        self._registers.write(table, address, values)
        return pdu[:5]

    def _check_writable(self, table: str, address: int, last: int) -> None:
        """Only whole values can be written, one or several that follow each other."""
        while address <= last:
            end = self._writable.get((table, address))
            if end is None or end > last:
                raise _Refusal(ILLEGAL_ADDRESS)
            address = end + 1


def _unpacked(pdu: bytes, *, bits: bool) -> tuple[int, ...]:
    """Values of a write of several (6.11, 6.12)."""
    (count,) = struct.unpack_from(">H", pdu, 3)
    data = pdu[6:]
    size = (count + 7) // 8 if bits else 2 * count
    if not 1 <= count <= (MAX_BITS_WRITTEN if bits else MAX_REGISTERS_WRITTEN) or pdu[5:6] != bytes((size,)):
        raise _Refusal(ILLEGAL_VALUE)
    if len(data) != size:
        raise _Refusal(ILLEGAL_VALUE)
    if bits:
        return tuple(data[index // 8] >> index % 8 & 1 for index in range(count))
    return struct.unpack(f">{count}H", data)


class Habits:
    """A slave with the habits of its model on the line: no answer to what comes too soon, none while it wakes up.

    The end of an answer is reckoned from its length at the speed of the line.
    """

    def __init__(self, slave: Slave, profile: Profile, settings: LineSettings) -> None:
        self._slave, self._profile = slave, profile
        self._character = settings.character_time
        self._rested_at = self._heard_at = float("-inf")

    def __call__(self, pdu: bytes) -> bytes | Late | None:
        now = time.monotonic()
        asleep = self._profile.wake and now - self._heard_at > ASLEEP_AFTER
        self._heard_at = now
        began = now - (len(pdu) + FRAME_BYTES) * self._character
        if asleep or began < self._rested_at - PAUSE_SLACK:
            return None
        answer = self._slave(pdu)
        if answer is not None and self._profile.pause:
            late = answer.after if isinstance(answer, Late) else TURNAROUND
            size = len(answer.pdu if isinstance(answer, Late) else answer) + FRAME_BYTES
            self._rested_at = now + late + size * self._character + self._profile.pause
        return answer
