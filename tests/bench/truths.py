"""Transactions by the hundred thousand under random faults: how many values were wrong? None may be.

`python -m bench.truths [TRANSACTIONS] [SEED]` runs the real `Line` in virtual time (tests/virtual.py), byte for byte
at the speeds of real lines: on a UART, on a USB adapter that keeps bytes back, on one that hears itself, and behind a
gateway. Three units share a line. Thirty answers in a hundred are spoilt, a question in fifty is not heard. Reads of
one unit differ in length, as the plan makes them; a failed question is asked once more, as the bus does.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from unittest import mock

from truth import OLD, RIGHT, WRITABLE, WRONG, Teller, random_faults
from virtual import Clock, VirtualWire, virtual_line

from evchargerd.modbus.errors import ModbusError
from evchargerd.modbus.frame import Answer, Request, Rtu
from evchargerd.modbus.line import LATE_LOCAL, LATE_URL, Line
from evchargerd.modbus.port import LineSettings

SPOILT = 0.3
DEAF = 0.02
TIMEOUT_S = 0.2
UNITS = (1, 2, 3)
#: Lengths and first addresses of the reads: every length once per function.
READS = tuple((function, 8 * index, index + 1) for index in range(9) for function in ("holding", "input"))
WRITES = 0.2
USB_LATENCY_S = 0.016  # what an FTDI adapter takes as it comes


@dataclass
class Tally:
    """What became of the transactions. `old`: what the charger held for this very question when it was asked before."""

    asked: int = 0
    right: int = 0
    old: int = 0
    failed: int = 0
    wrong: int = 0
    too_early: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in vars(self)))


@dataclass(frozen=True)
class Kind:
    settings: LineSettings
    echo: bool = False
    latency: float = 0.0


KINDS = {
    "UART 9600": Kind(LineSettings("/dev/uart", 9600)),
    "UART 19200 8E1, echo": Kind(LineSettings("/dev/uart", 19200, "E"), echo=True),
    "USB 16 ms, 38400": Kind(LineSettings("/dev/usb", 38400), latency=USB_LATENCY_S),
    "gateway 9600": Kind(LineSettings("socket://gateway:1", 9600)),
}


class _Run:
    def __init__(self, kind: Kind, seed: int) -> None:
        self.dice = random.Random(seed)
        self.clock = Clock(self.dice)
        self.tellers = {unit: Teller(unit) for unit in UNITS}
        latest = LATE_URL if kind.settings.is_url else LATE_LOCAL
        # Late enough to be late, and not later than the line says that it can tell.
        fault = random_faults(self.dice, SPOILT, kind.settings, (TIMEOUT_S, 0.9 * latest), self.clock.monotonic)
        self.wire = VirtualWire(
            self.clock, self.tellers, kind.settings, fault=fault, echo=kind.echo, latency=kind.latency
        )
        self.settings = kind.settings
        self.tally = Tally()

    def transactions(self, count: int) -> Tally:
        with virtual_line(self.wire, self.clock, self.settings) as line:
            while self.tally.asked < count:
                self._ask_as_a_bus(line, self._some_question())
        self.tally.too_early = self.wire.counters.too_early
        return self.tally

    def _some_question(self) -> Request:
        unit = self.dice.choice(UNITS)
        if self.dice.random() >= WRITES:
            function, address, count = self.dice.choice(READS)
            return Request.read(unit, function, address, count)
        address, value = WRITABLE + self.dice.randrange(3), self.dice.randrange(0x10000)
        return Request.write(unit, self.dice.choice([6, 16]), address, [value])

    def _ask_as_a_bus(self, line: Line, request: Request) -> None:
        for _ in range(2):
            self.tally.asked += 1
            teller = self.tellers[request.unit]
            teller.deaf = int(self.dice.random() < DEAF)
            since = teller.generation
            try:
                words = line.transact(request, timeout=TIMEOUT_S)
            except ModbusError:
                self.tally.failed += 1
                continue
            self._judge(request, words, since)
            return

    def _judge(self, request: Request, words: Sequence[int], since: int) -> None:
        teller = self.tellers[request.unit]
        if request.is_write:
            verdict = RIGHT if teller.held.get(request.address) == request.values[0] else WRONG
        else:
            verdict = teller.judge(request.function, request.address, words, since)
        self.tally.right += verdict == RIGHT
        self.tally.old += verdict == OLD
        self.tally.wrong += verdict == WRONG


def run(kind: str, transactions: int, seed: int) -> Tally:
    return _Run(KINDS[kind], seed).transactions(transactions)


def run_credulous(transactions: int, seed: int) -> Tally:
    """The same with a line that takes the first answer of the right length, as a check of the check."""

    def hunt(_: Rtu, received: bytes | bytearray, request: Request, over: bool = False) -> Answer | None:
        length = Rtu().answer_length(request)
        if len(received) < length:
            return None
        return Answer(0, () if request.is_write else request.decode(bytes(received[1:length])))

    with mock.patch.object(Rtu, "hunt", hunt):
        return run("UART 9600", transactions, seed)


def main(transactions: int, seed: int) -> int:
    began = time.monotonic()
    parts = 4
    jobs = [(kind, transactions // len(KINDS) // parts, seed + part) for kind in KINDS for part in range(parts)]
    with Pool() as pool:
        tallies = pool.starmap(run, jobs)
    print(f"{transactions} transactions under random faults, seed {seed}, {time.monotonic() - began:.0f} s")
    print(f"{'line':24}" + "".join(f"{name:>10}" for name in vars(Tally())))
    by_kind = {kind: sum((t for j, t in zip(jobs, tallies, strict=True) if j[0] == kind), Tally()) for kind in KINDS}
    for kind, tally in (*by_kind.items(), ("all", sum(tallies, Tally()))):
        print(f"{kind:24}" + "".join(f"{count:10}" for count in vars(tally).values()))
    return int(sum(tallies, Tally()).wrong > 0)


if __name__ == "__main__":
    sys.exit(main(*(int(argument) for argument in (sys.argv[1:] + ["200000", "20261122"][len(sys.argv) - 1 :]))))
