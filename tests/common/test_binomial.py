"""Exact binomial intervals and powers, against values worked out by hand or by counting."""

import itertools

import pytest

from figr_common import binomial


@pytest.mark.parametrize(
    ("successes", "count", "expected"),
    [
        (0, 10, (0.0, 1 - 0.025**0.1)),  # (1 − p)¹⁰ = 0.025
        (10, 10, (0.025**0.1, 1.0)),
        (1, 1, (0.025, 1.0)),
        (0, 0, (0.0, 1.0)),
        (5, 10, (0.1871, 0.8129)),  # Clopper and Pearson's tables.
        (60, 100, (0.4972, 0.6967)),
    ],
)
def test_intervals_are_those_of_clopper_and_pearson(successes, count, expected):
    assert binomial.interval(successes, count) == pytest.approx(expected, abs=5e-5)


def test_power_is_the_share_of_all_sequences_of_answers_that_the_interval_tells_from_chance():
    share, count = 0.7, 10
    expected = 0.0
    intervals = [binomial.interval(successes, count) for successes in range(count + 1)]
    for answers in itertools.product((0, 1), repeat=count):
        low, high = intervals[sum(answers)]
        if not low <= 0.5 <= high:
            expected += share ** sum(answers) * (1 - share) ** (count - sum(answers))
    assert binomial.power(count, share) == pytest.approx(expected, abs=1e-9)


def test_from_the_answers_needed_on_the_power_stays():
    needed = binomial.answers_needed(0.7, 0.8)
    assert binomial.power(needed - 1, 0.7) < 0.8
    assert all(binomial.power(count, 0.7) >= 0.8 for count in range(needed, needed + 100))


def test_shares_that_are_too_close_are_refused():
    with pytest.raises(ValueError, match="too close"):
        binomial.answers_needed(0.5, 0.8)
