"""Algorithm 2 through the public door, `figr_tf.load`."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import figr_tf
from figr_common import scaling
from figr_tf.core import random
from figr_tf.core.errors import DataError, RunError, UserError
from figr_tf.data import glyphs
from figr_tf.gan import adaptation, generation
from figr_tf.gan.draws import LatentPool


@pytest.fixture(scope="module")
def model(run_folder):
    return figr_tf.load(run_folder)


@pytest.fixture(scope="module")
def support():
    return glyphs.glyph_images(7, 3, 16, seed=0)


def test_samples_are_bytes_of_the_asked_number_and_repeatable(model, support):
    samples = model.generate(support, num_samples=5, seed=7)
    assert samples.shape == (5, 16, 16, 1)
    assert samples.dtype == np.uint8
    np.testing.assert_array_equal(model.generate(support, num_samples=5, seed=7), samples)
    assert (model.generate(support, num_samples=5, seed=8) != samples).any()
    assert model.meta_step == 12


def test_more_samples_begin_with_the_same_ones(model, support):
    np.testing.assert_allclose(
        model.generate(support, num_samples=8, seed=7)[:5],
        model.generate(support, num_samples=5, seed=7),
        atol=1,
    )


def test_generating_leaves_the_meta_weights_as_they_are(model, support):
    before = [w.numpy() for w in tf.nest.flatten(adaptation.weights_of(model.networks))]
    model.generate(support, num_inner_steps=3)
    for a, b in zip(before, tf.nest.flatten(adaptation.weights_of(model.networks)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_algorithm_2_adapts_to_the_support_and_draws_with_what_came_out():
    tape = []

    def adapt(*arguments):
        tape.append(("adapt", *arguments))
        return "adapted"

    def draw(*arguments):
        tape.append(("draw", *arguments))
        return "images"

    assert generation.algorithm_2(adapt, draw, "support", 10, "latents", 7) == "images"
    assert tape == [("adapt", "support", 10, 7), ("draw", "adapted", "latents")]


def test_samples_equal_adapt_and_the_generator_step_by_step(model, support):
    weights = adaptation.weights_of(model.networks)
    unit = tf.constant(scaling.uint8_to_signed(support))
    inner, seed = model.settings.inner, generation.adaptation_seed(7)
    state = adaptation.start(weights, inner)
    adapted = adaptation.adapt(model.networks, state, unit, 2, inner, seed).weights
    latents = generation.sample_latents(model.networks, 4, 7)
    expected = adaptation.generate_images(model.networks, adapted.generator, latents)
    np.testing.assert_allclose(
        model.generate(support, 4, 7), scaling.signed_to_uint8(expected.numpy()), atol=1
    )


def test_with_a_pool_the_latents_that_are_drawn_are_adapted_with_if_it_has_all(model, support):
    settings = dataclasses.replace(model.settings, latent_pool=8)
    practised = generation.FewShotModel(model.networks, settings, 12)
    unit = tf.constant(scaling.uint8_to_signed(support))
    state = practised.start(adaptation.weights_of(model.networks))
    latents = generation.sample_latents(model.networks, 8, 7)
    seed = generation.adaptation_seed(7)
    pool = LatentPool(latents, tf.constant(True))
    adapted = adaptation.adapt(model.networks, state, unit, 2, settings.inner, seed, pool)
    expected = adaptation.generate_images(model.networks, adapted.weights.generator, latents)
    samples = practised.generate(support, 8, 7)
    np.testing.assert_allclose(samples, scaling.signed_to_uint8(expected.numpy()), atol=1)
    assert (samples != model.generate(support, 8, 7)).any()
    np.testing.assert_allclose(practised.generate(support, 3, 7), samples[:3], atol=1)
    (at_the_end,) = practised.samples_along(support, [2], 3, 7)
    np.testing.assert_allclose(at_the_end, samples[:3], atol=1)
    nine = model.generate(support, 9, 7)
    np.testing.assert_allclose(practised.generate(support, 9, 7), nine, atol=1)
    (at_the_end,) = practised.samples_along(support, [2], 9, 7)
    np.testing.assert_allclose(at_the_end, nine, atol=1)
    # Whoever keeps the adapted generator draws other latents with it as well.
    phi = adaptation.weights_of(model.networks)
    count, user_seed = tf.constant(2), tf.constant(7, tf.int64)
    kept, usual = (one.adapt(phi, unit, count, user_seed) for one in (practised, model))
    for a, b in zip(kept, usual, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_frames_of_an_adaptation_begin_unadapted_and_end_with_the_samples(model, support):
    frames = list(model.samples_along(support, [0, 2, 3], 4, seed=7))
    assert len(frames) == 3
    np.testing.assert_allclose(frames[0], model.generate(support, 4, 7, num_inner_steps=0), atol=1)
    np.testing.assert_allclose(frames[-1], model.generate(support, 4, 7, num_inner_steps=3), atol=1)
    assert (frames[0] != frames[-1]).any()


def test_frames_of_fewer_steps_after_more_or_of_no_seed_are_refused(model, support):
    with pytest.raises(ValueError, match=r"steps must rise\. Received: 1 after 2"):
        list(model.samples_along(support, [2, 1], 4))
    with pytest.raises(ValueError, match="seed"):
        list(model.samples_along(support, [1], 4, seed=-1))


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((3, 32, 32, 1), np.uint8),
        np.zeros((3, 16, 16, 3), np.uint8),
        np.zeros((0, 16, 16, 1), np.uint8),
        np.zeros((3, 16, 16, 1), np.float32),
        np.zeros((16, 16, 1), np.uint8),
    ],
    ids=["size", "channels", "none", "floats", "rank"],
)
def test_support_of_another_shape_or_type_is_refused_with_both(model, bad):
    with pytest.raises(ValueError, match=r"uint8 \[n ≥ 1, 16, 16, 1\]. Received: \w+ \["):
        model.generate(bad)


def _drawing(path, column, paper=255, ink=0):
    """A bar of ink, four pixels wide, on paper of 32×32."""
    image = Image.new("L", (32, 32), paper)
    image.paste(ink, (column, 4, column + 4, 28))
    image.save(path)


def test_support_is_read_from_a_folder_in_order_or_from_one_image(model, tmp_path):
    for name, column in (("b.png", 20), ("a.png", 4), (".hidden.png", 12)):
        _drawing(tmp_path / name, column)
    (tmp_path / "notes.txt").write_text("not an image")
    support = model.read_support(tmp_path)
    np.testing.assert_array_equal(support[:, 8, :, 0].argmin(1), [2, 10])
    assert model.read_support(tmp_path / "a.png").shape == (1, 16, 16, 1)


def test_light_ink_is_inverted_and_a_dark_picture_draws_a_warning(model, tmp_path, caplog):
    _drawing(tmp_path / "a.png", 8, paper=0, ink=255)
    model.read_support(tmp_path)
    assert "--ink=light" in caplog.text
    caplog.clear()
    support = model.read_support(tmp_path, ink="light")
    assert (support[0, 8, 4:6] < 60).all()
    assert support[0, 8, 12] == 255
    assert caplog.text == ""


def test_support_errors_name_the_file(model, tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder"):
        model.read_support(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no images in this folder"):
        model.read_support(tmp_path)
    (tmp_path / "cats").mkdir()
    with pytest.raises(DataError, match="Choose one of its 1 folders"):
        model.read_support(tmp_path)
    (tmp_path / "bad.png").write_bytes(b"junk")
    with pytest.raises(DataError, match=r"bad.png \(not an image of a kind that can be read"):
        model.read_support(tmp_path)


def test_an_adaptation_that_diverges_is_an_error_and_no_picture(run_folder, support):
    model = figr_tf.load(run_folder)
    model.settings = dataclasses.replace(
        model.settings, inner=adaptation.InnerSettings(learning_rate=1e30)
    )
    with pytest.raises(UserError, match="diverged within 3 inner steps"):
        model.generate(support, num_inner_steps=3)
    *_, last = model.samples_along(support, [0, 3], 2)
    assert (last == 255).all()


def test_seeds_beyond_32_bits_are_streams_of_their_own_and_smaller_ones_keep_theirs(model, support):
    np.testing.assert_array_equal(random.stateless_seed(7), [7, 0])
    np.testing.assert_array_equal(random.stateless_seed(2**31 - 1), [2**31 - 1, 0])
    np.testing.assert_array_equal(random.stateless_seed(2**32 + 7), [7, 1])
    assert (model.generate(support, 4, seed=2**32 + 7) != model.generate(support, 4, seed=7)).any()
    with pytest.raises(ValueError, match=r"need 0 ≤ seed < 2\*\*53. Received: -1"):
        model.generate(support, seed=-1)


@pytest.mark.parametrize("arguments", [{"num_samples": 0}, {"num_inner_steps": -1}])
def test_impossible_numbers_are_refused(model, support, arguments):
    with pytest.raises(ValueError, match=r"need num_(samples ≥ 1|inner_steps ≥ 0)\. Received"):
        model.generate(support, **arguments)


def test_not_a_run_is_one_line(tmp_path):
    with pytest.raises(RunError, match="not a run folder"):
        figr_tf.load(tmp_path)
