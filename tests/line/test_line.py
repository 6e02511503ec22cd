"""The line under every fault of shared wires, adapters and gateways: what it believes, what it does not, and how fast.

The wire between is simulated byte by byte (`evchargerd.simulator.wire`); its slaves do not answer a question that came
without the mandatory silence before it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import random
import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import serial
import serial.rfc2217
from line.bench import BRIEF, SOON, Bench, Box, holding, registers, wait_for

from evchargerd.modbus.errors import BadAnswer, ModbusError, NoAnswer, PortLost, Refused
from evchargerd.modbus.frame import Request, Rtu
from evchargerd.modbus.line import Line, LineSettings
from evchargerd.simulator.wire import TURNAROUND, Emissions, Fault, Late

RTU = Rtu()


def once(change: Callable[[bytes, Emissions], Emissions]) -> Fault:
    """A fault that strikes the first question only."""
    struck: list[bool] = []

    def fault(question: bytes, emissions: Emissions) -> Emissions:
        if struck:
            return emissions
        struck.append(True)
        return change(question, emissions)

    return fault


def instead(frame: bytes) -> Fault:
    """A fault that answers everything with this frame."""
    return lambda question, emissions: [(TURNAROUND, frame)]


def answer_bytes(emissions: Emissions) -> bytes:
    return b"".join(data for _, data in emissions)


# What a transaction brings


@pytest.mark.parametrize("framing", ["rtu", "ascii"])
def test_every_function_reads_and_writes_what_the_box_holds(bench: Bench, framing: str) -> None:
    _, line = bench.both(LineSettings("", 115200, framing=framing))
    assert line.transact(holding(10, 20), timeout=SOON) == registers(10, 20)
    assert line.transact(Request.read(1, "input", 7, 1), timeout=SOON) == (1007,)
    assert line.transact(Request.read(1, "coil", 0, 11), timeout=SOON) == (0, 1) * 5 + (0,)
    assert line.transact(Request.read(1, "discrete", 1, 3), timeout=SOON) == (1, 0, 1)
    assert line.transact(Request.write(1, 5, 4, [1]), timeout=SOON) == ()
    assert line.transact(Request.write(1, 6, 5, [0xFFFF]), timeout=SOON) == ()
    assert line.transact(Request.write(1, 15, 10, [1, 1, 1]), timeout=SOON) == ()
    assert line.transact(Request.write(1, 16, 20, [7, 8]), timeout=SOON) == ()
    assert [bench.box.coils[n] for n in (4, 10, 11, 12)] == [1, 1, 1, 1]
    assert [bench.box.registers[n] for n in (5, 20, 21)] == [0xFFFF, 7, 8]


def test_abl_s_variation_of_ascii_brings_the_register_number_in_the_first_byte(bench: Bench) -> None:
    _, line = bench.both(LineSettings("", 38400, "E", framing="ascii-abl"))
    first, *others = line.transact(holding(0x2E, 5), timeout=SOON)
    assert first == 0x2E00 | (0x2E + 1000) & 0xFF
    assert tuple(others) == registers(0x2F, 4)
    assert line.transact(Request.write(1, 16, 20, [7] * 5), timeout=SOON) == ()


def test_modbus_tcp_is_a_framing_like_the_others(bench: Bench) -> None:
    wire = bench.wire(LineSettings("", 115200, framing="tcp"))
    line = bench.line("tcp://{}:{}".format(*wire.serve_tcp()))
    assert line.transact(Request.write(1, 6, 5, [6]), timeout=SOON) == ()
    assert line.transact(holding(5, 2), timeout=SOON) == (6, 1006)
    assert bench.box.functions == [6, 3]


def test_a_refusal_says_which_and_why(bench: Bench) -> None:
    _, line = bench.both()
    with pytest.raises(Refused, match="registre inexistant") as refusal:
        line.transact(holding(999, 2), timeout=SOON)
    assert (refusal.value.function, refusal.value.code) == (3, 2)


def test_a_refusal_comes_back_at_once_and_not_when_the_long_answer_would_be_complete(bench: Bench) -> None:
    _, line = bench.both(LineSettings("", 2400))
    start = time.monotonic()
    with pytest.raises(Refused):
        line.transact(holding(999, 125), timeout=SOON)
    assert time.monotonic() - start < 0.5 * 255 * line.character_time


def test_silence_is_no_answer_after_the_time_out(bench: Bench) -> None:
    _, line = bench.both()
    start = time.monotonic()
    with pytest.raises(NoAnswer, match="adresse Modbus 2 ne répond pas"):
        line.transact(holding(0, 1, unit=2), timeout=BRIEF)
    assert BRIEF <= time.monotonic() - start < BRIEF + 0.5


def test_the_line_counts_what_happens(bench: Bench) -> None:
    _, line = bench.both()
    line.transact(holding(0, 1), timeout=SOON)
    for unit in (1, 2):
        with pytest.raises(ModbusError):
            line.transact(holding(999, 2, unit), timeout=BRIEF)
    seen = line.statistics
    assert (seen.requests, seen.answers, seen.refusals, seen.silences, seen.errors) == (3, 1, 1, 1, 1)
    assert (seen.bytes_sent, seen.bytes_received) == (24, 7 + 5)
    assert seen.busy > BRIEF


# Rule 1: only the answer that fits

OTHERS = {
    "another unit": (holding(0, 2), RTU.answer(2, b"\x03\x04\x00\x01\x00\x02", b"")),
    "another function": (holding(0, 2), RTU.answer(1, b"\x04\x04\x00\x01\x00\x02", b"")),
    "another count": (holding(0, 2), RTU.answer(1, b"\x03\x02\x00\x01", b"")),
    "a wrong checksum": (holding(0, 2), b"\x01\x03\x04\x00\x01\x00\x02\x00\x00"),
    "an exception with a wrong checksum": (holding(0, 2), b"\x01\x83\x02\x00\x00"),
    "another unit's exception": (holding(0, 2), RTU.answer(2, b"\x83\x02", b"")),
    "another address written": (Request.write(1, 16, 8, [1, 2]), RTU.answer(1, b"\x10\x00\x09\x00\x02", b"")),
    "another quantity written": (Request.write(1, 16, 8, [1, 2]), RTU.answer(1, b"\x10\x00\x08\x00\x01", b"")),
    "another value written": (Request.write(1, 6, 8, [1]), RTU.answer(1, b"\x06\x00\x08\x00\x02", b"")),
    "another register written": (Request.write(1, 6, 8, [1]), RTU.answer(1, b"\x06\x00\x09\x00\x01", b"")),
    "the echo of the question": (holding(0, 2), RTU.encode(holding(0, 2))),
    "an echo with the form of an answer": (Request.read(1, "coil", 0x300, 20),) * 2,
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_does_not_answer_the_question_is_not_believed(bench: Bench, what: str) -> None:
    wire, line = bench.both()
    line.transact(holding(0, 1), timeout=SOON)
    request, frame = OTHERS[what]
    wire.fault = instead(frame if isinstance(frame, bytes) else RTU.encode(frame))
    if what == "an echo with the form of an answer":
        wire.fault, wire.echo = lambda question, emissions: (), True
    with pytest.raises((BadAnswer, NoAnswer)):
        line.transact(request, timeout=BRIEF)


@pytest.mark.parametrize("noise", [b"\x00", b"\xff", b"\x01", b"\x01\x03", b"\x02\x03\x04\x00", b"\x83\x01\x83"])
def test_noise_before_an_answer_costs_nothing(bench: Bench, noise: bytes) -> None:
    wire, line = bench.both()
    wire.fault = lambda question, emissions: [(TURNAROUND, noise + answer_bytes(emissions))]
    for address in range(5):
        assert line.transact(holding(address, 10), timeout=SOON) == registers(address, 10)
    assert line.statistics.requests == 5


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda answer: answer[:-6],
    "a byte lost": lambda answer: answer[:9] + answer[10:],
    "a byte too many": lambda answer: answer[:9] + b"\x55" + answer[9:],
    "a bit flipped": lambda answer: answer[:9] + bytes((answer[9] ^ 4,)) + answer[10:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_answer_costs_one_retry_and_leaves_the_line_in_step(bench: Bench, damage: str) -> None:
    wire, line = bench.both()
    wire.fault = once(lambda question, emissions: [(TURNAROUND, DAMAGES[damage](answer_bytes(emissions)))])
    start = time.monotonic()
    with pytest.raises(BadAnswer):
        line.transact(holding(0, 10), timeout=5.0)
    assert line.free_at(holding(50, 10)) < time.monotonic() + 0.1
    assert line.transact(holding(50, 10), timeout=SOON) == registers(50, 10)
    assert time.monotonic() - start < 2.0  # and not the time-out


def test_rubbish_on_an_idle_line_is_thrown_away(bench: Bench) -> None:
    wire, line = bench.both()
    line.transact(holding(0, 2), timeout=SOON)
    rubbish = RTU.answer(1, b"\x03\x04\x00\x01\x00\x02", b"") + b"\x55" * 20
    wire.say(rubbish)
    wait_for(lambda: line._port._serial.in_waiting == len(rubbish))  # type: ignore[union-attr]
    assert line.transact(holding(0, 2), timeout=SOON) == registers(0, 2)


@pytest.fixture
def ptys_are_uarts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated wire is as good as one: its bytes cannot come too early."""
    monkeypatch.setattr("evchargerd.modbus.port.PTY_SLAVE_MAJORS", range(0))


@pytest.mark.usefixtures("ptys_are_uarts")
def test_an_answer_that_comes_before_a_slave_can_have_sent_it_is_not_believed(bench: Bench) -> None:
    """An answer sent twice: the second one reaches us while the next question is going out."""
    wire, line = bench.both(LineSettings("", 2400))
    line.transact(holding(0, 1), timeout=SOON)
    threading.Timer(0.02, wire.say, [RTU.answer(1, b"\x03\x02\x00\x01", b"")]).start()
    with contextlib.suppress(NoAnswer, BadAnswer):
        assert line.transact(holding(0, 1), timeout=BRIEF) == registers(0, 1)


def test_a_line_that_never_falls_silent_is_said_to_be_so(bench: Bench) -> None:
    wire, line = bench.both(LineSettings("", 2400))
    line.transact(holding(0, 2), timeout=SOON)
    wire.say(b"\x55" * 600)  # 2.5 s
    with pytest.raises(ModbusError):  # it may begin after our question
        line.transact(holding(0, 2), timeout=0.0)
    with pytest.raises(BadAnswer, match="ne se tait jamais"):
        line.transact(holding(0, 2), timeout=SOON)


def test_an_answer_that_never_ends_is_given_up(bench: Bench) -> None:
    wire, line = bench.both(LineSettings("", 2400))
    line.transact(holding(0, 2), timeout=SOON)
    wire.fault = instead(b"\x01\x03\x04" * 300)  # 3.75 s
    start = time.monotonic()
    with pytest.raises(BadAnswer):
        line.transact(holding(0, 2), timeout=BRIEF)
    assert time.monotonic() - start < 2.0


# Rule 2: late answers


def late_by(seconds: float) -> Fault:
    return once(lambda question, emissions: [(seconds, data) for _, data in emissions])


@pytest.mark.parametrize("lateness", [BRIEF + 0.1, BRIEF + 0.3, BRIEF + 0.6])
def test_a_late_answer_is_never_taken_for_the_answer_to_the_next_question(bench: Bench, lateness: float) -> None:
    wire, line = bench.both()
    wire.fault = late_by(lateness)
    with pytest.raises(NoAnswer):
        line.transact(holding(0, 10), timeout=BRIEF)
    for address in (100, 200, 300):
        assert line.transact(holding(address, 10), timeout=SOON) == registers(address, 10)
    assert line.statistics.late_answers == 1


def test_once_a_late_answer_was_heard_the_unit_is_free(bench: Bench) -> None:
    wire, line = bench.both()
    wire.fault = late_by(0.3)
    start = time.monotonic()
    with pytest.raises(NoAnswer):
        line.transact(holding(0, 10), timeout=BRIEF)
    assert line.free_at(holding(100, 10)) > start + 1.0
    line.transact(holding(100, 10), timeout=SOON)
    assert time.monotonic() < start + 0.9


def test_meanwhile_other_units_and_questions_that_cannot_be_confused_go_on(bench: Bench) -> None:
    wire, line = bench.both(slaves={1: bench.box, 2: Box()})
    wire.fault = once(lambda question, emissions: ())
    with pytest.raises(NoAnswer):
        line.transact(holding(0, 10), timeout=BRIEF)
    soon = time.monotonic() + 0.1
    for free in (holding(0, 10), holding(0, 11), Request.write(1, 6, 0, [1]), holding(100, 10, unit=2)):
        assert line.free_at(free) < soon
        line.transact(free, timeout=SOON)
    assert line.free_at(holding(100, 10)) > soon


def test_the_answer_that_comes_after_the_same_question_was_asked_again_does_not_shift_the_line(bench: Bench) -> None:
    """Both questions are answered: the late answer to the first, then that to the second while a third is asked."""
    wire, line = bench.both()
    delays = [0.3, 0.3, TURNAROUND]
    wire.fault = lambda question, emissions: [(delays.pop(0) if delays else TURNAROUND, d) for _, d in emissions]
    with pytest.raises(NoAnswer):
        line.transact(holding(0, 10), timeout=BRIEF)
    assert line.transact(holding(0, 10), timeout=SOON) == registers(0, 10)
    assert line.transact(holding(100, 10), timeout=SOON) == registers(100, 10)


def test_a_late_refusal_is_not_taken_for_the_refusal_of_the_next_question(bench: Bench) -> None:
    wire, line = bench.both()
    wire.fault = late_by(BRIEF + 0.05)
    with pytest.raises(NoAnswer):
        line.transact(holding(999, 2), timeout=BRIEF)
    try:
        assert line.transact(holding(0, 3), timeout=SOON) == registers(0, 3)
    except BadAnswer:
        assert line.transact(holding(0, 3), timeout=SOON) == registers(0, 3)


def test_the_line_waits_longer_for_late_answers_once_it_has_seen_a_slow_one(bench: Bench) -> None:
    _, line = bench.both(slaves={1: bench.box, 2: lambda pdu: Late(bench.box(pdu), 0.8)})

    def doubt_after_silence() -> float:
        with pytest.raises(NoAnswer):
            line.transact(holding(0, 1, unit=3), timeout=0.05)
        return line.free_at(holding(100, 1, unit=3)) - time.monotonic()

    assert doubt_after_silence() < 1.1
    line.transact(holding(0, 1, unit=2), timeout=3.0)
    line._doubts.clear()
    assert doubt_after_silence() > 2.0


def test_a_write_that_timed_out_is_not_done_by_the_late_answer_to_an_earlier_one(bench: Bench) -> None:
    """Function 16 is acknowledged without its values: 10 A, timed out, must not acknowledge 16 A, never taken."""
    wire, line = bench.both()
    answers = [lambda e: [(0.35, answer_bytes(e))], lambda e: ()]
    wire.fault = lambda question, emissions: answers.pop(0)(emissions) if answers else emissions
    for amperes in (10, 16):
        with pytest.raises(NoAnswer):
            line.transact(Request.write(1, 16, 5, [amperes]), timeout=BRIEF)


# Rule 3: silence and pauses


@pytest.mark.parametrize(
    "settings",
    [LineSettings("", 9600), LineSettings("", 19200, "E"), LineSettings("", 38400), LineSettings("", 57600, "N", 2)],
)
def test_slaves_always_get_the_silence_they_need(bench: Bench, settings: LineSettings) -> None:
    wire, line = bench.both(settings)
    for count in (1, 10, 3, 7, 1, 2, 8, 1):
        assert line.transact(holding(0, count), timeout=SOON) == registers(0, count)
    assert wire.counters.too_early == wire.counters.collisions == 0


def test_a_unit_gets_the_pause_it_asks_for_and_others_do_not_wait_for_it(bench: Bench) -> None:
    _, line = bench.both(slaves={1: bench.box, 2: Box()})
    for _ in range(3):
        line.transact(holding(0, 1), timeout=SOON, pause=0.1)
    assert line.free_at(holding(0, 1), 0.1) > line.free_at(holding(0, 1, unit=2), 0.1) + 0.05
    times = [when for when, _ in bench.box.asked]
    assert all(later - earlier >= 0.1 for earlier, later in itertools.pairwise(times))


@pytest.mark.parametrize(
    ("settings", "character", "silence"),
    [
        (LineSettings("", 9600, "N", 1), 10 / 9600, 35 / 9600),
        (LineSettings("", 19200, "E", 1), 11 / 19200, 38.5 / 19200),
        (LineSettings("", 57600, "N", 2), 11 / 57600, 0.00175),
    ],
)
def test_silence_is_three_and_a_half_characters_but_fixed_above_19200(
    settings: LineSettings, character: float, silence: float
) -> None:
    line = Line(settings)
    assert (line.character_time, line.silence) == pytest.approx((character, silence))


# Rules 4 and 5: ports


def test_a_port_that_does_not_exist_is_lost_with_the_reason(bench: Bench, tmp_path: Path) -> None:
    line = bench.line(str(tmp_path / "ttyUSB0"))
    with pytest.raises(PortLost, match="n'existe pas") as lost:
        line.transact(holding(0, 1), timeout=SOON)
    assert lost.value.port == str(tmp_path / "ttyUSB0")


def test_a_file_is_no_port(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PortLost, match="pas un port série"):
        bench.line(str(tmp_path / "file")).transact(holding(0, 1), timeout=SOON)


def test_a_port_is_opened_for_one_only(bench: Bench) -> None:
    _, line = bench.both()
    line.transact(holding(0, 1), timeout=SOON)
    second = bench.line(line.settings.port)
    with pytest.raises(PortLost, match="déjà utilisé"):
        second.transact(holding(0, 1), timeout=SOON)
    line.close()
    wait_for(lambda: time.monotonic() >= second.reopen_at)
    assert second.transact(holding(0, 1), timeout=SOON) == registers(0, 1)


def test_an_adapter_unplugged_in_mid_answer_is_back_under_its_name(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wire, link = bench.wire(LineSettings("", 2400)), tmp_path / "usb-RS485"
    line = bench.line(wire.open_pty(link), baudrate=2400)
    line.transact(holding(0, 1), timeout=SOON)
    descriptors = len(os.listdir("/proc/self/fd"))

    threading.Timer(0.3, wire.unplug).start()
    with pytest.raises(PortLost):
        line.transact(holding(0, 125), timeout=5.0)  # a second on the wire
    for _ in range(200):
        start = time.monotonic()
        with pytest.raises(PortLost):
            line.transact(holding(0, 1), timeout=5.0)
        assert time.monotonic() - start < 0.5

    wire.open_pty(link)
    back = time.monotonic()
    wait_for(lambda: time.monotonic() >= line.reopen_at)
    assert line.transact(holding(0, 1), timeout=SOON) == registers(0, 1)
    assert time.monotonic() - back < 2.0
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_port_that_takes_no_bytes_any_more_blocks_nobody(bench: Bench) -> None:
    master, slave = os.openpty()
    line = bench.line(os.ttyname(slave))
    with pytest.raises(NoAnswer):
        line.transact(holding(0, 1), timeout=0.01)
    os.set_blocking(slave, False)

    def full() -> bool:
        """The kernel moves bytes on after a while: it is full when nothing fits any more for a second time."""
        written = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                written += os.write(slave, b"\x00" * 8)
        return not written

    wait_for(lambda: full() and (time.sleep(0.05) or full()))
    start = time.monotonic()
    with pytest.raises(PortLost, match="ne prend plus les octets"):
        line.transact(holding(0, 1), timeout=SOON)
    assert time.monotonic() - start < 0.5
    os.close(master)
    os.close(slave)


def test_a_port_that_says_nothing_for_long_is_opened_anew(bench: Bench) -> None:
    wire, line = bench.both(slaves={2: bench.box})
    for _ in range(10):
        with pytest.raises(NoAnswer):
            line.transact(holding(0, 1), timeout=0.01)
    before = line._port
    assert line.transact(holding(0, 1, unit=2), timeout=SOON) == registers(0, 1)
    assert line._port is not before
    assert wire.counters.too_early == 0


# Gateways


def test_a_gateway_works_like_a_port(bench: Bench) -> None:
    wire = bench.wire()
    line = bench.line("socket://{}:{}".format(*wire.serve_tcp()))
    for address in range(10):
        assert line.transact(holding(address, 10), timeout=SOON) == registers(address, 10)
    line.transact(Request.write(1, 6, 3, [4]), timeout=SOON)
    assert bench.box.registers[3] == 4


def test_a_gateway_may_leave_holes_in_an_answer(bench: Bench) -> None:
    wire = bench.wire()
    wire.fault = lambda question, emissions: [
        (TURNAROUND + 0.3 * part, answer_bytes(emissions)[3 * part : 3 * part + 3]) for part in range(3)
    ]
    line = bench.line("socket://{}:{}".format(*wire.serve_tcp()))
    assert line.transact(holding(0, 2), timeout=0.5) == registers(0, 2)


def test_a_gateway_that_drops_its_connection_is_reached_again_at_the_next_call(bench: Bench) -> None:
    wire = bench.wire()
    line = bench.line("socket://{}:{}".format(*wire.serve_tcp()))
    line.transact(holding(0, 1), timeout=SOON)
    wire.disconnect()
    with pytest.raises(PortLost):
        line.transact(holding(0, 1), timeout=SOON)
    assert line.transact(holding(0, 1), timeout=SOON) == registers(0, 1)


def test_a_gateway_that_was_away_is_back_within_two_seconds_and_never_blocks(bench: Bench) -> None:
    wire = bench.wire()
    host, port = wire.serve_tcp()
    line = bench.line(f"socket://{host}:{port}")
    line.transact(holding(0, 1), timeout=SOON)
    wire.unplug()
    away = time.monotonic()
    while time.monotonic() < away + 1.0:
        start = time.monotonic()
        with pytest.raises(PortLost):
            line.transact(holding(0, 1), timeout=SOON)
        assert time.monotonic() - start < 0.6
        time.sleep(0.02)
    wire.serve_tcp(host, port)
    back = time.monotonic()

    def works() -> bool:
        try:
            return line.transact(holding(0, 1), timeout=SOON) == registers(0, 1)
        except PortLost:
            return False

    wait_for(works)
    assert time.monotonic() - back < 2.0


def test_a_gateway_that_accepts_and_stays_mute_is_no_answer(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = bench.line(f"socket://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(NoAnswer):
            line.transact(holding(0, 1), timeout=BRIEF)


def test_a_gateway_that_does_not_even_accept_blocks_no_call(bench: Bench) -> None:
    """A full backlog: the connection is neither made nor refused."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        address = server.getsockname()
        crowd = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            crowd.append(client)
        line = bench.line(f"socket://127.0.0.1:{address[1]}")
        start = time.monotonic()
        with pytest.raises(PortLost, match="en cours"):
            line.transact(holding(0, 1), timeout=SOON)
        assert time.monotonic() - start < 1.0
        for client in crowd:
            client.close()


def test_rfc2217_works_against_pyserial_s_own_server(bench: Bench) -> None:
    wire = bench.wire(LineSettings("", 9600))
    behind = serial.serial_for_url("socket://{}:{}".format(*wire.serve_tcp()), timeout=0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        gateway = threading.Thread(target=serve_rfc2217, args=(server, behind))
        gateway.start()
        line = bench.line(f"rfc2217://127.0.0.1:{server.getsockname()[1]}", baudrate=9600)

        def works() -> bool:
            try:
                return line.transact(holding(0, 10), timeout=SOON) == registers(0, 10)
            except PortLost:
                return False

        wait_for(works)
        line.transact(Request.write(1, 6, 3, [4]), timeout=SOON)
        assert bench.box.registers[3] == 4
        line.close()
        gateway.join()
    behind.close()


def serve_rfc2217(server: socket.socket, behind: serial.SerialBase) -> None:
    """pyserial's PortManager between one TCP client and a port, until the client goes."""
    connection, _ = server.accept()
    connection.settimeout(0.01)

    class Writer:
        write = staticmethod(connection.sendall)

    manager = serial.rfc2217.PortManager(behind, Writer())
    with connection:
        while True:
            try:
                data = connection.recv(1024)
                if not data:
                    return
                behind.write(b"".join(manager.filter(data)))
            except TimeoutError:
                pass
            except OSError:
                return
            answer = behind.read(behind.in_waiting or 1)
            if answer:
                try:
                    connection.sendall(b"".join(manager.escape(answer)))
                except OSError:
                    return


# Rule 8: local echo

WRITES = [
    Request.write(1, 5, 4, [1]),
    Request.write(1, 6, 5, [77]),
    Request.write(1, 15, 10, [1, 0, 1]),
    Request.write(1, 16, 20, [7, 8]),
]


@pytest.mark.parametrize("echo", [False, True])
@pytest.mark.parametrize("write", WRITES, ids=lambda write: f"function {write.function}")
@pytest.mark.parametrize("gateway", [False, True])
def test_a_write_is_done_only_if_the_box_took_it(bench: Bench, echo: bool, write: Request, gateway: bool) -> None:
    """As the first thing that is said on a line whose echo nobody announced."""
    wire = bench.wire(echo=echo)
    line = bench.line("socket://{}:{}".format(*wire.serve_tcp()) if gateway else wire.open_pty())
    with pytest.raises((NoAnswer, BadAnswer)):
        line.transact(Request(9, *(getattr(write, name) for name in ("function", "address", "count", "values"))),
                      timeout=BRIEF)  # fmt: skip
    assert line.transact(write, timeout=SOON) == ()
    assert write.function in bench.box.functions


def test_with_echo_everything_is_read_right(bench: Bench) -> None:
    wire, line = bench.both(echo=True)
    for count in (1, 2, 10, 60):
        assert line.transact(holding(0, count), timeout=SOON) == registers(0, count)
    assert wire.counters.too_early == 0


def test_a_slow_answer_behind_the_echo_is_waited_for(bench: Bench) -> None:
    _, line = bench.both(echo=True, slaves={1: lambda pdu: Late(bench.box(pdu), 0.4)})
    for write in WRITES:
        assert line.transact(write, timeout=SOON) == ()


@pytest.mark.usefixtures("ptys_are_uarts")
def test_an_echo_that_begins_between_two_questions_is_known_by_coming_too_early(bench: Bench) -> None:
    wire, line = bench.both(LineSettings("", 2400))
    line.transact(holding(0, 1), timeout=SOON)
    wire.echo, wire.slaves = True, {}
    with pytest.raises(NoAnswer):
        line.transact(Request.write(1, 6, 5, [77]), timeout=BRIEF)


def test_an_echo_that_ends_is_noticed_by_the_next_read(bench: Bench) -> None:
    wire, line = bench.both(echo=True)
    line.transact(holding(0, 1), timeout=SOON)
    wire.echo = False
    line.transact(holding(0, 1), timeout=SOON)
    assert line.transact(Request.write(1, 6, 5, [77]), timeout=SOON) == ()


# Rule 6: sleeping


@pytest.mark.parametrize("count", [1, 10, 60, 125])
def test_a_transaction_wakes_up_a_handful_of_times_whatever_its_length(bench: Bench, count: int) -> None:
    _, line = bench.both(LineSettings("", 9600))
    line.transact(holding(0, 1), timeout=SOON)
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
    for _ in range(4):
        line.transact(holding(0, count), timeout=SOON)
    assert (resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before) / 4 <= 10


# Everything at once


def random_fault(dice: random.Random) -> Fault:
    """Thirty answers in a hundred are spoilt, in one of the ways that lines have."""

    def fault(question: bytes, emissions: Emissions) -> Emissions:
        answer = answer_bytes(emissions)
        if not answer or dice.random() > 0.3:
            return emissions
        at = dice.randrange(len(answer))
        noise = dice.randbytes(dice.randint(1, 5))
        return dice.choice(
            [
                [],
                [(TURNAROUND, noise + answer)],
                [(TURNAROUND, answer[:at] + noise + answer[at:])],
                [(TURNAROUND, answer[:at] + answer[at + 1 :])],
                [(TURNAROUND, answer[:at] + bytes((answer[at] ^ 1 << dice.randrange(8),)) + answer[at + 1 :])],
                [(TURNAROUND, answer[:at])],
                [(dice.uniform(0.03, 0.3), answer)],
                [(TURNAROUND, answer), (TURNAROUND + dice.uniform(0.002, 0.02), answer)],
                [(TURNAROUND, RTU.answer(2, answer[1:-2], b""))],
                [(TURNAROUND, RTU.answer(1, b"\x03\x02\x00\x07", b""))],
                [(TURNAROUND, question)],
                [(TURNAROUND, RTU.answer(1, bytes((answer[1] | 0x80, 6)), b""))],
                [(TURNAROUND, bytes((1, answer[1] | 0x80, 6, 0, 0)))],
            ]
        )

    return fault


@pytest.mark.parametrize("gateway", [False, True])
def test_under_random_faults_no_value_is_ever_wrong(
    bench: Bench, gateway: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the plan has it, the reads of one unit differ in length; writes change the value each time."""
    monkeypatch.setattr("evchargerd.modbus.line.LATE_URL", 0.4)  # no answer here is later than 0.3 s
    monkeypatch.setattr("evchargerd.modbus.line.LATE_LOCAL", 0.4)
    dice = random.Random(20261122)
    wire = bench.wire(LineSettings("", 115200), fault=random_fault(dice))
    line = bench.line(
        "socket://{}:{}".format(*wire.serve_tcp()) if gateway else wire.open_pty(), baudrate=115200
    )  # fmt: skip
    right = 0
    for turn in range(150):
        count = dice.randint(2, 9)
        address = 20 * count
        try:
            if turn % 5:
                assert line.transact(holding(address, count), timeout=0.02) == registers(address, count)
            else:
                line.transact(Request.write(1, 16, 500, [turn]), timeout=0.02)
                assert bench.box.registers[500] == turn
        except (NoAnswer, BadAnswer, Refused):
            continue
        right += 1
    assert right > 50
    assert wire.counters.too_early == 0


def test_the_same_under_equal_lengths_without_repeated_answers(bench: Bench) -> None:
    """Where lengths do not tell answers apart, doubt does; only a repeated answer cannot be told by anyone."""
    lateness = random.Random(5)
    wire, line = bench.both(LineSettings("", 115200))
    wire.fault = lambda question, emissions: [
        (TURNAROUND if lateness.random() > 0.3 else lateness.uniform(0.06, 0.4), data) for _, data in emissions
    ]
    for turn in range(30):
        address = 10 * turn
        with contextlib.suppress(NoAnswer):
            assert line.transact(holding(address, 4), timeout=0.05) == registers(address, 4)


def test_the_wire_of_these_tests_does_enforce_its_silence(bench: Bench) -> None:
    wire, line = bench.both(LineSettings("", 9600))
    line.silence = 0.0
    line.transact(holding(0, 1), timeout=SOON)
    with pytest.raises(NoAnswer):
        line.transact(holding(0, 2), timeout=BRIEF)
    assert wire.counters.too_early == 1


def test_the_wire_of_these_tests_takes_its_time(bench: Bench) -> None:
    _, line = bench.both(LineSettings("", 9600, "E"))
    line.transact(holding(0, 1), timeout=SOON)
    start = time.monotonic()
    line.transact(holding(0, 60), timeout=SOON)
    assert time.monotonic() - start >= (8 + 125) * 11 / 9600 + TURNAROUND
