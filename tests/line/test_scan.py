"""A scan of lines with real byte timing: every model among other devices, and on a line that is in use."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from callback import Callback
from running import RunningDaemon, evcharger
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.modbus import line as line_module
from evchargerd.modbus.port import LineSettings, Port, open_port
from evchargerd.profile import Profile
from evchargerd.scan import scanner as scanner_module
from evchargerd.scan.plan import Depth
from evchargerd.scan.scanner import Progress, Scanner
from evchargerd.simulator.box import SimulatedCharger
from evchargerd.simulator.slave import Habits
from evchargerd.simulator.wire import Late, Slave, Wire

PROFILES = tuple(profile.load(name) for name in profile.shipped())
SERIAL = [model for model in PROFILES if model.line.framing != "tcp" and model.identify.tests]
TWINS = [{"evse-din", "openwb-native"}, {"delta-ac-max", "delta-ac-max-1p"}]
FOREIGN_UNIT = 16


def meter(pdu: bytes) -> bytes:
    return bytes((pdu[0] | 0x80, 2))


class Lines:
    """A line for each model, with its box and an energy meter. Who is spoken to at another speed hears nothing."""

    def __init__(self, stack: ExitStack) -> None:
        self.writes: list[tuple[str, bytes]] = []
        self.ports: dict[str, str] = {}
        self.spoken: dict[str, LineSettings] = {}
        for model in SERIAL:
            own = LineSettings("", model.line.baudrate, model.line.parity, model.line.stopbits, model.line.framing)
            box = Habits(SimulatedCharger(model).answer, model, own)
            slaves = {model.line.unit: self.ears(model, own, box), FOREIGN_UNIT: self.ears(model, own, meter)}
            self.ports[model.id] = stack.enter_context(Wire(slaves, own, burst=8)).open_pty()

    def ears(self, model: Profile, own: LineSettings, slave: Slave) -> Slave:
        def heard(pdu: bytes) -> bytes | Late | None:
            if pdu[0] not in (1, 2, 3, 4):
                self.writes.append((model.id, pdu))
            port = self.ports[model.id]
            return slave(pdu) if self.spoken[port] == LineSettings(port, *_settings(own)) else None

        return heard

    def open(self, settings: LineSettings) -> Port:
        self.spoken[settings.port] = settings
        return open_port(settings)


def _settings(line: LineSettings) -> tuple[int, str, int, str]:
    return line.baudrate, line.parity, line.stopbits, line.framing


@pytest.fixture(scope="module")
def searched() -> Iterator[tuple[Lines, Progress]]:
    """All lines, searched at the same time."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        lines = Lines(stack)
        patch.setattr(line_module, "open_port", lines.open)
        patch.setattr(scanner_module, "proves_settings", lambda port: True)  # these lines do tell, as real ones
        yield lines, Scanner(tuple(lines.ports.values()), PROFILES, Depth.QUICK).run()


@pytest.mark.parametrize("model", SERIAL, ids=lambda model: model.id)
def test_each_model_is_found_at_its_own_speed_among_others(searched: tuple[Lines, Progress], model: Profile) -> None:
    lines, result = searched
    found = {each.unit: each for each in result.found if each.line.port == lines.ports[model.id]}
    assert model.line.unit in found, result.errors
    line = found[model.line.unit].line
    assert _settings(line) == _settings_of(model)
    models = {each.id for each in found[model.line.unit].models}
    assert models == next((twins for twins in TWINS if model.id in twins), {model.id})
    assert found[model.line.unit].values["state"] == 3


def test_a_pty_tells_no_speed_so_the_model_s_own_is_configured(tmp_path: Path) -> None:
    model = profile.load("heidelberg-ec")  # 19200 8E1; 9600 8N1 is tried first, and a pty answers at any speed
    with Wire({1: Habits(SimulatedCharger(model).answer, model, LineSettings("", 19200, "E"))}) as wire:
        port = wire.open_pty(tmp_path / "line")
        (found,) = Scanner([port], [model, profile.load("abb-terra-ac")], Depth.QUICK).run().found
    assert _settings(found.line) == _settings_of(model)


def _settings_of(model: Profile) -> tuple[int, str, int, str]:
    return model.line.baudrate, model.line.parity, model.line.stopbits, model.line.framing


def test_nothing_was_written_on_any_line(searched: tuple[Lines, Progress]) -> None:
    lines, result = searched
    assert result.done
    assert lines.writes == []


class Bench:
    """A daemon that polls a Heidelberg at unit 1; another at 50 and a meter at 100 hang on the same line."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.callback = stack.enter_context(Callback())
        image = profile.load("heidelberg-ec").example
        assert image is not None
        self.own, self.other = ImageSlave.of(image), ImageSlave.of(image)
        self.polled: list[float] = []
        slaves: dict[int, Slave] = {1: self.ours, 50: self.other, 100: meter}
        self.wire = stack.enter_context(Wire(slaves, LineSettings("", 19200), burst=8))
        self.port = self.wire.open_pty(folder / "ttyRS485")
        charger = {"id": 7, "model": "heidelberg-ec", "unit": 1, "poll": 1, "port": self.port, "parity": "N"}
        self.config = {"chargers": [charger], "language": "fr_FR"}
        self.daemon = stack.enter_context(RunningDaemon(folder, self.callback.url, [charger]))
        self.callback.wait_for(lambda: self.callback.values(7).get("state") == 3)

    def ours(self, pdu: bytes) -> bytes | None:
        self.polled.append(time.monotonic())
        return self.own(pdu)

    def events(self) -> list[dict[str, Any]]:
        posts = [post.body for post in self.callback.posts]
        return [event for body in posts for event in body.get("events", []) if event["type"] == "scan"]

    def end(self) -> dict[str, Any]:
        self.callback.wait_for(lambda: any(event["done"] for event in self.events()), 60)
        return self.events()[-1]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def test_a_line_in_use_is_scanned_between_the_polls_of_its_charger(bench: Bench) -> None:
    began = time.monotonic()
    answer = bench.daemon.say("scan", port=bench.port, depth="quick")
    assert answer == {"ok": True, "scan": 1}
    assert "déjà en cours" in bench.daemon.say("scan")["error"]
    end = bench.end()
    assert [(each["unit"], [model["id"] for model in each["models"]]) for each in end["found"]] == [
        (1, ["heidelberg-ec"]), (50, ["heidelberg-ec"]), (100, []),
    ]  # fmt: skip
    assert [each.get("charger") for each in end["found"]] == [7, None, None]
    assert end["found"][1]["values"]["state"] == 3
    assert end["found"][2]["answers"][0]["refused"] == 2
    assert end["errors"] == {}
    marks = [event["progress"] for event in bench.events()]
    assert marks == sorted(marks)
    assert (marks[-1], {event["id"] for event in bench.events()}) == (1.0, {1})
    polls = [at for at in bench.polled if at > began]
    assert max(after - before for before, after in pairwise(polls)) < 3, "one poll a second is due"
    assert bench.other.writes == []
    assert bench.callback.values(7)["online"] == 1


def test_a_scan_is_stopped_and_another_may_follow(bench: Bench) -> None:
    assert bench.daemon.say("scan", stop=True) == {"ok": True, "scan": None}
    assert bench.daemon.say("scan", port=bench.port, depth="full")["scan"] == 1
    bench.callback.wait_for(lambda: len(bench.events()) > 1)
    assert bench.daemon.say("scan", stop=True) == {"ok": True, "scan": 1}
    end = bench.end()
    assert end["errors"] == {bench.port: "recherche interrompue"}
    assert [each["unit"] for each in end["found"]][:1] == [1]
    assert bench.daemon.say("scan", port=bench.port, depth="quick")["scan"] == 2


@pytest.mark.parametrize(
    ("message", "reason"),
    [({"port": 5}, "port : un port"), ({"port": "ttyUSB0"}, "port : un chemin complet"), ({"depth": ["x"]}, "depth")],
)
def test_a_wrong_scan_is_refused_with_its_reason(bench: Bench, message: dict[str, Any], reason: str) -> None:
    answer = bench.daemon.say("scan", **message)
    assert answer["ok"] is False
    assert reason in answer["error"]


def test_a_charger_that_is_configured_gets_its_port_from_a_scan(bench: Bench, tmp_path: Path) -> None:
    with Wire({1: bench.other}, LineSettings("", 19200)) as wire:
        port = wire.open_pty()
        assert bench.daemon.say("scan", port=port, depth="full")["ok"] is True
        bench.callback.wait_for(lambda: bool(bench.events()))
        fresh = bench.config["chargers"][0] | {"id": 8, "port": port}  # type: ignore[index]
        config = bench.config | {"chargers": [bench.config["chargers"][0], fresh]}  # type: ignore[index]
        assert bench.daemon.say("configure", config=config)["ok"] is True
        bench.callback.wait_for(lambda: bench.callback.values(8).get("state") == 3)
        assert bench.end()["errors"] == {port: "recherche interrompue"}


def test_the_command_line_leaves_a_port_of_the_daemon_alone_and_says_so(bench: Bench) -> None:
    done = evcharger("scan", "--port", bench.port, "--quick", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["found"] == []
    assert f"{bench.port} : il est déjà utilisé par un autre programme" in done.stderr


def test_the_command_line_prints_a_configuration_that_runs(tmp_path: Path) -> None:
    example = profile.load("heidelberg-ec").example
    assert example is not None
    with Wire({1: ImageSlave.of(example)}, LineSettings("", 9600), burst=8) as wire:
        port = wire.open_pty(tmp_path / "ttyRS485")
        done = evcharger("scan", "--port", port, "--quick", "--json")
        assert done.returncode == 0, done.stderr
        assert "100% Recherche terminée : 1 chargeur(s) trouvé(s), 0 appareil(s) inconnu(s)" in done.stderr
        config = tmp_path / "config.json"
        config.write_text(done.stdout)
        with Callback() as callback:
            charger = json.loads(done.stdout)["chargers"][0]
            assert (charger["model"], charger["port"], charger["unit"]) == ("heidelberg-ec", port, 1)
            with RunningDaemon(tmp_path, callback.url, [charger]):
                callback.wait_for(lambda: callback.values(1).get("state") == 3)
        wire.unplug()
        done = evcharger("scan", "--port", port)
        assert done.returncode == 1
        assert "il n'existe pas" in done.stderr
