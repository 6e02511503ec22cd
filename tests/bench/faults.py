"""What ours and the libraries make of each fault: right, failed, wrong, or out of step afterwards.

Each trial is: a read that must work, the read or write whose answer is spoilt, then three reads of other blocks that
nothing disturbs. `right` and `failed` are about the spoilt one; `WRONG` counts trials in which any read brought values
that the slave did not hold there, or a write was called done that the slave had not taken; `out of step` those in which
the second or third undisturbed read failed (the first may have met what came late, or twice, on the wire). A caller's
pause keeps the silence for those who do not, so that it does not count here.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import Pool

from truth import OLD, RIGHT, RTU, WRITABLE, WRONG, Busy, Teller, random_faults, strike

from bench.rivals import MASTERS, SWITCHED, Master, available, versions
from evchargerd.modbus.port import LineSettings
from evchargerd.simulator.wire import TURNAROUND, Emissions, Wire

SETTINGS = LineSettings("", 38400)
TIMEOUT_S = 0.15
LATE_S = 0.18  # later than the time-out: while the answer to the next question is awaited
TAKEN_WITHIN_S = 0.05  # a slave has taken a write by then, if it ever does
PAUSE_S = 0.006  # more than 3.5 characters
TRIALS = 6
UNIT = 1
#: Blocks that nothing tells apart but their address: (address, count).
ALIKE = ((0, 10), (20, 10), (40, 10), (60, 10), (80, 10))
#: Blocks as our plan makes them: no two answers of one unit have the same length.
UNLIKE = ((0, 10), (20, 9), (40, 8), (60, 7), (80, 6))
READS_AT_RANDOM = 800
SPOILT = 0.3
FAILED, OUT_OF_STEP = "failed", "out of step"
#: Trials wait for time-outs, not for the processor: so many at once.
AT_ONCE = 4


ALL = MASTERS | SWITCHED


@dataclass
class Scene:
    """One master on a wire with one slave, and the fault that is to come."""

    master: Master
    wire: Wire
    teller: Teller
    fault: str = ""
    #: To be struck next; None: nobody is.
    armed: Callable[[bytes, bytes], Emissions] | None = None
    busy: Busy = field(default_factory=lambda: Busy(time.monotonic))
    last_answer: bytes = b""

    def spoil(self, question: bytes, emissions: Emissions) -> Emissions:
        answer = b"".join(data for _, data in emissions)
        armed, self.armed = self.armed, None
        emissions = armed(question, answer) if armed else self.busy.in_turn(emissions)
        self.last_answer = answer
        return emissions

    def read(self, block: tuple[int, int]) -> str:
        time.sleep(PAUSE_S)
        since = self.teller.generation
        try:
            words = self.master.read(UNIT, *block)
        except Exception:  # whatever a library raises
            return FAILED
        return self.teller.judge(3, block[0], words, since) if len(words) == block[1] else WRONG

    def write(self, address: int, value: int) -> str:
        time.sleep(PAUSE_S)
        try:
            self.master.write(UNIT, address, value)
        except Exception:
            return FAILED
        time.sleep(TAKEN_WITHIN_S)
        return RIGHT if self.teller.held.get(address) == value else WRONG


REPEATED = "preceded by a repeat of the last one"
LATE = "late"
DIFFER = ", lengths differ"
#: Those of truth.py, and two that are made here.
READ_FAULTS = (
    "noise before",
    "noise inside",
    "noise after",
    "dropped byte",
    "inserted byte",
    "flipped bit",
    "truncated",
    "repeated later",
    REPEATED,
    LATE,
    "another unit",
    "another function",
    "another count",
    "echo of the question",
    "silence",
    "exception",
    "exception with a wrong CRC",
)


def _spoiler(scene: Scene, fault: str, dice: random.Random) -> Callable[[bytes, bytes], Emissions]:
    def spoil(question: bytes, answer: bytes) -> Emissions:
        if not answer:
            return []  # the question came damaged
        if fault == LATE:
            return scene.busy.late(LATE_S, answer, SETTINGS)
        if fault == REPEATED:
            return [(TURNAROUND, scene.last_answer + answer)]
        return strike(fault, dice, question, answer, SETTINGS)

    return spoil


def read_trial(scene: Scene, fault: str, dice: random.Random, blocks: tuple[tuple[int, int], ...]) -> str:
    before = scene.read(blocks[0])
    scene.armed = _spoiler(scene, fault, dice)
    spoilt = scene.read(blocks[1])
    scene.armed = None
    after = [scene.read(block) for block in blocks[2:]]
    if WRONG in (before, spoilt, *after):
        return WRONG
    if FAILED in (before, *after[1:]):
        return OUT_OF_STEP
    return spoilt


#: What answers a write of one register that the slave never took; each builds the frame from the question.
FALSE_RECEIPTS: dict[str, Callable[[bytes], bytes]] = {
    "write: silence": lambda _: b"",
    "write: another address echoed": lambda q: RTU.answer(q[0], q[1:2] + bytes((q[2], q[3] ^ 1)) + q[4:6], q),
    "write: another value echoed": lambda q: RTU.answer(q[0], q[1:4] + bytes((q[4], q[5] ^ 1)), q),
    "write: another unit": lambda q: RTU.answer(q[0] + 1, q[1:6], q),
    "write: receipt with a wrong CRC": lambda q: q[:-1] + bytes((q[-1] ^ 1,)),
}


def write_trial(scene: Scene, fault: str, turn: int) -> str:
    scene.read(ALIKE[0])
    value = 1000 + turn
    scene.teller.deaf = 1
    receipt = FALSE_RECEIPTS[fault]

    def spoil(question: bytes, _: bytes) -> Emissions:
        frame = receipt(question)
        return [(TURNAROUND, frame)] if frame else ()

    scene.armed = spoil
    done = scene.write(WRITABLE, value)
    scene.armed, scene.teller.deaf = None, 0
    after = scene.read(ALIKE[1])
    return WRONG if WRONG in (done, after) else OUT_OF_STEP if after == FAILED else done


def echo_trial(scene: Scene, fault: str, turn: int) -> str:
    """The adapter hears itself, and nobody has said so."""
    scene.wire.echo = True
    if fault == "local echo: read":
        return scene.read(ALIKE[turn % len(ALIKE)])
    if fault == "local echo, no charger: write":
        scene.teller.deaf = 5
    return scene.write(WRITABLE, 2000 + turn)


ECHOES = ("local echo: read", "local echo: write", "local echo, no charger: write")


def _cell(outcomes: list[str]) -> str:
    counted = Counter(outcomes)
    for name, shown in ((WRONG, "**WRONG**"), (OUT_OF_STEP, "out of step")):
        if counted[name]:
            return shown + ("" if counted[name] == len(outcomes) else f" {counted[name]}/{len(outcomes)}")
    return " / ".join(f"{name}" for name, count in counted.most_common() if count)


def _scene(make: Callable[[LineSettings, float], Master]) -> tuple[Scene, Wire]:
    teller = Teller(UNIT)
    wire = Wire({UNIT: teller}, SETTINGS)
    scene = Scene(make(LineSettings(wire.open_pty(), SETTINGS.baudrate), TIMEOUT_S), wire, teller)
    wire.fault = scene.spoil
    return scene, wire


def outcomes(name: str, fault: str) -> list[str]:
    """Each trial on a line of its own: what one leaves behind is not the next one's."""
    make, result = ALL[name], []
    dice = random.Random(fault)
    for turn in range(TRIALS):
        scene, wire = _scene(make)
        with wire:
            if fault in FALSE_RECEIPTS:
                result.append(write_trial(scene, fault, turn))
            elif fault in ECHOES:
                result.append(echo_trial(scene, fault, turn))
            elif fault.endswith(DIFFER):
                result.append(read_trial(scene, fault.removesuffix(DIFFER), dice, UNLIKE))
            else:
                result.append(read_trial(scene, fault, dice, ALIKE))
            with suppress(Exception):
                scene.master.close()
    return result


def at_random(name: str, blocks: tuple[tuple[int, int], ...]) -> Counter[str]:
    """Many reads, a part of whose answers is spoilt."""
    scene, wire = _scene(ALL[name])
    dice = random.Random(20261122)
    with wire:
        wire.fault = random_faults(dice, SPOILT, SETTINGS, (TIMEOUT_S, 3 * TIMEOUT_S), time.monotonic)
        order = random.Random(7)
        counted = Counter(scene.read(order.choice(blocks)) for _ in range(READS_AT_RANDOM))
        with suppress(Exception):
            scene.master.close()
    return counted


def report() -> None:
    masters = [*available(), *(name for name in SWITCHED if name.split()[0] in " ".join(available()))]
    faults = (*READ_FAULTS, LATE + DIFFER, REPEATED + DIFFER, *FALSE_RECEIPTS, *ECHOES)
    print("Faults. " + versions())
    print(f"{SETTINGS.baudrate} 8N1, time-out {TIMEOUT_S} s, {TRIALS} trials of each; late: {LATE_S} s. "
          "pymodbus without retries, libmodbus without error recovery; both with, and ours with the one retry of "
          "the bus, in the last columns.")  # fmt: skip
    print()
    with Pool(AT_ONCE) as pool:
        print("| the answer is | " + " | ".join(masters) + " |")
        print("| --- |" + " --- |" * len(masters))
        for fault in faults:
            cells = map(_cell, pool.map(partial(outcomes, fault=fault), masters, chunksize=1))
            print(f"| {fault} | " + " | ".join(cells) + " |", flush=True)
        print()
        print(f"{READS_AT_RANDOM} reads, {SPOILT:.0%} of the answers spoilt: right / failed / **wrong** "
              "(+ so many that the slave had said to the same question before)")  # fmt: skip
        print()
        print("| blocks | " + " | ".join(masters) + " |")
        print("| --- |" + " ---: |" * len(masters))
        for title, blocks in (("of one length", ALIKE), ("of different lengths, as our plan makes them", UNLIKE)):
            counted = pool.map(partial(at_random, blocks=blocks), masters, chunksize=1)
            cells = (f"{seen[RIGHT]} / {seen[FAILED]} / **{seen[WRONG]}** (+ {seen[OLD]})" for seen in counted)
            print(f"| {title} | " + " | ".join(cells) + " |", flush=True)
    print()
