"""What a user explores a charger with: raw registers, and the check of a profile of his own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from callback import Callback
from running import RunningDaemon, evcharger
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.modbus.line import LineSettings
from evchargerd.simulator.wire import Wire


class Bench:
    """A daemon that polls a Heidelberg at address 2."""

    def __init__(self, daemon: RunningDaemon, slave: ImageSlave, port: str, callback: Callback) -> None:
        self.daemon, self.slave, self.port, self.callback = daemon, slave, port, callback

    def registers(self, **message: Any) -> dict[str, Any]:
        return self.daemon.say("registers", **{"charger": 7, "table": "input", "address": 5, "count": 3} | message)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("explore")
    slave = ImageSlave.of(profile.load("heidelberg-ec").example)  # type: ignore[arg-type]
    with Callback() as callback, Wire({2: slave}, LineSettings("", 19200)) as wire:
        port = wire.open_pty(folder / "ttyRS485")
        charger = {"id": 7, "model": "heidelberg-ec", "unit": 2, "poll": 1, "port": port, "parity": "N"}
        with RunningDaemon(folder, callback.url, [charger]) as daemon:
            yield Bench(daemon, slave, port, callback)


def test_registers_of_a_configured_charger_are_read_between_its_polls(bench: Bench) -> None:
    assert bench.registers() == {"ok": True, "words": [7, 160, 159]}
    assert bench.registers(table="holding", address="261", count="1") == {"ok": True, "words": [160]}
    assert all(write[1] == 258 for write in bench.slave.writes), "only what the poll itself writes at the start"


def test_registers_of_a_device_of_unknown_model_are_read_with_its_line_settings(bench: Bench, tmp_path: Path) -> None:
    device = {"port": bench.port, "unit": 2, "baudrate": 19200}
    assert bench.registers(config=device) == {"ok": True, "words": [7, 160, 159]}
    link = tmp_path / "other-name"
    link.symlink_to(bench.port)
    assert bench.registers(config={**device, "port": str(link)})["words"] == [7, 160, 159]
    with Wire({9: bench.slave}, LineSettings("", 38400)) as other:
        assert bench.registers(config={"port": other.open_pty(), "unit": 9, "baudrate": 38400})["ok"] is True


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"charger": 99}, "chargeur inconnu : 99"),
        ({"table": "files"}, "table : l'une de coil, discrete, holding, input est attendue"),
        ({"table": ["holding"]}, "table : l'une de"),
        ({"address": 65536}, "address : un nombre entier de 0 à 65535 est attendu"),
        ({"address": None}, "address : un nombre entier"),
        ({"address": 65535, "count": 2}, "65536 au plus"),
        ({"count": 0}, "count : un nombre entier de 1 à 125"),
        ({"count": 126}, "count : un nombre entier de 1 à 125"),
        ({"address": 900}, "registre inexistant (code 2)"),
        ({"config": {"port": "file:///etc/passwd"}}, "config.port : socket://, rfc2217://, tcp:// sont admis"),
        ({"config": {"port": "/dev/x", "model": "../../etc"}}, "config.model"),
        ({"config": {"port": "/dev/x", "framing": "morse"}}, "config.framing"),
        ({"config": 5}, "config : un objet est attendu"),
    ],
)
def test_a_wrong_question_for_registers_is_refused_with_its_reason(
    bench: Bench, message: dict[str, Any], reason: str
) -> None:
    answer = bench.registers(**message)
    assert answer["ok"] is False
    assert reason in answer["error"]


def test_check_says_what_a_profile_offers_or_where_it_is_wrong(bench: Bench) -> None:
    document = json.loads((profile.SHIPPED_DIR / "heidelberg-ec.json").read_text())
    mine = document | {"id": "my-box"}
    answer = bench.daemon.say("check", profile=mine)
    assert (answer["ok"], answer["id"], answer["title"]) == (True, "my-box", "Heidelberg Wallbox Energy Control")
    assert "set_current_limit" in answer["commands"]
    answer = bench.daemon.say("check", profile=document)
    assert (answer["ok"], answer["path"]) == (False, "$.id")
    answer = bench.daemon.say("check", profile=mine | {"picture": "cat"})
    assert (answer["ok"], answer["path"]) == (False, "$.picture")
    assert "cable" in answer["expected"]
    for nonsense in (None, [], 5, "x", {}):
        assert bench.daemon.say("check", profile=nonsense)["ok"] is False


def test_models_lists_a_broken_profile_with_its_error_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evchargerd import cli

    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "Not An Id.json").write_text("{")
    monkeypatch.setattr(profile, "USER_DIR", tmp_path)
    assert cli.main(["models", "--json"]) == 0
    listed = {model["id"]: model for model in json.loads(capsys.readouterr().out)}
    assert "JSON invalide" in listed["broken"]["error"]
    assert set(listed) == {*profile.shipped(), "broken"}
    assert cli.main(["models"]) == 0
    assert "broken.json : $ : JSON invalide" in capsys.readouterr().err


def test_a_model_cannot_lead_out_of_the_folders_of_profiles(tmp_path: Path) -> None:
    for name in ("../commands", "../../../etc/passwd", "/etc/passwd", "heidelberg-ec\n", "heidelberg-ec/", ".", ""):
        with pytest.raises(profile.ProfileError, match="modèle inconnu"):
            profile.load(name)
    done = evcharger("read", "--model", "../commands", "--port", str(tmp_path / "x"))
    assert done.returncode == 2
