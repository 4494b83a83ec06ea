"""The embedded default data: an endless alphabet of procedurally drawn characters, no download.

A class is a few smooth strokes through random control points. A drawing of it moves the points, the
pen and the whole character a little, as a hand would. Coordinates (x, y) reach from −1 to 1 over
the image, y downwards.
"""

from typing import NamedTuple, Self

import numpy as np

_POINTS_PER_STROKE = 100


def glyph_images(class_index: int, num_drawings: int, image_size: int, seed: int) -> np.ndarray:
    """Drawings of one class, dark ink on light paper.

    A drawing depends on the arguments alone, not on how many other classes or drawings are made.

    Args:
        class_index: which character, 0 or more; there is no last one.
        num_drawings: at least 1.
        image_size: height and width in pixels.
        seed: of the whole alphabet, 0 or more.

    Returns:
        uint8 [num_drawings, image_size, image_size, 1], ink 0, paper 255.
    """
    strokes = _character(np.random.default_rng([seed, class_index]))
    hands = [
        _Hand.draw(strokes, np.random.default_rng([seed, class_index, drawing]))
        for drawing in range(1, num_drawings + 1)
    ]
    curves = _written(strokes, hands)
    return np.stack(
        [_render(curve, hand.radius, image_size) for curve, hand in zip(curves, hands, strict=True)]
    )


def _character(rng: np.random.Generator) -> list[np.ndarray]:
    """One to three strokes of [2..4, 2] control points (x, y) in ±0.75.

    Half of the later strokes start on the one before, as they do in most scripts.
    """
    strokes: list[np.ndarray] = []
    for _ in range(rng.integers(1, 4)):
        # Points of a coarse lattice: strokes are long, and classes differ by more than jitter.
        side = np.linspace(-0.75, 0.75, 4)
        lattice = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
        points = rng.permutation(lattice)[: rng.integers(2, 5)]
        if strokes and rng.random() < 0.5:
            points[0] = rng.permutation(strokes[-1])[0]
        strokes.append(points)
    return strokes


class _Hand(NamedTuple):
    """What tells one drawing from another of its class.

    Attributes:
        jitter: by stroke, [points, 2], added to its control points.
        transform: [2, 2], and shift: [2], of the whole character.
        radius: of the pen.
    """

    jitter: list[np.ndarray]
    transform: np.ndarray
    shift: np.ndarray
    radius: float

    @classmethod
    def draw(cls, strokes: list[np.ndarray], rng: np.random.Generator) -> Self:
        """At random; the spreads are set by eye, so that drawings differ as much as people's do."""
        angle, shear = rng.normal(0, 0.09, 2)
        scale = rng.uniform(0.85, 1.1, 2)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        transform = rotation @ np.array([[scale[0], shear], [0, scale[1]]])
        shift = rng.normal(0, 0.05, 2)
        jitter = [rng.normal(0, 0.045, points.shape) for points in strokes]
        return cls(jitter, transform, shift, rng.uniform(0.05, 0.08))


def _written(strokes: list[np.ndarray], hands: list[_Hand]) -> np.ndarray:
    """Points along all strokes, one after the other, of every drawing: [drawings, P, 2]."""
    # All drawings of a stroke at once, since a spline of few points is mostly Python.
    curves = [
        _smooth(points + np.stack([hand.jitter[i] for hand in hands]))
        for i, points in enumerate(strokes)
    ]
    transforms = np.stack([hand.transform.T for hand in hands])
    shifts = np.stack([hand.shift for hand in hands])
    return np.concatenate(curves, axis=1) @ transforms + shifts[:, None]


def _smooth(points: np.ndarray) -> np.ndarray:
    """A uniform Catmull-Rom spline through control points [..., k, 2].

    Returns:
        [..., _POINTS_PER_STROKE, 2].
    """
    # Each end is continued by a mirrored point, since a segment needs a neighbour on either side.
    before = 2 * points[..., :1, :] - points[..., 1:2, :]
    after = 2 * points[..., -1:, :] - points[..., -2:-1, :]
    padded = np.concatenate([before, points, after], axis=-2)
    num_points = points.shape[-2]
    position = np.linspace(0, num_points - 1, _POINTS_PER_STROKE)
    segment = np.minimum(position.astype(int), num_points - 2)
    t = (position - segment)[:, None]
    a, b, c, d = (padded[..., segment + i, :] for i in range(4))
    quadratic = 2 * a - 5 * b + 4 * c - d
    cubic = 3 * b - a - 3 * c + d
    return 0.5 * (2 * b + (c - a) * t + quadratic * t**2 + cubic * t**3)


def _render(curve: np.ndarray, radius: float, image_size: int) -> np.ndarray:
    """Ink within the pen's radius of the curve, with one pixel of antialiasing.

    Args:
        curve: [P, 2]. radius: of the pen. Both in units of half an image.

    Returns:
        uint8 [image_size, image_size, 1].
    """
    pixel = 2.0 / image_size
    centres = np.linspace(-1 + pixel / 2, 1 - pixel / 2, image_size)
    # Of every column, row and point of the curve; then to the nearest point from every pixel.
    squared_x = (centres[:, None] - curve[:, 0]) ** 2
    squared_y = (centres[:, None] - curve[:, 1]) ** 2
    distance = np.sqrt((squared_y[:, None, :] + squared_x[None, :, :]).min(-1))
    ink = np.clip((radius - distance) / pixel + 0.5, 0, 1)
    return np.rint(255 * (1 - ink)).astype(np.uint8)[..., None]
