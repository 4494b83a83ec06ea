"""Each unit against NumPy, or against the same unit put together from Keras' own layers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from figr_tf.gan import layers


def _keras_twin(unit: layers.ConvUnit, shape: tuple[int, ...]) -> keras.Model:
    """Keras' own Conv2D, PReLU and LayerNormalization with the unit's weights, made different from
    their start.
    """
    rng = np.random.default_rng(1)
    unit.build((None, *shape))
    for variable in unit.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    stack = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Conv2D(unit.filters, unit.kernel_size, padding="same"),
            keras.layers.PReLU(shared_axes=[1, 2]),
            keras.layers.LayerNormalization(axis=[1, 2, 3], epsilon=1e-5),
        ]
    )
    values = {v.name: v.numpy() for v in unit.trainable_variables}
    stack.set_weights(
        [
            values["kernel"],
            values["bias"],
            values["slope"].reshape(1, 1, -1),
            values["scale"],
            values["offset"],
        ]
    )
    return stack


@pytest.mark.parametrize("kernel_size", [3, 5, 7])
def test_conv_unit_equals_keras_convolution_prelu_and_layer_norm(kernel_size):
    unit = layers.ConvUnit(4, kernel_size)
    twin = _keras_twin(unit, (8, 8, 3))
    x = tf.random.stateless_normal([2, 8, 8, 3], [0, 0])
    np.testing.assert_allclose(unit(x), twin(x), rtol=1e-4, atol=1e-5)


def test_an_upsampling_unit_is_an_upsampling_and_a_unit():
    one, other = layers.UpsamplingConvUnit(4), layers.ConvUnit(4)
    x = tf.random.stateless_normal([2, 3, 5, 2], [0, 0])
    one(x)
    upsampled = layers.NearestUpsample()(x)
    other(upsampled)
    weights = _normal_weights(one)
    assert [v.shape for v in one.trainable_variables] == [
        v.shape for v in other.trainable_variables
    ]
    np.testing.assert_allclose(
        one.apply(weights, x), other.apply(weights, upsampled), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_in_blocks_is_the_same_image(channels):
    x = tf.random.stateless_normal([2, 4, 6, 3], [0, 0])
    plain = layers.ToImage(channels)
    plain(x)
    blocks = layers.ToImage(channels, in_blocks=True)
    weights = [0.1 * weight for weight in _normal_weights(plain)]
    np.testing.assert_allclose(blocks.apply(weights, x), plain.apply(weights, x), atol=1e-5)


def _normal_weights(layer) -> tuple:
    rng = np.random.default_rng(1)
    return tuple(
        tf.constant(rng.normal(size=v.shape), tf.float32) for v in layer.trainable_variables
    )


def test_residual_block_adds_its_input():
    block = layers.ResidualBlock(3)
    x = tf.random.stateless_normal([2, 4, 4, 3], [0, 0])
    block(x)
    for variable in block.units[1].trainable_variables:
        variable.assign(tf.zeros_like(variable))
    np.testing.assert_array_equal(block(x), x)


def test_nearest_upsample_repeats_pixels_and_its_gradient_sums_them():
    x = tf.random.stateless_normal([2, 2, 3, 2], [0, 0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layers.NearestUpsample()(x)
    np.testing.assert_array_equal(y, x.numpy().repeat(2, 1).repeat(2, 2))
    np.testing.assert_array_equal(tape.gradient(y, x), np.full(x.shape, 4.0))


def test_dense_unit_has_one_slope_per_value():
    unit = layers.DenseUnit(6)
    x = tf.random.stateless_normal([2, 5], [0, 0])
    unit(x)
    rng = np.random.default_rng(2)
    for variable in unit.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    v = {variable.name: variable.numpy() for variable in unit.trainable_variables}
    y = x.numpy() @ v["kernel"] + v["bias"]
    y = np.where(y > 0, y, v["slope"] * y)
    y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-5) * v["scale"] + v[
        "offset"
    ]
    np.testing.assert_allclose(unit(x), y, rtol=1e-4, atol=1e-5)
