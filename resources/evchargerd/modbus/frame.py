"""Modbus frames: build a question, know the length of its answer, find that answer among received bytes. No I/O.

A question is a `Request`; a `Framing` says how questions and answers look on the wire: RTU, ASCII, ASCII as ABL speaks
it, and Modbus TCP (MBAP). All of them hunt in the same way. The answer to a known question has a known opening (unit,
function, byte count or echoed address and value) and a known length, so it is found by looking for the opening anywhere
in what was received and by checking the checksum at the known length. Frames are never cut by silence: USB adapters and
gateways put holes inside frames and glue frames together.

References: "AP" is the MODBUS Application Protocol V1.1b3, "SL" is MODBUS over Serial Line V1.02.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import ClassVar

#: AP 6.1 to 6.4: the four tables and the function that reads each.
READ_FUNCTIONS = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
READ_BITS = (1, 2)
BIT_TABLES = ("coil", "discrete")
WRITE_SINGLE_COIL, WRITE_SINGLE_REGISTER, WRITE_COILS, WRITE_REGISTERS = 5, 6, 15, 16
#: AP 6.1 to 6.12: how many items one request may carry, for each function.
MAX_COUNT = {1: 2000, 2: 2000, 3: 125, 4: 125, 5: 1, 6: 1, 15: 1968, 16: 123}
#: AP 6.5: what is written to a coil to switch it on.
COIL_ON = 0xFF00
#: AP 4.1: set in the function code of an exception answer.
EXCEPTION_FLAG = 0x80
#: Function and code: the PDU of an exception answer.
EXCEPTION_SIZE = 2


@dataclass(frozen=True, slots=True)
class Request:
    """One question to one unit. Use `read` or `write`.

    `values` are what is written: registers (0..65535), or bits (0/1) for functions 5 and 15; empty for reads.
    A unit may be 0..255: some chargers live at 248..255, which SL 2.2 reserves. There is no broadcast: unit 0 is
    expected to answer like any other (on Modbus TCP it does).
    """

    unit: int
    function: int
    address: int
    count: int
    values: tuple[int, ...] = ()

    @classmethod
    def read(cls, unit: int, table: str, address: int, count: int) -> Request:
        """A read of `count` items of a table: "coil", "discrete", "holding" or "input"."""
        if table not in READ_FUNCTIONS:
            raise ValueError(f"unknown table {table!r}: one of {', '.join(READ_FUNCTIONS)}")
        return cls(unit, READ_FUNCTIONS[table], address, count)

    @classmethod
    def write(cls, unit: int, function: int, address: int, values: tuple[int, ...] | list[int]) -> Request:
        """A write by function 5, 6, 15 or 16."""
        return cls(unit, function, address, len(values), tuple(values))

    def __post_init__(self) -> None:
        if self.function not in MAX_COUNT:
            raise ValueError(f"function {self.function} is not supported")
        if not 0 <= self.unit <= 255:
            raise ValueError(f"unit {self.unit} is not in 0..255")
        if not 1 <= self.count <= MAX_COUNT[self.function]:
            raise ValueError(f"count {self.count} is not in 1..{MAX_COUNT[self.function]} (function {self.function})")
        if not (self.address >= 0 and self.address + self.count <= 0x10000):
            raise ValueError(f"addresses {self.address}..{self.address + self.count - 1} are not in 0..65535")
        if len(self.values) != (self.count if self.is_write else 0):
            raise ValueError(f"function {self.function} with {len(self.values)} values for a count of {self.count}")
        highest = 1 if self.function in (WRITE_SINGLE_COIL, WRITE_COILS) else 0xFFFF
        if any(not 0 <= value <= highest for value in self.values):
            raise ValueError(f"a value of {self.values} is not in 0..{highest}")

    @property
    def is_write(self) -> bool:
        return self.function >= WRITE_SINGLE_COIL

    @property
    def pdu(self) -> bytes:
        """Function code and data of the question (AP 6)."""
        if self.function == WRITE_SINGLE_COIL:
            return struct.pack(">BHH", 5, self.address, COIL_ON if self.values[0] else 0)
        if self.function == WRITE_SINGLE_REGISTER:
            return struct.pack(">BHH", 6, self.address, self.values[0])
        head = struct.pack(">BHH", self.function, self.address, self.count)
        if self.function == WRITE_COILS:
            data = pack_bits(self.values)
        elif self.function == WRITE_REGISTERS:
            data = struct.pack(f">{self.count}H", *self.values)
        else:
            return head
        return head + bytes((len(data),)) + data

    @property
    def answer_opening(self) -> bytes:
        """What the PDU of the answer must begin with: function and byte count; for writes all of the answer."""
        if self.is_write:
            return self.pdu[:5]
        return bytes((self.function, self._data_size))

    @property
    def answer_size(self) -> int:
        """Bytes in the PDU of the answer."""
        return 5 if self.is_write else 2 + self._data_size

    @property
    def _data_size(self) -> int:
        return (self.count + 7) // 8 if self.function in READ_BITS else 2 * self.count

    def decode(self, pdu: bytes) -> tuple[int, ...]:
        """Registers or bits (0/1) of a complete answer; writes carry none."""
        if self.is_write:
            return ()
        if self.function in READ_BITS:
            return tuple(pdu[2 + index // 8] >> index % 8 & 1 for index in range(self.count))
        return struct.unpack_from(f">{self.count}H", pdu, 2)


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer was found at `start`: its registers or bits (empty for a write)."""

    start: int
    values: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A Modbus exception was found at `start`."""

    start: int
    code: int


class Framing:
    """How PDUs travel on one kind of line. An instance belongs to one line."""

    #: Answers carry the number of their question, so that a late one cannot pass for another.
    numbered: ClassVar[bool] = False

    def encode(self, request: Request) -> bytes:
        """The question as it goes on the wire."""
        return self._wrap(request.unit, request.pdu)

    def answer_length(self, request: Request) -> int:
        """Bytes on the wire of the answer to this question."""
        return self._length(request.answer_size)

    @property
    def shortest(self) -> int:
        """Bytes on the wire of the shortest answer there is, an exception."""
        return self._length(EXCEPTION_SIZE)

    def hunt(self, received: bytes | bytearray, request: Request, over: bool = False) -> Answer | Rejected | None:
        """The answer to this question, wherever it begins, or None as long as it is not complete.

        An answer that has begun hides what looks like an exception further on, for that is its own data; not so
        when no more bytes will come (`over`).
        """
        opening = self._opening(request.unit, self._answer_opening(request), request.answer_size)
        begun = received.find(opening)
        while begun >= 0 and begun + self.answer_length(request) <= len(received):
            pdu = self._unwrap(received[begun : begun + self.answer_length(request)])
            if pdu is not None:
                return Answer(begun, request.decode(pdu))
            begun = received.find(opening, begun + 1)
        start = received.find(self._exception_opening(request))
        if start >= 0 and (over or begun < 0 or start < begun) and start + self.shortest <= len(received):
            pdu = self._unwrap(received[start : start + self.shortest])
            if pdu is not None:
                return Rejected(start, pdu[1])
        return None

    def confusable(self, one: Request, other: Request) -> bool:
        """Whether an answer to the one, come too late, would pass for the answer to the other."""
        return one.unit == other.unit and self._answer_opening(one) == self._answer_opening(other)

    def begun(self, received: bytes | bytearray, request: Request) -> bool:
        """Whether an answer to this question has at least begun."""
        opening = self._opening(request.unit, self._answer_opening(request), request.answer_size)
        return opening in received or self._exception_opening(request) in received

    def question(self, frame: bytes) -> tuple[int, bytes] | None:
        """The slave's side: unit and PDU of a question, or None if it is damaged."""
        raise NotImplementedError

    def answer(self, unit: int, pdu: bytes, question: bytes) -> bytes:
        """The slave's side: an answer PDU as it goes on the wire, to the question that came as this frame."""
        raise NotImplementedError

    def _exception_opening(self, request: Request) -> bytes:
        return self._opening(request.unit, bytes((request.function | EXCEPTION_FLAG,)), EXCEPTION_SIZE)

    def _answer_opening(self, request: Request) -> bytes:
        return request.answer_opening

    def _length(self, size: int) -> int:
        """Bytes on the wire for a PDU of `size` bytes."""
        raise NotImplementedError

    def _wrap(self, unit: int, pdu: bytes) -> bytes:
        raise NotImplementedError

    def _opening(self, unit: int, opening: bytes, size: int) -> bytes:
        """What a frame begins with, whose PDU of `size` bytes begins with `opening`."""
        raise NotImplementedError

    def _unwrap(self, frame: bytes | bytearray) -> bytes | None:
        """The PDU of a frame of the right length, or None if its checksum says that it is damaged."""
        raise NotImplementedError


class Rtu(Framing):
    """SL 2.5.1: unit, PDU, CRC low byte first."""

    def question(self, frame: bytes) -> tuple[int, bytes] | None:
        return None if len(frame) < 4 or crc16(frame) else (frame[0], frame[1:-2])

    def answer(self, unit: int, pdu: bytes, question: bytes) -> bytes:
        return self._wrap(unit, pdu)

    def _length(self, size: int) -> int:
        return 1 + size + 2

    def _wrap(self, unit: int, pdu: bytes) -> bytes:
        body = bytes((unit,)) + pdu
        return body + crc16(body).to_bytes(2, "little")

    def _opening(self, unit: int, opening: bytes, size: int) -> bytes:
        return bytes((unit,)) + opening

    def _unwrap(self, frame: bytes | bytearray) -> bytes | None:
        return None if crc16(frame) else bytes(frame[1:-2])


class Ascii(Framing):
    """SL 2.5.2: a colon; unit, PDU and LRC as upper case hexadecimal digits; CR LF."""

    ANSWER_START: ClassVar[bytes] = b":"

    def question(self, frame: bytes) -> tuple[int, bytes] | None:
        body = self._body(frame[frame.rfind(b":") :])
        return (body[0], body[1:]) if body and len(body) > 1 else None

    def answer(self, unit: int, pdu: bytes, question: bytes) -> bytes:
        return self.ANSWER_START + self._wrap(unit, pdu)[1:]

    def _length(self, size: int) -> int:
        return 1 + 2 * (1 + size + 1) + 2

    def _wrap(self, unit: int, pdu: bytes) -> bytes:
        body = bytes((unit,)) + pdu
        return b":" + (body + bytes((lrc(body),))).hex().upper().encode() + b"\r\n"

    def _opening(self, unit: int, opening: bytes, size: int) -> bytes:
        return self.ANSWER_START + (bytes((unit,)) + opening).hex().upper().encode()

    def _unwrap(self, frame: bytes | bytearray) -> bytes | None:
        body = self._body(frame)
        return body[1:] if body else None

    @staticmethod
    def _body(frame: bytes | bytearray) -> bytes | None:
        """Unit and PDU of start character, digits, CR LF."""
        digits = frame[1:-2]
        if frame[-2:] != b"\r\n" or not digits.isalnum():
            return None
        try:
            body = bytes.fromhex(digits.decode("ascii"))
        except ValueError:
            return None
        return None if lrc(body) else body[:-1]


class AsciiAbl(Ascii):
    """ASCII as ABL's EVCC2/3 speaks it ("API subset for external applications", 05 0015 20 Rev B).

    Answers start with ">", and the first data byte of a read is no data but the register number of the question.
    The byte is checked and left in place: a profile masks it away.
    """

    ANSWER_START = b">"

    def answer(self, unit: int, pdu: bytes, question: bytes) -> bytes:
        asked = self.question(question)
        if asked and pdu[0] in READ_FUNCTIONS.values():
            pdu = pdu[:2] + asked[1][2:3] + pdu[3:]
        return super().answer(unit, pdu, question)

    def _answer_opening(self, request: Request) -> bytes:
        register = b"" if request.is_write else bytes((request.address & 0xFF,))
        return request.answer_opening + register


class Tcp(Framing):
    """MODBUS Messaging on TCP/IP V1.0b 3.1.3: transaction, protocol 0, length, unit, PDU."""

    numbered = True
    HEADER: ClassVar[struct.Struct] = struct.Struct(">HHHB")

    def __init__(self) -> None:
        self._transaction = 0

    def encode(self, request: Request) -> bytes:
        """A new transaction: the answers to all earlier ones are worth nothing from here on."""
        self._transaction = (self._transaction + 1) & 0xFFFF
        return super().encode(request)

    def question(self, frame: bytes) -> tuple[int, bytes] | None:
        if len(frame) <= self.HEADER.size:
            return None
        _, protocol, length, unit = self.HEADER.unpack_from(frame)
        return (unit, frame[self.HEADER.size :]) if protocol == 0 and length == len(frame) - 6 else None

    def answer(self, unit: int, pdu: bytes, question: bytes) -> bytes:
        return question[:2] + self._wrap(unit, pdu)[2:]

    def _length(self, size: int) -> int:
        return self.HEADER.size + size

    def _wrap(self, unit: int, pdu: bytes) -> bytes:
        return self._opening(unit, pdu, len(pdu))

    def _opening(self, unit: int, opening: bytes, size: int) -> bytes:
        return self.HEADER.pack(self._transaction, 0, 1 + size, unit) + opening

    def _unwrap(self, frame: bytes | bytearray) -> bytes | None:
        return bytes(frame[self.HEADER.size :])


#: The framings by the name that a profile gives.
FRAMINGS: dict[str, type[Framing]] = {"rtu": Rtu, "ascii": Ascii, "ascii-abl": AsciiAbl, "tcp": Tcp}


def pack_bits(bits: tuple[int, ...] | list[int]) -> bytes:
    """Bits as AP 6.1 and 6.11 pack them: the first one is the lowest bit of the first byte."""
    packed = bytearray((len(bits) + 7) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= (bit & 1) << index % 8
    return bytes(packed)


def _crc_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
        table.append(value)
    return tuple(table)


_CRC_TABLE = _crc_table()


def crc16(data: bytes | bytearray) -> int:
    """CRC-16 of SL 6.2.2 (reflected polynomial 0xA001); 0 over a whole frame that ends with its own CRC."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def lrc(data: bytes | bytearray) -> int:
    """Longitudinal check of SL 6.2.1; 0 over a whole message that ends with its own LRC."""
    return -sum(data) & 0xFF
