"""From start to the first request, and resident memory, of a daemon with six chargers on two lines."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from callback import Callback
from running import RunningDaemon

LINES = (("abb-terra-ac", "evse-din", "heidelberg-ec"), ("mennekes-compact", "schrack-cion", "phoenix-ev-cc-ser"))
SPEED = {"baudrate": 19200, "parity": "N", "stopbits": 1}
STARTS = 5
SETTLED_S = 5.0


def _simulator(models: tuple[str, ...], link: Path) -> subprocess.Popen[str]:
    line = ("--link", str(link), "--baudrate", str(SPEED["baudrate"]), "--parity", str(SPEED["parity"]))
    command = [sys.executable, "-m", "evchargerd", "simulate", *line]
    for unit, model in enumerate(models, 1):
        command += ["--model", model, "--unit", str(unit)]
    simulator = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert simulator.stdout is not None
    simulator.stdout.readline()
    return simulator


def measure(folder: Path) -> tuple[list[float], float]:
    """Seconds to the first request, of each start; resident MB once everything runs."""
    chargers: list[dict[str, Any]] = []
    with ExitStack() as stack:
        for number, models in enumerate(LINES):
            link = folder / f"line{number}"
            stack.callback(_simulator(models, link).terminate)
            chargers += [
                {"id": 10 * number + unit, "model": model, "port": str(link), "unit": unit, **SPEED}
                for unit, model in enumerate(models, 1)
            ]
        callback = stack.enter_context(Callback())
        took, resident = [], 0.0
        for _ in range(STARTS):
            began = time.monotonic()
            with RunningDaemon(folder, callback.url, chargers) as daemon:
                daemon.wait_for_log(r"line\d > ")  # the frame trace of the debug log
                took.append(time.monotonic() - began)
                time.sleep(SETTLED_S if not resident else 0)
                status = Path(f"/proc/{daemon.process.pid}/status").read_text()
                resident = resident or int(status.split("VmRSS:")[1].split()[0]) / 1024
        return took, resident


def report() -> None:
    with tempfile.TemporaryDirectory() as folder:
        took, resident = measure(Path(folder))
    print("A daemon with six chargers on two lines")
    print(f"start to first request: median {statistics.median(took):.2f} s of {STARTS} (worst {max(took):.2f} s)")
    print(f"resident memory after {SETTLED_S:.0f} s: {resident:.1f} MB")
    print()
