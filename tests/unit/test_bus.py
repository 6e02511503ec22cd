"""Whose turn is it on the line: the bus against a scripted line, without a serial port."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Mapping

import pytest
from slaves import ImageSlave

from evchargerd import bus as bus_module
from evchargerd import profile
from evchargerd.bus import Bus
from evchargerd.charger import ActionError
from evchargerd.config import ChargerConfig
from evchargerd.job import Ask, Job
from evchargerd.modbus.errors import BadAnswer, NoAnswer, PortLost, Refused
from evchargerd.modbus.frame import Request
from evchargerd.modbus.line import LineSettings

SETTINGS = LineSettings("/dev/none")
DEADLINE_S = 10.0


class ScriptedLine:
    """In place of the line: answers at once from slaves, fails as told, and keeps a diary."""

    def __init__(self, settings: LineSettings) -> None:
        self.settings = settings
        self.statistics = type("Statistics", (), {"busy": 0.0})()
        self.slaves: dict[int, ImageSlave] = {}
        self.diary: list[tuple[int, int, int]] = []  # unit, function, address
        self.faults: list[Exception] = []
        self.lost: PortLost | None = None
        self.reopen_at = 0.0
        self.timeouts = 0
        self.hook: Callable[[Request], None] = lambda _: None

    def free_at(self, request: Request, pause: float | None = None) -> float:
        return 0.0

    def transact(self, request: Request, *, timeout: float, pause: float | None = None) -> tuple[int, ...]:
        self.diary.append((request.unit, request.function, request.address))
        self.hook(request)
        if self.lost is not None:
            raise self.lost
        if self.faults:
            raise self.faults.pop(0)
        answer = self.slaves[request.unit](request.pdu)
        if answer is None:
            self.timeouts += 1
            raise NoAnswer(request.unit, "ligne", timeout)
        if answer[0] & 0x80:
            raise Refused(request.unit, request.function, answer[1])
        return request.decode(answer)

    def close(self) -> None:
        self.closed = True


class Published:
    """What the bus hands over, and a way to wait for it."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, object], bool]] = []
        self._changed = threading.Condition()

    def __call__(self, charger: int, values: Mapping[str, object], whole: bool) -> None:
        with self._changed:
            self.calls.append((charger, dict(values), whole))
            self._changed.notify_all()

    def latest(self, charger: int) -> dict[str, object]:
        merged: dict[str, object] = {}
        for who, values, _ in list(self.calls):
            if who == charger:
                merged |= values
        return merged

    def until(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, DEADLINE_S), f"never happened; published: {self.calls}"


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch, published: Published):
    monkeypatch.setattr(bus_module, "Line", ScriptedLine)
    monkeypatch.setattr(bus_module, "FIRST_BACKOFF_S", 0.02)
    bus = Bus(SETTINGS, published)
    yield bus
    bus.stop()
    if bus.ident is not None:
        bus.join(DEADLINE_S)
        assert not bus.is_alive()


def put(bus: Bus, charger: int, model: str, unit: int, *, poll: float = 3600.0) -> ImageSlave:
    model_profile = profile.load(model)
    assert model_profile.example is not None
    slave = ImageSlave.of(model_profile.example, writable={"limit": 0x4100, "limit2": 0x4101, "lock": 0x4103})
    bus.line.slaves[unit] = slave
    bus.put(ChargerConfig(charger, model_profile, SETTINGS, unit, poll), "fr_FR")
    return slave


def test_a_charger_that_connects_is_published_whole_and_online(bus: Bus, published: Published) -> None:
    put(bus, 12, "abb-terra-ac", 1)
    bus.start()
    published.until(lambda: "power" in published.latest(12))
    charger, values, whole = published.calls[0]
    assert (charger, whole) == (12, True)
    assert values["online"] == 1
    assert values["state"] == 3
    assert values["power"] == 11020


def test_only_what_changed_is_published_afterwards(bus: Bus, published: Published) -> None:
    slave = put(bus, 12, "abb-terra-ac", 1, poll=0.01)
    bus.start()
    published.until(lambda: len(published.calls) == 1)
    slave.image["holding"][0x401D] = 7000  # power, low word
    published.until(lambda: len(published.calls) == 2)
    assert published.calls[1] == (12, {"power": 7000}, False)


def test_an_action_passes_a_running_poll_between_two_reads(bus: Bus, published: Published) -> None:
    slave = put(bus, 1, "mennekes-compact", 50)
    slave.writable = frozenset({0x0D00})
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 1)
    bus.line.diary.clear()
    futures = []

    def order_once(request: Request) -> None:
        if request.function == 3 and not futures:  # the first read of the poll is in flight
            futures.append(bus.act(1, "set_current_limit", 10))

    bus.line.hook = order_once
    bus.act(1, "refresh")
    published.until(lambda: bool(futures))
    assert futures[0].result(DEADLINE_S)["current_limit"] == 10
    reads_before = [entry for entry in bus.line.diary if entry[1] == 16]
    assert reads_before, "the limit was written"


def test_an_action_overtakes_the_poll_of_another_charger(bus: Bus, published: Published) -> None:
    put(bus, 1, "mennekes-compact", 50)
    put(bus, 2, "abb-terra-ac", 1)
    order = []

    def order_once(request: Request) -> None:
        if request.unit == 50 and not order:
            order.append(bus.act(2, "set_current_limit", 8))

    bus.line.hook = order_once
    bus.start()
    order_deadline = time.monotonic() + DEADLINE_S
    while not order and time.monotonic() < order_deadline:
        time.sleep(0.001)
    with pytest.raises(ActionError, match="limit_in_force"):  # the image does not follow: the charger did not do it
        order[0].result(DEADLINE_S)
    units = [unit for unit, _, _ in bus.line.diary]
    assert units[0] == 50
    assert units[1] == 1, "the action went right after the read in flight"


def test_a_dragged_slider_leaves_one_write_of_its_last_value(bus: Bus, published: Published) -> None:
    slave = put(bus, 1, "heidelberg-ec", 1)
    futures = [bus.act(1, "set_current_limit", amps) for amps in (7, 8, 9, 10.5)]
    bus.start()
    for future in futures:
        assert future.result(DEADLINE_S)["current_limit"] == 10.5
    assert [values for _, address, values in slave.writes if address == 261] == [(105,)]


def test_a_silent_charger_is_asked_less_and_less_and_goes_offline_once(
    bus: Bus, published: Published, caplog: pytest.LogCaptureFixture
) -> None:
    slave = put(bus, 1, "abb-terra-ac", 1, poll=0.01)
    slave.silent = True
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 0)
    assert bus.line.timeouts == bus_module.OFFLINE_AFTER
    deadline = time.monotonic() + DEADLINE_S
    while bus.line.timeouts < 6 and time.monotonic() < deadline:
        time.sleep(0.001)
    slave.silent = False
    published.until(lambda: published.latest(1).get("online") == 1)
    assert [values["online"] for _, values, _ in published.calls if "online" in values] == [0, 1]
    assert sum("hors ligne" in record.message for record in caplog.records) == 1


def test_the_pauses_of_the_back_off_double_up_to_a_minute(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "FIRST_BACKOFF_S", 1.0)
    slave = put(bus, 1, "abb-terra-ac", 1)
    slave.silent = True
    member = bus._members[1]
    pauses = []
    for _ in range(9):
        before = time.monotonic()
        member.retry_at = 0.0
        while member.retry_at <= before:
            bus._take(member, "poll")
        pauses.append(round(member.retry_at - before))
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_silent_charger_costs_its_neighbour_one_time_out_per_step(bus: Bus, published: Published) -> None:
    put(bus, 1, "abb-terra-ac", 1).silent = True
    put(bus, 2, "heidelberg-ec", 2, poll=0.001)
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 0 and "power" in published.latest(2))
    units = [unit for unit, _, _ in bus.line.diary]
    runs = "".join(map(str, units))
    assert "11" not in runs, f"the neighbour was asked between any two time-outs: {runs}"


def test_a_corrupted_answer_costs_one_retry(bus: Bus, published: Published) -> None:
    put(bus, 1, "abb-terra-ac", 1)
    bus.line.faults = [BadAnswer(1, "ligne", "somme de contrôle")]
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 1)
    assert bus.line.diary[:2] == [(1, 3, 0x4000), (1, 3, 0x4000)]
    assert all("online" not in values or values["online"] == 1 for _, values, _ in published.calls)


def test_an_action_without_answer_fails_with_the_reason_after_one_retry(bus: Bus, published: Published) -> None:
    slave = put(bus, 1, "heidelberg-ec", 1)
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 1)
    slave.silent = True
    before = bus.line.timeouts
    with pytest.raises(NoAnswer, match="ne répond pas"):
        bus.act(1, "charge_stop").result(DEADLINE_S)
    assert bus.line.timeouts - before == 2


def test_a_lost_port_fails_actions_at_once_and_comes_back_by_itself(bus: Bus, published: Published) -> None:
    put(bus, 1, "heidelberg-ec", 1)
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 1)
    bus.line.lost = PortLost("/dev/none", "débranché")
    with pytest.raises(PortLost, match="débranché"):
        bus.act(1, "charge_stop").result(DEADLINE_S)
    published.until(lambda: published.latest(1).get("online") == 0)
    bus.line.lost = None
    published.until(lambda: published.latest(1).get("online") == 1)
    assert published.calls[-1][2], "everything is published anew"


def test_a_keepalive_write_is_sent_at_once_and_then_each_period(
    bus: Bus, published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(bus, 1, "mennekes-compact", 50).writable = frozenset({0x0D00})
    bus.start()
    published.until(lambda: published.latest(1).get("online") == 1)
    heartbeat = (50, 6, 0x0D00)
    deadline = time.monotonic() + DEADLINE_S
    while heartbeat not in bus.line.diary and time.monotonic() < deadline:
        time.sleep(0.001)
    assert bus.line.diary.count(heartbeat) == 1
    member = bus._members[1]
    assert member.keepalives[0].due - time.monotonic() == pytest.approx(5, abs=0.5)


def test_an_overdue_keepalive_goes_even_before_actions(bus: Bus) -> None:
    put(bus, 1, "mennekes-compact", 50)
    member = bus._members[1]
    bus._go_online(member)
    now = time.monotonic()
    bus.act(1, "charge_stop")
    ranks = {kind: rank for rank, _, kind in bus._wishes(member, now)}
    assert ranks["action"] < ranks["keepalive"]
    ranks = {kind: rank for rank, _, kind in bus._wishes(member, now + 5 * bus_module.LATE_KEEPALIVE + 0.1)}
    assert ranks["keepalive"] < ranks["action"]


def test_any_answer_puts_off_a_keepalive_that_only_reads(bus: Bus) -> None:
    put(bus, 1, "abb-terra-ac", 1)
    member = bus._members[1]
    bus._go_online(member)
    member.keepalives[0].due = 0.0
    bus._heard(member)
    assert member.keepalives[0].due == pytest.approx(time.monotonic() + 25, abs=1)


def test_a_guest_is_read_once_and_published_nowhere(bus: Bus, published: Published) -> None:
    put(bus, 1, "abb-terra-ac", 1)
    heidelberg = profile.load("heidelberg-ec")
    assert heidelberg.example is not None
    bus.line.slaves[9] = ImageSlave.of(heidelberg.example)
    bus.start()
    values = bus.read_once(ChargerConfig(0, heidelberg, SETTINGS, 9, 5.0), "fr_FR").result(DEADLINE_S)
    assert values["power"] == 11040
    assert {charger for charger, _, _ in published.calls} <= {1}
    assert set(bus.status()) == {1}


def test_removing_a_charger_tells_those_who_wait_for_it(bus: Bus) -> None:
    put(bus, 1, "abb-terra-ac", 1)
    future = bus.act(1, "charge_stop")
    bus.remove(1)
    with pytest.raises(ActionError, match="retiré"):
        future.result(0)


def test_a_session_duration_is_published_in_steps_of_a_minute(bus: Bus, published: Published) -> None:
    put(bus, 1, "abb-terra-ac", 1)
    member = bus._members[1]
    member.online = True
    member.charger.values = {"session_duration": 10, "power": 1}
    bus._publish_values(member)
    member.charger.values = {"session_duration": 69, "power": 2}
    bus._publish_values(member)
    member.charger.values = {"session_duration": 70, "power": 2}
    bus._publish_values(member)
    assert [values for _, values, _ in published.calls] == [
        {"online": 1, "session_duration": 10, "power": 1},
        {"power": 2},
        {"session_duration": 70},
    ]


def test_a_permanent_lock_that_only_we_remember_is_forgotten_after_a_long_silence(
    bus: Bus, published: Published
) -> None:
    slave = put(bus, 1, "abb-terra-ac", 1, poll=0.01)
    slave.image["holding"][0x400B] = 0  # no cable in the station: nothing to deduce a lock from
    bus.start()
    assert bus.act(1, "cable_lock").result(DEADLINE_S)["cable_locked_permanently"] == 1
    slave.silent = True
    published.until(lambda: published.latest(1).get("online") == 0)
    slave.silent = False
    published.until(lambda: published.latest(1).get("online") == 1)
    assert published.latest(1)["cable_locked_permanently"] == 0


def reads(count: int, unit: int = 9) -> Job[int]:
    """A guest's job of so many reads; how many were answered."""
    answered = 0
    for _ in range(count):
        with contextlib.suppress(NoAnswer):
            yield Ask(Request.read(unit, "holding", 0, 1), timeout=0.1)
            answered += 1
    return answered


def test_a_guest_with_many_questions_does_not_keep_a_charger_from_its_polls(bus: Bus, published: Published) -> None:
    put(bus, 12, "abb-terra-ac", 1, poll=0.01)
    bus.line.slaves[9] = ImageSlave({"holding": {0: 1}}, silent=True)
    bus.line.hook = lambda request: time.sleep(0.001)
    bus.start()
    published.until(lambda: published.latest(12).get("online") == 1)
    bus.line.diary.clear()
    assert bus.visit(reads(200)).result(DEADLINE_S) == 0, "silence is the guest's own affair"
    asked = [unit for unit, _, _ in bus.line.diary]
    first, last = asked.index(9), len(asked) - asked[::-1].index(9)
    assert asked[first:last].count(1) > 20
    assert published.latest(12)["online"] == 1


def test_a_guest_cannot_write(bus: Bus) -> None:
    def writes() -> Job[None]:
        yield Ask(Request.write(9, 6, 0, [1]), timeout=0.1)

    slave = bus.line.slaves[9] = ImageSlave({"holding": {0: 1}})
    bus.start()
    with pytest.raises(ActionError, match="erreur interne"):
        bus.visit(writes()).result(DEADLINE_S)
    assert (slave.writes, bus.line.diary) == ([], [])
    assert bus.visit(reads(1)).result(DEADLINE_S) == 1, "the next guest is served"


def test_a_guest_hears_of_a_lost_port_and_of_the_end_of_the_bus(bus: Bus) -> None:
    bus.line.lost = PortLost("ligne", "disparu")
    bus.start()
    with pytest.raises(PortLost):
        bus.visit(reads(1)).result(DEADLINE_S)
    bus.stop()
    with pytest.raises(ActionError, match="s'arrête"):
        bus.visit(reads(1)).result(DEADLINE_S)


def test_a_refused_keepalive_is_said_once_not_at_every_period(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    put(bus, 1, "mennekes-compact", 50)
    member = bus._members[1]
    bus._go_online(member)
    refusal = Refused(50, 6, 2)
    for error in (refusal, refusal, None, refusal):
        bus._say_once(member, "keepalive", "maintien de la liaison refusé", error)
    assert sum("maintien de la liaison refusé" in record.message for record in caplog.records) == 2
