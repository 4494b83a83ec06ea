"""All that decides the outcome of a meta-training run, and which of it makes two runs the same."""

import dataclasses
import json
from typing import Any

from figr_tf.adaptation import InnerStep
from figr_tf.datasets import DataSettings
from figr_tf.networks import NetworkSpec
from figr_tf.splits import Split

# Settings that change how long a run takes or what it shows, but not the weights at a given meta-step. Of jit_compile
# the outcome counts, not the wish: XLA draws other random numbers from the same seed.
_NOT_IDENTITY = ("log_every", "eval_every", "checkpoint_every", "meta_steps_per_call", "jit_compile")
GENERATED_INK = -1.0  # the value of ink in the networks' images, whatever the files held; paper is 1


@dataclasses.dataclass(frozen=True)
class Settings:
    """All that decides the outcome of a run. Attributes not explained here: see the types and the flags' help.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    network: NetworkSpec = dataclasses.field(default_factory=NetworkSpec)
    inner: InnerStep = dataclasses.field(default_factory=InnerStep)
    num_shots: int = 4
    num_inner_steps: int = 10
    class_rotations: bool = False
    meta_learning_rate: float = 1e-5
    anneal_meta_learning_rate: bool = False
    meta_batch_size: int = 1
    tasks_at_once: int = 1
    num_meta_steps: int = 250_000
    seed: int = 0
    log_every: int = 100
    eval_every: int = 10_000
    checkpoint_every: int = 1_000
    meta_steps_per_call: int = 1
    jit_compile: str = "auto"

    def __post_init__(self):
        counts = ("num_shots", "meta_batch_size", "tasks_at_once", "num_meta_steps")
        for name in (*counts, "log_every", "eval_every", "checkpoint_every", "meta_steps_per_call"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer. Received: {getattr(self, name)}")
        if self.meta_batch_size % self.tasks_at_once:
            raise ValueError(
                f"tasks_at_once must divide meta_batch_size={self.meta_batch_size}. Received: {self.tasks_at_once}"
            )
        for name, value in (("meta_learning_rate", self.meta_learning_rate), ("seed", self.seed)):
            if value < 0:
                raise ValueError(f"{name} must not be negative. Received: {value}")
        if self.jit_compile not in ("auto", "on", "off"):
            raise ValueError(f"jit_compile must be auto, on or off. Received: {self.jit_compile!r}")
        if self.data.image_size != self.network.image_size or self.data.channels != self.network.channels:
            raise ValueError("data and network must agree on image_size and channels")

    def identity(self) -> dict[str, Any]:
        """The settings that the weights at a given meta-step depend on, and the polarity of the generated images."""
        fields = dataclasses.asdict(self)
        del fields["data"]["data_dir"], fields["data"]["cache_dir"]  # where the data lies; the split says which it is
        for name in _NOT_IDENTITY:
            del fields[name]
        if not self.anneal_meta_learning_rate:  # otherwise the length of the run is part of its schedule
            del fields["num_meta_steps"]
        nested = {f"{group}.{k}": v for group in ("data", "network", "inner") for k, v in fields.pop(group).items()}
        return nested | fields | {"generated_ink": GENERATED_INK}

    def meta_steps_of_next_call(self, meta_step: int) -> int:
        """How many to take after `meta_step`: up to a call's most, and not past a log line, picture or checkpoint."""
        to_events = (every - meta_step % every for every in (self.log_every, self.eval_every, self.checkpoint_every))
        return min(self.meta_steps_per_call, self.num_meta_steps - meta_step, *to_events)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Settings":
        data = dict(fields["data"], held_out_classes=tuple(fields["data"]["held_out_classes"]))
        nested = {
            "data": DataSettings(**data),
            "network": NetworkSpec(**fields["network"]),
            "inner": InnerStep(**fields["inner"]),
        }
        return cls(**(fields | nested))

    def name(self) -> str:
        """Such as "omniglot-resnet-h64"."""
        return f"{self.data.dataset}-{self.network.architecture}-h{self.network.hidden}"


def full_identity(settings: Settings, split: Split, data_sha256: str, compiled: bool) -> dict[str, Any]:
    """All that the weights at a given meta-step depend on, as it stands in identity.json and in every checkpoint."""
    identity = settings.identity() | {"split": split.describe(), "data_sha256": data_sha256, "xla": compiled}
    return json.loads(json.dumps(identity))  # tuples become lists, as they will be when read back
