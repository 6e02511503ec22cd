"""The command line of the simulator: `simulate` and `demo`."""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import profile
from ..config import ConfigError
from ..modbus.port import LineSettings

if TYPE_CHECKING:
    from .box import SimulatedCharger
    from .wire import Slave, Wire

TCP_BAUDRATE = 115200  # Modbus TCP has no line behind it: as fast as ours can be
BURST = 8  # bytes that a UART with a FIFO hands over at once
KEYS = {
    "p": "plug", "u": "unplug", "c": "charge", "w": "pause", "f": "finish", "e": "fault", "x": "clear",
    "a": "authorise", "d": "deauthorise", "0": "power_cut",
}  # fmt: skip
HELP = (
    "p branche, c demande la charge, w suspend, f termine, u débranche, e défaut, x efface, a autorise, d refuse, "
    "0 coupure de courant, 1 à 9 choisit la borne, q quitte"
)


def add_commands(subparsers: Any) -> None:
    """Add `simulate`, `replay` and `demo` to the sub commands of the command line."""
    from .vehicle import SCENARIOS

    simulate = subparsers.add_parser("simulate", help="des bornes simulées, sans matériel")
    simulate.add_argument("--model", action="append", required=True, help="répété : plusieurs bornes sur une ligne")
    simulate.add_argument("--unit", action="append", type=int, help="adresse Modbus, une par --model, dans l'ordre")
    where = simulate.add_mutually_exclusive_group()
    where.add_argument("--link", help="lien à créer vers le pseudo-terminal")
    where.add_argument("--tcp", metavar="HOST:PORT", help="comme une passerelle RS485-Ethernet, ou Modbus TCP")
    where.add_argument("--port", help="un port série qui existe : la simulation parle sur une vraie ligne")
    simulate.add_argument("--scenario", default="charging", choices=SCENARIOS)
    simulate.add_argument("--baudrate", type=int)
    simulate.add_argument("--parity", choices=("N", "E", "O"))
    simulate.add_argument("--stopbits", type=int, choices=(1, 2))
    simulate.add_argument("--speed", type=float, default=1.0, help="secondes simulées par seconde")
    simulate.set_defaults(command=_simulate)

    replay = subparsers.add_parser("replay", help="la borne d'une capture, telle qu'elle a répondu")
    replay.add_argument("file", type=Path)
    where = replay.add_mutually_exclusive_group()
    where.add_argument("--link", help="lien à créer vers le pseudo-terminal")
    where.add_argument("--tcp", metavar="HOST:PORT", help="comme une passerelle RS485-Ethernet, ou Modbus TCP")
    replay.set_defaults(command=_replay)

    demo = subparsers.add_parser("demo", help="deux bornes simulées, le démon et une page locale")
    demo.add_argument("--port", type=int, default=0, help="port de la page ; un port libre si absent")
    demo.add_argument("--seconds", type=float, help="s'arrêter après ce temps")
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> int:
    from .demo.run import run

    return run(options.port, options.seconds)


def _replay(options: argparse.Namespace) -> int:
    from .replay import CaptureError, Replay
    from .wire import Wire

    try:
        replay = Replay.of(options.file)
        if replay.settings.framing == "tcp" and options.tcp is None:
            raise ConfigError("--tcp : cette borne ne parle que Modbus TCP")
        slaves = {replay.unit: replay.answer}
        with _stoppable() as stopped, Wire(slaves, replay.settings, fault=replay.fault, burst=BURST) as wire:
            print(_open(wire, options), flush=True)
            select.select([stopped], (), ())
    except (CaptureError, OSError) as error:
        print(f"evcharger : {error}", file=sys.stderr)
        return 1
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from .slave import Habits
    from .wire import Wire

    chargers = _chargers(options)
    settings = _settings(options, chargers)
    slaves: dict[int, Slave] = {charger.unit: Habits(charger.answer, charger.profile, settings) for charger in chargers}
    try:
        with _stoppable() as stopped, contextlib.ExitStack() as stack:
            if options.port is not None:
                from .device import open_port, serve

                port = stack.enter_context(open_port(settings))
                print(options.port, flush=True)
                serve(port, slaves, settings, stopped)
                return 0
            wire = stack.enter_context(Wire(slaves, settings, burst=BURST))
            print(_open(wire, options), flush=True)
            _play(chargers, stopped)
    except OSError as error:
        print(f"evcharger : {error}", file=sys.stderr)
        return 1
    return 0


def _chargers(options: argparse.Namespace) -> list[SimulatedCharger]:
    from .box import SimulatedCharger

    if not options.speed > 0:
        raise ConfigError("--speed : un nombre positif est attendu")
    if options.unit is not None and len(options.unit) != len(options.model):
        raise ConfigError("--unit : autant d'adresses que de modèles sont attendues")
    chargers: list[SimulatedCharger] = []
    for index, name in enumerate(options.model):
        model = profile.load(name)
        taken = {charger.unit for charger in chargers}
        if options.unit is not None:
            unit = options.unit[index]
            if not 0 <= unit <= 255 or unit in taken:
                raise ConfigError(f"--unit : {unit} est déjà prise, ou n'est pas entre 0 et 255")
        else:
            unit = next(each for each in (model.line.unit, *range(1, 248)) if each not in taken)
        chargers.append(SimulatedCharger(model, unit, speed=options.speed, scenario=options.scenario))
    return chargers


def _settings(options: argparse.Namespace, chargers: Sequence[SimulatedCharger]) -> LineSettings:
    line = chargers[0].profile.line
    if any(charger.profile.line.framing != line.framing for charger in chargers):
        raise ConfigError("--model : ces modèles ne parlent pas la même langue (RTU, ASCII, TCP)")
    if line.framing == "tcp" and options.tcp is None:
        raise ConfigError("--tcp : ce modèle ne parle que Modbus TCP")
    baudrate = TCP_BAUDRATE if line.framing == "tcp" else line.baudrate
    return LineSettings(
        options.port or "",
        options.baudrate or baudrate,
        options.parity or line.parity,
        options.stopbits or line.stopbits,
        line.framing,
    )


def _open(wire: Wire, options: argparse.Namespace) -> str:
    """Where the line is to be found."""
    if options.tcp is None:
        return wire.open_pty(options.link)
    host, _, port = options.tcp.rpartition(":")
    if not port.isdecimal():
        raise ConfigError("--tcp : HOST:PORT est attendu")
    host, number = wire.serve_tcp(host or "127.0.0.1", int(port))
    return f"{host}:{number}"


@contextlib.contextmanager
def _stoppable() -> Iterator[int]:
    """A descriptor that becomes readable when the process is asked to stop."""
    reading, writing = os.pipe()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda *_: os.write(writing, b"x"))
    try:
        yield reading
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


def _play(chargers: Sequence[SimulatedCharger], stopped: int) -> None:
    """Until the process is asked to stop; on a terminal, with keys."""
    if not sys.stdin.isatty():
        select.select([stopped], (), ())
        return
    print(HELP, file=sys.stderr)
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    tty.setcbreak(terminal)
    chosen = chargers[0]
    try:
        while stopped not in select.select([terminal, stopped], (), ())[0]:
            key = os.read(terminal, 1).decode("ascii", "replace")
            if key in ("q", ""):
                return
            if key in KEYS:
                chosen.play(KEYS[key])
            elif key.isdecimal() and int(key) <= len(chargers):
                chosen = chargers[int(key) - 1]
            print(f"{chosen.unit} : {_summary(chosen.values())}", file=sys.stderr)
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def _summary(values: Mapping[str, Any]) -> str:
    shown = ("state", "power", "current_limit", "cable_locked", "error_code")
    return ", ".join(f"{name} {values[name]}" for name in shown if name in values)
