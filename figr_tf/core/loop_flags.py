"""The flags of the outer loop, for the commands that meta-train."""

from typing import TYPE_CHECKING, Any

import absl.flags

from figr_tf.core import command, console

if TYPE_CHECKING:
    from figr_tf.core.system import System

absl.flags.disclaim_key_flags()  # They are those of the command, for its --help.


class LoopFlags:
    """How long a run is, what it reports when, and where it goes."""

    def __init__(
        self,
        flags: console.OwnFlags,
        *,
        meta_learning_rate: float,
        rate_help: str = "Of Adam on Φ − W, in the outer loop.",
        num_meta_steps: int,
        log_every: int = 100,
        eval_every: int,
        eval_help: str,
        checkpoint_every: int,
    ):
        """The defaults of the system; `eval_help` says what there is after `eval_every` steps."""
        self._rate = flags.DEFINE_float("meta_learning_rate", meta_learning_rate, rate_help, 0)
        self._anneal = flags.DEFINE_bool(
            "anneal_meta_learning_rate", False, "Lower the outer rate linearly to 0 over the run."
        )
        self._num_meta_steps = flags.DEFINE_integer(
            "num_meta_steps",
            num_meta_steps,
            "Meta-steps in all, earlier ones of the run included.",
            1,
        )
        self._seed = flags.DEFINE_integer(
            "seed", 0, "Seed of the initial weights and of every draw.", 0, 2**31 - 1
        )
        # These intervals are no part of a run's identity: a run may be continued with others.
        self._log_every = flags.DEFINE_integer(
            "log_every", log_every, "Meta-steps between lines of metrics.", 1
        )
        self._eval_every = flags.DEFINE_integer(
            "eval_every", eval_every, f"Meta-steps between {eval_help}.", 1
        )
        self._checkpoint_every = flags.DEFINE_integer(
            "checkpoint_every", checkpoint_every, "Meta-steps between checkpoints.", 1
        )
        self._runs_dir = flags.DEFINE_path(
            "runs_dir", "runs", "Folder of the numbered run folders."
        )
        self._run = flags.DEFINE_path(
            "run", None, "This very run folder, made if need be, instead of a numbered one."
        )
        self._dry_run = flags.DEFINE_bool(
            "dry_run",
            False,
            "Load the data (into --cache_dir), print the plan and its cost, train nothing.",
        )

    def settings(self) -> dict[str, Any]:
        """What `TrainingSettings` takes of them, by name."""
        return {
            "meta_learning_rate": self._rate.value,
            "anneal_meta_learning_rate": self._anneal.value,
            "num_meta_steps": self._num_meta_steps.value,
            "seed": self._seed.value,
            "log_every": self._log_every.value,
            "eval_every": self._eval_every.value,
            "checkpoint_every": self._checkpoint_every.value,
        }

    def start(self, training: command.Training, devices: command.Devices) -> "System | None":
        """Trains and returns what was trained, or rehearses, if that is asked for."""
        if self._dry_run.value:
            command.rehearse(training, devices)
            return None
        return command.run(training, command.Place(self._run.value, self._runs_dir.value), devices)
