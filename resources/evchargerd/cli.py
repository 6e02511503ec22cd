"""The command line: run, read, write, scan, plan, simulate, models, check-profile."""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import __version__, catalog, profile
from .charger import ActionError, Charger
from .config import ChargerConfig, ConfigError, parse_charger, parse_port
from .job import drive, patient
from .modbus.errors import ModbusError
from .modbus.frame import FRAMINGS, Request
from .modbus.line import Line
from .profile import ProfileError

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2
DATA_DIR = profile.USER_DIR.parent
TERMINAL_COLUMNS = 79  # of a progress line, so that the next one can be written over it
TURNAROUND_S = 0.005  # that a charger takes to answer, for estimates

# Jeedom's own names (log::convertLogLevel) to Python's levels
LOG_LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "notice": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "critical": logging.CRITICAL,
    "alert": logging.CRITICAL,
    "emergency": logging.CRITICAL,
    "none": logging.CRITICAL + 10,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one sub command; its exit code."""
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except (ConfigError, ProfileError) as error:
        return _complain(EXIT_USAGE, error)
    except (ActionError, ModbusError) as error:
        return _complain(EXIT_FAILED, error)
    except KeyboardInterrupt:
        return EXIT_FAILED


def _complain(code: int, reason: object) -> int:
    print(f"evcharger : {reason}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evcharger", description="Bornes de recharge Modbus pour Jeedom.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMANDE")

    run = commands.add_parser("run", help="le démon")
    run.add_argument("--config", type=Path, required=True, help="fichier JSON des chargeurs")
    run.add_argument("--socketport", type=int, required=True, help="port local des ordres de Jeedom")
    run.add_argument("--callback", required=True, help="URL où publier les valeurs")
    run.add_argument("--pid", type=Path, required=True, help="fichier pid")
    run.add_argument("--loglevel", default="error", choices=LOG_LEVELS)
    run.add_argument("--cycle", type=float, default=0.5, help="secondes entre deux envois à Jeedom")
    run.add_argument("--apikey", default=None, help="de préférence dans la variable EVCHARGER_APIKEY")
    run.add_argument("--memory", type=Path, default=DATA_DIR / "memory", help="dossier de ce qui survit au démon")
    run.set_defaults(command=_run)

    read = commands.add_parser("read", help="lire un chargeur, une fois")
    _add_charger_options(read)
    read.add_argument("--json", action="store_true")
    read.set_defaults(command=_read)

    write = commands.add_parser("write", help="exécuter une action, comme un scénario")
    _add_charger_options(write)
    write.add_argument("logical_id", metavar="LOGICALID")
    write.add_argument("value", metavar="VALUE", nargs="?")
    write.set_defaults(command=_write)

    plan = commands.add_parser("plan", help="ce qu'une lecture coûte sur la ligne")
    _add_charger_options(plan, port=False)
    plan.add_argument("--count", type=int, default=1, help="nombre de chargeurs sur la ligne")
    plan.set_defaults(command=_plan)

    scan = commands.add_parser("scan", help="quels chargeurs répondent, où et comment ; n'écrit jamais")
    scan.add_argument("--port", action="append", help="sans --port : tous les ports série ; aussi tcp://machine:502")
    depth = scan.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="seulement les réglages d'usine des modèles connus")
    depth.add_argument("--full", action="store_true", help="toutes les adresses ; jusqu'à un quart d'heure par ligne")
    scan.add_argument("--json", action="store_true", help="une configuration prête à l'emploi")
    scan.add_argument("--loglevel", default="critical", choices=LOG_LEVELS)
    scan.set_defaults(command=_scan)

    models = commands.add_parser("models", help="les modèles connus")
    models.add_argument("--json", action="store_true")
    models.set_defaults(command=_models)

    check = commands.add_parser("check-profile", help="vérifier le profil d'un modèle")
    check.add_argument("file", type=Path)
    check.set_defaults(command=_check_profile)

    from .simulator import cli as simulator_cli

    simulator_cli.add_commands(commands)
    return parser


def _add_charger_options(parser: argparse.ArgumentParser, *, port: bool = True) -> None:
    parser.add_argument("--model", required=True, help="identifiant du modèle (voir models)")
    if port:
        parser.add_argument("--port", required=True, help="/dev/… ou socket://machine:port")
    parser.add_argument("--unit", type=int, help="adresse Modbus")
    parser.add_argument("--baudrate", type=int)
    parser.add_argument("--parity", choices=("N", "E", "O"))
    parser.add_argument("--stopbits", type=int, choices=(1, 2))
    parser.add_argument("--unverified", action="store_true", help="avec les commandes que personne n'a confirmées")
    parser.add_argument("--loglevel", default="warning", choices=LOG_LEVELS)


def _charger_config(options: argparse.Namespace) -> ChargerConfig:
    entry = {key: getattr(options, key) for key in ("unit", "baudrate", "parity", "stopbits") if getattr(options, key)}
    port = getattr(options, "port", "/dev/null")
    if "://" not in port:
        port = str(Path(port).absolute())
    entry |= {"id": 0, "model": options.model, "port": port, "unverified": options.unverified}
    return parse_charger(entry, "options")


def _log_to_stderr(level: str) -> None:
    logging.basicConfig(
        stream=sys.stderr,
        level=LOG_LEVELS[level],
        format="[%(asctime)s][%(levelname)s] : %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # at debug it would log whole URLs


def _run(options: argparse.Namespace) -> int:
    from .daemon import EXIT_CRASH, Daemon, StartError

    _log_to_stderr(options.loglevel)
    log = logging.getLogger(__name__)
    apikey = os.environ.pop("EVCHARGER_APIKEY", None) or options.apikey
    if not apikey:
        return _complain(EXIT_USAGE, "clé API absente : variable EVCHARGER_APIKEY (ou --apikey)")
    if not 0 <= options.socketport <= 0xFFFF or not 0 < options.cycle <= 60:
        return _complain(EXIT_USAGE, "--socketport de 0 à 65535, --cycle de plus de 0 à 60 s")
    try:
        daemon = Daemon(
            options.config, options.socketport, options.callback, apikey, options.pid, options.cycle, options.memory
        )
        return daemon.run()
    except StartError as error:
        log.critical("Le démon ne démarre pas : %s", error)
        return error.code
    except ValueError as error:
        return _complain(EXIT_USAGE, error)
    except Exception:
        log.critical("Le démon s'arrête sur une erreur interne", exc_info=True)
        return EXIT_CRASH


def _read(options: argparse.Namespace) -> int:
    _log_to_stderr(options.loglevel)
    config = _charger_config(options)
    charger = Charger(config.profile, config.unit, unverified=config.unverified)
    line = Line(config.line)
    try:
        values = drive(patient(charger.poll(whole=True)), line) | {"online": 1}
    finally:
        line.close()
    ordered = {name: values[name] for name in charger.offered if name in values}
    if options.json:
        print(json.dumps(ordered, ensure_ascii=False))
        return EXIT_OK
    commands = catalog.load()
    for name, value in ordered.items():
        print(f"{name:26} {value} {commands[name].unit}".rstrip())
    return EXIT_OK


def _write(options: argparse.Namespace) -> int:
    _log_to_stderr(options.loglevel)
    config = _charger_config(options)
    charger = Charger(config.profile, config.unit, unverified=config.unverified)
    line = Line(config.line)
    try:
        drive(patient(charger.act(options.logical_id, options.value)), line)
    finally:
        line.close()
    return EXIT_OK


def _plan(options: argparse.Namespace) -> int:
    config = _charger_config(options)
    if options.count < 1:
        raise ConfigError("--count : un nombre de chargeurs à partir de 1 est attendu")
    charger = Charger(config.profile, config.unit, unverified=config.unverified)
    framing = FRAMINGS[config.line.framing]()
    once = set(charger.reads(whole=True)) - set(charger.reads())
    own = shared = 0.0
    for read in charger.reads():
        request = Request.read(config.unit, read.table, read.address, read.count)
        octets = len(framing.encode(request)) + framing.answer_length(request)
        wire = octets * config.line.character_time + TURNAROUND_S
        shared += wire + config.line.silence
        own += wire + max(config.line.silence, config.profile.pause)
        print(f"{read.table} 0x{read.address:04X}..0x{read.last:04X} : {1000 * wire:.1f} ms")
    total = max(own, options.count * shared)
    settings = config.line
    print(
        f"{options.count} × {config.profile.title} à {settings.baudrate} 8{settings.parity}{settings.stopbits} : "
        f"une lecture de tous toutes les {total:.2f} s ({len(charger.reads())} trames par chargeur"
        + (f", {len(once)} autres à la connexion)" if once else ")")
    )
    return EXIT_OK


def _scan(options: argparse.Namespace) -> int:
    from .scan.plan import Depth
    from .scan.ports import serial_ports
    from .scan.scanner import Progress, Scanner, configuration

    _log_to_stderr(options.loglevel)
    given = [port if "://" in port else str(Path(port).absolute()) for port in options.port or ()]
    ports = [parse_port(port, "--port") for port in given] or serial_ports()
    if not ports:
        return _complain(EXIT_FAILED, "aucun port série sur cette machine ; --port en nomme un")
    depth = Depth.QUICK if options.quick else Depth.FULL if options.full else Depth.NORMAL
    on_terminal = sys.stderr.isatty()

    def show(progress: Progress) -> None:
        line = f"{progress.progress:4.0%} {progress.text}"
        print(
            f"\r{line:.110}\033[K" if on_terminal else line,
            end="" if on_terminal else "\n",
            file=sys.stderr,
            flush=True,
        )

    scanner = Scanner(ports, profile.usable()[0], depth, show)
    before = {number: signal.signal(number, lambda *_: scanner.stop()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        result = scanner.run()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if on_terminal:
        print(file=sys.stderr)
    if options.json:
        document = configuration(result.found)
        print(json.dumps(document | {"found": [found.as_json() for found in result.found], "errors": result.errors}))
    else:
        for found in result.found:
            print(found)
    for port, reason in result.errors.items():
        print(f"{port} : {reason}", file=sys.stderr)
    return EXIT_OK if result.found else EXIT_FAILED


def _models(options: argparse.Namespace) -> int:
    models, errors = profile.usable()
    if options.json:
        listed: list[dict[str, object]] = [
            {
                "id": model.id,
                "brand": model.brand,
                "model": model.model,
                "rebrands": list(model.rebrands),
                "confidence": model.confidence,
                "commands": list(model.offered()),
                "unit": model.line.unit,
                "baudrate": model.line.baudrate,
                "parity": model.line.parity,
                "stopbits": model.line.stopbits,
                "framing": model.line.framing,
            }
            for model in models
        ]
        listed += [{"id": name, "error": str(error)} for name, error in errors.items()]
        print(json.dumps(listed, ensure_ascii=False))
        return EXIT_OK
    for model in models:
        line = model.line
        print(f"{model.id:24} {model.title} ({line.baudrate} 8{line.parity}{line.stopbits}, adresse {line.unit})")
    for error in errors.values():
        print(error, file=sys.stderr)
    return EXIT_OK


def _check_profile(options: argparse.Namespace) -> int:
    checked = profile.read(options.file)
    print(f"{options.file} : {checked.title}, {len(checked.points)} points, commandes : {', '.join(checked.offered())}")
    return EXIT_OK
