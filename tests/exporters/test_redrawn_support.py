"""The export of a pair that adapts to redrawings, and practises the latents that it draws."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import figr_tf
from exporters import saved_model
from figr_common import scaling
from figr_tf import models
from figr_tf.data import datasets, glyphs
from figr_tf.gan import adaptation, networks
from figr_tf.gan.adaptation import weights_of
from figr_tf.gan.settings import Settings
from tests.conftest import LEAN, glyph_dataset, untrained_run
from tests.exporters.conftest import REQUEST, serve


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """K = 2 in training and 3 afterwards; every inner step on five of nine redrawings."""
    settings = Settings(
        data=datasets.DataSettings(image_size=32),
        network=dataclasses.replace(LEAN, image_size=32),
        inner=adaptation.InnerSettings(
            learning_rate=1e-3, batch_size=5, average_decay=0.5, gradient_penalty_every=2
        ),
        num_shots=3,
        num_inner_steps=2,
        num_test_inner_steps=3,
        augment="redraw",
        augment_count=9,
        redraw_sha256=models.redraw_sha256(),
        latent_pool=4,
    )
    dataset = glyph_dataset(3, 4, 32, num_held_out=1)
    return untrained_run(tmp_path_factory.mktemp("runs") / "run", settings, dataset)


@pytest.fixture(scope="module")
def exported(run_folder, tmp_path_factory):
    request = REQUEST._replace(run=run_folder, signature_names=("generate_tensor",))
    return saved_model.export(request, tmp_path_factory.mktemp("models") / "figr", None)


@pytest.fixture(scope="module")
def model(run_folder):
    return figr_tf.load(run_folder)


@pytest.fixture(scope="module")
def support():
    return glyphs.glyph_images(7, 3, 32, seed=0)


def test_a_server_draws_what_the_model_draws_and_as_long_adapted_where_nobody_says(
    exported,
    model,
    support,
):
    server = serve(exported)
    unit = support.astype(np.float32) / 255
    assert exported.contract["defaults"]["num_inner_steps"] == model.num_inner_steps == 3
    assert exported.contract["training"]["num_inner_steps"] == 2
    by_default = server.predict("generate_tensor", support_images=unit, seed=2**40 + 1)["images"]
    right = model.generate(support, 4, 2**40 + 1)
    np.testing.assert_allclose(255 * by_default, right, atol=0.51)
    asked = {"num_samples": 5, "num_inner_steps": 6, "seed": 7}
    drawn = server.predict("generate_tensor", support_images=unit, **asked)["images"]
    np.testing.assert_allclose(255 * drawn, model.generate(support, 5, 7, 6), atol=0.51)


def test_the_reloaded_export_draws_what_the_model_draws(exported):
    assert exported.difference < 1e-6


def test_adapt_practises_no_latents_since_any_are_drawn_afterwards(exported, model, support):
    figr = tf.saved_model.load(str(exported.path))
    answered = figr.adapt(tf.constant(support / 255.0, tf.float32), 3, 7).numpy()
    arguments = weights_of(model.networks), tf.constant(scaling.uint8_to_signed(support))
    numbers = tf.constant(3), tf.constant(7, tf.int64)
    fresh, practised = (
        np.concatenate([w.numpy().ravel() for w in model.adapt(*arguments, *numbers, practises)])
        for practises in (False, True)
    )
    np.testing.assert_allclose(answered, fresh, atol=1e-6)
    assert np.abs(practised - fresh).max() > 1e-5


def test_the_inner_steps_round_the_same_inside_another_graph(model, support):
    """To the bit: ten times as many steps make another picture of the smallest difference."""
    images = tf.constant(scaling.uint8_to_signed(support))

    def steps(images):
        state = model.start(weights_of(model.networks))
        return model.inner_steps(
            state, images, tf.constant(2), tf.constant(7, tf.int64), tf.constant(True)
        )

    by_themselves, inside = steps(images), tf.function(steps, autograph=False)(images)
    for one, other in zip(*map(tf.nest.flatten, (by_themselves, inside)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_export_takes_the_room_of_both_networks_weights_and_of_those_that_redraw(
    exported,
    model,
):
    redrawing = figr_tf.load(models.REDRAWING).generator.get_weights()
    weights = 4 * sum(networks.parameter_count(network) for network in model.networks)
    weights += 4 * sum(weight.size for weight in redrawing)
    data = exported.path / "variables/variables.data-00000-of-00001"
    assert weights <= data.stat().st_size <= 1.1 * weights
