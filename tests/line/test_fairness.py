"""Many chargers on one line: each in its turn, keep-alives in time, and a cycle that is close to the wire's limit."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from bench.speed import LINES, limit_s
from bench.wires import counting
from line.bench import wait_for
from slaves import ImageSlave
from virtual import Clock, VirtualWire, virtual_line

from evchargerd import bus as bus_module
from evchargerd import profile
from evchargerd.bus import Bus
from evchargerd.config import ChargerConfig
from evchargerd.modbus.frame import Request, Rtu
from evchargerd.modbus.line import LineSettings
from evchargerd.profile import Profile
from evchargerd.simulator.wire import Slave, Wire

BAUDRATE = 115200
HEARTBEAT = 0x0D00  # of a Mennekes: written every so often
ORDER_EVERY_S = 0.005


@contextmanager
def bus_with(slaves: Mapping[int, Slave], model: Profile, poll: float) -> Iterator[Bus]:
    with Wire(slaves, LineSettings("", BAUDRATE), turnaround=0.001, burst=8) as wire:
        settings = LineSettings(wire.open_pty(), BAUDRATE)
        bus = Bus(settings, lambda *_: None)
        for unit in slaves:
            bus.put(ChargerConfig(unit, model, settings, unit, poll), "fr_FR")
        bus.start()
        try:
            yield bus
        finally:
            bus.stop()
            bus.join(5)


def image_of(model: Profile, *writable: int) -> ImageSlave:
    assert model.example is not None
    return ImageSlave.of(model.example, {str(address): address for address in writable})


def test_with_30_chargers_of_which_six_are_silent_every_live_one_has_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "FIRST_BACKOFF_S", 0.2)
    model = replace(profile.load("heidelberg-ec"), timeout=0.05)
    slaves = {unit: image_of(model) for unit in range(1, 31)}
    for unit in range(5, 31, 5):
        slaves[unit].silent = True
    live = [slave for slave in slaves.values() if not slave.silent]
    polled = 5  # its first register: what every poll begins with

    def rounds(slave: ImageSlave) -> int:
        return sum(1 for _, address, count in list(slave.reads) if address <= polled < address + count)

    with bus_with(slaves, model, 0.1):
        wait_for(lambda: min(map(rounds, live)) >= 6, 30)
        counted = list(map(rounds, live))
    assert max(counted) - min(counted) <= 2


def test_keepalives_are_never_late_while_actions_pour_in() -> None:
    model = profile.load("mennekes-compact")
    every = 0.4
    keepalives = tuple(replace(keep, every=every) for keep in model.keepalive)
    model = replace(model, keepalive=keepalives, settle=0)
    slave = image_of(model, HEARTBEAT)
    beats: list[float] = []
    slave.on_write = lambda table, address, value: beats.append(time.monotonic()) if address == HEARTBEAT else None
    stop = threading.Event()
    ordered = [0]

    def pour(bus: Bus) -> None:
        """Different orders in turn, which cannot be merged, and which write no heartbeat of their own."""
        for name, value in itertools.cycle([("charge_stop", None), ("set_current_limit", 10)]):
            if stop.wait(ORDER_EVERY_S):
                return
            bus.act(1, name, value)
            ordered[0] += 1

    with bus_with({1: slave}, model, 1.0) as bus:
        wait_for(lambda: beats)
        storm = threading.Thread(target=pour, args=(bus,))
        storm.start()
        try:
            wait_for(lambda: len(beats) >= 8, 20)
        finally:
            stop.set()
            storm.join()
    gaps = [later - earlier for earlier, later in itertools.pairwise(beats)]
    assert ordered[0] > 100
    # Late is more than its tenth, and the transaction under way; a busy machine may add what it wants to half of that.
    assert sorted(gaps)[len(gaps) // 2] < every * (1 + bus_module.LATE_KEEPALIVE) + 0.05
    assert max(gaps) < 1.5 * every


@pytest.mark.parametrize("settings", LINES, ids=lambda line: f"{line.baudrate} 8{line.parity}1")
@pytest.mark.parametrize("count", [1, 10, 20, 60])
def test_a_cycle_is_within_a_twentieth_of_the_wire_limit_and_keeps_the_silence(
    settings: LineSettings, count: int
) -> None:
    """In virtual time, with sleepers that wake 0.1 ms late: the bench measures it with a real clock."""
    clock = Clock(random.Random(count))
    wire = VirtualWire(clock, {1: counting}, replace(settings, port="/dev/ttyS0"))
    with virtual_line(wire, clock, replace(settings, port="/dev/ttyS0")) as line:
        question = Request.read(1, "holding", 0, count)
        line.transact(question, timeout=1.0)
        began = clock.now
        for _ in range(100):
            assert line.transact(question, timeout=1.0) == tuple(range(count))
        assert (clock.now - began) / 100 < 1.05 * limit_s(settings, count)
    assert wire.counters.too_early == wire.counters.collisions == 0


def test_what_it_takes_to_check_an_answer_is_part_of_the_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow processor has the silence to think in: it begins with the last byte, not with the last thought."""
    settings = LineSettings("/dev/ttyS0", 9600)
    clock = Clock(random.Random(1))
    wire = VirtualWire(clock, {1: counting}, settings)
    hunt = Rtu.hunt

    def slow_hunt(framing: Rtu, *given: Any, **named: Any) -> object:
        clock.now += 0.001
        return hunt(framing, *given, **named)

    monkeypatch.setattr(Rtu, "hunt", slow_hunt)
    with virtual_line(wire, clock, settings) as line:
        question = Request.read(1, "holding", 0, 10)
        line.transact(question, timeout=1.0)
        began = clock.now
        for _ in range(20):
            line.transact(question, timeout=1.0)
        assert (clock.now - began) / 20 < 1.02 * limit_s(settings, 10)
    assert wire.counters.too_early == 0
