"""Conditions over points: the `when` of a profile, as data that can be asked whether it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Value = int | float | str
Values = Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Test:
    """What one point must hold: one of `any_of`, none of `none_of`, within `low`..`high` (both included)…"""

    any_of: tuple[Value, ...] = ()
    none_of: tuple[Value, ...] = ()
    low: float | None = None
    high: float | None = None
    contains: str | None = None

    @classmethod
    def parse(cls, raw: Any) -> Test:
        if not isinstance(raw, dict):
            return cls(any_of=_listed(raw))
        return cls(
            none_of=_listed(raw["not"]) if "not" in raw else (),
            low=raw.get("min"),
            high=raw.get("max"),
            contains=raw.get("contains"),
        )

    def fits(self, value: Value) -> bool:
        if self.any_of and value not in self.any_of:
            return False
        if value in self.none_of:
            return False
        if self.contains is not None:
            return isinstance(value, str) and self.contains in value
        if self.low is None and self.high is None:
            return True
        if isinstance(value, str):
            return False
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def sample(self) -> Value:
        """A value that fits (for the simulator)."""
        if self.any_of:
            return self.any_of[0]
        if self.contains is not None:
            return self.contains
        if self.low is not None:
            return self.low
        if self.high is not None:
            return self.high
        return next(number for number in range(len(self.none_of) + 1) if number not in self.none_of)


def _listed(raw: Any) -> tuple[Value, ...]:
    return tuple(raw) if isinstance(raw, list) else (raw,)


@dataclass(frozen=True, slots=True)
class When:
    """Tests of several points; all must fit. A point that has no value fits nothing. Without tests it always holds."""

    tests: tuple[tuple[str, Test], ...] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, Any] | None) -> When:
        return cls(tuple((name, Test.parse(test)) for name, test in (raw or {}).items()))

    def holds(self, values: Values) -> bool:
        return all(name in values and test.fits(values[name]) for name, test in self.tests)

    @property
    def points(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.tests)


ALWAYS = When()
