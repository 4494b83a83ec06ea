"""All that decides the outcome of training a redrawing network."""

import dataclasses
from typing import Any, ClassVar

import tensorflow as tf

from figr_tf.core.settings import TrainingSettings
from figr_tf.data.datasets import DataSettings
from figr_tf.warp.generator import WarpGenerator

_WARM_UP = 50  # Steps.
_CONSTANT_SHARE, _LAST_RATE = 0.6, 0.02  # Then linearly down to this share of the rate.


@dataclasses.dataclass(frozen=True, kw_only=True)
class WarpSettings(TrainingSettings):
    """Attributes that are not of every system:

    Attributes:
        num_tasks: T, tasks of one step.
        num_samples: m, samples of each task in one step.
        num_shots: n, support images.
        min_drawings: that a class has at the least; None: n + 2. Of each class as many are used as
            the smallest has, see `system.num_drawings`.
        latent_dim, width: of the network, see `WarpGenerator`.
        upright_share: probability that a task is not turned; the others are, by 90°, 180° or 270°.

    Raises:
        ValueError: values that cannot work.
    """

    system: ClassVar[str] = "warp"
    not_identity: ClassVar[tuple[str, ...]] = (
        *TrainingSettings.not_identity,
        "data.data_dir",
        "data.cache_dir",
    )
    # The rate falls over the last 40 %, so the weights at a given step depend on the length.
    schedule_has_length: ClassVar[bool] = True

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    num_tasks: int = 8
    num_samples: int = 8
    num_shots: int = 4
    min_drawings: int | None = None
    upright_share: float = 0.6
    latent_dim: int = 64
    width: int = 48
    meta_learning_rate: float = 1e-3
    meta_average: float = 0.995
    num_meta_steps: int = 4_000
    eval_every: int = 1_000
    checkpoint_every: int = 500

    def __post_init__(self):
        super().__post_init__()
        if self.class_size < self.num_shots + 2:
            raise ValueError(
                f"the energy distance needs two drawings beside the n = {self.num_shots} of the"
                f" support. Received: min_drawings={self.min_drawings}"
            )
        # The network pools features of half the size to 8×8 control points.
        if self.data.image_size % 16 or self.data.channels != 1:
            raise ValueError(
                "the redrawing network draws grey images, their size a multiple of 16. Received:"
                f" image_size={self.data.image_size}, channels={self.data.channels}"
            )

    @property
    def class_size(self) -> int:
        """Drawings that a class has at the least."""
        return self.num_shots + 2 if self.min_drawings is None else self.min_drawings

    @property
    def name(self) -> str:
        """Such as "omniglot-warp"."""
        return f"{self.data.dataset}-warp"

    def learning_rate(self, meta_step: tf.Tensor) -> tf.Tensor:
        """Rises over the first steps, stays, and falls over the last 40 %."""
        count = tf.cast(meta_step, tf.float32)
        done = count / self.num_meta_steps
        falling = tf.maximum(_LAST_RATE, (1.0 - done) / (1.0 - _CONSTANT_SHARE))
        # Not from 0, at which the first step would be none.
        rising = (count + 1.0) / _WARM_UP
        return self.meta_learning_rate * tf.minimum(tf.minimum(1.0, falling), rising)

    def build_generator(self) -> WarpGenerator:
        """The network with its initial weights."""
        return WarpGenerator(self.data.image_size, self.latent_dim, self.width, self.seed)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "WarpSettings":
        """Settings as a run recorded them."""
        return cls(**fields | {"data": DataSettings.from_dict(fields["data"])})
