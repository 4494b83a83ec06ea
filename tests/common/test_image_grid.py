import numpy as np

from figr_common import image_grid


def test_support_is_framed_in_orange_above_the_samples():
    support = np.zeros((2, 8, 8, 1), np.uint8)
    samples = np.full((5, 8, 8, 1), 255, np.uint8)
    picture = np.asarray(image_grid.task_picture(support, samples, scale=1))
    assert picture.shape == (4 * 12, 2 * 12, 3)
    assert tuple(picture[0, 0]) == (230, 120, 20)
    assert tuple(picture[12, 0]) == (200, 200, 200)
    assert (picture[2:10, 2:10] == 0).all()
    assert (picture[14:22, 2:10] == 255).all()
    assert (picture[38:46, 14:22] == 200).all()  # the sixth place is empty


def test_colour_images_keep_their_colours():
    support = np.zeros((1, 4, 4, 3), np.uint8)
    support[..., 1] = 200
    picture = np.asarray(image_grid.task_picture(support, support[:0], scale=1))
    assert (picture[2:-2, 2:-2] == [0, 200, 0]).all()


def test_tasks_stand_side_by_side():
    one = image_grid.task_picture(
        np.zeros((2, 4, 4, 1), np.uint8), np.zeros((2, 4, 4, 1), np.uint8)
    )
    both = image_grid.beside([one, one])
    assert both.height == one.height
    assert both.width == 2 * one.width + 8
