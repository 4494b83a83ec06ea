"""Drawings on paper that is not white, without ink, or light on dark."""

import numpy as np
from PIL import Image

CONTRAST = 48  # Between ink and paper, of 255; a drawing that has less is not seen by a network.
_FAINTEST = 20  # On paper that is not white: a pencil's line, and more than a fold or a stain.
_WHITE = 250  # Paper from here on is left as it is, to the bit.
_DARKEST_PAPER = 96
_PAPER_SHARE = 0.5  # Of the pixels; an image with less of one shade is no drawing.
# Of the pixels; where more are white, or lighter than the grey, this is no paper but a filling.
_WHITE_SHARE, _LIGHTER_SHARE = 0.1, 0.02
_DARKEST_CORNER = 0.4  # Of the lightest; what falls off further is no light on paper.
_BAND = 24  # Grey levels around the fitted paper that are paper.
_FIT_SIDE = 64  # Pixels a side of what the paper is fitted to.
_NOISE = 3.0  # Standard deviations of its grain that are paper, too.


def whitened(image: Image.Image) -> Image.Image:
    """A grey ("L") drawing, dark ink, with its paper made white and its ink black.

    Photographs and scans have grey paper, darker to one side. It is fitted by a surface of second
    order, each pixel is divided by it, and what the grain of the paper reaches becomes white. White
    paper stays as it is, to the bit; so does an image that is no drawing on paper: where less than
    half is of one shade, nothing is darker than it, or more than specks are lighter.
    """
    counts = np.array(image.histogram())
    shade = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    is_white = shade >= _WHITE or counts[_WHITE:].sum() > _WHITE_SHARE * counts.sum()
    if is_white or shade < _DARKEST_PAPER or shade - np.argmax(counts > 0) < _FAINTEST:
        return image
    small = _reduced(image)
    surface, is_paper = _fitted(small, shade)
    ratio = small / surface
    is_even = surface.min() > _DARKEST_CORNER * surface.max() and is_paper.mean() >= _PAPER_SHARE
    is_lightest = (ratio > 1.0 + _BAND / shade).mean() < _LIGHTER_SHARE
    if not (is_even and is_lightest) or (1.0 - ratio.min()) * shade < _FAINTEST:
        return image
    pixels = np.asarray(image, np.float32)
    size = (image.width, image.height)
    full = Image.fromarray(surface.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    ratio = pixels / np.asarray(full)
    # Of a normal distribution the mean distance is √(2/π) of the standard deviation.
    distance = np.abs(ratio - 1.0)[ratio > 1.0 - _BAND / shade].mean()
    grain = distance * np.sqrt(np.pi / 2)
    white = 1.0 - max(_NOISE * grain, 1.0 / shade)
    darkest = ratio.min()
    if darkest >= white:
        return image  # All grain.
    black = np.percentile(ratio[ratio < 0.5 * (white + darkest)], 25)
    values = np.clip((ratio - black) / (white - black), 0.0, 1.0)
    return Image.fromarray(np.rint(255.0 * values).astype(np.uint8))


def _reduced(image: Image.Image) -> np.ndarray:
    scale = min(1.0, _FIT_SIDE / max(image.size))
    size = [max(2, round(length * scale)) for length in image.size]
    return np.asarray(image.resize(size, Image.Resampling.BOX), np.float64)


def _fitted(pixels: np.ndarray, shade: int) -> tuple[np.ndarray, np.ndarray]:
    """The paper under every pixel, at least 1, and which pixels show it."""
    height, width = pixels.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], -1)
    surface = np.full(pixels.shape, float(shade))
    ridge = 1e-6 * np.eye(terms.shape[-1])
    band = 2.0 * _BAND  # Wide at first, so that a shadow across the paper is part of it.
    for _ in range(4):
        is_paper = np.abs(pixels - surface) < band
        if not is_paper.any():
            break
        shown = terms[is_paper]
        # Normal equations, kept solvable where a strip of paper does not tell the terms apart.
        weights = np.linalg.solve(shown.T @ shown + ridge, shown.T @ pixels[is_paper])
        surface = np.maximum(terms @ weights, 1.0)
        band = _BAND
    return surface, np.abs(pixels - surface) < _BAND


def has_ink(drawing: np.ndarray) -> bool:
    """Whether uint8 [S, S, C] holds anything that differs visibly from its paper."""
    return any(_differs(np.asarray(channel, np.float64)) for channel in np.moveaxis(drawing, -1, 0))


def _differs(channel: np.ndarray) -> bool:
    surface, _ = _fitted(channel, int(np.median(channel)))
    return bool(np.abs(channel - surface).max() >= CONTRAST)


def is_turned(drawing: np.ndarray) -> bool:
    """Whether uint8 [S, S, 1], read as dark ink on light paper, looks like light ink on dark."""
    shade, (low, high) = np.median(drawing), np.percentile(drawing, [0.5, 99.5])
    is_paper = np.abs(drawing - shade) < 2 * _BAND
    return bool(is_paper.mean() >= _PAPER_SHARE and high - shade >= max(CONTRAST, shade - low))
