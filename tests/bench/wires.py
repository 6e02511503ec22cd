"""A simulated line in a process of its own, so that neither its CPU nor its lock count for the master.

`python -m bench.wires BAUDRATE PARITY [lenient]` prints the device to open. Each line on its input makes it print, as
JSON, what it has counted since the last time. Its slave is unit 1: register n holds n.
"""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from evchargerd.modbus.port import LineSettings
from evchargerd.simulator.wire import Counters, Wire


class Lenient(Wire):
    """Hears a question also when the silence before it was too short; it still counts that."""

    def _receive(self, now: float) -> None:
        super()._receive(now)
        self._deaf = False


def counting(pdu: bytes) -> bytes:
    """A slave: function 3, register n holds n."""
    address, count = struct.unpack_from(">HH", pdu, 1)
    return struct.pack(f">BB{count}H", pdu[0], 2 * count, *range(address, address + count))


class RemoteWire:
    """The other end of such a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._process = process
        self.port = process.stdout.readline().strip()

    def counters(self) -> Counters:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return Counters(**json.loads(self._process.stdout.readline()))


@contextmanager
def remote_wire(settings: LineSettings, lenient: bool) -> Iterator[RemoteWire]:
    command = [sys.executable, "-m", "bench.wires", str(settings.baudrate), settings.parity]
    command += ["lenient"] if lenient else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield RemoteWire(process)
        finally:
            process.terminate()


def main(baudrate: str, parity: str, *lenient: str) -> None:
    kind = Lenient if lenient else Wire
    with kind({1: counting}, LineSettings("", int(baudrate), parity)) as wire:
        print(wire.open_pty(), flush=True)
        for _ in sys.stdin:
            counters, wire.counters = wire.counters, Counters()
            print(json.dumps(dataclasses.asdict(counters)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
