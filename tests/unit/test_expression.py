"""What commands are made of: the value of each kind of expression, and when it says nothing."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from evchargerd.expression import parse
from evchargerd.rules import Value, When


@dataclass
class Known:
    """What an expression may look at, set by hand."""

    points: dict[str, Value] = field(default_factory=dict)
    language: str = "fr_FR"
    held: dict[When, float] = field(default_factory=dict)
    orders: dict[str, Value] = field(default_factory=dict)
    rises: dict[str, float] = field(default_factory=dict)

    def held_for(self, when: When) -> float:
        return self.held.get(when, 0)

    def remembered(self, command: str) -> Value:
        return self.orders.get(command, 0)

    def risen(self, counter: str) -> float | None:
        return self.rises.get(counter)


def value(raw: Any, command: str = "it", **known: Any) -> Value | None:
    return parse(raw, command).value(Known(**known))


def test_a_name_is_the_points_value() -> None:
    assert value("power", points={"power": 11020}) == 11020
    assert value("serial", points={"serial": "TACW22"}) == "TACW22"
    assert value("power", points={}) is None


# --- Sums ------------------------------------------------------------------------------------------------------------


def test_power_is_the_sum_of_volts_times_amperes() -> None:
    """230 V * 16 A + 231 V * 15.9 A + 229 V * 0 A = 3680 + 3672.9 = 7352.9 W."""
    raw = {"sum": [{"product": ["u1", "i1"]}, {"product": ["u2", "i2"]}, {"product": ["u3", "i3"]}]}
    points = {"u1": 230, "i1": 16, "u2": 231, "i2": 15.9, "u3": 229, "i3": 0}
    assert value(raw, points=points) == 7352.9
    assert parse(raw, "power").needs == ("u1", "i1", "u2", "i2", "u3", "i3")


def test_a_sum_may_have_a_scale() -> None:
    assert value({"sum": ["i1", "i2"], "scale": 230}, points={"i1": 10, "i2": 6.5}) == 3795


def test_the_noise_of_binary_fractions_is_not_shown() -> None:
    assert value({"sum": ["a", "b"]}, points={"a": 0.1, "b": 0.2}) == 0.3


def test_a_sum_with_a_missing_term_is_not_known() -> None:
    assert value({"sum": ["i1", "i2"]}, points={"i1": 10}) is None
    assert value({"sum": ["i1", "i2"]}, points={"i1": 10, "i2": "text"}) is None


# --- First and count -------------------------------------------------------------------------------------------------


def test_the_first_point_that_the_charger_has_counts() -> None:
    raw = {"first": ["phases_detected", "phases_requested"]}
    assert value(raw, points={"phases_detected": 1, "phases_requested": 3}) == 1
    assert value(raw, points={"phases_requested": 3}) == 3
    assert value(raw, points={"phases_detected": 0, "phases_requested": 3}) == 0
    assert value(raw) is None


def test_phases_are_counted_by_the_currents_above_a_bound() -> None:
    raw = {"count": ["i1", "i2", "i3"], "above": 1}
    assert value(raw, points={"i1": 16, "i2": 1, "i3": 1.1}) == 2
    assert value(raw, points={"i1": 0, "i2": 0, "i3": 0}) == 0
    assert value(raw, points={"i1": 16, "i2": 16}) is None
    assert value({"count": ["i1"]}, points={"i1": 0.1}) == 1, "above 0 where no bound is given"


# --- Rules -----------------------------------------------------------------------------------------------------------

ABB_STATE = {
    "rules": [
        {"when": {"code": 4}, "is": 3},
        {"when": {"code": 5, "car": 0}, "is": 1},
        {"when": {"code": 5}, "is": 2},
        {"when": {"code": 9}, "is": None},
    ]
}


@pytest.mark.parametrize(
    ("points", "state"),
    [
        ({"code": 4, "car": 1}, 3),
        ({"code": 5, "car": 0}, 1),
        ({"code": 5, "car": 1}, 2),
        ({"code": 5}, 2),
        ({"code": 9}, None),
        ({"code": 7}, None),
        ({}, None),
    ],
)
def test_the_first_rule_that_holds_gives_the_value(points: dict[str, Value], state: int | None) -> None:
    assert value(ABB_STATE, points=points) == state


def test_a_rule_without_condition_is_for_the_rest() -> None:
    raw = {"rules": [{"when": {"mode": 3}, "is": 1}, {"is": 0}]}
    assert (value(raw, points={"mode": 3}), value(raw, points={"mode": 0}), value(raw)) == (1, 0, 0)


ABB_LOCK = {"rules": [{"when": {"locked": 1, "car": 0}, "for_s": 3, "is": 1}], "remembered": True}


@pytest.mark.parametrize(("seconds", "order", "shown"), [(2.9, 0, 0), (3, 0, 1), (60, 0, 1), (2.9, 1, 1)])
def test_a_rule_may_ask_for_time_and_before_that_the_last_order_is_shown(
    seconds: float, order: int, shown: int
) -> None:
    when = When.parse({"locked": 1, "car": 0})
    assert (
        value(
            ABB_LOCK,
            "cable_locked_permanently",
            points={"locked": 1, "car": 0},
            held={when: seconds},
            orders={"cable_locked_permanently": order},
        )
        == shown
    )


def test_without_an_order_what_is_remembered_is_0_and_only_where_the_profile_says_so() -> None:
    assert value(ABB_LOCK, "cable_locked_permanently", points={"locked": 0, "car": 0}) == 0
    assert value({"rules": ABB_LOCK["rules"]}, points={"locked": 0, "car": 0}) is None


# --- Texts for codes -------------------------------------------------------------------------------------------------

ABB_ERRORS = {
    "text_of": "error",
    "bits": {
        "0x2": {"fr_FR": "courant différentiel", "en_US": "residual current"},
        "0x20": {"fr_FR": "surintensité", "en_US": "overcurrent"},
    },
}


@pytest.mark.parametrize(
    ("code", "language", "text"),
    [
        (0, "fr_FR", "Aucune"),
        (0, "en_US", "None"),
        (0x2, "fr_FR", "courant différentiel"),
        (0x22, "fr_FR", "courant différentiel, surintensité"),
        (0x22, "en_US", "residual current, overcurrent"),
        (0x2, "de_DE", "residual current"),
        (0x2, "fr_CA", "courant différentiel"),
        (0x12, "fr_FR", "courant différentiel, 0x10"),
        (0x4000, "fr_FR", "0x4000"),
    ],
)
def test_error_bits_become_words_and_what_has_none_is_shown_as_a_number(code: int, language: str, text: str) -> None:
    assert value(ABB_ERRORS, points={"error": code}, language=language) == text


def test_error_codes_become_words_too_0_included() -> None:
    raw = {
        "text_of": "error",
        "codes": {"0": {"fr_FR": "tout va bien", "en_US": "all is well"}, "0x10": {"fr_FR": "verrou", "en_US": "lock"}},
    }
    assert [value(raw, points={"error": code}) for code in (0, 16, 17)] == ["tout va bien", "verrou", "17"]


def test_without_a_code_there_is_no_text() -> None:
    assert value(ABB_ERRORS) is None
    assert value(ABB_ERRORS, points={"error": "E0"}) is None


# --- Sessions --------------------------------------------------------------------------------------------------------

SESSION = {"session_of": "total", "else": "since_power_on"}


def test_the_session_is_the_rise_of_the_counter_or_else_another_point() -> None:
    assert value(SESSION, points={"total": 128.777, "since_power_on": 8.2}, rises={"total": 4.25}) == 4.25
    assert value(SESSION, points={"total": 128.777, "since_power_on": 8.2}, rises={"total": 0.0}) == 0
    assert value(SESSION, points={"total": 128.777, "since_power_on": 8.2}) == 8.2
    assert value({"session_of": "total"}, points={"total": 128.777}) is None
    assert parse(SESSION, "energy_session").needs == ("total", "since_power_on")


def test_the_noise_of_subtraction_is_not_shown() -> None:
    assert value(SESSION, rises={"total": 128.777 - 128.5}) == 0.277


# --- What is no expression -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [{}, {"unverified": True}, {"sum": ["a"], "first": ["b"]}])
def test_an_expression_of_no_kind_or_of_two_is_refused(raw: Any) -> None:
    with pytest.raises(ValueError, match="sum, first, count, rules, text_of, session_of"):
        parse(raw, "it")
