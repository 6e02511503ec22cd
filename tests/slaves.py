"""A Modbus slave that holds a register image and records what is written: strict about what it does not hold."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from evchargerd.modbus.frame import pack_bits
from evchargerd.profile import Example

TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}


@dataclass
class ImageSlave:
    """Answers from `image` (by table and address); exception 2 for addresses that it does not hold.

    `writable`: addresses that take writes although they cannot be read. `on_write(table, address, value)` comes after
    each written register or coil.
    """

    image: dict[str, dict[int, int]]
    writable: frozenset[int] = frozenset()
    on_write: Callable[[str, int, int], None] = lambda *_: None
    silent: bool = False
    writes: list[tuple[int, int, tuple[int, ...]]] = field(default_factory=list)  # function, address, values
    reads: list[tuple[int, int, int]] = field(default_factory=list)  # function, address, count

    @classmethod
    def of(cls, example: Example, writable: Mapping[str, int] | None = None, **options: object) -> ImageSlave:
        image = {table: dict(words) for table, words in example.image.items()}
        return cls(image, frozenset((writable or {}).values()), **options)  # type: ignore[arg-type]

    def __call__(self, pdu: bytes) -> bytes | None:
        if self.silent:
            return None
        function, address = struct.unpack_from(">BH", pdu)
        if function in TABLES:
            return self._read(function, address, struct.unpack_from(">H", pdu, 3)[0])
        return self._write(function, address, pdu)

    def _read(self, function: int, address: int, count: int) -> bytes:
        self.reads.append((function, address, count))
        held = self.image.get(TABLES[function], {})
        if any(a not in held for a in range(address, address + count)):
            return bytes((function | 0x80, 2))
        words = [held[a] for a in range(address, address + count)]
        data = pack_bits(words) if function < 3 else struct.pack(f">{count}H", *words)
        return bytes((function, len(data))) + data

    def _write(self, function: int, address: int, pdu: bytes) -> bytes:
        if function == 5:
            table, values = "coil", (int(pdu[3] == 0xFF),)
        elif function == 6:
            table, values = "holding", struct.unpack_from(">H", pdu, 3)
        elif function == 16:
            count = struct.unpack_from(">H", pdu, 3)[0]
            table, values = "holding", struct.unpack_from(f">{count}H", pdu, 6)
        else:
            return bytes((function | 0x80, 1))
        held = self.image.setdefault(table, {})
        if any(a not in held and a not in self.writable for a in range(address, address + len(values))):
            return bytes((function | 0x80, 2))
        self.writes.append((function, address, tuple(values)))
        for a, value in enumerate(values, address):
            if a in held:
                held[a] = value
            self.on_write(table, a, value)
        return pdu[:5]
