"""Every charger that is shipped: its profile says what it must, in one meaning with the facts it was made from."""

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from register_image import RegisterImage

from evchargerd import catalog, profile
from evchargerd.charger import CHARGING, NO_VEHICLE, READY, Charger
from evchargerd.expression import Rules, TextOf
from evchargerd.profile import Profile
from evchargerd.rules import When

MODELS = profile.shipped()
FACTS_DIR = Path(__file__).resolve().parents[3] / "shared" / "chargers"
TABLE_OF_FUNCTION = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}

every_model = pytest.mark.parametrize("model", MODELS)


def models_with(*keys: str) -> list[str]:
    """Models whose document has something under these nested keys (plain JSON: a faulty profile must fail its test)."""

    def has(model: str) -> bool:
        node: Any = json.loads((profile.SHIPPED_DIR / f"{model}.json").read_text(encoding="utf-8"))
        for key in keys:
            node = node.get(key, {})
        return bool(node)

    return [model for model in MODELS if has(model)]


def whens(loaded: Profile) -> Iterator[When]:
    """All conditions of a profile, but those inside its commands and scales."""
    yield loaded.identify
    for action in loaded.actions.values():
        yield action.expect_when
        yield from (refusal.when for refusal in action.refusals)
    for write in writes(loaded):
        yield write.when
    yield from (keep.when for keep in loaded.keepalive)


def writes(loaded: Profile) -> Iterator[profile.Write]:
    for action in loaded.actions.values():
        yield from action.writes
    yield from loaded.start
    yield from (keep.write for keep in loaded.keepalive if keep.write is not None)


# --- By themselves ---------------------------------------------------------------------------------------------------


@every_model
def test_the_profile_fits_the_schema_and_all_its_names_lead_somewhere(model: str) -> None:
    assert profile.load(model).id == model


@every_model
def test_the_example_means_the_values_it_claims(model: str) -> None:
    loaded = profile.load(model)
    assert loaded.example is not None, "every profile has a worked example"
    values = RegisterImage.of_example(loaded).run(Charger(loaded, loaded.line.unit, unverified=True).poll(whole=True))
    claimed = loaded.example.values
    assert {name: values.get(name) for name in claimed} == pytest.approx(claimed)


@every_model
def test_a_user_reads_the_notes_in_his_language(model: str) -> None:
    loaded = profile.load(model)
    assert loaded.notes
    for note in loaded.notes:
        assert note["fr_FR"] != note["en_US"]


@every_model
def test_every_command_is_one_that_jeedom_knows(model: str) -> None:
    loaded = profile.load(model)
    known = catalog.load()
    assert all(not known[name].is_action for name in loaded.commands)
    assert all(known[name].is_action for name in loaded.actions)


@every_model
def test_every_point_serves_something(model: str) -> None:
    loaded = profile.load(model)
    used = {name for expression in loaded.commands.values() for name in expression.needs}
    used |= {name for when in whens(loaded) for name in when.points}
    used |= {write.point for write in writes(loaded)}
    used |= {keep.read for keep in loaded.keepalive if keep.read is not None}
    used |= {need for point in loaded.points.values() for need in point.needs}
    used |= {point.read_back for point in loaded.points.values() if point.read_back is not None}
    used |= {loaded.limit.max_point} if loaded.limit is not None and loaded.limit.max_point is not None else set()
    assert set(loaded.points) - used == set()


@every_model
def test_the_state_is_one_of_the_six_and_tells_no_vehicle_ready_and_charging_apart(model: str) -> None:
    state = profile.load(model).commands["state"]
    assert isinstance(state, Rules)
    results = {rule.result for rule in state.rules} - {None}
    assert results <= set(catalog.load()["state"].values)
    assert results >= {NO_VEHICLE, CHARGING, READY}


@every_model
def test_polls_and_first_reads_ask_only_for_registers_that_are_known(model: str) -> None:
    loaded = profile.load(model)
    for unverified in (False, True):
        charger = Charger(loaded, loaded.line.unit, unverified=unverified)
        for read in (*charger.reads(), *charger.reads(whole=True)):
            known = {
                address
                for point in loaded.points.values()
                if point.table == read.table and point.readable and (unverified or not point.unverified)
                for address in range(point.address, point.last + 1)
            }
            for first, last in loaded.blocks.get(read.table, ()):
                known |= set(range(first, last + 1))
            assert set(range(read.address, read.last + 1)) <= known
            assert read.count <= loaded.max_registers


@every_model
def test_what_nobody_has_confirmed_is_off_until_the_user_asks(model: str) -> None:
    loaded = profile.load(model)
    assert loaded.unverified.isdisjoint(loaded.offered())
    assert loaded.unverified <= set(loaded.offered(unverified=True))
    for name, action in loaded.actions.items():
        if any(loaded.points[write.point].unverified for write in action.writes):
            assert name in loaded.unverified


@pytest.mark.parametrize("model", models_with("watchdog"))
def test_the_charger_is_kept_alive_at_least_twice_in_its_watchdog_time(model: str) -> None:
    loaded = profile.load(model)
    watchdog = loaded.watchdog
    assert watchdog is not None
    refreshing = [
        keep
        for keep in loaded.keepalive
        if watchdog.refreshed_by == "any" or (keep.write is not None and keep.write.point == watchdog.refreshed_by)
    ]
    assert refreshing
    assert all(keep.every <= watchdog.timeout / 2 for keep in refreshing)


@every_model
def test_a_charge_that_can_be_paused_can_be_resumed_and_a_limit_has_bounds(model: str) -> None:
    loaded = profile.load(model)
    assert ("charge_stop" in loaded.actions) == ("charge_start" in loaded.actions)
    assert ("cable_lock" in loaded.actions) == ("cable_unlock" in loaded.actions)
    assert ("set_current_limit" in loaded.actions) == (loaded.limit is not None)
    if "set_current_limit" in loaded.actions:
        assert "current_limit" in loaded.commands
    if "set_phases" in loaded.actions:
        assert "phases" in loaded.commands


@pytest.mark.parametrize("model", models_with("commands", "error_text"))
def test_fault_texts_are_told_apart(model: str) -> None:
    text = profile.load(model).commands["error_text"]
    assert isinstance(text, TextOf)
    for language in ("fr_FR", "en_US"):
        for texts in (text.bits, text.codes):
            words = [words[language] for words in texts.values()]
            assert len(set(words)) == len(words)


@every_model
def test_the_example_means_the_same_on_a_charger_that_refuses_reads_over_holes(model: str) -> None:
    loaded = profile.load(model)
    assert loaded.example is not None
    image = RegisterImage(loaded.example.image)  # without the fillers of the blocks: long reads run into holes
    values = image.run(Charger(loaded, loaded.line.unit, unverified=True).poll(whole=True))
    assert {name: values.get(name) for name in loaded.example.values} == pytest.approx(loaded.example.values)


# --- Against the facts, where they lie beside the repository ---------------------------------------------------------

with_facts = pytest.mark.skipif(not FACTS_DIR.is_dir(), reason="../shared/chargers does not lie beside the repository")
FACT_IDS = tuple(model for model in MODELS if (FACTS_DIR / f"{model}.json").is_file())
every_fact = pytest.mark.parametrize("model", FACT_IDS)


@lru_cache
def facts(model: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FACTS_DIR / f"{model}.json").read_text(encoding="utf-8"))
    return loaded


@with_facts
def test_every_charger_of_the_facts_has_a_profile() -> None:
    known = {path.stem for path in FACTS_DIR.glob("*.json")} - {"tcp-only"}
    assert known - set(MODELS) == set()


@with_facts
@every_fact
def test_the_serial_line_is_that_of_the_facts(model: str) -> None:
    line, serial = profile.load(model).line, facts(model)["serial"]
    assert isinstance(serial["unit_id"], str) or line.unit == serial["unit_id"]
    assert line.stopbits == serial["stop_bits"]
    assert serial["parity"] not in ("N", "E", "O") or line.parity == serial["parity"]
    speeds = [speed for speed in serial["baud"] if isinstance(speed, int)]
    assert not speeds or line.baudrate in speeds


@with_facts
@every_fact
def test_every_register_is_one_of_the_facts(model: str) -> None:
    readable: dict[str, set[int]] = {table: set() for table in TABLE_OF_FUNCTION.values()}
    writable: dict[str, set[int]] = {table: set() for table in TABLE_OF_FUNCTION.values()}
    for fact in facts(model)["points"]:
        addresses = range(fact["address_dec"], fact["address_dec"] + (fact["count"] or 1))
        functions = fact["fc_read"] if isinstance(fact["fc_read"], list) else [fact["fc_read"]]
        for function in functions:
            if function in TABLE_OF_FUNCTION:
                readable[TABLE_OF_FUNCTION[function]] |= set(addresses)
        for function in fact["fc_write"] or ():
            writable["coil" if function in (5, 15) else "holding"] |= set(addresses)
    loaded = profile.load(model)
    for point in loaded.points.values():
        addresses = range(point.address, point.last + 1)
        if point.unverified:
            continue
        if point.readable:
            assert set(addresses) <= readable[point.table], f"{point.name} is read where the facts know nothing"
    for write in writes(loaded):
        point = loaded.points[write.point]
        if not point.unverified:
            addresses = range(point.address, point.last + 1)
            assert set(addresses) <= writable[point.table], f"{point.name} is written where the facts forbid it"


# Examples that are not the facts' own, each for a reason.
EXAMPLES_BY_REASON: dict[str, str] = {
    "etek-ekepc2": "the facts turn 16 A into a duty by evcc's 1.67 % per ampere; the example takes IEC 61851-1's curve",
    "solax-x-hac": "the facts give both generations the same serial number, by which a scan tells them apart",
}


@with_facts
@pytest.mark.parametrize("model", [model for model in FACT_IDS if model not in EXAMPLES_BY_REASON])
def test_the_example_has_all_that_the_facts_have(model: str) -> None:
    told, example = facts(model)["example"], profile.load(model).example
    assert example is not None
    for code, words in told["registers"].items():
        held = example.image[TABLE_OF_FUNCTION[int(code)]]
        assert {address: held.get(int(address)) for address in words} == words
    assert {name: example.values.get(name) for name in told["values"]} == told["values"]


# State codes that the profile reads otherwise than the facts' plain table, each for a reason.
STATES_BY_REASON: dict[tuple[str, object], str] = {
    ("heidelberg-ec", 8): "derating is charging only while current flows, as the facts' own note says",
    ("abl-emh1", 224): "outlet disabled: whether a vehicle is there is not known, as the facts' own note says",
    ("solax-x-evc", 5): "unavailable says nothing about a vehicle, and is no fault",
    ("solax-x-hac", 5): "unavailable says nothing about a vehicle, and is no fault",
    ("sungrow-ac011e", 8): "unavailable says nothing about a vehicle, and is no fault",
}


@with_facts
@every_fact
def test_a_state_code_alone_means_what_the_facts_say(model: str) -> None:
    loaded, told = profile.load(model), facts(model)
    state = loaded.commands["state"]
    source = next(fact for fact in told["points"] if fact["name"] == told["state_source"]["point"])
    points = [name for name in dict.fromkeys(state.needs) if loaded.points[name].address == source["address_dec"]]
    if len(points) != 1:
        pytest.skip(f"{model}: the state is made of {len(points)} points of that register")
    for row in told["state_map"]:
        code = row["code"]
        if (model, code) in STATES_BY_REASON or not (isinstance(code, int) or len(str(code)) <= 2):
            continue
        charger = Charger(loaded, loaded.line.unit)
        charger.points = {points[0]: code}
        allowed = {2, 6} if row.get("note", "").startswith("6 when") else {row["state"]}
        assert state.value(charger) in allowed, f"code {code}: {row['meaning']}"
