import numpy as np
import pytest
import tensorflow as tf

from figr_tf.core.random import stateless_seed
from figr_tf.data.class_images import ClassImages
from figr_tf.data.tasks import TaskSampler

COUNTS = {"a": 3, "b": 6, "c": 4}


@pytest.fixture(scope="module")
def data():
    """Each image is one grey: its index, so that a draw can be read off the pixels."""
    indices = np.arange(sum(COUNTS.values()), dtype=np.uint8)
    return ClassImages(np.broadcast_to(indices[:, None, None, None], (13, 2, 2, 1)), COUNTS)


def _drawn(support: tf.Tensor) -> list[int]:
    return np.rint((support.numpy()[:, 0, 0, 0] + 1) * 127.5).astype(int).tolist()


def _sampler(data, names=("a", "b", "c"), num_shots=3, class_rotations=False):
    return TaskSampler(data, names, num_shots, class_rotations)


def _draws(sampler, data, num_seeds: int, index: int | None = None) -> list[tf.Tensor]:
    """Support sets of the seeds 0, 1, …, of one class or of any; by a graph, which is quicker."""
    images = tf.constant(data.images)

    @tf.function(input_signature=[tf.TensorSpec([], tf.int64)])
    def draw(seed):
        if index is None:
            return sampler.random_support_images(images, stateless_seed(seed))
        return sampler.support_images(images, index, stateless_seed(seed))

    return [draw(tf.constant(seed, tf.int64)) for seed in range(num_seeds)]


def test_support_sets_are_of_one_class_and_without_replacement(data):
    sampler = _sampler(data)
    for index, allowed in enumerate([range(3), range(3, 9), range(9, 13)]):
        for drawn in map(_drawn, _draws(sampler, data, 40, index)):
            assert len(set(drawn)) == 3
            assert set(drawn) <= set(allowed)


def test_every_image_is_drawn_about_equally_often(data):
    sampler = _sampler(data, ("b",))
    draws = [_drawn(images) for images in _draws(sampler, data, 400, 0)]
    frequencies = np.bincount(np.concatenate(draws), minlength=9)[3:] / 400
    np.testing.assert_allclose(frequencies, 0.5, atol=0.1)  # four standard deviations


def test_classes_are_drawn_uniformly_and_only_those_named(data):
    sampler = _sampler(data, ("a", "c"))
    draws = [_drawn(images)[0] for images in _draws(sampler, data, 300)]
    from_a = np.mean([d < 3 for d in draws])
    assert not any(3 <= d < 9 for d in draws)
    assert abs(from_a - 0.5) < 0.12


def test_the_same_seed_draws_the_same_task_in_a_graph_too(data):
    sampler = _sampler(data)
    draw = tf.function(
        lambda seed: sampler.random_support_images(data.images, stateless_seed(7, seed))
    )
    for seed in range(5):
        np.testing.assert_array_equal(
            draw(tf.constant(seed)),
            sampler.random_support_images(data.images, stateless_seed(7, seed)),
        )


def test_a_sampler_knows_the_names_of_its_classes_in_the_order_of_their_indices(data):
    sampler = _sampler(data, ("c", "a"))
    assert sampler.class_names == ("c", "a")
    assert set(_drawn(sampler.support_images(data.images, 0, stateless_seed(0)))) <= set(
        range(9, 13)
    )


def test_class_rotations_turn_the_whole_support_set_and_each_turn_is_drawn_about_equally_often():
    image = np.array([[0, 0], [0, 255]], np.uint8)  # one bright corner tells the turn
    corners = ClassImages(np.broadcast_to(image[None, :, :, None], (5, 2, 2, 1)), {"a": 5})
    plain, turned = (_sampler(corners, ("a",), class_rotations=wanted) for wanted in (False, True))
    found = []
    for support in _draws(turned, corners, 200):
        support = support.numpy()[..., 0]
        np.testing.assert_array_equal(support, np.broadcast_to(support[0], support.shape))
        found.append(int(support[0].argmax()))
    for support in _draws(plain, corners, 20):
        np.testing.assert_array_equal(support[..., 0], [image / 127.5 - 1] * 3)
    np.testing.assert_allclose(
        np.bincount(found) / 200, 0.25, atol=0.13
    )  # four standard deviations


def test_class_rotations_leave_named_tasks_upright_and_draw_the_same_images(data):
    plain, turned = (_sampler(data, class_rotations=wanted) for wanted in (False, True))
    for seed in map(stateless_seed, range(5)):
        np.testing.assert_array_equal(
            *(s.support_images(data.images, 1, seed) for s in (plain, turned))
        )
        assert _drawn(plain.random_support_images(data.images, seed)) == _drawn(
            turned.random_support_images(data.images, seed)
        )


@pytest.mark.parametrize("class_rotations", [False, True])
def test_no_slice_begins_where_only_the_seed_says(data, class_rotations):
    """XLA takes the bounds of a slice for constants: it would compile the meta-step anew for every
    class drawn.
    """
    sampler = _sampler(data, class_rotations=class_rotations)
    traced = tf.function(sampler.random_support_images, autograph=False).get_concrete_function(
        tf.TensorSpec(data.images.shape, tf.uint8), tf.TensorSpec([2], tf.int32)
    )
    slices = [op for op in traced.graph.get_operations() if op.type == "StridedSlice"]
    assert [op for op in slices if any(bound.op.type != "Const" for bound in op.inputs[1:])] == []
