"""A scan on lines without time: what is found, what is said, and that nothing is ever written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.config import parse
from evchargerd.job import Ask, Job, ReadOnly, drive
from evchargerd.modbus.errors import BadAnswer, NoAnswer, PortLost, Refused
from evchargerd.modbus.frame import FRAMINGS, Answer, Rejected, Request
from evchargerd.modbus.port import LineSettings
from evchargerd.profile import Profile
from evchargerd.scan import plan, ports, scanner
from evchargerd.scan.plan import Depth
from evchargerd.scan.probe import Candidate
from evchargerd.scan.scanner import Owner, Progress, Scanner, configuration
from evchargerd.simulator.box import SimulatedCharger
from evchargerd.simulator.wire import Late, Slave

PORT = "/dev/serial/by-id/usb-test"
PROFILES = tuple(profile.load(name) for name in profile.shipped())
SERIAL = [model for model in PROFILES if model.line.framing != "tcp" and model.identify.tests]
CANDIDATES = [Candidate.of(model) for model in PROFILES]
#: Models that share one protocol: what they show does not tell them apart.
TWINS = [{"evse-din", "openwb-native"}, {"delta-ac-max", "delta-ac-max-1p"}]


@dataclass
class World:
    """Lines by port: how each speaks, and its slaves by unit. A slave that speaks otherwise hears nothing."""

    lines: dict[str, tuple[LineSettings, Mapping[int, Slave]]] = field(default_factory=dict)
    asked: list[tuple[LineSettings, Request]] = field(default_factory=list)
    seconds: float = 0.0  # of silence
    before: Callable[[], None] = lambda: None

    def put(self, slaves: Mapping[int, Slave], line: LineSettings, port: str = PORT) -> None:
        self.lines[port] = (line, slaves)

    def line(self, settings: LineSettings) -> FakeLine:
        return FakeLine(self, settings)


class FakeLine:
    def __init__(self, world: World, settings: LineSettings) -> None:
        self.world, self.settings = world, settings

    def transact(self, request: Request, *, timeout: float, pause: float | None = None) -> tuple[int, ...]:
        self.world.before()
        self.world.asked.append((self.settings, request))
        if self.settings.port not in self.world.lines:
            raise PortLost(self.settings.port, "il n'existe pas")
        there, slaves = self.world.lines[self.settings.port]
        same = (there.baudrate, there.parity, there.stopbits, there.framing)
        slave = slaves.get(request.unit)
        heard = same == (self.settings.baudrate, self.settings.parity, self.settings.stopbits, self.settings.framing)
        answer = slave(request.pdu) if slave is not None and heard else None
        if isinstance(answer, Late):
            answer = answer.pdu
        if answer is None:
            self.world.seconds += timeout
            raise NoAnswer(request.unit, self.settings.port, timeout)
        framing = FRAMINGS[there.framing]()
        question = framing.encode(request)
        found = framing.hunt(framing.answer(request.unit, answer, question), request)
        if isinstance(found, Rejected):
            raise Refused(request.unit, request.function, found.code)
        if not isinstance(found, Answer):
            raise BadAnswer(request.unit, self.settings.port, "illisible")
        return found.values

    def close(self) -> None:
        pass


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(scanner, "Line", world.line)
    return world


@pytest.fixture(autouse=True)
def _nothing_is_written(world: World) -> Iterator[None]:
    yield
    assert not [request for _, request in world.asked if request.is_write]


def own_line(model: Profile) -> LineSettings:
    return LineSettings(PORT, model.line.baudrate, model.line.parity, model.line.stopbits, model.line.framing)


def meter(pdu: bytes) -> bytes:
    """An energy meter: it holds nothing that we ask for, and says so."""
    return bytes((pdu[0] | 0x80, 2))


def scan(depth: Depth = Depth.QUICK, *names: str) -> Progress:
    return Scanner(names or (PORT,), PROFILES, depth).run()


def best(result: Progress, unit: int) -> list[str]:
    return next([model.id for model in found.models] for found in result.found if found.unit == unit)


@pytest.mark.parametrize("model", SERIAL, ids=lambda model: model.id)
def test_each_model_is_found_as_it_comes_from_the_factory_beside_a_foreign_device(world: World, model: Profile) -> None:
    box = SimulatedCharger(model)
    slaves: dict[int, Slave] = {model.line.unit: box.answer}
    if model.line.framing == "rtu":
        slaves[33 if model.line.unit != 33 else 34] = meter
    world.put(slaves, own_line(model))
    result = scan()
    models = best(result, model.line.unit)
    assert models[0] in next((twins for twins in TWINS if model.id in twins), {model.id})
    assert set(models) in [{model.id}, *TWINS], "nothing else fits"
    found = next(found for found in result.found if found.unit == model.line.unit)
    assert (found.line, result.errors) == (own_line(model), {})
    assert found.values, "its owner sees which one it is"


@pytest.mark.parametrize("model", SERIAL, ids=lambda model: model.id)
def test_each_model_is_found_at_every_speed_that_it_can_be_set_to(world: World, model: Profile) -> None:
    box = SimulatedCharger(model)
    for baudrate in model.line.baudrates:
        line = LineSettings(PORT, baudrate, model.line.parity, model.line.stopbits, model.line.framing)
        world.put({model.line.unit: box.answer}, line)
        assert model.id in best(scan(Depth.NORMAL), model.line.unit)


def test_all_that_hangs_on_a_line_is_found_once_its_speed_is_known(world: World) -> None:
    boxes = {unit: SimulatedCharger(profile.load("heidelberg-ec")).answer for unit in (3, 9, 16)}
    world.put({**boxes, 12: meter}, own_line(profile.load("heidelberg-ec")))
    result = scan(Depth.NORMAL)
    assert [(found.unit, [model.id for model in found.models]) for found in result.found] == [
        (3, ["heidelberg-ec"]), (9, ["heidelberg-ec"]), (12, []), (16, ["heidelberg-ec"]),
    ]  # fmt: skip
    speeds = {line.baudrate for line, request in world.asked if request.unit > 1}
    assert 19200 in speeds


def test_a_unit_beyond_the_dip_switches_takes_a_full_scan(world: World) -> None:
    model = profile.load("evse-din")
    world.put({200: SimulatedCharger(model).answer}, own_line(model))
    assert scan(Depth.NORMAL).found == ()
    assert model.id in best(scan(Depth.FULL), 200)


def test_an_unknown_device_is_told_with_what_it_answered(world: World) -> None:
    slave = ImageSlave({"holding": {address: 7 * address for address in range(4)}})
    world.put({1: slave}, LineSettings(PORT, 9600))
    (found,) = scan().found
    assert found.models == ()
    answers = found.as_json()["answers"]
    assert {"table": "holding", "address": 0, "count": 4, "words": [0, 7, 14, 21]} in answers
    assert any(answer.get("refused") == 2 for answer in answers)
    assert "appareil inconnu" in str(found)
    assert "0000 0007 000E 0015" in str(found)


def test_models_that_cannot_be_told_apart_are_all_named(world: World) -> None:
    model = profile.load("delta-ac-max")
    world.put({1: SimulatedCharger(model).answer}, own_line(model))
    (found,) = scan().found
    assert {each.id for each in found.models} == {"delta-ac-max", "delta-ac-max-1p"}
    assert ": l'un de " in str(found)


def test_the_configuration_that_comes_out_can_be_run(world: World) -> None:
    model = profile.load("mennekes-compact")
    world.put({50: SimulatedCharger(model).answer, 51: meter}, own_line(model))
    document = configuration(scan().found)
    config = parse(document)
    assert config.errors == ()
    (charger,) = config.chargers.values()
    assert (charger.profile, charger.unit, charger.line) == (model, 50, own_line(model))


def test_a_silent_line_costs_no_more_than_it_should(world: World) -> None:
    world.put({}, LineSettings(PORT))
    spent = {}
    for depth in Depth:
        world.seconds = 0.0
        assert scan(depth).found == ()
        spent[depth] = world.seconds
    assert spent[Depth.QUICK] < 15
    assert spent[Depth.NORMAL] < 150
    assert spent[Depth.FULL] < 900


def test_lines_are_searched_each_for_itself_and_a_lost_one_says_why(world: World) -> None:
    one, other = profile.load("heidelberg-ec"), profile.load("schrack-cion")
    world.put({1: SimulatedCharger(one).answer}, own_line(one), "/dev/a")
    world.put({1: SimulatedCharger(other).answer}, own_line(other), "/dev/b")
    result = scan(Depth.QUICK, "/dev/a", "/dev/b", "/dev/c")
    assert {found.line.port: found.models[0].id for found in result.found} == {"/dev/a": one.id, "/dev/b": other.id}
    assert result.errors == {"/dev/c": "il n'existe pas"}


def test_noise_is_told_when_nothing_else_was_heard(world: World) -> None:
    world.put({1: lambda pdu: b"\x55" * 9}, LineSettings(PORT, 9600))
    assert "réponses illisibles (9600 8N1, adresse 1" in scan().errors[PORT]


def test_progress_only_rises_and_a_stop_ends_at_once_with_what_was_found(world: World) -> None:
    model = profile.load("abb-terra-ac")
    world.put({1: SimulatedCharger(model).answer}, own_line(model))
    seen: list[Progress] = []
    search = Scanner((PORT,), PROFILES, Depth.FULL, seen.append)

    def stop_at_unit_40() -> None:
        if world.asked and world.asked[-1][1].unit == 40:
            search.stop()

    world.before = stop_at_unit_40
    result = search.run()
    marks = [progress.progress for progress in seen]
    assert marks == sorted(marks)
    assert (marks[-1], seen[-1].done) == (1.0, True)
    assert world.asked[-1][1].unit <= 41
    assert best(result, 1) == ["abb-terra-ac"]
    assert result.errors == {PORT: "recherche interrompue"}


def test_a_line_that_its_owner_wants_is_left(world: World, tmp_path: Path) -> None:
    world.put({}, LineSettings(PORT))
    search = Scanner((PORT,), PROFILES, Depth.FULL)
    world.before = lambda: search.leave([PORT])
    search.run()
    assert len(world.asked) == 1


class Bus:
    """An owner's bus; the job is carried out where it stands."""

    def __init__(self, world: World, settings: LineSettings) -> None:
        self.settings, self.line = settings, world.line(settings)

    def visit(self, job: Job[object]) -> Future[object]:
        future: Future[object] = Future()
        try:
            future.set_result(drive(job, ReadOnly(self.line)))
        except Exception as error:
            future.set_exception(error)
        return future


def test_on_a_line_in_use_only_its_own_speed_is_tried_and_its_chargers_are_left_alone(world: World) -> None:
    model = profile.load("heidelberg-ec")
    world.put({unit: SimulatedCharger(model).answer for unit in (1, 2)}, own_line(model))
    owner = Owner(Bus(world, own_line(model)), {1: (12, model)})  # type: ignore[arg-type]
    result = Scanner((PORT,), PROFILES, Depth.NORMAL, owner=lambda _: owner).run()
    assert [(found.unit, found.charger) for found in result.found] == [(1, 12), (2, None)]
    assert {line for line, _ in world.asked} == {own_line(model)}
    assert all(request.unit != 1 for _, request in world.asked)
    assert [entry["unit"] for entry in configuration(result.found)["chargers"]] == [2]  # type: ignore[attr-defined]


def test_a_line_for_readers_refuses_to_write(world: World) -> None:
    world.put({1: meter}, LineSettings(PORT))
    with pytest.raises(ValueError, match="a write"):
        ReadOnly(world.line(LineSettings(PORT))).transact(Request.write(1, 6, 0, [1]), timeout=1)

    def writes() -> Job[None]:
        yield Ask(Request.write(1, 6, 0, [1]), 1)

    with pytest.raises(ValueError, match="a write"):
        drive(writes(), ReadOnly(world.line(LineSettings(PORT))))


@pytest.mark.parametrize("model", [m for m in PROFILES if m.line.framing == "tcp"], ids=lambda model: model.id)
def test_a_charger_with_modbus_tcp_is_found_once_although_it_answers_to_any_unit(world: World, model: Profile) -> None:
    port = "tcp://192.0.2.7:502"
    world.put(dict.fromkeys(range(256), SimulatedCharger(model).answer), LineSettings(port, framing="tcp"), port)
    (found,) = scan(Depth.NORMAL, port).found
    assert model.id in [each.id for each in found.models]
    assert found.models[0].line.framing == "tcp"
    assert configuration([found])["chargers"][0].keys() == {"id", "model", "port", "unit", "poll"}  # type: ignore[index]


def test_settings_are_those_that_profiles_name_the_most_common_first() -> None:
    looks = plan.unknown_line(PORT, CANDIDATES, Depth.QUICK)
    lines = [(look.line.baudrate, look.line.parity, look.line.stopbits, look.line.framing) for look in looks]
    assert lines[0] == (9600, "N", 1, "rtu")
    named = {(m.line.baudrate, m.line.parity, m.line.stopbits, m.line.framing) for m in PROFILES}
    assert set(lines) == {line for line in named if line[3] != "tcp"}
    through_gateway = plan.unknown_line("socket://gateway:1", CANDIDATES, Depth.QUICK)
    assert [look.line.framing for look in through_gateway] == ["rtu", "ascii-abl"], "its speed is its own affair"


def test_ports_go_by_their_lasting_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "by-id").mkdir()
    for name in ("ttyUSB0", "ttyUSB1"):
        (tmp_path / name).touch()
    (tmp_path / "by-id" / "usb-FTDI").symlink_to(tmp_path / "ttyUSB1")

    class Port:
        def __init__(self, device: str) -> None:
            self.device = device

    found = [Port(str(tmp_path / "ttyUSB1")), Port(str(tmp_path / "ttyUSB0"))]
    monkeypatch.setattr(ports.list_ports, "comports", lambda: found)
    names = ports.serial_ports(tmp_path / "by-id")
    assert names == (str(tmp_path / "ttyUSB0"), str(tmp_path / "by-id" / "usb-FTDI"))


def test_a_device_that_another_process_has_open_is_not_touched(tmp_path: Path) -> None:
    device, process = tmp_path / "ttyUSB0", tmp_path / "proc" / "4242"
    device.touch()
    (process / "fd").mkdir(parents=True)
    (process / "comm").write_text("zigbeed\n")
    assert ports.holder(str(device), tmp_path / "proc") is None
    (process / "fd" / "3").symlink_to(device)
    assert ports.holder(str(device), tmp_path / "proc") == "zigbeed (pid 4242)"
    assert ports.holder("tcp://host:502", tmp_path / "proc") is None
