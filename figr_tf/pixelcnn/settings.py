"""All that decides the outcome of training a density model."""

import dataclasses
from typing import Any, ClassVar

from figr_tf.core import checks
from figr_tf.core.settings import TrainingSettings
from figr_tf.data.datasets import DataSettings
from figr_tf.pixelcnn.drawings import decoded_size
from figr_tf.pixelcnn.networks import NetworkSpec


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelCnnSettings(TrainingSettings):
    """Attributes that are not of every system:

    Attributes:
        data: its `image_size` is that of the files, `drawings.decoded_size` of a drawing's.
        network: its size is that of the drawings, after pooling.
        num_shots: n, drawings of a support set.
        train_shots: drawings of a training task. A network with a condition is shown n of them,
            and its steps take the others.
        num_inner_steps: K. With 1, Reptile is joint training: Φ − W is the loss's gradient
            times the rate.
        batch_size: drawings of an inner step.
        max_shift: pixels, up to which each inner step moves each of its drawings, in training and
            on a held-out support set.
        inner_learning_rate: of the plain SGD steps, down the mean nats per pixel.
        eval_inner_steps, eval_learning_rate: of the steps on a held-out support set, which take
            all of it; for a network without a condition.
        start_sha256: of the weights that training begins with, if they are another run's.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    system: ClassVar[str] = "pixelcnn"
    not_identity: ClassVar[tuple[str, ...]] = (
        *TrainingSettings.not_identity,
        "data.data_dir",
        "data.cache_dir",
        "eval_inner_steps",
        "eval_learning_rate",
    )

    data: DataSettings = dataclasses.field(
        default_factory=lambda: DataSettings(image_size=decoded_size(26))
    )
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    num_shots: int = 4
    train_shots: int = 20
    num_inner_steps: int = 1
    batch_size: int = 4
    max_shift: int = 0
    inner_learning_rate: float = 1.0
    eval_inner_steps: int = 10
    eval_learning_rate: float = 0.3
    start_sha256: str | None = None
    meta_learning_rate: float = 1e-3
    meta_average: float = 0.998
    meta_batch_size: int = 4
    num_meta_steps: int = 10_000
    eval_every: int = 1_000
    checkpoint_every: int = 200

    def __post_init__(self):
        super().__post_init__()
        checks.at_least(self, 1, "num_shots", "train_shots", "num_inner_steps", "batch_size")
        checks.at_least(self, 0, "eval_inner_steps", "max_shift")
        checks.positive(self, "inner_learning_rate", "eval_learning_rate")
        if self.data.channels != 1:
            raise ValueError(f"drawings are grey. Received: channels={self.data.channels}")
        if self.data.image_size != decoded_size(self.network.image_size):
            raise ValueError("data and network must agree on image_size")
        if self.trained_on < self.batch_size:
            raise ValueError(
                "train_shots must leave a batch"
                f"{' beside num_shots' if self.is_conditional else ''}. Received:"
                f" train_shots={self.train_shots}, num_shots={self.num_shots},"
                f" batch_size={self.batch_size}"
            )

    @property
    def is_conditional(self) -> bool:
        """Whether the network sees the support; then it does not adapt to it."""
        return self.network.condition != "none"

    @property
    def trained_on(self) -> int:
        """Drawings of a training task that inner steps take."""
        return self.train_shots - (self.num_shots if self.is_conditional else 0)

    @property
    def name(self) -> str:
        """Such as "omniglot-pixelcnn-attention"."""
        kind = f"-{self.network.condition}" if self.is_conditional else ""
        return f"{self.data.dataset}-pixelcnn{kind}"

    @property
    def images_per_class(self) -> int:
        """The least that a class needs; smaller ones are left out of the data."""
        return max(self.train_shots, self.num_shots + 1)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "PixelCnnSettings":
        """Settings as a run recorded them."""
        nested = {
            "data": DataSettings.from_dict(fields["data"]),
            "network": NetworkSpec(**fields["network"]),
        }
        return cls(**fields | nested)
