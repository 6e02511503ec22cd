"""A simulated charger: any profile as a box that behaves, with a vehicle in front of it.

Physics are the same for all models: a vehicle that asks, a station that offers current, a lock, a fault, a watchdog.
The profile, read backwards (`image`), puts them into registers; what the master writes becomes an order when it is
what one of the profile's actions writes. Time is time.monotonic(); the physics catch up whenever somebody looks.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Collection, Sequence

from ..charger import CHARGING, FAULT, FINISHED, NO_VEHICLE, READY, WAITING
from ..expression import Of, TextOf
from ..profile import Action, Profile
from ..rules import Value
from .image import Image, Wish
from .slave import Server
from .vehicle import MAX_CURRENT, SCENARIOS, Vehicle
from .wire import Late

VOLTAGES = (230.4, 231.1, 229.8)  # V, where the profile's example has none
USUAL_CURRENT = 16.0  # A, the limit of a box whose master has not given one
SWING = 0.004  # of the voltage, up and down
SWING_PERIOD = 37.0  # s
STEP = 5.0  # simulated seconds in which the current counts as constant
MAX_STEPS = 2000  # of one catching-up; longer ones take longer steps
REFRESH = 0.2  # s between two new measurements
RECOVERY = 3.0  # s that a box takes to come back after its watchdog has expired
LATCH_TIME = 1.5  # s that a lock takes to move
#: Codes of `state` to show, the best first, for models that do not have them all.
STATES = {
    NO_VEHICLE: (NO_VEHICLE,),
    WAITING: (WAITING, READY),
    CHARGING: (CHARGING,),
    FINISHED: (FINISHED, READY, WAITING),
    READY: (READY, WAITING),
    FAULT: (FAULT, WAITING, READY),
}
EVENTS = (
    "plug", "unplug", "charge", "pause", "finish", "fault", "clear", "authorise", "deauthorise", "power_cut",
)  # fmt: skip


class SimulatedCharger:
    """One charger of a model. `answer` is a slave of `wire`; `speed`: simulated seconds per second.

    Safe to use from several threads.
    """

    def __init__(
        self, profile: Profile, unit: int | None = None, *, speed: float = 1.0, scenario: str = "charging"
    ) -> None:
        self.profile = profile
        self.unit = profile.line.unit if unit is None else unit
        self.speed = speed
        self.vehicle = Vehicle()
        self.enabled = True
        self.authorised = True
        self.fault = False
        self.permanent = False  # the cable stays locked without a vehicle
        self.unlatched = False  # unlocked by an order, in spite of a vehicle
        self._lock = threading.RLock()
        self._image = Image(profile, profile.example.image if profile.example is not None else {})
        self._server = Server(profile, self)
        self._now = self._refreshed_at = time.monotonic()
        self._age = 0.0  # simulated seconds
        self._energy_total = self._energy_session = 0.0  # kWh
        self._session_duration = 0.0  # simulated seconds
        self._watched_at: float | None = None  # the last sign of life of the master; None: none yet
        self._expired = False
        self._recovered_at = -math.inf
        self._wishes: Sequence[Wish] = ()
        self._answer_after: float | None = None
        self._scenario = SCENARIOS["idle"]
        self._set_up()
        session = self._energy_session, self._session_duration
        self.start(scenario)
        if self.vehicle.plugged:  # the example's session goes on
            self._energy_session, self._session_duration = session
            self._show()

    # --- From outside ------------------------------------------------------------------------------------------------

    def answer(self, pdu: bytes) -> bytes | Late | None:
        """The PDU of the answer to a question."""
        with self._lock:
            self._advance()
            self._hear("any")
            self._answer_after = None
            answer = self._server.answer(pdu)
            return answer if self._answer_after is None else Late(answer, self._answer_after)

    def start(self, scenario: str) -> None:
        """Begin a scenario (`vehicle.SCENARIOS`)."""
        with self._lock:
            self._advance()
            self._scenario, self._age = SCENARIOS[scenario], 0.0
            for what in self._scenario.start:
                self._happen(what)
            self._show()

    def play(self, what: str) -> None:
        """Let something happen, now: one of EVENTS."""
        with self._lock:
            self._advance()
            self._happen(what)
            self._show()

    def values(self) -> dict[str, Value]:
        """The info commands' values, as the profile reads them from the registers now."""
        with self._lock:
            self._advance()
            values = {name: self._image.value(name) for name in self.profile.commands}
            return {name: value for name, value in values.items() if value is not None}

    # --- Registers, for the Modbus side -----------------------------------------------------------------------------

    def read(self, table: str, address: int, count: int) -> tuple[int, ...]:
        return self._image.read(table, address, count)

    def write(self, table: str, address: int, values: Sequence[int]) -> None:
        before = self._image.copy()
        self._image.write(table, address, values)
        self._wishes = ()  # the master may have changed what they hang on
        last = address + len(values) - 1
        points = self.profile.points
        touched = {
            name
            for name, point in points.items()
            if point.writable and point.table == table and address <= point.address and point.last <= last
        }
        written = self._image.points(touched)
        for name in touched & written.keys():
            back = points[name].read_back
            if back is not None:
                self._image.set(back, written[name])
            timeout = points[name].write_timeout
            if timeout is not None and timeout > self.profile.timeout:
                self._answer_after = LATCH_TIME
            self._hear(name)
        for name, action in self.profile.actions.items():
            if self._is_ordered(action, touched, before):
                self._obey(name)
        self._show()

    def _is_ordered(self, action: Action, touched: set[str], before: Image) -> bool:
        """Whether this write has completed what the action writes: its points hold what it gives them."""
        known = before.points()
        writes = [write for write in action.writes if write.when.holds(known)]
        if touched.isdisjoint(write.point for write in writes):
            return False
        held = self._image.points([write.point for write in writes])
        for write in writes:
            value = held.get(write.point)
            if isinstance(write.to, str):
                least = self.profile.limit.min if self.profile.limit is not None else 0
                if write.to != "same" and (isinstance(value, str) or value is None or value < least):
                    return False
            elif value != write.to:
                return False
        return True

    def _obey(self, action: str) -> None:
        match action:
            case "charge_start":
                self.enabled = True
            case "charge_stop":
                self.enabled = False
            case "cable_lock":
                self.permanent, self.unlatched = True, False
            case "cable_unlock" if not self._draws():
                self.permanent, self.unlatched = False, True

    # --- Physics -----------------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        """Take from the example what a box of this model is like, and let it be ready to charge."""
        image = self._image
        if self.profile.example is None:
            image.assume(self.profile.identify)
        self.permanent = bool(image.number("cable_locked_permanently"))  # where no action has set it yet
        serial = self.profile.commands.get("serial")
        if isinstance(serial, Of) and not image.value("serial"):
            image.set(serial.point, f"SIM{self.unit:03}")
        limit = self.profile.limit
        if limit is not None and self._limit() < limit.min:
            self._give_limit(("set_current_limit", "charge_start"))
        if image.obeys("charge_enabled") and image.number("charge_enabled") == 0:
            self._give_limit(("charge_start",))
        self._temper()
        self._energy_total = image.number("energy_total") or 0.0
        self._energy_session = image.number("energy_session") or 0.0
        self._session_duration = image.number("session_duration") or 0.0

    def _give_limit(self, actions: Collection[str]) -> None:
        """Do what an action of a former master would have done."""
        for action in (self.profile.actions.get(name) for name in actions):
            for write in action.writes if action is not None else ():
                if write.when.holds(self._image.points()):
                    value = min(USUAL_CURRENT, self._highest()) if isinstance(write.to, str) else write.to
                    self._image.set(write.point, value)
                    back = self.profile.points[write.point].read_back
                    if back is not None:
                        self._image.set(back, value)

    def _highest(self) -> float:
        limit = self.profile.limit
        if limit is None:
            return USUAL_CURRENT
        installed = self._image.points([limit.max_point]).get(limit.max_point) if limit.max_point else None
        return installed if isinstance(installed, (int, float)) and installed >= limit.min else limit.max

    def _temper(self) -> None:
        """The example's own voltages, and how its currents and power differ from what is offered."""
        image = self._image
        voltages = [image.number(f"voltage_{phase}") or 0.0 for phase in (1, 2, 3)]
        self._voltages = [shown if shown > 100 else usual for shown, usual in zip(voltages, VOLTAGES, strict=True)]
        currents = [image.number(f"current_{phase}") for phase in (1, 2, 3)]
        self._factors = [1.0, 1.0, 1.0]
        self._phases = sum(current is not None for current in currents) or 3
        self._power_factor = 1.0
        limit = min(self._limit(), MAX_CURRENT)
        if image.value("state") != CHARGING or limit <= 0:
            return
        flowing = [current / limit for current in currents if current is not None and 0.8 < current / limit < 1.2]
        self._phases = len(flowing) or self._phases
        self._factors = [*flowing, 1.0, 1.0, 1.0][:3]
        power = image.number("power") or 0.0
        phase_power = self._voltages[0] * limit
        if power > phase_power / 2:
            self._phases = max(1, min(3, round(power / phase_power)))
            self._power_factor = power / self._apparent(limit)

    def _advance(self) -> None:
        """Let the time pass that has passed since the last look."""
        now = time.monotonic()
        passed, self._now = max(0.0, now - self._now), now
        self._watch()
        end = self._age + passed * self.speed
        step = max(STEP, (end - self._age) / MAX_STEPS)
        happened = False
        while self._age < end:
            until = min(end, self._age + step)
            event = next(iter(self._scenario.between(self._age, until)), None)
            if event is not None:
                until = event[0]
            self._charge(until - self._age)
            self._age = until
            if event is not None:
                self._happen(event[1])
                happened = True
        if happened or now - self._refreshed_at >= REFRESH:
            self._show()

    def _charge(self, seconds: float) -> None:
        current = self._current()
        energy = self._power(current) * seconds / 3_600_000
        self.vehicle.take(energy)
        self._energy_total += energy
        self._energy_session += energy
        self._session_duration += seconds if self.vehicle.plugged else 0

    def _hear(self, sign: str) -> None:
        """The master has written this point, or ("any") asked anything: is it what the watchdog waits for?"""
        watchdog = self.profile.watchdog
        if watchdog is None or sign != watchdog.refreshed_by:
            return
        if self._expired:
            self._recovered_at = self._now + RECOVERY
        self._watched_at, self._expired = self._now, False

    def _watch(self) -> None:
        """Whether the master has been silent for too long, since it was first heard."""
        watchdog = self.profile.watchdog
        if watchdog is not None and self._watched_at is not None:
            self._expired = self._now - self._watched_at > watchdog.timeout

    def _orphaned(self, consequence: str) -> bool:
        """Whether the box shows this consequence of its watchdog."""
        watchdog = self.profile.watchdog
        gone = self._expired or self._now < self._recovered_at
        return watchdog is not None and watchdog.on_expiry == consequence and gone

    def _limit(self) -> float:
        """A per phase that the master allows."""
        if self._image.obeys("current_limit"):
            return self._image.number("current_limit") or 0.0
        action = self.profile.actions.get("set_current_limit")
        names = [write.point for write in action.writes if write.to == "value"] if action is not None else []
        values = self._image.points(names)
        value = values.get(names[0]) if names else USUAL_CURRENT
        return value if isinstance(value, (int, float)) else 0.0

    def _offered(self) -> float:
        """A per phase that the station offers the vehicle now."""
        if self._broken() or not self.authorised or self._orphaned("pause"):
            return 0.0
        limit, least = self._limit(), self.profile.limit.min if self.profile.limit is not None else 0.0
        if not self.enabled or limit < least:
            return 0.0
        return least if self._orphaned("minimum") else limit

    def _broken(self) -> bool:
        return self.fault or self._orphaned("fault")

    def _current(self) -> float:
        return self.vehicle.current(self._offered())

    def _draws(self) -> bool:
        return self._current() > 0

    def _live_phases(self) -> int:
        """Phases in use: what the master asked for, as far as it can."""
        action = self.profile.actions.get("set_phases")
        if action is not None:
            names = [write.point for write in action.writes if write.to == "value"]
            asked = self._image.points(names).get(names[0]) if names else None
            if asked in (1, 3):
                return int(asked)
        return self._phases

    def _voltage(self, phase: int) -> float:
        swing = math.sin(2 * math.pi * self._age / SWING_PERIOD + phase)
        return self._voltages[phase] * (1 + SWING * (swing - math.sin(phase)))

    def _currents(self, current: float) -> list[float]:
        live = self._live_phases()
        return [current * factor if phase < live else 0.0 for phase, factor in enumerate(self._factors)]

    def _apparent(self, current: float) -> float:
        return sum(self._voltage(phase) * flow for phase, flow in enumerate(self._currents(current)))

    def _power(self, current: float) -> float:
        return self._power_factor * self._apparent(current)

    # --- Events ------------------------------------------------------------------------------------------------------

    def _happen(self, what: str) -> None:
        match what:
            case "plug" | "charge":
                if not self.vehicle.plugged:
                    self.vehicle.plug()
                    self.unlatched, self._energy_session, self._session_duration = False, 0.0, 0.0
                self.vehicle.asks = self.vehicle.asks or what == "charge"
            case "unplug":
                self.vehicle.unplug()
                self.unlatched = False
            case "pause":
                self.vehicle.asks = False
            case "finish":
                self.vehicle.take(self.vehicle.room)
            case "fault":
                self.fault = True
            case "clear":
                self.fault = False
            case "authorise":
                self.authorised = True
            case "deauthorise":
                self.authorised = False
            case "power_cut":
                for name, point in self.profile.points.items():
                    if point.power_up is not None:
                        self._image.set(name, point.power_up)
            case _:
                raise ValueError(f"{what}: one of {', '.join(EVENTS)}")

    # --- Physics into registers --------------------------------------------------------------------------------------

    def _state(self) -> int:
        vehicle = self.vehicle
        if self._broken():
            return FAULT
        if not vehicle.plugged:
            return NO_VEHICLE
        if self._draws():
            return CHARGING
        if vehicle.full:
            return FINISHED
        return READY if self._offered() > 0 else WAITING

    def _show(self) -> None:
        self._refreshed_at = self._now
        image = self._image
        if image.obeys("charge_enabled"):
            self.enabled = image.number("charge_enabled") != 0
        if image.obeys("cable_locked_permanently"):
            self.permanent = bool(image.number("cable_locked_permanently"))
        current, state = self._current(), self._state()
        locked = self.permanent or (self.vehicle.plugged and not (self.unlatched and current == 0))
        image.memories = {
            "charge_enabled": int(self.enabled),
            "current_limit": self._limit(),
            "cable_locked_permanently": int(self.permanent),
        }
        states = STATES[state] if self.vehicle.plugged or state != FAULT else (FAULT, NO_VEHICLE)
        wishes: list[Wish] = [("state", states), ("error_code", self._faults() if self._broken() else (0,))]
        if state != FAULT:
            wishes += [("connected", (int(self.vehicle.plugged),)), ("charge_enabled", (int(self.enabled),))]
        wishes += [("cable_locked", (int(locked),)), ("cable_locked_permanently", (int(self.permanent),))]
        if wishes != self._wishes:
            image.reach(wishes, hints=(self._offered(),))
            self._wishes = wishes
        for phase, flow in enumerate(self._currents(current)):
            image.show(f"voltage_{phase + 1}", self._voltage(phase))
            image.show(f"current_{phase + 1}", flow)
        image.show("power", self._power(current))
        image.show("energy_total", self._energy_total)
        image.show("energy_session", self._energy_session)
        image.show("session_duration", self._session_duration)
        image.show("phases", self._live_phases())
        image.show("current_limit", self._limit())

    def _faults(self) -> tuple[Value, ...]:
        """Codes of faults that the profile knows."""
        code, text = self.profile.commands.get("error_code"), self.profile.commands.get("error_text")
        if isinstance(code, Of) and isinstance(text, TextOf) and text.point == code.point:
            return (*(known for known in text.codes if known), *text.bits) or (1,)
        return (1,)
