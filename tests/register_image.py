"""A charger made of a table of registers: answers what it holds, takes what is written, refuses the rest."""

from collections.abc import Mapping
from typing import TypeVar

from evchargerd.job import Ask, Job
from evchargerd.modbus.errors import Refused
from evchargerd.modbus.frame import Request
from evchargerd.profile import Profile

TABLES = {1: "coil", 2: "discrete", 3: "holding", 4: "input", 5: "coil", 6: "holding", 15: "coil", 16: "holding"}
ILLEGAL_DATA_ADDRESS = 2  # MODBUS Application Protocol V1.1b3, 7

T = TypeVar("T")


class RegisterImage:
    """`requests` are all that were asked, in order; `writes` the writes among them as (function, address, values)."""

    def __init__(self, image: Mapping[str, Mapping[int, int]]) -> None:
        self.tables = {table: dict(words) for table, words in image.items()}
        self.requests: list[Request] = []

    @classmethod
    def of_example(cls, profile: Profile) -> "RegisterImage":
        """The profile's example; addresses of its blocks that the example leaves out hold 0."""
        assert profile.example is not None
        image = cls(profile.example.image)
        for table, ranges in profile.blocks.items():
            words = image.tables.setdefault(table, {})
            for first, last in ranges:
                for address in range(first, last + 1):
                    words.setdefault(address, 0)
        return image

    @property
    def writes(self) -> list[tuple[int, int, tuple[int, ...]]]:
        return [(asked.function, asked.address, asked.values) for asked in self.requests if asked.is_write]

    def answer(self, request: Request) -> tuple[int, ...]:
        self.requests.append(request)
        words = self.tables.setdefault(TABLES[request.function], {})
        addresses = range(request.address, request.address + request.count)
        if request.is_write:
            words.update(zip(addresses, request.values, strict=True))
            return request.values
        if any(address not in words for address in addresses):
            raise Refused(request.unit, request.function, ILLEGAL_DATA_ADDRESS)
        return tuple(words[address] for address in addresses)

    def run(self, job: Job[T]) -> T:
        """Do all that a charger's generator asks for, without waiting, and return what it returns."""
        try:
            step = next(job)
            while True:
                if not isinstance(step, Ask):
                    step = next(job)
                    continue
                try:
                    words = self.answer(step.request)
                except Refused as refused:
                    step = job.throw(refused)
                else:
                    step = job.send(words)
        except StopIteration as stop:
            result: T = stop.value
            return result
