"""Exact statistics of yes-or-no answers: intervals, and how many answers tell two shares apart."""

import math

import numpy as np

COVERAGE = 0.95


def interval(successes: int, count: int, coverage: float = COVERAGE) -> tuple[float, float]:
    """Clopper and Pearson 1934: the shares that an exact two-sided test does not refuse.

    Args:
        successes: 0 ≤ successes ≤ count.

    Returns:
        Lower and upper bound in [0, 1]; the whole of it for no answers.
    """
    tail = (1.0 - coverage) / 2.0
    low = _solve(lambda p: _at_least(successes, count, p) < tail) if successes else 0.0
    high = _solve(lambda p: _at_least(successes + 1, count, p) < 1 - tail)
    return low, high if successes < count else 1.0


def power(count: int, share: float, chance: float = 0.5, coverage: float = COVERAGE) -> float:
    """Probability that the `interval` of `count` answers leaves `chance` out.

    Args:
        share: of the answers that are right in the long run.
    """
    tail = (1.0 - coverage) / 2.0
    under_chance = np.exp(_log_probabilities(count, chance))
    upper = np.cumsum(under_chance[::-1])[::-1]
    refused = (upper <= tail) | (np.cumsum(under_chance) <= tail)
    return float(np.exp(_log_probabilities(count, share))[refused].sum())


def answers_needed(share: float, wanted: float, chance: float = 0.5) -> int:
    """The fewest answers from which on `power` never falls below `wanted` again.

    It moves up and down on its way, since numbers of answers are whole.

    Raises:
        ValueError: shares so close that more than a hundred thousand answers are needed.
    """
    count = 8
    while power(count, share, chance) < wanted:
        count += count // 8
        if count > 100_000:
            raise ValueError(f"{share} is too close to {chance}")
    count += count // 4 + 16  # Beyond the last of the ups and downs.
    while power(count, share, chance) >= wanted:
        count -= 1
    return count + 1


def _solve(is_below) -> float:
    """Where in [0, 1] a property ends that holds to the left."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2.0
        low, high = (middle, high) if is_below(middle) else (low, middle)
    return low


def _at_least(successes: int, count: int, share: float) -> float:
    return float(np.exp(_log_probabilities(count, share))[successes:].sum())


def _log_probabilities(count: int, share: float) -> np.ndarray:
    """[count + 1], of each number of successes."""
    if not 0.0 < share < 1.0:
        certain = np.full(count + 1, -np.inf)
        certain[count if share else 0] = 0.0
        return certain
    k = np.arange(count + 1)
    factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, count + 1)))])
    ways = factorials[count] - factorials - factorials[::-1]
    return ways + k * math.log(share) + (count - k) * math.log1p(-share)
