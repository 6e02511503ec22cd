"""The configuration that Jeedom pushes: completed from the profile, and every fault named with its JSON path."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evchargerd import profile
from evchargerd.config import BAUDRATES, MAX_CHARGERS, MAX_PORT_LENGTH, Config, ConfigError, parse, parse_charger
from evchargerd.modbus.port import LineSettings

PORT = "/dev/serial/by-id/usb-FTDI_FT232R-if00-port0"


def entry(**changes: Any) -> dict[str, Any]:
    return {"id": 12, "model": "abb-terra-ac", "port": PORT, "unit": 1} | changes


def document(*entries: Any, **others: Any) -> dict[str, Any]:
    return {"chargers": list(entries), **others}


def only_error(config: Config) -> str:
    (error,) = config.errors
    return error


# --- What is taken ---------------------------------------------------------------------------------------------------


def test_the_document_of_the_contract_is_taken() -> None:
    config = parse(
        {
            "chargers": [
                {
                    "id": 12,
                    "model": "abb-terra-ac",
                    "port": PORT,
                    "unit": 3,
                    "poll": 10,
                    "baudrate": 19200,
                    "parity": "E",
                    "stopbits": 2,
                }
            ],
            "language": "en_US",
        }
    )
    charger = config.chargers[12]
    assert (config.errors, config.language) == ((), "en_US")
    assert charger.profile is profile.load("abb-terra-ac")
    assert charger.line == LineSettings(PORT, 19200, "E", 2, "rtu")
    assert (charger.id, charger.unit, charger.poll, charger.unverified) == (12, 3, 10, False)


@pytest.mark.parametrize(
    ("model", "line", "unit"),
    [
        ("abb-terra-ac", (9600, "N", 1, "rtu"), 1),
        ("heidelberg-ec", (19200, "E", 1, "rtu"), 1),
        ("mennekes-compact", (57600, "N", 2, "rtu"), 50),
        ("etek-ekepc2", (9600, "N", 1, "rtu"), 255),
        ("obo-ion", (19200, "E", 1, "rtu"), 101),
    ],
)
def test_what_is_left_out_comes_from_the_models_profile(model: str, line: tuple[int, str, int, str], unit: int) -> None:
    charger = parse_charger({"id": 1, "model": model, "port": PORT})
    assert charger.line == LineSettings(PORT, *line)
    assert (charger.unit, charger.poll) == (unit, 5)


def test_abl_speaks_its_own_ascii() -> None:
    assert parse_charger({"id": 1, "model": "abl-emh1", "port": PORT}).line.framing == "ascii-abl"


@pytest.mark.parametrize("empty", [None, ""])
@pytest.mark.parametrize("key", ["unit", "baudrate", "parity", "stopbits", "poll", "unverified"])
def test_an_empty_field_of_the_page_counts_as_left_out(key: str, empty: str | None) -> None:
    assert parse_charger(entry(model="mennekes-compact", **{key: empty})) == parse_charger(
        {name: value for name, value in entry(model="mennekes-compact").items() if name != key}
    )


def test_numbers_may_come_as_text_as_php_sends_them() -> None:
    assert parse_charger(entry(id="12", unit="3", baudrate="19200", stopbits="2", poll="7.5")) == parse_charger(
        entry(id=12, unit=3, baudrate=19200, stopbits=2, poll=7.5)
    )


@pytest.mark.parametrize(
    ("raw", "meaning"), [(True, True), (False, False), (1, True), (0, False), ("1", True), ("0", False)]
)
def test_unverified_commands_may_be_asked_for_as_php_does(raw: Any, meaning: bool) -> None:
    assert parse_charger(entry(unverified=raw)).unverified is meaning


@pytest.mark.parametrize(
    "port",
    ["/dev/ttyUSB0", PORT, "socket://192.168.1.20:8899", "rfc2217://gateway:2217", "tcp://192.168.1.30:502"],
)
def test_device_paths_and_gateways_are_ports(port: str) -> None:
    assert parse_charger(entry(port=port)).line.port == port


def test_the_language_is_french_where_nothing_is_said() -> None:
    assert parse(document()).language == "fr_FR"


# --- What is refused, and where --------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [None, [], "text", 5, True])
def test_a_document_that_is_no_object_is_refused_whole(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="un objet JSON est attendu"):
        parse(wrong)


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({}, r"\$\.chargers : une liste"),
        ({"chargers": {}}, r"\$\.chargers : une liste"),
        ({"chargers": None}, r"\$\.chargers : une liste"),
        ({"chargers": [], "language": 3}, r"\$\.language : un texte"),
        ({"chargers": [{}] * (MAX_CHARGERS + 1)}, rf"\$\.chargers : {MAX_CHARGERS} chargeurs au plus"),
    ],
)
def test_a_document_without_a_list_of_chargers_is_refused_whole(wrong: Any, path: str) -> None:
    with pytest.raises(ConfigError, match=path):
        parse(wrong)


HUGE = 10**400  # a whole number in JSON that no float holds

FAULTS = [
    (5, "$.chargers[1] : un objet est attendu"),
    (None, "$.chargers[1] : un objet est attendu"),
    *[
        (entry(id=wrong), "$.chargers[1].id : un nombre entier de 0 à 2147483647 est attendu")
        for wrong in (None, "", -1, 2**31, 1.5, True, "x", "-1", "9" * 5000, HUGE, [1], {})
    ],
    *[
        (entry(model=wrong), "$.chargers[1].model : l'identifiant d'un modèle est attendu")
        for wrong in (None, "", 5, [], {})
    ],
    *[
        (entry(model=wrong), "$.chargers[1].model : ")
        for wrong in ("unknown", "../commands", "abb-terra-ac.json", "/etc/passwd", "ABB-TERRA-AC", "a\0b")
    ],
    *[
        (entry(port=wrong), "$.chargers[1].port : un port (/dev/…) ou une adresse (socket://machine:port) est attendu")
        for wrong in (None, "", 5, [], "/dev/" + "x" * MAX_PORT_LENGTH, "/dev/tty\0", "/dev/tty\nUSB0")
    ],
    *[
        (entry(port=wrong), "$.chargers[1].port : socket://, rfc2217://, tcp:// sont admis")
        for wrong in (
            "spy:///dev/ttyUSB0?file=/tmp/x",
            "loop://",
            "hwgrep://.*",
            "alt:///dev/ttyUSB0?class=PosixPollSerial",
            "cp2110://",
            "file:///etc/passwd",
            "http://192.168.1.1",
            "://",
            "/dev/spy://x",
        )
    ],
    *[
        (entry(port=wrong), "$.chargers[1].port : un chemin complet est attendu")
        for wrong in ("ttyUSB0", "COM3", "auto", "~/x")
    ],
    *[
        (entry(unit=wrong), "$.chargers[1].unit : un nombre entier de 0 à 255 est attendu")
        for wrong in (-1, 256, 1.5, "x", True, HUGE)
    ],
    *[
        (entry(baudrate=wrong), "$.chargers[1].baudrate : un nombre entier de 1200 à 115200 est attendu")
        for wrong in (0, 300, 230400, "fast", HUGE)
    ],
    (entry(baudrate=9601), f"$.chargers[1].baudrate : une vitesse parmi {', '.join(map(str, BAUDRATES))} est attendue"),
    *[(entry(parity=wrong), "$.chargers[1].parity : N, E ou O est attendu") for wrong in ("n", "even", 0, [], {})],
    *[
        (entry(stopbits=wrong), "$.chargers[1].stopbits : un nombre entier de 1 à 2 est attendu")
        for wrong in (0, 3, 1.5, "two")
    ],
    *[
        (entry(poll=wrong), "$.chargers[1].poll : un nombre de secondes de 1 à 3600 est attendu")
        for wrong in (0, 0.5, 3601, -5, "soon", "nan", "inf", "1e999", [], {}, HUGE, float("nan"), True)
    ],
    *[
        (entry(unverified=wrong), "$.chargers[1].unverified : true ou false est attendu")
        for wrong in ("yes", 2, [], {}, "false")
    ],
]


@pytest.mark.parametrize(("wrong", "expected"), FAULTS, ids=lambda item: repr(item)[:70])
def test_a_wrong_charger_is_left_out_with_its_json_path_and_the_others_run(wrong: Any, expected: str) -> None:
    config = parse(document(entry(id=1, unit=1), wrong, entry(id=3, unit=3)))
    assert only_error(config).startswith(expected)
    assert list(config.chargers) == [1, 3]


def test_a_users_own_profile_that_is_wrong_is_told_with_its_own_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.json").write_text("{}")
    monkeypatch.setattr(profile, "USER_DIR", tmp_path)
    error = only_error(parse(document(entry(model="mine"))))
    assert error.startswith("$.chargers[0].model : mine.json : $ : il manque ")


# --- Chargers that share ---------------------------------------------------------------------------------------------


def test_chargers_may_share_a_line_with_the_same_settings() -> None:
    config = parse(document(entry(id=1, unit=1), entry(id=2, unit=2), entry(id=3, model="evse-din", unit=3)))
    assert (list(config.chargers), config.errors) == ([1, 2, 3], ())


def test_the_second_charger_of_one_id_is_refused() -> None:
    config = parse(document(entry(unit=1), entry(unit=2)))
    assert only_error(config) == "$.chargers[1].id : l'identifiant 12 est déjà pris"


def test_two_chargers_of_a_model_cannot_have_one_unit_id_on_a_line() -> None:
    config = parse(document(entry(id=1), entry(id=2)))
    assert only_error(config) == "$.chargers[1].unit : l'adresse 1 est déjà celle du chargeur 1"
    assert parse(document(entry(id=1), entry(id=2, port="/dev/ttyUSB1"))).errors == ()


def test_the_two_connectors_of_a_charger_share_its_unit_id() -> None:
    config = parse(document(entry(id=1, model="pracht-alpha"), entry(id=2, model="pracht-alpha-2")))
    assert (list(config.chargers), config.errors) == ([1, 2], ())


@pytest.mark.parametrize(
    ("others", "shown"),
    [
        ({"baudrate": 19200}, "19200 8N1 rtu"),
        ({"parity": "E"}, "9600 8E1 rtu"),
        ({"stopbits": 2}, "9600 8N2 rtu"),
        ({"model": "heidelberg-ec"}, "19200 8E1 rtu"),
        ({"model": "abl-emh1"}, "38400 8E1 ascii-abl"),
    ],
)
def test_chargers_of_a_line_with_different_settings_are_told_both_settings(others: dict[str, Any], shown: str) -> None:
    config = parse(document(entry(id=1), entry(id=2, unit=2, **others)))
    assert only_error(config) == (
        f"$.chargers[1] : sur {PORT}, le chargeur 1 utilise 9600 8N1 rtu ; "
        f"tous les chargeurs d'une ligne doivent avoir les mêmes réglages (et non {shown})"
    )
    assert list(config.chargers) == [1]


# --- Anything at all -------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(HUGE),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)
KEYS = ["id", "model", "port", "unit", "baudrate", "parity", "stopbits", "poll", "unverified"]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.dictionaries(st.sampled_from(KEYS), json_values).map(lambda changes: entry(**changes)), max_size=3))
def test_whatever_the_entries_hold_each_is_run_or_told(entries: list[dict[str, Any]]) -> None:
    config = parse(document(*entries))
    assert len(config.chargers) + len(config.errors) == len(entries)
    assert all(error.startswith("$.chargers[") for error in config.errors)
