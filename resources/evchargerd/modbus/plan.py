"""Which registers in which reads: the fewest frames that a charger allows. Pure: points in, reads out.

Two reads of one unit with the same function should differ in length: a repeat of an earlier answer that arrives while
the next request is in flight carries nothing else that tells it apart. So reads are lengthened into addresses that the
charger is known to answer, and those that stay alike are not asked one after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from .frame import BIT_TABLES

MAX_BITS = 2000  # of one read: MODBUS Application Protocol V1.1b3, 6.1 and 6.2
MAX_REGISTERS = 125  # likewise 6.3 and 6.4

Ranges = Sequence[tuple[int, int]]


class Span(Protocol):
    """What the plan needs to know of a point: `count` addresses of `table` from `address` on."""

    @property
    def name(self) -> str: ...
    @property
    def table(self) -> str: ...
    @property
    def address(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Read:
    """One request: `count` registers (or bits) of `table` from `address` on; the points it serves."""

    table: str
    address: int
    count: int
    points: tuple[str, ...]

    @property
    def last(self) -> int:
        return self.address + self.count - 1

    @property
    def answer_bytes(self) -> int:
        """Data bytes of the answer: what distinguishes it on the wire from the answers to other reads of its table."""
        return (self.count + 7) // 8 if self.table in BIT_TABLES else 2 * self.count


@dataclass(frozen=True, slots=True)
class Limits:
    """What the charger allows: registers a read may span, and per table the ranges that it answers whole.

    `exact`: the ranges are answered only as they are. `known`: the addresses that points name, readable as well.
    """

    max_registers: int = MAX_REGISTERS
    blocks: Mapping[str, Ranges] | None = None
    known: Mapping[str, Ranges] | None = None
    exact: bool = False

    def span(self, table: str) -> int:
        return MAX_BITS if table in BIT_TABLES else self.max_registers

    def block(self, span: Span) -> tuple[int, int] | None:
        """The block that holds all of this point."""
        ranges = (self.blocks or {}).get(span.table, ())
        return next(((first, last) for first, last in ranges if first <= span.address and span.last <= last), None)

    def readable(self, table: str, first: int, last: int) -> bool:
        """Whether the charger is known to answer all of first..last."""
        ranges = [*(self.blocks or {}).get(table, ()), *(self.known or {}).get(table, ())]
        return all(any(low <= address <= high for low, high in ranges) for address in range(first, last + 1))


def plan(points: Iterable[Span], limits: Limits) -> tuple[Read, ...]:
    """The fewest reads that cover all points: from the lowest address on, each as long as the limits allow.

    That is optimal: a part of a read that the charger answers is answered too (where it is not, `exact` says so).
    """
    reads: list[Read] = []
    for table in ("coil", "discrete", "holding", "input"):
        spans = sorted((p for p in points if p.table == table), key=lambda p: (p.address, p.last))
        reads += _distinct(_greedy(spans, limits), limits)
    return _apart(reads)


def _greedy(spans: Sequence[Span], limits: Limits) -> list[Read]:
    reads: list[Read] = []
    for span in spans:
        if reads and span.address >= reads[-1].address and _joins(reads[-1], span, limits):
            last = max(reads[-1].last, span.last)
            reads[-1] = replace(reads[-1], count=last - reads[-1].address + 1, points=(*reads[-1].points, span.name))
            continue
        block = limits.block(span) if limits.exact else None
        first, last = block or (span.address, span.last)
        reads.append(Read(span.table, first, last - first + 1, (span.name,)))
    return reads


def _joins(read: Read, span: Span, limits: Limits) -> bool:
    if span.last <= read.last:
        return True
    if limits.exact or span.last - read.address + 1 > limits.span(read.table):
        return False
    return limits.readable(read.table, read.last + 1, span.address - 1)


def _distinct(reads: list[Read], limits: Limits) -> list[Read]:
    """Lengthens reads so that as many answers as can be have a length of their own.

    From the shortest length on, each goes to the read that can have it and has the least room to grow beyond.
    """
    if limits.exact:
        return reads
    forms = [{form.answer_bytes: form for form in reversed([read, *_longer(read, limits)])} for read in reads]
    chosen: dict[int, Read] = {}
    for size in sorted({size for sizes in forms for size in sizes}):
        able = [i for i, sizes in enumerate(forms) if i not in chosen and size in sizes]
        if able:
            least = min(able, key=lambda i: max(forms[i]))
            chosen[least] = forms[least][size]
    return [chosen.get(i, read) for i, read in enumerate(reads)]


def _longer(read: Read, limits: Limits) -> Iterable[Read]:
    """The read, lengthened step by step into readable addresses, behind it and then before it."""
    while read.count < limits.span(read.table):
        if limits.readable(read.table, read.last + 1, read.last + 1):
            read = replace(read, count=read.count + 1)
        elif limits.readable(read.table, read.address - 1, read.address - 1):
            read = replace(read, address=read.address - 1, count=read.count + 1)
        else:
            return
        yield read


def _apart(reads: Sequence[Read]) -> tuple[Read, ...]:
    """Orders the reads so that no two with alike answers follow each other, where that can be.

    Next comes, of those that may, one of which there are the most left: what is kept for last cannot be kept apart.
    """
    waiting, ordered = list(reads), list[Read]()
    while waiting:
        unlike = [read for read in waiting if not ordered or not _alike(ordered[-1], read)]
        follower = max(unlike or waiting, key=lambda read: sum(_alike(read, other) for other in waiting))
        waiting.remove(follower)
        ordered.append(follower)
    return tuple(ordered)


def _alike(one: Read, other: Read) -> bool:
    return one.table == other.table and one.answer_bytes == other.answer_bytes


def without(ranges: Ranges, addresses: Iterable[int]) -> Ranges:
    """What is left of the ranges when these addresses are taken out."""
    for address in addresses:
        ranges = [
            (low, high)
            for first, last in ranges
            for low, high in ((first, min(last, address - 1)), (max(first, address + 1), last))
            if low <= high
        ]
    return ranges


def split(read: Read, points: Mapping[str, Span]) -> tuple[Read, ...]:
    """Two halves of a read that the charger refused, cut between points; nothing where it cannot be cut."""
    groups: list[list[Span]] = []
    for span in sorted((points[name] for name in read.points), key=lambda p: (p.address, p.last)):
        if groups and span.address <= max(member.last for member in groups[-1]):
            groups[-1].append(span)
        else:
            groups.append([span])
    if len(groups) == 1:
        whole = _covering(groups[0], read.table)
        return () if whole.count == read.count else (whole,)
    half = len(groups) // 2
    return tuple(
        _covering([span for group in side for span in group], read.table) for side in (groups[:half], groups[half:])
    )


def _covering(spans: Sequence[Span], table: str) -> Read:
    first, last = min(span.address for span in spans), max(span.last for span in spans)
    return Read(table, first, last - first + 1, tuple(span.name for span in spans))
