"""What a capture keeps of a line, what it hides, and what a replay makes of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from evchargerd import capture, profile
from evchargerd.capture import FORMAT, Recorder
from evchargerd.modbus.frame import FRAMINGS, Answer, Request
from evchargerd.simulator.replay import CaptureError, Replay

SERIAL = b"TACW1140123G0001"


def exchange(framing_name: str, unit: int, request: Request, words: tuple[int, ...]) -> tuple[bytes, bytes]:
    framing = FRAMINGS[framing_name]()
    question = framing.encode(request)
    pdu = bytes((request.function, 2 * len(words))) + struct.pack(f">{len(words)}H", *words)
    return question, framing.answer(unit, pdu, question)


def words_of(framing_name: str, request: Request, heard: bytes) -> tuple[int, ...]:
    framing = FRAMINGS[framing_name]()
    framing.encode(request)  # Modbus TCP: the first transaction, like the recorded one
    found = framing.hunt(heard, request)
    assert isinstance(found, Answer), "the checksum fits what is there"
    return found.values


@pytest.mark.parametrize("framing", ["rtu", "ascii", "ascii-abl", "tcp"])
def test_a_serial_number_is_masked_in_frames_that_stay_whole(framing: str) -> None:
    model = profile.load("abb-terra-ac")
    point = model.points["serial_number"]
    recorder = Recorder(model, 1, framing)
    request = Request.read(1, "holding", point.address, point.count + 2)
    words = (*struct.unpack_from(f">{point.count}H", SERIAL), 7, 9)
    question, answer = exchange(framing, 1, request, words)
    recorder(">", question)
    recorder("<", answer)
    assert [way for _, way, _ in recorder.frames] == [">", "<"]
    kept = bytes.fromhex(recorder.frames[1][2])
    text = SERIAL[2 : 2 * point.count]
    assert text not in kept
    assert text.hex().upper().encode() not in kept
    assert words_of(framing, request, kept)[-2:] == (7, 9), "its neighbours are not"
    assert words_of(framing, request, kept)[1:-2] == (0x5858,) * (point.count - 1)


def test_a_damaged_answer_about_a_secret_is_hidden_whole() -> None:
    model = profile.load("abb-terra-ac")
    point = model.points["serial_number"]
    recorder = Recorder(model, 1, "rtu")
    request = Request.read(1, "holding", point.address, 8)
    question, answer = exchange("rtu", 1, request, struct.unpack(">8H", SERIAL))
    recorder(">", question)
    recorder("<", answer[:-1])
    recorder("?", answer)
    assert SERIAL[:4].hex() not in json.dumps(recorder.frames)
    assert [len(bytes.fromhex(digits)) for _, _, digits in recorder.frames] == [8, len(answer) - 1, len(answer)]


def test_the_frames_of_other_units_are_not_kept() -> None:
    recorder = Recorder(profile.load("heidelberg-ec"), 2, "rtu")
    for unit in (1, 2, 3):
        question, answer = exchange("rtu", unit, Request.read(unit, "input", 5, 1), (unit,))
        recorder(">", question)
        recorder("<", answer)
    assert {bytes.fromhex(digits)[0] for _, _, digits in recorder.frames} == {2}


def test_a_capture_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "MAX_BYTES", profile.MAX_BYTES + 1000)
    recorder = Recorder(profile.load("heidelberg-ec"), 1, "rtu")
    question, _ = exchange("rtu", 1, Request.read(1, "input", 5, 1), (1,))
    for _ in range(1000):
        recorder(">", question)
    assert recorder.truncated
    assert len(json.dumps(recorder.frames)) < 1200


@pytest.mark.parametrize("model", profile.shipped())
def test_what_serial_and_rfid_are_made_of_is_masked(model: str) -> None:
    loaded = profile.load(model)
    made_of = {need for name in ("serial", "rfid") if name in loaded.commands for need in loaded.commands[name].needs}
    assert made_of <= set(capture.secrets(loaded))


def document(**changes: Any) -> dict[str, Any]:
    line = {"port": "serial", "baudrate": 19200, "parity": "E", "stopbits": 1, "framing": "rtu", "unit": 1}
    question, first = exchange("rtu", 1, Request.read(1, "input", 5, 2), (7, 160))
    _, second = exchange("rtu", 1, Request.read(1, "input", 5, 2), (2, 0))
    other, _ = exchange("rtu", 1, Request.read(1, "holding", 261, 1), (160,))
    frames = [
        [0.0, ">", question.hex()], [0.03, "<", first.hex()],
        [1.0, ">", other.hex()],
        [2.0, ">", question.hex()], [2.4, "<", second[:-1].hex()],
        [3.0, ">", question.hex()], [3.03, "<", second.hex()],
    ]  # fmt: skip
    return {"format": FORMAT, "line": line, "profile": {}, "frames": frames} | changes


def test_a_replay_answers_in_the_recorded_order_then_from_the_last_registers() -> None:
    replay = Replay(document())
    question, first = exchange("rtu", 1, Request.read(1, "input", 5, 2), (7, 160))
    _, second = exchange("rtu", 1, Request.read(1, "input", 5, 2), (2, 0))
    usual = ((0.005, b"from the registers"),)
    assert [heard for _, heard in replay.fault(question, usual)] == [first]
    ((delay, damaged),) = replay.fault(question, usual)
    assert damaged == second[:-1]
    assert delay == pytest.approx(0.4 - (8 + 8) * 11 / 19200, abs=0.001), "as late as it was"
    assert [heard for _, heard in replay.fault(question, usual)] == [second]
    assert replay.fault(question, usual) == usual
    silent, _ = exchange("rtu", 1, Request.read(1, "holding", 261, 1), (160,))
    assert replay.fault(silent, usual) == ()
    assert replay.answer(Request.read(1, "input", 6, 1).pdu) == bytes((4, 2, 0, 0))
    assert replay.answer(Request.read(1, "input", 7, 1).pdu) == bytes((0x84, 2)), "never seen"
    written = Request.write(1, 16, 261, [90, 91]).pdu
    assert replay.answer(written) == written[:5]
    assert replay.answer(Request.read(1, "holding", 261, 2).pdu) == bytes((3, 4, 0, 90, 0, 91))


@pytest.mark.parametrize(
    "broken",
    [
        None, [], 5, {}, {"format": "other"}, document(line={}), document(frames=[[0]]),
        document(frames=[["x", ">", ""]]), document(frames=[[0, ">", "zz"]]),
        document(line=document()["line"] | {"baudrate": 0}),
        document(line=document()["line"] | {"framing": "morse"}),
    ],
)  # fmt: skip
def test_a_file_that_is_no_capture_is_refused(tmp_path: Path, broken: object) -> None:
    file = tmp_path / "capture.json"
    file.write_text(json.dumps(broken))
    with pytest.raises(CaptureError):
        Replay.of(file)
    with pytest.raises(CaptureError, match="No such file"):
        Replay.of(tmp_path / "none.json")
