"""Random faults against the real line, in virtual time: no wrong value, and no write done that was not taken.

This is the short form, 2,000 transactions; `python -m bench.truths` does 200,000. The same seed is the same run.
"""

from __future__ import annotations

import pytest
from bench.truths import KINDS, run, run_credulous


@pytest.mark.parametrize("kind", KINDS)
def test_under_random_faults_no_value_is_wrong_and_no_write_is_done_that_was_not_taken(kind: str) -> None:
    tally = run(kind, 2000 // len(KINDS), seed=20261122)
    assert tally.wrong == 0
    assert tally.right > tally.asked / 2
    assert tally.failed > 0, "the faults do strike"


def test_the_judge_would_see_a_wrong_value() -> None:
    """A line that believes any answer of the right length does get wrong values here."""
    assert run_credulous(400, seed=1).wrong > 0
