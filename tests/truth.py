"""Registers that say whose they are: a value of another block, unit, table or time cannot pass for the right one.

A register is told as table (1 bit), unit (2 bits), address (7 bits) and a generation (6 bits) that grows with each
question that the slave has answered. Faults are random, from a seed, and as bad as a garage can make them.
"""

from __future__ import annotations

import random
import struct
from collections import defaultdict
from collections.abc import Callable, Sequence

from evchargerd.modbus.frame import Rtu
from evchargerd.modbus.port import LineSettings
from evchargerd.simulator.wire import TURNAROUND, Emissions, Fault

RIGHT, OLD, WRONG = "right", "old", "wrong"
GENERATIONS = 64
#: Registers from here on hold what is written to them; those below tell.
WRITABLE = 128
RTU = Rtu()
#: What a garage has none of: an answer that was not said is faked only in ways that a checksum or a length shows.
FAULTS = (
    "noise before",
    "noise inside",
    "noise after",
    "dropped byte",
    "inserted byte",
    "flipped bit",
    "truncated",
    "repeated later",
    "late",
    "another unit",
    "another function",
    "another count",
    "wrong echoed address or value",
    "echo of the question",
    "silence",
    "exception",
    "exception with a wrong CRC",
)
#: Those that change what an answer says, and make it whole again.
DATA_FAULTS = ("another unit", "another function", "another count", "wrong echoed address or value")


class Teller:
    """A slave whose registers tell. `deaf` questions are not heard at all: nothing is done and nothing is said."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.generation = 0
        self.held: dict[int, int] = {}
        self.deaf = 0

    def told(self, function: int, address: int) -> int:
        return (function & 1) << 15 | self.unit << 13 | address << 6 | self.generation % GENERATIONS

    def __call__(self, pdu: bytes) -> bytes | None:
        if self.deaf:
            self.deaf -= 1
            return None
        function, address, count = struct.unpack_from(">BHH", pdu)
        if function in (3, 4):
            self.generation += 1
            words = [
                self.told(function, item) if item < WRITABLE else self.held.get(item, 0)
                for item in range(address, address + count)
            ]
            return struct.pack(f">BB{count}H", function, 2 * count, *words)
        if function == 6:
            self.held[address] = count
        else:
            self.held.update(enumerate(struct.unpack_from(f">{count}H", pdu, 6), address))
        return pdu[:5]

    def judge(self, function: int, address: int, words: Sequence[int], since: int) -> str:
        """What a master took for the answer to a read that it asked when the generation was `since`."""
        here = [(function & 1) << 9 | self.unit << 7 | item for item in range(address, address + len(words))]
        generations = {word % GENERATIONS for word in words}
        if [word >> 6 for word in words] != here or len(generations) != 1:
            return WRONG
        age = (self.generation - generations.pop()) % GENERATIONS
        return RIGHT if age < self.generation - since else OLD


def strike(fault: str, dice: random.Random, question: bytes, answer: bytes, settings: LineSettings) -> Emissions:
    """What is sent instead of this answer."""
    at = dice.randrange(len(answer))
    noise = dice.randbytes(dice.randint(1, 6))
    end = TURNAROUND + len(answer) * settings.character_time
    unit, pdu = answer[0], answer[1:-2]
    if fault == "noise before":
        return [(TURNAROUND, noise + answer)]
    if fault == "noise inside":
        return [(TURNAROUND, answer[:at] + noise + answer[at:])]
    if fault == "noise after":
        return [(TURNAROUND, answer), (end + dice.choice([0.0, 0.001, 0.01]), noise)]
    if fault == "dropped byte":
        return [(TURNAROUND, answer[:at] + answer[at + 1 :])]
    if fault == "inserted byte":
        return [(TURNAROUND, answer[:at] + noise[:1] + answer[at:])]
    if fault == "flipped bit":
        return [(TURNAROUND, answer[:at] + bytes((answer[at] ^ 1 << dice.randrange(8),)) + answer[at + 1 :])]
    if fault == "truncated":
        return [(TURNAROUND, answer[:at])]
    if fault == "repeated later":
        return [(TURNAROUND, answer), (end + dice.uniform(0.002, 0.02), answer)]
    if fault == "another unit":
        return [(TURNAROUND, RTU.answer(unit + 1, _told_elsewhere(pdu, 1 << 13), question))]
    if fault == "another function":
        pdu = bytes((pdu[0] ^ 7,)) + _told_elsewhere(pdu, 1 << 15)[1:]
        return [(TURNAROUND, RTU.answer(unit, pdu, question))]
    if fault == "another count":
        if pdu[0] in (3, 4):
            pdu = bytes((pdu[0], pdu[1] - 2)) + pdu[2:-2] if pdu[1] > 2 else bytes((pdu[0], 4)) + pdu[2:] * 2
        else:
            pdu = pdu[:-1] + bytes((pdu[-1] ^ 1,))
        return [(TURNAROUND, RTU.answer(unit, pdu, question))]
    if fault == "wrong echoed address or value":
        place = dice.randrange(1, 5) if pdu[0] > 4 else 1
        pdu = pdu[:place] + bytes((pdu[place] ^ 1 << dice.randrange(8),)) + pdu[place + 1 :]
        return [(TURNAROUND, RTU.answer(unit, pdu, question))]
    if fault == "echo of the question":
        return [(TURNAROUND, question)]
    if fault == "exception":
        return [(TURNAROUND, RTU.answer(unit, bytes((pdu[0] | 0x80, dice.choice([1, 2, 3, 4, 6]))), question))]
    if fault == "exception with a wrong CRC":
        return [(TURNAROUND, bytes((unit, pdu[0] | 0x80, 2, dice.randrange(256), 0x5A)))]
    assert fault == "silence"
    return []


def _told_elsewhere(pdu: bytes, difference: int) -> bytes:
    """The answer to a read as another unit or table would tell it."""
    if pdu[0] > 4:
        return pdu
    words = struct.unpack_from(f">{pdu[1] // 2}H", pdu, 2)
    return pdu[:2] + struct.pack(f">{len(words)}H", *(word ^ difference for word in words))


class Busy:
    """A slave that is late with an answer answers what it is asked meanwhile after that, in turn."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._until = 0.0

    def late(self, after: float, answer: bytes, settings: LineSettings) -> Emissions:
        emissions = self.in_turn([(after, answer)])
        self._until = self._now() + emissions[0][0] + len(answer) * settings.character_time
        return emissions

    def in_turn(self, emissions: Emissions) -> Emissions:
        delay = max(0.0, self._until - self._now())
        return [(after + delay, data) for after, data in emissions]


def random_faults(
    dice: random.Random, part: float, settings: LineSettings, late: tuple[float, float], now: Callable[[], float]
) -> Fault:
    """This part of the answers is spoilt, each by a fault by chance.

    `late`: from when to when, in seconds. Some late answers hold up those to later questions, others are overtaken.
    """
    slaves: dict[int, Busy] = defaultdict(lambda: Busy(now))

    def fault(question: bytes, emissions: Emissions) -> Emissions:
        busy = slaves[question[0]]
        answer = b"".join(data for _, data in emissions)
        if not answer or dice.random() >= part:
            return busy.in_turn(emissions)
        kind = dice.choice(FAULTS)
        if kind == "echo of the question" and question[1] == 6:
            kind = "silence"  # here a returned question is an answer, and nothing on the wire tells it from one
        if answer[1] & 0x80 and kind in DATA_FAULTS:
            kind = "flipped bit"  # the slave itself refuses: there is no data to falsify
        if kind == "late" and dice.random() < 0.5:
            return [(dice.uniform(*late), answer)]
        if kind == "late":
            return busy.late(dice.uniform(*late), answer, settings)
        return busy.in_turn(strike(kind, dice, question, answer, settings))

    return fault
