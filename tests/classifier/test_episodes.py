"""Tasks: different classes, different images, turns in training only."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.classifier import episodes
from figr_tf.classifier.episodes import Drawings, TaskForm
from figr_tf.core.errors import DataError
from figr_tf.core.random import stateless_seed


def _numbered(counts):
    """Pixels that say which class and which image they are of."""
    numbers = [(c, i) for c, count in enumerate(counts) for i in range(count)]
    pixels = np.zeros([len(numbers), 2, 2, 1], np.uint8)
    pixels[:, 0, 0, 0] = [c for c, _ in numbers]
    pixels[:, 0, 1, 0] = [i for _, i in numbers]
    counts = np.array(counts, np.int32)
    return Drawings(pixels, (np.cumsum(counts) - counts).astype(np.int32), counts)


def test_a_task_has_different_classes_and_different_images_of_each():
    drawings = _numbered([3, 5, 4, 3])
    seen = set()
    for number in range(60):
        task = episodes.draw_images(drawings, TaskForm(3, 3, 4, 5), stateless_seed(number))
        decoded = np.rint(task.numpy()[..., 0] * 255).astype(int)
        classes, images = decoded[:, :, 0, 0], decoded[:, :, 0, 1]
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0])) == 3
        for label, row in zip(classes[:, 0], images, strict=True):
            assert len(set(row)) == 3
            seen |= {(label, i) for i in row}
    assert len(seen) == 3 + 5 + 4 + 3


def test_a_turned_class_is_one_more_class():
    drawings = _numbered([2, 3])
    turned = episodes.with_turns(drawings)
    assert turned.counts.tolist() == [2, 3] * 4
    for turn in range(4):
        first = turned.pixels[turned.starts[2 * turn + 1]]
        np.testing.assert_array_equal(first, np.rot90(drawings.pixels[2], turn))


def test_images_are_seen_with_paper_1_and_ink_0():
    np.testing.assert_array_equal(episodes.unit_range(np.array([0, 255], np.uint8)), [0, 1])


def test_images_lie_class_by_class_beside_their_labels():
    images, labels = episodes.flat(tf.reshape(tf.range(12.0), [3, 2, 2, 1, 1]))
    assert images.shape == [6, 2, 1, 1]
    assert labels.numpy().tolist() == [0, 0, 1, 1, 2, 2]


def test_a_held_out_task_depends_on_its_number_alone_and_keeps_queries_apart():
    drawings = _numbered([5] * 6)
    episode = episodes.held_out_episode(drawings, 3, 4, seed=1, number=9)
    again = episodes.held_out_episode(drawings, 3, 4, seed=1, number=9)
    np.testing.assert_array_equal(episode.support, again.support)
    classes = drawings.pixels[episode.support, 0, 0, 0]
    assert (classes == drawings.pixels[episode.queries, 0, 0, 0][:, None]).all()
    assert not set(episode.queries) & set(episode.support.ravel())


@pytest.mark.parametrize(
    ("num_classes", "num_images", "said"),
    [(5, 3, "5 classes cannot be drawn from 4 held-out classes"), (3, 7, "need 7 images")],
)
def test_too_few_classes_or_images_are_refused(dataset, num_classes, num_images, said):
    with pytest.raises(DataError, match=said):
        episodes.require(dataset, dataset.split.held_out, num_classes, num_images)
