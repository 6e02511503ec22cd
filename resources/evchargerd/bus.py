"""The thread of one line: actions go before keep-alives, keep-alives before polls; a silent charger is asked ever less.

Everything that a charger does (a poll, an action, a keep-alive) is a generator of single transactions, so whatever is
more urgent passes between two of them, and one charger's pause is another one's turn.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .catalog import load as load_catalog
from .charger import ActionError, Charger
from .config import ChargerConfig
from .job import Ask, Job, ReadOnly, T, Wait, patient, resume
from .memory import Store
from .modbus.errors import ModbusError, NoAnswer, PortLost, Refused
from .modbus.line import Line, LineSettings
from .profile import KeepAlive
from .rules import Value

log = logging.getLogger(__name__)

OFFLINE_AFTER = 3  # attempts in a row without an answer
FIRST_BACKOFF_S = 1.0  # doubled with each further silent attempt
LAST_BACKOFF_S = 60.0
RETRIES = 1  # of a corrupted answer, and of an action's unanswered request
LATE_KEEPALIVE = 0.1  # part of its period after which a keep-alive goes even before actions
LOST_PORT_PAUSE_S = 0.1
IDLE_S = 3600.0
MAX_QUEUED_ACTIONS = 50  # of one charger; they are merged, so more means that something runs wild

Publish = Callable[[int, Mapping[str, Value], bool], None]
Values = dict[str, Value]


@dataclass(eq=False)
class _Task:
    """A generator on its way: what it asks next (nothing: it has to be advanced), and how often that has been tried."""

    job: Job[Any]
    futures: list[Future[Any]] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    step: Ask | None = None
    words: Sequence[int] | None = None
    resume_at: float = 0.0
    tries: int = 0

    def advance(self, error: ModbusError | None = None) -> None:
        """On to the next step. Raises StopIteration at the end, and what the generator raises."""
        words, self.words, self.step, self.tries = self.words, None, None, 0
        step = resume(self.job, words, error)
        if isinstance(step, Wait):
            self.resume_at = time.monotonic() + step.seconds
        else:
            self.step = step


@dataclass
class _Order:
    """An action that waits for its turn, and everyone who waits for its outcome."""

    name: str
    value: object
    futures: list[Future[Values]]


@dataclass
class _KeepAlive:
    keep: KeepAlive
    due: float


@dataclass(eq=False)
class Member:
    """A charger on the line, and where its affairs stand."""

    config: ChargerConfig
    charger: Charger
    next_poll: float = 0.0
    retry_at: float = 0.0
    failures: int = 0
    online: bool | None = None
    tasks: dict[str, _Task] = field(default_factory=dict)  # by kind
    orders: deque[_Order] = field(default_factory=deque)
    keepalives: list[_KeepAlive] = field(default_factory=list)
    published: Values = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # what was logged last, by kind: said once, not at each turn
    last_answer: float | None = None
    requests: int = 0
    errors: int = 0


ACTION, KEEPALIVE, POLL = "action", "keepalive", "poll"
POLL_RANK = 3
STOPPING = "le démon s'arrête"


class Bus(threading.Thread):
    """Owns one line. Its public methods may be called from any thread; none of them waits for the line."""

    def __init__(self, settings: LineSettings, publish: Publish, store: Store | None = None) -> None:
        super().__init__(name=f"bus {settings.port}", daemon=True)
        self.settings = settings
        self.line = Line(settings)
        self._publish = publish
        self._store = store or Store(None)
        self._members: dict[int, Member] = {}
        self._guests: list[_Task] = []  # of those who do not live here; who has waited longest is first
        self._changed = threading.Condition()
        self._stopping = False
        self._began = time.monotonic()

    # --- For other threads -------------------------------------------------------------------------------------------

    def put(self, config: ChargerConfig, language: str) -> None:
        """Take a charger on, or anew if its configuration has changed."""
        memory = self._store.load(config.id, f"{config.profile.id} {config.line.port} {config.unit}")
        charger = Charger(config.profile, config.unit, memory, language, config.unverified)
        with self._changed:
            self._dismiss(config.id, "la configuration du chargeur a changé")
            self._members[config.id] = Member(config, charger)
            self._changed.notify()

    def remove(self, charger: int) -> None:
        with self._changed:
            self._dismiss(charger, "le chargeur a été retiré")

    def act(self, charger: int, name: str, value: object = None) -> Future[Values]:
        """Queue an action; the future has the charger's values afterwards, or ActionError or ModbusError.

        An action that waits right behind another of the same name replaces it: a slider that is dragged leaves its
        last value, and everyone who waited hears how that one ended.
        """
        future: Future[Values] = Future()
        with self._changed:
            member = self._members[charger]
            if member.orders and member.orders[-1].name == name:
                member.orders[-1].value = value
                member.orders[-1].futures.append(future)
            elif len(member.orders) >= MAX_QUEUED_ACTIONS:
                future.set_exception(ActionError(f"trop d'actions en attente ({MAX_QUEUED_ACTIONS})"))
            else:
                member.orders.append(_Order(name, value, [future]))
            self._changed.notify()
        return future

    def visit(self, job: Job[T]) -> Future[T]:
        """Carry out a job of someone who does not live here, between the turns of those who do. It may only read."""
        future: Future[T] = Future()
        with self._changed:
            if self._stopping:
                future.set_exception(ActionError(STOPPING))
            else:
                self._guests.append(_Task(job, [future]))
                self._changed.notify()
        return future

    def read_once(self, config: ChargerConfig, language: str) -> Future[Values]:
        """Read a charger that is not one of ours."""
        guest = Charger(config.profile, config.unit, None, language, config.unverified)
        return self.visit(patient(guest.poll(whole=True)))

    def status(self) -> dict[int, dict[str, object]]:
        """For the health page, by charger: online, seconds since the last answer, requests, errors."""
        now = time.monotonic()
        with self._changed:
            return {
                charger: {
                    "online": int(bool(member.online)),
                    "last_answer_s": None if member.last_answer is None else round(now - member.last_answer, 1),
                    "requests": member.requests,
                    "errors": member.errors,
                    "error_rate": round(member.errors / member.requests, 4) if member.requests else 0,
                    "frames_per_second": round(member.requests / max(1.0, now - self._began), 3),
                }
                for charger, member in self._members.items()
            }

    def load(self) -> float:
        """Part of the time, since the start, in which a transaction was under way."""
        return round(self.line.statistics.busy / max(1.0, time.monotonic() - self._began), 3)

    def stop(self) -> None:
        """Ask the thread to end after the transaction in flight; `join` waits for it."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    # --- The thread: whose turn is it? -------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            while (turn := self._next_turn()) is not None:
                turn()
        finally:
            with self._changed:
                self._stopping = True
                for charger in list(self._members):
                    self._dismiss(charger, STOPPING)
                guests, self._guests = self._guests, []
            for guest in guests:
                _fail(guest.futures, ActionError(STOPPING))
            self.line.close()

    def _next_turn(self) -> Callable[[], None] | None:
        """Wait for the most urgent thing to do; None when the bus is to stop."""
        with self._changed:
            while not self._stopping:
                now = time.monotonic()
                best: tuple[int, float, Callable[[], None]] | None = None
                wake_at = now + IDLE_S
                for rank, due, ready_at, turn in self._turns(now):
                    if ready_at > now:
                        wake_at = min(wake_at, ready_at)
                    elif best is None or (rank, due) < best[:2]:
                        best = (rank, due, turn)
                if best is not None:
                    return best[2]
                self._changed.wait(wake_at - now)
        return None

    def _turns(self, now: float) -> Iterator[tuple[int, float, float, Callable[[], None]]]:
        """(rank, due, when it can be, what to do); the lowest rank goes first, then who waits longest."""
        for member in self._members.values():
            for rank, due, kind in self._wishes(member, now):
                yield rank, due, self._ready_at(member, kind, due), partial(self._take, member, kind)
        for guest in self._guests:
            ready_at = guest.resume_at if guest.step is None else self._free_at(guest.step)
            yield POLL_RANK, guest.began, ready_at, partial(self._attend, guest)

    def _wishes(self, member: Member, now: float) -> Iterator[tuple[int, float, str]]:
        """(rank, due, kind) of what this charger has to do."""
        acting = ACTION in member.tasks or bool(member.orders)
        if acting:
            yield 1, 0.0, ACTION
        if member.online and member.keepalives and not member.failures:
            due, period = min((item.due, item.keep.every) for item in member.keepalives)
            yield 0 if now > due + LATE_KEEPALIVE * period else 2, due, KEEPALIVE
        if not acting:
            yield POLL_RANK, max(member.next_poll if member.online else 0.0, member.retry_at), POLL

    def _ready_at(self, member: Member, kind: str, due: float) -> float:
        task = member.tasks.get(kind)
        if task is None:
            return due
        if task.step is None:
            return task.resume_at
        free_at = self._free_at(task.step)
        return max(free_at, member.retry_at) if kind == POLL else free_at

    def _free_at(self, step: Ask) -> float:
        return self.line.free_at(step.request, step.pause)

    # --- The thread: a turn ------------------------------------------------------------------------------------------

    def _take(self, member: Member, kind: str) -> None:
        """Advance a task by one step: a transaction, or the little that lies between two."""
        with self._changed:
            task = member.tasks.get(kind) or self._begin(member, kind)
        try:
            if task.step is None:
                task.advance()
            else:
                self._transact(member, kind, task, task.step)
        except StopIteration as stop:
            self._conclude(member, kind, task, stop.value, None)
        except (ActionError, ModbusError) as error:
            self._conclude(member, kind, task, None, error)
        except Exception as error:
            log.exception("Chargeur %s : erreur interne", member.config.id)
            self._conclude(member, kind, task, None, ActionError(f"erreur interne : {error!r}"))

    def _begin(self, member: Member, kind: str) -> _Task:
        charger = member.charger
        if kind == ACTION:
            order = member.orders.popleft()
            task = _Task(charger.act(order.name, order.value), order.futures)
            member.tasks.pop(POLL, None)  # what it has read so far is of before the action
        elif kind == KEEPALIVE:
            next_one = min(member.keepalives, key=lambda item: item.due)
            task = _Task(charger.keep_alive(next_one.keep))
        elif member.online and not charger.lost_power():
            task = _Task(charger.poll())
        else:
            charger.reconnect()
            task = _Task(charger.connect())
        member.tasks[kind] = task
        return task

    def _transact(self, member: Member, kind: str, task: _Task, step: Ask) -> None:
        member.requests += 1
        try:
            task.words = self.line.transact(step.request, timeout=step.timeout, pause=step.pause)
        except PortLost as lost:
            self._lose_port(lost)
            return
        except Refused as refused:
            self._heard(member)
            task.advance(refused)
            return
        except ModbusError as error:
            member.errors += 1
            self._failed(member, kind, task, error)
            return
        self._heard(member)
        task.advance()

    def _heard(self, member: Member) -> None:
        """The charger has answered, whatever it was."""
        now = time.monotonic()
        member.failures, member.retry_at, member.last_answer = 0, 0.0, now
        for item in member.keepalives:
            if item.keep.read is not None:  # any answered request keeps it alive
                item.due = now + item.keep.every

    def _failed(self, member: Member, kind: str, task: _Task, error: ModbusError) -> None:
        """No answer, or a corrupted one: once more at once where that helps, else later, and ever later."""
        again = not isinstance(error, NoAnswer) or kind == ACTION or member.config.profile.wake
        if again and task.tries < RETRIES:
            task.tries += 1
            return
        task.tries = 0
        member.failures += 1
        member.retry_at = time.monotonic() + min(LAST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (member.failures - 1))
        if member.failures >= OFFLINE_AFTER or not member.online:
            member.tasks.pop(POLL, None)
        if member.failures >= OFFLINE_AFTER:
            self._go_offline(member, error)
        if kind == ACTION:
            task.advance(error)
        elif kind == KEEPALIVE:
            member.tasks.pop(KEEPALIVE, None)  # due as it is: it goes first once the charger answers a poll

    def _lose_port(self, lost: PortLost) -> None:
        """Nobody on this line can be reached; actions fail at once, polls go on once the port is back."""
        for member in list(self._members.values()):
            for task in member.tasks.values():
                _fail(task.futures, lost)
            member.tasks.clear()
            with self._changed:
                orders, member.orders = member.orders, deque()
            for order in orders:
                _fail(order.futures, lost)
            member.failures, member.retry_at = 0, max(self.line.reopen_at, time.monotonic() + LOST_PORT_PAUSE_S)
            self._go_offline(member, None)
        with self._changed:
            guests, self._guests = self._guests, []
        for guest in guests:
            _fail(guest.futures, lost)

    def _go_offline(self, member: Member, error: ModbusError | None) -> None:
        """Say once that the charger does not answer. The line itself reports a lost port."""
        if member.online is False:
            return
        member.online = False
        if error is not None:
            log.warning("Chargeur %s (%s) hors ligne : %s", member.config.id, member.config.profile.title, error)
            member.charger.after_silence()
            self._store.save(member.config.id, member.charger.memory)
        self._publish(member.config.id, {"online": 0}, False)

    def _attend(self, guest: _Task) -> None:
        """Advance a guest's job by one step. What the line says to it, good or bad, is the guest's own affair."""
        try:
            error: ModbusError | None = None
            if guest.step is not None:
                step = guest.step
                try:
                    guest.words = ReadOnly(self.line).transact(step.request, timeout=step.timeout, pause=step.pause)
                except PortLost as lost:
                    self._lose_port(lost)
                    return
                except ModbusError as failed:
                    error = failed
            guest.advance(error)
            guest.began = time.monotonic()  # it has had its turn: behind the polls that are due by now
        except StopIteration as stop:
            self._see_off(guest)
            for future in guest.futures:
                with contextlib.suppress(InvalidStateError):
                    future.set_result(stop.value)
        except (ActionError, ModbusError) as failed:
            self._see_off(guest)
            _fail(guest.futures, failed)
        except Exception as defect:
            log.exception("Erreur interne d'une demande sur %s", self.settings.port)
            self._see_off(guest)
            _fail(guest.futures, ActionError(f"erreur interne : {defect!r}"))

    def _see_off(self, guest: _Task) -> None:
        with self._changed, contextlib.suppress(ValueError):
            self._guests.remove(guest)

    # --- The thread: the end of a task -------------------------------------------------------------------------------

    def _conclude(
        self, member: Member, kind: str, task: _Task, values: Values | None, error: ActionError | ModbusError | None
    ) -> None:
        member.tasks.pop(kind, None)
        if kind == KEEPALIVE:
            next_one = min(member.keepalives, key=lambda item: item.due)
            next_one.due = time.monotonic() + next_one.keep.every
            self._say_once(member, kind, "maintien de la liaison refusé", error)
            return
        if kind == POLL:
            member.next_poll = max(time.monotonic(), task.began + member.config.poll)
            self._say_once(member, kind, "lecture refusée", error)
            if error is not None:
                member.next_poll = time.monotonic() + max(member.config.poll, FIRST_BACKOFF_S)
                return
            self._go_online(member)
        self._publish_values(member)
        if error is not None:
            _fail(task.futures, error)
        for future in task.futures:
            with contextlib.suppress(InvalidStateError):
                future.set_result(values if values is not None else {})
        self._store.save(member.config.id, member.charger.memory)

    def _say_once(self, member: Member, kind: str, what: str, error: Exception | None) -> None:
        reason = "" if error is None else str(error)
        if reason and member.refused.get(kind) != reason:
            log.warning("Chargeur %s : %s : %s", member.config.id, what, reason)
        member.refused[kind] = reason

    def _go_online(self, member: Member) -> None:
        if member.online:
            return
        title = member.config.profile.title
        log.info("Chargeur %s (%s) en ligne, adresse %s", member.config.id, title, member.config.unit)
        member.online = True
        member.published.clear()
        now = time.monotonic()
        member.keepalives = [
            _KeepAlive(keep, now if keep.write is not None else now + keep.every)
            for keep in member.config.profile.keepalive
        ]

    def _publish_values(self, member: Member) -> None:
        """Hand over what has changed; counters that move all the time only when they have moved by their step."""
        if not member.online:
            return
        whole = not member.published
        commands = load_catalog()
        fresh: Values = {"online": 1} if whole else {}
        for name, value in member.charger.values.items():
            before, step = member.published.get(name), commands[name].step
            small = (
                step is not None
                and isinstance(value, (int, float))
                and isinstance(before, (int, float))
                and abs(value - before) < step
            )
            if value != before and not small:
                fresh[name] = value
        member.published.update(fresh)
        if fresh:
            self._publish(member.config.id, fresh, whole)

    def _dismiss(self, charger: int, why: str) -> None:
        """Drop a charger; whoever waits for it hears why. The lock is held."""
        member = self._members.pop(charger, None)
        if member is None:
            return
        gone = ActionError(why)
        for task in member.tasks.values():
            _fail(task.futures, gone)
        for order in member.orders:
            _fail(order.futures, gone)


def _fail(futures: Iterable[Future[Any]], error: Exception) -> None:
    for future in futures:
        with contextlib.suppress(InvalidStateError):  # answered already
            future.set_exception(error)
