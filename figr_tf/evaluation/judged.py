"""What an evaluation knows of a thing that it judges, whoever made it."""

from collections.abc import Callable
from typing import Any, NamedTuple

from figr_tf.core.errors import UserError
from figr_tf.data import datasets
from figr_tf.evaluation.protocol import SAMPLES_PER_SHOT, Plan, Sampler

STEPS = (10, 50)  # Inner steps where none are asked for.
ONLY_ROW = "model"  # Of one that has no inner steps to choose.


class Judged(NamedTuple):
    """Something to judge.

    Attributes:
        name: for the report.
        facts: what is worth recording about it.
        sampler: None for the reference rows alone.
        row: the one that pictures show.
        num_shots, num_samples: n and M, as asked for or as fits it.
        data_settings: the data that it was trained on, None if that is not known.
        class_size: how many drawings a class of that had at the least.
        image_form: S and C, None if it takes any.
        check: raises UserError if it does not fit the data or the plan.
        check_other_data: raises UserError if it was trained on classes of the plan, although the
            data are not taken from its own settings.
        all_seeds: whether it can be sampled for other episodes than those of the first seed.
    """

    name: str
    facts: dict[str, Any]
    sampler: Sampler | None
    row: str
    check: Callable[[datasets.Dataset, Plan], None]
    num_shots: int
    num_samples: int
    data_settings: datasets.DataSettings | None = None
    class_size: int = 1
    image_form: tuple[int, int] | None = None
    all_seeds: bool = True
    check_other_data: Callable[[datasets.DataSettings, datasets.Dataset, Plan], None] = (
        lambda settings, dataset, plan: None
    )


class Sizes(NamedTuple):
    """n and M as asked for; None where the judged decides."""

    num_shots: int | None
    num_samples: int | None

    def of(self, trained_shots: int = 4) -> tuple[int, int]:
        """n and M for something that was trained with so many shots."""
        num_shots = self.num_shots or trained_shots
        return num_shots, self.num_samples or SAMPLES_PER_SHOT * num_shots


def row_of(k: int) -> str:
    """Name of the row of samples after k inner steps."""
    return f"model, K = {k}"


def refuse_steps(steps: list[int], why: str) -> None:
    """Raises UserError if inner steps are asked of what has none; `why` says what it is."""
    if steps:
        asked = ",".join(map(str, steps))
        raise UserError(f"--num_inner_steps={asked}: {why}. Leave the flag away.")
