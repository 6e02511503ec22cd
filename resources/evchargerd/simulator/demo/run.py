"""The demo: two simulated chargers on one line, the daemon, and the plugin's widgets in a page and in the terminal."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import termios
import time
import tty
from collections.abc import Iterator, Mapping
from pathlib import Path

from ... import catalog, profile
from ...modbus.port import LineSettings
from ..box import SimulatedCharger
from ..slave import Habits
from ..wire import Wire
from .server import Charger, DemoServer, Limit, Value

MODELS = {1: "abb-terra-ac", 2: "heidelberg-ec"}  # by unit id
LINE = LineSettings("", baudrate=19200, parity="E")  # what both can be set to
SPEED = 60.0  # simulated seconds per second: a charge lasts minutes, not hours
BURST = 8  # bytes that the line hands over at once
POLL_S = 1
ANSWER_SECONDS = 30.0
REDRAW_SECONDS = 0.5
NAMES = {1: "Garage", 2: "Allée"}
PLAY_KEYS = {"p": "plug", "c": "charge", "f": "finish", "e": "fault", "u": "unplug"}
ACTION_KEYS = {
    "s": ("charge_start", None),
    "x": ("charge_stop", None),
    "+": ("set_current_limit", 1),
    "-": ("set_current_limit", -1),
    "l": ("cable_lock", None),
    "o": ("cable_unlock", None),
    "r": ("refresh", None),
}
HELP = (
    "véhicule : p branche  c demande  f termine  e défaut  u débranche    "
    "actions : s démarre  x arrête  +/- limite  l verrouille  o déverrouille  r rafraîchit    "
    "1/2 choisit la borne  q quitte"
)


class Demo:
    """Everything at once: `run` shows it until `q`, Ctrl-C, SIGTERM or the end of `seconds`."""

    def __init__(self, port: int, folder: Path) -> None:
        self._folder = folder
        self._key = secrets.token_urlsafe(48)
        self._boxes = {
            unit: SimulatedCharger(profile.load(model), unit, speed=SPEED, scenario="plugged")
            for unit, model in MODELS.items()
        }
        self._server = DemoServer(port, [_shown(unit) for unit in MODELS], self.act, self.play, self._key)
        self._socket_port = 0
        self._chosen = 1
        self._said = ""

    def run(self, seconds: float | None) -> int:
        slaves = {unit: Habits(box.answer, box.profile, LINE) for unit, box in self._boxes.items()}
        with Wire(slaves, LINE, burst=BURST) as wire, self._server, self._daemon(wire.open_pty()) as daemon:
            print(f"Page de démonstration : {self._server.url}", flush=True)
            with _terminal() as keys:
                self._watch(daemon, keys, None if seconds is None else time.monotonic() + seconds)
            return 0 if daemon.poll() is None else 1

    @contextlib.contextmanager
    def _daemon(self, port: str) -> Iterator[subprocess.Popen[bytes]]:
        """The real daemon as a process of its own, started as Jeedom does it."""
        line = {"port": port, "baudrate": LINE.baudrate, "parity": LINE.parity, "stopbits": LINE.stopbits}
        chargers = [
            {"id": unit, "model": model, "unit": unit, "poll": POLL_S, **line} for unit, model in MODELS.items()
        ]
        config = self._folder / "config.json"
        config.write_text(json.dumps({"chargers": chargers}))
        self._socket_port = _free_port()
        options = {
            "config": config,
            "socketport": self._socket_port,
            "callback": self._server.callback,
            "pid": self._folder / "pid",
            "memory": self._folder / "memory",
            "loglevel": "warning",
        }
        command = [sys.executable, "-m", "evchargerd", "run"]
        for name, value in options.items():
            command += [f"--{name}", str(value)]
        log = (self._folder / "daemon.log").open("wb")
        daemon = subprocess.Popen(command, stderr=log, env={**os.environ, "EVCHARGER_APIKEY": self._key})
        try:
            yield daemon
        finally:
            daemon.terminate()
            daemon.wait()
            log.close()

    def act(self, charger: int, name: str, value: Value) -> Mapping[str, object]:
        """An action, through the daemon's socket as PHP would send it."""
        message = {"apikey": self._key, "action": "execute", "charger": charger, "logicalId": name, "value": value}
        try:
            return _say(self._socket_port, message)
        except OSError as error:
            return {"ok": False, "error": f"le démon ne répond pas : {error}"}

    def play(self, charger: int, what: str) -> None:
        """The car, or the charger, does something."""
        box = self._boxes[charger]
        box.play("clear" if what == "fault" and box.fault else what)

    # --- The terminal ------------------------------------------------------------------------------------------------

    def _watch(self, daemon: subprocess.Popen[bytes], keys: int | None, until: float | None) -> None:
        last: dict[int, dict[str, Value]] = {}
        while daemon.poll() is None and (until is None or time.monotonic() < until):
            if keys is None:
                time.sleep(REDRAW_SECONDS)
                last = self._print_changes(last)
                continue
            self._draw()
            if select.select([keys], (), (), REDRAW_SECONDS)[0] and not self._press(
                os.read(keys, 1).decode("ascii", "replace")
            ):
                return

    def _print_changes(self, last: dict[int, dict[str, Value]]) -> dict[int, dict[str, Value]]:
        now = {unit: self._server.values(unit) for unit in MODELS}
        for unit, values in now.items():
            changed = {name: value for name, value in values.items() if last.get(unit, {}).get(name) != value}
            if changed:
                print(f"{NAMES[unit]} : " + ", ".join(f"{name} {value}" for name, value in changed.items()), flush=True)
        return now

    def _press(self, key: str) -> bool:
        """What a key does; False to quit."""
        if key in ("q", ""):
            return False
        if key.isdecimal() and int(key) in MODELS:
            self._chosen = int(key)
        elif key in PLAY_KEYS:
            self.play(self._chosen, PLAY_KEYS[key])
        elif key in ACTION_KEYS:
            name, step = ACTION_KEYS[key]
            value = None
            if step is not None:
                limit = self._server.values(self._chosen).get("current_limit")
                value = (float(limit) if isinstance(limit, (int, float)) else 6.0) + step
            answer = self.act(self._chosen, name, value)
            self._said = f"{name} : fait" if answer.get("ok") else f"{name} : {answer.get('error')}"
        return True

    def _draw(self) -> None:
        commands = catalog.load()
        width = shutil.get_terminal_size().columns
        lines = [f"Page : {self._server.url}", ""]
        title = "".join(f"{('▸ ' if unit == self._chosen else '  ') + _title(unit):<28}" for unit in MODELS)
        lines.append(f"{'':30}{title}")
        values = {unit: self._server.values(unit) for unit in MODELS}
        for name, command in commands.items():
            if any(name in shown for shown in values.values()):
                cells = "".join(f"{_cell(shown.get(name), command):<28}" for shown in values.values())
                lines.append(f"{command.name['fr_FR']:<32}{cells}")
        lines += ["", HELP, "", self._said]
        sys.stdout.write("\x1b[H" + "".join(f"{line[:width]}\x1b[K\n" for line in lines) + "\x1b[J")
        sys.stdout.flush()


def _cell(value: Value, command: catalog.Command) -> str:
    return "—" if value is None else f"{value} {command.unit}".rstrip()


def _title(unit: int) -> str:
    return f"{NAMES[unit]} ({profile.load(MODELS[unit]).title})"


def _shown(unit: int) -> Charger:
    model = profile.load(MODELS[unit])
    assert model.limit is not None
    limit = Limit(model.limit.min, model.limit.max, model.limit.step)
    return Charger(unit, NAMES[unit], model.title, model.offered(), limit)


def _say(port: int, message: Mapping[str, object]) -> dict[str, object]:
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.sendall(json.dumps(message).encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n") and (piece := connection.recv(65536)):
            answer += piece
    decoded: dict[str, object] = json.loads(answer)
    return decoded


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def _terminal() -> Iterator[int | None]:
    """The keyboard without line buffering and a clean screen; None where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield None
        return
    keys = sys.stdin.fileno()
    before = termios.tcgetattr(keys)
    tty.setcbreak(keys)
    sys.stdout.write("\x1b[2J")
    try:
        yield keys
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)


def run(port: int, seconds: float | None) -> int:
    """Show the demo; its exit code."""
    with tempfile.TemporaryDirectory(prefix="evcharger-demo-") as folder:
        signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
        try:
            return Demo(port, Path(folder)).run(seconds)
        except KeyboardInterrupt:
            return 0
        except OSError as error:
            print(f"evcharger : {error}", file=sys.stderr)
            return 1
