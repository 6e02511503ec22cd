"""One charger: registers become command values, an action becomes writes and a read-back. No I/O of its own.

What takes several transactions is a job (`job.py`): one charger's pause never holds up another, and an action passes a
poll between two transactions.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

from . import catalog
from .expression import Rules, SessionOf
from .job import Ask, Job, Wait
from .memory import Memory
from .modbus.errors import Refused
from .modbus.frame import Request
from .modbus.plan import Limits, Ranges, Read, plan, split, without
from .profile import Action, KeepAlive, Profile, Write
from .rules import Value, When

log = logging.getLogger(__name__)

NO_VEHICLE, WAITING, CHARGING, FINISHED, FAULT, READY = range(1, 7)  # DESIGN: the values of `state`
PLUGGED = (WAITING, CHARGING, FINISHED, READY)
EFFECT_POLL_S = 0.3  # between two looks whether the charger has done what it was told
# Beyond these a float register only jitters, and every jitter would be an event in Jeedom.
DECIMALS = {"V": 2, "A": 3, "W": 1, "kWh": 3, "°C": 1}
NOT_THERE = (0x01, 0x02, 0x03)  # exceptions that mean "I do not have this": function, address, quantity (V1.1b3, 7)


class ActionError(Exception):
    """An action that was not done; str() is a French sentence that says why."""


class Charger:
    """A charger of one model at one unit id. `values` are its commands' last known values, by logicalId."""

    def __init__(
        self,
        profile: Profile,
        unit: int,
        memory: Memory | None = None,
        language: str = "fr_FR",
        unverified: bool = False,
    ) -> None:
        self.profile, self.unit, self.language = profile, unit, language
        self.memory = memory if memory is not None else Memory()
        self.offered = profile.offered(unverified)
        self.points: dict[str, Value] = {}
        self.values: dict[str, Value] = {}
        self._words: dict[str, tuple[int, ...]] = {}
        self._reads: dict[bool, tuple[Read, ...]] = {}
        self._absent: set[str] = set()
        self._refused: dict[str, set[int]] = {}  # addresses by table that no block of the profile vouches for any more
        self._settled_at = 0.0
        self._held_since: dict[When, float] = {}
        expressions = [profile.commands[name] for name in self.offered if name in profile.commands]
        rules = [rule for item in expressions if isinstance(item, Rules) for rule in item.rules]
        self._timed = [rule.when for rule in rules if rule.for_s]
        self._counters = [item.counter for item in expressions if isinstance(item, SessionOf)]
        self._used = {name for name in self._needed() if profile.points[name].readable}
        self.reconnect()

    def reconnect(self) -> None:
        """Forget what this connection has shown: the charger may have other firmware from now on."""
        self._absent.clear()
        self._refused.clear()
        self._words.clear()
        self._held_since.clear()
        self._plan()

    def after_silence(self) -> None:
        """The charger has been silent for long: it may have lost its power, and with it what only we remember."""
        self.memory.remembered.clear()

    # --- Reading -----------------------------------------------------------------------------------------------------

    def poll(self, *, whole: bool = False) -> Job[dict[str, Value]]:
        """Read what changes (`whole`: everything); the commands' values. Raises Refused where nothing can be read."""
        refused: Refused | None = None
        for read in self._reads[whole]:
            refused = (yield from self._read(read)) or refused
        if refused is not None:
            self._plan()
            if not self._words:
                raise refused
        return self._interpret()

    def connect(self) -> Job[dict[str, Value]]:
        """First contact, or contact again: read everything, write what has to be written at the start."""
        values = yield from self.poll(whole=True)
        if (yield from self._start()):
            values = yield from self.poll()
        return values

    def lost_power(self) -> bool:
        """Whether a register has fallen back to its power-up value although something else was written."""
        return any(
            point.power_up is not None
            and self.points.get(name) == point.power_up
            and self.memory.written.get(name, point.power_up) != point.power_up
            for name, point in self.profile.points.items()
        )

    def _start(self) -> Job[bool]:
        """The writes of the start, and again what a power cut has reset; True where anything was written."""
        written: set[str] = set()
        for write in self.profile.start:
            if write.when.holds(self.points) and self.points.get(write.point) != write.to:
                try:
                    yield from self._write(write, self._target(write, None))
                except Refused as refused:  # other firmware: worth a word, not the charger
                    log.warning("%s : réglage de démarrage %s refusé : %s", self.profile.title, write.point, refused)
                    continue
                written.add(write.point)
                if write.wait:
                    yield Wait(write.wait)
        for name, value in tuple(self.memory.written.items()):  # an action may write another one meanwhile
            point = self.profile.points.get(name) if name not in written else None
            if point is not None and point.power_up is not None and self.points.get(name) == point.power_up != value:
                yield from self._write(Write(name, value), value)
                written.add(name)
        return bool(written)

    def _read(self, read: Read) -> Job[Refused | None]:
        """One read. Where the charger refuses a part of it, only that part is lost.

        It is not asked for again, unless it was there the last time: once is an accident.
        """
        request = Request.read(self.unit, read.table, read.address, read.count)
        try:
            words = yield self._ask(request)
        except Refused as refused:
            if refused.code not in NOT_THERE:
                log.debug("%s : %s", self.profile.title, refused)
                return None
            parts = split(read, self.profile.points)
            if not parts:
                self._absent.update(name for name in read.points if self._words.pop(name, None) is None)
            blamed = False
            for part in parts:
                blamed = (yield from self._read(part)) is not None or blamed
            if not blamed:  # it cannot be cut, or all its parts are there and what lies between them is not
                self._refused.setdefault(read.table, set()).update(range(read.address, read.last + 1))
            return refused
        for name in read.points:
            point = self.profile.points[name]
            start = point.address - read.address
            self._words[name] = tuple(words[start : start + point.count])
        return None

    def _ask(self, request: Request, timeout: float | None = None) -> Ask:
        return Ask(request, timeout or self.profile.timeout, self.profile.pause)

    def _plan(self) -> None:
        """The reads for a poll and for everything, without what the charger has refused."""
        points = [point for name, point in self.profile.points.items() if name in self._used - self._absent]
        known: dict[str, list[tuple[int, int]]] = {}
        for point in points:
            known.setdefault(point.table, []).append((point.address, point.last))
        blocks: Mapping[str, Ranges] = self.profile.blocks
        if not self.profile.exact:
            blocks = {table: without(ranges, self._refused.get(table, ())) for table, ranges in blocks.items()}
        limits = Limits(self.profile.max_registers, blocks, known, self.profile.exact)
        self._reads = {
            False: plan([point for point in points if not point.once], limits),
            True: plan(points, limits),
        }

    def reads(self, *, whole: bool = False) -> tuple[Read, ...]:
        """The reads of one poll, or of everything."""
        return self._reads[whole]

    def _needed(self) -> set[str]:
        """The points that what this charger offers looks at, and those that decide the scale of these."""
        profile = self.profile
        used = [
            need for command in self.offered if command in profile.commands for need in profile.commands[command].needs
        ]
        for action_name in self.offered:
            action = profile.actions.get(action_name)
            if action is None:
                continue
            for refusal in action.refusals:
                used += refusal.when.points
            used += action.expect_when.points
            for write in action.writes:
                used += self._points_of(write)
        for write in (*profile.start, *(keep.write for keep in profile.keepalive if keep.write is not None)):
            used += self._points_of(write)
        for keep in profile.keepalive:
            used += keep.when.points
        if profile.limit is not None and profile.limit.max_point is not None:
            used.append(profile.limit.max_point)
        return {*used, *(need for point in used for need in profile.points[point].needs)}

    def _points_of(self, write: Write) -> list[str]:
        point = self.profile.points[write.point]
        back = [point.read_back] if point.read_back is not None else []
        return [write.point, *write.when.points, *point.needs, *back]

    # --- What the registers mean -------------------------------------------------------------------------------------

    def _interpret(self) -> dict[str, Value]:
        self.points = self._decode()
        now = time.monotonic()
        for when in self._timed:
            if when.holds(self.points):
                self._held_since.setdefault(when, now)
            else:
                self._held_since.pop(when, None)
        fresh: dict[str, Value] = {}
        state = self._state()
        for name in self.offered:
            value: Value | None
            if name == "state":
                value = state
            elif name in self.profile.commands:
                value = self.profile.commands[name].value(self)
            else:
                value = self._computed(name, state)
            if value is not None:
                fresh[name] = _typed(value, catalog.load()[name])
        locked = fresh.get("cable_locked", self.values.get("cable_locked"))
        if "cable_state" in self.offered and isinstance(locked, int):
            permanently = fresh.get("cable_locked_permanently", self.values.get("cable_locked_permanently", 0))
            fresh["cable_state"] = locked + 2 * int(permanently)
        limit = fresh.get("current_limit")
        if self.profile.limit is not None and isinstance(limit, (int, float)) and limit >= self.profile.limit.min:
            self.memory.last_limit = limit
        self.values.update(fresh)
        return dict(self.values)

    def _decode(self) -> dict[str, Value]:
        """All points that have registers; those whose scale depends on others after these."""
        decoded: dict[str, Value] = {}
        for name in sorted(self._words, key=lambda name: bool(self.profile.points[name].needs)):
            value = self.profile.points[name].decode(self._words[name], decoded)
            if value is not None:
                decoded[name] = value
        return decoded

    def _state(self) -> int | None:
        """`state` as DESIGN defines it: the profile's rules, and what has happened in this plug-in."""
        expression = self.profile.commands.get("state")
        state = expression.value(self) if expression is not None else None
        if not isinstance(state, int):
            return None
        now = time.time()
        if state == NO_VEHICLE and self.memory.plugged is not False:
            self.memory.unplug(now, self._numbers())
        elif state in PLUGGED and not self.memory.plugged:
            self.memory.plug(now, self._numbers() if self.memory.plugged is False else {})
        if state in (CHARGING, FINISHED):
            self.memory.drawn = True
        if state == READY and self.memory.drawn:
            state = FINISHED
        return state

    def _numbers(self) -> dict[str, float]:
        """The counters that sessions are measured by, as far as they are known now."""
        counters = {name: self.points.get(name) for name in self._counters}
        return {name: value for name, value in counters.items() if isinstance(value, (int, float))}

    def _computed(self, name: str, state: int | None) -> Value | None:
        """Commands that follow from others when the profile does not name them."""
        if name == "connected" and state is not None and state != FAULT:
            return int(state in PLUGGED)
        if name == "session_duration":
            return self.memory.duration(time.time())
        return None

    # Context of the expressions

    def held_for(self, when: When) -> float:
        since = self._held_since.get(when)
        return 0.0 if since is None else time.monotonic() - since

    def remembered(self, command: str) -> Value:
        return self.memory.remembered.get(command, 0)

    def risen(self, counter: str) -> float | None:
        return self.memory.risen(counter, self._numbers())

    # --- Writing -----------------------------------------------------------------------------------------------------

    def act(self, name: str, value: object = None) -> Job[dict[str, Value]]:
        """Do an action and look whether the charger did it; the commands' values afterwards. Raises ActionError."""
        if name == "refresh":
            self._absent.clear()  # everything is asked for again, also what was refused
            self._plan()
            return (yield from self.poll(whole=True))
        action = self._action(name)
        if not self._words:
            yield from self.connect()
        elif action.refusals:
            yield from self.poll()  # what they look at may have changed since the last one
        wanted = self._checked(name, value, action)
        for refusal in action.refusals:
            if refusal.when.holds(self.points):
                raise ActionError(self._text(refusal.because))
        yield from self._settle(action)
        for write in action.writes:
            if write.when.holds(self.points):
                yield from self._write(write, self._target(write, wanted))
                if write.wait:
                    yield Wait(write.wait)
        before = {command: self.remembered(command) for command in action.remember}
        for command, kept in action.remember.items():
            self.memory.remembered[command] = wanted if kept == "value" and wanted is not None else kept
        try:
            return (yield from self._confirm(name, action, wanted))
        except ActionError:
            self.memory.remembered.update(before)
            raise

    def keep_alive(self, keep: KeepAlive) -> Job[None]:
        """One keep-alive. `when` that does not hold, or a value to repeat that is not known: nothing."""
        if not keep.when.holds(self.points):
            return
        if keep.write is not None and keep.write.to == "same" and keep.write.point not in self.points:
            return
        if keep.write is not None:
            yield from self._write(keep.write, self._target(keep.write, None), unchanged=True)
        elif keep.read is not None and keep.read not in self._absent:
            point = self.profile.points[keep.read]
            yield self._ask(Request.read(self.unit, point.table, point.address, point.count))

    def _action(self, name: str) -> Action:
        action = self.profile.actions.get(name) if name in self.offered else None
        if action is None:
            command = catalog.load().get(name)
            if command is None:
                raise ActionError(f"commande inconnue : « {name} »")
            if not command.is_action:
                raise ActionError(f"« {name} » est une info, pas une action")
            raise ActionError(f"le modèle {self.profile.title} n'a pas la commande « {name} »")
        return action

    def _checked(self, name: str, value: object, action: Action) -> float | None:
        """The action's value as the charger can hold it; None for actions without one."""
        command = catalog.load()[name]
        if command.sub_type == "other":
            return None
        number = _parsed(name, value)
        if command.sub_type == "select":
            if number not in command.values:
                allowed = ", ".join(map(str, command.values))
                raise ActionError(f"{name} : {value} n'est pas une valeur admise ({allowed})")
            return number
        limit = self.profile.limit
        assert limit is not None  # the profile's loader has seen to it
        highest = self._highest_limit()
        if not limit.min <= number <= highest:
            hint = " ; pour mettre en pause, utilisez charge_stop" if 0 <= number < limit.min else ""
            raise ActionError(f"{name} : {number:g} A est hors des bornes {limit.min:g} à {highest:g} A{hint}")
        steps = math.floor((number - limit.min) / limit.step + 1e-9)
        return self._held(action, round(limit.min + steps * limit.step, 6))

    def _highest_limit(self) -> float:
        limit = self.profile.limit
        assert limit is not None
        installed = self.points.get(limit.max_point) if limit.max_point is not None else None
        if isinstance(installed, (int, float)) and limit.min <= installed < limit.max:
            return installed
        return limit.max

    def _held(self, action: Action, number: float) -> float:
        """What the register makes of a number: cut down to its resolution."""
        write = next(write for write in action.writes if write.to == "value")
        point = self.profile.points[write.point]
        try:
            held = point.decode(point.encode(number, self.points), self.points)
        except ValueError as error:
            raise ActionError(f"{number:g} : le registre ne peut pas contenir cette valeur ({error})") from error
        return float(held) if isinstance(held, (int, float)) else number

    def _target(self, write: Write, wanted: float | None) -> float:
        if write.to == "value":
            assert wanted is not None
            return wanted
        if write.to == "last_limit":
            return min(self.memory.last_limit or math.inf, self._highest_limit())
        if write.to == "same":
            return float(self.points[write.point])
        return float(write.to)

    def _write(self, write: Write, value: float, *, unchanged: bool = False) -> Job[None]:
        """Write a point. A masked one keeps its other bits; one in EEPROM is left alone if it already reads so."""
        point = self.profile.points[write.point]
        number = int(value) if float(value).is_integer() else value
        current: tuple[int, ...] | None = None
        if point.readable and (point.mask is not None or point.eeprom) and point.name not in self._absent:
            request = Request.read(self.unit, point.table, point.address, point.count)
            current = tuple((yield self._ask(request)))
            if point.eeprom and not unchanged and point.decode(current, self.points) == number:
                return
        try:
            words = point.encode(number, self.points, current)
        except ValueError as error:
            raise ActionError(f"{point.name} : {error}") from error
        request = Request.write(self.unit, point.write_function, point.address, words)
        yield self._ask(request, point.write_timeout)
        if point.power_up is not None:
            self.memory.written[point.name] = value

    def _settle(self, action: Action) -> Job[None]:
        """Keep the distance between two changes of current that the charger needs."""
        if not self.profile.settle or not any(write.to in ("value", "last_limit") for write in action.writes):
            return
        missing = self._settled_at - time.monotonic()
        if missing > 0:
            yield Wait(missing)
        self._settled_at = time.monotonic() + self.profile.settle

    def _confirm(self, name: str, action: Action, wanted: float | None) -> Job[dict[str, Value]]:
        """Read back until the charger shows what was asked. Raises ActionError when it does not in time."""
        deadline = time.monotonic() + action.within
        while True:
            values = yield from self.poll()
            different = self._different(action, wanted)
            if not different:
                return values
            if time.monotonic() >= deadline:
                raise ActionError(f"le chargeur n'a pas exécuté {name} : {', '.join(different)}")
            yield Wait(EFFECT_POLL_S)

    def _different(self, action: Action, wanted: float | None) -> list[str]:
        """What the charger shows otherwise than expected, in words."""
        different = []
        if action.expect_when.holds(self.points):
            for command, expected in action.expect.items():
                target = wanted if expected == "value" else expected
                shown = self.values.get(command)
                if shown is not None and not _same(shown, target):
                    different.append(f"{command} est à {shown} au lieu de {target:g}")
        for write in action.writes:
            point = self.profile.points[write.point]
            if point.read_back is None or not write.when.holds(self.points):
                continue
            target, shown = self._target(write, wanted), self.points.get(point.read_back)
            if shown is not None and not _same(shown, target):
                different.append(f"{point.read_back} est à {shown} au lieu de {target:g}")
        return different

    def _text(self, text: Mapping[str, str]) -> str:
        return text.get(self.language) or text["fr_FR" if self.language.startswith("fr") else "en_US"]


def _parsed(name: str, value: object) -> float:
    """A number from what a scenario or a slider gives: a number, or text with comma or point."""
    if isinstance(value, bool) or value is None:
        raise ActionError(f"{name} : une valeur numérique est attendue")
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        raise ActionError(f"{name} : « {str(value)[:40]} » n'est pas un nombre") from None
    if not math.isfinite(number):
        raise ActionError(f"{name} : « {str(value)[:40]} » n'est pas un nombre")
    return number


def _same(shown: Value, target: float | str | None) -> bool:
    if isinstance(shown, str) or isinstance(target, str) or target is None:
        return shown == target
    return math.isclose(shown, target, rel_tol=1e-4, abs_tol=1e-3)


def _typed(value: Value, command: catalog.Command) -> Value:
    """As Jeedom's sub type has it: binary is 0 or 1, a string is text; a number with the decimals its unit deserves."""
    if command.sub_type == "binary":
        return int(bool(value))
    if command.sub_type == "string":
        return str(value)
    return round(value, DECIMALS[command.unit]) if isinstance(value, float) and command.unit in DECIMALS else value
