"""The blurred image as a point in space: nothing learned, honest about grey levels."""

import numpy as np

from figr_common.scaling import uint8_to_unit

_SIGMA = 1.5  # Pixels.


def blur_features(images: np.ndarray) -> np.ndarray:
    """The blur space: uint8 [B, S, S, 1] → float32 [B, (S/2)²] in [0, 1].

    That is a Gaussian of σ = 1.5 pixels, then means of 2×2 pixels.
    """
    offsets = np.arange(-5, 6)
    kernel = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    kernel /= kernel.sum()
    # Paper all around, as far as the kernel reaches.
    rim = ((0, 0), (5, 5), (5, 5))
    grey = np.pad(uint8_to_unit(images[..., 0]), rim, constant_values=1.0)
    size = images.shape[1]
    # A Gaussian is separable: along the columns, then along the rows.
    rows = sum(k * grey[:, i : i + size, :] for i, k in enumerate(kernel))
    blurred = sum(k * rows[:, :, i : i + size] for i, k in enumerate(kernel))
    halved = blurred.reshape(len(images), size // 2, 2, size // 2, 2).mean((2, 4))
    return halved.reshape(len(images), -1).astype(np.float32)
