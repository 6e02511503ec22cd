"""How near to the wire each model is read at its own speed, and how long an action waits behind a running poll."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from evchargerd import profile
from evchargerd.bus import Bus
from evchargerd.charger import Charger
from evchargerd.config import ChargerConfig
from evchargerd.job import drive
from evchargerd.modbus import port as port_module
from evchargerd.modbus.frame import FRAMINGS, Request
from evchargerd.modbus.line import Line, LineSettings
from evchargerd.profile import Profile
from evchargerd.simulator.wire import TURNAROUND

MODELS = (
    "abb-terra-ac",
    "mennekes-compact",
    "heidelberg-ec",
    "evse-din",
    "phoenix-ev-cc-ser",
    "schrack-cion",
)
READS = 10  # per model; the median is shown
ORDERS = 30
DEADLINE_S = 20.0


@dataclass(frozen=True)
class Row:
    model: str
    line: str
    frames: int
    read_ms: float
    limit_ms: float

    @property
    def ratio(self) -> float:
        return self.read_ms / self.limit_ms


@contextmanager
def _line_of(model: Profile) -> Iterator[LineSettings]:
    """A simulated charger of this model, in a process of its own, on a pty with the timing of its own line."""
    command = [sys.executable, "-m", "evchargerd", "simulate", "--model", model.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as simulator:
        assert simulator.stdout is not None
        path = simulator.stdout.readline().strip()
        own = model.line
        try:
            yield LineSettings(path, own.baudrate, own.parity, own.stopbits, own.framing)
        finally:
            simulator.terminate()


def limit_s(charger: Charger, settings: LineSettings, pause: float) -> float:
    """The least that these frames can take: their characters, the charger's turnarounds, the silences between."""
    framing = FRAMINGS[settings.framing]()
    reads = charger.reads(whole=True)
    total = (len(reads) - 1) * max(settings.silence, pause)
    for read in reads:
        request = Request.read(charger.unit, read.table, read.address, read.count)
        characters = len(framing.encode(request)) + framing.answer_length(request)
        total += characters * settings.character_time + TURNAROUND
    return total


def read_row(name: str) -> Row:
    """A full read of a model, measured."""
    model = profile.load(name)
    with _line_of(model) as settings:
        line = Line(settings)
        charger = Charger(model, model.line.unit)
        took = []
        for _ in range(READS + 1):
            time.sleep(max(settings.silence, model.pause) + 0.01)
            began = time.monotonic()
            drive(charger.poll(whole=True), line)
            took.append(time.monotonic() - began)
        line.close()
    least = limit_s(charger, settings, model.pause)
    shown = f"{settings.baudrate} 8{settings.parity}{settings.stopbits}"
    frames = len(charger.reads(whole=True))
    return Row(name, shown, frames, 1000 * statistics.median(took[1:]), 1000 * least)


def action_delays_ms(name: str) -> list[float]:
    """From the end of the transaction in flight to the first byte of an action, each, in ms."""
    model = replace(profile.load(name), settle=0)  # the distance between two currents is the charger's wish, not ours
    writes: list[float] = []
    ends: list[float] = []
    write = port_module.SerialPort.write
    transact = Line.transact

    def timed_write(port: port_module.SerialPort, data: bytes) -> None:
        writes.append(time.monotonic())
        write(port, data)

    def timed_transact(line: Line, *arguments: object, **options: object) -> object:
        try:
            return transact(line, *arguments, **options)  # type: ignore[arg-type]
        finally:
            ends.append(time.monotonic())

    delays = []
    port_module.SerialPort.write = timed_write  # type: ignore[method-assign]
    Line.transact = timed_transact  # type: ignore[assignment,method-assign]
    try:
        with _line_of(model) as settings:
            bus = Bus(settings, lambda *_: None)
            bus.put(ChargerConfig(1, model, settings, model.line.unit, 0.001), "fr_FR")
            bus.start()
            _until(lambda: len(ends) > 20)
            dice = random.Random(1)
            for _ in range(ORDERS):
                time.sleep(dice.uniform(0.05, 0.15))
                seen = len(ends)
                ordered = time.monotonic()
                future = bus.act(1, "charge_start")
                _until(lambda seen=seen: len(ends) > seen + 1)
                free = next(end for end in ends[seen:] if end >= ordered) if writes[-1] > ordered else ordered
                first = next(at for at in writes if at > free)
                delays.append(1000 * (first - free))
                future.exception(DEADLINE_S)
            bus.stop()
            bus.join()
    finally:
        port_module.SerialPort.write = write  # type: ignore[method-assign]
        Line.transact = transact  # type: ignore[method-assign]
    return delays


def _until(condition: object) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "the bus does not move"
        time.sleep(0.002)


def report() -> None:
    print("A full read at the model's own speed, against the wire limit of its own frames")
    print(f"{'model':20} {'line':12} {'frames':>6} {'read ms':>9} {'limit ms':>9} {'ratio':>6}")
    for name in MODELS:
        row = read_row(name)
        print(f"{row.model:20} {row.line:12} {row.frames:6} {row.read_ms:9.1f} {row.limit_ms:9.1f} {row.ratio:6.3f}")
    print()
    print("An action behind a running poll: from the end of the transaction in flight to its first byte, ms")
    print(f"{'model':20} {'median':>8} {'worst':>8} {'silence':>8} {'pause':>8}")
    for name in MODELS:
        model = profile.load(name)
        own = model.line
        silence = 1000 * LineSettings("", own.baudrate, own.parity, own.stopbits).silence
        delays = action_delays_ms(name)
        print(f"{name:20} {statistics.median(delays):8.2f} {max(delays):8.2f} {silence:8.2f} {1000 * model.pause:8.0f}")
    print()
