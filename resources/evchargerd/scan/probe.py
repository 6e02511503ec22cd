"""Is anybody there, and which model is it? Jobs that read a little of one unit, and remember what it said."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..charger import ActionError
from ..config import UNKNOWN_PAUSE_S
from ..job import Ask, Job
from ..modbus.errors import BadAnswer, NoAnswer, Refused
from ..modbus.frame import Request
from ..modbus.plan import Limits, Read, plan
from ..modbus.port import LineSettings
from ..profile import Profile
from ..rules import Test, Value

#: How long (s) a unit that has answered may take for a question of a model that it probably is not.
UNLIKELY_TIMEOUT = 0.5
#: How long (s) a unit rests that seems to be asked too soon (SolaX wants a second), and how often to try that in vain.
LONG_REST, MAX_RESTS_IN_VAIN = 1.0, 3
#: Characters of a text that no other model shows by chance; state letters such as "B1" are shorter.
SHORTEST_NAME = 4
#: The unit id that nearly all devices come with; any other says something.
COMMON_UNIT = 1
#: A text is worth so many numbers when models are told apart.
TEXT_WEIGHT = 5


class Stopped(ActionError):
    """Whoever wanted the scan wants it no more."""

    def __init__(self) -> None:
        super().__init__("recherche interrompue")


@dataclass(frozen=True, slots=True)
class Reply:
    """What a unit answered to a read: its registers, or the code with which it refused."""

    read: Read
    words: tuple[int, ...] = ()
    refused: int | None = None

    def as_json(self) -> dict[str, object]:
        where = {"table": self.read.table, "address": self.read.address, "count": self.read.count}
        return where | ({"words": list(self.words)} if self.refused is None else {"refused": self.refused})

    def __str__(self) -> str:
        said = self.words and " ".join(f"{word:04X}" for word in self.words)
        return f"{self.read.table} 0x{self.read.address:04X}+{self.read.count} : {said or f'refus {self.refused}'}"


@dataclass(frozen=True, slots=True)
class Probe:
    """A read that is harmless to every model, and how the model that it comes from wants to be asked."""

    read: Read
    pause: float
    wake: bool


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A model, and the reads that tell it; none where it cannot be told."""

    profile: Profile
    reads: tuple[Read, ...]

    @classmethod
    def of(cls, profile: Profile) -> Candidate:
        names = list(profile.identify.points)
        names += [need for name in names for need in profile.points[name].needs]
        known: dict[str, list[tuple[int, int]]] = {}
        for point in profile.points.values():
            if point.readable:
                known.setdefault(point.table, []).append((point.address, point.last))
        limits = Limits(profile.max_registers, profile.blocks, known, profile.exact)
        return cls(profile, plan([profile.points[name] for name in dict.fromkeys(names)], limits))

    @property
    def weight(self) -> int:
        """How much it says when it fits."""
        return sum(TEXT_WEIGHT if _is_text(test) else 1 for _, test in self.profile.identify.tests)

    @property
    def has_text(self) -> bool:
        return any(_is_text(test) for _, test in self.profile.identify.tests)

    def speaks(self, line: LineSettings) -> bool:
        """Whether the model names this way to speak."""
        known = self.profile.line
        if line.framing == "tcp" or known.framing == "tcp":
            return known.framing == line.framing
        return (known.framing, known.parity, known.stopbits) == (line.framing, line.parity, line.stopbits) and (
            line.baudrate in known.baudrates
        )

    def probe(self, read: Read) -> Probe:
        return Probe(read, self.profile.pause, self.profile.wake)


def _is_text(test: Test) -> bool:
    """Whether it asks for a text, such as a name, that no other model shows by chance."""
    texts = [text for text in (*test.any_of, test.contains) if isinstance(text, str)]
    return bool(texts) and min(map(len, texts)) >= SHORTEST_NAME


def probes_of(candidates: Iterable[Candidate], *, alike: bool = False) -> tuple[Probe, ...]:
    """One read of each model, to call whoever is there.

    After a question without answer the line keeps back questions with alike answers, for a while (`Line`). Without
    `alike` such models get no probe: a device answers any of them, if only by an exception.
    """
    probes: list[Probe] = []
    shapes: set[tuple[str, int]] = set()
    asked: set[tuple[str, int, int]] = set()
    for candidate in candidates:
        reads = [read for read in candidate.reads if (read.table, read.address, read.count) not in asked]
        fresh = [read for read in reads if (read.table, read.answer_bytes) not in shapes]
        if not fresh and not (alike and reads):
            continue
        read = (fresh or reads)[0]
        shapes.add((read.table, read.answer_bytes))
        asked.add((read.table, read.address, read.count))
        probes.append(candidate.probe(read))
    return tuple(probes)


class Unit:
    """One unit id on a line, and what it has answered so far. Nothing is asked twice without need."""

    def __init__(self, unit: int, stopped: Callable[[], bool]) -> None:
        self.unit = unit
        self.noise = 0  # answers that could not be read
        self._stopped = stopped
        self._replies: dict[tuple[str, int, int], Reply] = {}
        self._silent: dict[tuple[str, int, int], tuple[float, float]] = {}  # pause and time-out that were in vain
        self._rest = 0.0  # that it wants between two questions, as far as we know
        self._rests_in_vain = 0

    @property
    def replies(self) -> tuple[Reply, ...]:
        return tuple(self._replies.values())

    def call(self, probes: Iterable[Probe], timeout: float) -> Job[bool]:
        """Whether anybody answers to this unit id, be it by a refusal."""
        for probe in probes:
            if (yield from self.ask(probe, timeout)):
                return True
        return False

    def recognise(self, candidates: Iterable[Candidate], line: LineSettings) -> Job[tuple[Profile, ...]]:
        """The models that fit what the unit shows, the best first.

        Once a text or its very unit id says who it is, only the others of which one could say that are tried. Behind
        Modbus TCP, models of serial lines are tried only when no other fits.
        """

        def rank(candidate: Candidate) -> tuple[bool, bool, int]:
            return not candidate.speaks(line), candidate.profile.line.unit != self.unit, -candidate.weight

        def is_sure(candidate: Candidate) -> bool:
            return candidate.has_text or candidate.profile.line.unit == self.unit != COMMON_UNIT

        def is_worth_it(candidate: Candidate) -> bool:
            if any(map(is_sure, fitting)) and not is_sure(candidate):
                return False
            return not fitting or line.framing != "tcp" or candidate.speaks(line)

        fitting: list[Candidate] = []
        for candidate in sorted(candidates, key=rank):
            if not candidate.reads or not is_worth_it(candidate):
                continue
            if (yield from self._is(candidate, likely=candidate.speaks(line))):
                fitting.append(candidate)
        return tuple(candidate.profile for candidate in fitting)

    def _is(self, candidate: Candidate, likely: bool) -> Job[bool]:
        profile = candidate.profile
        timeout = profile.timeout if likely else min(UNLIKELY_TIMEOUT, profile.timeout)
        words: dict[str, Sequence[int]] = {}
        for read in candidate.reads:
            reply = yield from self.ask(candidate.probe(read), timeout)
            if reply is None or reply.refused is not None:
                return False
            for name in read.points:
                start = profile.points[name].address - read.address
                words[name] = reply.words[start : start + profile.points[name].count]
            if not _may_be(profile, words):
                return False
        return True

    def ask(self, probe: Probe, timeout: float) -> Job[Reply | None]:
        """What the unit answers; None if it stays silent. Raises Stopped.

        A unit that has answered before and is silent now may have been asked too soon: it gets a long rest, until that
        has been in vain too often.
        """
        key = (probe.read.table, probe.read.address, probe.read.count)
        if key in self._replies:
            return self._replies[key]
        pause = max(probe.pause, self._rest)
        vain = self._silent.get(key, (-1.0, -1.0))
        if vain[0] >= pause and vain[1] >= timeout:
            return None
        reply = yield from self._ask_once(probe.read, timeout, pause)
        if reply is None and probe.wake:
            reply = yield from self._ask_once(probe.read, timeout, pause)
        if reply is None and self._replies and pause < LONG_REST and self._rests_in_vain < MAX_RESTS_IN_VAIN:
            reply = yield from self._ask_once(probe.read, timeout, LONG_REST)
            if reply is None:
                self._rests_in_vain += 1
            else:
                self._rest = LONG_REST
        if reply is None:
            self._silent[key] = (pause, timeout)
        else:
            self._replies[key] = reply
            self._rest = max(self._rest, UNKNOWN_PAUSE_S)
        return reply

    def _ask_once(self, read: Read, timeout: float, pause: float) -> Job[Reply | None]:
        if self._stopped():
            raise Stopped
        try:
            words = yield Ask(Request.read(self.unit, read.table, read.address, read.count), timeout, pause)
        except Refused as refused:
            return Reply(read, refused=refused.code)
        except BadAnswer:
            self.noise += 1
            return None
        except NoAnswer:
            return None
        return Reply(read, tuple(words))


def _may_be(profile: Profile, words: Mapping[str, Sequence[int]]) -> bool:
    """Whether nothing that was read so far speaks against this model."""
    values: dict[str, Value] = {}
    for name in sorted(words, key=lambda name: bool(profile.points[name].needs)):
        value = profile.points[name].decode(words[name], values)
        if value is not None:
            values[name] = value
    return all(
        name in values and test.fits(values[name])
        for name, test in profile.identify.tests
        if words.keys() >= {name, *profile.points[name].needs}
    )
