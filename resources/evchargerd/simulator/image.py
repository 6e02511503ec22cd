"""The registers of a simulated charger, and the profile read backwards: from wanted command values to registers.

Nothing here knows a model. A value is reached by trying what the profile's own expression says could give it, and
looking whether the expression then does. So what is reached is right; what a model cannot express is not reached.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..expression import First, Of, Rule, Rules, SessionOf, Sum
from ..profile import Profile, Write
from ..rules import Test, Value, Values, When

TABLES = ("coil", "discrete", "holding", "input")
MAX_TRIES = 100  # ways to make one rule hold
MAX_REPAIRS = 4  # rules before the wanted one that are made not to hold


#: A command and the values it should have one of, the best first.
Wish = tuple[str, tuple[Value, ...]]
#: A command and the value it should have.
Goal = tuple[str, Value]


@dataclass(slots=True)
class Meaning:
    """What an expression looks at (its `Context`): points, and a past in which all has held for long enough."""

    points: Values
    memories: Mapping[str, Value] = field(default_factory=dict)
    language: str = "fr_FR"

    def held_for(self, when: When) -> float:
        return math.inf if when.holds(self.points) else 0.0

    def remembered(self, command: str) -> Value:
        return self.memories.get(command, 0)

    def risen(self, counter: str) -> float | None:
        return None


class Image:
    """Registers and bits by table and address; what was never set is 0.

    `controls` are the points of the master: what an action, a start or a keep-alive writes, and what reads that back.
    `fixed` are those and all else that does not change by itself. Only the master changes them.
    """

    def __init__(self, profile: Profile, image: Mapping[str, Mapping[int, int]]) -> None:
        self.profile = profile
        self.words = {table: dict(image.get(table, {})) for table in TABLES}
        self.controls = _controls(profile)
        self.fixed = self.controls | _constant(profile)
        self.memories: Mapping[str, Value] = {}  # what a daemon would have remembered, by command

    def copy(self) -> Image:
        return self._with({table: dict(words) for table, words in self.words.items()})

    def read(self, table: str, address: int, count: int) -> tuple[int, ...]:
        words = self.words[table]
        return tuple(words.get(address + i, 0) for i in range(count))

    def write(self, table: str, address: int, values: Iterable[int]) -> None:
        self.words[table].update(enumerate(values, address))

    def points(self, names: Collection[str] | None = None) -> dict[str, Value]:
        """Meaning of these points, or of all; also of those that the charger does not let its master read."""
        points = self.profile.points
        chosen = points if names is None else {*names, *(need for name in names for need in points[name].needs)}
        decoded: dict[str, Value] = {}
        for name in sorted(chosen, key=lambda name: bool(points[name].needs)):
            point = points[name]
            value = point.decode(self.read(point.table, point.address, point.count), decoded)
            if value is not None:
                decoded[name] = value
        return decoded

    def set(self, name: str, value: Value) -> bool:
        """Make a point mean `value`; False where it cannot."""
        point = self.profile.points[name]
        current = self.read(point.table, point.address, point.count)
        known = self.points(point.needs)
        if point.decode(current, known) == value:
            return True
        try:
            self.write(point.table, point.address, point.encode(value, known, current))
        except ValueError:
            return False
        return True

    def value(self, command: str) -> Value | None:
        """What the profile makes of the registers; None where it makes nothing, or has no such command."""
        expression = self.profile.commands.get(command)
        if expression is None:
            return None
        return expression.value(Meaning(self.points(expression.needs), self.memories))

    def number(self, command: str) -> float | None:
        """`value`, where it is a number."""
        value = self.value(command)
        return None if isinstance(value, str) else value

    def obeys(self, command: str) -> bool:
        """Whether this command shows what the master has written, and nothing else."""
        expression = self.profile.commands.get(command)
        if expression is None or (isinstance(expression, Rules) and expression.remembered_as is not None):
            return False
        return self.fixed.issuperset(expression.needs) and not self.controls.isdisjoint(expression.needs)

    def assume(self, when: When) -> None:
        """Make this hold, as far as points can be set."""
        for name, test in when.tests:
            now = self.points([name]).get(name)
            if now is None or not test.fits(now):
                any(self.set(name, value) for value in _samples(test))

    # --- Measurements ------------------------------------------------------------------------------------------------

    def show(self, command: str, number: float) -> None:
        """Make a measured value appear, as near as the registers can; nothing where it follows from others."""
        expression = self.profile.commands.get(command)
        match expression:
            case Of(name):
                self._measure([name], number)
            case First(names):
                self._measure(names, number)
            case SessionOf(_, str(otherwise)):
                self._measure([otherwise], number)
            case Sum(terms, scale) if not any(len(term) > 1 or term[0] in self.fixed for term in terms):
                self._share([term[0] for term in terms], number / scale)

    def _share(self, names: Sequence[str], total: float) -> None:
        """Spread a change of a sum evenly over its terms."""
        points = self.points(names)
        shares = [value for name in names if isinstance(value := points.get(name, 0), (int, float))]
        change = (total - sum(shares)) / len(names)
        shares = [share + change for share in shares]
        if total == 0 or min(shares) < 0:
            shares = [total / len(names)] * len(names)
        for name, share in zip(names, shares, strict=True):
            self._measure([name], share)

    def _measure(self, names: Sequence[str], number: float) -> None:
        """Set the first of these points that is free, rounded to its resolution."""
        name = next((name for name in names if name not in self.fixed), None)
        if name is None or self.points([name]).get(name) == number:
            return
        point = self.profile.points[name]
        step = point.scale.factor(self.points(point.needs)) or 0.0
        if not self.set(name, number if point.type == "float32" or number == 0 else number + abs(step) / 2):
            self.set(name, number)

    # --- States, locks, faults ---------------------------------------------------------------------------------------

    def reach(self, wishes: Sequence[Wish], hints: Sequence[float]) -> tuple[Goal, ...]:
        """Change points until the wishes hold, the earlier ones first; what could be reached of them.

        `hints`: numbers to try first for a point that only has to be different.
        """
        reached: tuple[Goal, ...] = ()
        for command, wanted in wishes:
            for value in wanted if command in self.profile.commands else ():
                image = self._solved((*reached, (command, value)), 0, hints)
                if image is not None:
                    self.words, reached = image.words, (*reached, (command, value))
                    break
        return reached

    def _solved(self, goals: Sequence[Goal], index: int, hints: Sequence[float]) -> Image | None:
        if index == len(goals):
            return self
        for option in self._options(goals[index], hints):
            if all(option.value(command) == wanted for command, wanted in goals[: index + 1]):
                solution = option._solved(goals, index + 1, hints)
                if solution is not None:
                    return solution
        return None

    def _options(self, goal: Goal, hints: Sequence[float]) -> Iterator[Image]:
        """Images in which the goal may hold: this one, then changed as the profile's expression suggests."""
        yield self
        command, wanted = goal
        match self.profile.commands[command]:
            case Of(name):
                yield from self._changed({name: wanted})
            case First(names):
                for name in names:
                    yield from self._changed({name: wanted})
            case Rules(rules):
                for index, rule in enumerate(rules):
                    for assignment in self._fitting(rule.when) if rule.result == wanted else ():
                        for image in self._changed(assignment):
                            image._silence(rules[:index], assignment, hints)
                            yield image

    def _changed(self, assignment: Mapping[str, Value]) -> Iterator[Image]:
        """A copy with these points set; nothing where one of them cannot be."""
        image = self.copy()
        if self.fixed.isdisjoint(assignment) and all(image.set(name, value) for name, value in assignment.items()):
            yield image

    def _fitting(self, when: When) -> Iterator[dict[str, Value]]:
        """Values of free points under which `when` holds."""
        current = self.points(when.points)
        choices: list[list[Value]] = []
        for name, test in when.tests:
            now = [current[name]] if name in current and test.fits(current[name]) else []
            choices.append(now if name in self.fixed else [*now, *_samples(test, self.profile.points[name].mask)])
        for choice in itertools.islice(itertools.product(*choices), MAX_TRIES):
            yield {name: value for name, value in zip(when.points, choice, strict=True) if name not in self.fixed}

    def _silence(self, rules: Sequence[Rule], keep: Collection[str], hints: Sequence[float]) -> None:
        """Make these rules not hold, without the points to keep, as far as that can be."""
        for _ in range(MAX_REPAIRS):
            holding = next((rule for rule in rules if rule.when.holds(self.points(rule.when.points))), None)
            if holding is None:
                return
            tests = [(name, test) for name, test in holding.when.tests if name not in self.fixed and name not in keep]
            values = ((name, value, test) for name, test in tests for value in (*hints, *_near(test)))
            if not any(self.set(name, value) for name, value, test in values if not test.fits(value)):
                return

    def _with(self, words: dict[str, dict[int, int]]) -> Image:
        image = object.__new__(Image)
        image.profile, image.controls, image.fixed = self.profile, self.controls, self.fixed
        image.memories, image.words = self.memories, words
        return image


def _samples(test: Test, mask: int | None = None) -> Iterator[Value]:
    """Values that fit."""
    if test.any_of:
        yield from test.any_of
        return
    yield test.sample()
    if mask is not None:
        yield from (bit for bit in (1 << i for i in range(mask.bit_length())) if bit & mask and test.fits(bit))


def _near(test: Test) -> Iterator[float]:
    """Numbers of which some do not fit."""
    bounds = [bound for bound in (*test.any_of, *test.none_of, test.low, test.high) if isinstance(bound, (int, float))]
    yield from (0, 1, 2)
    for bound in bounds:
        yield from (bound + 1, bound - 1)


def _writes(profile: Profile) -> Iterator[Write]:
    """All that a master may write."""
    for action in profile.actions.values():
        yield from action.writes
    yield from profile.start
    yield from (keep.write for keep in profile.keepalive if keep.write is not None)


def _controls(profile: Profile) -> frozenset[str]:
    written = {write.point for write in _writes(profile)}
    backs = {back for name in written if (back := profile.points[name].read_back) is not None}
    return frozenset(written | backs)


def _constant(profile: Profile) -> frozenset[str]:
    """What is read once, bounds the limit or decides a scale: properties of the box and its settings."""
    constant = {name for name, point in profile.points.items() if point.once}
    constant.update(need for point in profile.points.values() for need in point.needs)
    if profile.limit is not None and profile.limit.max_point is not None:
        constant.add(profile.limit.max_point)
    return frozenset(constant)
