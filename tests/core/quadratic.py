"""The smallest system: two groups of weights that are drawn towards the target of a task."""

import dataclasses
from typing import ClassVar

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_tf.core import system
from figr_tf.core.optimizers import Adam
from figr_tf.core.settings import TrainingSettings

RATE = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuadraticSettings(TrainingSettings):
    """With an inner rate of its own."""

    system: ClassVar[str] = "quadratic"

    rate: float = RATE

    @property
    def name(self):
        return "quadratic"


class QuadraticSystem:
    """One step of gradient descent on half the squared distance of every weight to the target."""

    metric_labels = {"distance": "distance"}  # noqa: RUF012
    constants = np.arange(5, dtype=np.float32)

    def __init__(self, make_optimizer=lambda: Adam(1e-3), seed=0, rate=RATE):
        self._rate = rate
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
        adapted = tf.nest.map_structure(lambda w: w - self._rate * (w - task), weights)
        after = (carried[0] + tf.stack([task, task**2]),)
        distance = tf.add_n([tf.reduce_sum(tf.abs(w - task)) for w in tf.nest.flatten(weights)])
        return system.Adapted(adapted, after, {"distance": distance})

    def pictures(self, constants):
        """The first weights, coarsely, below a white line that stands for a support."""
        bytes_of_weights = self.meta_weights["second"][0].numpy()[:4].view(np.uint8)
        rows = np.stack([np.full(16, 255, np.uint8), bytes_of_weights])
        yield Image.fromarray(rows).convert("RGB")

    def report(self, constants):
        return {"mean": float(tf.reduce_mean(self.meta_weights["second"][0]))}
