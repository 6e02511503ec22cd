"""Frames: vectors of the Modbus specifications and of real chargers, and properties of the hunt for an answer."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from evchargerd.modbus.frame import (
    FRAMINGS,
    Answer,
    Ascii,
    AsciiAbl,
    Framing,
    Rejected,
    Request,
    Rtu,
    Tcp,
    crc16,
    lrc,
)


def rtu(text: str) -> bytes:
    """A frame from hexadecimal digits, with its CRC appended."""
    body = bytes.fromhex(text)
    return body + crc16(body).to_bytes(2, "little")


# Checksums


def test_the_crc_is_the_one_of_the_specification() -> None:
    # MODBUS over Serial Line V1.02, 6.2.2: device 2, function 7
    assert crc16(bytes.fromhex("02 07")) == 0x1241


def test_the_lrc_is_the_two_s_complement_of_the_sum() -> None:
    assert lrc(bytes.fromhex("01 03 00 2E 00 05")) == 0xC9


# Questions


@pytest.mark.parametrize(
    ("request_", "pdu"),
    [  # the examples of the MODBUS Application Protocol V1.1b3, 6.1 to 6.12
        (Request.read(1, "coil", 0x13, 0x13), "01 00 13 00 13"),
        (Request.read(1, "discrete", 0xC4, 0x16), "02 00 C4 00 16"),
        (Request.read(1, "holding", 0x6B, 3), "03 00 6B 00 03"),
        (Request.read(1, "input", 8, 1), "04 00 08 00 01"),
        (Request.write(1, 5, 0xAC, [1]), "05 00 AC FF 00"),
        (Request.write(1, 5, 0xAC, [0]), "05 00 AC 00 00"),
        (Request.write(1, 6, 1, [3]), "06 00 01 00 03"),
        (Request.write(1, 15, 0x13, [1, 0, 1, 1, 0, 0, 1, 1, 1, 0]), "0F 00 13 00 0A 02 CD 01"),
        (Request.write(1, 16, 1, [0x000A, 0x0102]), "10 00 01 00 02 04 00 0A 01 02"),
    ],
)
def test_questions_are_those_of_the_specification(request_: Request, pdu: str) -> None:
    assert request_.pdu == bytes.fromhex(pdu)
    assert Rtu().encode(request_) == rtu("01" + pdu)


def test_heidelberg_is_told_to_stay_awake_with_the_known_frame() -> None:
    frame = Rtu().encode(Request.write(1, 16, 0x0102, [4]))
    assert frame == bytes.fromhex("01 10 01 02 00 01 02 00 04 B6 B1")


@pytest.mark.parametrize(
    ("function", "most"), [(1, 2000), (2, 2000), (3, 125), (4, 125), (5, 1), (6, 1), (15, 1968), (16, 123)]
)
def test_counts_are_limited_as_the_specification_says(function: int, most: int) -> None:
    def ask(count: int) -> Request:
        return Request(1, function, 0, count, (0,) * count if function >= 5 else ())

    assert ask(most).count == most
    for count in (0, most + 1):
        with pytest.raises(ValueError, match="count"):
            ask(count)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Request.read(256, "holding", 0, 1),
        lambda: Request.read(-1, "holding", 0, 1),
        lambda: Request.read(1, "holding", 0xFFFF, 2),
        lambda: Request.read(1, "holding", -1, 1),
        lambda: Request.read(1, "registers", 0, 1),
        lambda: Request(1, 7, 0, 1),
        lambda: Request(1, 3, 0, 1, (5,)),
        lambda: Request(1, 16, 0, 2, (5,)),
        lambda: Request.write(1, 6, 0, [0x10000]),
        lambda: Request.write(1, 6, 0, [-1]),
        lambda: Request.write(1, 5, 0, [2]),
    ],
)
def test_a_question_that_cannot_be_sent_cannot_be_made(make: object) -> None:
    with pytest.raises(ValueError):
        make()  # type: ignore[operator]


def test_units_above_247_exist() -> None:
    assert Request.read(255, "holding", 100, 1).unit == 255


# Answers


@pytest.mark.parametrize(
    ("request_", "answer", "values"),
    [
        (
            Request.read(1, "coil", 0x13, 0x13),
            "01 03 CD 6B 05",
            (1, 0, 1, 1, 0, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1),
        ),
        (Request.read(1, "holding", 0x6B, 3), "03 06 02 2B 00 00 00 64", (0x022B, 0, 0x64)),
        (Request.read(1, "input", 8, 1), "04 02 00 0A", (10,)),
        (Request.write(1, 6, 1, [3]), "06 00 01 00 03", ()),
        (Request.write(1, 15, 0x13, [1] * 10), "0F 00 13 00 0A", ()),
        (Request.write(1, 16, 1, [10, 0x102]), "10 00 01 00 02", ()),
    ],
)
@pytest.mark.parametrize("framing", [Rtu, Ascii, Tcp])
def test_answers_of_the_specification_are_understood_in_every_framing(
    framing: type[Framing], request_: Request, answer: str, values: tuple[int, ...]
) -> None:
    speaks = framing()
    question = speaks.encode(request_)
    frame = speaks.answer(1, bytes.fromhex(answer), question)
    assert speaks.hunt(frame, request_) == Answer(0, values)
    assert len(frame) == speaks.answer_length(request_)
    assert speaks.question(question) == (1, request_.pdu)


@pytest.mark.parametrize("framing", FRAMINGS.values())
def test_an_exception_is_complete_at_its_own_length(framing: type[Framing]) -> None:
    speaks, request_ = framing(), Request.read(1, "holding", 0, 60)
    frame = speaks.answer(1, b"\x83\x02", speaks.encode(request_))
    assert len(frame) == speaks.shortest
    assert speaks.hunt(frame[:-1], request_) is None
    assert speaks.hunt(frame, request_) == Rejected(0, 2)


def test_abl_answers_with_another_start_and_the_register_number() -> None:
    # ABL EVCC2/3, register 2Eh: state A1, no meter; LRC by hand
    request_, frame = Request.read(1, "holding", 0x2E, 5), b">01030A2EA1021503E803E803E84B\r\n"
    assert AsciiAbl().encode(request_) == b":0103002E0005C9\r\n"
    assert AsciiAbl().hunt(frame, request_) == Answer(0, (0x2EA1, 0x0215, 0x3E8, 0x3E8, 0x3E8))
    assert AsciiAbl().hunt(frame, Request.read(1, "holding", 0x2F, 5)) is None
    assert Ascii().hunt(frame, request_) is None


def test_modbus_tcp_knows_its_late_answers_by_their_number() -> None:
    tcp, request_ = Tcp(), Request.read(1, "holding", 0, 1)
    late = tcp.answer(1, bytes.fromhex("03 02 00 07"), tcp.encode(request_))
    question = tcp.encode(request_)
    assert question == bytes.fromhex("00 02 00 00 00 06 01 03 00 00 00 01")
    answer = tcp.answer(1, bytes.fromhex("03 02 00 08"), question)
    assert tcp.hunt(late, request_) is None
    assert tcp.hunt(late + answer, request_) == Answer(len(late), (8,))


def test_what_looks_like_an_exception_inside_an_answer_is_data() -> None:
    request_ = Request.read(1, "holding", 0, 5)
    frame = rtu("01 03 0A" + rtu("01 83 02").hex() + "00" * 5)
    assert Rtu().hunt(frame[:9], request_) is None
    assert isinstance(Rtu().hunt(frame, request_), Answer)
    assert Rtu().hunt(frame[:9], request_, over=True) == Rejected(3, 2)


def test_an_answer_has_begun_when_its_opening_is_there() -> None:
    request_ = Request.read(1, "holding", 0, 5)
    assert Rtu().begun(bytes.fromhex("00 01 03 0A"), request_)
    assert Rtu().begun(bytes.fromhex("01 83"), request_)
    assert not Rtu().begun(bytes.fromhex("01 03 08 00"), request_)


# Properties of the hunt

units = st.integers(0, 255)
words = st.integers(0, 0xFFFF)


@st.composite
def questions(draw: st.DrawFn) -> Request:
    function = draw(st.sampled_from((1, 2, 3, 4, 5, 6, 15, 16)))
    count = 1 if function in (5, 6) else draw(st.integers(1, 20))
    address = draw(st.integers(0, 0x10000 - count))
    value = st.integers(0, 1) if function in (5, 15) else words
    values = draw(st.lists(value, min_size=count, max_size=count)) if function >= 5 else []
    return Request(draw(units), function, address, count, tuple(values))


@st.composite
def dialogues(draw: st.DrawFn) -> tuple[Request, bytes]:
    """A question and a good answer to it."""
    request_ = draw(questions())
    size = request_.answer_size - len(request_.answer_opening)
    return request_, request_.answer_opening + draw(st.binary(min_size=size, max_size=size))


framings = st.sampled_from([Rtu, Ascii, Tcp])


@given(dialogues(), st.binary(max_size=40), st.binary(max_size=40), framings)
@example((Request(1, 1, 0, 1), b"\x01\x01\x01"), b"\x01", b"", Rtu)
def test_the_answer_is_found_between_rubbish_and_exactly_when_its_last_byte_is_there(
    dialogue: tuple[Request, bytes], before: bytes, after: bytes, framing: type[Framing]
) -> None:
    request_, pdu = dialogue
    speaks = framing()
    frame = speaks.answer(request_.unit, pdu, speaks.encode(request_))
    assert speaks.hunt(before + frame[:-1], request_) is None
    found = speaks.hunt(before + frame, request_)
    assert found == speaks.hunt(before + frame + after, request_) == Answer(len(before), request_.decode(pdu))


@given(dialogues(), questions(), framings)
def test_the_answer_to_another_question_is_never_accepted(
    dialogue: tuple[Request, bytes], asked: Request, framing: type[Framing]
) -> None:
    other, pdu = dialogue
    assume(not Rtu().confusable(other, asked))
    speaks = framing()
    frame = speaks.answer(other.unit, pdu, speaks.encode(other))
    assert speaks.hunt(frame, asked, over=True) is None


@given(dialogues(), st.data(), st.sampled_from([Rtu, Ascii]))
def test_an_answer_with_a_flipped_bit_is_never_accepted(
    dialogue: tuple[Request, bytes], data: st.DataObject, framing: type[Framing]
) -> None:
    request_, pdu = dialogue
    speaks = framing()
    frame = bytearray(speaks.answer(request_.unit, pdu, speaks.encode(request_)))
    bit = data.draw(st.integers(0, 8 * len(frame) - 1))
    frame[bit // 8] ^= 1 << bit % 8
    found = speaks.hunt(frame, request_, over=True)
    # lower case hexadecimal digits mean the same
    assert found is None or (framing is Ascii and bit % 8 == 5 and found == Answer(0, request_.decode(pdu)))


@given(dialogues(), st.data())
def test_an_answer_without_one_of_its_bytes_is_never_accepted(
    dialogue: tuple[Request, bytes], data: st.DataObject
) -> None:
    request_, pdu = dialogue
    frame = Rtu().answer(request_.unit, pdu, b"")
    missing = data.draw(st.integers(0, len(frame) - 1))
    assert Rtu().hunt(frame[:missing] + frame[missing + 1 :], request_, over=True) is None


@given(questions(), st.binary(max_size=300), st.sampled_from(list(FRAMINGS.values())))
def test_rubbish_is_never_an_answer(request_: Request, rubbish: bytes, framing: type[Framing]) -> None:
    speaks = framing()
    speaks.encode(request_)
    assert speaks.hunt(rubbish, request_, over=True) is None


@given(questions())
def test_the_echo_of_a_question_passes_for_its_answer_only_where_the_line_expects_it(request_: Request) -> None:
    passes = Rtu().hunt(Rtu().encode(request_), request_) is not None
    assert passes or request_.function not in (5, 6)


def test_abl_answers_carry_their_register_so_a_late_one_passes_for_no_other() -> None:
    one, other = Request.read(1, "holding", 0x000F, 5), Request.read(1, "holding", 0x002E, 5)
    assert Rtu().confusable(one, other)
    assert not AsciiAbl().confusable(one, other)
    assert AsciiAbl().confusable(one, one)
