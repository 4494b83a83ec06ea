import numpy as np
from PIL import Image

from figr_tf.data import glyphs
from tests.conftest import ROOT


def test_drawings_depend_on_class_seed_and_number_alone():
    four = glyphs.glyph_images(3, 4, 32, seed=0)
    assert four.shape == (4, 32, 32, 1)
    np.testing.assert_array_equal(glyphs.glyph_images(3, 2, 32, seed=0), four[:2])
    assert (glyphs.glyph_images(3, 4, 32, seed=1) != four).any()


def test_drawings_are_dark_ink_on_light_paper_and_none_is_blank():
    images = np.concatenate([glyphs.glyph_images(c, 3, 32, seed=0) for c in range(30)])
    ink = (images < 128).mean((1, 2, 3))
    assert ink.min() > 0.005
    assert ink.max() < 0.5


def test_drawings_of_a_class_resemble_each_other_more_than_those_of_other_classes():
    """By correlation of blurred drawings, averaged over 20 classes."""
    drawings = np.stack([glyphs.glyph_images(c, 4, 32, seed=0) for c in range(20)]).astype(float)
    blurred = drawings.reshape(20, 4, 8, 4, 8, 4).mean((3, 5)).reshape(80, -1)
    correlation = np.corrcoef(blurred).reshape(20, 4, 20, 4)
    same = np.mean([correlation[c, 0, c, 1:] for c in range(20)])
    other = np.mean([correlation[c, 0, d, 0] for c in range(20) for d in range(20) if c != d])
    assert same > other + 0.3


def test_the_example_drawings_are_of_a_class_outside_the_data_set():
    expected = glyphs.glyph_images(404, 4, 105, seed=0)  # the data set "glyphs" ends at class 399
    for i, image in enumerate(expected, start=1):
        with Image.open(ROOT / f"examples/glyph/{i}.png") as file:
            np.testing.assert_array_equal(np.asarray(file), image[..., 0])
