"""All that decides the outcome of training a classifier."""

import dataclasses
import math
from typing import Any, ClassVar

from figr_tf.classifier.adaptation import BETA_2, InnerLoop, Learner
from figr_tf.classifier.networks import NetworkSpec
from figr_tf.core import checks
from figr_tf.core.settings import TrainingSettings
from figr_tf.data.datasets import DataSettings


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClassifierSettings(TrainingSettings):
    """Attributes that are not of every system; defaults are those of openai/supervised-reptile.

    Attributes:
        network: its `num_classes` is that of every task.
        inner: the inner loop of training.
        num_shots: images of each class that a held-out task shows.
        train_shots: the same of a training task.
        tail_shots: of these, images of each class that only the last inner step sees, all at once;
            0: none. For FOML.
        class_rotations: whether a training character turned by 90°, 180° or 270° is a class too.
        foml: whether Φ moves by the last inner step's change alone (arXiv:1803.02999, section 5).
        eval_batch_size, eval_inner_steps: of the inner loop on held-out tasks.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    system: ClassVar[str] = "classifier"
    not_identity: ClassVar[tuple[str, ...]] = (
        *TrainingSettings.not_identity,
        "data.data_dir",
        "data.cache_dir",
        # What a run is judged by does not change its weights.
        "num_shots",
        "eval_batch_size",
        "eval_inner_steps",
    )

    data: DataSettings = dataclasses.field(default_factory=lambda: DataSettings(image_size=28))
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    inner: InnerLoop = dataclasses.field(default_factory=InnerLoop)
    num_shots: int = 5
    train_shots: int = 5
    tail_shots: int = 0
    class_rotations: bool = True
    foml: bool = False
    eval_batch_size: int = 5
    eval_inner_steps: int = 50
    meta_learning_rate: float = 0.1
    num_meta_steps: int = 400_000

    def __post_init__(self):
        super().__post_init__()
        checks.at_least(self, 1, "num_shots", "train_shots", "eval_batch_size", "eval_inner_steps")
        data, network = self.data, self.network
        if (data.image_size, data.channels) != (network.image_size, network.channels):
            raise ValueError("data and network must agree on image_size and channels")
        if self.tail_shots and not (self.foml and self.inner.num_steps > 1):
            raise ValueError(
                "tail_shots are for the last of several inner steps of foml. Received:"
                f" foml={self.foml}, num_inner_steps={self.inner.num_steps}"
            )
        if not 0 <= self.tail_shots < self.train_shots:
            raise ValueError(
                f"tail_shots must leave some train_shots. Received: {self.tail_shots} of"
                f" {self.train_shots}, which leaves none for the steps before the last."
            )
        if self.inner.optimizer == "adam":
            self._check_moments()

    def _check_moments(self) -> None:
        """Each task adds its own change to the moments, which must not fall below 0 from that."""
        # A task takes 1 − β2^K of a moment away where all its gradients are 0, and never more.
        forgotten, tasks = 1.0 - BETA_2**self.inner.num_steps, self.meta_batch_size
        if tasks * forgotten >= 1:
            room = math.ceil(math.log(1.0 - 1.0 / tasks, BETA_2)) - 1
            raise ValueError(
                "Adam's second moments are kept from task to task, and a meta-step with so many"
                f" inner steps would make them negative: {tasks} tasks leave room for {room}."
                f" Lower num_inner_steps or meta_batch_size. Received: {self.inner.num_steps}"
            )

    @property
    def name(self) -> str:
        """Such as "omniglot-5way"."""
        return f"{self.data.dataset}-{self.network.num_classes}way"

    @property
    def images_per_class(self) -> int:
        """The least that a class needs; smaller ones are left out of the data."""
        return max(self.train_shots, self.num_shots + 1)

    def learner(self) -> Learner:
        """The network with the inner loop of training."""
        return Learner(self.network.architecture, self.network.shapes(), self.inner)

    def held_out_learner(self) -> Learner:
        """The network with the inner loop for held-out tasks."""
        inner = dataclasses.replace(
            self.inner,
            batch_size=self.eval_batch_size,
            num_steps=self.eval_inner_steps,
        )
        return self.learner()._replace(inner=inner)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "ClassifierSettings":
        """Settings as a run recorded them."""
        nested = {
            "data": DataSettings.from_dict(fields["data"]),
            "network": NetworkSpec(**fields["network"]),
            "inner": InnerLoop(**fields["inner"]),
        }
        return cls(**fields | nested)
