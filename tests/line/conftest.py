"""A simulated wire with one box on it, and the line under test at its other end."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from line.bench import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(stack)
