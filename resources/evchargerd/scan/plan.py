"""In which order a line is searched: what is likely first, and never more than the user has time for."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..modbus.port import LineSettings
from .probe import Candidate, Probe, probes_of

#: How long (s) a unit may take to answer, at first and when everything has been silent. Chargers take 5 to 100 ms, the
#: slow ones half a second; gateways add their own.
FIRST_TIMEOUT, SECOND_TIMEOUT, GATEWAY_DELAY = 0.25, 1.0, 0.5
#: Units that a DIP switch of four can give; what most boxes have.
DIP_UNITS = range(1, 17)
#: The others of MODBUS over Serial Line V1.02, 2.2; profiles also name some that it reserves.
OTHER_UNITS = range(17, 248)


class Depth(enum.Enum):
    """How far a search goes. QUICK: each model as it comes from the factory. NORMAL: its other speeds, the units of DIP
    switches, and once more with patience. FULL: all units.
    """

    QUICK = enum.auto()
    NORMAL = enum.auto()
    FULL = enum.auto()


@dataclass(frozen=True, slots=True)
class Look:
    """Calls to some units at one setting of the line."""

    line: LineSettings
    calls: tuple[tuple[int, tuple[Probe, ...]], ...]
    timeout: float

    @property
    def seconds(self) -> float:
        """How long it takes when nobody answers."""
        return sum(self.timeout * (1 + probe.wake) for _, probes in self.calls for probe in probes)


def unknown_line(port: str, models: Sequence[Candidate], depth: Depth) -> tuple[Look, ...]:
    """Looks at a line of which nothing is known, until somebody answers."""
    factory, others = _settings(port, models)
    looks = [_factory_units(line, models) for line in factory]
    if depth is not Depth.QUICK:
        looks += [_factory_units(line, models) for line in others]
        looks += [_range(line, models, DIP_UNITS) for line in factory]
        looks += [_patient(line, models) for line in factory]
    if depth is Depth.FULL:
        looks += [_range(line, models, _other_units(models)) for line in factory]
    return tuple(looks)


def known_line(line: LineSettings, models: Sequence[Candidate], depth: Depth) -> tuple[Look, ...]:
    """Looks at a line whose speed is known: who else is there?"""
    looks = [_factory_units(line, models, strictly=False)]
    if depth is not Depth.QUICK:
        looks += [_range(line, models, DIP_UNITS), _patient(line, models)]
    if depth is Depth.FULL:
        looks.append(_range(line, models, _other_units(models)))
    return tuple(looks)


def possible(line: LineSettings, models: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The models that can be met on such a line: Modbus TCP may have a gateway with RTU behind it."""
    framings = ("tcp", "rtu") if line.framing == "tcp" else (line.framing,)
    return tuple(model for model in models if model.profile.line.framing in framings)


def _settings(port: str, models: Sequence[Candidate]) -> tuple[list[LineSettings], list[LineSettings]]:
    """Settings that models come with, the most common first; and the others that they can be set to."""
    if port.startswith("tcp://"):
        return [LineSettings(port, framing="tcp")], []
    serial = [model.profile.line for model in models if model.profile.line.framing != "tcp"]
    if port.startswith("socket://"):  # the speed is the gateway's own
        framings = Counter(line.framing for line in serial)
        return [LineSettings(port, framing=framing) for framing, _ in framings.most_common()], []
    factory: Counter[LineSettings] = Counter()
    others: Counter[LineSettings] = Counter()
    for line in serial:
        for baudrate in line.baudrates:
            settings = LineSettings(port, baudrate, line.parity, line.stopbits, line.framing)
            (factory if baudrate == line.baudrate else others)[settings] += 1
    return (
        [settings for settings, _ in factory.most_common()],
        [settings for settings, _ in others.most_common() if settings not in factory],
    )


def _timeout(line: LineSettings, seconds: float) -> float:
    return seconds + (GATEWAY_DELAY if line.is_url else 0.0)


def _factory_units(line: LineSettings, models: Sequence[Candidate], *, strictly: bool = True) -> Look:
    """The units that models come with. `strictly`: only of models that name these settings."""
    calls = tuple(_by_unit(line, models, strictly=strictly, alike=False))
    return Look(line, calls, _timeout(line, FIRST_TIMEOUT))


def _patient(line: LineSettings, models: Sequence[Candidate]) -> Look:
    return Look(line, tuple(_by_unit(line, models, strictly=True, alike=True)), _timeout(line, SECOND_TIMEOUT))


def _by_unit(
    line: LineSettings, models: Sequence[Candidate], *, strictly: bool, alike: bool
) -> Iterator[tuple[int, tuple[Probe, ...]]]:
    able = possible(line, models)
    named = [model for model in able if model.speaks(line) or line.port.startswith("socket://")]
    chosen = named if strictly and line.framing != "tcp" else [*named, *(model for model in able if model not in named)]
    for unit in dict.fromkeys(model.profile.line.unit for model in chosen):
        yield unit, probes_of((model for model in chosen if model.profile.line.unit == unit), alike=alike)


def _range(line: LineSettings, models: Sequence[Candidate], units: Iterable[int]) -> Look:
    """One call to each of these units: by the read of a model that may live there, the likeliest first."""
    able = sorted((model for model in possible(line, models) if model.reads), key=lambda model: not model.speaks(line))
    calls: list[tuple[int, tuple[Probe, ...]]] = []
    for unit in units:
        lives = [model for model in able if model.profile.line.units[0] <= unit <= model.profile.line.units[1]]
        calls.extend((unit, (model.probe(model.reads[0]),)) for model in (lives or able)[:1])
    return Look(line, tuple(calls), _timeout(line, FIRST_TIMEOUT))


def _other_units(models: Iterable[Candidate]) -> tuple[int, ...]:
    reserved = {model.profile.line.unit for model in models} - {*DIP_UNITS, *OTHER_UNITS}
    return (*OTHER_UNITS, *sorted(reserved))
