import numpy as np
import pytest

from figr_tf.data import glyphs
from figr_tf.evaluation import reference_rows


@pytest.fixture(scope="module")
def support():
    return glyphs.glyph_images(5, 4, 32, seed=0)


def _rng():
    return np.random.default_rng(3)


def test_copies_are_support_images_all_of_them_about_equally_often(support):
    drawn = reference_rows.copies(support, 400, _rng())
    which = [next(i for i, s in enumerate(support) if (s == d).all()) for d in drawn]
    assert np.bincount(which).min() > 60


def test_one_percent_of_the_pixels_is_flipped(support):
    drawn = reference_rows.flipped(support[:1], 200, _rng())
    changed = drawn != support[0]
    assert changed.mean() == pytest.approx(0.01, abs=0.001)
    assert (drawn[changed] == 255 - np.broadcast_to(support[0], drawn.shape)[changed]).all()


def test_blends_lie_between_two_supports(support):
    drawn = reference_rows.blended(support[:2], 50, _rng())
    low, high = support[:2].min(0), support[:2].max(0)
    assert ((drawn >= low) & (drawn <= high)).all()


def test_an_affine_map_of_nothing_changes_nothing(support):
    np.testing.assert_array_equal(reference_rows._affine(support, 0, 0, 0, _rng()), support)


def test_a_whole_pixel_shift_moves_the_image_and_fills_with_paper(support):
    points = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="xy"), -1).reshape(
        1, -1, 2
    ) - [3.0, 0.0]
    moved = reference_rows._bilinear(support[:1], points).reshape(32, 32)
    np.testing.assert_array_equal(moved[:, 3:], support[0, :, :-3, 0])
    assert (moved[:, :3] == 255).all()


def test_bilinear_averages_between_pixels():
    image = np.array([[0, 100], [200, 255]], np.uint8)[None, :, :, None]
    assert reference_rows._bilinear(image, np.array([[[0.5, 0.0], [0.0, 0.5]]]))[
        0, :, 0
    ].tolist() == [50, 100]


@pytest.mark.parametrize("make", [reference_rows.small_affine, reference_rows.large_affine])
def test_affine_copies_differ_keep_their_ink_roughly_and_are_repeatable(make, support):
    drawn = make(support, 64, _rng())
    np.testing.assert_array_equal(make(support, 64, _rng()), drawn)
    assert len({d.tobytes() for d in drawn}) == 64
    assert (255 - drawn.astype(int)).mean() == pytest.approx(
        (255 - support.astype(int)).mean(), rel=0.25
    )


def test_large_maps_move_more_ink_than_small_ones(support):
    small, large = (
        np.abs(make(support[:1], 200, _rng()).astype(int) - support[0]).mean()
        for make in (reference_rows.small_affine, reference_rows.large_affine)
    )
    assert large > 1.3 * small
