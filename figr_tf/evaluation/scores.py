"""Statistics of samples against real images in a feature space: pure functions of NumPy arrays.

G are features of generated samples [m, d], S of the support [n, d], R and H of real images of the
class that the model did not see [r, d], [h, d]; all of one class unless a leading class axis is
named. Distances are Euclidean.
"""

from collections.abc import Sequence

import numpy as np

from figr_common import student

RECOGNITION_WAYS, CAS_WAYS = 20, 100
FEW_CLASSES = 50  # Below it intervals are stretched.


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """[m, d], [r, d] → [m, r]."""
    # |a − b|² = |a|² + |b|² − 2ab, which is one matrix product instead of m·r differences.
    squares_a, squares_b = (a**2).sum(1), (b**2).sum(1)
    squared = squares_a[:, None] + squares_b[None] - 2.0 * (a @ b.T)
    # Rounding may leave a little less than 0.
    return np.sqrt(np.maximum(squared, 0.0))


def _mean_off_diagonal(square: np.ndarray) -> float:
    """Mean over i ≠ j: the U-statistic.

    A plain mean has a bias, since it counts the zero distance of each point to itself.
    """
    count = len(square)
    return float((square.sum() - np.trace(square)) / (count * (count - 1)))


def energy_distance(samples: np.ndarray, reference: np.ndarray) -> float:
    """2·E‖g − r‖ − E‖g − g′‖ − E‖r − r′‖ (Székely & Rizzo 2013), 0 in the mean for equal laws.

    The means are U-statistics.

    Raises:
        ValueError: fewer than two points on a side; a U-statistic needs pairs.
    """
    if len(samples) < 2 or len(reference) < 2:
        raise ValueError(
            f"need at least 2 points a side. Received: {len(samples)} and {len(reference)}"
        )
    between = float(distances(samples, reference).mean())
    return 2 * between - _mean_off_diagonal(_self(samples)) - _mean_off_diagonal(_self(reference))


def _self(points: np.ndarray) -> np.ndarray:
    """Distances of points to each other.

    The diagonal and exact duplicates are 0, and not what rounding leaves.
    """
    result = distances(points, points)
    result[result < 1e-4 * max(float(result.max()), 1e-12)] = 0.0
    return result


def skill(model: np.ndarray, copies: np.ndarray) -> float:
    """1 − Σ ED(model, R) / Σ ED(copies, R): 1 for real images, 0 for copies.

    Arguments: energy distances per class, [classes] each.
    """
    return 1.0 - float(np.sum(model)) / float(np.sum(copies))


def bootstrap_interval(
    model: np.ndarray, copies: np.ndarray, seed: int = 0, num_draws: int = 1000
) -> tuple[float, float]:
    """Interval of `skill` at 95 %: percentiles over classes drawn with replacement, rows together.

    Of fewer than 50 classes percentiles are too narrow: of four they hold the truth four times in
    five. There the interval is stretched about the skill as Student's is against the normal one,
    t(n − 1) / z · √(n / (n − 1)), by Hesterberg (2015, arXiv:1411.5279). That brings it back to
    about 94 % (tests/evaluation/test_scores.py). Of one class there is none: both ends are NaN.
    """
    count = len(model)
    if count < 2:
        return np.nan, np.nan
    # Model and copies on the same classes: the easy ones are easy for both.
    chosen = np.random.default_rng(seed).integers(0, count, (num_draws, count))
    skills = 1.0 - model[chosen].sum(1) / copies[chosen].sum(1)
    low, high = np.quantile(skills, [0.025, 0.975])
    if count < FEW_CLASSES:
        value = skill(model, copies)
        stretch = student.point(count - 1) / student.NORMAL * (count / (count - 1)) ** 0.5
        low, high = value - stretch * (value - low), value + stretch * (high - value)
    return float(low), float(high)


def recognised(
    samples: Sequence[np.ndarray],
    prototypes: np.ndarray,
    rng: np.random.Generator,
    ways: int = RECOGNITION_WAYS,
) -> np.ndarray:
    """Share of each class' samples that lie nearest to their own prototype among `ways`.

    Args:
        samples: [m, d] for each class. prototypes: [classes, d], from R and never from S.

    Returns:
        [classes]; the other ways−1 classes are drawn anew for every class.
    """
    return np.array(
        [
            _nearest_first(samples[c], prototypes[_ways(c, len(samples), ways, rng)])
            for c in range(len(samples))
        ]
    )


def _ways(own: int, num_classes: int, ways: int, rng: np.random.Generator) -> np.ndarray:
    """The class itself first, then ways−1 others (all others, if there are not as many)."""
    others = np.delete(np.arange(num_classes), own)
    return np.concatenate([[own], rng.permutation(others)[: ways - 1]])


def _nearest_first(points: np.ndarray, centres: np.ndarray) -> float:
    """Share of points that are nearest to the first centre.

    A tie of k counts 1/k: else a model that ignores its support would win.
    """
    to_centres = distances(points, centres)
    # Rounding must not break a tie.
    nearest = to_centres <= to_centres.min(1, keepdims=True) * (1 + 1e-4)
    return float((nearest[:, 0] / nearest.sum(1)).mean())


def classification_accuracy(
    samples: Sequence[np.ndarray],
    held_out: Sequence[np.ndarray],
    rng: np.random.Generator,
    ways: int = CAS_WAYS,
) -> np.ndarray:
    """CAS per class: share of H nearest to the centroid of its own class' samples among `ways`.

    After Ravuri & Vinyals 2019, with a nearest-centroid classifier.

    Args:
        samples: [m, d] for each class.
        held_out: [h, d] for each class.
    """
    return recognised(held_out, np.stack([drawn.mean(0) for drawn in samples]), rng, ways)


def diversity_ratio(samples: Sequence[np.ndarray], held_out: Sequence[np.ndarray]) -> float:
    """Spread of the samples over that of H; 1 is right.

    Spread is the standard deviation of a feature, its mean over features and classes.
    """
    spread = [
        # Unbiased, since samples and H are of different numbers.
        np.mean([points.std(0, ddof=1).mean() for points in group])
        for group in (samples, held_out)
    ]
    return float(spread[0] / spread[1])


def copy_auc(samples: np.ndarray, held_out: np.ndarray, support: np.ndarray) -> float:
    """P(d(g, S) < d(h, S)), ties half, where d is the distance to the nearest support image.

    0.5: samples keep the distance that real drawings keep. 1: all are closer to the support than
    any real drawing.
    """
    to_samples = distances(samples, support).min(1)[:, None]
    to_held_out = distances(held_out, support).min(1)[None]
    # Distances that differ by rounding alone are a tie.
    close = 1e-4 * max(float(to_held_out.max()), 1e-12)
    is_closer = np.where(np.abs(to_samples - to_held_out) < close, 0.5, to_samples < to_held_out)
    return float(is_closer.mean())


def one_nearest_neighbour_accuracy(samples: np.ndarray, reference: np.ndarray) -> float:
    """Accuracy of telling samples from R by the nearest other point (Lopez-Paz 2017).

    As many samples as there are reference images, r, are used, the first ones: with unequal sides
    chance is far from one half. With equal ones it is (r − 1) / (2r − 1), 0.47 for r = 8, since no
    point is its own neighbour. Chance is right.
    """
    count = min(len(samples), len(reference))
    points = np.concatenate([samples[:count], reference[:count]])
    between = _self(points)
    np.fill_diagonal(between, np.inf)
    label = np.arange(2 * count) < count
    return float((label[between.argmin(1)] == label).mean())
