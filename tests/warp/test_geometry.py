"""Geometry against drawings whose pose and place are known."""

import numpy as np
import tensorflow as tf

from figr_tf.warp import geometry

NO_MAP, NO_BEND = tf.zeros([1, 4]), tf.zeros([1, 8, 8, 2])


def _block(x: int, y: int, width: int, height: int, size: int = 32) -> tf.Tensor:
    """A filled rectangle whose first column is x and first row y."""
    ink = np.zeros((1, size, size), np.float32)
    ink[0, y : y + height, x : x + width] = 1
    return tf.constant(ink)


def _redrawn(ink, target=None, linear=NO_MAP, control=NO_BEND):
    pose = geometry.poses(ink)
    large = geometry.warp(
        geometry.magnified(ink), pose, pose if target is None else target, linear, control
    )
    return tf.nn.avg_pool2d(large[..., None], 2, 2, "VALID")[..., 0]


def test_the_pose_of_a_block_is_its_centre_and_grows_with_its_sides():
    pose = geometry.poses(_block(4, 10, 8, 16))[0].numpy()
    np.testing.assert_allclose(pose[:2], [4 + 4 - 16, 10 + 8 - 16], atol=0.15)
    variances = np.array([8**2 - 1, 16**2 - 1]) / 12  # of evenly spread points
    np.testing.assert_allclose(
        np.exp(2 * pose[2:]), variances + 0.1 * variances.sum() + 0.5, rtol=0.1
    )


def test_blank_paper_has_a_finite_pose_in_the_middle():
    pose = geometry.poses(tf.zeros([1, 32, 32]))[0].numpy()
    np.testing.assert_allclose(pose[:2], 0, atol=1e-4)
    assert np.isfinite(pose).all()


def test_the_same_pose_without_bends_gives_the_drawing_back():
    ink = _block(9, 6, 10, 14)
    np.testing.assert_allclose(_redrawn(ink)[0, 8:18, 11:17], 1, atol=0.02)  # inside
    assert (
        float(tf.reduce_mean(tf.abs(_redrawn(ink) - ink))) < 0.02
    )  # the rim is blurred by the magnification


def test_a_moved_target_pose_moves_the_drawing_right_and_down():
    ink = _block(6, 6, 8, 8)
    target = geometry.poses(ink) + tf.constant([[5.0, 3.0, 0.0, 0.0]])
    moved = geometry.poses(_redrawn(ink, target)) - geometry.poses(ink)
    np.testing.assert_allclose(moved[0], [5, 3, 0, 0], atol=0.1)


def test_a_wider_target_pose_widens_the_drawing_and_not_its_height():
    ink = _block(10, 10, 12, 12)
    wider = geometry.poses(
        _redrawn(ink, geometry.poses(ink) + tf.constant([[0.0, 0.0, 0.4, 0.0]]))
    )[0]
    before = geometry.poses(ink)[0]
    assert 0.25 < float(wider[2] - before[2]) < 0.42  # the floor of a width takes some of it
    assert abs(float(wider[3] - before[3])) < 0.1


def test_paper_comes_in_where_the_drawing_is_moved_away():
    ink = tf.ones([1, 32, 32])
    target = geometry.poses(ink) + tf.constant([[16.0, 0.0, 0.0, 0.0]])
    moved = _redrawn(ink, target)[0].numpy()
    np.testing.assert_allclose(moved[:, :15], 0, atol=1e-3)
    np.testing.assert_allclose(moved[:, 17:], 1, atol=1e-3)


def test_control_points_that_all_move_alike_move_the_drawing_as_one():
    """Displacements say where ink comes from: looking to the left moves the ink to the right."""
    ink = _block(12, 12, 8, 8)
    bent = _redrawn(
        ink, control=tf.concat([tf.fill([1, 8, 8, 1], -0.5), tf.zeros([1, 8, 8, 1])], -1)
    )
    moved = geometry.poses(bent)[0] - geometry.poses(ink)[0]
    width = float(tf.exp(geometry.poses(ink)[0, 2]))
    np.testing.assert_allclose(moved[:2], [0.5 * width, 0], atol=0.1)


def test_spline_weights_sum_to_one_everywhere_and_reproduce_straight_lines_inside():
    positions = tf.linspace(-4.0, 4.0, 81)[None]
    weights = geometry.bspline_weights(positions)[0].numpy()
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    places = (np.arange(8) + 0.5) * (2 * geometry.FRAME_RADIUS / 8) - geometry.FRAME_RADIUS
    inside = np.abs(positions[0].numpy()) < geometry.FRAME_RADIUS * 5 / 8
    np.testing.assert_allclose((weights @ places)[inside], positions[0].numpy()[inside], atol=1e-4)


def test_drawings_of_other_size_and_place_look_alike_in_the_common_frame():
    blocks = tf.concat([_block(2, 3, 6, 10), _block(12, 8, 12, 20)], 0)
    framed = geometry.to_common_frame(
        geometry.magnified(blocks), geometry.poses(blocks), 32
    ).numpy()
    assert (
        np.abs(framed[0] - framed[1]).mean()
        < 0.06
        < float(tf.reduce_mean(tf.abs(blocks[0] - blocks[1])))
    )
