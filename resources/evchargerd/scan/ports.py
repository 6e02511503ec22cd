"""Serial ports that a charger may hang on: their lasting names, and who else holds them."""

from __future__ import annotations

import os
from pathlib import Path

from serial.tools import list_ports

from ..modbus.port import PTY_SLAVE_MAJORS

BY_ID = Path("/dev/serial/by-id")
PROC = Path("/proc")
MEMORY_MAJOR = 1  # of /dev/null and the like, which everybody has open (Linux, admin-guide/devices.txt)


def serial_ports(by_id: Path = BY_ID) -> tuple[str, ...]:
    """The serial ports of this machine, by the name that survives a reboot where there is one."""
    lasting = {os.path.realpath(link): str(link) for link in sorted(by_id.iterdir())} if by_id.is_dir() else {}
    devices = sorted(port.device for port in list_ports.comports())
    return tuple(lasting.get(os.path.realpath(device), device) for device in devices)


def holder(port: str, proc: Path = PROC) -> str | None:
    """Which other process has this device open, as far as we may see: its name and pid.

    Not every program locks its port, and a question in the midst of its own traffic would disturb it. The far end of a
    pseudo terminal is held open by whoever simulates the line; that is not a holder.
    """
    real = os.path.realpath(port)
    try:
        major = os.major(os.stat(real).st_rdev)
    except OSError:
        return None  # a URL, or no such device: opening it will tell
    if major in PTY_SLAVE_MAJORS or major == MEMORY_MAJOR:
        return None
    for process in proc.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if any(os.readlink(handle) == real for handle in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                return f"{name} (pid {process.name})"
        except OSError:
            continue  # it has ended, or is not ours to look at
    return None
