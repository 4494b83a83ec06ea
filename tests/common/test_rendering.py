"""What is shown of a drawing: its strokes, and no trace of how its greys came about."""

import numpy as np
import pytest

from figr_common import rendering
from figr_tf.data import glyphs
from figr_tf.evaluation import reference_rows


@pytest.fixture(scope="module")
def drawings():
    return np.concatenate([glyphs.glyph_images(c, 8, 32, seed=0) for c in range(12)])


def _shades(images: np.ndarray) -> np.ndarray:
    """Of the pixels with ink, the shares that are dark, middling and light grey."""
    counts = np.stack([np.histogram(i[i < 255], [0, 32, 96, 160, 255])[0] for i in images])
    return (counts / counts.sum(1, keepdims=True)).mean(0)


def test_interpolation_shows_in_the_greys_of_drawings_and_not_in_what_is_shown(drawings):
    moved = reference_rows.small_affine(drawings, len(drawings), np.random.default_rng(0))
    raw = [_shades(images[..., 0]) for images in (drawings, moved)]
    shown = [
        _shades(np.stack([rendering.outlined(i) for i in images[..., 0]]))
        for images in (drawings, moved)
    ]
    assert np.abs(raw[0] - raw[1]).max() > 0.1
    assert np.abs(shown[0] - shown[1]).max() < 0.02


def test_as_much_ink_is_shown_as_the_greys_add_up_to(drawings):
    for drawing in drawings[::7, ..., 0]:
        expected = (255.0 - drawing).sum() * rendering.SCALE**2
        assert (255.0 - rendering.outlined(drawing)).sum() == pytest.approx(expected, rel=0.01)


def test_a_square_keeps_its_place_and_its_edges_are_sharp():
    drawing = np.full((8, 8), 255, np.uint8)
    drawing[2:6, 2:6] = 0
    shown = rendering.outlined(drawing)
    assert (shown[12:20, 12:20] == 0).all()
    outside = np.ones_like(shown, bool)
    outside[7:25, 7:25] = False
    assert (shown[outside] == 255).all()
    # Rows and columns are alike, but for quarters of pixels among equally dark ones.
    assert np.abs(shown.astype(int) - shown.T).max() <= 64


def test_grey_paper_is_white_and_a_drawing_without_ink_is_white():
    drawing = np.full((8, 8), 200, np.uint8)
    assert (rendering.outlined(drawing) == 255).all()
    drawing[3:5, 2:6] = 0
    white = np.where(drawing == 200, 255, drawing).astype(np.uint8)
    np.testing.assert_array_equal(rendering.outlined(drawing), rendering.outlined(white))
    assert (rendering.outlined(np.zeros((8, 8), np.uint8)) == 255).all()
