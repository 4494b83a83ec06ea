"""All that decides the outcome of a FIGR run."""

import dataclasses
from typing import Any, ClassVar

from figr_tf.core import checks
from figr_tf.core.settings import TrainingSettings
from figr_tf.data.datasets import DataSettings
from figr_tf.gan.adaptation import InnerSettings
from figr_tf.gan.networks import NetworkSpec

# The value of ink in the networks' images, whatever the files held; paper is 1.
GENERATED_INK = -1.0

AUGMENTATIONS = ("none", "jitter", "redraw")
_REDRAWN_SIZE = 32  # Pixels of a side, of the network that ships.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings(TrainingSettings):
    """Attributes not explained here: see the types and the flags' help.

    Attributes:
        task_pool: drawings of its class that a training task draws from; None: n, as in the paper.
        augment: what a support set is varied by before a trained pair adapts to it, one of
            `AUGMENTATIONS`. Training adapts to the drawings of `task_pool` as they are.
        augment_count: how many variations are made of it, once for each adaptation.
        redraw_sha256: of the redrawing network, where `augment` is "redraw".
        latent_pool: P. Where it is known that no more than P latents are drawn after an adaptation,
            its steps go through the P of its seed in turn, so that it practises what it draws; of
            other latents it would draw worse images. Real images come in turn, too, where
            `inner.batch_size` takes some of them. 0: fresh latents and chosen images at every step,
            as in training and in the paper.
        num_test_inner_steps: K of generation and export where none is given; None: as in training.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    system: ClassVar[str] = "gan"
    not_identity: ClassVar[tuple[str, ...]] = (
        *TrainingSettings.not_identity,
        # Where files lie does not matter. The sha256 of their pixels is in the identity.
        "data.data_dir",
        "data.cache_dir",
        # What a trained model is asked for does not change it.
        "num_test_inner_steps",
    )

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    inner: InnerSettings = dataclasses.field(default_factory=InnerSettings)
    num_shots: int = 4
    num_inner_steps: int = 10
    class_rotations: bool = False
    task_pool: int | None = None
    augment: str = "none"
    augment_count: int = 64
    redraw_sha256: str | None = None
    latent_pool: int = 0
    num_test_inner_steps: int | None = None

    def __post_init__(self):
        super().__post_init__()
        optional = ("task_pool", "num_test_inner_steps")
        given = [name for name in optional if getattr(self, name) is not None]
        checks.at_least(self, 1, "num_shots", "augment_count", *given)
        checks.at_least(self, 0, "latent_pool")
        checks.one_of(self, augment=AUGMENTATIONS)
        if self.inner.gradient_penalty_every > self.num_inner_steps:
            raise ValueError(
                "gradient_penalty_every above num_inner_steps: training would have no penalty."
                f" Received: {self.inner.gradient_penalty_every} and {self.num_inner_steps}"
            )
        if (
            self.data.image_size != self.network.image_size
            or self.data.channels != self.network.channels
        ):
            raise ValueError("data and network must agree on image_size and channels")
        if self.augment == "redraw" and self.data.channels != 1:
            raise ValueError(
                "augment=redraw draws in grey; for colour take augment=jitter. Received:"
                f" channels={self.data.channels}"
            )
        if self.augment == "redraw" and self.data.image_size != _REDRAWN_SIZE:
            raise ValueError(
                f"augment=redraw draws {_REDRAWN_SIZE}×{_REDRAWN_SIZE} pixels; for other sizes take"
                f" augment=jitter. Received: image_size={self.data.image_size}"
            )

    def identity(self) -> dict[str, Any]:
        """As of any system, with the polarity of the generated images."""
        return super().identity() | {"generated_ink": GENERATED_INK}

    @classmethod
    def complete(cls, identity: dict[str, Any]) -> dict[str, Any]:
        """See `TrainingSettings.complete`."""
        return super().complete(_without_former_settings(identity))

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Settings":
        """Settings as a run recorded them."""
        nested = {
            "data": DataSettings.from_dict(fields["data"]),
            "network": NetworkSpec(**fields["network"]),
            "inner": InnerSettings(**fields["inner"]),
        }
        return cls(**(_without_former_settings(fields) | nested))

    @property
    def name(self) -> str:
        """Such as "omniglot-resnet-h64"."""
        return f"{self.data.dataset}-{self.network.architecture}-h{self.network.hidden}"


def _without_former_settings(recorded: dict[str, Any]) -> dict[str, Any]:
    """Without a setting of former versions that is gone, where it had the value of today."""
    return {k: v for k, v in recorded.items() if (k, v) != ("tasks_at_once", 1)}
