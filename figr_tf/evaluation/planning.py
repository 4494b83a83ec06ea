"""Which classes something is judged on, and with how many drawings, samples and seeds."""

from absl import logging

from figr_tf.core.errors import DataError, UserError, listing
from figr_tf.data.datasets import Dataset
from figr_tf.evaluation import table
from figr_tf.evaluation.episodes import choose_classes, least_drawings
from figr_tf.evaluation.judged import Judged
from figr_tf.evaluation.protocol import SAMPLES_PER_SHOT, Plan

_SEEDS = 3
_SEEDS_OF_FEW_CLASSES = 20  # There intervals are over episodes, and those are cheap.


def plan(judged: Judged, dataset: Dataset, num_classes: int, seeds: int | None) -> Plan:
    """The held-out classes that are large enough, or a fixed choice of them.

    Raises:
        DataError: no class is large enough.
        UserError: too few samples.
    """
    num_shots, num_samples = judged.num_shots, judged.num_samples
    if num_samples < SAMPLES_PER_SHOT * num_shots:
        raise UserError(
            f"--num_samples={num_samples} is less than {SAMPLES_PER_SHOT}·n ="
            f" {SAMPLES_PER_SHOT * num_shots}: with so few, copies of the support look like real"
            " drawings."
        )
    names = choose_classes(_large(dataset, num_shots), num_classes)
    # Of so few classes intervals are over supports, which more seeds make more of.
    few = len(names) < table.FEWEST_CLASSES
    count = seeds or (_SEEDS_OF_FEW_CLASSES if few else _SEEDS)
    if not judged.all_seeds:
        if seeds not in (None, 1):
            raise UserError(
                f"--seeds={seeds}: {judged.name} holds samples of the first seed's episodes alone."
                " Leave the flag away."
            )
        count = 1
    return Plan(dataset.images_of(names), num_shots, num_samples, tuple(range(count)))


def _large(dataset: Dataset, num_shots: int) -> list[str]:
    least, counts = least_drawings(num_shots), dataset.data.counts
    held_out = dataset.split.held_out
    small = [name for name in held_out if counts[name] < least]
    if len(small) == len(held_out):
        largest = max(counts[name] for name in small)
        raise DataError(
            f"none of the {len(small)} held-out classes has the {least} drawings that"
            f" n = {num_shots} asks for; the largest has {largest}. Lower --num_shots."
        )
    if small:
        logging.warning(
            "left out %d held-out classes with fewer than the %d drawings that n = %d asks for: %s",
            len(small),
            least,
            num_shots,
            listing(small),
        )
    return [name for name in held_out if counts[name] >= least]
