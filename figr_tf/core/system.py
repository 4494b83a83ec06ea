"""The contract between a system and the core: what Reptile asks of whatever it meta-trains.

A system is one kind of few-shot learner, such as FIGR's pair of networks or a classifier. It knows
its networks, its data and its inner loop. The core knows none of them: it adapts copies of the
meta-weights Φ to tasks, moves Φ towards what comes out, and keeps the run on disk.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import tensorflow as tf
from PIL import Image

# The weights of every group, in the order of its variables: {"generator": (w0, w1, …), …}.
Weights = dict[str, tuple[tf.Tensor, ...]]


class Adapted(NamedTuple):
    """What an inner loop gives back.

    Attributes:
        weights: W, the adapted copies of Φ.
        carried: the carried state (see `System.carried`) after the task, nested like it.
        metrics: float32 [] by the names in `System.metric_labels`.
    """

    weights: Weights
    carried: tuple[tf.Tensor, ...]
    metrics: dict[str, tf.Tensor]


class Optimizer(Protocol):
    """An outer optimiser of one group, see `optimizers`."""

    learning_rate: tf.Variable

    def build(self, variables: Sequence[tf.Variable]) -> None:
        """Makes its own variables for these."""

    @property
    def variables(self) -> Sequence[tf.Variable]:
        """All of its state, in a fixed order."""

    def apply(self, gradients: Sequence[tf.Tensor], variables: Sequence[tf.Variable]) -> None:
        """One step of descent: changes `variables` in place."""


class System(Protocol):
    """What is meta-trained.

    Attributes:
        meta_weights: Φ by group; each group has an outer optimiser of its own.
        carried: the carried state: variables that go on from task to task beside Φ, and that no
            outer optimiser moves. The classifier carries the second moments of its inner Adam; FIGR
            carries nothing. Each task starts from the state before the meta-step. The meta-step
            then adds up what its tasks changed, so that neither their order nor replicas matter.
        constants: nested arrays that training reads and never changes, such as all training images.
            The core puts a copy on each device once, and hands that copy to the methods below. In
            the graph they are inputs: as constants of the graph they would make it as large.
        metric_labels: name of each metric → what the terminal calls it.
    """

    @property
    def meta_weights(self) -> Mapping[str, Sequence[tf.Variable]]:
        """Φ by group, as variables."""

    @property
    def carried(self) -> Sequence[tf.Variable]:
        """Variables that go on from task to task; usually none."""

    @property
    def constants(self) -> Any:
        """Nested arrays that training reads and never changes."""

    @property
    def metric_labels(self) -> Mapping[str, str]:
        """Metrics of `adapt`, and their names on the terminal."""

    def make_optimizer(self) -> Optimizer:
        """A new outer optimiser, for one group."""

    def draw_task(self, constants: Any, seed: tf.Tensor) -> Any:
        """One task as nested tensors, drawn on the device; `seed` is int32 [2]."""

    def adapt(
        self, weights: Weights, carried: tuple[tf.Tensor, ...], task: Any, seed: tf.Tensor
    ) -> Adapted:
        """The inner loop: K steps on one task. Nothing is changed in place; `seed` is int32 [2]."""

    def pictures(self, constants: Any) -> Iterator[Image.Image]:
        """Held-out tasks as they come out now, one picture each, the same tasks every time."""

    def report(self, constants: Any) -> dict[str, float]:
        """Numbers about held-out tasks, measured at the same times; empty if there are none."""
