"""One Modbus line: one question at a time, and an answer is believed only if it can be nothing else.

How a transaction goes: wait for the silence that the slaves need, throw away what lies in the input, write, and sleep
until the answer is due (`Framing.hunt` then finds it between whatever else came). Four things need more than that.

*Late answers.* After a time-out the answer may still come, and pass for the answer to a later question. So a question
without an answer stays in doubt until the answer was overheard, or until it would be too late even for the slowest
answer seen on this line. Meanwhile the unit may be asked the same again, or something whose answer looks different
(another function, byte count or written value); any other question waits. Other units are not concerned.

*Local echo.* Some adapters hear themselves, and the echo of a write of one coil or register is the same bytes as its
answer. So the line learns whether the adapter echoes, from every question whose echo cannot pass for an answer, and
asks one of its own (a read of two holding registers) before the first write that needs to know. On an adapter with echo
such a write is done when the echo came *and* the answer behind it. What is proven: the echo of the last question that
tells. On a UART, a copy that comes before a slave can have sent it is an echo as well, reason enough to change our
mind; any other answer that comes so early is not believed either. What nothing on the wire can tell: an adapter that
begins to echo between two questions and delays its bytes (USB latency, gateways), or a slave that returns a question
and has done nothing.

*Lost ports.* They are closed, reported once (`PortLost`) and reopened by later calls, which never wait for them.

*Corrupted answers.* Once an answer has begun, a gap ends it: `BadAnswer`, and the line is in step again.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import BadAnswer, NoAnswer, PortLost, Refused, port_reason
from .frame import FRAMINGS, Answer, Rejected, Request
from .port import OPEN_ERRORS, PORT_ERRORS, LineSettings, Opening, Port, open_port

__all__ = ["Line", "LineSettings", "Statistics"]

log = logging.getLogger(__name__)

#: On a local port, a gap (s) that ends an answer which has begun: six times the 16 ms latency of FTDI adapters.
LOCAL_GAP = 0.1
#: An answer that begins at the last moment may have so many such gaps before we give up.
HOLES = 3
#: A question is in doubt for `LATE` times its time-out, `LATE` times the slowest answer seen on the line, and at least
#: for so long (s): gateways can be seconds late.
LATE = 3
LATE_LOCAL, LATE_URL = 1.0, 5.0
#: How fast the slowest answer is forgotten: by this part of the difference at each faster one.
FORGET = 0.01
#: An answer faster than this part of its time on the wire has not come over a wire (clocks differ by far less).
TOO_EARLY = 0.9
#: We wake up so many characters before the last byte is due: one more look costs less than oversleeping.
WAKE_EARLY = 0.5
#: Waits (s) before the next attempts to open a lost port; the last one repeats. Short: a failed attempt costs nothing,
#: and a charger has to be back within 2 s of its adapter.
REOPEN_DELAYS = (0.0, 0.25, 0.5, 1.0, 1.5)
#: How long a transaction waits for a connection that is being established in the background (s).
OPEN_PATIENCE = 0.3
#: After so many questions in a row without a single byte the port is opened anew: some adapters and chargers need it.
SILENCES_BEFORE_REOPEN = 10
#: How long (s) a line may go on talking before we give up waiting for its silence.
BABBLE = 1.0
#: What was heard outside transactions is kept up to so many bytes, to recognise late answers.
STRAY_SIZE = 1024


@dataclass(slots=True)
class Statistics:
    """What happened on a line since it was made. Times in seconds; `slowest` is the longest wait for an answer."""

    requests: int = 0
    answers: int = 0
    refusals: int = 0
    silences: int = 0
    bad_answers: int = 0
    late_answers: int = 0
    losses: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    busy: float = 0.0
    slowest: float = 0.0

    @property
    def errors(self) -> int:
        return self.silences + self.bad_answers + self.losses


@dataclass(frozen=True, slots=True)
class _Doubt:
    """A question without an answer, when it was sent, and until when its answer may still come (monotonic s)."""

    request: Request
    sent: float
    until: float


@dataclass(slots=True)
class _Exchange:
    """One question on the wire and what was heard since, last at `heard_at` (0: nothing yet).

    `ambiguous`: its echo would pass for its answer.
    """

    request: Request
    frame: bytes
    wire_time: float  # of question and answer together, s
    timeout: float
    sent: float
    ambiguous: bool
    received: bytearray = field(default_factory=bytearray)
    heard_at: float = 0.0
    ignored: int = 0  # so many of the bytes received
    found: Answer | Rejected | None = None
    begun: bool = False

    def reply(self, echo: bool) -> bytes | bytearray:
        """What may be the answer: less what is ignored and the echo of the question.

        `echo` says whether to expect the echo of an ambiguous question; then there is no reply before it came.
        """
        heard = self.received[self.ignored :] if self.ignored else self.received
        if self.ambiguous and not echo:
            return heard
        start = heard.find(self.frame)
        if start >= 0:
            return heard[start + len(self.frame) :]
        return b"" if self.ambiguous else heard


class Line:
    """One line, used by one thread. Nothing is opened before the first transaction."""

    def __init__(self, settings: LineSettings) -> None:
        self.settings = settings
        self.statistics = Statistics()
        self.tap: Callable[[str, bytes], None] | None = None  # hears every frame: ">" sent, "<" answered, "?" unasked
        modbus_tcp = settings.port.startswith("tcp://")
        self._framing = FRAMINGS["tcp" if modbus_tcp else settings.framing]()
        self.character_time = settings.character_time
        self.silence = 0.0 if modbus_tcp else settings.silence
        self._port: Port | None = None
        self._opening: Opening | None = None
        self._lost = ""  # why, as long as the port is away
        self._attempts = 0  # to open it, in a row
        self._reopen_at = 0.0
        self._silences = 0  # in a row
        self._quiet_since = 0.0
        self._ended: dict[int, float] = {}  # the last transaction of each unit
        self._doubts: list[_Doubt] = []
        self._stray = bytearray()
        self._slowest = 0.0
        self._echo: bool | None = None
        self._paced = False

    @property
    def reopen_at(self) -> float:
        """Monotonic time before which a transaction fails at once, for the port is lost; in the past if it is not."""
        return self._reopen_at if self._lost else 0.0

    def free_at(self, request: Request, pause: float | None = None) -> float:
        """Monotonic time at which this question can go out; it may be in the past. Ask others meanwhile."""
        free = max(self._quiet_since + self.silence, self._ended.get(request.unit, 0.0) + (pause or 0.0))
        for doubt in self._doubts:
            if doubt.request != request and self._framing.confusable(doubt.request, request):
                free = max(free, doubt.until)
        return free

    def transact(self, request: Request, *, timeout: float, pause: float | None = None) -> tuple[int, ...]:
        """Ask one question, once, and return its registers or bits (0/1); an empty tuple for a write.

        `timeout`: seconds that the unit may take before it answers; the time of the bytes on the wire is added.
        `pause`: seconds that this unit wants between the end of a transaction and its next question.
        Raises NoAnswer, BadAnswer, Refused or PortLost. It waits until `free_at` first.
        """
        port = self._opened()
        began = time.monotonic()
        try:
            if self._echo is None and self._ambiguous(request, self._framing.encode(request)):
                self._learn_echo(port, request, timeout, pause)
            return self._ask(port, request, timeout, pause)
        except PORT_ERRORS as error:
            raise self._lose(error) from error
        finally:
            self.statistics.busy += time.monotonic() - began

    def close(self) -> None:
        """Release the port; a later transaction opens it again."""
        if self._opening:
            self._opening.abandon()
            self._opening = None
        if self._port:
            self._port.close()
            self._port = None

    # The port

    def _opened(self) -> Port:
        if self._silences >= SILENCES_BEFORE_REOPEN:
            self.close()
        if self._port:
            return self._port
        if time.monotonic() < self.reopen_at:
            raise PortLost(self.settings.port, self._lost)
        try:
            port = self._open()
        except OPEN_ERRORS as error:
            raise self._lose(error) from error
        if self._lost:
            log.info("Le port %s est de nouveau disponible", self.settings.port)
        self._port, self._lost, self._attempts, self._silences = port, "", 0, 0
        self._quiet_since = time.monotonic()
        self._echo = False if self._framing.numbered else None  # Modbus TCP has no wire that echoes
        self._paced = port.paced
        self._stray.clear()
        return port

    def _open(self) -> Port:
        if not self.settings.is_url:
            return open_port(self.settings)
        opening = self._opening or Opening(self.settings)
        self._opening = None
        port = opening.wait(OPEN_PATIENCE)
        if port is None:
            self._opening = opening
            raise PortLost(self.settings.port, self._lost or "connexion en cours")
        return port

    def _lose(self, error: BaseException) -> PortLost:
        self.close()
        self.statistics.losses += 1
        reason = port_reason(error)
        if not self._lost:
            log.warning("Le port %s est indisponible : %s", self.settings.port, reason)
        self._lost = reason
        self._reopen_at = time.monotonic() + REOPEN_DELAYS[min(self._attempts, len(REOPEN_DELAYS) - 1)]
        self._attempts += 1
        return PortLost(self.settings.port, reason)

    # One transaction

    def _ask(self, port: Port, request: Request, timeout: float, pause: float | None) -> tuple[int, ...]:
        self._await_turn(port, request, pause)
        frame = self._framing.encode(request)
        wire_time = (len(frame) + self._framing.answer_length(request)) * self.character_time
        self._trace(">", frame)
        self.statistics.requests += 1
        self.statistics.bytes_sent += len(frame)
        exchange = _Exchange(request, frame, wire_time, timeout, time.monotonic(), self._ambiguous(request, frame))
        try:
            port.write(frame)
            self._listen(port, exchange)
        finally:
            self._quiet_since = self._ended[request.unit] = exchange.heard_at or time.monotonic()
            self.statistics.bytes_received += len(exchange.received)
            self._trace("<", exchange.received)
        self._silences = 0 if exchange.received else self._silences + 1
        return self._conclude(exchange)

    def _await_turn(self, port: Port, request: Request, pause: float | None) -> None:
        """Wait until this question may go out, on a silent line, with nothing left in the input."""
        now = time.monotonic()
        self._doubts = [doubt for doubt in self._doubts if doubt.until > now]
        patience = max(now, self.free_at(request, pause)) + BABBLE
        while True:
            delay = max(0.0, self.free_at(request, pause) - now)
            if delay and not self._doubts:
                time.sleep(delay)
                stray = b""
            else:
                stray = port.read(delay)
            now = time.monotonic()
            if not stray and not delay:
                return
            if stray:
                self._trace("?", stray)
                self.statistics.bytes_received += len(stray)
                self._stray += stray
                self._recognise_late_answers(self._stray)
                del self._stray[:-STRAY_SIZE]
                self._quiet_since = now
                if now > patience:
                    raise self._bad(request.unit, "la ligne ne se tait jamais")

    def _listen(self, port: Port, exchange: _Exchange) -> None:
        """Receive until the answer is complete, or until it cannot come any more."""
        request, ambiguous = exchange.request, exchange.ambiguous
        answer_length = self._framing.answer_length(request)
        deadline = exchange.sent + exchange.wire_time + exchange.timeout
        gap = max(LOCAL_GAP, self.silence) if port.paced else exchange.timeout
        if self._paced and self._echo:
            time.sleep(len(exchange.frame) * self.character_time)
        limit = deadline + HOLES * gap
        wait = deadline - time.monotonic()
        reply_start = deadline
        while True:
            data = port.read(max(0.0, wait))
            now = time.monotonic()
            early = now < exchange.sent + TOO_EARLY * exchange.wire_time
            exchange.received += data
            exchange.heard_at = now if data else exchange.heard_at
            reply = exchange.reply(bool(self._echo))
            exchange.found = self._framing.hunt(reply, request, over=not data)
            if exchange.found and not ambiguous and exchange.frame.startswith(reply):
                exchange.found = None  # the echo of the question, still coming in
            if isinstance(exchange.found, Answer) and early and self._paced and port.is_uart:
                reply = self._ignore_early(exchange)
            exchange.begun = self._framing.begun(reply, request)
            if exchange.found or not data or now > limit:
                break
            if self._paced and reply:
                reply_start = min(reply_start, now - len(reply) * self.character_time)
                due = self._framing.shortest if len(reply) < self._framing.shortest else answer_length
                time.sleep(max(0.0, reply_start + (due - WAKE_EARLY) * self.character_time - now))
            now = time.monotonic()
            wait = min(gap, limit - now) if exchange.begun else deadline - now
        if not ambiguous and not self._in_doubt(request.unit):
            self._learn_habits(port, exchange, early)

    def _conclude(self, exchange: _Exchange) -> tuple[int, ...]:
        """The values that were found, or the error that says why there are none; and what is in doubt from now on."""
        request, found = exchange.request, exchange.found
        doubt = _Doubt(request, exchange.sent, exchange.sent + self._too_late_after(exchange))
        if found or exchange.begun:
            # If the same question was asked before, this may be the answer to that one, and ours may still come.
            self._settle(lambda earlier: earlier == request, doubt)
        if isinstance(found, Answer):
            self.statistics.answers += 1
            self._note_delay(time.monotonic() - exchange.sent - exchange.wire_time)
            return found.values
        if isinstance(found, Rejected):
            asked = (request.unit, request.function)
            if self._settle(lambda earlier: (earlier.unit, earlier.function) == asked and earlier != request, doubt):
                raise self._bad(request.unit, "un refus, peut-être celui d'une question antérieure")
            self.statistics.refusals += 1
            raise Refused(request.unit, request.function, found.code)
        self._recognise_late_answers(exchange.received)
        if not exchange.begun and not self._framing.numbered:
            self._doubts.append(doubt)
        if exchange.reply(bool(self._echo)):
            why = f"{len(exchange.received)} octets reçus, illisibles (parasites, câblage, vitesse ou parité ?)"
            raise self._bad(request.unit, why)
        self.statistics.silences += 1
        raise NoAnswer(request.unit, self.settings.port, exchange.timeout)

    def _bad(self, unit: int, why: str) -> BadAnswer:
        self.statistics.bad_answers += 1
        return BadAnswer(unit, self.settings.port, why)

    def _trace(self, direction: str, data: bytes | bytearray) -> None:
        if data and self.tap is not None:
            self.tap(direction, bytes(data))
        if data and log.isEnabledFor(logging.DEBUG):
            log.debug("%s %s %s", self.settings.port, direction, data.hex(" "))

    # Local echo

    def _ambiguous(self, request: Request, frame: bytes) -> bool:
        """Whether the echo of this write would pass for its answer.

        A few reads are like that too (8 bytes asked from 0300h on, by function 1). Their echo is always taken for one:
        on a line without echo the one value that looks like it cannot be read.
        """
        return request.is_write and self._framing.hunt(frame, request) is not None

    def _learn_echo(self, port: Port, request: Request, timeout: float, pause: float | None) -> None:
        """Find out whether the adapter echoes, by a question whose answer is longer than itself."""
        probe = Request.read(request.unit, "holding", min(request.address, 0xFFFE), 2)
        with contextlib.suppress(NoAnswer, BadAnswer, Refused):
            self._ask(port, probe, timeout, pause)
        if self._echo is None:
            raise self._bad(request.unit, "trop de parasites pour écrire sans risque")

    def _learn_habits(self, port: Port, exchange: _Exchange, early: bool) -> None:
        """What an unambiguous exchange says about the port: does it echo, and do bytes take their time on a wire."""
        found = exchange.found
        if exchange.frame in exchange.received:
            self._echo = True
        elif not exchange.received or (found and found.start == exchange.ignored == 0):
            self._echo = False
        if isinstance(found, Answer):
            self._paced = port.paced and not early

    def _ignore_early(self, exchange: _Exchange) -> bytes | bytearray:
        """No slave can have answered already: what came is an echo, or not for us (or this only looks like a UART).

        Returns what remains of the reply.
        """
        exchange.found = None
        if exchange.ambiguous and not self._echo:
            self._echo = True
        else:
            exchange.ignored = len(exchange.received)
            self._paced = False
        return exchange.reply(bool(self._echo))

    # Late answers

    def _in_doubt(self, unit: int) -> bool:
        return any(doubt.request.unit == unit for doubt in self._doubts)

    def _too_late_after(self, exchange: _Exchange) -> float:
        """Seconds after a question was sent when its answer cannot come any more."""
        at_least = LATE_URL if self.settings.is_url else LATE_LOCAL
        return exchange.wire_time + max(at_least, LATE * exchange.timeout, LATE * self._slowest)

    def _settle(self, is_it: Callable[[Request], bool], doubt: _Doubt) -> bool:
        """Replace the first doubt about such a question by another doubt; whether there was one."""
        for index, earlier in enumerate(self._doubts):
            if is_it(earlier.request):
                self._doubts[index] = doubt
                return True
        return False

    def _recognise_late_answers(self, heard: bytearray) -> None:
        """Settle the doubts whose answers are among these bytes, and cut the answers out."""
        for doubt in list(self._doubts):
            found = self._framing.hunt(heard, doubt.request, over=True)
            if found:
                del heard[: found.start + self._framing.shortest]
                self._doubts.remove(doubt)
                self.statistics.late_answers += 1
                self._note_delay(time.monotonic() - doubt.sent)

    def _note_delay(self, delay: float) -> None:
        """Follow the slowest answer: at once upwards, slowly downwards."""
        self.statistics.slowest = max(self.statistics.slowest, delay)
        self._slowest = max(delay, self._slowest + FORGET * (delay - self._slowest))
