"""A pair of linear networks, whose inner step can be computed by hand."""

import math

import keras
import tensorflow as tf

from figr_tf.gan import layers
from figr_tf.gan.networks import Networks


class _Linear(layers.PureLayer):
    """x·W reshaped, without a bias."""

    def __init__(self, output_shape):
        super().__init__()
        self._shape = output_shape

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(math.prod(input_shape[1:]), math.prod(self._shape)))

    def apply(self, weights, x):
        return tf.reshape(tf.reshape(x, [-1, weights[0].shape[0]]) @ weights[0], [-1, *self._shape])


def linear_networks() -> Networks:
    """G(z) = z·A as a 2×2 image, D(x) = w·x: every gradient of the inner step has a closed form."""
    generator = keras.Sequential([keras.Input((3,)), _Linear((2, 2, 1))])
    return Networks(generator, keras.Sequential([keras.Input((2, 2, 1)), _Linear((1,))]))
