"""What a command's value is made of: a point, a sum, ordered rules… Frozen data that is asked for its value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from .rules import Value, Values, When

NO_FAULT = {"fr_FR": "Aucune", "en_US": "None"}


class Context(Protocol):
    """What an expression may look at, besides the points: what the charger's owner object knows about the past."""

    @property
    def points(self) -> Values: ...
    @property
    def language(self) -> str: ...
    def held_for(self, when: When) -> float:
        """Seconds since `when` has held without a break; 0 where it does not hold."""
        ...

    def remembered(self, command: str) -> Value:
        """What the last action set for this command; 0 where nothing did."""
        ...

    def risen(self, counter: str) -> float | None:
        """Rise of this point since the vehicle was plugged in; None where that moment is not known."""
        ...


class Expression(Protocol):
    def value(self, context: Context) -> Value | None:
        """The command's value; None: nothing is known now, the previous value stays."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """Points that it looks at."""
        ...


@dataclass(frozen=True, slots=True)
class Of:
    """The value of one point."""

    point: str

    def value(self, context: Context) -> Value | None:
        return context.points.get(self.point)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.point,)


@dataclass(frozen=True, slots=True)
class Sum:
    """scale * (sum of terms); a term is a product of one or more points. Nothing where one of them is missing."""

    terms: tuple[tuple[str, ...], ...]
    scale: float = 1

    def value(self, context: Context) -> Value | None:
        total = 0.0
        for term in self.terms:
            product = 1.0
            for name in term:
                factor = context.points.get(name)
                if factor is None or isinstance(factor, str):
                    return None
                product *= factor
            total += product
        return round(total * self.scale, 3)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(name for term in self.terms for name in term)


@dataclass(frozen=True, slots=True)
class First:
    """The first of these points that the charger has."""

    names: tuple[str, ...]

    def value(self, context: Context) -> Value | None:
        return next((context.points[name] for name in self.names if name in context.points), None)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.names


@dataclass(frozen=True, slots=True)
class Count:
    """How many of these points are above a bound."""

    names: tuple[str, ...]
    above: float

    def value(self, context: Context) -> Value | None:
        numbers = [context.points.get(name) for name in self.names]
        if any(number is None or isinstance(number, str) for number in numbers):
            return None
        return sum(1 for number in numbers if isinstance(number, (int, float)) and number > self.above)

    @property
    def needs(self) -> tuple[str, ...]:
        return self.names


@dataclass(frozen=True, slots=True)
class Rule:
    when: When
    result: Value | None
    for_s: float = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """The first rule that holds gives the value. Where none does: what was remembered, if the profile asks for that."""

    rules: tuple[Rule, ...]
    remembered_as: str | None = None

    def value(self, context: Context) -> Value | None:
        for rule in self.rules:
            if rule.when.holds(context.points) and (not rule.for_s or context.held_for(rule.when) >= rule.for_s):
                return rule.result
        return None if self.remembered_as is None else context.remembered(self.remembered_as)

    @property
    def needs(self) -> tuple[str, ...]:
        return tuple(name for rule in self.rules for name in rule.when.points)


@dataclass(frozen=True, slots=True)
class TextOf:
    """Words for a code or for the bits set in it. 0 is "no fault"; what has no words is shown as the number."""

    point: str
    bits: Mapping[int, Mapping[str, str]]
    codes: Mapping[int, Mapping[str, str]]

    def value(self, context: Context) -> Value | None:
        code = context.points.get(self.point)
        if not isinstance(code, int):
            return None
        if code in self.codes:
            return _words(self.codes[code], context.language)
        if code == 0:
            return _words(NO_FAULT, context.language)
        texts = [_words(text, context.language) for mask, text in self.bits.items() if code & mask]
        unknown = code & ~sum(self.bits)
        if unknown:
            texts.append(f"0x{unknown:X}" if self.bits else str(unknown))
        return ", ".join(texts)

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.point,)


@dataclass(frozen=True, slots=True)
class SessionOf:
    """Rise of a counter since the vehicle was plugged in; another point while that moment is not known."""

    counter: str
    otherwise: str | None

    def value(self, context: Context) -> Value | None:
        risen = context.risen(self.counter)
        if risen is not None:
            return round(risen, 3)
        return context.points.get(self.otherwise) if self.otherwise is not None else None

    @property
    def needs(self) -> tuple[str, ...]:
        return (self.counter,) if self.otherwise is None else (self.counter, self.otherwise)


def _words(text: Mapping[str, str], language: str) -> str:
    return text.get(language) or text["fr_FR" if language.startswith("fr") else "en_US"]


def parse(raw: Any, command: str) -> Expression:
    """From the profile's JSON (already checked against its schema). Raises ValueError where the kind is not clear."""
    if isinstance(raw, str):
        return Of(raw)
    kinds = [kind for kind in ("sum", "first", "count", "rules", "text_of", "session_of") if kind in raw]
    if len(kinds) != 1:
        raise ValueError("un et un seul de sum, first, count, rules, text_of, session_of")
    match kinds[0]:
        case "sum":
            terms = tuple((term,) if isinstance(term, str) else tuple(term["product"]) for term in raw["sum"])
            return Sum(terms, raw.get("scale", 1))
        case "first":
            return First(tuple(raw["first"]))
        case "count":
            return Count(tuple(raw["count"]), raw.get("above", 0))
        case "rules":
            rules = tuple(Rule(When.parse(rule.get("when")), rule["is"], rule.get("for_s", 0)) for rule in raw["rules"])
            return Rules(rules, command if raw.get("remembered") else None)
        case "text_of":
            bits = {int(mask, 16): text for mask, text in raw.get("bits", {}).items()}
            codes = {int(code, 0): text for code, text in raw.get("codes", {}).items()}
            return TextOf(raw["text_of"], bits, codes)
        case _:
            return SessionOf(raw["session_of"], raw.get("else"))
