"""The byte stream under a line: a serial port, a TCP gateway, or whatever else pyserial has a URL for.

A port reads without blocking longer than asked, writes without blocking at all, and raises `OSError` or `termios.error`
(`PORT_ERRORS`) when it is gone. It never reopens itself: that is the line's decision.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import select
import socket
import termios
import threading
import time
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import serial

#: What a port raises when it is gone. pyserial's own errors are OSErrors; termios.error, seen on unplug, is none.
PORT_ERRORS = (OSError, termios.error)
#: What opening may raise on top of that, for settings or a URL that make no sense.
OPEN_ERRORS = (*PORT_ERRORS, TypeError, ValueError, NotImplementedError)

#: Above this speed the silence between frames is fixed (MODBUS over Serial Line V1.02, 2.5.1.1).
FIXED_SILENCE_ABOVE = 19200
FIXED_SILENCE = 0.00175
SILENCE_CHARACTERS = 3.5

#: Longest wait for a TCP connection, in seconds.
CONNECT_TIMEOUT = 2.0
#: A gateway that has not acknowledged our bytes for so long (ms) has gone without saying so: the kernel drops the
#: connection. Far above any retransmission in a home network, short enough to be back soon after the gateway.
TCP_USER_TIMEOUT_MS = 3000
#: Where there is no file descriptor to wait on, how often we look (s).
TICK = 0.005
#: Major device numbers of the slave side of pseudo terminals (Linux Documentation/admin-guide/devices.txt).
PTY_SLAVE_MAJORS = range(136, 144)
READ_SIZE = 4096


@dataclass(frozen=True, slots=True)
class LineSettings:
    """How to reach one line: `port` is a device path, a pyserial URL, or tcp://host:port for Modbus TCP."""

    port: str
    baudrate: int = 9600
    parity: str = "N"
    stopbits: int = 1
    framing: str = "rtu"

    @property
    def is_url(self) -> bool:
        return "://" in self.port

    @property
    def character_time(self) -> float:
        """Seconds one character takes on the wire: start bit, 8 data bits, parity if any, stop bits."""
        return (1 + 8 + (self.parity != "N") + self.stopbits) / self.baudrate

    @property
    def silence(self) -> float:
        """Seconds of silence that end a frame: 3.5 characters, fixed at 1.75 ms above 19200 baud."""
        return FIXED_SILENCE if self.baudrate > FIXED_SILENCE_ABOVE else SILENCE_CHARACTERS * self.character_time


def proves_settings(port: str) -> bool:
    """Whether an answer on this port shows that speed and parity are right: a gateway has its own, a pty has none."""
    return "://" not in port and not (os.path.exists(port) and _on_pty(port))


def _on_pty(path: str) -> bool:
    return os.major(os.stat(path).st_rdev) in PTY_SLAVE_MAJORS


class Port(Protocol):
    """A stream of bytes to and from the line."""

    #: Bytes may come at the pace of the wire, so that it pays to sleep until they are due.
    paced: bool
    #: There is a wire with our own settings, so that nothing can come sooner than it allows.
    is_uart: bool

    def read(self, wait: float) -> bytes:
        """What is there, after waiting at most `wait` seconds for the first byte; nothing if none came."""

    def write(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class _DescriptorPort:
    """A port with a file descriptor to wait on."""

    paced = is_uart = False

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def read(self, wait: float) -> bytes:
        if not self._poll.poll(math.ceil(wait * 1000)):
            return b""
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return data

    def write(self, data: bytes) -> None:
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:
            written = 0
        if written < len(data):  # a request is far shorter than any buffer: nobody has emptied it for long
            raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))


class SerialPort(_DescriptorPort):
    """A local port, opened by pyserial with the settings asked and for us alone.

    `exclusive` is an advisory flock; TIOCEXCL also stops programs that do not ask for one (but not root).
    A pseudo terminal has no parity: the kernel drops it, and asking twice fails with EINVAL, so it is not asked for.
    It keeps TIOCEXCL after its last close, where a crash would shut out our own restart: not asked for either.
    """

    paced = True

    def __init__(self, settings: LineSettings) -> None:
        on_pty = _on_pty(settings.port)
        self._serial = serial.Serial(
            settings.port,
            baudrate=settings.baudrate,
            parity=serial.PARITY_NONE if on_pty else settings.parity,
            stopbits=settings.stopbits,
            timeout=0,
            exclusive=True,
        )
        super().__init__(self._serial.fileno())
        self.is_uart = not on_pty
        if not on_pty:
            # An FTDI adapter otherwise keeps bytes back for up to 16 ms. Drivers without the setting refuse it.
            with contextlib.suppress(ValueError, *PORT_ERRORS):
                self._serial.set_low_latency_mode(True)
            with contextlib.suppress(*PORT_ERRORS):
                fcntl.ioctl(self._descriptor, termios.TIOCEXCL)

    def close(self) -> None:
        """Close at once: what has not been sent is thrown away, or the kernel would wait for it up to 30 s."""
        with contextlib.suppress(*PORT_ERRORS):
            termios.tcflush(self._descriptor, termios.TCIOFLUSH)
        with contextlib.suppress(TypeError, *PORT_ERRORS):
            self._serial.close()


class SocketPort(_DescriptorPort):
    """A gateway that passes bytes on over TCP (socket://), or a Modbus TCP server (tcp://)."""

    def __init__(self, settings: LineSettings) -> None:
        url = urlsplit(settings.port)
        if url.hostname is None or url.port is None:
            raise ValueError(f"{url.scheme}://machine:port attendu")
        self._socket = socket.create_connection((url.hostname, url.port), timeout=CONNECT_TIMEOUT)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, TCP_USER_TIMEOUT_MS)
        super().__init__(self._socket.fileno())

    def close(self) -> None:
        self._socket.close()


class UrlPort:
    """Any other URL of pyserial (rfc2217://, loop://): no descriptor to wait on, so we look at a fixed tick."""

    paced = is_uart = False

    def __init__(self, settings: LineSettings) -> None:
        self._serial = serial.serial_for_url(
            settings.port,
            baudrate=settings.baudrate,
            parity=settings.parity,
            stopbits=settings.stopbits,
            timeout=TICK,
        )

    def read(self, wait: float) -> bytes:
        until = time.monotonic() + wait
        try:
            first: bytes = self._serial.read(1) if wait > 0 or self._serial.in_waiting else b""
            while not first and time.monotonic() < until:
                first = self._serial.read(1)
            return first + self._serial.read(self._serial.in_waiting)
        except TypeError as error:
            raise OSError(errno.EIO, "port closed under pyserial") from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except TypeError as error:
            raise OSError(errno.EIO, "port closed under pyserial") from error

    def close(self) -> None:
        """pyserial joins its reader thread and sleeps here, for seconds: not in our thread."""
        threading.Thread(target=self._close, name="close " + str(self._serial.port), daemon=True).start()

    def _close(self) -> None:
        with contextlib.suppress(TypeError, *PORT_ERRORS):
            self._serial.close()


def open_port(settings: LineSettings) -> Port:
    """Open it, whatever it is. A URL may block for seconds (name resolution, connection): see `Opening`."""
    if not settings.is_url:
        return SerialPort(settings)
    if settings.port.startswith(("socket://", "tcp://")):
        return SocketPort(settings)
    return UrlPort(settings)


class Opening:
    """A port being opened in a thread of its own, since names and connections can take seconds."""

    def __init__(self, settings: LineSettings) -> None:
        self._settings = settings
        self._port: Port | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        self._abandoned = False
        self._lock = threading.Lock()
        threading.Thread(target=self._run, name=f"open {settings.port}", daemon=True).start()

    def _run(self) -> None:
        try:
            port = open_port(self._settings)
        except OPEN_ERRORS as error:
            self._error = error
        else:
            with self._lock:
                self._port = port
                if self._abandoned:
                    port.close()
        finally:
            self._done.set()

    def wait(self, seconds: float) -> Port | None:
        """The port, or None if it is not open yet; raises what opening raised."""
        if not self._done.wait(seconds):
            return None
        if self._error is not None:
            raise self._error
        return self._port

    def abandon(self) -> None:
        """Nobody wants it any more: it is closed as soon as it is open."""
        with self._lock:
            self._abandoned = True
            if self._port is not None:
                self._port.close()
