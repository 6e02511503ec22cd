"""A line in virtual time: the real `Line`, byte-exact, as fast as the processor, and the same for the same seed.

`VirtualWire` is what a port is, and it owns the clock: waiting moves the time on. What it models is what
`evchargerd.simulator.wire` models in real time: characters that take their time, slaves that are deaf to a question
without silence before it, collisions, adapters that hear themselves; and adapters that keep bytes back.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from evchargerd.modbus.frame import FRAMINGS
from evchargerd.modbus.line import Line
from evchargerd.modbus.port import LineSettings
from evchargerd.simulator.wire import TURNAROUND, Counters, Emissions, Fault, Slave

#: An idle system wakes a sleeper so late (s), on average.
OVERSLEEP = 0.0001
#: What looking at the clock costs, so that time never stands still.
LOOK = 0.000002


class Clock:
    """In place of the module `time`."""

    def __init__(self, dice: random.Random) -> None:
        self.now = 1000.0
        self._dice = dice

    def monotonic(self) -> float:
        self.now += LOOK
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds + self._dice.expovariate(1 / OVERSLEEP)


@dataclass(slots=True)
class _Byte:
    """A byte on its way to the master: when it is complete on the wire, and when the adapter hands it over."""

    complete: float
    handed: float
    value: int


class VirtualWire:
    """A port with slaves behind it: a UART, or a gateway where `settings.port` is a URL.

    `latency`: seconds for which the adapter keeps bytes back, as USB does; such a port is no UART.
    """

    def __init__(
        self,
        clock: Clock,
        slaves: Mapping[int, Slave],
        settings: LineSettings,
        *,
        fault: Fault | None = None,
        echo: bool = False,
        latency: float = 0.0,
    ) -> None:
        self.paced = not settings.is_url
        self.is_uart = self.paced and not latency
        self.counters = Counters()
        self.fault = fault
        self._clock, self._slaves, self._settings = clock, slaves, settings
        self._echo, self._latency = echo, latency
        self._character = settings.character_time
        self._framing = FRAMINGS[settings.framing]()
        self._coming: list[_Byte] = []  # in the order in which they are handed over
        self._spoken_until = 0.0

    # What a port is

    def read(self, wait: float) -> bytes:
        until = self._clock.monotonic() + wait
        first = self._coming[0].handed if self._coming else until
        self._clock.now = max(self._clock.now, min(first, until))
        ready = 0
        while ready < len(self._coming) and self._coming[ready].handed <= self._clock.now:
            ready += 1
        received, self._coming = self._coming[:ready], self._coming[ready:]
        if received:
            self._spoken_until = max(self._spoken_until, max(byte.complete for byte in received))
        return bytes(byte.value for byte in received)

    def write(self, data: bytes) -> None:
        start = self._clock.monotonic()
        end = start + len(data) * self._character
        heard = self._is_heard(start, end)
        if self._echo:
            self._hand_over(start, data)
        if heard:
            for delay, piece in self._answer(data):
                self._hand_over(end + delay, piece)
        self._coming.sort(key=lambda byte: byte.handed)

    def close(self) -> None:
        """What was on its way is lost."""
        self._coming.clear()

    # The wire

    def _hand_over(self, start: float, data: bytes) -> None:
        for index, value in enumerate(data, 1):
            complete = start + index * self._character
            held_until = (complete // self._latency + 1) * self._latency if self._latency else complete
            self._coming.append(_Byte(complete, held_until, value))

    def _is_heard(self, start: float, end: float) -> bool:
        """Whether slaves hear a question between these times. A gateway sees to it itself."""
        if not self.paced:
            return True
        colliding = [byte for byte in self._coming if start < byte.complete < end + self._character]
        spoken = [byte.complete for byte in self._coming if byte.complete <= start]
        if colliding:
            self.counters.collisions += 1
            for byte in colliding:
                byte.value ^= 0xFF
            return False
        if start < max([self._spoken_until, *spoken]) + self._settings.silence:
            self.counters.too_early += 1
            return False
        return True

    def _answer(self, frame: bytes) -> Emissions:
        question = self._framing.question(frame)
        assert question is not None, "the line sends nothing damaged"
        self.counters.questions += 1
        unit, pdu = question
        slave = self._slaves.get(unit)
        answer = slave(pdu) if slave else None
        assert answer is None or isinstance(answer, bytes)
        emissions: Emissions = () if answer is None else ((TURNAROUND, self._framing.answer(unit, answer, frame)),)
        return self.fault(frame, emissions) if self.fault else emissions


@contextmanager
def virtual_line(wire: VirtualWire, clock: Clock, settings: LineSettings) -> Iterator[Line]:
    """The line under test at the master's end of this wire, with this clock for its own."""
    with mock.patch("evchargerd.modbus.line.time", clock), mock.patch.object(Line, "_open", return_value=wire):
        yield Line(settings)
