"""Support sets from files and from callers, checked once and for every kind of model."""

import pathlib

import numpy as np
from absl import logging

from figr_common import images
from figr_tf.core.errors import DataError

MAX_SEED = 2**53 - 1  # Of a user seed: every JSON reader keeps it whole.


def read(folder: str | pathlib.Path, image_form: tuple[int, int], ink: str = "dark") -> np.ndarray:
    """Reads a folder of images (or one image) as a support set: uint8 [n, S, S, C], dark ink.

    Args:
        image_form: S and C.
        ink: what the files hold, "dark" ink on light paper or "light" on dark.

    Raises:
        DataError: no image there that can be used; what is left out of others is in a warning.
    """
    try:
        return images.read_images(folder, *image_form, ink, logging.warning)
    except images.ImageError as error:
        raise DataError(str(error)) from error


def check(support_images: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """The array as it is; raises ValueError unless it is uint8 [n ≥ 1, *image_shape]."""
    array = np.asarray(support_images)
    fits = array.ndim == 4 and array.shape[1:] == image_shape and len(array) > 0
    if not fits or array.dtype != np.uint8:
        raise ValueError(
            f"support_images must be uint8 [n ≥ 1, {', '.join(map(str, image_shape))}]."
            f" Received: {array.dtype} {list(array.shape)}"
        )
    return array


def check_numbers(num_samples: int, seed: int, num_inner_steps: int | None = None) -> None:
    """Raises ValueError for numbers out of their range; None is a model's own."""
    if num_samples < 1:
        raise ValueError(f"need num_samples ≥ 1. Received: {num_samples}")
    if not 0 <= seed <= MAX_SEED:
        raise ValueError(f"need 0 ≤ seed < 2**53. Received: {seed}")
    if num_inner_steps is not None and num_inner_steps < 0:
        raise ValueError(f"need num_inner_steps ≥ 0. Received: {num_inner_steps}")
