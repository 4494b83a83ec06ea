"""Paper of any shade, lit from one side and grainy, becomes white; all else stays as it is."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from figr_common import paper

SIDE = 300


def _strokes(blob: bool = False) -> np.ndarray:
    """Coverage [SIDE, SIDE] in [0, 1] of a roof over a ring, or over a disc."""
    image = Image.new("L", (SIDE, SIDE), 0)
    draw = ImageDraw.Draw(image)
    draw.line([(75, 225), (150, 60), (225, 225)], fill=255, width=6)
    draw.ellipse([100, 150, 200, 250], fill=255 if blob else None, outline=255, width=6)
    return np.asarray(image.filter(ImageFilter.GaussianBlur(1))) / 255.0


def _photographed(
    strokes: np.ndarray, shade: float, ink: float, slope: float, grain: float
) -> Image.Image:
    """Lit from one side and darker to the corners."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    light = shade + slope * (x - 0.5 * y - 0.4 * (x * x + y * y))
    noise = np.random.default_rng(0).normal(0, grain, light.shape)
    return Image.fromarray(
        (light * (1 - strokes) + ink * strokes + noise).clip(0, 255).astype(np.uint8)
    )


@pytest.mark.parametrize(
    ("shade", "ink", "slope", "grain"),
    [(200, 110, 0, 0), (200, 110, 30, 4), (180, 90, 40, 8), (120, 40, 10, 5), (240, 200, 5, 3)],
    ids=["flat grey", "pencil", "a dark corner", "kraft paper", "a hard pencil"],
)
@pytest.mark.parametrize("blob", [False, True], ids=["lines", "disc"])
def test_a_photographed_drawing_becomes_what_was_drawn(shade, ink, slope, grain, blob):
    strokes = _strokes(blob)
    found = np.asarray(paper.whitened(_photographed(strokes, shade, ink, slope, grain)))
    assert (found[strokes == 0] == 255).mean() > 0.98
    assert np.median(found[strokes > 0.9]) < 40


def test_what_is_no_drawing_on_grey_paper_stays_as_it_is_to_the_bit():
    ink = _strokes()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)
    y, x = np.mgrid[0:255:64j, 0:255:64j]
    for pixels in (
        255 - 255 * ink,  # white paper
        250 - 200 * ink,  # as good as white
        255 * ink,  # light ink on dark paper
        np.full((20, 20), 120),  # one shade
        noise,
        (x + y) / 2,  # a photograph's sky, say
        np.indices((64, 64)).sum(0) % 2 * 100 + 100,
        np.pad(
            np.pad(np.pad(np.zeros((8, 8)), 18, constant_values=215), 2), 8, constant_values=255
        ),  # a filled icon
        200 - 60 * (noise > 127),
    ):
        image = Image.fromarray(pixels.astype(np.uint8))
        assert paper.whitened(image) is image


def test_ink_is_what_differs_from_its_paper_however_that_is_lit():
    blank = _photographed(np.zeros((SIDE, SIDE)), 180, 0, 60, 4)
    drawn = _photographed(_strokes(), 180, 40, 60, 4)
    found = [
        np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR)) for image in (blank, drawn)
    ]
    assert np.ptp(found[0].astype(int)) > paper.CONTRAST
    assert [paper.has_ink(image[..., None]) for image in found] == [False, True]
    red_on_green = np.zeros((16, 16, 3), np.uint8)
    red_on_green[..., 1] = 180
    assert not paper.has_ink(red_on_green)
    red_on_green[4:8, 4:8] = (180, 180, 0)
    assert paper.has_ink(red_on_green)
