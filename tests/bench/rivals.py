"""The Modbus masters that are compared: ours, and libraries as they come, each behind the same two calls.

What a library raises is its own affair: whatever it is, the caller counts a failure. pymodbus and libmodbus have a
switch that changes the outcome under faults (retries, error recovery), so both are shown in both positions.
"""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import logging
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any, Protocol

from evchargerd.modbus.port import LineSettings


class Master(Protocol):
    """One master on one open port. Both calls raise whatever the library raises when it fails."""

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        """Holding registers, by function 3."""

    def write(self, unit: int, address: int, value: int) -> None:
        """One register, by function 6; returns when the library says that it is done."""

    def close(self) -> None: ...


class Failed(Exception):
    """For libraries that return an error instead of raising it."""


class Ours:
    def __init__(self, settings: LineSettings, timeout: float) -> None:
        from evchargerd.modbus.frame import Request
        from evchargerd.modbus.line import Line

        self._request = Request
        self._line = Line(settings)
        self._timeout = timeout

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        return self._line.transact(self._request.read(unit, "holding", address, count), timeout=self._timeout)

    def write(self, unit: int, address: int, value: int) -> None:
        self._line.transact(self._request.write(unit, 6, address, [value]), timeout=self._timeout)

    def close(self) -> None:
        self._line.close()


class OursOnTheBus(Ours):
    """A corrupted answer costs one retry, as on the bus."""

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        from evchargerd.modbus.errors import BadAnswer

        try:
            return super().read(unit, address, count)
        except BadAnswer:
            return super().read(unit, address, count)


class PymodbusSync:
    retries = 0

    def __init__(self, settings: LineSettings, timeout: float) -> None:
        from pymodbus.client import ModbusSerialClient

        _silence_pymodbus()
        self._client = ModbusSerialClient(
            settings.port,
            baudrate=settings.baudrate,
            parity="N",  # a pseudo terminal has none
            stopbits=settings.stopbits,
            timeout=timeout,
            retries=self.retries,
        )
        self._client.connect()

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        return _pymodbus_registers(self._client.read_holding_registers(address, count=count, device_id=unit))

    def write(self, unit: int, address: int, value: int) -> None:
        _pymodbus_registers(self._client.write_register(address, value, device_id=unit))

    def close(self) -> None:
        self._client.close()


class PymodbusRetrying(PymodbusSync):
    retries = 3  # its default


class PymodbusAsync:
    def __init__(self, settings: LineSettings, timeout: float) -> None:
        from pymodbus.client import AsyncModbusSerialClient

        _silence_pymodbus()
        self._loop = asyncio.new_event_loop()

        async def connect() -> Any:
            client = AsyncModbusSerialClient(
                settings.port,
                baudrate=settings.baudrate,
                parity="N",
                stopbits=settings.stopbits,
                timeout=timeout,
                retries=0,
            )
            await client.connect()
            return client

        self._client = self._loop.run_until_complete(connect())

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        asking = self._client.read_holding_registers(address, count=count, device_id=unit)
        return _pymodbus_registers(self._loop.run_until_complete(asking))

    def write(self, unit: int, address: int, value: int) -> None:
        _pymodbus_registers(self._loop.run_until_complete(self._client.write_register(address, value, device_id=unit)))

    def close(self) -> None:
        self._client.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


def _silence_pymodbus() -> None:
    """It prints every byte of a failed transaction."""
    logging.getLogger("pymodbus").setLevel(logging.CRITICAL + 1)


def _pymodbus_registers(answer: Any) -> Sequence[int]:
    if answer.isError():
        raise Failed(str(answer))
    return tuple(answer.registers)


class Tmodbus:
    """Needs Python 3.12. Its own reconnecting and retrying stay as they come."""

    def __init__(self, settings: LineSettings, timeout: float) -> None:
        from tmodbus import create_async_rtu_client

        self._loop = asyncio.new_event_loop()
        self._client = create_async_rtu_client(
            settings.port,
            unit_id=1,
            timeout=timeout,
            baudrate=settings.baudrate,
            stopbits=settings.stopbits,
        )
        self._loop.run_until_complete(self._client.connect())

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        asking = self._client.for_unit_id(unit).read_holding_registers(address, count)
        return tuple(self._loop.run_until_complete(asking))

    def write(self, unit: int, address: int, value: int) -> None:
        self._loop.run_until_complete(self._client.for_unit_id(unit).write_single_register(address, value))

    def close(self) -> None:
        self._loop.run_until_complete(self._client.disconnect())
        self._loop.close()


class Minimalmodbus:
    def __init__(self, settings: LineSettings, timeout: float) -> None:
        import minimalmodbus
        import serial

        self._port = serial.Serial(
            settings.port, settings.baudrate, parity="N", stopbits=settings.stopbits, timeout=timeout
        )
        self._instrument = minimalmodbus.Instrument(self._port, 1)

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        self._instrument.address = unit
        return tuple(self._instrument.read_registers(address, count))

    def write(self, unit: int, address: int, value: int) -> None:
        self._instrument.address = unit
        self._instrument.write_register(address, value, functioncode=6)

    def close(self) -> None:
        self._port.close()


class Umodbus:
    def __init__(self, settings: LineSettings, timeout: float) -> None:
        import serial
        from umodbus.client.serial import rtu

        self._rtu = rtu
        self._port = serial.Serial(
            settings.port, settings.baudrate, parity="N", stopbits=settings.stopbits, timeout=timeout
        )

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        question = self._rtu.read_holding_registers(unit, address, count)
        return tuple(word & 0xFFFF for word in self._rtu.send_message(question, self._port))

    def write(self, unit: int, address: int, value: int) -> None:
        self._rtu.send_message(self._rtu.write_single_register(unit, address, value), self._port)

    def close(self) -> None:
        self._port.close()


class Libmodbus:
    """The C library, through ctypes; modbus.h of 3.1."""

    recovery = 0

    def __init__(self, settings: LineSettings, timeout: float) -> None:
        library = ctypes.CDLL(ctypes.util.find_library("modbus"), use_errno=True)
        library.modbus_new_rtu.restype = ctypes.c_void_p
        self._library = library
        parity, stopbits = ctypes.c_char(b"N"), settings.stopbits
        self._context = ctypes.c_void_p(
            library.modbus_new_rtu(settings.port.encode(), settings.baudrate, parity, 8, stopbits)
        )
        whole, part = divmod(timeout, 1.0)
        library.modbus_set_response_timeout(
            self._context, ctypes.c_uint32(int(whole)), ctypes.c_uint32(int(part * 1e6))
        )
        library.modbus_set_error_recovery(self._context, self.recovery)
        if library.modbus_connect(self._context):
            raise Failed(os.strerror(ctypes.get_errno()))

    def _call(self, function: str, unit: int, *arguments: object) -> None:
        self._library.modbus_set_slave(self._context, unit)
        if getattr(self._library, function)(self._context, *arguments) < 0:
            raise Failed(f"errno {ctypes.get_errno()}")

    def read(self, unit: int, address: int, count: int) -> Sequence[int]:
        words = (ctypes.c_uint16 * count)()
        self._call("modbus_read_registers", unit, address, count, words)
        return tuple(words)

    def write(self, unit: int, address: int, value: int) -> None:
        self._call("modbus_write_register", unit, address, ctypes.c_uint16(value))

    def close(self) -> None:
        self._library.modbus_close(self._context)
        self._library.modbus_free(self._context)


class LibmodbusRecovering(Libmodbus):
    recovery = 2 | 4  # MODBUS_ERROR_RECOVERY_LINK | MODBUS_ERROR_RECOVERY_PROTOCOL


#: By the name in the tables; ours is the first.
MASTERS: dict[str, Callable[[LineSettings, float], Master]] = {
    "EVcharger": Ours,
    "pymodbus": PymodbusSync,
    "pymodbus async": PymodbusAsync,
    "minimalmodbus": Minimalmodbus,
    "tmodbus": Tmodbus,
    "umodbus": Umodbus,
    "libmodbus": Libmodbus,
}
#: The same with a switch thrown that changes what they do under faults.
SWITCHED: dict[str, Callable[[LineSettings, float], Master]] = {
    "EVcharger 1 retry": OursOnTheBus,
    "pymodbus 3 retries": PymodbusRetrying,
    "libmodbus recovery": LibmodbusRecovering,
}
#: What has to be imported to speak at all, for import time and memory.
IMPORTS = {
    "EVcharger": "import evchargerd.modbus.line",
    "pymodbus": "from pymodbus.client import ModbusSerialClient",
    "pymodbus async": "from pymodbus.client import AsyncModbusSerialClient",
    "minimalmodbus": "import minimalmodbus",
    "tmodbus": "import serialx, tmodbus",
    "umodbus": "import serial; from umodbus.client.serial import rtu",
}
DISTRIBUTIONS = {
    "pymodbus": "pymodbus",
    "minimalmodbus": "minimalmodbus",
    "tmodbus": "tmodbus",
    "umodbus": "uModbus",
}


def available() -> dict[str, Callable[[LineSettings, float], Master]]:
    """The masters that this machine has; says which are missing."""
    found = dict(MASTERS)
    for name, distribution in DISTRIBUTIONS.items():
        try:
            metadata.version(distribution)
        except metadata.PackageNotFoundError:
            needs = ", it needs Python 3.12" if name == "tmodbus" and sys.version_info < (3, 12) else ""
            print(f"NOT SHOWN: {name} is not installed{needs}")
            found = {master: make for master, make in found.items() if not master.startswith(name)}
    if ctypes.util.find_library("modbus") is None:
        print("NOT SHOWN: libmodbus is not installed (Debian: libmodbus5)")
        del found["libmodbus"]
    return found


def versions() -> str:
    """What ran, for the head of a table."""
    parts = [f"Python {sys.version.split()[0]}", f"pyserial {metadata.version('pyserial')}"]
    for name, distribution in DISTRIBUTIONS.items():
        try:
            parts.append(f"{name} {metadata.version(distribution)}")
        except metadata.PackageNotFoundError:
            continue
    if path := ctypes.util.find_library("modbus"):
        numbers = (ctypes.c_uint.in_dll(ctypes.CDLL(path), f"libmodbus_version_{part}").value for part in
                   ("major", "minor", "micro"))  # fmt: skip
        parts.append("libmodbus " + ".".join(map(str, numbers)))
    return ", ".join(parts)
