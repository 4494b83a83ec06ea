"""FIGR as the core sees it: two groups of weights, a class's drawings as a task, and `adapt`."""

import dataclasses
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_common import image_grid, scaling
from figr_tf.core import system
from figr_tf.core.optimizers import Adam
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.data.datasets import Dataset
from figr_tf.data.tasks import TaskSampler
from figr_tf.gan.adaptation import Weights, adapt_with_losses, start
from figr_tf.gan.augmentation import Augmentation
from figr_tf.gan.generation import FewShotModel
from figr_tf.gan.networks import build_networks, meta_weights
from figr_tf.gan.settings import Settings

_GRID_TASKS = 6
_GRID_ROWS = 3  # Of samples below the support set, as in the paper's figures.


class FigrSystem:
    """FIGR (Clouâtre & Demers 2019) for `core.training`; see `core.system.System`.

    Attributes:
        networks: generator and discriminator; they hold Φ.
    """

    metric_labels: Mapping[str, str] = MappingProxyType(
        {"discriminator_loss": "D", "generator_loss": "G", "gradient_penalty": "penalty"}
    )
    carried: tuple[tf.Variable, ...] = ()

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        compiled: bool = False,
        augmentation: Augmentation | None = None,
    ):
        """Builds the networks and uploads nothing; `constants` are the images.

        Args:
            compiled: whether XLA compiles the pictures' adaptation, as it does the meta-step.
            augmentation: what replaces a support set before it is adapted to; None: nothing.
        """
        self._settings = settings
        # The average over the inner steps is for drawing; training has no use for it.
        self._training_inner = dataclasses.replace(settings.inner, average_decay=0.0)
        self.networks = build_networks(settings.network, settings.seed)
        self.meta_weights = meta_weights(self.networks)
        self._model = FewShotModel(self.networks, settings, 0, augmentation)
        data, split = dataset
        self.constants = data.images
        self._training = TaskSampler(
            data, split.training, settings.task_pool or settings.num_shots, settings.class_rotations
        )
        # A task of training may draw from more drawings than n; a held-out one has n.
        self._held_out = TaskSampler(data, split.held_out, settings.num_shots)
        # No autograph: there is nothing for it to convert, and it would read the source file at the
        # first picture, when a pull may have changed it under a run that has gone on for hours.
        self._samples = tf.function(self._draw_samples, autograph=False, jit_compile=compiled)

    def make_optimizer(self) -> Adam:
        """The paper's: Adam on Φ − W."""
        return Adam(self._settings.meta_learning_rate)

    def draw_task(self, constants: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Drawings of a random training class, [`task_pool` or n, H, W, C] in [−1, 1]."""
        return self._training.random_support_images(constants, seed)

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: tf.Tensor,
        seed: tf.Tensor,
    ) -> system.Adapted:
        """Algorithm 1, the lines that are repeated K times."""
        settings = self._settings
        adapted, losses = adapt_with_losses(
            self.networks,
            start(Weights(**weights), self._training_inner),
            task,
            settings.num_inner_steps,
            self._training_inner,
            seed,
        )
        metrics = {
            "discriminator_loss": losses.discriminator,
            "generator_loss": losses.generator,
            "gradient_penalty": losses.gradient_penalty,
        }
        return system.Adapted(adapted.weights._asdict(), carried, metrics)

    def _draw_samples(self, support_images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        settings = self._settings
        num_samples = _GRID_ROWS * settings.num_shots
        return self._model.sample(support_images, settings.num_inner_steps, num_samples, seed)

    def pictures(self, constants: tf.Tensor) -> Iterator[Image.Image]:
        """Fixed held-out classes, adapted to with fixed seeds, as in the paper's figures."""
        num_classes = len(self._held_out.class_names)
        # Spread over all classes, which stand in the order of their names.
        chosen = np.linspace(0, num_classes - 1, min(_GRID_TASKS, num_classes)).round().astype(int)
        for index in chosen.tolist():
            seed = stateless_seed(self._settings.seed, EVALUATION, index)
            support = self._held_out.support_images(constants, index, seed)
            # The user seed is the class' number, so that a picture is the same in every run.
            samples = self._samples(support, tf.constant(index, tf.int64))
            yield image_grid.task_picture(
                scaling.signed_to_uint8(support.numpy()), scaling.signed_to_uint8(samples.numpy())
            )

    def report(self, constants: Any) -> dict[str, float]:
        """None: what a GAN's samples are worth takes minutes, see `figr_tf.evaluate`."""
        return {}
