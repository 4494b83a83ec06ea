"""What all meta-training runs have to decide, and which of it makes two runs the same."""

import dataclasses
import json
from typing import Any, ClassVar, Self

import tensorflow as tf

from figr_tf.core import checks

_INTERVALS = ("log_every", "eval_every", "checkpoint_every", "meta_steps_per_call")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The outer loop of a run. Each system adds what is its own. See the flags' help for the rest.

    Attributes:
        keep_checkpoints: how many of the newest stay on disk.
        meta_average: decay of an exponential average of Φ; 0 keeps none. Where there is one, it is
            what evaluation, generation and export take.

    Raises:
        ValueError: values that cannot work, or not together.
    """

    # What the run's record calls the system, so that a command can refuse the run of another one.
    system: ClassVar[str]
    # Settings by their path in `identity` that change how long a run takes, where its data lies or
    # what it shows, but not the weights at a given meta-step. Of jit_compile the outcome counts,
    # not the wish: XLA draws other random numbers from the same seed.
    not_identity: ClassVar[tuple[str, ...]] = (*_INTERVALS, "keep_checkpoints", "jit_compile")

    meta_learning_rate: float = 1e-5
    anneal_meta_learning_rate: bool = False
    meta_average: float = 0.0
    meta_batch_size: int = 1
    num_meta_steps: int = 250_000
    seed: int = 0
    log_every: int = 100
    eval_every: int = 10_000
    checkpoint_every: int = 1_000
    keep_checkpoints: int = 3
    meta_steps_per_call: int = 1
    jit_compile: str = "auto"

    def __post_init__(self):
        at_least_one = ("meta_batch_size", "num_meta_steps", "keep_checkpoints", *_INTERVALS)
        checks.at_least(self, 1, *at_least_one)
        checks.at_least(self, 0, "meta_learning_rate", "seed")
        checks.one_of(self, jit_compile=("auto", "on", "off"))
        if not 0 <= self.meta_average < 1:
            raise ValueError(f"meta_average must be in [0, 1). Received: {self.meta_average}")

    @property
    def name(self) -> str:
        """What a numbered run folder is called, such as "omniglot-resnet-h64"."""
        raise NotImplementedError

    def learning_rate(self, meta_step: tf.Tensor) -> tf.Tensor | float:
        """The outer learning rate of a meta-step, int32 [] from 0."""
        if not self.anneal_meta_learning_rate:
            return self.meta_learning_rate
        remaining = 1.0 - tf.cast(meta_step, tf.float32) / self.num_meta_steps
        return self.meta_learning_rate * remaining

    def is_compiled(self, device: str) -> bool:
        """Whether XLA compiles the meta-step.

        It makes one several times faster on a GPU and ten times slower on a CPU.
        """
        return self.jit_compile == "on" or (self.jit_compile == "auto" and device != "CPU")

    def meta_steps_of_next_call(self, meta_step: int) -> int:
        """How many to take after `meta_step` at a stretch.

        Up to a call's most, and not past a log line, picture or checkpoint.
        """
        intervals = (self.log_every, self.eval_every, self.checkpoint_every)
        to_events = (every - meta_step % every for every in intervals)
        return min(self.meta_steps_per_call, self.num_meta_steps - meta_step, *to_events)

    def identity(self) -> dict[str, Any]:
        """What the weights at a given meta-step depend on; nested settings as "group.name"."""
        flat = {"system": self.system} | _flat(dataclasses.asdict(self))
        if not self.schedule_has_length:
            # A longer run begins with the same meta-steps, so it may continue a shorter one.
            del flat["num_meta_steps"]
        return {key: value for key, value in flat.items() if key not in self.not_identity}

    @property
    def schedule_has_length(self) -> bool:
        """Whether the length of the run is part of its schedule."""
        return self.anneal_meta_learning_rate

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Self:
        """Settings as a run recorded them, by an earlier version perhaps."""
        return cls(**fields)

    @classmethod
    def complete(cls, identity: dict[str, Any]) -> dict[str, Any]:
        """An identity as recorded, with the defaults of settings that were added since."""
        return cls().identity() | identity


def _flat(fields: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in fields.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def full_identity(
    settings: TrainingSettings, data_facts: dict[str, Any], compiled: bool
) -> dict[str, Any]:
    """All that the weights at a given meta-step depend on.

    It stands in identity.json and in every checkpoint.

    Args:
        data_facts: what tells the data and its split apart from others.
    """
    identity = settings.identity() | data_facts | {"xla": compiled}
    return json.loads(json.dumps(identity))  # Tuples become lists, as when read back.
