"""Every shipped model, simulated: what the daemon's charger makes of it all along a vehicle's stay, without a line."""

from __future__ import annotations

import os
import select
import signal
import struct
import subprocess
import sys
import tty
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from evchargerd import profile
from evchargerd.charger import CHARGING, FAULT, FINISHED, NO_VEHICLE, READY, WAITING, ActionError, Charger
from evchargerd.expression import Rules
from evchargerd.job import Ask, Job, T, Wait, drive, patient, resume
from evchargerd.modbus.errors import ModbusError, NoAnswer, Refused
from evchargerd.modbus.frame import FRAMINGS, Request
from evchargerd.modbus.line import Line
from evchargerd.modbus.port import LineSettings
from evchargerd.profile import Profile
from evchargerd.rules import Value
from evchargerd.simulator.box import LATCH_TIME, RECOVERY, SimulatedCharger
from evchargerd.simulator.slave import Habits
from evchargerd.simulator.vehicle import SCENARIOS
from evchargerd.simulator.wire import Late

MODELS = [profile.load(name) for name in profile.shipped()]
TRANSACTION = 0.05  # s that a question and its answer take here


class Bench:
    """A simulated charger and the daemon's charger that drives it, on a clock that only the bench moves."""

    def __init__(self, clock: FrozenDateTimeFactory, model: Profile, scenario: str = "idle", speed: float = 1) -> None:
        self.clock = clock
        self.model = model
        self.box = SimulatedCharger(model, speed=speed, scenario=scenario)
        self.charger = Charger(model, self.box.unit, unverified=True)
        self.values: dict[str, Value] = self.drive(self.charger.connect())

    def drive(self, job: Job[T]) -> T:
        """Carry a job out as the bus would."""
        words: tuple[int, ...] | None = None
        error: ModbusError | None = None
        while True:
            try:
                step = resume(job, words, error)
            except StopIteration as stop:
                result: T = stop.value
                return result
            words, error = (), None
            if isinstance(step, Wait):
                self.sleep(step.seconds)
                continue
            try:
                words = self.ask(step)
            except ModbusError as failed:
                error = failed

    def ask(self, step: Ask) -> tuple[int, ...]:
        request = step.request
        answer = self.box.answer(request.pdu)
        self.sleep(TRANSACTION)
        if isinstance(answer, Late):
            assert answer.after < step.timeout
            self.sleep(answer.after)
            answer = answer.pdu
        if answer is None:
            raise NoAnswer(request.unit, "the bench", step.timeout)
        if answer[0] & 0x80:
            raise Refused(request.unit, request.function, answer[1])
        return request.decode(answer)

    def sleep(self, seconds: float) -> None:
        self.clock.tick(timedelta(seconds=seconds))

    def poll(self) -> dict[str, Value]:
        self.values = self.drive(self.charger.poll(whole=True))
        return self.values

    def play(self, *events: str) -> dict[str, Value]:
        for event in events:
            self.box.play(event)
        return self.poll()

    def act(self, name: str, value: object = None) -> dict[str, Value]:
        self.values = self.drive(self.charger.act(name, value))
        return self.values

    def shows(self, **expected: Value) -> None:
        """The values that the model offers are these."""
        shown = {name: self.values.get(name) for name in expected if name in self.charger.offered}
        assert shown == {name: value for name, value in expected.items() if name in shown}

    def power(self) -> float | None:
        power = self.values.get("power")
        return None if isinstance(power, str) else power


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time("2026-06-01 08:00:00") as frozen:
        yield frozen


def codes(model: Profile) -> set[Value | None]:
    """The states that the model has a rule for."""
    state = model.commands["state"]
    assert isinstance(state, Rules)
    return {rule.result for rule in state.rules}


def models(fits: Callable[[Profile], bool]) -> pytest.MarkDecorator:
    """The test is one of the models that fit."""
    return pytest.mark.parametrize("model", [model for model in MODELS if fits(model)], ids=lambda model: model.id)


def models_with(action: str) -> pytest.MarkDecorator:
    return models(lambda model: action in model.actions)


every_model = models(lambda model: True)


@every_model
def test_a_vehicle_comes_charges_finishes_and_leaves(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model)
    bench.shows(state=NO_VEHICLE, connected=0, power=0, current_1=0, error_code=0)
    bench.play("plug")
    bench.shows(state=READY, connected=1, power=0, current_1=0)
    bench.play("charge")
    bench.shows(state=CHARGING, connected=1, charge_enabled=1)
    assert bench.power() is None or bench.power() > 1000
    bench.play("pause")
    bench.shows(state=FINISHED, connected=1, power=0)
    bench.play("charge")
    bench.shows(state=CHARGING)
    bench.play("finish")
    bench.shows(state=FINISHED, connected=1, power=0)
    bench.play("unplug")
    bench.shows(state=NO_VEHICLE, connected=0, power=0)
    bench.play("plug")
    bench.shows(state=READY, connected=1)


@models(lambda model: "charge_stop" in model.actions and WAITING in codes(model))
def test_stop_pauses_and_start_resumes(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model, "charging")
    bench.act("charge_stop")
    bench.shows(state=WAITING, connected=1, power=0, current_1=0, charge_enabled=0)
    bench.act("charge_start")
    bench.shows(state=CHARGING, connected=1, charge_enabled=1)
    bench.play("unplug", "plug")
    bench.act("charge_stop")
    bench.play("charge")
    bench.shows(state=WAITING, charge_enabled=0)


@models_with("set_current_limit")
def test_the_limit_is_obeyed(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model, "charging")
    before = bench.power()
    bench.act("set_current_limit", 8)
    assert bench.values["current_limit"] == pytest.approx(8, abs=0.05)
    assert "current_1" not in bench.values or bench.values["current_1"] == pytest.approx(8, rel=0.05)
    assert before is None or bench.power() == pytest.approx(before / 2, rel=0.1)
    bench.shows(state=CHARGING)


@every_model
def test_a_fault_is_shown_and_forgotten(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model, "charging")
    bench.play("fault")
    bench.shows(power=0)
    assert bench.values.get("error_code", 1) != 0
    assert bench.values["state"] in ((FAULT,) if FAULT in codes(model) else (WAITING, READY, FINISHED))
    bench.play("clear")
    bench.shows(state=CHARGING, error_code=0)


@models_with("cable_lock")
def test_the_cable_stays_locked_until_it_is_unlocked(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model, "plugged")
    try:
        bench.act("cable_lock")
    except ActionError as refusal:
        refusals = model.actions["cable_lock"].refusals
        assert any(each.when.holds(bench.charger.points) for each in refusals)
        pytest.skip(f"the example of {model.id} has a tethered cable: {refusal}")
    permanent = "cable_locked_permanently" in model.commands
    bench.shows(cable_locked=1, cable_locked_permanently=1, cable_state=1 + 2 * permanent)
    bench.play("unplug")
    bench.shows(state=NO_VEHICLE, cable_locked=1, cable_locked_permanently=1)
    bench.act("cable_unlock")
    bench.poll()
    bench.shows(cable_locked=0, cable_locked_permanently=0, cable_state=0)
    bench.play("charge")
    bench.shows(state=CHARGING, cable_locked_permanently=0)


@models_with("set_phases")
def test_the_phases_are_those_that_were_asked_for(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model, "charging")
    three = bench.act("set_current_limit", 16).get("power")
    bench.act("charge_stop")
    try:
        bench.act("set_phases", 1)
    except ActionError as refusal:
        pytest.skip(f"the example of {model.id} refuses: {refusal}")
    bench.act("charge_start")
    bench.poll()
    bench.shows(state=CHARGING, phases=1)
    assert three is None or bench.power() == pytest.approx(three / 3, rel=0.1)


@models(lambda model: not {"energy_total", "energy_session"}.isdisjoint(model.commands))
def test_energy_rises_with_power_and_time(clock: FrozenDateTimeFactory, model: Profile) -> None:
    bench = Bench(clock, model, "charging", speed=60)
    before = dict(bench.values)
    power = bench.power() or 3 * 230 * 16
    for _ in range(12):
        bench.sleep(5 - TRANSACTION * len(bench.charger.reads(whole=True)))
        bench.poll()
    rises = [
        bench.values[name] - before[name]
        for name in ("energy_total", "energy_session")
        if name in before and name in bench.values
    ]
    assert rises
    assert rises == [pytest.approx(power / 1000, rel=0.1)] * len(rises)


@models(lambda model: model.example is not None and model.example.values.get("state") == CHARGING)
def test_a_fresh_box_shows_its_example(clock: FrozenDateTimeFactory, model: Profile) -> None:
    assert model.example is not None
    box = SimulatedCharger(model)
    shown = box.values()
    assert {name: shown.get(name) for name in model.example.values} == {
        name: pytest.approx(value, rel=0.005) if isinstance(value, (int, float)) else value
        for name, value in model.example.values.items()
    }


@every_model
def test_a_profile_without_an_example_makes_a_box_as_well(model: Profile) -> None:
    box = SimulatedCharger(replace(model, example=None), scenario="idle")
    seen = [box.values()["state"]]
    for event in ("plug", "charge", "finish", "unplug"):
        box.play(event)
        seen.append(box.values()["state"])
    assert seen == [NO_VEHICLE, READY, CHARGING, FINISHED if FINISHED in codes(model) else READY, NO_VEHICLE]


@models(lambda model: model.watchdog is not None and model.watchdog.on_expiry != "nothing")
def test_a_silent_master_has_the_consequence_that_the_profile_names(
    clock: FrozenDateTimeFactory, model: Profile
) -> None:
    watchdog = model.watchdog
    assert watchdog is not None
    bench = Bench(clock, model, "charging")
    for keep in model.keepalive:
        bench.drive(bench.charger.keep_alive(keep))
    bench.poll()
    bench.shows(state=CHARGING)
    before = bench.power()
    bench.sleep(watchdog.timeout + 1)
    bench.poll()
    expected = {"pause": WAITING, "fault": FAULT, "minimum": CHARGING}[watchdog.on_expiry]
    assert bench.values["state"] == expected or expected not in codes(model)
    if watchdog.on_expiry == "minimum":
        assert before is None or 0 < bench.power() < before / 2
    else:
        bench.shows(power=0)
    for keep in model.keepalive:
        bench.drive(bench.charger.keep_alive(keep))
    bench.sleep(RECOVERY)
    bench.poll()
    bench.shows(state=CHARGING)


@every_model
def test_a_box_refuses_what_it_does_not_have(clock: FrozenDateTimeFactory, model: Profile) -> None:
    box = SimulatedCharger(model)
    table = next(point.table for point in model.points.values() if point.readable)
    function = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}[table]
    ends = [(point.last, point.table) for point in model.points.values()]
    ends += [(last, name) for name, ranges in model.blocks.items() for _, last in ranges]
    beyond = max(last for last, name in ends if name == table) + 1
    assert box.answer(struct.pack(">BHH", function, beyond, 1)) == bytes((function | 0x80, 2))
    assert box.answer(struct.pack(">BHH", function, 0, 0)) == bytes((function | 0x80, 3))
    assert box.answer(struct.pack(">BHH", function, 0, 0xFFFF)) == bytes((function | 0x80, 3))
    assert box.answer(b"\x2b\x0e\x01\x00") == b"\xab\x01"


def test_reads_across_a_hole_are_refused_and_those_within_a_block_are_not() -> None:
    box = SimulatedCharger(profile.load("abb-terra-ac"))
    assert box.answer(struct.pack(">BHH", 3, 0x4020, 5))[0] == 3
    assert box.answer(struct.pack(">BHH", 3, 0x4024, 2)) == b"\x83\x02"


def test_exact_blocks_are_answered_only_as_they_are() -> None:
    box = SimulatedCharger(profile.load("abl-emh1"))
    assert box.answer(struct.pack(">BHH", 3, 0x2E, 5))[0] == 3
    assert box.answer(struct.pack(">BHH", 3, 0x2E, 4)) == b"\x83\x02"
    assert box.answer(struct.pack(">BHH", 3, 0x2F, 1)) == b"\x83\x02"


def test_half_a_value_is_not_written() -> None:
    box = SimulatedCharger(profile.load("abb-terra-ac"))
    assert box.answer(struct.pack(">BHHBH", 16, 0x4100, 1, 2, 0)) == b"\x90\x02"
    assert box.answer(struct.pack(">BHHBHH", 16, 0x4100, 2, 4, 0, 10000)) == struct.pack(">BHH", 16, 0x4100, 2)


def test_a_lock_that_moves_answers_late() -> None:
    box = SimulatedCharger(profile.load("abb-terra-ac"))
    question = struct.pack(">BHH", 6, 0x4103, 1)
    assert box.answer(question) == Late(question, LATCH_TIME)


def test_a_question_that_comes_too_soon_is_not_heard(clock: FrozenDateTimeFactory) -> None:
    model = profile.load("heidelberg-ec")
    slave = Habits(SimulatedCharger(model).answer, model, LineSettings("", 19200, "E"))
    question = struct.pack(">BHH", 4, 5, 1)
    assert slave(question) is not None
    clock.tick(timedelta(seconds=0.08))
    assert slave(question) is None
    clock.tick(timedelta(seconds=0.05))
    assert slave(question) is not None


def test_a_power_cut_resets_what_the_profile_says(clock: FrozenDateTimeFactory) -> None:
    bench = Bench(clock, profile.load("heidelberg-ec"), "charging")
    bench.act("set_current_limit", 10)
    bench.play("power_cut")
    bench.shows(state=WAITING, current_limit=0)
    assert bench.charger.lost_power()
    bench.values = bench.drive(bench.charger.connect())
    bench.shows(state=CHARGING, current_limit=10)


def test_a_vehicle_that_is_not_authorised_waits(clock: FrozenDateTimeFactory) -> None:
    bench = Bench(clock, profile.load("abb-terra-ac"), "charging")
    bench.play("deauthorise")
    bench.shows(state=WAITING, power=0)
    bench.play("authorise")
    bench.shows(state=CHARGING)


def test_the_vehicle_draws_less_near_its_end_and_then_nothing(clock: FrozenDateTimeFactory) -> None:
    bench = Bench(clock, profile.load("abb-terra-ac"), "charging", speed=100)
    currents = []
    for _ in range(100):
        bench.sleep(1)
        currents.append(bench.poll()["current_1"])
    assert currents == sorted(currents, reverse=True)
    assert len(set(currents)) > 4
    assert currents[0] == 15.95
    assert currents[-1] == 0
    bench.shows(state=FINISHED)


def test_a_cycle_repeats(clock: FrozenDateTimeFactory) -> None:
    bench = Bench(clock, profile.load("abb-terra-ac"), "cycle")
    seen = []
    for _ in range(2 * int(SCENARIOS["cycle"].period)):
        bench.sleep(1 - len(bench.charger.reads(whole=True)) * TRANSACTION)
        state = bench.poll()["state"]
        if seen[-1:] != [state]:
            seen.append(state)
    assert seen == [NO_VEHICLE, READY, CHARGING, FINISHED] * 2 + [NO_VEHICLE]


@pytest.mark.parametrize(
    ("scenario", "state"),
    [("idle", NO_VEHICLE), ("plugged", READY), ("charging", CHARGING), ("finished", FINISHED), ("fault", FAULT)],
)
def test_a_scenario_begins_as_it_is_called(clock: FrozenDateTimeFactory, scenario: str, state: int) -> None:
    bench = Bench(clock, profile.load("solax-x-evc"), scenario)
    bench.shows(state=state)


def test_an_unknown_event_is_refused() -> None:
    with pytest.raises(ValueError, match="plug, unplug"):
        SimulatedCharger(profile.load("alphatec")).play("explode")


# --- The command -----------------------------------------------------------------------------------------------------


class Simulate:
    """`evcharger simulate` as a process; `where` is what it prints."""

    def __init__(self, *arguments: str, stdin: int = subprocess.DEVNULL) -> None:
        resources = Path(__file__).parents[2] / "resources"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "evchargerd", "simulate", *arguments],
            env=os.environ | {"PYTHONPATH": str(resources)},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.where = self.process.stdout.readline().strip()

    def __enter__(self) -> Simulate:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=10)
        return self.process.returncode


def state_of(model: str, unit: int, settings: LineSettings) -> Value | None:
    charger = Charger(profile.load(model), unit)
    line = Line(settings)
    try:
        return drive(charger.poll(whole=True), line)["state"]
    finally:
        line.close()


def test_the_command_serves_several_chargers_on_one_line_until_it_is_told_to_stop(tmp_path: Path) -> None:
    link = tmp_path / "line"
    arguments = ("--model", "abb-terra-ac", "--model", "schrack-cion", "--unit", "7", "--unit", "8")
    with Simulate(*arguments, "--baudrate", "57600", "--scenario", "plugged", "--link", str(link)) as simulate:
        assert simulate.where == str(link)
        settings = LineSettings(str(link), 57600)
        assert state_of("abb-terra-ac", 7, settings) == READY
        assert state_of("schrack-cion", 8, settings) == READY
        assert simulate.stop() == 0
        assert not link.is_symlink()


@pytest.mark.parametrize(
    ("model", "scheme", "framing"), [("abb-terra-ac", "socket", "rtu"), ("keba-p30", "tcp", "tcp")]
)
def test_the_command_serves_tcp(model: str, scheme: str, framing: str) -> None:
    with Simulate("--model", model, "--baudrate", "57600", "--tcp", "127.0.0.1:0") as simulate:
        settings = LineSettings(f"{scheme}://{simulate.where}", 57600, framing=framing)
        assert state_of(model, profile.load(model).line.unit, settings) == CHARGING


def test_the_command_speaks_ascii_where_the_model_does() -> None:
    with Simulate("--model", "abl-emh1") as simulate:
        settings = LineSettings(simulate.where, 38400, "E", 1, "ascii-abl")
        charger = Charger(profile.load("abl-emh1"), 1)
        line = Line(settings)
        try:
            assert drive(patient(charger.poll(whole=True)), line)["state"] == CHARGING
        finally:
            line.close()


def test_the_command_answers_on_a_port_that_exists() -> None:
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    try:
        with Simulate("--model", "abb-terra-ac", "--port", os.ttyname(theirs)):
            framing, request = FRAMINGS["rtu"](), Request.read(1, "holding", 0x4000, 2)
            os.write(ours, framing.encode(request))
            answer = b""
            while len(answer) < framing.answer_length(request):
                assert select.select([ours], (), (), 5)[0]
                answer += os.read(ours, 64)
            assert framing.hunt(answer, request) is not None
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_keys_of_the_terminal_play_events() -> None:
    ours, theirs = os.openpty()
    try:
        with Simulate("--model", "abb-terra-ac", stdin=theirs) as simulate:
            assert simulate.process.stderr is not None
            assert "p branche" in simulate.process.stderr.readline()
            os.write(ours, b"u")
            assert simulate.process.stderr.readline().startswith("1 : state 1, power 0")
            os.write(ours, b"q")
            assert simulate.process.wait(10) == 0
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--model", "no-such-box"),
        ("--model", "abb-terra-ac", "--model", "keba-p30"),
        ("--model", "keba-p30"),
        ("--model", "abb-terra-ac", "--unit", "300"),
        ("--model", "abb-terra-ac", "--tcp", "127.0.0.1"),
        ("--model", "abb-terra-ac", "--speed", "0"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(arguments: tuple[str, ...]) -> None:
    with Simulate(*arguments) as simulate:
        assert simulate.where == ""
        assert simulate.process.wait(10) == 2


def test_the_command_says_that_a_port_cannot_be_opened(tmp_path: Path) -> None:
    with Simulate("--model", "abb-terra-ac", "--port", str(tmp_path / "nothing")) as simulate:
        assert simulate.process.wait(10) == 1
