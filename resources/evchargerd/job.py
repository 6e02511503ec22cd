"""A job: what takes several transactions, as a generator that has no line of its own.

It yields what it needs next (a request to send, or a pause) and is sent the registers of the answer; errors of the line
are thrown into it. Whoever drives it owns the line: the bus, or the command line.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from .modbus.errors import BadAnswer, ModbusError, NoAnswer
from .modbus.frame import Request


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request and give me the registers of its answer.

    `timeout`: seconds that the answer may take; `pause`: seconds that the unit wants to rest before the request.
    """

    request: Request
    timeout: float
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Wait:
    """Go on in so many seconds."""

    seconds: float


Step = Ask | Wait
T = TypeVar("T")
Job = Generator[Step, Sequence[int], T]


class Transactions(Protocol):
    """What carries requests out: a `Line`, or a `ReadOnly` one."""

    def transact(self, request: Request, *, timeout: float, pause: float | None = None) -> tuple[int, ...]: ...


class ReadOnly:
    """A line for those who may only look: a request to write raises ValueError before it reaches the wire."""

    def __init__(self, line: Transactions) -> None:
        self._line = line

    def transact(self, request: Request, *, timeout: float, pause: float | None = None) -> tuple[int, ...]:
        if request.is_write:
            raise ValueError(f"a write (function {request.function}, address {request.address}) by who may only read")
        return self._line.transact(request, timeout=timeout, pause=pause)


def resume(job: Job[T], words: Sequence[int] | None, error: ModbusError | None) -> Step:
    """The next step of a job, after what the last one brought. Raises StopIteration at its end."""
    if error is not None:
        return job.throw(error)
    return next(job) if words is None else job.send(words)


def drive(job: Job[T], line: Transactions) -> T:
    """Carry a job out on a line of our own; what the job raises comes through."""
    words: Sequence[int] | None = None
    error: ModbusError | None = None
    while True:
        try:
            step = resume(job, words, error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        words = error = None
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            continue
        try:
            words = line.transact(step.request, timeout=step.timeout, pause=step.pause)
        except ModbusError as failed:
            error = failed


def patient(job: Job[T]) -> Job[T]:
    """The same job, with each request tried once more after silence or a corrupted answer."""
    words: Sequence[int] | None = None
    error: ModbusError | None = None
    while True:
        try:
            step = resume(job, words, error)
        except StopIteration as stop:
            result: T = stop.value
            return result
        words = error = None
        try:
            try:
                words = yield step
            except (NoAnswer, BadAnswer):
                words = yield step
        except ModbusError as failed:
            error = failed
