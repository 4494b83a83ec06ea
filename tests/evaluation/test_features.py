import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from figr_common.blur import blur_features
from figr_tf.core.errors import DataError
from figr_tf.data import glyphs
from figr_tf.evaluation import features


def _rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="module")
def embedding():
    return features.Embedding()


@pytest.fixture(scope="module")
def classes():
    """Forty glyph classes, which the network was not trained on, of ten drawings."""
    return np.stack([glyphs.glyph_images(c, 10, 32, seed=5) for c in range(40)])


def test_the_shipped_network_tells_unseen_glyphs_apart(embedding, classes):
    """Chance is 5 %. Trained on characters alone; its accuracy on Omniglot is in
    docs/evaluation.md.
    """
    assert features.few_shot_accuracy(embedding.embed, classes, shots=1, episodes=20) > 0.8
    assert features.few_shot_accuracy(embedding.embed, classes, shots=5, episodes=20) > 0.9


def test_the_shipped_network_is_small_and_holds_112_thousand_weights():
    assert features.EMBEDDING_FILE.stat().st_size < 2**20
    with np.load(features.EMBEDDING_FILE, allow_pickle=False) as arrays:
        assert sum(array.size for array in arrays.values()) == 111_424


def test_a_tampered_network_is_refused_in_one_line(tmp_path):
    path = pathlib.Path(shutil.copy(features.EMBEDDING_FILE, tmp_path / "embedding.npz"))
    data = bytearray(path.read_bytes())
    data[5000] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"embedding.npz: sha256 \w{12} is not \w{12}") as caught:
        features.Embedding(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="missing"):
        features.Embedding(tmp_path / "nowhere.npz")


def test_features_do_not_depend_on_the_batch(embedding, classes):
    images = classes.reshape(-1, 32, 32, 1)[:30]
    np.testing.assert_allclose(
        embedding.embed(images)[7], embedding.embed(images[7:8])[0], rtol=1e-3, atol=1e-4
    )


def test_ink_mask_is_1_on_dark_ink_whatever_the_contrast():
    image = np.full((1, 4, 4, 1), 255, np.uint8)
    image[0, 1, 1] = 0
    faint = 255 - (255 - image) // 4
    expected = np.zeros((1, 4, 4, 1))
    expected[0, 1, 1] = 1
    np.testing.assert_array_equal(features.ink_mask(image), expected)
    np.testing.assert_array_equal(features.ink_mask(faint), expected)


def test_an_image_of_one_grey_has_no_ink():
    assert not features.ink_mask(np.full((2, 8, 8, 1), 77, np.uint8)).any()


def test_larger_images_are_shrunk_by_averaging():
    """Pixels doubled: away from edges, where the filter reaches over, 64² becomes what 32² was."""
    small = np.repeat(np.repeat(_rng().integers(0, 2, (2, 8, 8, 3), np.uint8) * 255, 4, 1), 4, 2)
    large = np.repeat(np.repeat(small, 2, 1), 2, 2)
    shrunk = features.shrunk(large)
    assert shrunk.shape == small.shape
    assert shrunk.dtype == np.uint8
    inner = (np.arange(32) % 4 == 1) | (np.arange(32) % 4 == 2)
    np.testing.assert_array_equal(shrunk[:, inner][:, :, inner], small[:, inner][:, :, inner])
    assert features.shrunk(small) is small


def test_the_network_judges_a_drawing_alike_at_64_and_in_colour(embedding):
    small, large = (glyphs.glyph_images(3, 6, size, seed=0) for size in (32, 64))
    others = embedding.embed(glyphs.glyph_images(4, 6, 32, seed=0))
    at_32, at_64 = embedding.embed(small), embedding.embed(large)
    coloured = embedding.embed(small.repeat(3, axis=-1))
    np.testing.assert_allclose(coloured, at_32, atol=1e-3)
    to_itself = np.linalg.norm(at_64 - at_32, axis=1).mean()
    assert to_itself < 0.5 * np.linalg.norm(others - at_32, axis=1).mean()


def test_grey_of_a_colour_is_that_of_pillow():
    colours = _rng().integers(0, 256, (1, 16, 16, 3), np.uint8)
    expected = np.asarray(Image.fromarray(colours[0]).convert("L"), int)
    assert np.abs(features.grey(colours)[0, ..., 0].astype(int) - expected).max() <= 1


def test_blur_keeps_the_distances_of_grey_images_in_colour_and_tells_colours_apart():
    grey = glyphs.glyph_images(3, 2, 32, seed=0)
    distance = np.linalg.norm(np.subtract(*features.blur(grey)))
    as_colour = features.blur(grey.repeat(3, axis=-1))
    assert np.linalg.norm(np.subtract(*as_colour)) == pytest.approx(distance, rel=1e-5)
    red, blue = (np.full((1, 32, 32, 3), 255, np.uint8) for _ in range(2))
    red[..., 1:], blue[..., :2] = 76, 76
    assert np.linalg.norm(features.blur(red) - features.blur(blue)) > 1


def test_accuracy_is_taken_over_classes_of_unequal_size(embedding, classes):
    unequal = [drawings[: 6 + i % 5] for i, drawings in enumerate(classes)]
    assert features.few_shot_accuracy(embedding.embed, unequal, shots=1, episodes=10) > 0.8
    with_tiny = [*classes[:20], classes[20][:3]]
    assert features.few_shot_accuracy(
        embedding.embed, with_tiny, shots=5, episodes=5
    ) == features.few_shot_accuracy(embedding.embed, classes[:20], shots=5, episodes=5)


def test_the_embedding_does_not_see_grey_levels_and_blur_does(embedding, classes):
    images = classes[0]
    faint = (255 - (255 - images.astype(int)) // 2).astype(np.uint8)
    agreement = np.linalg.norm(embedding.embed(images) - embedding.embed(faint)) / np.linalg.norm(
        embedding.embed(images)
    )
    assert agreement < 0.1
    blur = [blur_features(x) for x in (images, faint)]
    assert np.abs(blur[0] - blur[1]).max() > 0.1


def test_blur_of_a_single_dot_is_a_gaussian_of_sigma_one_and_a_half():
    """In NumPy by the definition: a dot spread by exp(−r²/2σ²), then 2×2 means."""
    image = np.full((1, 32, 32, 1), 255, np.uint8)
    image[0, 16, 16] = 0
    x = np.arange(32) - 16
    weights = np.exp(-(x**2) / (2 * 1.5**2)) * (np.abs(x) <= 5)
    spread = 1 - np.outer(weights, weights) / weights.sum() ** 2
    expected = spread.reshape(16, 2, 16, 2).mean((1, 3)).ravel()
    np.testing.assert_allclose(blur_features(image)[0], expected, atol=1e-5)
