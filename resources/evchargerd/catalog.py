"""The commands a charger can have, from core/config/commands.json: the one list for PHP, the docs and the tests too."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

CONFIG_DIR = Path(__file__).resolve().parents[2] / "core" / "config"


@dataclass(frozen=True, slots=True)
class Command:
    """One entry of commands.json. `step` is in the command's own unit; None where every change counts."""

    logical_id: str
    type: str
    sub_type: str
    order: int
    name: Mapping[str, str]
    unit: str
    step: float | None
    offered_with: tuple[str, ...] | None
    always: bool
    values: tuple[int, ...]

    @property
    def is_action(self) -> bool:
        return self.type == "action"


def _command(entry: Mapping[str, Any]) -> Command:
    offered = entry.get("offeredWith")
    return Command(
        logical_id=entry["logicalId"],
        type=entry["type"],
        sub_type=entry["subType"],
        order=entry["order"],
        name=entry["name"],
        unit=entry["unit"],
        step=entry.get("step"),
        offered_with=tuple(offered) if isinstance(offered, list) else None,
        always=offered == "always",
        values=tuple(value["value"] for value in entry.get("values", ())),
    )


@lru_cache(maxsize=1)
def load() -> Mapping[str, Command]:
    """All commands by logicalId, in display order."""
    document = json.loads((CONFIG_DIR / "commands.json").read_text(encoding="utf-8"))
    commands = sorted((_command(entry) for entry in document["commands"]), key=lambda command: command.order)
    return {command.logical_id: command for command in commands}


def offered(served: Collection[str]) -> tuple[str, ...]:
    """logicalIds that a model offers: what it serves by itself, what every charger has, and what follows from these."""
    return tuple(
        command.logical_id
        for command in load().values()
        if command.logical_id in served
        or command.always
        or (command.offered_with is not None and all(needed in served for needed in command.offered_with))
    )
