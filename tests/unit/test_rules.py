"""Conditions over points: when they hold, and that they never hold for what is not known."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evchargerd.rules import ALWAYS, Value, When
from evchargerd.rules import Test as Condition


@pytest.mark.parametrize(
    ("raw", "fitting", "others"),
    [
        (4, [4, 4.0], [3, 5, "4"]),
        ("B2", ["B2"], ["B1", "b2", 2]),
        ([71, 80], [71, 80], [72, "71"]),
        ({"min": 6}, [6, 6.5, 80], [5.99, 0, -1, "C"]),
        ({"max": 5.9}, [5.9, 0, -3], [6, "A"]),
        ({"min": 0.1, "max": 0.3}, [0.1, 0.2, 0.3], [0.09, 0.31]),
        ({"not": 0}, [1, -1, "x"], [0, 0.0]),
        ({"not": [0, 65535]}, [20], [0, 65535]),
        ({"not": 7, "min": 6}, [6, 8], [7, 5]),
        ({"contains": "CION"}, ["CION Home", "a CION"], ["cion", "", 5]),
    ],
)
def test_a_test_fits_the_values_it_describes_and_no_others(raw: Any, fitting: list[Value], others: list[Value]) -> None:
    test = Condition.parse(raw)
    assert [value for value in fitting if not test.fits(value)] == []
    assert [value for value in others if test.fits(value)] == []


numbers = st.integers(-1000, 70000)
texts = st.text("ABCDEF0 ", min_size=1, max_size=3)
raw_tests = st.one_of(
    numbers,
    texts,
    st.lists(st.one_of(numbers, texts), min_size=1, max_size=4),
    st.builds(lambda low, span: {"min": low, "max": low + span}, numbers, st.integers(0, 50)),
    st.builds(lambda low: {"min": low}, numbers),
    st.builds(lambda high: {"max": high}, numbers),
    st.builds(lambda values: {"not": values}, st.lists(st.integers(0, 4), min_size=1, max_size=5)),
    st.builds(lambda text: {"contains": text}, texts),
)


@settings(deadline=None, max_examples=50)  # the machine may have other things to do
@given(raw_tests)
def test_the_sample_of_a_test_fits_it(raw: Any) -> None:
    test = Condition.parse(raw)
    assert test.fits(test.sample())


def test_a_condition_holds_when_all_its_tests_fit() -> None:
    when = When.parse({"charging_state": 8, "current_l1": {"min": 0.1}})
    assert when.holds({"charging_state": 8, "current_l1": 0.1, "other": 1})
    assert not when.holds({"charging_state": 8, "current_l1": 0})
    assert not when.holds({"charging_state": 7, "current_l1": 16})
    assert when.points == ("charging_state", "current_l1")


@pytest.mark.parametrize("raw", [0, {"not": 5}, {"max": 100}])
def test_a_point_that_is_not_known_fits_nothing(raw: Any) -> None:
    assert not When.parse({"limit": raw}).holds({"power": 0})


@pytest.mark.parametrize("raw", [None, {}])
def test_without_tests_a_condition_always_holds(raw: Any) -> None:
    assert When.parse(raw).holds({})
    assert When.parse(raw) == ALWAYS


def test_equal_conditions_are_one_key() -> None:
    """The charger keeps, by condition, since when it has held."""
    assert len({When.parse({"a": [1, 2]}), When.parse({"a": [1, 2]}), When.parse({"a": [2, 1]})}) == 2
