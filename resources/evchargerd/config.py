"""The configuration document that Jeedom pushes: checked charger by charger, completed from the model's profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .modbus.frame import FRAMINGS
from .modbus.port import LineSettings
from .profile import DEFAULT_BAUDRATE, DEFAULT_TIMEOUT_S, LineDefaults, Profile, ProfileError, load

MAX_CHARGERS = 1000
MAX_PORT_LENGTH = 512
URL_SCHEMES = ("socket", "rfc2217", "tcp")
POLL_BOUNDS_S = (1, 3600)
DEFAULT_POLL_S = 5.0
UNKNOWN_PAUSE_S = 0.2  # between two requests to a device of unknown model: what the slow ones of the profiles want
BAUDRATES = (1200, 2400, 4800, 9600, 14400, 19200, 28800, 38400, 56000, 57600, 115200)


class ConfigError(Exception):
    """A configuration, or an entry of it, that cannot be used; str() says in French what and where."""


@dataclass(frozen=True, slots=True)
class ChargerConfig:
    """One charger as it is to be run. `poll` in seconds."""

    id: int
    profile: Profile
    line: LineSettings
    unit: int
    poll: float
    unverified: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    """Something that may answer on a line. `timeout` and `pause` in seconds, as of a job's `Ask`."""

    line: LineSettings
    unit: int
    timeout: float
    pause: float


@dataclass(frozen=True, slots=True)
class Config:
    chargers: Mapping[int, ChargerConfig]
    errors: tuple[str, ...]
    language: str


def parse(document: Any) -> Config:
    """The chargers that can be run, and why each of the others cannot. Raises ConfigError where there is no telling."""
    if not isinstance(document, dict):
        raise ConfigError("configuration : un objet JSON est attendu")
    entries = document.get("chargers")
    if not isinstance(entries, list):
        raise ConfigError("configuration : $.chargers : une liste est attendue")
    if len(entries) > MAX_CHARGERS:
        raise ConfigError(f"configuration : $.chargers : {MAX_CHARGERS} chargeurs au plus")
    language = document.get("language", "fr_FR")
    if not isinstance(language, str):
        raise ConfigError("configuration : $.language : un texte est attendu")
    chargers: dict[int, ChargerConfig] = {}
    errors = []
    for i, entry in enumerate(entries):
        try:
            charger = parse_charger(entry, f"$.chargers[{i}]")
            _check_against(charger, chargers, f"$.chargers[{i}]")
        except ConfigError as error:
            errors.append(str(error))
        else:
            chargers[charger.id] = charger
    return Config(chargers, tuple(errors), language)


def parse_charger(entry: Any, path: str = "$") -> ChargerConfig:
    """One charger of the document. Raises ConfigError with the JSON path of the fault."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{path} : un objet est attendu")
    charger = _whole(entry, path, "id", None, 0, 2**31 - 1)
    profile = _profile(entry, path)
    return ChargerConfig(
        id=charger,
        profile=profile,
        line=_line(entry, path, profile.line),
        unit=_whole(entry, path, "unit", profile.line.unit, 0, 255),
        poll=_poll(entry, path),
        unverified=_flag(entry, path, "unverified"),
    )


def parse_device(entry: Any, path: str = "$") -> Device:
    """Where something that answers is to be found; its model may be left out. Raises ConfigError."""
    if not isinstance(entry, dict):
        raise ConfigError(f"{path} : un objet est attendu")
    if _given(entry, "model", None) is not None:
        profile = _profile(entry, path)
        defaults, timeout, pause = profile.line, profile.timeout, profile.pause
    else:
        framing = _given(entry, "framing", "rtu")
        if framing not in FRAMINGS:
            raise ConfigError(f"{path}.framing : l'un de {', '.join(FRAMINGS)} est attendu")
        defaults = LineDefaults(DEFAULT_BAUDRATE, "N", 1, unit=1, framing=framing)
        timeout, pause = DEFAULT_TIMEOUT_S, UNKNOWN_PAUSE_S
    unit = _whole(entry, path, "unit", defaults.unit, 0, 255)
    return Device(_line(entry, path, defaults), unit, timeout, pause)


def _profile(entry: Mapping[str, Any], path: str) -> Profile:
    model = entry.get("model")
    if not isinstance(model, str) or not model:
        raise ConfigError(f"{path}.model : l'identifiant d'un modèle est attendu")
    try:
        return load(model)
    except ProfileError as error:
        raise ConfigError(f"{path}.model : {error}") from error


def _line(entry: Mapping[str, Any], path: str, defaults: LineDefaults) -> LineSettings:
    parity = _given(entry, "parity", defaults.parity)
    if parity not in ("N", "E", "O"):
        raise ConfigError(f"{path}.parity : N, E ou O est attendu")
    baudrate = _whole(entry, path, "baudrate", defaults.baudrate, min(BAUDRATES), max(BAUDRATES))
    if baudrate not in BAUDRATES:
        raise ConfigError(f"{path}.baudrate : une vitesse parmi {', '.join(map(str, BAUDRATES))} est attendue")
    return LineSettings(
        port=_port(entry, path),
        baudrate=baudrate,
        parity=parity,
        stopbits=_whole(entry, path, "stopbits", defaults.stopbits, 1, 2),
        framing=defaults.framing,
    )


def _check_against(charger: ChargerConfig, others: Mapping[int, ChargerConfig], path: str) -> None:
    if charger.id in others:
        raise ConfigError(f"{path}.id : l'identifiant {charger.id} est déjà pris")
    for other in others.values():
        if other.line.port != charger.line.port:
            continue
        if other.line != charger.line:
            raise ConfigError(
                f"{path} : sur {charger.line.port}, le chargeur {other.id} utilise {_shown(other.line)} ; "
                f"tous les chargeurs d'une ligne doivent avoir les mêmes réglages (et non {_shown(charger.line)})"
            )
        if other.unit == charger.unit and other.profile == charger.profile:
            raise ConfigError(f"{path}.unit : l'adresse {charger.unit} est déjà celle du chargeur {other.id}")


def _shown(line: LineSettings) -> str:
    return f"{line.baudrate} 8{line.parity}{line.stopbits} {line.framing}"


def _port(entry: Mapping[str, Any], path: str) -> str:
    return parse_port(entry.get("port"), f"{path}.port")


def parse_port(port: Any, path: str) -> str:
    """A device path or the URL of a gateway. Raises ConfigError."""
    if not isinstance(port, str) or not port or len(port) > MAX_PORT_LENGTH or not port.isprintable():
        raise ConfigError(f"{path} : un port (/dev/…) ou une adresse (socket://machine:port) est attendu")
    if "://" in port:
        if port.split("://", 1)[0] not in URL_SCHEMES:
            raise ConfigError(f"{path} : {', '.join(scheme + '://' for scheme in URL_SCHEMES)} sont admis")
    elif not port.startswith("/"):
        raise ConfigError(f"{path} : un chemin complet est attendu, par exemple /dev/serial/by-id/…")
    return port


def _given(entry: Mapping[str, Any], key: str, default: Any) -> Any:
    """What the entry says, or the default; a field left empty on the page counts as left out."""
    raw = entry.get(key)
    return default if raw in (None, "") else raw


def _flag(entry: Mapping[str, Any], path: str, key: str) -> bool:
    """True or false; PHP may send it as 0 or 1, or as text."""
    raw = _given(entry, key, False)
    if raw not in (True, False, "0", "1"):
        raise ConfigError(f"{path}.{key} : true ou false est attendu")
    return bool(int(raw))


def _whole(entry: Mapping[str, Any], path: str, key: str, default: int | None, low: int, high: int) -> int:
    """A whole number; PHP may send it as text."""
    raw = _given(entry, key, default)
    if isinstance(raw, str) and raw.isascii() and raw.isdigit():
        raw = int(raw) if len(raw) < len(str(2**31)) + 1 else -1
    if not isinstance(raw, int) or isinstance(raw, bool) or not low <= raw <= high:
        raise ConfigError(f"{path}.{key} : un nombre entier de {low} à {high} est attendu")
    return raw


def _poll(entry: Mapping[str, Any], path: str) -> float:
    raw = _given(entry, "poll", DEFAULT_POLL_S)
    try:
        poll = math.nan if isinstance(raw, bool) else float(raw)
    except (TypeError, ValueError, OverflowError):
        poll = math.nan
    low, high = POLL_BOUNDS_S
    if not low <= poll <= high:
        raise ConfigError(f"{path}.poll : un nombre de secondes de {low} à {high} est attendu")
    return poll
