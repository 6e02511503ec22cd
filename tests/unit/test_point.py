"""Points: what registers mean, and which registers mean a value."""

import math
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evchargerd.point import FLOATS, SIGNED, WORDS, Curve, Point, Scale, format_bytes
from evchargerd.rules import ALWAYS, When
from evchargerd.rules import Test as Condition

patient = settings(deadline=None, max_examples=50)  # the machine may have other things to do


def point(kind: str, *, scale: float = 1, **options: Any) -> Point:
    count = options.pop("count", None) or WORDS[kind]
    table = "coil" if kind == "bit" else "holding"
    return Point("it", table, 0, count, kind, scale=Scale(((ALWAYS, scale),)), **options)


# --- Numbers from the manuals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "at", "words", "meaning"),
    [
        ("Heidelberg, register 9: 32.5 °C", point("int16", scale=0.1), (325,), 32.5),
        ("Heidelberg, register 9: -4.5 °C", point("int16", scale=0.1), (0xFFD3,), -4.5),
        ("Heidelberg, registers 17 and 18: 1 * 65536 + 63241 VAh", point("uint32", scale=0.001), (1, 63241), 128.777),
        ("ABB, 4016h: 231.2 V", point("uint32", scale=0.1), (0, 2312), 231.2),
        ("ABB, 400Ah: bit 8 of 0x111", point("uint32", mask=0x100, shift=8), (0, 0x111), 1),
        ("ABB, 400Ch: state 4, not limited", point("uint32", mask=0x7F00, shift=8), (0, 0x0400), 4),
        ("ABB, 400Ch: state 4, limited", point("uint32", mask=0x7F00, shift=8), (0, 0x8400), 4),
        ("Mennekes, 0302h: 16.0 A", point("float32"), (0x4180, 0x0000), 16),
        ("Mennekes, 0506h: 231.5 V", point("float32"), (17255, 32768), 231.5),
        ("Mennekes, 0D04h: 0 means three phases", point("uint16", special={0: 3, 1: 1}), (0,), 3),
        ("CION, 302: 230.12 V", point("uint16", scale=0.01), (23012,), 230.12),
        ("Edgetech, 8.8 fixed point", point("uint16", scale=1 / 256), (0x1A80,), 26.5),
        ("low word first", point("uint32", high_word_first=False), (63241, 1), 128777),
        ("a counter that runs backwards", point("int32", scale=-0.001), (0xFFFF, 0xEF22), 4.318),
        ("an offset", point("uint16", offset=-100), (124,), 24),
        ("64 bits", point("uint64"), (0, 1, 0, 1), 2**32 + 1),
        ("64 bits, low word first", point("uint64", high_word_first=False), (5, 0, 2, 0), 2 * 2**32 + 5),
        ("Alfen's double, 1234567.25 Wh", point("float64", scale=0.001), (0x4132, 0xD687, 0x4000, 0), 1234.56725),
        ("a coil", point("bit"), (1,), 1),
    ],
)
def test_registers_mean_what_the_manual_says(what: str, at: Point, words: tuple[int, ...], meaning: float) -> None:
    value = at.decode(words, {})
    assert value == meaning, what
    assert isinstance(value, int) == float(meaning).is_integer(), "whole numbers come as int"


@pytest.mark.parametrize(
    ("what", "at", "value", "words"),
    [
        ("ABB, 4100h: 10.2 A in mA", point("uint32", scale=0.001), 10.2, (0, 10200)),
        ("Heidelberg, 261: 10.2 A in 0.1 A, not 101", point("uint16", scale=0.1), 10.2, (102,)),
        ("cut down, not rounded up", point("uint16", scale=0.1), 10.29, (102,)),
        ("whole amperes are cut down too", point("uint16"), 15.9, (15,)),
        ("Mennekes, 0302h: 10.5 A", point("float32"), 10.5, (0x4128, 0x0000)),
        ("low word first", point("uint32", high_word_first=False), 65537 * 2, (2, 2)),
        ("below zero", point("int16", scale=0.1), -4.5, (0xFFD3,)),
        ("a special meaning", point("uint16", special={0: 3, 1: 1}), 3, (0,)),
        ("a text, filled up with NUL", point("text", count=2), "C", (0x4300, 0)),
        ("a text with swapped bytes", point("text", count=1, swap=True), "AB", (0x4241,)),
    ],
)
def test_a_value_becomes_the_registers_of_the_manual(what: str, at: Point, value: Any, words: tuple[int, ...]) -> None:
    assert at.encode(value, {}) == words, what


# --- Round trips -----------------------------------------------------------------------------------------------------

word = st.integers(0, 0xFFFF)
order = st.booleans()
scales = st.sampled_from([1, 10, 0.1, 0.01, 0.001, 1 / 256, -0.001])
MOST_SCALED = 100_000_000  # raw; no charger has a register to write that goes beyond: 80 A in mA are 80 000


@patient
@given(st.sampled_from(["uint16", "int16", "uint32", "int32", "uint64"]), order, st.data())
def test_every_whole_number_comes_back_as_the_registers_it_came_from(
    kind: str, high: bool, data: st.DataObject
) -> None:
    at = point(kind, high_word_first=high)
    if kind == "uint64":
        number = data.draw(st.integers(0, 10**12))  # Wh: more than any meter counts, less than a double holds
        words = at.encode(number, {})
        assert at.decode(words, {}) == number
    else:
        words = tuple(data.draw(st.lists(word, min_size=at.count, max_size=at.count)))
        value = at.decode(words, {})
        assert value is not None
        assert at.encode(value, {}) == words


@patient
@given(st.sampled_from(["uint16", "int16", "uint32", "int32"]), order, scales, st.data())
def test_every_scaled_number_comes_back_as_the_registers_it_came_from(
    kind: str, high: bool, scale: float, data: st.DataObject
) -> None:
    at = point(kind, scale=scale, high_word_first=high)
    most = min(MOST_SCALED, (1 << (16 * at.count - (kind in SIGNED))) - 1)
    raw = data.draw(st.integers(-most if kind in SIGNED else 0, most))
    words = replace(at, scale=Scale(((ALWAYS, 1),))).encode(raw, {})
    value = at.decode(words, {})
    assert value is not None
    assert math.isclose(float(value), raw * scale, rel_tol=1e-9, abs_tol=1e-12)
    assert at.encode(value, {}) == words


@patient
@given(st.floats(width=32, allow_nan=False, allow_infinity=False), order)
def test_every_single_comes_back_as_near_as_seven_digits_tell(number: float, high: bool) -> None:
    at = point("float32", high_word_first=high)
    value = at.decode(at.encode(number, {}), {})
    assert isinstance(value, (int, float))
    assert math.isclose(value, number, rel_tol=1e-6, abs_tol=1e-44)


@patient
@given(st.floats(-1e12, 1e12), order)
def test_every_double_comes_back_to_ten_digits(number: float, high: bool) -> None:
    at = point("float64", high_word_first=high)
    value = at.decode(at.encode(number, {}), {})
    assert isinstance(value, (int, float))
    assert math.isclose(value, number, rel_tol=1e-9, abs_tol=1e-300)


@patient
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=8), st.booleans())
def test_every_text_comes_back(text: str, swap: bool) -> None:
    at = point("text", count=4, swap=swap)
    assert at.decode(at.encode(text, {}), {}) == text


@patient
@given(st.booleans())
def test_a_bit_comes_back(bit: bool) -> None:
    at = point("bit")
    assert at.decode(at.encode(int(bit), {}), {}) == int(bit)


@patient
@given(word, st.integers(0, 15), st.integers(1, 8), st.data())
def test_a_masked_write_sets_its_bits_and_keeps_the_others(
    current: int, shift: int, width: int, data: st.DataObject
) -> None:
    width = min(width, 16 - shift)
    mask = ((1 << width) - 1) << shift
    at = point("uint16", mask=mask, shift=shift)
    value = data.draw(st.integers(0, (1 << width) - 1))
    (written,) = at.encode(value, {}, (current,))
    assert at.decode((written,), {}) == value
    assert written & ~mask == current & ~mask


def test_a_masked_write_keeps_the_other_bits_of_both_words() -> None:
    at = point("uint32", mask=0x100, shift=8, high_word_first=False)
    assert at.encode(1, {}, (0x0011, 0x8000)) == (0x0111, 0x8000)
    assert at.encode(0, {}, (0x0111, 0x8000)) == (0x0011, 0x8000)


# --- What does not fit -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (point("uint16"), 65536),
        (point("uint16"), -1),
        (point("int16"), 32768),
        (point("int16"), -32769),
        (point("uint32", scale=0.001), 4294967.296),
        (point("bit"), 2),
        (point("uint16", mask=0x80, shift=7), 2),
        (point("int16", mask=0xFF), 256),
        (point("int16", mask=0xFF), -1),
        (point("float32"), 1e39),
        (point("text", count=1), "ABC"),
        (point("text", count=2), "é"),
        (point("bytes", count=2), 5),
        (point("uint16"), "5"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(at: Point, value: Any) -> None:
    with pytest.raises(ValueError):
        at.encode(value, {})


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_float_that_is_no_number_means_nothing(number: float) -> None:
    for kind, layout in FLOATS.items():
        octets = struct.pack(layout, number)
        words = struct.unpack(f">{len(octets) // 2}H", octets)
        assert point(kind).decode(words, {}) is None


def test_a_product_that_is_no_number_means_nothing() -> None:
    words = struct.unpack(">4H", struct.pack(">d", 1e308))
    assert point("float64", scale=1000).decode(words, {}) is None


# --- Scales, curves, special values ----------------------------------------------------------------------------------

EVSE_LIMIT = replace(
    point("uint16"),
    scale=Scale(
        (
            (When.parse({"firmware": {"min": 17}, "hundredths": 1}), 0.01),
            (When.parse({"firmware": {"min": 17}, "hundredths": 0}), 1),
            (When.parse({"firmware": {"max": 16}}), 1),
        )
    ),
)


@pytest.mark.parametrize(
    ("raw", "others", "amperes"),
    [
        (1600, {"firmware": 18, "hundredths": 1}, 16),
        (1050, {"firmware": 17, "hundredths": 1}, 10.5),
        (16, {"firmware": 17, "hundredths": 0}, 16),
        (16, {"firmware": 12}, 16),
    ],
)
def test_a_scale_follows_other_points_both_ways(raw: int, others: dict[str, int], amperes: float) -> None:
    """EVSE DIN, register 1000: amperes, or hundredths from firmware 17 on with bit 7 of 2005."""
    assert EVSE_LIMIT.decode((raw,), others) == amperes
    assert EVSE_LIMIT.encode(amperes, others) == (raw,)
    assert EVSE_LIMIT.needs == ("firmware", "hundredths", "firmware", "hundredths", "firmware")


def test_without_a_known_scale_there_is_neither_a_meaning_nor_a_register() -> None:
    assert EVSE_LIMIT.decode((1600,), {"hundredths": 1}) is None
    with pytest.raises(ValueError, match="it n'est pas encore connue"):
        EVSE_LIMIT.encode(16, {"hundredths": 1})


def test_special_values_come_before_the_scale() -> None:
    at = point("uint16", scale=0.1, special={65535: 0, 1000: 63})
    assert [at.decode((raw,), {}) for raw in (65535, 1000, 160)] == [0, 63, 16]
    assert [at.encode(value, {}) for value in (0, 63, 16)] == [(65535,), (1000,), (160,)]


def test_ignored_values_mean_nothing() -> None:
    """Phoenix, 24001: 0 no cable, 65535 short circuit."""
    at = point("uint16", ignore=Condition.parse([0, 65535]))
    assert [at.decode((raw,), {}) for raw in (0, 65535, 20)] == [None, None, 20]


# IEC 61851-1, table A.8: 6 A at 10 %, 51 A at 85 % (0.6 A per %), then 2.5 A per %: 80 A at 96.6 %.
DUTY = Curve((100, 850, 966), (6, 51, 80))


@pytest.mark.parametrize(("per_mille", "amperes"), [(100, 6), (266, 15.96), (850, 51), (908, 65.5), (966, 80)])
def test_a_curve_is_followed_both_ways(per_mille: int, amperes: float) -> None:
    at = point("uint16", curve=DUTY)
    assert at.decode((per_mille,), {}) == amperes
    assert at.encode(amperes, {}) == (per_mille,)


def test_a_curve_goes_on_straight_outside_its_ends() -> None:
    at = point("uint16", curve=DUTY)
    assert at.decode((50,), {}) == 3
    assert at.decode((970,), {}) == 81
    assert Curve((0, 10), (0, 100)).to_value(5) == 50


@patient
@given(st.integers(0, 1000))
def test_a_register_of_a_curve_comes_back(raw: int) -> None:
    at = point("uint16", curve=DUTY)
    value = at.decode((raw,), {})
    assert value is not None
    assert at.encode(value, {}) == (raw,)


# --- Texts and bytes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((0x4A4B, 0x4C00), "JKL"),
        ((0x0043, 0x0000), "C"),  # CION, 139: one character in the low byte
        ((0x4120, 0x2020), "A"),
        ((0x41FF, 0x4200), "A\N{REPLACEMENT CHARACTER}B"),
        ((0, 0), ""),
    ],
)
def test_texts_lose_what_fills_them_up(words: tuple[int, ...], text: str) -> None:
    assert point("text", count=2).decode(words, {}) == text


def test_bytes_are_shown_by_their_format_or_in_hex() -> None:
    words = (0x5422, 0x0400, 0x4920, 0x0025)  # the serial number in ABB's manual
    template = "TACW{1:x}-{2:x}-{4:02x}{5:02x}-{0:c}{6:02x}{7:02x}"
    assert point("bytes", count=4, format=template).decode(words, {}) == "TACW22-4-4920-T0025"
    assert point("bytes", count=4).decode(words, {}) == "54 22 04 00 49 20 00 25"
    assert format_bytes("{high0}.{low0}", b"\x12") == "1.2"


def test_a_number_may_have_a_format_too() -> None:
    assert point("uint16", scale=0.01, format="V{value:.2f}").decode((110,), {}) == "V1.10"
