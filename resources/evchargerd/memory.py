"""What the daemon must remember of a charger when it restarts: data/memory/<id>.json, written atomically."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .rules import Value

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Memory:
    """Plain facts about one charger that it cannot tell itself. Times are seconds since the epoch."""

    of: str = ""  # which box this is: model, port and unit
    plugged: bool | None = None  # None: never seen
    plugged_at: float | None = None
    unplugged_at: float | None = None
    drawn: bool = False  # the vehicle has charged in this plug-in
    counters: dict[str, float] = field(default_factory=dict)  # at plug-in, by point
    rises: dict[str, float] = field(default_factory=dict)  # of the last finished session, by point
    remembered: dict[str, Value] = field(default_factory=dict)  # by command without read-back
    written: dict[str, float] = field(default_factory=dict)  # by point that a power cut resets
    last_limit: float | None = None  # A

    def plug(self, now: float, counters: dict[str, float]) -> None:
        """A plug-in begins; `counters` is empty where its first moment was not seen."""
        self.plugged, self.plugged_at, self.unplugged_at, self.drawn = True, now, None, False
        self.counters, self.rises = counters, {}

    def unplug(self, now: float, counters: dict[str, float]) -> None:
        self.rises = {name: rise for name in self.counters if (rise := self.risen(name, counters)) is not None}
        self.plugged, self.unplugged_at, self.drawn, self.counters = False, now, False, {}

    def risen(self, counter: str, counters: dict[str, float]) -> float | None:
        """Rise of a counter in the running session, or the last one; None where its start was not seen."""
        if counter in self.counters and counter in counters:
            return max(0.0, counters[counter] - self.counters[counter])
        return self.rises.get(counter)

    def duration(self, now: float) -> int | None:
        """Seconds of the running plug-in, or of the last one; None before the first."""
        if self.plugged_at is None:
            return None
        return max(0, round((self.unplugged_at if self.unplugged_at is not None else now) - self.plugged_at))


class Store:
    """The memories of all chargers in one folder, a file each. Without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._saved: dict[int, str] = {}

    def load(self, charger: int, of: str = "") -> Memory:
        """What is remembered of this charger, if it is still the same box; else a blank memory."""
        memory = self._load(charger)
        return memory if memory.of == of else Memory(of)

    def _load(self, charger: int) -> Memory:
        if self._folder is None:
            return Memory()
        try:
            text = self._path(charger).read_text(encoding="utf-8")
            memory = _memory(json.loads(text))
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError, TypeError, RecursionError) as error:
            log.warning("Mémoire du chargeur %s illisible, ignorée : %s", charger, error)
            return Memory()
        self._saved[charger] = text
        return memory

    def save(self, charger: int, memory: Memory) -> None:
        """Writes what has changed; a full disk is logged, not raised: the daemon goes on."""
        text = json.dumps(asdict(memory))
        if self._folder is None or self._saved.get(charger) == text:
            return
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._path(charger), text)
        except OSError as error:
            log.warning("Mémoire du chargeur %s non enregistrée : %s", charger, error)
            return
        self._saved[charger] = text

    def forget(self, charger: int) -> None:
        self._saved.pop(charger, None)
        if self._folder is None:
            return
        try:
            self._path(charger).unlink(missing_ok=True)
        except OSError as error:
            log.warning("Mémoire du chargeur %s non effacée : %s", charger, error)

    def _path(self, charger: int) -> Path:
        assert self._folder is not None
        return self._folder / f"{charger}.json"


def _memory(raw: Any) -> Memory:
    """From JSON; what is unknown is left out, what has the wrong shape raises TypeError."""
    if not isinstance(raw, dict):
        raise TypeError("not an object")
    known = {field.name: raw[field.name] for field in fields(Memory) if field.name in raw}
    for name, value in known.items():
        if not SHAPES[name](value):
            raise TypeError(f"{name} has another shape")
    return Memory(**known)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= HIGHEST


def _is_number_or_none(value: Any) -> bool:
    return value is None or _is_number(value)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_number, value.values()))


def _are_values(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) or _is_number(item) for item in value.values())


HIGHEST = 1e15  # beyond any time, counter or limit; keeps out inf, nan and numbers that no float holds
SHAPES: Mapping[str, Callable[[Any], bool]] = {
    "of": lambda value: isinstance(value, str),
    "plugged": lambda value: value is None or isinstance(value, bool),
    "plugged_at": _is_number_or_none,
    "unplugged_at": _is_number_or_none,
    "drawn": lambda value: isinstance(value, bool),
    "counters": _are_numbers,
    "rises": _are_numbers,
    "remembered": _are_values,
    "written": _are_numbers,
    "last_limit": _is_number_or_none,
}


def write_atomically(path: Path, text: str) -> None:
    """The file holds the old text or the new one, never half of it; only its owner may read it (0600)."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
