"""The three ranges in which the project holds an image, and every way between them.

| range | type | where |
|---|---|---|
| bytes, 0 … 255 | uint8 | files, the public functions of models, the evaluation |
| unit, [0, 1] | float32 | SavedModels and their signatures, the redrawing network, the classifier |
| signed, [−1, 1] | float32 | FIGR's networks and all of its inner loop |

Ink is the smallest value and paper the largest, in all three. The functions without "uint8" in
their names take NumPy arrays and tensors alike, of float32 and of any shape.
"""

from typing import Any

import numpy as np


def bytes_to_unit(values: Any) -> Any:
    """Whole numbers 0 … 255 as float32 → [0, 1]."""
    return values / 255.0


def bytes_to_signed(values: Any) -> Any:
    """Whole numbers 0 … 255 as float32 → [−1, 1]."""
    return values / 127.5 - 1.0


def unit_to_signed(values: Any) -> Any:
    """[0, 1] → [−1, 1]."""
    return values * 2.0 - 1.0


def signed_to_unit(values: Any) -> Any:
    """[−1, 1] → [0, 1]."""
    return (values + 1.0) * 0.5


def uint8_to_unit(images: np.ndarray) -> np.ndarray:
    """uint8 → float32 in [0, 1]."""
    return bytes_to_unit(images.astype(np.float32))


def uint8_to_signed(images: np.ndarray) -> np.ndarray:
    """uint8 → float32 in [−1, 1]."""
    return bytes_to_signed(images.astype(np.float32))


def unit_to_uint8(images: np.ndarray) -> np.ndarray:
    """float in [0, 1] → uint8, rounded."""
    return np.rint(255.0 * images).astype(np.uint8)


def signed_to_uint8(images: np.ndarray) -> np.ndarray:
    """float in [−1, 1] → uint8, rounded; values outside are clipped, NaN is paper."""
    images = np.nan_to_num(np.asarray(images), nan=1.0)
    return np.clip(np.rint((images + 1.0) * 127.5), 0, 255).astype(np.uint8)
