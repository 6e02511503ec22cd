"""The list of commands: the user's own document to the letter, and what Jeedom asks of a list of commands."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from evchargerd import catalog

LANGUAGES = ("fr_FR", "en_US", "de_DE", "es_ES", "it_IT", "pt_PT")

# Copied by hand from the user's document, in its order: logicalId, type, sub type, French name, French description.
SEED = [
    ("connected", "info", "binary", "Connecté", "Cette info indique si un véhicule est connecté au chargeur."),
    ("state", "info", "numeric", "Etat", "Cette info numérique indique l'état du véhicule connecté au chargeur."),
    (
        "cable_locked",
        "info",
        "binary",
        "Câble verrouillé",
        "Cette info indique si le câble branché au chargeur est verrouillé ou non.",
    ),
    (
        "cable_locked_permanently",
        "info",
        "binary",
        "Câble verrouillé en permanence",
        "Cette info indique si le câble est verrouillé même lorsque qu'il n'est pas branché à un véhicule en charge.",
    ),
    (
        "cable_lock",
        "action",
        "other",
        "Verrouillage permanent ON",
        "Cette action active le verrouillage permanent du câble.",
    ),
    (
        "cable_unlock",
        "action",
        "other",
        "Verrouillage permanent OFF",
        "Cette action désactive le verrouillage permanent du câble.",
    ),
    (
        "cable_state",
        "info",
        "numeric",
        "Etat du verrouillage",
        "Cette info est le résultat du calcul cable_locked + 2 * cable_locked_permanently. Elle est utilisée pour "
        "l'affichage du widget EVcharger/Cable_lock qui commande l'activation et la désactivation du verrouillage "
        "permanent.",
    ),
    ("power", "info", "numeric", "Puissance", "Puissance de charge"),
    ("voltage_1", "info", "numeric", "Tension phase 1", "Tension électrique pour chacune des trois phases."),
    ("voltage_2", "info", "numeric", "Tension phase 2", "Tension électrique pour chacune des trois phases."),
    ("voltage_3", "info", "numeric", "Tension phase 3", "Tension électrique pour chacune des trois phases."),
    ("current_1", "info", "numeric", "Courant phase 1", "Courant électrique pour chacune des trois phases."),
    ("current_2", "info", "numeric", "Courant phase 2", "Courant électrique pour chacune des trois phases."),
    ("current_3", "info", "numeric", "Courant phase 3", "Courant électrique pour chacune des trois phases."),
]
SEED_SECTIONS = [
    ("vehicle", ["connected", "state"]),
    (
        "cable",
        ["cable_locked", "cable_locked_permanently", "cable_lock", "cable_unlock", "cable_state"],
    ),
    ("measure", ["power", "voltage_1", "voltage_2", "voltage_3", "current_1", "current_2", "current_3"]),
]
STATES = [
    (1, "Débranché", "Aucun véhicule n'est connecté au chargeur", "compact_1.png"),
    (2, "En attente", "Véhicule branché, en attente de charge", "compact_2.png"),
    (3, "Recharge", "Véhicule branché, charge en cours", "compact_3.png"),
    (4, "Terminé", "Véhicule branché, charge terminée", "compact_4.png"),
    (5, "Erreur", "Erreur", "compact_5.png"),
    (6, "Prêt", "Chargeur prêt", "compact_6.png"),
]
# The document breaks the line where the comma stands here, and writes "déverouillé" and "verouillé" so.
CABLE_STATES = [
    (0, "Câble déverouillé, Verrouillage permanent désactivé"),
    (1, "Câble verouillé, Verrouillage permanent désactivé"),
    (2, "Câble déverouillé, Verrouillage permanent activé"),
    (3, "Câble verouillé, Verrouillage permanent activé"),
]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((catalog.CONFIG_DIR / "commands.json").read_text(encoding="utf-8"))
    return loaded


@pytest.fixture(scope="module")
def entries(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["logicalId"]: entry for entry in document["commands"]}


# --- The user's document ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("logical_id", "kind", "sub_type", "name", "description"), SEED, ids=[row[0] for row in SEED])
def test_a_command_of_the_users_document_is_what_it_says_there(
    entries: dict[str, dict[str, Any]], logical_id: str, kind: str, sub_type: str, name: str, description: str
) -> None:
    entry = entries[logical_id]
    assert (entry["type"], entry["subType"]) == (kind, sub_type)
    assert entry["name"]["fr_FR"] == name
    assert entry["description"]["fr_FR"] == description
    assert entry["origin"] == "seed"


def test_only_the_commands_of_the_users_document_are_marked_as_such(entries: dict[str, dict[str, Any]]) -> None:
    assert [name for name, entry in entries.items() if entry["origin"] == "seed"] == [row[0] for row in SEED]


def test_the_users_commands_lie_in_the_sections_of_the_document(entries: dict[str, dict[str, Any]]) -> None:
    for section, names in SEED_SECTIONS:
        assert [n for n, e in entries.items() if e["section"] == section and e["origin"] == "seed"] == names


def test_the_six_states_have_their_texts_descriptions_and_images(entries: dict[str, dict[str, Any]]) -> None:
    shown = [
        (value["value"], value["text"]["fr_FR"], value["description"]["fr_FR"], *value["images"])
        for value in entries["state"]["values"]
    ]
    assert shown == STATES


def test_the_four_lock_states_have_their_texts_and_four_images_each(entries: dict[str, dict[str, Any]]) -> None:
    values = entries["cable_state"]["values"]
    assert [(value["value"], value["text"]["fr_FR"]) for value in values] == CABLE_STATES
    assert values[0]["images"] == [
        "widget_lock_0_d_color.png",
        "widget_lock_0_d_bw.png",
        "widget_lock_0_l_color.png",
        "widget_lock_0_l_bw.png",
    ]
    for number, value in enumerate(values):
        assert value["images"] == [image.replace("lock_0", f"lock_{number}") for image in values[0]["images"]]


def test_the_lock_actions_use_the_widget_of_the_document_and_show_the_lock_state(
    entries: dict[str, dict[str, Any]],
) -> None:
    for name in ("cable_lock", "cable_unlock"):
        assert entries[name]["template"] == {"dashboard": "EVcharger::Cable_lock", "mobile": "EVcharger::Cable_lock"}
        assert entries[name]["linkedInfo"] == "cable_state"


def test_every_image_named_exists(entries: dict[str, dict[str, Any]]) -> None:
    folder = catalog.CONFIG_DIR.parents[1] / "desktop" / "img"
    names = [image for e in entries.values() for value in e.get("values", ()) for image in value.get("images", ())]
    assert len(names) == 6 + 4 * 4
    assert [name for name in names if not (folder / name).is_file()] == []


# --- What Jeedom asks of it ------------------------------------------------------------------------------------------


def test_the_list_fits_its_schema(document: dict[str, Any]) -> None:
    schema = json.loads((catalog.CONFIG_DIR / "commands.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    assert [error.json_path for error in Draft202012Validator(schema).iter_errors(document)] == []


def test_the_schema_would_notice_an_info_with_the_sub_type_of_an_action(document: dict[str, Any]) -> None:
    schema = json.loads((catalog.CONFIG_DIR / "commands.schema.json").read_text(encoding="utf-8"))
    wrong = {**document, "commands": [{**document["commands"][1], "subType": "slider"}]}
    assert [error.json_path for error in Draft202012Validator(schema).iter_errors(wrong)] == ["$.commands[0].subType"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_commands_have_the_same_name(entries: dict[str, dict[str, Any]], language: str) -> None:
    """Jeedom refuses a second command of one name within an equipment (cmd.class.php), without regard to case."""
    names = [entry["name"][language].lower() for entry in entries.values()]
    assert sorted(names) == sorted(set(names))


def test_no_logical_id_occurs_twice(document: dict[str, Any]) -> None:
    names = [entry["logicalId"] for entry in document["commands"]]
    assert len(names) == len(set(names)) == len(catalog.load())


def test_every_linked_info_is_an_info_of_the_list(entries: dict[str, dict[str, Any]]) -> None:
    linked = {name: entry["linkedInfo"] for name, entry in entries.items() if "linkedInfo" in entry}
    assert linked == {
        "cable_lock": "cable_state",
        "cable_unlock": "cable_state",
        "charge_start": "charge_enabled",
        "charge_stop": "charge_enabled",
        "set_current_limit": "current_limit",
        "set_phases": "phases",
    }
    assert all(entries[info]["type"] == "info" for info in linked.values())


def test_what_a_command_follows_from_is_an_info_of_the_list(entries: dict[str, dict[str, Any]]) -> None:
    offered_with = [
        entry["offeredWith"] for entry in entries.values() if entry.get("offeredWith", "always") != "always"
    ]
    assert offered_with
    assert all(entries[name]["type"] == "info" for names in offered_with for name in names)


def test_every_section_named_exists(document: dict[str, Any]) -> None:
    assert {entry["section"] for entry in document["commands"]} == set(document["sections"])


def test_the_file_the_order_numbers_and_the_loaded_list_agree_on_the_display_order(document: dict[str, Any]) -> None:
    in_file = [entry["logicalId"] for entry in document["commands"]]
    assert [entry["order"] for entry in document["commands"]] == list(range(1, len(in_file) + 1))
    assert list(catalog.load()) == in_file


def test_a_slider_has_bounds_and_a_select_has_values(entries: dict[str, dict[str, Any]]) -> None:
    assert all({"min", "max"} <= set(entry) for entry in entries.values() if entry["subType"] == "slider")
    assert all(entry["values"] for entry in entries.values() if entry["subType"] == "select")


# --- As the daemon sees it -------------------------------------------------------------------------------------------


def test_a_loaded_command_knows_its_step_unit_and_values() -> None:
    commands = catalog.load()
    assert (commands["session_duration"].step, commands["session_duration"].unit) == (60, "s")
    assert commands["power"].step is None
    assert commands["set_phases"].values == (1, 3)
    assert commands["cable_lock"].is_action
    assert not commands["cable_state"].is_action


def test_a_model_offers_what_it_serves_what_follows_from_that_and_what_all_have() -> None:
    assert catalog.offered(["power", "state"]) == (
        "refresh",
        "connected",
        "state",
        "power",
        "session_duration",
        "online",
    )


def test_a_model_without_state_or_lock_offers_nothing_that_follows_from_them() -> None:
    assert catalog.offered(["power"]) == ("refresh", "power", "online")
    assert "cable_state" in catalog.offered(["cable_locked"])
