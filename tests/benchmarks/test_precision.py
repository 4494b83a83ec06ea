"""The benchmark of rounded convolutions rounds what it says, and has the derivatives of a
convolution.
"""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import precision
from figr_tf.gan import convolutions
from figr_tf.gan.networks import build_networks
from tests.conftest import LEAN


def test_tf32_keeps_ten_bits_of_the_mantissa():
    spacing = 2.0**-10
    values = tf.constant(
        [1.0, 1 + 0.49 * spacing, 1 + 0.51 * spacing, -1 - 0.51 * spacing, 3e-5], tf.float32
    )
    rounded = precision.to_tf32(values).numpy()
    np.testing.assert_array_equal(rounded[:4], np.float32([1, 1, 1 + spacing, -1 - spacing]))
    assert 0 < abs(rounded[4] / 3e-5 - 1) < spacing / 2


def _penalised_gradient(convolution, x, kernel, bias, *strides):
    """Of a penalty on a gradient, so by second derivatives."""
    with tf.GradientTape() as outer:
        outer.watch(kernel)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(
                tf.square(
                    convolution(tf.square(convolution(x, kernel, bias, *strides)), kernel, bias)
                )
            )
        penalty = tf.reduce_sum(tf.square(inner.gradient(y, x)))
    return outer.gradient(penalty, kernel)


@pytest.mark.parametrize("strides", [1, 2])
def test_unrounded_its_second_derivatives_are_those_of_the_convolution_of_the_networks(strides):
    rng = np.random.default_rng(0)
    x, kernel, bias = (
        tf.constant(rng.normal(size=shape)) for shape in ([2, 5, 4, 3], [3, 3, 3, 3], [3])
    )
    exact = precision.convolution_of(precision.EXACT)
    np.testing.assert_allclose(
        _penalised_gradient(exact, x, kernel, bias, strides),
        _penalised_gradient(convolutions.plain, x, kernel, bias, strides),
        rtol=1e-9,
    )


def test_coarser_numbers_are_further_from_float64():
    """On the lean pair, whose convolutions have strides."""
    errors = dict(precision._errors(build_networks(LEAN, seed=0), 0))
    assert list(errors) == ["float32", "TF32", "bfloat16"]
    for finer, coarser in itertools.pairwise(errors.values()):
        assert 0 < finer[1] < coarser[1] < 1
