"""The daemon as a process, on a line with real byte timing, with a callback that records what Jeedom would get."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from callback import Callback
from running import KEY, RunningDaemon, evcharger
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.modbus.frame import Request
from evchargerd.modbus.line import Line, LineSettings
from evchargerd.simulator.wire import Late, Wire

WRITABLE = {"limit": 0x4100, "limit_low": 0x4101, "lock": 0x4103, "heartbeat": 0x0D00}


class Bench:
    """A line with two chargers (ABB Terra AC at 1, Heidelberg at 2), a callback, and daemons on them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.callback = stack.enter_context(Callback())
        self.abb = ImageSlave.of(profile.load("abb-terra-ac").example, WRITABLE)  # type: ignore[arg-type]
        self.heidelberg = ImageSlave.of(profile.load("heidelberg-ec").example)  # type: ignore[arg-type]
        self.wire = stack.enter_context(Wire({1: self.abb, 2: self.heidelberg}, LineSettings("", 19200)))
        self.port = self.wire.open_pty(folder / "ttyRS485")

    def charger(self, number: int = 12, **changes: Any) -> dict[str, Any]:
        line = {"port": self.port, "baudrate": 19200, "parity": "N", "stopbits": 1}
        return {"id": number, "model": "abb-terra-ac", "unit": 1, "poll": 1, **line, **changes}

    def second(self, **changes: Any) -> dict[str, Any]:
        return self.charger(7, **{"model": "heidelberg-ec", "unit": 2, **changes})

    def run(self, *chargers: dict[str, Any], **options: str) -> RunningDaemon:
        self.folder.joinpath("run").mkdir(exist_ok=True)
        daemon = RunningDaemon(self.folder / "run", self.callback.url, chargers or [self.charger()], **options)
        return self.stack.enter_context(daemon)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def latest(bench: Bench, charger: int = 12) -> dict[str, Any]:
    return bench.callback.values(charger)


def test_values_reach_jeedom_once_and_then_only_what_changes(bench: Bench) -> None:
    bench.run()
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3)
    assert bench.callback.posts[0].body == {"apikey": KEY, "test": 1}
    values = latest(bench)
    assert (values["online"], values["connected"], values["power"], values["cable_state"]) == (1, 1, 11020, 1)
    bench.abb.image["holding"][0x401D] = 3680
    bench.callback.wait_for(lambda: latest(bench).get("power") == 3680)
    assert bench.callback.posts[-1].body["chargers"] == {"12": {"power": 3680}}


def test_an_action_is_answered_once_the_charger_has_done_it(bench: Bench) -> None:
    daemon = bench.run(bench.second())
    answer = daemon.say("execute", charger=7, logicalId="set_current_limit", value="10,5")
    assert answer == {"ok": True}
    assert bench.heidelberg.image["holding"][261] == 105
    bench.callback.wait_for(lambda: latest(bench, 7).get("current_limit") == 10.5)


def test_an_action_that_the_charger_does_not_do_fails_with_what_it_shows(bench: Bench) -> None:
    daemon = bench.run()  # the image's read-back of the limit never moves
    answer = daemon.say("execute", charger=12, logicalId="set_current_limit", value=10)
    assert answer["ok"] is False
    assert "current_limit est à 16 au lieu de 10" in answer["error"]


def test_the_lock_is_done_when_its_late_answer_comes(bench: Bench) -> None:
    bench.abb.image["holding"][0x400B] = 0x101  # cable in station and in car, not locked

    def lock(table: str, address: int, value: int) -> None:
        if address == 0x4103:
            bench.abb.image["holding"][0x400B] = 0x111 if value else 0x101

    bench.abb.on_write = lock
    slow = bench.wire.slaves[1]
    bench.wire.slaves = {**bench.wire.slaves, 1: lambda pdu: Late(slow(pdu), 1.4) if pdu[0] == 6 else slow(pdu)}
    daemon = bench.run()
    assert daemon.say("execute", charger=12, logicalId="cable_lock") == {"ok": True}
    assert bench.abb.writes == [(6, 0x4103, (1,))]
    bench.callback.wait_for(lambda: latest(bench).get("cable_state") == 3)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"charger": 99, "logicalId": "cable_lock"}, "chargeur inconnu : 99"),
        ({"charger": "x", "logicalId": "cable_lock"}, "l'identifiant d'un chargeur est attendu"),
        ({"charger": 12, "logicalId": "fly"}, "commande inconnue : « fly »"),
        ({"charger": 12, "logicalId": "power"}, "« power » est une info"),
        ({"charger": 12, "logicalId": "set_phases", "value": 1}, "n'a pas la commande « set_phases »"),
        ({"charger": 12, "logicalId": 5}, "logicalId : un texte est attendu"),
        ({"charger": 12, "logicalId": "set_current_limit"}, "une valeur numérique est attendue"),
        ({"charger": 12, "logicalId": "set_current_limit", "value": "beaucoup"}, "« beaucoup » n'est pas un nombre"),
        ({"charger": 12, "logicalId": "set_current_limit", "value": 3}, "hors des bornes 6 à 32 A"),
        ({"charger": 12, "logicalId": "set_current_limit", "value": 33}, "hors des bornes 6 à 32 A"),
        ({"charger": 12, "logicalId": "cable_unlock"}, "une charge est en cours"),
    ],
)
def test_a_wrong_order_is_refused_with_its_reason_and_nothing_is_written(
    bench: Bench, message: dict[str, Any], reason: str
) -> None:
    answer = bench.run().say("execute", **message)
    assert answer["ok"] is False
    assert reason in answer["error"]
    assert bench.abb.writes == []


def test_the_socket_answers_what_it_does_not_understand(bench: Bench) -> None:
    daemon = bench.run()
    assert "action inconnue" in daemon.say("dance")["error"]
    assert daemon.say("ping")["ok"] is True
    assert "JSON" in daemon.say_raw(b"{nonsense\n")["error"]
    assert daemon.say_raw(json.dumps({"apikey": "wrong", "action": "ping"}).encode())["ok"] is False
    assert daemon.process.poll() is None


def test_the_key_is_in_no_log_no_argument_and_no_url(bench: Bench) -> None:
    daemon = bench.run()
    daemon.say("ping")
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3)
    arguments = Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes()
    assert KEY.encode() not in arguments
    daemon.stop()
    assert KEY not in "\n".join(daemon.log)
    assert all(KEY not in request.path for request in bench.callback.posts)


def test_configure_touches_only_the_charger_that_changed(bench: Bench) -> None:
    daemon = bench.run(bench.charger(), bench.second())
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3 and latest(bench, 7).get("state") == 3)
    serial_reads = [read for read in bench.heidelberg.reads if read[1] == 102]
    config = {"chargers": [bench.charger(poll=2), bench.second()], "language": "fr_FR"}
    assert daemon.say("configure", config=config)["ok"] is True
    assert daemon.say("configure", config=config)["ok"] is True
    posts = len(bench.callback.posts)
    bench.abb.image["holding"][0x401D] = 1234
    bench.callback.wait_for(lambda: latest(bench).get("power") == 1234)
    assert [read for read in bench.heidelberg.reads if read[1] == 102] == serial_reads, "not connected anew"
    sent_again = [request.body["chargers"].get("7", {}) for request in bench.callback.posts[posts:]]
    assert all("serial" not in values for values in sent_again)


def test_configure_says_which_charger_it_cannot_take_and_runs_the_others(bench: Bench) -> None:
    daemon = bench.run()
    broken = bench.second(model="no-such-model")
    answer = daemon.say("configure", config={"chargers": [bench.charger(), broken]})
    assert answer["ok"] is False
    assert "$.chargers[1].model" in answer["error"]
    assert "modèle inconnu" in answer["error"]
    assert list(daemon.say("status")["chargers"]) == ["12"]


def test_a_removed_charger_is_no_longer_asked(bench: Bench) -> None:
    daemon = bench.run(bench.charger(), bench.second())
    bench.callback.wait_for(lambda: latest(bench, 7).get("state") == 3)
    assert daemon.say("configure", config={"chargers": [bench.second()]})["ok"] is True
    assert list(daemon.say("status")["chargers"]) == ["7"]
    assert daemon.say("execute", charger=12, logicalId="charge_stop")["error"] == "chargeur inconnu : 12"


def test_read_asks_a_charger_that_is_not_configured_on_our_port_or_another(bench: Bench, tmp_path: Path) -> None:
    daemon = bench.run()
    asked = {key: value for key, value in bench.second().items() if key not in ("id", "poll")}
    assert daemon.say("read", config=asked)["values"]["power"] == 11040
    with Wire({2: bench.heidelberg}, LineSettings("", 19200)) as other:
        assert daemon.say("read", config={**asked, "port": other.open_pty()})["values"]["power"] == 11040
    answer = daemon.say("read", config={**asked, "port": str(tmp_path / "nothing")})
    assert "indisponible" in answer["error"]
    answer = daemon.say("read", config={**asked, "unit": 77})
    assert "L'adresse Modbus 77 ne répond pas" in answer["error"]


def test_status_tells_the_health_of_chargers_and_lines(bench: Bench) -> None:
    daemon = bench.run()
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3)
    status = daemon.say("status")
    health = status["chargers"]["12"]
    assert (health["online"], health["errors"]) == (1, 0)
    assert health["last_answer_s"] < 10
    assert 0 < status["lines"][bench.port]["load"] < 1


def test_sigterm_stops_within_two_seconds_and_releases_the_port(bench: Bench) -> None:
    daemon = bench.run(bench.charger(), bench.second(unit=99))  # one that never answers
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3)
    code, seconds = daemon.stop()
    assert code == 0
    assert seconds < 2
    assert not daemon.pid_file.exists()
    line = Line(LineSettings(bench.port, 19200))
    assert line.transact(Request.read(1, "holding", 0x400C, 2), timeout=1) == (0, 1024)
    line.close()


def test_a_second_daemon_on_the_same_pid_file_or_port_says_so(bench: Bench, tmp_path: Path) -> None:
    daemon = bench.run()
    arguments = ["--callback", bench.callback.url, "--config", str(daemon.config_file), "--loglevel", "info"]
    env = {"EVCHARGER_APIKEY": KEY}
    same_pid = evcharger("run", "--pid", str(daemon.pid_file), "--socketport", "0", *arguments, env=env)
    assert same_pid.returncode == 3
    assert f"un démon tourne déjà (pid {daemon.process.pid}" in same_pid.stderr
    port = str(daemon.socket_port)
    same_port = evcharger("run", "--pid", str(tmp_path / "other.pid"), "--socketport", port, *arguments, env=env)
    assert same_port.returncode == 4
    assert f"le port {port} du démon est pris" in same_port.stderr
    assert not (tmp_path / "other.pid").exists()
    assert daemon.say("ping")["ok"] is True


def test_after_kill_9_a_new_daemon_starts_at_once_and_remembers_the_permanent_lock(bench: Bench) -> None:
    bench.abb.image["holding"][0x400D] = 0x0200  # B2: not charging
    daemon = bench.run()
    assert daemon.say("execute", charger=12, logicalId="cable_lock") == {"ok": True}
    bench.callback.wait_for(lambda: latest(bench).get("cable_state") == 3)
    daemon.process.kill()
    daemon.process.wait()
    assert daemon.pid_file.exists()
    memory = bench.folder / "run" / "memory" / "12.json"
    assert memory.stat().st_mode & 0o777 == 0o600
    again = bench.run(socketport=str(daemon.socket_port))
    bench.callback.posts.clear()
    assert again.say("read", charger=12)["values"]["cable_locked_permanently"] == 1


def test_values_of_an_outage_arrive_when_jeedom_is_back(bench: Bench) -> None:
    daemon = bench.run()
    bench.callback.wait_for(lambda: latest(bench).get("state") == 3)
    bench.callback.down()
    bench.abb.image["holding"][0x401D] = 4321
    daemon.wait_for_log("Jeedom")
    bench.callback.up()
    bench.callback.wait_for(lambda: latest(bench).get("power") == 4321)


def test_an_unplugged_adapter_is_told_once_and_comes_back_by_itself(bench: Bench) -> None:
    daemon = bench.run()
    bench.callback.wait_for(lambda: latest(bench).get("online") == 1)
    bench.wire.unplug()
    bench.callback.wait_for(lambda: latest(bench).get("online") == 0)
    assert latest(bench)["state"] == 3, "a lost line is not an unplugged car"
    bench.wire.open_pty(bench.folder / "ttyRS485")
    bench.callback.wait_for(lambda: latest(bench).get("online") == 1)
    gone = [line for line in daemon.log if "indisponible" in line and "WARNING" in line]
    back = [line for line in daemon.log if "de nouveau disponible" in line]
    assert (len(gone), len(back)) == (1, 1)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file"),
        ("{", "Expecting property name"),
        ("[]", "un objet JSON est attendu"),
        ('{"chargers": 5}', "$.chargers : une liste est attendue"),
    ],
)
def test_a_configuration_that_cannot_be_read_ends_the_daemon_with_its_reason(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    config = tmp_path / "config.json"
    if content is not None:
        config.write_text(content)
    arguments = ["--config", str(config), "--pid", str(tmp_path / "pid"), "--socketport", "0"]
    done = evcharger("run", *arguments, "--callback", "http://127.0.0.1:9/", env={"EVCHARGER_APIKEY": KEY})
    assert done.returncode == 2
    assert reason in done.stderr


def test_without_a_key_the_daemon_does_not_start(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "EVCHARGER_APIKEY"}
    arguments = [
        "--config",
        "x",
        "--pid",
        str(tmp_path / "pid"),
        "--socketport",
        "0",
        "--callback",
        "http://127.0.0.1/",
    ]
    command = [str(Path(__file__).parents[2] / "resources" / "evcharger"), "run", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=30)
    assert done.returncode == 2
    assert "EVCHARGER_APIKEY" in done.stderr
