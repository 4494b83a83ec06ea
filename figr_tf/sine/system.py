"""Sine waves, the regression of OpenAI's Reptile post (2018): what a system is, in one page.

A task is one wave. Its amplitude is drawn from [0.1, 5] and its phase from [0, 2π]. The network
sees y = amplitude · sin(x + phase) at 50 points x in [−5, 5].
"""

import dataclasses
import io
import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from figr_tf.core import inner_loop, system
from figr_tf.core.optimizers import Interpolation
from figr_tf.core.random import EVALUATION, split, stateless_seed
from figr_tf.core.settings import TrainingSettings

NUM_POINTS = 50
NUM_GIVEN = 10  # Points of a batch in training, and all that a held-out task shows.
NUM_TEST_STEPS = 32
_NUM_TEST_TASKS = 1_000
_SHOWN_STEPS = (0, 8, 16, 24, 32)

Layers = tuple[tf.Tensor, ...]  # Kernel [in, out], bias [1, out], kernel, bias, …


@dataclasses.dataclass(frozen=True, kw_only=True)
class SineSettings(TrainingSettings):
    """The published setting. See `core.settings` for what every system has.

    Attributes:
        width: units of both hidden layers.
        inner_learning_rate: of the plain SGD steps.
    """

    system: ClassVar[str] = "sine"

    width: int = 64
    inner_learning_rate: float = 0.02
    meta_learning_rate: float = 0.1
    anneal_meta_learning_rate: bool = True
    num_meta_steps: int = 30_000
    log_every: int = 5_000
    eval_every: int = 30_000
    checkpoint_every: int = 10_000
    # A call costs a millisecond or two, more than a meta-step of this small network.
    meta_steps_per_call: int = 500

    @property
    def name(self) -> str:
        """What a numbered run folder is called."""
        return "sine"


class Waves(NamedTuple):
    """Sine waves: amplitude and phase, [] for one or [T, 1, 1] for T of them."""

    amplitude: tf.Tensor
    phase: tf.Tensor

    def at(self, x: tf.Tensor) -> tf.Tensor:
        """Their values at x [..., B, 1]."""
        return self.amplitude * tf.sin(x + self.phase)


def draw_waves(shape: list[int], seed: tf.Tensor) -> Waves:
    """Random tasks; `seed` is int32 [2]."""
    # Amplitudes from 0.1 to 5 and all phases, as Nichol et al. 2018 draw them.
    amplitude_seed, phase_seed = split(seed, 2)
    return Waves(
        tf.random.stateless_uniform(shape, amplitude_seed, 0.1, 5.0, alg="philox"),
        tf.random.stateless_uniform(shape, phase_seed, 0.0, 2 * np.pi, alg="philox"),
    )


def network_output(layers: Layers, x: tf.Tensor) -> tf.Tensor:
    """The network: tanh between linear layers. [..., B, 1] → [..., B, 1]."""
    # The last layer is linear: a wave may be higher than tanh's 1.
    *hidden, kernel, bias = layers
    for k, b in zip(hidden[::2], hidden[1::2], strict=True):
        x = tf.tanh(x @ k + b)
    return x @ kernel + bias


def descend(layers: Layers, x: tf.Tensor, y: tf.Tensor, rate: float) -> tuple[Layers, tf.Tensor]:
    """One SGD step on the mean squared error of a batch; also returns that error.

    With a leading axis of tasks in everything, each task takes a step of its own.
    """
    with tf.GradientTape() as tape:
        tape.watch(layers)
        loss = tf.reduce_mean(tf.square(network_output(layers, x) - y), [-2, -1])
    gradients = tape.gradient(loss, layers)
    return tuple(w - rate * g for w, g in zip(layers, gradients, strict=True)), loss


class SineSystem:
    """The network and its tasks, for `core.training`; see `core.system.System`."""

    metric_labels: Mapping[str, str] = MappingProxyType({"loss": "loss"})
    carried: tuple[tf.Variable, ...] = ()

    def __init__(self, settings: SineSettings):
        self._settings = settings
        self.constants = np.linspace(-5.0, 5.0, NUM_POINTS, dtype=np.float32)[:, None]
        # Kept for the plot, which shows what the same network does without meta-training.
        self.untrained = _initial_layers(settings)
        self.meta_weights = {"network": [tf.Variable(w) for w in self.untrained]}

    def make_optimizer(self) -> Interpolation:
        """Φ ← Φ + ε(W − Φ), with ε falling from 0.1 to 0."""
        return Interpolation(self._settings.meta_learning_rate)

    def draw_task(self, constants: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The points of one wave: x and y, [50, 1] each."""
        return constants, draw_waves([], seed).at(constants)

    def adapt(
        self,
        weights: system.Weights,
        carried: tuple[tf.Tensor, ...],
        task: tuple[tf.Tensor, tf.Tensor],
        seed: tf.Tensor,
    ) -> system.Adapted:
        """One epoch: five batches of ten points, each point once."""
        x, y = task
        # Ranks of random numbers: a random order without a state.
        order = tf.argsort(tf.random.stateless_uniform([NUM_POINTS], seed, alg="philox"))
        batches = tf.reshape(order, [-1, NUM_GIVEN])

        def one_step(k, state):
            batch = tf.gather(batches, k)
            layers, _ = state
            rate = self._settings.inner_learning_rate
            return descend(layers, tf.gather(x, batch), tf.gather(y, batch), rate)

        # The error goes from step to step too, so that the last one can be shown.
        start = weights["network"], tf.constant(0.0)
        layers, loss = inner_loop.repeat(one_step, start, NUM_POINTS // NUM_GIVEN)
        return system.Adapted({"network": layers}, carried, {"loss": loss})

    def adapt_to_points(self, layers: Layers, x: tf.Tensor, y: tf.Tensor, num_steps: int) -> Layers:
        """What happens on a held-out task: full-batch steps on the given points."""
        rate = self._settings.inner_learning_rate
        return inner_loop.repeat(lambda _, w: descend(w, x, y, rate)[0], layers, num_steps)

    def report(self, constants: Any) -> dict[str, float]:
        """Mean squared error over 1,000 held-out waves, before and after adapting to ten points."""
        layers = tuple(v.read_value() for v in self.meta_weights["network"])
        return {f"error_after_{k}": self.test_error(layers, k) for k in (0, 8, NUM_TEST_STEPS)}

    def test_error(self, layers: Layers, num_steps: int) -> float:
        """Mean squared error at all 50 points, mean over 1,000 waves, all adapted side by side."""
        waves = draw_waves([_NUM_TEST_TASKS, 1, 1], self._test_seed(0))
        x = tf.constant(self.constants)
        given = tf.gather(x, self._given_points(_NUM_TEST_TASKS))
        # A copy of the network for each task, so that one loop adapts them all.
        each = tuple(tf.broadcast_to(w, [_NUM_TEST_TASKS, *w.shape]) for w in layers)
        adapt = tf.function(self.adapt_to_points, autograph=False)
        adapted = adapt(each, given, waves.at(given), tf.constant(num_steps))
        return float(
            tf.reduce_mean(tf.square(network_output(adapted, x[tf.newaxis]) - waves.at(x)))
        )

    def _test_seed(self, stream: int) -> tf.Tensor:
        return stateless_seed(self._settings.seed, EVALUATION, stream)

    def _given_points(self, num_tasks: int) -> tf.Tensor:
        """int32 [T, 10]: ten different points of each of `num_tasks` tasks."""
        ranks = tf.random.stateless_uniform(
            [num_tasks, NUM_POINTS], self._test_seed(1), alg="philox"
        )
        return tf.argsort(ranks)[:, :NUM_GIVEN]

    def pictures(self, constants: Any) -> Iterator[Image.Image]:
        """The post's plot: ten points of one wave, and the curve as the network adapts to them.

        Beside it the same for a network that was never trained.
        """
        from matplotlib.figure import Figure  # Here, since it takes a second to import.

        x = tf.constant(self.constants)
        # One wave for all runs, so that their pictures compare.
        wave = Waves(tf.constant(4.0), tf.constant(1.0))
        given = tf.gather(x, self._given_points(1)[0])
        trained = tuple(v.read_value() for v in self.meta_weights["network"])
        figure = Figure(figsize=(10, 4), layout="constrained")
        starts = {"meta-trained": trained, "untrained": self.untrained}
        for axes, (label, layers) in zip(figure.subplots(1, 2), starts.items(), strict=True):
            axes.set(title=label, xlabel="x", ylabel="y", ylim=(-6, 6))
            axes.plot(x[:, 0], wave.at(x)[:, 0], "k", label="wave")
            for k in _SHOWN_STEPS:
                adapted = self.adapt_to_points(layers, given, wave.at(given), k)
                shade = f"C{_SHOWN_STEPS.index(k)}"
                axes.plot(
                    x[:, 0], network_output(adapted, x)[:, 0], shade, label=f"after {k} steps"
                )
            axes.plot(given[:, 0], wave.at(given)[:, 0], "kx", label="given")
        axes.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=100)
        yield Image.open(data).convert("RGB")


def _initial_layers(settings: SineSettings) -> Layers:
    """Uniform in ±1/√fan_in, kernels and biases alike."""
    sizes = (1, settings.width, settings.width, 1)
    layers: list[tf.Tensor] = []
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        limit = fan_in**-0.5
        seeds = split(stateless_seed(settings.seed, i), 2)
        for shape, seed in zip(([fan_in, fan_out], [1, fan_out]), seeds, strict=True):
            layers.append(tf.random.stateless_uniform(shape, seed, -limit, limit, alg="philox"))
    return tuple(layers)
