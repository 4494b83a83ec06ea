"""The smallest system: two groups of weights that are drawn towards the target of a task."""

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_tf.core import system
from figr_tf.core.optimizers import Adam

RATE = 0.25


class QuadraticSystem:
    """One step of gradient descent on half the squared distance of every weight to the target."""

    metric_labels = {"distance": "distance"}  # noqa: RUF012
    constants = np.arange(5, dtype=np.float32)

    def __init__(self, make_optimizer=lambda: Adam(1e-3), seed=0):
        rng = np.random.default_rng(seed)
        self.meta_weights = {
            "first": [
                tf.Variable(rng.normal(size=shape).astype(np.float32)) for shape in (2, (3, 2))
            ],
            "second": [tf.Variable(rng.normal(size=4_000).astype(np.float32))],
        }
        self.carried = [tf.Variable(tf.zeros([2]))]
        self.make_optimizer = make_optimizer

    def draw_task(self, constants, seed):
        index = tf.random.stateless_uniform([], seed, 0, 5, tf.int32, "philox")
        return tf.gather(constants, index)

    def adapt(self, weights, carried, task, seed):
        adapted = tf.nest.map_structure(lambda w: w - RATE * (w - task), weights)
        after = (carried[0] + tf.stack([task, task**2]),)
        distance = tf.add_n([tf.reduce_sum(tf.abs(w - task)) for w in tf.nest.flatten(weights)])
        return system.Adapted(adapted, after, {"distance": distance})

    def pictures(self, constants):
        yield Image.new("RGB", (4, 4))

    def report(self, constants):
        return {"mean": float(tf.reduce_mean(self.meta_weights["second"][0]))}
