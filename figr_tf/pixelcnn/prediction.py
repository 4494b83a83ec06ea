"""A density model on one support set after another: adapt, score, draw; each graph built once."""

import numpy as np
import tensorflow as tf

from figr_tf.pixelcnn import adaptation, models, sampling
from figr_tf.pixelcnn.models import NetworkSpec
from figr_tf.pixelcnn.sampling import Samples


class Predictor:
    """Takes weights in, so that one object serves Φ and whatever it is adapted to.

    Attributes:
        spec: of the network.
    """

    def __init__(self, spec: NetworkSpec):
        self.spec = spec
        weights = {n: tf.TensorSpec(s, tf.float32) for n, s in spec.shapes().items()}
        ink = tf.TensorSpec([None, spec.image_size, spec.image_size], tf.float32)
        rate, count = tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.int32)
        seed = tf.TensorSpec([2], tf.int32)

        def compiled(function, *signature):
            return tf.function(function, [weights, ink, *signature], autograph=False)

        self._adapt = compiled(self._adapted, rate, count)
        self._nats = compiled(self._nats_of, ink)
        self._draw = compiled(self._drawn, count, seed)

    def adapt(
        self, weights: models.Weights, support: np.ndarray, rate: float, num_steps: int
    ) -> models.Weights:
        """K steps on a support set, 0 and 1 [n, S, S]; with K = 0 the weights themselves."""
        return self._adapt(dict(weights), _floats(support), rate, num_steps)

    def nats(self, weights: models.Weights, support: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Nats per pixel of each drawing [B, S, S], float32 [B]; a condition sees the support."""
        return self._nats(dict(weights), _floats(support), _floats(images)).numpy()

    def draw(
        self, weights: models.Weights, support: np.ndarray, num_samples: int, seed: tf.Tensor
    ) -> Samples:
        """Samples; a condition sees the support. `seed` is int32 [2]."""
        return self._draw(dict(weights), _floats(support), num_samples, seed)

    def _adapted(self, weights, support, rate, num_steps):
        return adaptation.adapt_to_support(self.spec, weights, support, rate, num_steps)

    def _nats_of(self, weights, support, images):
        context = models.encode(self.spec, weights, support)
        return models.nats(self.spec, weights, images, context)

    def _drawn(self, weights, support, num_samples, seed):
        context = models.encode(self.spec, weights, support)
        return sampling.draw(self.spec, weights, context, num_samples, seed)


def _floats(ink: np.ndarray) -> tf.Tensor:
    return tf.cast(ink, tf.float32)
