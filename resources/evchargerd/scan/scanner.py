"""A scan: all its lines at the same time, each in its own thread; what was found, how far it is, and an early stop."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from ..charger import ActionError, Charger
from ..job import Job, ReadOnly, T, drive
from ..modbus.errors import ModbusError, PortLost
from ..modbus.frame import Request
from ..modbus.line import Line
from ..modbus.port import LineSettings, proves_settings
from ..profile import Profile
from ..rules import Value
from .plan import Depth, Look, known_line, possible, unknown_line
from .ports import holder
from .probe import Candidate, Reply, Stopped, Unit

log = logging.getLogger(__name__)

MAX_REPLIES = 12  # of an unknown device, that are shown
MAX_SHOWN = 3  # lines named in the text of the progress
OPEN_SECONDS = 5.0  # for the connection to a gateway
OPEN_PAUSE = 0.1
DEFAULT_POLL = 5


@dataclass(frozen=True, slots=True)
class Found:
    """Something that answers. `models`: all that fit, the best first; `charger`: its id where it is configured."""

    line: LineSettings
    unit: int
    models: tuple[Profile, ...] = ()
    replies: tuple[Reply, ...] = ()
    values: Mapping[str, Value] = field(default_factory=dict)
    charger: int | None = None

    @property
    def telling(self) -> list[Reply]:
        """Of the replies those that say most: registers before refusals."""
        return sorted(self.replies, key=lambda reply: reply.refused is not None)[:MAX_REPLIES]

    def as_json(self) -> dict[str, object]:
        line = self.line
        found: dict[str, object] = {
            "port": line.port,
            "baudrate": line.baudrate,
            "parity": line.parity,
            "stopbits": line.stopbits,
            "framing": line.framing,
            "unit": self.unit,
            "models": [{"id": model.id, "title": model.title} for model in self.models],
            "values": dict(self.values),
        }
        if self.charger is not None:
            found["charger"] = self.charger
        if not self.models:
            found["answers"] = [reply.as_json() for reply in self.telling]
        return found

    def entry(self, number: int) -> dict[str, object]:
        """The charger in a configuration document, as the best of the models that fit."""
        line = self.line
        entry: dict[str, object] = {"id": number, "model": self.models[0].id, "port": line.port, "unit": self.unit}
        if line.framing != "tcp":
            entry |= {"baudrate": line.baudrate, "parity": line.parity, "stopbits": line.stopbits}
        return entry | {"poll": DEFAULT_POLL}

    def __str__(self) -> str:
        where = f"{self.line.port}, {shown(self.line)}, adresse {self.unit}"
        if self.charger is not None:
            return f"{where} : {self.models[0].title}, déjà configuré (chargeur {self.charger})"
        if not self.models:
            return f"{where} : appareil inconnu ; il a répondu : " + " | ".join(map(str, self.telling))
        titles = [f"{model.title} ({model.id})" for model in self.models]
        return f"{where} : {titles[0]}" if len(titles) == 1 else f"{where} : l'un de {', '.join(titles)}"


def shown(line: LineSettings) -> str:
    if line.framing == "tcp":
        return "Modbus TCP"
    framing = "" if line.framing == "rtu" else f" {line.framing}"
    return f"{line.baudrate} 8{line.parity}{line.stopbits}{framing}"


def told(line: LineSettings, models: Sequence[Profile]) -> LineSettings:
    """The settings to configure: those that got an answer, or the model's own where any would have got it."""
    if not models or line.framing == "tcp" or proves_settings(line.port):
        return line
    own = models[0].line
    return LineSettings(line.port, own.baudrate, own.parity, own.stopbits, line.framing)


class Guests(Protocol):
    """A bus that owns a line and lets others ask between the turns of its own chargers."""

    @property
    def settings(self) -> LineSettings: ...

    def visit(self, job: Job[T]) -> Future[T]: ...


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owns a port: its bus, and the chargers on it by unit (id, model)."""

    bus: Guests
    chargers: Mapping[int, tuple[int, Profile]]


@dataclass(frozen=True, slots=True)
class Progress:
    """`progress` from 0 to 1, `text` in French, all that was found so far, and by port why it could not be searched."""

    progress: float
    text: str
    found: tuple[Found, ...]
    errors: Mapping[str, str]
    done: bool = False


Report = Callable[[Progress], None]


class _OwnLine:
    """A line that is ours for the time of a look. A gateway is given the time to be connected to."""

    def __init__(self, settings: LineSettings) -> None:
        self.line = Line(settings)
        self._until = time.monotonic() + (OPEN_SECONDS if settings.is_url else 0.0)

    def transact(self, request: Request, *, timeout: float, pause: float | None = None) -> tuple[int, ...]:
        while True:
            try:
                return self.line.transact(request, timeout=timeout, pause=pause)
            except PortLost:
                if time.monotonic() >= self._until:
                    raise
                time.sleep(OPEN_PAUSE)


class LineScan:
    """The search of one line. `run` ends when everything was looked at, or soon after `stop`."""

    def __init__(
        self, port: str, models: Sequence[Candidate], depth: Depth, owner: Owner | None, changed: Callable[[], None]
    ) -> None:
        self.port, self.models, self.depth = port, models, depth
        self.found: list[Found] = []
        self.error = ""
        self.text = ""
        self.progress = 0.0
        self.owned = owner is not None
        self._owner = owner
        self._changed = changed
        self._stop = threading.Event()
        self._answered: set[int] = set()
        self._noise: list[str] = []

    def stop(self) -> None:
        self._stop.set()

    def run(self) -> None:
        try:
            self._run()
        except Stopped as stopped:
            self.error = str(stopped)
        except PortLost as lost:
            self.error = lost.reason
        except (ActionError, ModbusError) as error:
            self.error = str(error)
        except Exception as error:
            log.exception("Erreur interne de la recherche sur %s", self.port)
            self.error = f"erreur interne : {error!r}"
        if not self.found and not self.error and self._noise:
            self.error = f"réponses illisibles ({', '.join(self._noise)}) : câblage, parité ou parasites ?"
        self.progress = 1.0
        self._changed()

    def _run(self) -> None:
        if self._owner is not None:
            line = self._owner.bus.settings
            for unit, (charger, model) in self._owner.chargers.items():
                self._answered.add(unit)
                self.found.append(Found(line, unit, (model,), charger=charger))
            self._changed()
            self._look_at(known_line(line, self.models, self.depth), 0.0)
            return
        busy = holder(self.port)
        if busy is not None:
            self.error = f"il est utilisé par {busy}"
            return
        half = 0.5  # of the progress, for the search of the speed
        line_found = self._look_at(unknown_line(self.port, self.models, self.depth), 0.0, half, until_found=True)
        if line_found is not None:
            self._look_at(known_line(line_found, self.models, self.depth), half)

    def _look_at(
        self, looks: Iterable[Look], begin: float, end: float = 1.0, *, until_found: bool = False
    ) -> LineSettings | None:
        """Carry looks out, from one mark of the progress to another; the settings at which somebody answered."""
        looks = tuple(looks)
        total, passed = sum(look.seconds for look in looks) or 1.0, 0.0
        for look in looks:
            self.text = f"{self.port} : {shown(look.line)}"
            self._carry(look.line, self._search(look, begin + (end - begin) * passed / total, (end - begin) / total))
            if until_found and self.found:
                return look.line
            passed += look.seconds
        return None

    def _carry(self, line: LineSettings, job: Job[None]) -> None:
        if self._owner is not None:
            self._owner.bus.visit(job).result()
            return
        own = _OwnLine(line)
        try:
            drive(job, ReadOnly(own))
        finally:
            own.line.close()

    def _search(self, look: Look, begin: float, per_second: float) -> Job[None]:
        passed = 0.0
        for number, probes in look.calls:
            self.progress = max(self.progress, begin + per_second * passed)
            self.text = f"{self.port} : {shown(look.line)}, adresse {number}"
            self._changed()
            passed += look.timeout * len(probes)
            if number in self._answered or self._one_box():
                continue
            unit = Unit(number, self._stop.is_set)
            if (yield from unit.call(probes, look.timeout)):
                self._answered.add(number)
                models = yield from unit.recognise(possible(look.line, self.models), look.line)
                values = (yield from self._values(models[0], number)) if models else {}
                line = look.line if self._owner is not None else told(look.line, models)
                self.found.append(Found(line, number, models, unit.replies, values))
                self._changed()
            elif unit.noise:
                self._noise.append(f"{shown(look.line)}, adresse {number}")

    def _values(self, model: Profile, unit: int) -> Job[Mapping[str, Value]]:
        """What the charger shows now, so that its owner knows which one it is."""
        try:
            return (yield from Charger(model, unit).poll(whole=True))
        except ModbusError as error:
            log.debug("%s : %s", model.title, error)
            return {}

    def _one_box(self) -> bool:
        """Whether a charger with Modbus TCP of its own was found: it may well answer to any unit id."""
        return self.depth is not Depth.FULL and any(
            model.line.framing == "tcp" for found in self.found for model in found.models[:1]
        )


class Scanner:
    """One scan. `owner` tells who owns a port, if anybody of ours does; `report` is called from several threads."""

    def __init__(
        self,
        ports: Sequence[str],
        profiles: Sequence[Profile],
        depth: Depth = Depth.NORMAL,
        report: Report = lambda _: None,
        owner: Callable[[str], Owner | None] = lambda _: None,
    ) -> None:
        models = [Candidate.of(profile) for profile in profiles]
        self._lines = [LineScan(port, models, depth, owner(port), self._changed) for port in ports]
        self._report = report
        self._lock = threading.Lock()
        self._said: tuple[int, int] = (-1, -1)

    def run(self) -> Progress:
        """Search all lines, and wait for the end."""
        threads = [threading.Thread(target=line.run, name=f"scan {line.port}", daemon=True) for line in self._lines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        last = self._progress(done=True)
        self._report(last)
        return last

    def stop(self) -> None:
        """End soon: after the questions that are on their way."""
        for line in self._lines:
            line.stop()

    def leave(self, ports: Iterable[str]) -> None:
        """Stop searching these ports, for their owner comes."""
        real = {os.path.realpath(port) for port in ports}
        for line in self._lines:
            if not line.owned and os.path.realpath(line.port) in real:
                line.stop()

    def _changed(self) -> None:
        """Report when a percent has passed, or when somebody was found."""
        with self._lock:
            progress = self._progress()
            said = (int(100 * progress.progress), len(progress.found))
            if said == self._said:
                return
            self._said = said
        self._report(progress)

    def _progress(self, *, done: bool = False) -> Progress:
        lines = self._lines
        found = tuple(found for line in lines for found in sorted(line.found, key=lambda found: found.unit))
        errors = {line.port: line.error for line in lines if line.error}
        progress = 1.0 if done else sum(line.progress for line in lines) / len(lines)
        busy = [line.text for line in lines if line.text and line.progress < 1.0]
        text = _summary(found) if done else " ; ".join(busy[:MAX_SHOWN]) or "Fin de la recherche"
        return Progress(progress, text, found, errors, done)


def _summary(found: Sequence[Found]) -> str:
    known = sum(bool(each.models) and each.charger is None for each in found)
    unknown = sum(not each.models for each in found)
    return f"Recherche terminée : {known} chargeur(s) trouvé(s), {unknown} appareil(s) inconnu(s)"


def configuration(found: Iterable[Found]) -> dict[str, object]:
    """A configuration document with the chargers that were recognised."""
    known = [each for each in found if each.models and each.charger is None]
    return {"chargers": [each.entry(number) for number, each in enumerate(known, 1)], "language": "fr_FR"}
