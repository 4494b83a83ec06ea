"""A density model on one support set after another: adapt, score, draw; each graph built once."""

import numpy as np
import tensorflow as tf

from figr_tf.pixelcnn import adaptation, networks, sampling
from figr_tf.pixelcnn.networks import NetworkSpec
from figr_tf.pixelcnn.sampling import Samples


class Predictor:
    """Takes weights in, so that one object serves Φ and whatever it is adapted to.

    Attributes:
        spec: of the network.
        max_shift: of its inner steps, see `drawings.moved`.
    """

    def __init__(self, spec: NetworkSpec, max_shift: int = 0):
        self.spec = spec
        self.max_shift = max_shift
        weights = {n: tf.TensorSpec(s, tf.float32) for n, s in spec.shapes().items()}
        ink = tf.TensorSpec([None, spec.image_size, spec.image_size], tf.float32)
        rate, count = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)
        seed = tf.TensorSpec([2], tf.int32)

        def compiled(function, *signature):
            return tf.function(function, [weights, ink, *signature], autograph=False)

        self._adapt = compiled(self._adapted, rate, seed, count, count)
        self._nats = compiled(self._nats_of, ink)
        self._draw = compiled(self._drawn, count, seed)

    def adapt(
        self,
        weights: networks.Weights,
        support: np.ndarray,
        rate: float,
        seed: tf.Tensor,
        steps: range,
    ) -> networks.Weights:
        """Steps on a support set, 0 and 1 [n, S, S]; range(0) gives the weights themselves.

        Args:
            seed: int32 [2], of where the steps move the drawings.
            steps: their numbers; range(3, 9) goes on from what range(3) gave.
        """
        ink = _floats(support)
        return self._adapt(dict(weights), ink, rate, seed, len(steps), steps.start)

    def nats(
        self, weights: networks.Weights, support: np.ndarray, images: np.ndarray
    ) -> np.ndarray:
        """Nats per pixel of each drawing [B, S, S], float32 [B]; a condition sees the support."""
        return self._nats(dict(weights), _floats(support), _floats(images)).numpy()

    def draw(
        self, weights: networks.Weights, support: np.ndarray, num_samples: int, seed: tf.Tensor
    ) -> Samples:
        """Samples; a condition sees the support. `seed` is int32 [2]."""
        return self._draw(dict(weights), _floats(support), num_samples, seed)

    def _adapted(self, weights, support, rate, seed, num_steps, first):
        descent = adaptation.Descent(rate, seed, self.max_shift)
        return adaptation.adapt_to_support(self.spec, weights, support, descent, num_steps, first)

    def _nats_of(self, weights, support, images):
        context = networks.encode(self.spec, weights, support)
        return networks.nats(self.spec, weights, images, context)

    def _drawn(self, weights, support, num_samples, seed):
        context = networks.encode(self.spec, weights, support)
        return sampling.draw(self.spec, weights, context, num_samples, seed)


def _floats(ink: np.ndarray) -> tf.Tensor:
    return tf.cast(ink, tf.float32)
