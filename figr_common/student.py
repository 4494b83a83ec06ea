"""Student's t, for intervals of means over a few units."""

import math

import numpy as np

NORMAL = 1.959964  # 97.5 % of a normal law lies below it.
_EXACT = {1: 12.7062, 2: 4.3027}


def point(freedom: int) -> float:
    """Student's 97.5 % point.

    From three degrees of freedom on by Cornish & Fisher's expansion (Abramowitz & Stegun 26.7.5),
    which is off by a thousandth there.
    """
    if freedom in _EXACT:
        return _EXACT[freedom]
    z, f = NORMAL, freedom
    return (
        z
        + (z**3 + z) / (4 * f)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * f**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * f**3)
        + (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * f**4)
    )


def margin(values: np.ndarray) -> float:
    """Half the width of the 95 % interval of the mean of at least two independent numbers."""
    count = len(values)
    return float(point(count - 1) * values.std(ddof=1) / math.sqrt(count))
