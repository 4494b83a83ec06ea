"""PReLU and LayerNorm in one: values by hand, derivatives against automatic ones."""

import numpy as np
import pytest
import tensorflow as tf

from figr_tf.gan.normalisation import prelu_layer_norm


def test_prelu_and_layer_norm_are_those_computed_by_hand():
    rng = np.random.default_rng(0)
    x = rng.normal(1, 2, (2, 4, 4, 3)).astype(np.float32)
    scale, offset = rng.normal(size=(2, 4, 4, 3)).astype(np.float32)
    slope = np.array([0.25, 0.5, -0.1], np.float32)
    activated = np.where(x > 0, x, slope * x)
    expected = (
        np.stack([(e - e.mean()) / np.sqrt(e.var() + 1e-5) for e in activated]) * scale + offset
    )
    result = prelu_layer_norm(
        tf.constant(x), tf.constant(slope), tf.constant(scale), tf.constant(offset)
    )
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def plain_prelu_layer_norm(x, slope, scale, offset):
    """PReLU and LayerNorm as written in their papers, derived automatically."""
    activated = tf.nn.relu(x) - slope * tf.nn.relu(-x)
    axes = list(range(1, x.shape.rank))
    centred = activated - tf.reduce_mean(activated, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
    return centred * tf.math.rsqrt(variance + 1e-5) * scale + offset


@pytest.mark.parametrize("traced", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("shape", [(3, 4, 4, 5), (3, 20)], ids=["image", "vector"])
def test_first_and_second_derivatives_equal_the_automatic_ones(traced, shape):
    rng = np.random.default_rng(1)
    x, weight, second_weight = (tf.constant(rng.normal(size=shape)) for _ in range(3))
    slope = tf.constant(rng.uniform(-0.2, 0.5, shape[-1]))
    scale, offset = (tf.constant(rng.normal(size=shape[1:])) for _ in range(2))

    def derivatives(function):
        with tf.GradientTape() as outer:
            outer.watch([x, slope, scale, offset])
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = function(x, slope, scale, offset)
                value = tf.reduce_sum(weight * tf.sin(y))
            gradient = inner.gradient(value, x)
            # As in the gradient penalty: a function of the gradient, and of the value beside it.
            total = tf.reduce_sum(second_weight * tf.sin(gradient)) + tf.reduce_sum(y * weight)
        return gradient, *outer.gradient(total, [x, slope, scale, offset])

    lean_derivatives = tf.function(derivatives, autograph=False) if traced else derivatives
    for ours, automatic in zip(
        lean_derivatives(prelu_layer_norm), derivatives(plain_prelu_layer_norm), strict=True
    ):
        np.testing.assert_allclose(ours, automatic, rtol=1e-9, atol=1e-12)


def test_second_derivative_agrees_with_finite_differences():
    rng = np.random.default_rng(2)
    x, weight, direction = (tf.constant(rng.normal(size=(2, 3, 3, 2))) for _ in range(3))
    slope, scale, offset = (
        tf.constant([0.2, 0.4], tf.float64),
        *tf.unstack(tf.constant(rng.normal(size=(2, 3, 3, 2)))),
    )

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = tf.reduce_sum(weight * prelu_layer_norm(x, slope, scale, offset))
        return tape.gradient(value, x)

    with tf.GradientTape() as tape:
        tape.watch(x)
        projected = tf.reduce_sum(direction * gradient(x))
    step = 1e-6
    numeric = tf.reduce_sum(
        direction * (gradient(x + step * direction) - gradient(x - step * direction))
    ) / (2 * step)
    exact = tf.reduce_sum(tape.gradient(projected, x) * direction)
    np.testing.assert_allclose(exact, numeric, rtol=1e-6)


def test_what_cannot_be_differentiated_twice_says_so():
    x, slope = tf.ones([1, 4]), tf.fill([4], 0.25)
    with tf.GradientTape() as outer:
        outer.watch(slope)
        with tf.GradientTape() as inner:
            inner.watch(slope)
            value = tf.reduce_sum(tf.square(prelu_layer_norm(x, slope, slope, slope)))
        gradient = inner.gradient(value, slope)
    with pytest.raises(LookupError, match="cannot be differentiated again"):
        outer.gradient(gradient, slope)
