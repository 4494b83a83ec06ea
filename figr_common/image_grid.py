"""One picture of few-shot results: each support set framed, its samples below it."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

_FRAME = (230, 120, 20)  # Orange: neither ink nor paper.
_BACKGROUND = (200, 200, 200)
_GAP = 2


def _to_rgb(image: np.ndarray, frame: tuple[int, int, int], scale: int) -> np.ndarray:
    """uint8 [S, S, C] → [scale·S + 2·_GAP] squared, framed in one colour."""
    colour = np.broadcast_to(image, (*image.shape[:2], 3))
    large = colour.repeat(scale, 0).repeat(scale, 1)
    height, width, _ = large.shape
    framed = np.empty((height + 2 * _GAP, width + 2 * _GAP, 3), np.uint8)
    framed[:] = frame
    framed[_GAP:-_GAP, _GAP:-_GAP] = large
    return framed


def _rows(images: np.ndarray, columns: int, frame: tuple[int, int, int], scale: int) -> np.ndarray:
    cells = [_to_rgb(image, frame, scale) for image in images]
    empty = np.full_like(cells[0], _BACKGROUND)
    # The last row is filled up: only rows of one length can be stacked.
    cells += [empty] * (-len(cells) % columns)
    starts = range(0, len(cells), columns)
    return np.concatenate([np.concatenate(cells[i : i + columns], 1) for i in starts])


def task_picture(
    support: np.ndarray, samples: np.ndarray, columns: int | None = None, scale: int = 2
) -> Image.Image:
    """The support set in an orange frame above its samples.

    Args:
        support: uint8 [n, S, S, C]. samples: uint8 [m, S, S, C].
        columns: images per row; n unless given.
        scale: pixels on the side of each image pixel.
    """
    columns = columns or len(support)
    parts = [_rows(support, columns, _FRAME, scale)]
    if len(samples):
        parts.append(_rows(samples, columns, _BACKGROUND, scale))
    return Image.fromarray(np.concatenate(parts))


def result_picture(support: np.ndarray, samples: np.ndarray) -> Image.Image:
    """`task_picture` of many samples, up to 16 in a row."""
    return task_picture(support, samples, columns=max(len(support), min(16, len(samples))))


def beside(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of equal height in one row, with a gap."""
    gap = np.full((pictures[0].height, 4 * _GAP, 3), 255, np.uint8)
    arrays = [part for picture in pictures for part in (gap, np.asarray(picture))]
    return Image.fromarray(np.concatenate(arrays[1:], axis=1))
