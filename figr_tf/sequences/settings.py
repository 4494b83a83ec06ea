"""All that decides the outcome of training on sequences."""

import dataclasses
from typing import Any, ClassVar

from figr_tf.core import checks
from figr_tf.core.settings import TrainingSettings
from figr_tf.data.datasets import DataSettings
from figr_tf.sequences.networks import NetworkSpec
from figr_tf.sequences.text import TextSettings

OBJECTIVES = ("reptile", "maml")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SequenceSettings(TrainingSettings):
    """Attributes that are not of every system:

    Attributes:
        data: images, or a text.
        network: its size is that of the data. `system.prepare` fills in the number of classes.
        num_sequences: T, sequences that are read side by side; a meta-step takes their mean.
        inner_learning_rate: of the SGD step on each pixel or character.
        objective: "reptile" moves Φ towards where the steps lead; "maml" goes down the gradient of
            the nats through all steps (Finn et al. 2017, arXiv:1703.03400). The recurrent baseline
            has no steps and learns as usual, whatever stands here.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    system: ClassVar[str] = "sequences"
    not_identity: ClassVar[tuple[str, ...]] = (
        *TrainingSettings.not_identity,
        "data.data_dir",
        "data.cache_dir",
        "data.file",
    )

    data: DataSettings | TextSettings = dataclasses.field(
        default_factory=lambda: DataSettings(image_size=28)
    )
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    num_sequences: int = 8
    inner_learning_rate: float = 0.01
    objective: str = "reptile"
    meta_learning_rate: float = 1e-3
    meta_average: float = 0.998
    num_meta_steps: int = 5_000
    eval_every: int = 1_000
    checkpoint_every: int = 200
    meta_steps_per_call: int = 10

    def __post_init__(self):
        super().__post_init__()
        checks.at_least(self, 1, "num_sequences")
        checks.one_of(self, objective=OBJECTIVES)
        checks.positive(self, "inner_learning_rate")
        size = self.network.image_size, self.network.text_length
        if isinstance(self.data, TextSettings):
            if size != (0, self.data.length):
                raise ValueError("data and network must agree on the length of windows")
            return
        if self.data.channels != 1:
            raise ValueError(f"images are grey. Received: channels={self.data.channels}")
        if size != (self.data.image_size, 0):
            raise ValueError("data and network must agree on image_size")

    @property
    def has_gradient_through_steps(self) -> bool:
        """Whether a meta-step differentiates the whole loop over a sequence."""
        return self.objective == "maml" or self.network.is_recurrent

    def is_compiled(self, device: str) -> bool:
        """XLA reads an image 2.6 times faster, but does not differentiate the loop over it."""
        return not self.has_gradient_through_steps

    @property
    def name(self) -> str:
        """Such as "mnist-sequences-gated"."""
        return f"{self.data.dataset}-sequences-{self.network.network}"

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "SequenceSettings":
        """Settings as a run recorded them."""
        data, network = fields["data"], NetworkSpec(**fields["network"])
        of_text = network.text_length > 0
        nested = {
            "data": TextSettings(**data) if of_text else DataSettings.from_dict(data),
            "network": network,
        }
        return cls(**fields | nested)

    @classmethod
    def complete(cls, identity: dict[str, Any]) -> dict[str, Any]:
        """See `TrainingSettings.complete`; data of another kind have other defaults."""
        defaults = cls()
        if length := identity.get("data.length"):
            network = NetworkSpec(image_size=0, text_length=length)
            defaults = cls(data=TextSettings(length=length), network=network)
        return defaults.identity() | identity
