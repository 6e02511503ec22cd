"""The command line as a user types it, on a line with real byte timing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import evcharger
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.modbus.line import LineSettings
from evchargerd.simulator.wire import Wire

SPEED = ("--baudrate", "38400", "--parity", "N", "--stopbits", "1")


@pytest.fixture
def heidelberg() -> Iterator[tuple[str, ImageSlave]]:
    example = profile.load("heidelberg-ec").example
    assert example is not None
    slave = ImageSlave.of(example)
    with Wire({1: slave}, LineSettings("", 38400)) as wire:
        yield wire.open_pty(), slave


def test_read_prints_the_values_as_json(heidelberg: tuple[str, ImageSlave]) -> None:
    port, slave = heidelberg
    done = evcharger("read", "--model", "heidelberg-ec", "--port", port, *SPEED, "--json")
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["state"] == 3
    assert values["power"] == 11040
    assert values["temperature"] == 32.5
    assert slave.writes == [], "reading never writes"


def test_read_prints_a_table_with_units_without_json(heidelberg: tuple[str, ImageSlave]) -> None:
    done = evcharger("read", "--model", "heidelberg-ec", "--port", heidelberg[0], *SPEED)
    assert done.returncode == 0
    assert "power                      11040 W" in done.stdout


def test_read_of_a_silent_charger_exits_1_with_the_reason(heidelberg: tuple[str, ImageSlave]) -> None:
    done = evcharger("read", "--model", "heidelberg-ec", "--port", heidelberg[0], *SPEED, "--unit", "9", "--json")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "L'adresse Modbus 9 ne répond pas" in done.stderr


def test_read_of_a_missing_port_exits_1_with_the_reason(tmp_path: Path) -> None:
    done = evcharger("read", "--model", "heidelberg-ec", "--port", str(tmp_path / "ttyUSB9"))
    assert done.returncode == 1
    assert "ttyUSB9 est indisponible" in done.stderr


def test_an_unknown_model_exits_2_and_says_where_to_look() -> None:
    done = evcharger("read", "--model", "tesla", "--port", "/dev/null")
    assert done.returncode == 2
    assert "modèle inconnu" in done.stderr
    assert "models" in done.stderr


def test_write_does_one_action_and_exits_0_once_the_charger_took_it(heidelberg: tuple[str, ImageSlave]) -> None:
    port, slave = heidelberg
    arguments = ("--model", "heidelberg-ec", "--port", port, *SPEED)
    assert evcharger("write", *arguments, "set_current_limit", "9").returncode == 0
    assert slave.writes[-1][1:] == (261, (90,))
    assert evcharger("write", *arguments, "charge_stop").returncode == 0
    assert slave.writes[-1][1:] == (261, (0,))


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        (("set_current_limit", "5"), "hors des bornes 6 à 16 A"),
        (("set_current_limit",), "une valeur numérique est attendue"),
        (("cable_lock",), "n'a pas la commande « cable_lock »"),
        (("fly",), "commande inconnue"),
    ],
)
def test_write_that_makes_no_sense_exits_1_and_writes_nothing(
    heidelberg: tuple[str, ImageSlave], order: tuple[str, ...], reason: str
) -> None:
    port, slave = heidelberg
    done = evcharger("write", "--model", "heidelberg-ec", "--port", port, *SPEED, *order)
    assert done.returncode == 1
    assert reason in done.stderr
    assert not [write for write in slave.writes if write[1] == 261]


def test_write_that_the_charger_does_not_follow_exits_1(heidelberg: tuple[str, ImageSlave]) -> None:
    port, slave = heidelberg
    slave.on_write = lambda table, address, value: slave.image[table].__setitem__(261, 160)
    done = evcharger("write", "--model", "heidelberg-ec", "--port", port, *SPEED, "set_current_limit", "9")
    assert done.returncode == 1
    assert "current_limit est à 16 au lieu de 9" in done.stderr


def test_models_lists_every_shipped_profile() -> None:
    listed = json.loads(evcharger("models", "--json").stdout)
    assert [model["id"] for model in listed][: len(profile.shipped())] == list(profile.shipped())
    abb = next(model for model in listed if model["id"] == "abb-terra-ac")
    assert "cable_lock" in abb["commands"]


def test_check_profile_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    document = json.loads((profile.SHIPPED_DIR / "heidelberg-ec.json").read_text())
    document["id"] = "mine"
    good = tmp_path / "mine.json"
    good.write_text(json.dumps(document))
    assert evcharger("check-profile", str(good)).returncode == 0
    document["points"]["charging_state"]["type"] = "uint17"
    good.write_text(json.dumps(document))
    done = evcharger("check-profile", str(good))
    assert done.returncode == 2
    assert "mine.json : $.points.charging_state.type : l'une des valeurs" in done.stderr
    assert evcharger("check-profile", str(tmp_path / "none.json")).returncode == 2


def test_plan_says_what_a_round_costs_before_the_cable_is_bought() -> None:
    done = evcharger("plan", "--model", "abb-terra-ac", "--count", "5")
    assert done.returncode == 0
    # one read of 30 registers: 8 + 65 characters of 10 bits at 9600, 5 ms, then 3.5 characters
    assert "holding 0x4006..0x4023 : 81.0 ms" in done.stdout
    assert "5 × ABB Terra AC à 9600 8N1" in done.stdout
    assert "toutes les 0.42 s (1 trames par chargeur" in done.stdout


def test_a_closed_pipe_or_a_bad_option_is_no_traceback() -> None:
    done = evcharger("read", "--model", "abb-terra-ac")
    assert done.returncode == 2
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr
