"""Which registers in which reads: all of them, in as few frames as the charger allows, no two alike in a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from evchargerd.modbus.plan import MAX_BITS, MAX_REGISTERS, Limits, Read, plan, split, without

patient = settings(deadline=None, max_examples=60)  # the machine may have other things to do


@dataclass(frozen=True)
class Span:
    address: int
    count: int = 1
    table: str = "holding"

    @property
    def name(self) -> str:
        return f"{self.table}{self.address}+{self.count}"

    @property
    def last(self) -> int:
        return self.address + self.count - 1


def spans(*pairs: tuple[int, int], table: str = "holding") -> list[Span]:
    return [Span(address, count, table) for address, count in pairs]


def limits_of(
    points: Sequence[Span], *blocks: tuple[int, int], most: int = MAX_REGISTERS, exact: bool = False
) -> Limits:
    """As the charger makes them: what points name is readable, and so are the blocks."""
    known: dict[str, list[tuple[int, int]]] = {}
    for point in points:
        known.setdefault(point.table, []).append((point.address, point.last))
    return Limits(most, {"holding": blocks, "input": blocks}, known, exact)


def shape(reads: Sequence[Read]) -> list[tuple[int, int]]:
    return [(read.address, read.count) for read in reads]


# --- Cases one can check by hand -------------------------------------------------------------------------------------


def test_neighbours_share_a_read_and_a_hole_parts_them() -> None:
    points = spans((10, 2), (12, 1), (20, 1))
    assert shape(plan(points, limits_of(points))) == [(10, 3), (20, 1)]


def test_a_hole_inside_a_block_that_the_charger_answers_is_read_over() -> None:
    points = spans((10, 2), (20, 1))
    assert shape(plan(points, limits_of(points, (10, 20)))) == [(10, 11)]


def test_a_block_is_not_read_beyond_the_points_in_it() -> None:
    points = spans((0x400C, 2))
    assert shape(plan(points, limits_of(points, (0x4000, 0x4024)))) == [(0x400C, 2)]


def test_an_exact_block_is_read_as_it_is() -> None:
    points = spans((12, 1), (14, 2), (40, 1))
    reads = plan(points, limits_of(points, (10, 20), exact=True))
    assert shape(reads) == [(10, 11), (40, 1)]
    assert reads[0].points == ("holding12+1", "holding14+2")


def test_a_point_that_reaches_over_the_end_of_an_exact_block_is_read_whole() -> None:
    points = spans((19, 4))
    reads = plan(points, limits_of(points, (10, 20), exact=True))
    assert all(read.address <= 19 and read.last >= 22 for read in reads)


def test_the_length_of_a_read_is_bounded_by_the_protocol_and_by_the_charger() -> None:
    points = [Span(address) for address in range(300)]
    assert sorted(shape(plan(points, limits_of(points)))) == [(0, 125), (125, 125), (250, 50)]
    assert sorted(shape(plan(points, limits_of(points, most=100)))) == [(0, 100), (100, 100), (200, 100)]


def test_bits_are_bounded_by_the_protocol_only() -> None:
    points = [Span(address, 1, "coil") for address in range(2001)]
    reads = plan(points, limits_of(points, most=10))
    assert sorted(read.count for read in reads) == [1, MAX_BITS]


def test_points_that_overlap_share_a_read() -> None:
    points = spans((10, 4), (10, 1), (12, 1), (11, 2))
    (read,) = plan(points, limits_of(points))
    assert (read.address, read.count, len(read.points)) == (10, 4, 4)


def test_each_table_has_its_own_reads() -> None:
    points = [
        *spans((5, 1), table="input"),
        *spans((6, 1)),
        *spans((7, 1), table="coil"),
        *spans((8, 1), table="discrete"),
    ]
    assert {read.table for read in plan(points, limits_of(points))} == {"coil", "discrete", "holding", "input"}


def test_without_points_nothing_is_read() -> None:
    assert plan([], Limits()) == ()


def test_two_reads_that_would_look_alike_are_made_unlike() -> None:
    points = spans((10, 1), (30, 1))
    reads = plan(points, limits_of(points, (10, 15), (30, 31)))
    assert sorted(read.count for read in reads) == [1, 2]
    assert sorted(read.address for read in reads) == [10, 30]


def test_a_read_may_grow_towards_lower_addresses_too() -> None:
    points = spans((10, 1), (30, 1))
    assert sorted(shape(plan(points, limits_of(points, (9, 10))))) == [(9, 2), (30, 1)]


def test_reads_that_stay_alike_are_asked_apart() -> None:
    points = spans((10, 1), (30, 1), (50, 3))
    assert [read.count for read in plan(points, limits_of(points))] == [1, 3, 1]


def test_the_most_frequent_length_is_asked_first_where_only_that_keeps_them_apart() -> None:
    points = spans((10, 3), (30, 1), (50, 1))
    assert [read.count for read in plan(points, limits_of(points))] == [1, 3, 1]


def test_the_length_of_an_answer_with_bits_is_told_in_bytes() -> None:
    assert Read("coil", 0, 8, ()).answer_bytes == 1
    assert Read("coil", 0, 9, ()).answer_bytes == 2
    assert Read("input", 0, 9, ()).answer_bytes == 18


# --- What holds for every plan ---------------------------------------------------------------------------------------

addresses = st.integers(0, 30)
tables = st.sampled_from(["holding", "input"])
points_of_a_charger = st.lists(
    st.builds(Span, addresses, st.integers(1, 4), tables), max_size=9, unique_by=lambda p: p.name
)
block = st.builds(lambda first, length: (first, first + length), addresses, st.integers(0, 8))
most = st.integers(4, 12)


def answerable(limits: Limits, table: str, first: int, last: int) -> bool:
    """By the definition: each address is named by a point or lies in a block."""
    ranges = [*(limits.blocks or {}).get(table, ()), *(limits.known or {}).get(table, ())]
    return all(any(low <= address <= high for low, high in ranges) for address in range(first, last + 1))


@patient
@given(points_of_a_charger, st.lists(block, max_size=3), most)
def test_every_point_is_in_one_read_that_the_charger_answers(
    points: list[Span], blocks: list[tuple[int, int]], most: int
) -> None:
    limits = limits_of(points, *blocks, most=most)
    reads = plan(points, limits)
    assert sorted(name for read in reads for name in read.points) == sorted(point.name for point in points)
    by_name = {point.name: point for point in points}
    for read in reads:
        assert 1 <= read.count <= most
        assert read.address >= 0
        assert answerable(limits, read.table, read.address, read.last)
        for name in read.points:
            point = by_name[name]
            assert point.table == read.table
            assert read.address <= point.address
            assert point.last <= read.last


@patient
@given(points_of_a_charger, st.lists(block, max_size=1), most)
def test_exact_blocks_are_read_whole_or_not_at_all(
    points: list[Span], blocks: list[tuple[int, int]], most: int
) -> None:
    limits = limits_of(points, *blocks, most=most, exact=True)
    by_name = {point.name: point for point in points}
    for read in plan(points, limits):
        alone = all((by_name[n].address, by_name[n].last) == (read.address, read.last) for n in read.points[:1])
        assert (read.address, read.last) in blocks or alone
        assert all(read.address <= by_name[n].address and by_name[n].last <= read.last for n in read.points)


def fewest(points: Sequence[Span], limits: Limits) -> int:
    """By trying: cover the lowest point left with every read that may, and see which leads to the fewest."""
    ordered = sorted(points, key=lambda p: (p.address, p.last))

    @cache
    def best(left: tuple[Span, ...]) -> int:
        if not left:
            return 0
        first = left[0].address
        counts = []
        for last in range(left[0].last, first + limits.max_registers):
            if answerable(limits, left[0].table, first, last):
                rest = tuple(point for point in left if not (first <= point.address and point.last <= last))
                counts.append(1 + best(rest))
        return min(counts)

    return sum(best(tuple(p for p in ordered if p.table == table)) for table in ("holding", "input"))


@patient
@given(points_of_a_charger, st.lists(block, max_size=3), most)
def test_no_plan_needs_fewer_reads(points: list[Span], blocks: list[tuple[int, int]], most: int) -> None:
    limits = limits_of(points, *blocks, most=most)
    assert len(plan(points, limits)) == fewest(points, limits)


def room(read: Read, points: Sequence[Span], limits: Limits) -> range:
    """The lengths this read could have had: from what its points need to all that is answered around them."""
    held = [point for point in points if point.name in read.points]
    first, last = min(point.address for point in held), max(point.last for point in held)
    needed = last - first + 1
    while answerable(limits, read.table, last + 1, last + 1):
        last += 1
    while first > 0 and answerable(limits, read.table, first - 1, first - 1):
        first -= 1
    return range(needed, min(last - first + 1, limits.max_registers) + 1)


@patient
@given(points_of_a_charger, st.lists(block, max_size=3), most)
def test_as_many_reads_as_can_be_have_a_length_of_their_own(
    points: list[Span], blocks: list[tuple[int, int]], most: int
) -> None:
    limits = limits_of(points, *blocks, most=most)
    for table in ("holding", "input"):
        reads = [read for read in plan(points, limits) if read.table == table]
        reachable = {frozenset[int]()}
        for read in reads:
            reachable = {sizes | {size} for sizes in reachable for size in room(read, points, limits)}
        assert len({read.count for read in reads}) == max(map(len, reachable))


def alike(one: Read, other: Read) -> bool:
    return (one.table, one.answer_bytes) == (other.table, other.answer_bytes)


def neighbours_alike(reads: Sequence[Read]) -> int:
    return sum(alike(one, other) for one, other in pairwise(reads))


@patient
@given(
    st.lists(
        st.builds(Span, st.sampled_from(range(0, 90, 6)), st.integers(1, 2), tables),
        max_size=6,
        unique_by=lambda p: (p.table, p.address),
    )
)
def test_alike_reads_follow_each_other_only_where_no_order_avoids_it(points: list[Span]) -> None:
    reads = plan(points, limits_of(points))
    assert neighbours_alike(reads) == min(neighbours_alike(order) for order in permutations(reads))


# --- Splitting a refused read ----------------------------------------------------------------------------------------


def test_a_refused_read_is_cut_in_two_between_points() -> None:
    points = {p.name: p for p in spans((10, 2), (12, 1), (13, 2), (20, 1))}
    halves = split(Read("holding", 10, 11, tuple(points)), points)
    assert shape(halves) == [(10, 3), (13, 8)]
    assert halves[0].points == ("holding10+2", "holding12+1")


def test_a_read_that_was_only_made_longer_is_cut_back_to_its_point() -> None:
    points = {p.name: p for p in spans((12, 2))}
    assert shape(split(Read("holding", 10, 6, tuple(points)), points)) == [(12, 2)]
    assert split(Read("holding", 12, 2, tuple(points)), points) == ()


def test_points_in_the_same_registers_are_not_cut_apart() -> None:
    points = {p.name: p for p in spans((10, 2), (11, 2), (12, 1))}
    assert split(Read("holding", 10, 3, tuple(points)), points) == ()


@patient
@given(st.lists(block, max_size=3), st.sets(addresses, max_size=6))
def test_ranges_without_addresses_hold_all_the_others(ranges: list[tuple[int, int]], taken: set[int]) -> None:
    def held(some: Sequence[tuple[int, int]]) -> set[int]:
        return {address for first, last in some for address in range(first, last + 1)}

    left = without(ranges, taken)
    assert held(left) == held(ranges) - taken
    assert all(first <= last for first, last in left)


@patient
@given(st.lists(st.builds(Span, addresses, st.integers(1, 4)), min_size=1, max_size=9, unique_by=lambda p: p.name))
def test_cutting_on_ends_with_every_point_alone_or_with_those_it_shares_registers_with(spans: list[Span]) -> None:
    points = {point.name: point for point in spans}
    first, last = min(p.address for p in spans), max(p.last for p in spans)
    waiting = [Read("holding", first, last - first + 1, tuple(points))]
    ends: list[Read] = []
    while waiting:
        read = waiting.pop()
        parts = split(read, points)
        assert all(part.count < read.count for part in parts)
        waiting += parts
        ends += [] if parts else [read]
    assert sorted(name for read in ends for name in read.points) == sorted(points)
    for read in ends:
        held = [points[name] for name in read.points]
        assert (min(p.address for p in held), max(p.last for p in held)) == (read.address, read.last)
        outside = [p for p in spans if p.name not in read.points]
        assert not any(p.address <= read.last and p.last >= read.address for p in outside)
