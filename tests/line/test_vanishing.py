"""Ports that vanish and come back, below a bus and behind a real ser2net: nothing blocks, spins, leaks or lies."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from line.bench import SOON, Bench, holding, registers, wait_for
from slaves import ImageSlave

from evchargerd import profile
from evchargerd.bus import Bus
from evchargerd.config import ChargerConfig
from evchargerd.modbus.errors import ModbusError
from evchargerd.modbus.frame import Request
from evchargerd.modbus.line import Line, LineSettings
from evchargerd.simulator.wire import Wire

BAUDRATE = 38400
BACK_WITHIN_S = 2.0
SER2NET = shutil.which("ser2net", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def works(line: Line) -> Callable[[], bool]:
    def does_it() -> bool:
        try:
            return line.transact(holding(3, 4), timeout=SOON) == registers(3, 4)
        except ModbusError:
            return False

    return does_it


def back_after(line: Line) -> float:
    """Seconds from now until the line works."""
    began = time.monotonic()
    wait_for(works(line))
    return time.monotonic() - began


def test_an_adapter_that_comes_back_under_its_name_is_found_on_another_tty(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    wire, link = bench.wire(), tmp_path / "usb-RS485_A10K-if00-port0"
    line = bench.line(wire.open_pty(link))
    first = os.path.realpath(link)
    assert works(line)()
    wire.unplug()
    assert not works(line)()
    master, slave = os.openpty()  # somebody else gets the old number
    wire.open_pty(link)
    assert os.path.realpath(link) != first
    assert back_after(line) < BACK_WITHIN_S
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    os.close(master)
    os.close(slave)


@pytest.mark.parametrize("gateway", [False, True])
def test_a_line_that_comes_and_goes_leaks_no_descriptor(bench: Bench, tmp_path: Path, gateway: bool) -> None:
    wire = bench.wire()
    host, port = wire.serve_tcp() if gateway else ("", 0)

    def plug() -> str:
        return wire.open_pty(tmp_path / "tty")

    line = bench.line(f"socket://{host}:{port}" if gateway else plug())
    wait_for(works(line))
    before = descriptors()
    for _ in range(5):
        wire.unplug()
        assert not works(line)()
        if gateway:
            wire.serve_tcp(host, port)
        else:
            plug()
        assert back_after(line) < BACK_WITHIN_S
        assert descriptors() == before


def test_a_bus_whose_port_is_away_tries_now_and_then_and_does_not_spin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    calls: list[float] = []
    transact = Line.transact
    monkeypatch.setattr(Line, "transact", lambda *given, **named: calls.append(0) or transact(*given, **named))
    heidelberg = profile.load("heidelberg-ec")
    settings = LineSettings(str(tmp_path / "tty"), BAUDRATE)
    bus = Bus(settings, lambda *_: None)
    for unit in range(1, 6):
        bus.put(ChargerConfig(unit, heidelberg, settings, unit, 1.0), "fr_FR")
    bus.start()
    time.sleep(2.0)  # what is measured is what it does in this time
    assert 2 <= len(calls) <= 8
    slave = ImageSlave.of(heidelberg.example)  # type: ignore[arg-type]
    with Wire(dict.fromkeys(range(1, 6), slave), LineSettings("", BAUDRATE)) as wire:
        wire.open_pty(tmp_path / "tty")
        back = time.monotonic()
        wait_for(lambda: slave.reads)
        assert time.monotonic() - back < BACK_WITHIN_S
        bus.stop()
        bus.join(5)
    lines = [record for record in caplog.records if "port" in record.message]
    assert [record.levelname for record in lines] == ["WARNING", "INFO"]


# ser2net, as Debian ships it


@contextmanager
def ser2net(device: str, port: int, folder: Path) -> Iterator[None]:
    """Raw TCP on this port of the loopback, in front of this device."""
    config = folder / "ser2net.yaml"
    config.write_text(
        "connection: &line\n"
        f"  accepter: tcp,127.0.0.1,{port}\n"
        f"  connector: serialdev,{device},{BAUDRATE}n81,local\n"
        "  options:\n    kickolduser: true\n"
    )
    assert SER2NET is not None
    with subprocess.Popen([SER2NET, "-n", "-u", "-c", str(config)], stdout=subprocess.DEVNULL) as process:
        try:
            yield
        finally:
            process.terminate()


def free_port() -> int:
    """ser2net cannot say which port it chose, so it has to be told one."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        number: int = probe.getsockname()[1]
    return number


needs_ser2net = pytest.mark.skipif(SER2NET is None, reason="ser2net is not installed (Debian: ser2net)")


@needs_ser2net
def test_ser2net_is_a_line_like_any_other(bench: Bench, tmp_path: Path) -> None:
    wire, port = bench.wire(), free_port()
    with ser2net(wire.open_pty(), port, tmp_path):
        line = bench.line(f"socket://127.0.0.1:{port}")
        wait_for(works(line))
        for count in (1, 10, 60, 125):
            assert line.transact(holding(0, count), timeout=SOON) == registers(0, count)
        assert line.transact(Request.write(1, 6, 3, [4]), timeout=SOON) == ()
        assert bench.box.registers[3] == 4
        assert wire.counters.too_early == wire.counters.damaged == 0


@needs_ser2net
def test_ser2net_that_is_restarted_is_back_within_two_seconds(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    device, port = bench.wire().open_pty(), free_port()
    line = bench.line(f"socket://127.0.0.1:{port}")
    with ser2net(device, port, tmp_path):
        wait_for(works(line))
    caplog.clear()
    away = time.monotonic()
    while time.monotonic() < away + 1.0:
        began = time.monotonic()
        assert not works(line)()
        assert time.monotonic() - began < 0.6
        time.sleep(0.05)
    with ser2net(device, port, tmp_path):
        wait_for(lambda: _listens(port))
        assert back_after(line) < BACK_WITHIN_S
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def _listens(port: int) -> bool:
    """Whether somebody does, without connecting to it: /proc/net/tcp, state 0A."""
    wanted = f"0100007F:{port:04X} 00000000:0000 0A"
    return any(wanted in line for line in Path("/proc/net/tcp").read_text().splitlines())
