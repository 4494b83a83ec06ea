import keras
import numpy as np
import pytest
import tensorflow as tf

from figr_tf.gan import networks
from figr_tf.gan.networks import NetworkSpec, build_networks, parameter_count


@pytest.mark.parametrize(
    ("hidden", "generator", "discriminator"),
    [(64, 57_399_745, 20_422_081), (16, 3_774_577, 1_580_401)],
)
def test_resnet_pair_has_the_parameter_counts_of_the_released_code(
    hidden, generator, discriminator
):
    pair = build_networks(NetworkSpec(hidden=hidden))
    assert [parameter_count(model) for model in pair] == [generator, discriminator]


def test_dcgan_pair_has_about_18_million_parameters_each_at_h_64():
    pair = build_networks(NetworkSpec(architecture="dcgan"))
    assert [round(parameter_count(model) / 1e6, 1) for model in pair] == [17.9, 18.0]


@pytest.mark.parametrize("architecture", networks.ARCHITECTURES)
@pytest.mark.parametrize(("image_size", "channels"), [(16, 3), (48, 1)])
def test_shapes_and_ranges_for_any_size_and_colour(architecture, image_size, channels):
    spec = NetworkSpec(architecture, image_size, channels, hidden=1, latent_dim=5)
    generator, discriminator = build_networks(spec)
    images = generator(tf.random.stateless_normal([3, 5], [0, 0]) * 100)
    assert images.shape == (3, image_size, image_size, channels)
    assert np.abs(images).max() <= 1
    assert discriminator(images).shape == (3, 1)


def test_every_example_is_scored_on_its_own(tiny_networks):
    images = tf.random.stateless_uniform([4, 16, 16, 1], [0, 0], -1, 1)
    alone = [float(tiny_networks.discriminator(images[i : i + 1])[0, 0]) for i in range(4)]
    np.testing.assert_allclose(
        tiny_networks.discriminator(images)[:, 0], alone, rtol=1e-4, atol=1e-6
    )


def test_the_same_seed_builds_the_same_weights_and_another_seed_others():
    spec = NetworkSpec(image_size=16, hidden=1)
    first, again, other = (
        build_networks(spec, seed).generator.get_weights()[0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_no_variable_is_left_out_of_training(tiny_networks):
    for model in tiny_networks:
        assert model.non_trainable_variables == []


@pytest.mark.parametrize(
    ("fields", "received"),
    [
        ({"image_size": 28}, "28"),
        ({"image_size": 0}, "0"),
        ({"channels": 2}, "2"),
        ({"hidden": 0}, "0"),
        ({"architecture": "vit"}, "vit"),
    ],
)
def test_impossible_specs_are_refused_with_the_value_received(fields, received):
    with pytest.raises(ValueError, match=rf"{next(iter(fields))} must be .*Received: '?{received}"):
        NetworkSpec(**fields)


def test_a_users_keras_configuration_does_not_change_the_networks(monkeypatch):
    expected = [
        parameter_count(model) for model in build_networks(NetworkSpec(image_size=16, hidden=1))
    ]
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        pair = build_networks(NetworkSpec(image_size=16, hidden=1))
    finally:
        keras.config.set_image_data_format(before)
    assert [parameter_count(model) for model in pair] == expected
    assert pair.generator.output_shape == (None, 16, 16, 1)
