"""The vehicle of a simulated charger: what it wants, what it draws, and the timetable that it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

MAX_CURRENT = 32.0  # A per phase, what the largest on-board chargers take (22 kW)
ROOM = 20.0  # kWh that a vehicle takes when it comes
TAPER = 1.0  # kWh before the end from which it draws less and less
LEAST_CURRENT = 2.0  # A at the very end


@dataclass(slots=True)
class Vehicle:
    """`asks`: it wants to be charged; `room`: kWh that it still takes; `drawn`: kWh taken in this plug-in."""

    plugged: bool = False
    asks: bool = False
    room: float = ROOM
    drawn: float = 0.0

    @property
    def full(self) -> bool:
        return self.room <= 0

    def plug(self) -> None:
        self.plugged, self.asks, self.room, self.drawn = True, False, ROOM, 0.0

    def unplug(self) -> None:
        self.plugged = self.asks = False

    def current(self, offered: float) -> float:
        """A per phase that it draws of what it is offered."""
        if not (self.plugged and self.asks) or self.full or offered <= 0:
            return 0.0
        curve = LEAST_CURRENT + (MAX_CURRENT - LEAST_CURRENT) * min(1.0, self.room / TAPER)
        return min(offered, curve)

    def take(self, energy: float) -> None:
        """kWh delivered."""
        taken = min(energy, max(self.room, 0.0))
        self.drawn += taken
        self.room -= taken


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens at the start, and then at which simulated second; repeated every `period` seconds."""

    start: tuple[str, ...]
    later: tuple[tuple[float, str], ...] = ()
    period: float = 0.0

    def between(self, start: float, end: float) -> Iterator[tuple[float, str]]:
        """What happens after `start` and up to `end`, in seconds since the scenario began, in order."""
        if not self.period:
            yield from ((at, what) for at, what in self.later if start < at <= end)
            return
        for turn in range(int(start // self.period), int(end // self.period) + 1):
            for second, what in self.later:
                at = turn * self.period + second
                if start < at <= end:
                    yield at, what


SCENARIOS = {
    "idle": Scenario(()),
    "plugged": Scenario(("plug",)),
    "charging": Scenario(("plug", "charge")),
    "finished": Scenario(("plug", "charge", "finish")),
    "fault": Scenario(("plug", "fault")),
    "cycle": Scenario((), ((10, "plug"), (20, "charge"), (120, "finish"), (150, "unplug")), 180),
}
