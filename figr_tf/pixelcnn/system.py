"""The density model as the core sees it: one group of weights, and tasks of one class each."""

from collections.abc import Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_common import image_grid
from figr_tf.core import command, system
from figr_tf.core.errors import UserError, listing
from figr_tf.core.optimizers import Adam
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.data.datasets import Dataset, load_dataset
from figr_tf.pixelcnn import adaptation, drawings, networks
from figr_tf.pixelcnn.drawings import Drawings, TaskForm
from figr_tf.pixelcnn.prediction import Predictor
from figr_tf.pixelcnn.settings import PixelCnnSettings

_REPORT_TASKS, _SHOWN_TASKS, _SHOWN_SAMPLES = 40, 4, 8


class PixelCnnSystem:
    """Reptile on the density of one class after another; see `core.system.System`."""

    metric_labels: Mapping[str, str] = MappingProxyType({"nats": "nats/pixel"})
    carried: tuple[tf.Variable, ...] = ()

    def __init__(
        self, settings: PixelCnnSettings, dataset: Dataset, start: networks.Weights | None = None
    ):
        """start: weights by name to begin with; what they lack is as without them."""
        self._settings = settings
        training = drawings.drawings_of(dataset, dataset.split.training)
        self._held_out = drawings.drawings_of(dataset, dataset.split.held_out)
        self.constants = training
        counts = training.counts
        self._form = TaskForm(settings.train_shots, len(counts), int(counts.max()))
        self._predictor = Predictor(settings.network, settings.max_shift)
        weights = networks.initial_weights(settings.network, settings.seed) | dict(start or {})
        self._names = list(weights)
        self.meta_weights = {"network": [tf.Variable(w) for w in weights.values()]}

    def make_optimizer(self) -> Adam:
        """Adam on Φ − W: joint training at K = 1 is then what is usual for such networks."""
        return Adam(self._settings.meta_learning_rate)

    def draw_task(self, constants: Drawings, seed: tf.Tensor) -> tf.Tensor:
        """Drawings of a random training class, float32 [train_shots, S, S], ink 1."""
        return drawings.draw_task(constants, self._form, seed)

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: tf.Tensor,
        seed: tf.Tensor,
    ) -> system.Adapted:
        """K steps. A network with a condition sees n of the drawings and descends on others."""
        settings = self._settings
        support, images = task[: settings.num_shots], task[-settings.trained_on :]
        batches = drawings.minibatches(
            settings.trained_on, settings.batch_size, settings.num_inner_steps, seed
        )
        named = dict(zip(self._names, weights["network"], strict=True))
        descent = adaptation.Descent(settings.inner_learning_rate, seed, settings.max_shift)
        end = adaptation.adapt(settings.network, named, images, support, batches, descent)
        adapted = tuple(end.weights[name] for name in self._names)
        return system.Adapted({"network": adapted}, carried, {"nats": end.loss})

    def named_weights(self) -> dict[str, tf.Tensor]:
        """Φ by name."""
        values = (v.read_value() for v in self.meta_weights["network"])
        return dict(zip(self._names, values, strict=True))

    def pictures(self, constants: Any) -> Iterator[Image.Image]:
        """Held-out tasks: the support framed, samples of the adapted model below it."""
        for number in range(min(_SHOWN_TASKS, len(self._held_out.counts))):
            support, _ = self._task(number)
            seed = stateless_seed(self._settings.seed, EVALUATION, number)
            weights = self._adapted(support, number)
            samples = self._predictor.draw(weights, support, _SHOWN_SAMPLES, seed)
            shown = drawings.to_pixels(support), drawings.to_pixels(samples.images)
            yield image_grid.task_picture(*shown)

    def report(self, constants: Any) -> dict[str, float]:
        """Nats per pixel of other drawings of 40 held-out classes.

        It is rough and stops nothing; `figr_tf.evaluate_pixelcnn` judges.
        """
        before, after = [], []
        for number in range(min(_REPORT_TASKS, len(self._held_out.counts))):
            support, others = self._task(number)
            weights = self.named_weights()
            before.append(self._predictor.nats(weights, support, others).mean())
            if not self._settings.is_conditional:
                adapted = self._adapted(support, number)
                after.append(self._predictor.nats(adapted, support, others).mean())
        found = {"nats": float(np.mean(before))}
        return found | ({"nats_adapted": float(np.mean(after))} if after else {})

    def _task(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """The support of a held-out class and its other drawings; classes lie far apart."""
        step = max(1, len(self._held_out.counts) // _REPORT_TASKS)
        every = self._held_out.of(number * step)
        return every[: self._settings.num_shots], every[self._settings.num_shots :]

    def _adapted(self, support: np.ndarray, number: int) -> networks.Weights:
        settings, weights = self._settings, self.named_weights()
        if settings.is_conditional:
            return weights
        # A stream of its own, see `PixelCnnModel.adapted`.
        seed = stateless_seed(settings.seed, EVALUATION, number, 0)
        steps = range(settings.eval_inner_steps)
        return self._predictor.adapt(weights, support, settings.eval_learning_rate, seed, steps)


def prepare(
    settings: PixelCnnSettings,
    start: networks.Weights | None = None,
    seen: Collection[str] = (),
) -> command.Training:
    """Loads the data of a run and says what is about to be trained.

    Args:
        start: see `PixelCnnSystem`.
        seen: classes of this data set that those weights were trained on.

    Raises:
        DataError: see `datasets.load_dataset`.
        UserError: some of them are held out.
    """
    dataset = load_dataset(settings.data, settings.images_per_class)
    if known := sorted(set(seen) & set(dataset.split.held_out)):
        raise UserError(
            f"--start: was trained on {len(known)} of the held-out classes: {listing(known)}. Begin"
            " with a run of the same split."
        )
    network = settings.network
    kind = {"none": "density model", "features": "conditional on the support's features"}
    plan = (
        f"{settings.data.dataset}: split {dataset.split.describe()}\n"
        f"{network.image_size}×{network.image_size} pixels,"
        f" {kind.get(network.condition, 'with attention to the support')},"
        f" {network.planes} planes; {settings.num_meta_steps} meta-steps of"
        f" {settings.meta_batch_size} tasks\n"
        f"inner: {settings.num_inner_steps} steps of SGD {settings.inner_learning_rate:g} on"
        f" {settings.batch_size} of {settings.trained_on} drawings; outer: Adam"
        f" {settings.meta_learning_rate:g}"
    )
    return command.Training(
        settings,
        dataset.facts(),
        {"split.json": dataset.split.to_json()},
        plan,
        lambda _: PixelCnnSystem(settings, dataset, start),
    )
