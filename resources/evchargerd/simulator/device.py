"""A simulated line on a serial port that exists: the simulator answers a master at the other end of a real cable."""

from __future__ import annotations

import select
import time
from collections.abc import Mapping

import serial

from ..modbus.frame import FRAMINGS
from ..modbus.port import LineSettings
from .wire import Late, Slave

END_OF_FRAME = 0.02  # s: a USB adapter hands bytes over in bursts up to 16 ms apart
READ_SIZE = 4096


def open_port(settings: LineSettings) -> serial.Serial:
    """The port, for us alone. Raises OSError where it cannot be opened."""
    return serial.Serial(
        settings.port, settings.baudrate, parity=settings.parity, stopbits=settings.stopbits, timeout=0, exclusive=True
    )


def serve(port: serial.Serial, slaves: Mapping[int, Slave], settings: LineSettings, stopped: int) -> None:
    """Answer until the descriptor `stopped` becomes readable. Raises OSError when the port fails."""
    framing = FRAMINGS[settings.framing]()
    silence = max(settings.silence, END_OF_FRAME)
    frame = b""
    while True:
        ready = select.select([port.fileno(), stopped], (), (), silence if frame else None)[0]
        if stopped in ready:
            return
        if ready:
            frame += port.read(READ_SIZE)
            continue
        question, asked = framing.question(frame), frame
        frame = b""
        if question is None or question[0] not in slaves:
            continue
        unit, pdu = question
        answer = slaves[unit](pdu)
        if isinstance(answer, Late):
            time.sleep(max(0.0, answer.after - silence))
            answer = answer.pdu
        if answer is not None:
            port.write(framing.answer(unit, answer, asked))
