"""A serial line that does not exist, with the timing of one that does.

A `Wire` is half duplex and knows when each byte would be on it: the question of the master takes its characters, the
slave waits for 3.5 characters of silence and for its turnaround, and the answer is handed over byte by byte when each
is due. A slave that has not seen the silence before a question does not hear it; two who talk at once are garbled.
The master's end is a pseudo terminal (`open_pty`) or a TCP port, as a gateway has one (`serve_tcp`).

Slaves are callables by unit: the PDU of a question in, the PDU of the answer out, or None for no answer.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import select
import socket
import threading
import time
import tty
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..modbus.frame import FRAMINGS
from ..modbus.port import LineSettings


@dataclass(frozen=True, slots=True)
class Late:
    """An answer that takes longer than the turnaround: `after` seconds from the end of the question."""

    pdu: bytes
    after: float


#: A slave: PDU of a question in, PDU of the answer out.
Slave = Callable[[bytes], bytes | Late | None]
#: What is really sent: (seconds after the end of the question, bytes) each.
Emissions = Sequence[tuple[float, bytes]]
#: A fault: the frame of a question and what should be sent in, what is sent instead out.
Fault = Callable[[bytes, Emissions], Emissions]

#: Seconds between the end of a question and the first byte of its answer.
TURNAROUND = 0.005
READ_SIZE = 4096


@dataclass(slots=True)
class Counters:
    """What the wire has seen: good questions, questions without silence before them, damaged ones, collisions."""

    questions: int = 0
    too_early: int = 0
    damaged: int = 0
    collisions: int = 0


class Wire:
    """One line with its slaves. Its thread runs until `close`.

    `settings` give speed, parity, stop bits and framing; their port is not used. `echo`: the adapter hears itself.
    `burst`: bytes handed over at once, as a UART with a FIFO does; 1 is the finest timing, more costs less CPU.
    """

    def __init__(
        self,
        slaves: Mapping[int, Slave],
        settings: LineSettings | None = None,
        *,
        turnaround: float = TURNAROUND,
        echo: bool = False,
        fault: Fault | None = None,
        burst: int = 1,
    ) -> None:
        self.slaves = slaves
        self.settings = settings or LineSettings("")
        self.turnaround = turnaround
        self.echo = echo
        self.fault = fault
        self.burst = burst
        self.counters = Counters()
        self._framing = FRAMINGS[self.settings.framing]()
        self._character = self.settings.character_time
        self._silence = 0.0 if self._framing.numbered else self.settings.silence
        self._due: list[_Due] = []  # a heap
        self._order = itertools.count()
        self._question = bytearray()  # being received
        self._question_end = float("-inf")
        self._deaf = False  # the question being received is not heard
        self._spoken_until = float("-inf")
        self._descriptor: int | None = None  # our end: pty master, or the connection of the master
        self._slave_end: int | None = None  # kept open, or our end would fail while the master is away
        self._link: Path | None = None
        self._listener: socket.socket | None = None
        self._connection: socket.socket | None = None
        self._orders: deque[Callable[[], None]] = deque()
        self._wake_read, self._wake_write = os.pipe()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open_pty(self, link: str | os.PathLike[str] | None = None) -> str:
        """The line as a pseudo terminal. Returns the path to open: `link`, made to point to it, or the device."""

        def plug() -> None:
            self._descriptor, self._slave_end = os.openpty()
            tty.setraw(self._slave_end)
            os.set_blocking(self._descriptor, False)

        self._do(plug)
        assert self._slave_end is not None
        device = os.ttyname(self._slave_end)
        if link is None:
            return device
        self._link = Path(link)
        if self._link.is_symlink():
            self._link.unlink()
        self._link.symlink_to(device)
        return str(self._link)

    def serve_tcp(self, host: str = "127.0.0.1", port: int = 0) -> tuple[str, int]:
        """The line behind a TCP port, for one master at a time: the latest. Returns host and port."""
        listener = socket.create_server((host, port))
        listener.setblocking(False)

        def plug() -> None:
            self._listener = listener

        self._do(plug)
        address: tuple[str, int] = listener.getsockname()[:2]
        return address

    def say(self, data: bytes) -> None:
        """Put bytes on the line that nobody asked for, from now on."""
        self._do(lambda: self._emit(time.monotonic(), data))

    def unplug(self) -> None:
        """The adapter or gateway vanishes, with its link; `open_pty` or `serve_tcp` plug it in again."""
        if self._link is not None:
            self._link.unlink(missing_ok=True)
        self._do(self._unplug)

    def disconnect(self) -> None:
        """The gateway drops its connection and goes on listening."""
        self._do(self._disconnect)

    def close(self) -> None:
        if self._closing:
            return
        self.unplug()
        self._closing = True
        os.write(self._wake_write, b"x")
        self._thread.join()
        os.close(self._wake_read)
        os.close(self._wake_write)

    # From here on: in the thread of the wire

    def _do(self, order: Callable[[], None]) -> None:
        """Have something done by the thread of the wire, and wait until it is."""
        done = threading.Event()

        def do() -> None:
            try:
                order()
            finally:
                done.set()

        self._orders.append(do)
        os.write(self._wake_write, b"x")
        done.wait()

    def _run(self) -> None:
        while not self._closing:
            ready = self._wait()
            now = time.monotonic()
            if self._wake_read in ready:
                os.read(self._wake_read, READ_SIZE)
                while self._orders:
                    self._orders.popleft()()
            if self._question and now >= self._question_end + self._silence:
                self._answer(now)
            if self._descriptor in ready:
                self._receive(now)
            self._hand_over(now)
            if self._listener in ready:
                self._accept()

    def _wait(self) -> list[int | socket.socket]:
        wake_at = min(
            self._due[0].at if self._due else float("inf"),
            self._question_end + self._silence if self._question else float("inf"),
        )
        timeout = None if wake_at == float("inf") else max(0.0, wake_at - time.monotonic())
        sources: list[int | socket.socket] = [self._wake_read]
        sources += [source for source in (self._descriptor, self._listener) if source is not None]
        return select.select(sources, (), (), timeout)[0]

    def _receive(self, now: float) -> None:
        assert self._descriptor is not None
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._disconnect()
            return
        start = max(now, self._question_end)
        if not self._question:
            self._deaf = now < max(self._question_end, self._spoken_until) + self._silence
            self.counters.too_early += self._deaf
        if self._speaking(now):
            self._collide()
        if self.echo:
            self._emit(start, data, spoken=False)
        self._question += data
        self._question_end = start + len(data) * self._character

    def _answer(self, now: float) -> None:
        frame, self._question = bytes(self._question), bytearray()
        if self._deaf:
            return
        question = self._framing.question(frame)
        emissions: Emissions = ()
        if question is None:
            self.counters.damaged += 1
        else:
            self.counters.questions += 1
            unit, pdu = question
            slave = self.slaves.get(unit)
            answer = slave(pdu) if slave else None
            if isinstance(answer, Late):
                emissions = ((answer.after, self._framing.answer(unit, answer.pdu, frame)),)
            elif answer is not None:
                emissions = ((self.turnaround, self._framing.answer(unit, answer, frame)),)
        if self.fault:
            emissions = self.fault(frame, emissions)
        for delay, data in emissions:
            self._emit(max(now, self._question_end + delay), data)

    def _emit(self, start: float, data: bytes, spoken: bool = True) -> None:
        """Have these bytes handed over, each when its last bit is on the line."""
        for index in range(0, len(data), self.burst):
            chunk = data[index : index + self.burst]
            at = start + (index + len(chunk)) * self._character
            heapq.heappush(self._due, _Due(at, next(self._order), chunk, spoken))

    def _hand_over(self, now: float) -> None:
        ready = bytearray()
        while self._due and self._due[0].at <= now:
            due = heapq.heappop(self._due)
            if due.spoken:
                if self._question and due.at - self._character < self._question_end:
                    self._collide()
                    due.data = _garbled(due.data)
                self._spoken_until = due.at
            ready += due.data
        if ready and self._descriptor is not None:
            with contextlib.suppress(OSError):  # nobody reads: the bytes are lost, as on a real line
                os.write(self._descriptor, ready)

    def _speaking(self, now: float) -> bool:
        return any(due.spoken and due.at - len(due.data) * self._character <= now for due in self._due)

    def _collide(self) -> None:
        """Two talk at once on one pair of wires: neither is understood. A gateway lets its master wait instead."""
        if self._listener is None and not self._deaf:
            self._deaf = True
            self.counters.collisions += 1
            for due in self._due:
                due.data = _garbled(due.data)

    def _accept(self) -> None:
        assert self._listener is not None
        connection, _ = self._listener.accept()
        self._disconnect()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection, self._descriptor = connection, connection.fileno()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = self._descriptor = None

    def _unplug(self) -> None:
        self._disconnect()
        for descriptor in (self._descriptor, self._slave_end):
            if descriptor is not None:
                os.close(descriptor)
        self._descriptor = self._slave_end = None
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._due.clear()
        self._question.clear()


@dataclass(order=True, slots=True)
class _Due:
    """Bytes to be handed over at a monotonic time; `spoken` on the line, not an echo of the adapter."""

    at: float
    order: int
    data: bytes = field(compare=False)
    spoken: bool = field(compare=False)


def _garbled(data: bytes) -> bytes:
    return bytes(byte ^ 0xFF for byte in data)
