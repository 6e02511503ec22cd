"""A wrong profile is refused with its file, the JSON path of the fault and, in French, what was expected there."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evchargerd import profile
from evchargerd.profile import ProfileError

Document = dict[str, Any]
GOOD = "abb-terra-ac"
DROP = object()


@pytest.fixture
def document() -> Document:
    loaded: Document = json.loads((profile.SHIPPED_DIR / f"{GOOD}.json").read_text(encoding="utf-8"))
    return loaded


def change(*keys: str | int, to: object = DROP) -> Callable[[Document], None]:
    """Put `to` at these nested keys, or drop what is there."""

    def mutate(document: Document) -> None:
        node: Any = document
        for key in keys[:-1]:
            node = node[key]
        if to is DROP:
            del node[keys[-1]]
        else:
            node[keys[-1]] = to

    return mutate


MUTATIONS = [
    # What the schema sees.
    ("a key is missing", change("brand"), "$", "il manque brand"),
    ("a key that nobody knows", change("colour", to="red"), "$", "clé inconnue colour"),
    ("a misspelt key of a point", change("points", "power", "adress", to=1), "$.points.power", "clé inconnue adress"),
    (
        "a table that does not exist", change("points", "power", "table", to="register"),
        "$.points.power.table", "'coil'",
    ),
    ("a type that does not exist", change("points", "power", "type", to="float16"), "$.points.power.type", "'float32'"),
    ("a parity that does not exist", change("line", "parity", to="X"), "$.line.parity", "'N', 'E', 'O'"),
    ("a speed that no port has", change("line", "baudrate", to=9601), "$.line.baudrate", "9600"),
    ("a unit id beyond a byte", change("line", "unit", to=256), "$.line.unit", "maximum 255"),
    ("a line without speed", change("line", "baudrate"), "$.line", "il manque baudrate"),
    ("an address beyond 16 bits", change("points", "power", "address", to=65536), "$.points.power.address", "maximum"),
    ("an address in no notation", change("points", "power", "address", to="40001"), "$.points.power.address", "0x"),
    ("a text where a number belongs", change("limit", "min", to="6"), "$.limit.min", "type number"),
    ("a pause below zero", change("timing", to={"pause_ms": -1}), "$.timing.pause_ms", "minimum 0"),
    ("a note without French", change("notes", 0, "fr_FR"), "$.notes[0]", "il manque fr_FR"),
    (
        "a write of something else", change("actions", "charge_stop", "write", 0, "to", to="off"),
        "$.actions.charge_stop.write[0].to", "last_limit",
    ),
    ("no points at all", change("points", to={}), "$.points", "au moins 1"),
    ("a name in capitals", change("points", "Power", to={}), "$.points", "et non \"Power\""),
    (
        "a block of three ends", change("reading", "blocks", "holding", 0, to=[1, 2, 3]),
        "$.reading.blocks.holding[0]", "au plus 2",
    ),
    (
        "a block of one end", change("reading", "blocks", "holding", 0, to=[1]),
        "$.reading.blocks.holding[0]", "au moins 2",
    ),
    (
        "remembering what is not true", change("commands", "cable_locked_permanently", "remembered", to=False),
        "$.commands.cable_locked_permanently.remembered", "la valeur true",
    ),
    # What only the loader sees: names that lead nowhere, and things that do not go together.
    ("another file's id", change("id", to="abb-terra"), "$.id", "le nom du fichier, « abb-terra-ac »"),
    ("a source that is not listed", change("points", "power", "source", to="M,Z"), "$.points.power.source", "M, O, E"),
    (
        "a bit in a table of registers", change("points", "power", "type", to="bit"),
        "$.points.power.type", "coil et discrete",
    ),
    (
        "a text without length", change("points", "power", "type", to="text"),
        "$.points.power.count", "un nombre de registres",
    ),
    ("a scale of zero", change("points", "power", "scale", to=0), "$.points.power.scale", "un facteur autre que 0"),
    ("a mask on text", change("points", "firmware", "mask", to=1), "$.points.firmware", "ni mask ni shift"),
    (
        "a format beyond its bytes", change("points", "firmware", "format", to="{4:x}"),
        "$.points.firmware.format", "des octets de 0 à 3",
    ),
    (
        "a whole-number format of a scaled value", change("points", "current_l1", "format", to="{value:d}"),
        "$.points.current_l1.format", "des nombres à virgule",
    ),
    (
        "a value past the last register", change("points", "power", "address", to=65535),
        "$.points.power.address", "0xFFFF",
    ),
    (
        "a curve that falls", change("points", "power", "curve", to={"raw": [1, 2], "value": [2, 1]}),
        "$.points.power.curve", "croissant",
    ),
    (
        "writing an input register", change("points", "limit_command", "table", to="input"),
        "$.points.limit_command.access", "la table input ne s'écrit pas",
    ),
    (
        "a read that is too short", change("reading", "max_registers", to=2),
        "$.points.serial_number.count", "au plus 2 registres",
    ),
    (
        "blocks that overlap", change("reading", "blocks", "holding", to=[[1, 5], [5, 9]]),
        "$.reading.blocks.holding", "ne se recouvrent pas",
    ),
    (
        "a command of an unknown point", change("commands", "power", to="watts"),
        "$.commands.power", "« watts » n'en est pas un",
    ),
    ("a command that Jeedom does not know", change("commands", "watts", to="power"), "$.commands.watts", "logicalId"),
    (
        "an action among the infos", change("commands", "charge_stop", to="power"),
        "$.commands.charge_stop", "commande info",
    ),
    (
        "a command of what cannot be read", change("commands", "power", to="lock_command"),
        "$.commands.power", "ne se lit pas",
    ),
    (
        "a rule about an unknown point", change("commands", "state", "rules", 0, "when", to={"cp": 1}),
        "$.commands.state", "« cp »",
    ),
    (
        "an expression of two kinds", change("commands", "power", to={"sum": ["power"], "first": ["power"]}),
        "$.commands.power", "un et un seul de sum",
    ),
    (
        "an action on a point that is only read", change("actions", "charge_stop", "write", 0, "point", to="power"),
        "$.actions.charge_stop.write[0].point", "non « power »",
    ),
    (
        "an action that expects what is not offered", change("actions", "charge_stop", "expect", to={"phases": 1}),
        "$.actions.charge_stop.expect.phases", "une commande info de ce profil",
    ),
    (
        "a refusal by an unknown point", change("actions", "cable_lock", "refuse", 0, "when", to={"socket": 1}),
        "$.actions.cable_lock.refuse[0].when", "« socket »",
    ),
    ("a limit that is upside down", change("limit", "min", to=40), "$.limit", "min inférieur ou égal à max"),
    ("a slider without bounds", change("limit"), "$.actions.set_current_limit", "un objet limit"),
    ("a keep-alive that does nothing", change("keepalive", 0, "read"), "$.keepalive[0]", "read ou write"),
    (
        "a watchdog fed by nothing known", change("watchdog", "refreshed_by", to="beat"),
        "$.watchdog.refreshed_by", "any ou le nom d'un point",
    ),
    ("a scan that reads an unknown point", change("identify", to={"name": 1}), "$.identify", "« name »"),
    (
        "a value where none is given", change("actions", "charge_stop", "write", 0, "to", to="value"),
        "$.actions.charge_stop.write[0].to", "aucune valeur",
    ),
    (
        "a value at the start", change("start", to=[{"point": "lock_command", "to": "value"}]),
        "$.start[0].to", "aucune valeur",
    ),
    (
        "a slider that writes no value", change("actions", "set_current_limit", "write", 0, "to", to=6),
        "$.actions.set_current_limit.write", "« value »",
    ),
    (
        "expecting a value where none is", change("actions", "charge_stop", "expect", "charge_enabled", to="value"),
        "$.actions.charge_stop.expect.charge_enabled", "un nombre",
    ),
]  # fmt: skip


def test_the_last_limit_needs_a_limit(document: Document) -> None:
    del document["limit"], document["actions"]["set_current_limit"]
    with pytest.raises(ProfileError) as refusal:
        profile.parse(document, f"{GOOD}.json")
    assert refusal.value.path == "$.actions.charge_start.write[0].to"
    assert "un objet limit" in refusal.value.expected


@pytest.mark.parametrize(
    ("mutate", "path", "expected"), [row[1:] for row in MUTATIONS], ids=[row[0] for row in MUTATIONS]
)
def test_the_fault_is_shown_where_it_is(
    document: Document, mutate: Callable[[Document], None], path: str, expected: str
) -> None:
    good = copy.deepcopy(document)
    mutate(document)
    assert document != good
    with pytest.raises(ProfileError) as refusal:
        profile.parse(document, f"{GOOD}.json")
    assert refusal.value.file == f"{GOOD}.json"
    assert refusal.value.path == path
    assert expected in refusal.value.expected
    assert str(refusal.value).startswith(f"{GOOD}.json : {path} : ")


def test_the_profile_that_the_others_are_made_from_is_accepted(document: Document) -> None:
    assert profile.parse(document, f"{GOOD}.json").id == GOOD


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "JSON invalide"),
        ("[]", "type object"),
        ("[" * 200_000, ""),
        (" " * (profile.MAX_BYTES + 1), "octets au plus"),
    ],
    ids=["half a document", "not an object", "nested without end", "too long"],
)
def test_a_file_that_is_no_profile_is_refused_as_a_whole(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "mine.json"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError) as refusal:
        profile.read(file)
    assert refusal.value.path == "$"
    assert expected in refusal.value.expected


def test_a_file_that_is_not_there_is_refused_as_well(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match="illisible"):
        profile.read(tmp_path / "gone.json")


def test_an_unknown_model_is_refused_and_cannot_lead_out_of_the_folders() -> None:
    for model in ("tesla", "../charger.schema", "", "abb-terra-ac.json"):
        with pytest.raises(ProfileError, match="modèle inconnu"):
            profile.load(model)


def test_every_pattern_of_the_schema_is_told_in_words() -> None:
    patterns: set[str] = set()

    def collect(part: object) -> None:
        if isinstance(part, dict):
            patterns.update(value for key, value in part.items() if key == "pattern" and isinstance(value, str))
            for value in part.values():
                collect(value)
        elif isinstance(part, list):
            for value in part:
                collect(value)

    collect(json.loads((profile.SHIPPED_DIR.parent / "charger.schema.json").read_text(encoding="utf-8")))
    assert patterns == set(profile.PATTERNS)
