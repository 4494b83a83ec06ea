"""The classifier as the core sees it: one group of weights, N-way tasks, and moments that go on."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_common import image_grid
from figr_tf.classifier import episodes, networks, prediction
from figr_tf.classifier.adaptation import State
from figr_tf.classifier.episodes import Drawings, TaskForm
from figr_tf.classifier.prediction import Accuracy, num_right
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.core import command, system
from figr_tf.core.optimizers import Interpolation
from figr_tf.core.random import EVALUATION, stateless_seed
from figr_tf.data.datasets import Dataset, load_dataset

_REPORT_TASKS, _SHOWN_TASKS = 100, 4


class ClassifierSystem:
    """Reptile on N-way classification, for `core.training`; see `core.system.System`."""

    metric_labels: Mapping[str, str] = MappingProxyType({"loss": "loss"})

    def __init__(self, settings: ClassifierSettings, dataset: Dataset):
        self._settings = settings
        training = episodes.drawings_of(dataset, dataset.split.training)
        if settings.class_rotations:
            training = episodes.with_turns(training)
        self._held_out = episodes.drawings_of(dataset, dataset.split.held_out)
        # Only what is trained on goes to the devices. Held-out images are taken a task at a time.
        self.constants = training
        self._form = TaskForm(
            settings.network.num_classes,
            settings.train_shots,
            len(training.counts),
            # Known here, since the shapes of a compiled graph may not depend on the class drawn.
            int(training.counts.max()),
        )
        self._learner = settings.learner()
        self._predictor = prediction.Predictor(
            settings.held_out_learner(), settings.network.image_shape
        )
        self._variables = initial_variables(settings)
        self.meta_weights = {"network": self._variables.layers}
        self.carried = self._variables.carried

    def make_optimizer(self) -> Interpolation:
        """Φ ← Φ + ε(W − Φ)."""
        return Interpolation(self._settings.meta_learning_rate)

    def draw_task(self, constants: Drawings, seed: tf.Tensor) -> tf.Tensor:
        """Images of random training classes: [classes, shots, S, S, C] in [0, 1]."""
        return episodes.draw_images(constants, self._form, seed)

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: tf.Tensor,
        seed: tf.Tensor,
    ) -> system.Adapted:
        """K steps (arXiv:1803.02999, Algorithm 1); with FOML, W = Φ + the last step's change."""
        # The zero is the place of the loss, which the first step fills.
        start = State(networks.pack(weights["network"]), carried, tf.constant(0.0))
        learn = self._learn_for_last_step if self._settings.foml else self._learn
        end, adapted = learn(start, task, seed)
        layers = networks.unpack(adapted, self._learner.shapes)
        return system.Adapted({"network": layers}, end.carried, {"loss": end.loss})

    def _learn(self, start: State, task: tf.Tensor, seed: tf.Tensor) -> tuple[State, tf.Tensor]:
        images, labels = episodes.flat(task)
        inner = self._settings.inner
        batches = episodes.minibatches(labels.shape[0], inner.batch_size, inner.num_steps, seed)
        end = self._learner.adapt(start, images, labels, batches)
        return end, end.weights

    def _learn_for_last_step(
        self,
        start: State,
        task: tf.Tensor,
        seed: tf.Tensor,
    ) -> tuple[State, tf.Tensor]:
        settings, learner = self._settings, self._learner
        inner, num_early = settings.inner, settings.train_shots - settings.tail_shots
        images, labels = episodes.flat(task[:, :num_early])
        batches = episodes.minibatches(labels.shape[0], inner.batch_size, inner.num_steps, seed)
        before = learner.adapt(start, images, labels, batches[:-1])
        # With a tail the last step is on images that no step before it has seen. Without one it may
        # see images again, and its gradient then says less about new ones.
        if settings.tail_shots:
            end = learner.inner_step(before, *episodes.flat(task[:, num_early:]))
        else:
            end = learner.adapt(before, images, labels, batches[-1:])
        # As if only the last step had been taken, from Φ: the core's Φ − W is then that step's
        # change.
        return end, start.weights + end.weights - before.weights

    def pictures(self, constants: Any) -> Iterator[Image.Image]:
        """Held-out tasks: an image of each class framed, the queries, what each is taken for."""
        for number in range(_SHOWN_TASKS):
            answers, episode = self._answers(number)
            shown = episode.support[:, 0]
            taken_for = shown[answers.plain.numpy().argmax(-1)]
            below = np.concatenate([episode.queries, taken_for])
            pixels = self._held_out.pixels
            yield image_grid.task_picture(pixels[shown], pixels[below])

    def report(self, constants: Any) -> dict[str, float]:
        """Accuracies in per cent on 100 held-out tasks, with half their 95 % intervals.

        They are rough and stop nothing; `figr_tf.evaluate_classifier` judges.
        """
        every = [self._answers(number)[0] for number in range(_REPORT_TASKS)]
        num_classes = self._settings.network.num_classes
        plain, transductive = (
            Accuracy.of([num_right(answers.numpy()) for answers in column], num_classes)
            for column in ([a.plain for a in every], [a.transductive for a in every])
        )
        return {
            "accuracy": plain.mean,
            "accuracy_margin": plain.margin,
            "accuracy_transductive": transductive.mean,
        }

    def _answers(self, number: int) -> tuple[prediction.Answers, episodes.Episode]:
        settings = self._settings
        # The same tasks whenever it is asked, so that a curve shows the training and not the draw.
        num_classes, num_shots = settings.network.num_classes, settings.num_shots
        episode = episodes.held_out_episode(
            self._held_out,
            num_classes,
            num_shots,
            settings.seed,
            number,
        )
        seed = stateless_seed(settings.seed, EVALUATION, number)
        pixels = self._held_out.pixels
        support, queries = pixels[episode.support], pixels[episode.queries]
        return self._predictor(self._variables.read(), support, queries, seed), episode


class ClassifierVariables(NamedTuple):
    """What a run keeps: Φ, and the second moments with their count (none with SGD)."""

    layers: list[tf.Variable]
    carried: list[tf.Variable]

    def read(self) -> State:
        """As a start for an inner loop."""
        carried = tuple(v.read_value() for v in self.carried)
        layers = [v.read_value() for v in self.layers]
        return State(networks.pack(layers), carried, tf.constant(0.0))


def initial_variables(settings: ClassifierSettings) -> ClassifierVariables:
    """Before any training."""
    # The moments start at 0, as Adam's do; the count of steps corrects for that.
    layers = networks.initial_layers(settings.network, settings.seed)
    carried = []
    if settings.inner.optimizer == "adam":
        carried = [tf.zeros_like(networks.pack(layers)), tf.constant(0.0)]
    return ClassifierVariables(
        [tf.Variable(w) for w in layers],
        [tf.Variable(v, trainable=False) for v in carried],
    )


def prepare(settings: ClassifierSettings, images_per_class: int = 0) -> command.Training:
    """Loads the data of a run and says what is about to be trained.

    Args:
        images_per_class: that a class must have, if it is more than the run's tasks need.

    Raises:
        DataError: see `datasets.load_dataset`; or too few classes for the tasks asked for.
    """
    dataset = load_dataset(settings.data, max(settings.images_per_class, images_per_class))
    network, inner = settings.network, settings.inner
    split, num_classes = dataset.split, network.num_classes
    episodes.require(dataset, split.training, num_classes, settings.train_shots)
    # One more than the shots, for the query.
    episodes.require(dataset, split.held_out, num_classes, settings.num_shots + 1)
    plan = (
        f"{settings.data.dataset}: split {dataset.split.describe()}\n"
        f"{network.num_classes}-way, {network.architecture} network of {network.filters} filters;"
        f" {settings.num_meta_steps} meta-steps of {settings.meta_batch_size} tasks\n"
        f"inner: {inner.num_steps} steps of {inner.optimizer} {inner.learning_rate:g} on"
        f" {inner.batch_size} of {network.num_classes}·{settings.train_shots} images"
        f"{', FOML' if settings.foml else ''}; outer: ε {settings.meta_learning_rate:g}"
    )
    files = {"split.json": dataset.split.to_json()}
    return command.Training(
        settings=settings,
        data_facts=dataset.facts(),
        files=files,
        plan=plan,
        build_system=lambda _: ClassifierSystem(settings, dataset),
    )
