"""The redrawing network as the core sees it: a task is a batch of classes, the inner loop one step.

With a single SGD step of rate 1, Φ − W is the gradient of the loss, so that Reptile is plain
training by the outer optimiser. There is nothing to adapt to here; the loop is the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_common import image_grid, scaling
from figr_tf.core import system
from figr_tf.core.optimizers import Adam
from figr_tf.core.random import EVALUATION, split, stateless_seed
from figr_tf.data.datasets import Dataset
from figr_tf.warp import energy
from figr_tf.warp.generator import random_draw
from figr_tf.warp.settings import WarpSettings

_GRADIENT_NORM = 5.0
# As floats all of Omniglot's training drawings, in four turns, would take 0.3 GB at once.
_EMBED_BATCH = 1000
_MOST_DRAWINGS = 64  # Of a class.
_BASELINE_TASKS = 400
_SHOWN_TASKS, _SHOWN_SAMPLES = 6, 12


class Batch(NamedTuple):
    """T tasks: support ink [T, n, S, S], and features of the classes' other drawings [T, r, d]."""

    support_ink: tf.Tensor
    others: tf.Tensor


class Drawings(NamedTuple):
    """All training drawings in four turns, turn by turn.

    Attributes:
        pixels: uint8 [4 · classes, count, S, S].
        features: float32 [4 · classes, count, d], the blur features of each.
    """

    pixels: np.ndarray
    features: np.ndarray


class WarpSystem:
    """A network that redraws its support, for `core.training`; see `core.system.System`.

    It learns from the energy distance of its samples to drawings of the class outside the support.

    Attributes:
        generator: holds the weights.
    """

    metric_labels: Mapping[str, str] = MappingProxyType({"skill_blur": "skill (blur)"})
    carried: tuple[tf.Variable, ...] = ()

    def __init__(self, settings: WarpSettings, dataset: Dataset):
        """Turns and embeds all training drawings, which takes some seconds."""
        self._settings = settings
        self._space = energy.BlurSpace(settings.data.image_size)
        upright = _drawings(dataset, dataset.split.training, settings.num_shots)
        self._num_classes, self._count = upright.shape[:2]
        turned = np.concatenate([np.rot90(upright, k, axes=(2, 3)) for k in range(4)])
        self.constants = Drawings(turned, self._embed(turned))
        self._held_out = _drawings(dataset, dataset.split.held_out, settings.num_shots)
        # What copying costs on these classes is the unit of the loss.
        real = self.draw_task(self.constants, stateless_seed(settings.seed), _BASELINE_TASKS, 0)
        self._copying = energy.copying(real.others, settings.num_shots)
        self.generator = settings.build_generator()
        self.meta_weights = {"generator": [v.value for v in self.generator.trainable_variables]}

    def make_optimizer(self) -> Adam:
        """Adam with the shorter memory that 4,000 steps need."""
        return Adam(self._settings.meta_learning_rate, beta_2=0.99)

    def _embed(self, drawings: np.ndarray) -> np.ndarray:
        flat = drawings.reshape(-1, *drawings.shape[2:])
        embed = tf.function(lambda x: self._space(_ink(x)), autograph=False, reduce_retracing=True)
        starts = range(0, len(flat), _EMBED_BATCH)
        parts = [embed(tf.constant(flat[i : i + _EMBED_BATCH])).numpy() for i in starts]
        return np.concatenate(parts).reshape(*drawings.shape[:2], -1)

    def draw_task(
        self,
        constants: Drawings,
        seed: tf.Tensor,
        num_tasks: int | None = None,
        num_shots: int | None = None,
    ) -> Batch:
        """A batch of random training classes; see `core.system.System.draw_task`."""
        settings = self._settings
        num_tasks = settings.num_tasks if num_tasks is None else num_tasks
        num_shots = settings.num_shots if num_shots is None else num_shots
        seeds = split(seed, 4)
        turned = tf.random.stateless_uniform([num_tasks], seeds[0], alg="philox")
        turns = tf.random.stateless_uniform([num_tasks], seeds[1], 1, 4, tf.int32, "philox")
        # Most tasks stay upright: turned classes teach something slightly wrong (docs/traps.md).
        turns = tf.where(turned >= settings.upright_share, turns, 0)
        classes = tf.random.stateless_uniform(
            [num_tasks], seeds[2], 0, self._num_classes, tf.int32, "philox"
        )
        # The turned classes lie behind the upright ones, a block for each turn.
        classes += turns * self._num_classes
        ranks = tf.random.stateless_uniform([num_tasks, self._count], seeds[3], alg="philox")
        order = tf.argsort(ranks)
        # The rest is what samples are compared with; no drawing is in both.
        support, rest = order[:, :num_shots], order[:, num_shots:]
        return Batch(
            _ink(tf.gather(tf.gather(constants.pixels, classes), support, batch_dims=1)),
            tf.gather(tf.gather(constants.features, classes), rest, batch_dims=1),
        )

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: Batch,
        seed: tf.Tensor,
    ) -> system.Adapted:
        """One step of plain SGD with rate 1 down the energy distance, as a share of copying's."""
        settings = self._settings
        shape = [settings.num_tasks, settings.num_samples]
        draw = random_draw(shape, settings.latent_dim, settings.num_shots, seed)
        with tf.GradientTape() as tape:
            tape.watch(weights["generator"])
            ink, _ = self.generator.stateless_call(
                weights["generator"],
                [],
                (task.support_ink, draw),
            )
            embedded = self._space(tf.reshape(ink, [-1, *task.support_ink.shape[2:]]))
            distance = energy.energy_distance(tf.reshape(embedded, [*shape, -1]), task.others)
            loss = tf.reduce_mean(distance) / self._copying
        gradients = tape.gradient(loss, weights["generator"])
        gradients, _ = tf.clip_by_global_norm(gradients, _GRADIENT_NORM)
        # With rate 1 the core's Φ − W is the clipped gradient itself.
        stepped = tuple(w - g for w, g in zip(weights["generator"], gradients, strict=True))
        return system.Adapted({"generator": stepped}, carried, {"skill_blur": 1.0 - loss})

    def pictures(self, constants: Any) -> Iterator[Image.Image]:
        """Fixed held-out classes, redrawn with fixed seeds."""
        settings = self._settings
        shown = np.linspace(0, len(self._held_out) - 1, min(_SHOWN_TASKS, len(self._held_out)))
        for index in shown.round().astype(int).tolist():
            support = self._held_out[index, : settings.num_shots]
            seed = stateless_seed(settings.seed, EVALUATION, index)
            draw = random_draw([1, _SHOWN_SAMPLES], settings.latent_dim, settings.num_shots, seed)
            ink = self.generator((_ink(support)[tf.newaxis], draw))[0].numpy()
            samples = scaling.unit_to_uint8(1.0 - ink)
            yield image_grid.task_picture(support[..., None], samples[..., None])

    def report(self, constants: Any) -> dict[str, float]:
        """None: `figr_tf.evaluate` judges it."""
        return {}


def num_drawings(dataset: Dataset, class_names: Sequence[str], num_shots: int) -> int:
    """How many drawings of each class are used: as many as the smallest has, 64 at most.

    n + 2, which the energy distance needs, where that is more.
    """
    # The distance is of all pairs: with a class of thousands it would not fit into memory.
    most = max(_MOST_DRAWINGS, num_shots + 2)
    return min(most, *(dataset.data.counts[name] for name in class_names))


def _drawings(dataset: Dataset, class_names: tuple[str, ...], num_shots: int) -> np.ndarray:
    """uint8 [classes, count, S, S]."""
    count = num_drawings(dataset, class_names, num_shots)
    images = dataset.images_of(class_names).values()
    return np.stack([drawings[spread(len(drawings), count), ..., 0] for drawings in images])


def spread(size: int, count: int) -> np.ndarray:
    """`count` of the numbers below `size`, evenly from the first to the last.

    Drawings stand in the order of their names, and those of one hand or icon set beside each other.
    """
    return np.linspace(0, size - 1, count).round().astype(int)


def _ink(pixels: tf.Tensor | np.ndarray) -> tf.Tensor:
    """uint8, dark ink → float32 in [0, 1], ink 1."""
    return 1.0 - scaling.bytes_to_unit(tf.cast(pixels, tf.float32))
