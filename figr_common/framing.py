"""Dropped files → drawings like those that a model was trained on.

They come in any ink, of any size and place on their paper.
"""

from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from figr_common import images, paper

_SIDE = 420  # Pixels a side in which the ink is looked for.
_SPECKS = 0.003  # Of the ink may lie outside of the drawing.
_OFF_CENTRE = 0.15  # As far as all but a few of Omniglot's drawings.


class Framing(NamedTuple):
    """How large a data set's drawings are: the ink's longer side as a fraction of the square.

    Attributes:
        extent: the usual one. smallest, largest: what is left as it is.
    """

    extent: float
    smallest: float
    largest: float


class _Box(NamedTuple):
    """Middle and longer side of the ink, as fractions of the square."""

    x: float
    y: float
    extent: float


def framed_drawing(data: bytes, image_size: int, framing: Framing) -> np.ndarray:
    """An image file → uint8 [image_size, image_size], dark ink on white paper, whatever its ink.

    Ink that is as large as in the training drawings and near the middle stays where it is; else it
    is cut out, centred and scaled.

    Raises:
        ImageError: see `images.decode_image`; or no ink in it.
    """
    with images.opened(data) as image:
        ink = ImageOps.invert(paper.whitened(_dark_on_light(image)))
    square = ImageOps.pad(ink, (max(ink.size),) * 2)  # Of an inverted image, 0 is paper.
    box = _ink_box(square)
    if box is None:
        raise images.ImageError("it shows no drawing, being nearly all of one shade")
    if not _fits(box, framing):
        side = box.extent / framing.extent
        corner = (box.x - side / 2, box.y - side / 2)
        opposite = (corner[0] + side, corner[1] + side)
        # It may lie outside of the picture; Pillow fills with 0, which is paper here.
        edges = [round(square.width * v) for v in (*corner, *opposite)]
        square = square.crop(tuple(edges))  # type: ignore[arg-type]
    small = square.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return 255 - np.asarray(small)


def _dark_on_light(image: Image.Image) -> Image.Image:
    """ "L", inverted where the ink is light: most of it is dark then, or transparent."""
    dark = images.grey_or_colour(image, 1)
    small = np.asarray(dark.resize((64, 64), Image.Resampling.BOX))[..., None]
    if paper.is_turned(small) or not paper.has_ink(small):
        light = ImageOps.invert(images.grey_or_colour(image, 1, "light"))
        small = np.asarray(light.resize((64, 64), Image.Resampling.BOX))[..., None]
        if paper.has_ink(small) and not paper.is_turned(small):
            return light
    return dark


def _ink_box(square: Image.Image) -> _Box | None:
    side = min(_SIDE, square.width)
    ink = np.asarray(square.resize((side, side), Image.Resampling.BOX), np.int64)
    most, least = ink.max(), np.median(ink)
    if most - least < paper.CONTRAST:
        return None
    is_ink = ink > (most + least) / 2
    (left, right), (top, bottom) = _span(is_ink.sum(0)), _span(is_ink.sum(1))
    extent = max(right - left, bottom - top) / side
    return _Box((left + right) / 2 / side, (top + bottom) / 2 / side, extent)


def _span(counts: np.ndarray) -> tuple[int, int]:
    """First and last + 1 of the rows that hold all but specks of the ink."""
    specks = _SPECKS * counts.sum()
    # argmax of booleans is the first that is true.
    first = int(np.argmax(np.cumsum(counts) > specks))
    from_end = int(np.argmax(np.cumsum(counts[::-1]) > specks))
    return first, len(counts) - from_end


def _fits(box: _Box, framing: Framing) -> bool:
    off_centre = max(abs(box.x - 0.5), abs(box.y - 0.5))
    return framing.smallest <= box.extent <= framing.largest and off_centre <= _OFF_CENTRE
