"""What a model must be compared with: samples made from the support without learning.

All functions take support images, uint8 [n, S, S, C] with light paper, and return uint8 [m, S, S,
C].
"""

import numpy as np


def copies(support: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Support images drawn with replacement: skill 0 by definition."""
    return support[rng.integers(0, len(support), m)]


def flipped(
    support: np.ndarray, m: int, rng: np.random.Generator, share: float = 0.01
) -> np.ndarray:
    """Copies in which each pixel is inverted with probability `share`."""
    drawn = copies(support, m, rng)
    # One draw for all colours of a pixel.
    flip = rng.random((*drawn.shape[:3], 1)) < share
    return np.where(flip, 255 - drawn, drawn)


def blended(support: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Pixel blends of two support images at a uniform ratio."""
    first, second = copies(support, m, rng), copies(support, m, rng)
    ratio = rng.random((m, 1, 1, 1))
    return np.rint(ratio * first + (1 - ratio) * second).astype(np.uint8)


def small_affine(support: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """Copies rotated by up to 10°, scaled and sheared by up to 10 %, shifted by up to 1/32."""
    return _affine(copies(support, m, rng), 10, 0.1, 1, rng)


def large_affine(support: np.ndarray, m: int, rng: np.random.Generator) -> np.ndarray:
    """As `small_affine`, by up to 20°, 20 % and 3/32 of a side."""
    return _affine(copies(support, m, rng), 20, 0.2, 3, rng)


def _affine(
    images: np.ndarray, degrees: float, share: float, pixels: float, rng: np.random.Generator
) -> np.ndarray:
    """Each image under its own random affine map about its centre, bilinear, paper outside.

    Args:
        pixels: of a 32×32 image; larger ones are shifted by as many more.
    """
    count, size = images.shape[:2]
    pixels *= size / 32
    angle = np.deg2rad(rng.uniform(-degrees, degrees, count))
    scale_x, scale_y = 1 + rng.uniform(-share, share, (2, count))
    shear = rng.uniform(-share, share, count)
    cos, sin, one, zero = np.cos(angle), np.sin(angle), np.ones(count), np.zeros(count)
    rotation = np.array([[cos, -sin], [sin, cos]]).transpose(2, 0, 1)
    shape = np.array([[scale_x, shear], [zero * one, scale_y]]).transpose(2, 0, 1)
    inverse = np.linalg.inv(rotation @ shape)
    shift = rng.uniform(-pixels, pixels, (count, 2))
    centre = (size - 1) / 2
    columns, rows = np.meshgrid(np.arange(size), np.arange(size), indexing="xy")
    grid = np.stack([columns, rows], -1).reshape(-1, 2) - centre
    # Backwards: for every pixel of the result, where in the drawing it comes from.
    source = np.einsum("bij,bpj->bpi", inverse, grid[None] - shift[:, None]) + centre
    return _bilinear(images, source).reshape(images.shape)


def _bilinear(images: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values at points [B, P, 2] (x, y); 255 outside."""
    count, size, _, channels = images.shape
    # A rim of paper, on which all points outside are put.
    rim = ((0, 0), (1, 1), (1, 1), (0, 0))
    padded = np.pad(images, rim, constant_values=255).astype(np.float32)
    # A little less than the last pixel, so that each point has a next one.
    points = np.clip(points + 1, 0, size + 1 - 1e-4)
    low = points.astype(int)
    fraction = (points - low).astype(np.float32)
    rows = np.arange(count)[:, None]
    result = np.zeros((*points.shape[:2], channels), np.float32)
    for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
        # The nearer a corner of the pixel is to the point, the more it counts.
        weight = np.abs(1 - dx - fraction[..., 0]) * np.abs(1 - dy - fraction[..., 1])
        corner = padded[rows, low[..., 1] + dy, low[..., 0] + dx]
        result += weight[..., None] * corner
    return np.rint(result).astype(np.uint8)
