"""A point: a named value in a charger's registers or bits; how its raw form and its meaning turn into each other."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .rules import ALWAYS, Test, Value, Values, When

WORDS = {"bit": 1, "uint16": 1, "int16": 1, "uint32": 2, "int32": 2, "uint64": 4, "float32": 2, "float64": 4}
FLOATS = {"float32": ">f", "float64": ">d"}  # IEEE 754, as struct writes them
SIGNED = ("int16", "int32")
DIGITS = 10  # more than any 32-bit register holds, less than the noise of a double
FLOAT32_DIGITS = 7  # decimal digits that an IEEE 754 single holds
ROUNDING = 1e-9  # relative, the noise of DIGITS: keeps 10.2 A / 0.1 from being cut down to 101


@dataclass(frozen=True, slots=True)
class Scale:
    """A factor that may depend on other points: the first case that holds. No case that holds: no value."""

    cases: tuple[tuple[When, float], ...]

    def factor(self, values: Values) -> float | None:
        return next((factor for when, factor in self.cases if when.holds(values)), None)

    @property
    def points(self) -> tuple[str, ...]:
        return tuple(name for when, _ in self.cases for name in when.points)


@dataclass(frozen=True, slots=True)
class Curve:
    """Straight lines through (raw, value) pairs, rising in both; outside the ends the first and last line go on."""

    raw: tuple[float, ...]
    value: tuple[float, ...]

    def to_value(self, raw: float) -> float:
        return _interpolate(raw, self.raw, self.value)

    def to_raw(self, value: float) -> float:
        return _interpolate(value, self.value, self.raw)


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    i = next((i for i in range(1, len(xs) - 1) if x <= xs[i]), len(xs) - 1)
    return ys[i - 1] + (x - xs[i - 1]) * (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1])


@dataclass(frozen=True, slots=True)
class Point:
    """Address on the wire, from 0; `count` registers (or bits, always 1).

    raw = ((registers & mask) >> shift); value = special[raw], or curve(raw), or raw * scale + offset.
    Where the scale has no case that fits, the point means nothing, special raw values included.
    """

    name: str
    table: str
    address: int
    count: int
    type: str
    high_word_first: bool = True
    swap: bool = False
    mask: int | None = None
    shift: int = 0
    scale: Scale = Scale(((ALWAYS, 1),))
    offset: float = 0
    curve: Curve | None = None
    special: Mapping[int, float] = field(default_factory=dict)
    format: str | None = None
    ignore: Test | None = None
    readable: bool = True
    writable: bool = False
    once: bool = False
    write_function: int = 6
    write_timeout: float | None = None
    read_back: str | None = None
    power_up: float | None = None
    eeprom: bool = False
    unverified: bool = False
    unit: str = ""

    @property
    def last(self) -> int:
        return self.address + self.count - 1

    @property
    def needs(self) -> tuple[str, ...]:
        """Points whose values decide this one's scale."""
        return self.scale.points

    def decode(self, words: Sequence[int], values: Values) -> Value | None:
        """Meaning of `words` (this point's registers, or its bit); None where they mean nothing."""
        value = self._decode(words, values)
        if value is None or (self.ignore is not None and self.ignore.fits(value)):
            return None
        return value

    def _decode(self, words: Sequence[int], values: Values) -> Value | None:
        if self.type == "text":
            return self._bytes(words).decode("ascii", "replace").strip("\0 ")
        if self.type == "bytes":
            octets = self._bytes(words)
            return octets.hex(" ") if self.format is None else format_bytes(self.format, octets)
        raw = self._raw(words)
        if isinstance(raw, int) and self.mask is not None:
            raw &= self.mask
        if isinstance(raw, int):
            raw >>= self.shift
        factor = self.scale.factor(values)
        if factor is None:
            return None
        if raw in self.special:
            value = _tidy(self.special[int(raw)])
        elif self.curve is not None:
            value = _tidy(self.curve.to_value(raw))
        else:
            value = _tidy(raw * factor + self.offset)
        if not math.isfinite(value):
            return None
        return value if self.format is None else self.format.format(value=value)

    def encode(self, value: Value, values: Values, current: Sequence[int] | None = None) -> tuple[int, ...]:
        """Registers that mean `value`. Numbers are cut down to what the register can hold, never rounded up.

        A masked point keeps the other bits of `current`. Raises ValueError where the value does not fit.
        """
        if self.type == "text":
            octets = str(value).encode("ascii").ljust(2 * self.count, b"\0")
            if len(octets) > 2 * self.count:
                raise ValueError(f"{value!r} a plus de {2 * self.count} caractères")
            return self._words(octets)
        if self.type == "bytes" or isinstance(value, str):
            raise ValueError(f"{value!r} ne peut pas s'écrire dans {self.name}")
        if self.type in FLOATS:
            try:
                octets = struct.pack(FLOATS[self.type], self._to_raw(value, values))
            except OverflowError as error:
                raise ValueError(f"{value} ne tient pas dans {self.name}") from error
            return self._words_of(int.from_bytes(octets, "big"))
        exact = self._to_raw(value, values)
        raw = math.floor(exact + min(0.5, ROUNDING * max(1, abs(exact))))
        bits = 16 * self.count if self.type != "bit" else 1
        signed = self.type in SIGNED and self.mask is None  # bits cut out by a mask have no sign
        room = (self.mask if self.mask is not None else (1 << bits) - 1) >> self.shift
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, room)
        if not low <= raw <= high:
            raise ValueError(f"{value} ne tient pas dans {self.name} (valeurs brutes {low} à {high})")
        raw = (raw & ((1 << bits) - 1)) << self.shift
        if self.mask is not None:
            if raw & ~self.mask:
                raise ValueError(f"{value} does not fit into {self.name} (mask 0x{self.mask:X})")
            kept = int(self._raw(current)) if current is not None else 0
            raw = (kept & ~self.mask & ((1 << bits) - 1)) | raw
        return self._words_of(raw)

    def _to_raw(self, value: int | float, values: Values) -> float:
        for raw, meaning in self.special.items():
            if meaning == value:
                return raw
        if self.curve is not None:
            return self.curve.to_raw(value)
        factor = self.scale.factor(values)
        if factor is None:
            raise ValueError(f"l'unité de {self.name} n'est pas encore connue")
        return (value - self.offset) / factor

    def _bytes(self, words: Sequence[int]) -> bytes:
        return b"".join(word.to_bytes(2, "little" if self.swap else "big") for word in words)

    def _words(self, octets: bytes) -> tuple[int, ...]:
        order = "<" if self.swap else ">"
        return struct.unpack(f"{order}{self.count}H", octets)

    def _words_of(self, raw: int) -> tuple[int, ...]:
        """An unsigned number as registers."""
        words = tuple(self._swapped(raw >> 16 * i & 0xFFFF) for i in reversed(range(self.count)))
        return words if self.high_word_first else words[::-1]

    def _swapped(self, word: int) -> int:
        return (word & 0xFF) << 8 | word >> 8 if self.swap and self.type != "bit" else word

    def _raw(self, words: Sequence[int]) -> int | float:
        raw, bits = 0, 16 * self.count
        for word in words if self.high_word_first else reversed(words):
            raw = raw << 16 | self._swapped(word)
        if self.type in FLOATS:
            number: float = struct.unpack(FLOATS[self.type], raw.to_bytes(2 * self.count, "big"))[0]
            return float(f"{number:.{FLOAT32_DIGITS}g}") if self.type == "float32" else number
        return raw - (1 << bits) if self.type in SIGNED and raw >> (bits - 1) else raw


def format_bytes(template: str, octets: bytes) -> str:
    """`template` with the octets by number, and their halves as high0, low0…"""
    high = {f"high{i}": octet >> 4 for i, octet in enumerate(octets)}
    low = {f"low{i}": octet & 0xF for i, octet in enumerate(octets)}
    return template.format(*octets, **high, **low)


def _tidy(number: float) -> int | float:
    """Without the noise of binary fractions; a whole number as int."""
    if isinstance(number, int):
        return number
    short = float(f"{number:.{DIGITS}g}")
    return int(short) if short.is_integer() else short
