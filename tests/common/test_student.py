"""Student's t against printed tables, and its interval against many repetitions."""

import numpy as np
import pytest

from figr_common import student


@pytest.mark.parametrize(
    ("freedom", "point"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (9, 2.262), (29, 2.045), (10**6, 1.960)],
)
def test_the_point_is_that_of_printed_tables(freedom, point):
    assert student.point(freedom) == pytest.approx(point, rel=2e-3)


@pytest.mark.parametrize("count", [2, 4, 20])
def test_the_interval_holds_the_mean_of_normal_numbers_19_times_in_20(count):
    drawn = np.random.default_rng(0).normal(3.0, 2.0, (4_000, count))
    held = [abs(values.mean() - 3.0) <= student.margin(values) for values in drawn]
    assert 0.94 < np.mean(held) < 0.96
