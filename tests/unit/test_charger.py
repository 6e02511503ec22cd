"""One charger, driven step by step against a register image: what is shown, what is written, what is remembered."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.charger import ActionError, Charger
from evchargerd.expression import Of
from evchargerd.job import Ask, Job, Wait
from evchargerd.memory import Memory
from evchargerd.modbus.errors import NoAnswer, Refused
from evchargerd.modbus.frame import Request
from evchargerd.profile import KeepAlive, Profile, Write
from evchargerd.rules import Value, When

T = TypeVar("T")
Written = tuple[int, int, tuple[int, ...]]  # function, address, values
BUSY = 6  # Modbus exception: not now


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time(datetime(2026, 3, 1, tzinfo=UTC), tick=False) as frozen:
        yield frozen


class Station:
    """A charger and its registers; waiting moves the clock."""

    def __init__(self, model: str | Profile, clock: FrozenDateTimeFactory, **options: Any) -> None:
        self.profile = profile.load(model) if isinstance(model, str) else model
        assert self.profile.example is not None
        unreadable = [point for point in self.profile.points.values() if not point.readable]
        addresses = {str(a): a for point in unreadable for a in range(point.address, point.last + 1)}
        self.slave = ImageSlave.of(self.profile.example, addresses)
        self.clock = clock
        self.refusals: dict[int, int] = {}  # exception code by first address of a read
        self.waited: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None
        self.charger = Charger(self.profile, self.profile.line.unit, **options)

    def restart(self, **options: Any) -> None:
        """The daemon starts again; the charger and what is remembered of it stay."""
        self.charger = Charger(self.profile, self.profile.line.unit, self.charger.memory, **options)

    def run(self, job: Job[T]) -> T:
        try:
            step = next(job)
        except StopIteration as stop:
            nothing: T = stop.value
            return nothing
        return self.go_on(job, step)

    def go_on(self, job: Job[T], step: Ask | Wait) -> T:
        """Do all that the job asks for from this step on."""
        try:
            while True:
                step = self._answer(job, step)
        except StopIteration as stop:
            result: T = stop.value
            return result

    def stop_at(self, job: Job[T], there: Callable[[Request], bool]) -> Ask:
        """Do what the job asks for, up to the first request that is so."""
        step = next(job)
        while not (isinstance(step, Ask) and there(step.request)):
            step = self._answer(job, step)
        return step

    def _answer(self, job: Job[T], step: Ask | Wait) -> Ask | Wait:
        if isinstance(step, Wait):
            self.waited.append(step.seconds)
            self.clock.tick(step.seconds)
            self.on_wait()
            return next(job)
        request = step.request
        pdu = self.slave(request.pdu)
        if pdu is None:
            return job.throw(NoAnswer(request.unit, "ligne", step.timeout))
        code = self.refusals.get(request.address) if not request.is_write else None
        if code is not None or pdu[0] & 0x80:
            return job.throw(Refused(request.unit, request.function, code or pdu[1]))
        return job.send(request.decode(pdu))

    def set(self, table: str, *words: tuple[int, int]) -> None:
        self.slave.image.setdefault(table, {}).update(words)

    def poll(self) -> Mapping[str, Value]:
        return self.run(self.charger.poll())

    def connect(self) -> Mapping[str, Value]:
        return self.run(self.charger.connect())

    def act(self, name: str, value: object = None) -> Mapping[str, Value]:
        return self.run(self.charger.act(name, value))

    @property
    def writes(self) -> list[Written]:
        return self.slave.writes


def heidelberg(clock: FrozenDateTimeFactory, state: int = 7, **options: Any) -> Station:
    station = Station("heidelberg-ec", clock, **options)
    station.set("input", (5, state))
    station.connect()
    return station


def state_after(station: Station, *codes: int) -> list[Value]:
    """`state` as each of these codes of register 5 comes, one after the other."""
    shown = []
    for code in codes:
        station.set("input", (5, code))
        shown.append(station.poll()["state"])
    return shown


# Heidelberg, register 5: 2 A1, 4 B1, 5 B2, 6 C1, 7 C2, 9 E, 1 starting. It has no code for "finished".
A1, B1, B2, C1, C2, E, STARTING = 2, 4, 5, 6, 7, 9, 1


# --- State -----------------------------------------------------------------------------------------------------------


def test_current_offered_before_the_vehicle_has_drawn_any_is_ready(clock: FrozenDateTimeFactory) -> None:
    assert state_after(heidelberg(clock, A1), B1, B2) == [2, 6]


def test_current_offered_after_the_vehicle_has_charged_is_finished(clock: FrozenDateTimeFactory) -> None:
    assert state_after(heidelberg(clock, A1), B2, C2, B2) == [6, 3, 4]


def test_a_pause_is_no_end_of_the_charge(clock: FrozenDateTimeFactory) -> None:
    assert state_after(heidelberg(clock, A1), C2, B1, C1, C2, B2) == [3, 2, 2, 3, 4]


def test_the_next_vehicle_starts_anew(clock: FrozenDateTimeFactory) -> None:
    assert state_after(heidelberg(clock, A1), C2, B2, A1, B2) == [3, 4, 1, 6]


def test_a_fault_does_not_end_the_plug_in(clock: FrozenDateTimeFactory) -> None:
    assert state_after(heidelberg(clock, A1), C2, E, B2) == [3, 5, 4]


def test_a_restart_of_the_daemon_does_not_forget_that_the_vehicle_has_charged(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, C2)
    station.restart()
    assert state_after(station, B2) == [4]


def test_a_code_that_says_nothing_keeps_the_state(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, A1)
    assert state_after(station, C2, STARTING, B2) == [3, 3, 4]
    assert "state" not in heidelberg(clock, STARTING).charger.values


def test_a_charger_that_says_finished_is_believed(clock: FrozenDateTimeFactory) -> None:
    """SolaX, input 1Dh: 0 available, 3 finished, 7 ready; we came after the charge itself."""
    station = Station("solax-x-evc", clock)
    state = station.profile.points["evse_state"]
    shown = []
    for code in (0, 7, 3, 7):
        station.set(state.table, (state.address, code))
        shown.append(station.run(station.charger.poll(whole=True))["state"])
    assert shown == [1, 6, 4, 4]


# --- Connected -------------------------------------------------------------------------------------------------------


def test_connected_follows_from_the_state_and_a_fault_leaves_it(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, A1)
    shown = []
    for code in (A1, B1, B2, C2, E, A1, E):
        station.set("input", (5, code))
        shown.append(station.poll()["connected"])
    assert shown == [0, 1, 1, 1, 1, 0, 0]


def test_connected_is_the_chargers_own_word_where_it_has_one(clock: FrozenDateTimeFactory) -> None:
    """ABB, 400Ah: bit 8 is the cable in the car."""
    station = Station("abb-terra-ac", clock)
    assert station.connect()["connected"] == 1
    station.set("holding", (0x400B, 0x011))
    assert station.poll()["connected"] == 0


# --- Session ---------------------------------------------------------------------------------------------------------


def test_a_session_lasts_until_the_vehicle_is_unplugged_and_is_shown_until_the_next(
    clock: FrozenDateTimeFactory,
) -> None:
    station = heidelberg(clock, A1)
    assert "session_duration" not in station.charger.values
    station.set("input", (5, B1))
    assert station.poll()["session_duration"] == 0
    clock.tick(90)
    station.set("input", (5, C2))
    assert station.poll()["session_duration"] == 90
    clock.tick(3600)
    station.set("input", (5, A1))
    assert station.poll()["session_duration"] == 3690
    clock.tick(86400)
    assert station.poll()["session_duration"] == 3690
    station.set("input", (5, B1))
    assert station.poll()["session_duration"] == 0


def test_a_restart_of_the_daemon_does_not_break_the_session(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, A1)
    state_after(station, B1)
    clock.tick(60)
    station.restart()
    clock.tick(60)
    assert station.connect()["session_duration"] == 120


def test_a_vehicle_that_was_plugged_before_we_came_counts_from_our_first_look(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, C2)
    clock.tick(30)
    assert station.poll()["session_duration"] == 30


def test_a_chargers_own_session_clock_goes_before_ours(clock: FrozenDateTimeFactory) -> None:
    """Mennekes, 0B04h: 3600 s in the example."""
    assert Station("mennekes-compact", clock).connect()["session_duration"] == 3600


def test_energy_of_the_session_is_what_the_meter_rose_since_plugging(clock: FrozenDateTimeFactory) -> None:
    """Heidelberg, 17 and 18: VAh since it was built; 15 and 16 since power-on, 8200 VAh in the example."""
    station = heidelberg(clock, C2)
    assert station.charger.values["energy_session"] == 8.2, "plugged before we came: the charger's own count"
    station.set("input", (5, A1))
    station.poll()
    station.set("input", (5, C2), (18, 63241))
    assert station.poll()["energy_session"] == 0
    station.set("input", (18, 65241))
    assert station.poll()["energy_session"] == 2
    station.restart()
    station.set("input", (17, 2), (18, 0))
    assert station.poll()["energy_session"] == 2.295  # 2 * 65536 - (65536 + 63241) = 2295 VAh
    station.set("input", (5, A1))
    assert station.poll()["energy_session"] == 2.295, "the last session, until the next"
    station.set("input", (18, 500))
    assert station.poll()["energy_session"] == 2.295
    station.set("input", (5, B1))
    assert station.poll()["energy_session"] == 0


# --- The lock of the cable -------------------------------------------------------------------------------------------

# ABB, 400Bh: 0x001 cable in the station, 0x010 locked in the station, 0x100 plugged into the car.
IN_STATION, LOCKED, IN_CAR = 0x001, 0x010, 0x100


def abb(clock: FrozenDateTimeFactory, lock: int, **options: Any) -> Station:
    station = Station("abb-terra-ac", clock, **options)
    station.set("holding", (0x400B, lock), (0x400D, 0x0200))  # B2: plugged, PWM on, the car does not ask

    def follow(table: str, address: int, value: int) -> None:
        held = station.slave.image["holding"]
        if address == 0x4101:
            held[0x4023] = value
        if address == 0x4103:
            held[0x400B] = held[0x400B] & ~LOCKED | (LOCKED if value else 0)

    station.slave.on_write = follow
    station.connect()
    return station


def lock_values(values: Mapping[str, Value]) -> tuple[Value, ...]:
    return values["cable_locked"], values["cable_locked_permanently"], values["cable_state"]


def test_the_permanent_lock_that_cannot_be_read_back_is_remembered_over_a_restart(clock: FrozenDateTimeFactory) -> None:
    station = abb(clock, IN_STATION | LOCKED | IN_CAR)
    assert lock_values(station.charger.values) == (1, 0, 1)
    assert lock_values(station.act("cable_lock")) == (1, 1, 3)
    station.restart()
    assert lock_values(station.connect()) == (1, 1, 3)
    assert lock_values(station.act("cable_unlock")) == (0, 0, 0)
    assert station.writes == [(6, 0x4103, (1,)), (6, 0x4103, (0,))]


def test_a_cable_locked_without_a_car_for_3_s_is_locked_permanently(clock: FrozenDateTimeFactory) -> None:
    station = abb(clock, IN_STATION | LOCKED)
    assert lock_values(station.charger.values) == (1, 0, 1)
    clock.tick(2.9)
    assert lock_values(station.poll()) == (1, 0, 1)
    clock.tick(0.1)
    assert lock_values(station.poll()) == (1, 1, 3)


def test_the_3_s_are_without_a_break(clock: FrozenDateTimeFactory) -> None:
    station = abb(clock, IN_STATION | LOCKED)
    clock.tick(2)
    station.set("holding", (0x400B, IN_STATION | LOCKED | IN_CAR))
    station.poll()
    clock.tick(2)
    station.set("holding", (0x400B, IN_STATION | LOCKED))
    assert lock_values(station.poll()) == (1, 0, 1)
    clock.tick(3)
    assert lock_values(station.poll()) == (1, 1, 3)


def test_the_time_while_the_charger_was_away_does_not_count(clock: FrozenDateTimeFactory) -> None:
    station = abb(clock, IN_STATION | LOCKED)
    clock.tick(1)
    station.charger.reconnect()
    clock.tick(600)
    assert lock_values(station.connect()) == (1, 0, 1)
    clock.tick(3)
    assert lock_values(station.poll()) == (1, 1, 3)


def test_a_lock_order_that_the_latch_does_not_follow_is_told_and_not_remembered_as_done(
    clock: FrozenDateTimeFactory,
) -> None:
    station = abb(clock, IN_STATION)
    station.slave.on_write = lambda *_: None
    with pytest.raises(ActionError, match="n'a pas exécuté cable_lock : cable_locked est à 0 au lieu de 1"):
        station.act("cable_lock")
    assert sum(station.waited) == pytest.approx(5, abs=0.31), "the latch is given 5 s"
    assert lock_values(station.poll()) == (0, 0, 0)


def test_without_a_cable_a_lock_order_is_taken_on_trust(clock: FrozenDateTimeFactory) -> None:
    station = abb(clock, 0)
    station.slave.on_write = lambda *_: None
    assert lock_values(station.act("cable_lock")) == (0, 1, 2)


def test_the_write_that_moves_the_latch_is_given_more_time(clock: FrozenDateTimeFactory) -> None:
    """ABB answers 4103h once the motor has moved."""
    station = abb(clock, IN_STATION)
    step = station.stop_at(station.charger.act("cable_lock"), lambda request: request.is_write)
    assert (step.request.address, step.timeout) == (0x4103, 8)


def test_a_tethered_charger_refuses_a_lock_order_in_the_users_language(clock: FrozenDateTimeFactory) -> None:
    station = Station("abb-terra-ac", clock, language="en_US")
    station.set("holding", (0x4000, 0x4722))  # 47h: type 2 cable
    station.connect()
    with pytest.raises(ActionError, match="tethered cable"):
        station.act("cable_lock")
    assert station.writes == []


# --- Actions: what is written ----------------------------------------------------------------------------------------

# Set 10 A, pause, resume: the writes by hand from the manuals.
PAUSE_AND_RESUME: list[tuple[str, list[Written]]] = [
    # 4100h in mA, two registers, function 16; 0 pauses.
    ("abb-terra-ac", [(16, 0x4100, (0, 10000)), (16, 0x4100, (0, 0)), (16, 0x4100, (0, 10000))]),
    # 0302h as a float (10.0 is 4120 0000h), 0D05h is the release; the heartbeat 0D00h = 55AAh goes before it.
    (
        "mennekes-compact",
        [(16, 0x0302, (0x4120, 0)), (6, 0x0D05, (0,)), (6, 0x0D00, (0x55AA,)), (6, 0x0D05, (1,))],
    ),
    # 261 in 0.1 A; 0 pauses.
    ("heidelberg-ec", [(6, 261, (100,)), (6, 261, (0,)), (6, 261, (100,))]),
    # 1000 in 0.01 A (bit 7 of 2005 is set in the example), function 16 only.
    ("evse-din", [(16, 1000, (1000,)), (16, 1000, (0,)), (16, 1000, (1000,))]),
    # 22000 in A; coil 20000 enables, and leaves the limit alone.
    ("phoenix-ev-cc-ser", [(6, 22000, (10,)), (5, 20000, (0,)), (5, 20000, (1,))]),
    # 101 in A; 0 pauses. 100 is released already.
    ("schrack-cion", [(6, 101, (10,)), (6, 101, (0,)), (6, 101, (10,))]),
]


def six(model: str, clock: FrozenDateTimeFactory) -> Station:
    station = Station(model, clock)
    if model == "abb-terra-ac":
        return abb(clock, IN_STATION | LOCKED | IN_CAR)
    station.connect()
    return station


@pytest.mark.parametrize(("model", "writes"), PAUSE_AND_RESUME, ids=[model for model, _ in PAUSE_AND_RESUME])
def test_a_charge_resumes_with_the_limit_from_before_the_pause(
    clock: FrozenDateTimeFactory, model: str, writes: list[Written]
) -> None:
    station = six(model, clock)
    assert station.act("set_current_limit", 10)["current_limit"] == 10
    assert station.act("charge_stop")["charge_enabled"] == 0
    values = station.act("charge_start")
    assert (values["charge_enabled"], values["current_limit"]) == (1, 10)
    assert station.writes == writes


def test_the_limit_from_before_the_pause_survives_a_restart(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.act("set_current_limit", 7.5)
    station.act("charge_stop")
    station.restart()
    station.connect()
    station.act("charge_start")
    assert station.writes[-1] == (6, 261, (75,))


def test_a_charge_that_nobody_has_limited_starts_with_the_highest_the_installation_allows(
    clock: FrozenDateTimeFactory,
) -> None:
    station = Station("heidelberg-ec", clock)
    station.set("holding", (261, 0))
    station.set("input", (100, 13))  # the rotary switch
    station.connect()
    station.act("charge_start")
    assert station.writes == [(6, 261, (130,))]


def test_a_limit_from_before_the_pause_is_cut_down_to_what_the_installation_allows_now(
    clock: FrozenDateTimeFactory,
) -> None:
    station = heidelberg(clock)
    station.act("charge_stop")
    station.set("input", (100, 10))
    station.charger.reconnect()
    station.connect()
    station.act("charge_start")
    assert station.writes[-1] == (6, 261, (100,))


def test_a_cable_that_carries_less_lowers_the_highest_limit(clock: FrozenDateTimeFactory) -> None:
    """Phoenix, 24001: a 20 A cable in the example; 0 without one."""
    station = Station("phoenix-ev-cc-ser", clock)
    station.connect()
    with pytest.raises(ActionError, match="21 A est hors des bornes 6 à 20 A"):
        station.act("set_current_limit", 21)
    station.set("input", (24001, 0))
    station.poll()
    station.charger.points.clear()
    station.restart()
    assert station.act("set_current_limit", 32)["current_limit"] == 32


def test_an_installed_limit_below_the_lowest_says_nothing(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    station.set("input", (100, 0))
    station.connect()
    assert station.act("set_current_limit", 16)["current_limit"] == 16


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (6, 60),
        (16, 160),
        (10.2, 102),
        (10.29, 102),
        ("10,5", 105),
        (" 12 ", 120),
        ("1e1", 100),
        (15.999, 159),
        (6.0000001, 60),
    ],
)
def test_a_value_is_taken_as_a_scenario_or_slider_gives_it_and_cut_down_to_the_step(
    clock: FrozenDateTimeFactory, given: object, written: int
) -> None:
    station = heidelberg(clock)
    assert station.act("set_current_limit", given)["current_limit"] == written / 10
    assert station.writes == [(6, 261, (written,))]


def test_an_action_before_the_first_contact_makes_contact_first(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    station.set("holding", (258, 0))
    assert station.act("set_current_limit", 10)["power"] == 11040
    assert station.writes == [(6, 258, (4,)), (6, 261, (100,))]


def test_refresh_reads_everything_and_writes_nothing(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.slave.reads.clear()
    assert station.act("refresh")["state"] == 3
    read = {(function, a) for function, address, count in station.slave.reads for a in range(address, address + count)}
    assert read >= {(4, 5), (4, 18), (4, 100), (3, 258), (3, 261)}
    assert station.writes == []


def test_two_changes_of_current_are_kept_apart_by_what_the_charger_needs(clock: FrozenDateTimeFactory) -> None:
    """Mennekes asks for 5 s."""
    station = Station("mennekes-compact", clock)
    station.connect()
    station.act("set_current_limit", 10)
    clock.tick(2)
    station.act("set_current_limit", 12)
    assert station.waited == [3]
    station.act("charge_stop")
    clock.tick(5)
    station.act("set_current_limit", 14)
    assert station.waited == [3]


# --- Actions: what is refused ----------------------------------------------------------------------------------------

PAUSE_HINT = " ; pour mettre en pause, utilisez charge_stop"
REFUSALS: list[tuple[str, object, str]] = [
    *[
        ("set_current_limit", value, f"set_current_limit : {shown} A est hors des bornes 6 à 16 A{hint}")
        for value, shown, hint in [
            (16.1, "16.1", ""),
            (32, "32", ""),
            (-1, "-1", ""),
            (-0.1, "-0.1", ""),
            (1e300, "1e+300", ""),
            (0, "0", PAUSE_HINT),
            ("0", "0", PAUSE_HINT),
            (3, "3", PAUSE_HINT),
            (5.9, "5.9", PAUSE_HINT),
        ]
    ],
    *[
        ("set_current_limit", value, f"set_current_limit : « {shown} » n'est pas un nombre")
        for value, shown in [
            ("abc", "abc"),
            ("", ""),
            ("#value#", "#value#"),
            ("10 A", "10 A"),
            ("1,000,5", "1,000,5"),
            (math.nan, "nan"),
            ("nan", "nan"),
            (math.inf, "inf"),
            ("-Infinity", "-Infinity"),
            ([10], "[10]"),
            ({}, "{}"),
            ("9" * 400, "9" * 40),
        ]
    ],
    *[
        ("set_current_limit", value, "set_current_limit : une valeur numérique est attendue")
        for value in (None, True, False)
    ],
    ("explode", None, "commande inconnue : « explode »"),
    ("", None, "commande inconnue : «  »"),
    ("power", 5, "« power » est une info, pas une action"),
    ("state", None, "« state » est une info, pas une action"),
    ("cable_lock", None, "le modèle Heidelberg Wallbox Energy Control n'a pas la commande « cable_lock »"),
    ("set_phases", 1, "le modèle Heidelberg Wallbox Energy Control n'a pas la commande « set_phases »"),
]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSALS, ids=lambda item: repr(item)[:40])
def test_what_cannot_be_done_is_refused_with_its_reason_and_nothing_is_written(
    clock: FrozenDateTimeFactory, name: str, value: object, reason: str
) -> None:
    station = heidelberg(clock)
    with pytest.raises(ActionError) as refused:
        station.act(name, value)
    assert str(refused.value) == reason
    assert station.writes == []


@pytest.mark.parametrize("value", [2, 0, 1.5, -1])
def test_a_number_of_phases_that_does_not_exist_is_refused(clock: FrozenDateTimeFactory, value: float) -> None:
    station = Station("mennekes-compact", clock)
    station.set("holding", (0x0D05, 0))
    station.connect()
    with pytest.raises(ActionError, match=rf"set_phases : {value} n'est pas une valeur admise \(1, 3\)"):
        station.act("set_phases", value)
    assert station.writes == []


def test_a_value_given_to_an_action_without_one_does_not_matter(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.act("charge_stop", "whatever")
    assert station.writes == [(6, 261, (0,))]


def test_a_limit_whose_unit_is_not_known_is_not_guessed(clock: FrozenDateTimeFactory) -> None:
    """EVSE DIN, 1000 is in A or in 0.01 A by register 2005: a guess could be wrong by a factor of 100."""
    station = Station("evse-din", clock)
    del station.slave.image["holding"][2005]
    station.connect()
    with pytest.raises(ActionError, match="l'unité de limit n'est pas encore connue"):
        station.act("set_current_limit", 10)
    assert station.writes == []


# --- Actions: whether they were done ---------------------------------------------------------------------------------


def test_an_action_that_the_charger_does_not_do_is_told_with_what_it_shows_instead(
    clock: FrozenDateTimeFactory,
) -> None:
    station = heidelberg(clock)
    station.slave.on_write = lambda *_: station.set("holding", (261, 160))
    with pytest.raises(ActionError) as failed:
        station.act("set_current_limit", 10)
    assert str(failed.value) == "le chargeur n'a pas exécuté set_current_limit : current_limit est à 16 au lieu de 10"
    assert sum(station.waited) == pytest.approx(3, abs=0.31), "it was given 3 s"


def test_a_register_beside_the_one_written_is_looked_at_too(clock: FrozenDateTimeFactory) -> None:
    """ABB: what was written to 4100h shows at 4022h."""
    station = abb(clock, IN_STATION | IN_CAR)
    station.slave.on_write = lambda *_: None
    with pytest.raises(ActionError, match="limit_in_force est à 16 au lieu de 10"):
        station.act("set_current_limit", 10)


def test_a_charger_that_takes_its_time_is_given_it(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.slave.on_write = lambda *_: station.set("holding", (261, 160))
    began = datetime.now(UTC)

    def after_two_seconds() -> None:
        if (datetime.now(UTC) - began).total_seconds() >= 2:
            station.set("holding", (261, 100))

    station.on_wait = after_two_seconds
    assert station.act("set_current_limit", 10)["current_limit"] == 10
    assert sum(station.waited) < 2.5


def test_a_write_that_the_charger_refuses_is_its_own_error(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    del station.slave.image["holding"][261]
    with pytest.raises(Refused, match="registre inexistant"):
        station.act("set_current_limit", 10)


# --- Power cuts ------------------------------------------------------------------------------------------------------


def test_a_power_cut_is_noticed_and_what_it_reset_is_written_again(clock: FrozenDateTimeFactory) -> None:
    """Heidelberg: 261 and, up to layout 1.0.7, 258 fall back to 0."""
    station = heidelberg(clock)
    station.act("set_current_limit", 10)
    assert not station.charger.lost_power()
    station.writes.clear()
    station.set("holding", (258, 0), (261, 0))
    station.poll()
    assert station.charger.lost_power()
    station.charger.reconnect()
    assert station.connect()["current_limit"] == 10
    assert station.writes == [(6, 258, (4,)), (6, 261, (100,))]
    assert not station.charger.lost_power()


def test_a_power_cut_while_the_daemon_was_away_is_noticed_too(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.act("set_current_limit", 10)
    station.writes.clear()
    station.restart()
    station.set("holding", (261, 0))
    assert station.connect()["current_limit"] == 10
    assert station.writes == [(6, 261, (100,))]


def test_a_pause_is_no_power_cut(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.act("set_current_limit", 10)
    station.act("charge_stop")
    station.writes.clear()
    assert not station.charger.lost_power()
    station.charger.reconnect()
    station.connect()
    assert station.writes == []


def test_what_we_have_never_written_is_left_as_a_power_cut_leaves_it(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.set("holding", (261, 0))
    station.poll()
    assert not station.charger.lost_power()
    station.charger.reconnect()
    station.connect()
    assert station.writes == []


def test_an_action_may_come_while_a_power_cut_is_being_made_good(clock: FrozenDateTimeFactory) -> None:
    """Phoenix: the coils 20000 and 20002 both fall back to 0."""
    station = Station("phoenix-ev-cc-ser", clock)
    station.set("holding", (4002, 0))
    station.connect()
    station.act("charge_stop")
    station.act("charge_start")
    station.set("coil", (20000, 0))
    station.charger.reconnect()
    job = station.charger.connect()
    step = station.stop_at(job, lambda request: request.is_write)
    station.act("cable_lock")
    station.go_on(job, step)
    assert station.slave.image["coil"] == {20000: 1, 20001: 1, 20002: 1}


# --- Registers that are not there ------------------------------------------------------------------------------------


def test_a_refused_register_costs_only_that_register_and_is_not_asked_for_again(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    del station.slave.image["input"][9]  # temperature, in the middle of the block 4..18
    values = station.connect()
    assert "temperature" not in values
    assert (values["state"], values["current_3"], values["voltage_1"], values["energy_total"]) == (
        3,
        16.1,
        231,
        128.777,
    )
    station.slave.reads.clear()
    station.poll()
    assert all(not address <= 9 < address + count for f, address, count in station.slave.reads if f == 4)
    assert station.poll()["energy_total"] == 128.777


def test_a_hole_that_the_profile_does_not_know_is_found_once(clock: FrozenDateTimeFactory) -> None:
    """Heidelberg, 13 is read over because it lies in the block 4..18; here it does not answer."""
    station = Station("heidelberg-ec", clock)
    del station.slave.image["input"][13]
    values = station.connect()
    assert (values["temperature"], values["voltage_3"], values["power"]) == (32.5, 232, 11040)
    station.slave.reads.clear()
    station.poll()
    inputs = [(address, count) for function, address, count in station.slave.reads if function == 4]
    assert sorted(inputs) == [(5, 8), (14, 5)]


def test_a_register_that_is_refused_twice_in_a_row_is_given_up(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    del station.slave.image["holding"][261]
    station.poll()
    assert "limit" not in station.charger.points, "not the value that it had before"
    station.poll()
    station.slave.reads.clear()
    station.poll()
    assert (3, 261, 1) not in station.slave.reads


def test_a_reconnection_asks_again_for_what_was_refused(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    held = station.slave.image["input"].pop(9)
    station.connect()
    station.set("input", (9, held))
    assert "temperature" not in station.poll()
    station.charger.reconnect()
    assert station.connect()["temperature"] == 32.5


def test_a_register_that_was_there_is_asked_for_again_after_a_refusal(clock: FrozenDateTimeFactory) -> None:
    """Some firmware refuses a register now and then; a value must not stand still for that until the next start."""
    station = heidelberg(clock, C2)
    station.refusals = {address: 2 for address in range(4, 19)}
    station.poll()
    station.refusals = {}
    assert state_after(station, A1) == [1]


def test_a_charger_that_is_busy_is_asked_again_and_its_values_stay(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, C2)
    station.slave.reads.clear()
    station.refusals = {5: BUSY}
    assert station.poll()["state"] == 3
    assert len(station.slave.reads) == len(station.charger.reads()), "no read was cut up for that"
    station.refusals = {}
    assert state_after(station, A1) == [1]


def test_a_charger_that_refuses_everything_is_no_charger_of_this_model(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    station.slave.image.clear()
    with pytest.raises(Refused, match="registre inexistant"):
        station.run(station.charger.poll(whole=True))


def test_silence_ends_a_poll_and_leaves_the_values(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock, C2)
    station.slave.silent = True
    with pytest.raises(NoAnswer):
        station.poll()
    assert station.charger.values["state"] == 3


# --- Writes that keep what is not theirs -----------------------------------------------------------------------------


def test_a_masked_write_keeps_the_bits_that_are_there_now(clock: FrozenDateTimeFactory) -> None:
    """EVSE DIN, 2005: bit 7 turns on hundredths of an ampere; another bit changes between our read and our write."""
    station = Station("evse-din", clock)
    station.set("holding", (2005, 0x0009), (1000, 16))
    job = station.charger.connect()
    reads = station.slave.reads
    step = station.stop_at(job, lambda request: request.address == 2005 and (3, 2005, 1) in reads)
    station.set("holding", (2005, 0x0209))
    station.go_on(job, step)
    assert station.writes == [(16, 2005, (0x0289,))]
    assert station.waited == [1], "the board needs a second after it"


def test_permanent_memory_is_never_written_with_what_it_holds(clock: FrozenDateTimeFactory) -> None:
    """Phoenix, 4000 and 4002 are retentive and hold 3 in the example."""
    station = Station("phoenix-ev-cc-ser", clock)
    station.connect()
    station.act("cable_lock")
    assert station.writes == [(5, 20002, (1,))]
    station.act("cable_unlock")
    assert station.writes[1:] == [(6, 4002, (0,)), (5, 20002, (0,))]


# --- Unverified commands ---------------------------------------------------------------------------------------------


def test_what_nobody_has_confirmed_is_off_until_it_is_asked_for(clock: FrozenDateTimeFactory) -> None:
    """Raedian: 800Ah and 8103h only by analogy with ABB."""
    station = Station("raedian", clock)
    assert "cable_locked" not in station.connect()
    assert not {"cable_locked", "cable_lock", "cable_unlock", "cable_state"} & set(station.charger.offered)
    with pytest.raises(ActionError, match="n'a pas la commande « cable_lock »"):
        station.act("cable_lock")
    assert all(not address <= 0x800A < address + count for _, address, count in station.slave.reads if count < 3)
    station.restart(unverified=True)
    assert {"cable_locked", "cable_lock", "cable_unlock", "cable_state"} <= set(station.charger.offered)


# --- Keep-alives -----------------------------------------------------------------------------------------------------


def test_a_keep_alive_that_writes_is_written_each_time(clock: FrozenDateTimeFactory) -> None:
    """Mennekes, 0D00h = 55AAh."""
    station = Station("mennekes-compact", clock)
    station.connect()
    (keep,) = station.profile.keepalive
    station.run(station.charger.keep_alive(keep))
    station.run(station.charger.keep_alive(keep))
    assert station.writes == [(6, 0x0D00, (0x55AA,))] * 2
    assert keep.every == 5


def test_a_keep_alive_that_reads_asks_for_one_register_of_the_charger(clock: FrozenDateTimeFactory) -> None:
    station = heidelberg(clock)
    station.slave.reads.clear()
    (keep,) = station.profile.keepalive
    station.run(station.charger.keep_alive(keep))
    assert (station.slave.reads, station.writes) == ([(4, 5, 1)], [])


def test_a_keep_alive_that_does_not_apply_or_has_nothing_to_ask_is_left_out(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    del station.slave.image["input"][5]
    station.connect()
    station.slave.reads.clear()
    for keep in (
        KeepAlive(5, read="charging_state"),
        KeepAlive(5, read="power", when=When.parse({"switch_max": 99})),
        KeepAlive(5, write=Write("limit", "same"), when=When.parse({"switch_max": 99})),
        KeepAlive(5, write=Write("station_lock", "same")),
    ):
        station.run(station.charger.keep_alive(keep))
    assert (station.slave.reads, station.writes) == ([], [])


def test_a_keep_alive_repeats_a_value_even_into_permanent_memory(clock: FrozenDateTimeFactory) -> None:
    loaded = profile.load("heidelberg-ec")
    points = {**loaded.points, "limit": replace(loaded.points["limit"], eeprom=True)}
    station = Station(replace(loaded, points=points), clock)
    station.connect()
    station.run(station.charger.keep_alive(KeepAlive(5, write=Write("limit", "same"))))
    assert station.writes == [(6, 261, (160,))]


# --- Values ----------------------------------------------------------------------------------------------------------


def test_values_have_the_type_of_their_command(clock: FrozenDateTimeFactory) -> None:
    station = Station("heidelberg-ec", clock)
    station.set("input", (203, 104))
    values = station.connect()
    assert values["firmware"] == "104", "a string command gets text"
    assert all(isinstance(values[name], int) for name in ("connected", "charge_enabled", "state"))


def test_a_binary_command_is_0_or_1_whatever_the_register_holds(clock: FrozenDateTimeFactory) -> None:
    loaded = profile.load("heidelberg-ec")
    station = Station(replace(loaded, commands={**loaded.commands, "connected": Of("charging_state")}), clock)
    assert station.connect()["connected"] == 1


def test_the_cable_state_follows_either_of_its_two_parts(clock: FrozenDateTimeFactory) -> None:
    """Mennekes, 0D02h: 0 is unknown; 030Dh: neither 0 nor 1 is not known either."""
    station = Station("mennekes-compact", clock)
    assert station.connect()["cable_state"] == 1
    station.set("holding", (0x0D02, 0), (0x030D, 1))
    assert station.poll()["cable_state"] == 3
    station.set("holding", (0x0D02, 1), (0x030D, 9))
    assert station.poll()["cable_state"] == 2


def test_a_value_that_is_not_known_now_keeps_the_one_before(clock: FrozenDateTimeFactory) -> None:
    """Mennekes, 0D02h: 0 is unknown."""
    station = Station("mennekes-compact", clock)
    assert station.connect()["cable_locked"] == 1
    station.set("holding", (0x0D02, 0))
    assert (station.poll()["cable_locked"], station.poll()["cable_state"]) == (1, 1)


def test_a_fresh_memory_is_each_chargers_own() -> None:
    loaded = profile.load("heidelberg-ec")
    assert Charger(loaded, 1).memory is not Charger(loaded, 1).memory
    memory = Memory()
    assert Charger(loaded, 1, memory).memory is memory


def test_a_float_register_that_jitters_is_no_event(clock: FrozenDateTimeFactory) -> None:
    station = Station("mennekes-compact", clock)
    station.connect()
    shown = station.charger.values["voltage_1"]
    # 0506h: 230.5 V is 4366 8000h; the last bits of a float are microvolts
    station.set("holding", (0x0507, 0x8003))
    station.run(station.charger.poll())
    assert station.charger.values["voltage_1"] == shown == 230.5
