"""The line against Modbus slaves that others wrote: pymodbus's server and libmodbus, each on a pseudo terminal.

They answer as fast as they can, not at the pace of a wire, and have never heard of our simulator.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import os
import select
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from line.bench import BRIEF, SOON, Bench, holding
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

from evchargerd.modbus.errors import NoAnswer, Refused
from evchargerd.modbus.frame import Request
from evchargerd.modbus.line import Line


@contextmanager
def cable() -> Iterator[tuple[str, str]]:
    """Two pseudo terminals, each master pumped into the other: a cable with a device name at both ends."""
    masters, slaves = zip(os.openpty(), os.openpty(), strict=True)
    for slave in slaves:
        tty.setraw(slave)
    stop_read, stop_write = os.pipe()

    def pump() -> None:
        while True:
            ready = select.select((*masters, stop_read), (), ())[0]
            if stop_read in ready:
                return
            for source, target in (masters, masters[::-1]):
                if source in ready:
                    os.write(target, os.read(source, 4096))

    thread = threading.Thread(target=pump)
    thread.start()
    try:
        yield os.ttyname(slaves[0]), os.ttyname(slaves[1])
    finally:
        os.write(stop_write, b"x")
        thread.join()
        for descriptor in (*masters, *slaves, stop_read, stop_write):
            os.close(descriptor)


# pymodbus


def pymodbus_device() -> SimDevice:
    """Unit 1 with coils, discrete inputs, holding and input registers 0..99, all 0 but holding 10..14 = 1..5."""
    holding_registers = [SimData(0, values=[0] * 10 + [1, 2, 3, 4, 5] + [0] * 85, datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[False] * 112, datatype=DataType.BITS)]
    inputs = [SimData(0, values=[7] * 100, datatype=DataType.REGISTERS)]
    return SimDevice(1, simdata=(bits, bits, holding_registers, inputs))


@contextmanager
def pymodbus_server(port: str, devices: SimDevice | list[SimDevice]) -> Iterator[None]:
    """These devices, served in a thread."""
    loop = asyncio.new_event_loop()
    started, stopped = threading.Event(), asyncio.Event()

    async def serve() -> None:
        server = ModbusSerialServer(devices, port=port, baudrate=38400)
        await server.serve_forever(background=True)
        started.set()
        await stopped.wait()
        await server.shutdown()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert started.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stopped.set)
        thread.join(10)
        loop.close()


@pytest.fixture
def pymodbus_line(bench: Bench) -> Iterator[Line]:
    with cable() as (ours, theirs), pymodbus_server(theirs, pymodbus_device()):
        yield bench.line(ours)


def test_pymodbus_is_read_and_written_by_every_function(pymodbus_line: Line) -> None:
    ask = pymodbus_line.transact
    assert ask(holding(10, 5), timeout=SOON) == (1, 2, 3, 4, 5)
    assert ask(Request.read(1, "input", 0, 2), timeout=SOON) == (7, 7)
    assert ask(Request.write(1, 6, 10, [99]), timeout=SOON) == ()
    assert ask(Request.write(1, 16, 11, [98, 97]), timeout=SOON) == ()
    assert ask(holding(10, 5), timeout=SOON) == (99, 98, 97, 4, 5)
    assert ask(Request.write(1, 5, 3, [1]), timeout=SOON) == ()
    assert ask(Request.write(1, 15, 4, [1, 0, 1]), timeout=SOON) == ()
    assert ask(Request.read(1, "coil", 0, 9), timeout=SOON) == (0, 0, 0, 1, 1, 0, 1, 0, 0)
    assert ask(Request.read(1, "discrete", 0, 9), timeout=SOON) == (0,) * 9


def test_pymodbus_refuses_what_it_does_not_have(pymodbus_line: Line) -> None:
    with pytest.raises(Refused) as refusal:
        pymodbus_line.transact(holding(5000, 1), timeout=SOON)
    assert refusal.value.code == 2
    assert pymodbus_line.transact(holding(10, 5), timeout=SOON) == (1, 2, 3, 4, 5)


# libmodbus

LIBMODBUS = ctypes.util.find_library("modbus")


class Mapping(ctypes.Structure):
    """modbus_mapping_t of modbus.h 3.1."""

    _fields_ = (
        *((name, ctypes.c_int) for name in ("nb_bits", "start_bits", "nb_input_bits", "start_input_bits")),
        *((name, ctypes.c_int) for name in ("nb_inputs", "start_inputs", "nb_registers", "start_registers")),
        *((name, ctypes.POINTER(ctypes.c_uint8)) for name in ("bits", "input_bits")),
        *((name, ctypes.POINTER(ctypes.c_uint16)) for name in ("inputs", "registers")),
    )


@contextmanager
def libmodbus_server(port: str, holding_image: dict[int, int] | None = None, input_image: dict[int, int] | None = None):
    """Unit 1, served by the C library: 100 bits of each kind, and these registers (100 zeros where none are given)."""
    holding_image = holding_image or dict.fromkeys(range(100), 0)
    input_image = input_image or dict.fromkeys(range(100), 0)
    library = ctypes.CDLL(LIBMODBUS)
    library.modbus_new_rtu.restype = ctypes.c_void_p
    library.modbus_mapping_new_start_address.restype = ctypes.POINTER(Mapping)
    context = ctypes.c_void_p(library.modbus_new_rtu(port.encode(), 38400, ctypes.c_char(b"N"), 8, 1))
    library.modbus_set_slave(context, 1)
    library.modbus_set_indication_timeout(context, 0, 50_000)  # so that it looks whether to stop
    spans = [(min(image), max(image) - min(image) + 1) for image in (holding_image, input_image)]
    mapping = library.modbus_mapping_new_start_address(0, 100, 0, 100, *spans[0], *spans[1])
    for address, word in holding_image.items():
        mapping.contents.registers[address - spans[0][0]] = word
    for address, word in input_image.items():
        mapping.contents.inputs[address - spans[1][0]] = word
    assert library.modbus_connect(context) == 0
    stopped = threading.Event()

    def serve() -> None:
        question = (ctypes.c_uint8 * 260)()  # MODBUS_MAX_ADU_LENGTH
        while not stopped.is_set():
            length = library.modbus_receive(context, question)
            if length > 0:
                library.modbus_reply(context, question, length, mapping)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join(10)
        library.modbus_close(context)
        library.modbus_mapping_free(mapping)
        library.modbus_free(context)


@pytest.fixture
def libmodbus_line(bench: Bench) -> Iterator[Line]:
    if LIBMODBUS is None:
        pytest.skip("libmodbus is not installed (Debian: libmodbus5)")
    with cable() as (ours, theirs), libmodbus_server(theirs):
        yield bench.line(ours)


def test_libmodbus_is_read_and_written_by_every_function(libmodbus_line: Line) -> None:
    ask = libmodbus_line.transact
    assert ask(holding(0, 50), timeout=SOON) == (0,) * 50
    assert ask(Request.write(1, 6, 10, [99]), timeout=SOON) == ()
    assert ask(Request.write(1, 16, 11, [98, 97]), timeout=SOON) == ()
    assert ask(holding(9, 5), timeout=SOON) == (0, 99, 98, 97, 0)
    assert ask(Request.write(1, 5, 3, [1]), timeout=SOON) == ()
    assert ask(Request.write(1, 15, 4, [1, 0, 1]), timeout=SOON) == ()
    assert ask(Request.read(1, "coil", 0, 9), timeout=SOON) == (0, 0, 0, 1, 1, 0, 1, 0, 0)
    assert ask(Request.read(1, "discrete", 0, 9), timeout=SOON) == (0,) * 9
    assert ask(Request.read(1, "input", 0, 2), timeout=SOON) == (0, 0)


def test_libmodbus_refuses_what_it_does_not_have(libmodbus_line: Line) -> None:
    with pytest.raises(Refused) as refusal:
        libmodbus_line.transact(holding(99, 2), timeout=SOON)
    assert refusal.value.code == 2
    assert libmodbus_line.transact(holding(0, 1), timeout=SOON) == (0,)


def test_libmodbus_does_not_answer_for_another_unit(libmodbus_line: Line) -> None:
    with pytest.raises(NoAnswer):
        libmodbus_line.transact(holding(0, 1, unit=2), timeout=BRIEF)
