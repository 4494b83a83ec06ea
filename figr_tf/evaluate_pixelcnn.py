"""Judges runs of figr_tf.train_pixelcnn: nats per pixel of drawings that they have not seen.

  python -m figr_tf.evaluate_pixelcnn --run JOINT,REPTILE,ATTENTION --sides held_out,training
  python -m figr_tf.evaluate_pixelcnn --run REPTILE --eval_learning_rate 0.1,0.3,1

From n drawings of a class its other drawings are predicted. Intervals are over classes.
"""

import pathlib
from typing import TYPE_CHECKING

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.evaluation.report_flags import ReportFlags, rising, run_names

if TYPE_CHECKING:
    from figr_tf.pixelcnn.evaluation import Plan

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_list("run", None, "Run folders, comma-separated.", required=True)
_SIDES = flags.DEFINE_list(
    "sides",
    ["held_out", "training"],
    "Which classes, a column each: held_out and training of the runs' split, and test: Omniglot's"
    " five test alphabets, if the runs were not trained on them.",
)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 144, "Of each side, a fixed choice.", 2)
_NUM_INNER_STEPS = flags.DEFINE_list(
    "num_inner_steps",
    [],
    "Inner steps (K), a row each. Default: 0, 10 and what a run draws with by default.",
)
_EVAL_LEARNING_RATE = flags.DEFINE_list(
    "eval_learning_rate", [], "Of those steps, rows for each. Default: the run's."
)
_MAX_SHIFT = flags.DEFINE_integer(
    "max_shift", None, "Pixels, up to which a step moves each drawing. Default: the run's.", 0
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the support sets and of those moves.", 0, 2**31 - 1
)
_DATA_DIR = flags.DEFINE_path("data_dir", None, "Folder with the files. Default: as in training.")
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_REPORT = ReportFlags(flags)


def _plan() -> "Plan":
    from figr_tf.pixelcnn.evaluation import SIDES, Plan

    if not _SIDES.value or not set(_SIDES.value) <= set(SIDES):
        raise UserError(f"--sides={','.join(_SIDES.value)}: give some of {', '.join(SIDES)}.")
    steps = rising(_NUM_INNER_STEPS, int, 0, "whole numbers, 0 or more", may_be_empty=True)
    _REPORT.check()
    return Plan(
        list(dict.fromkeys(_SIDES.value)),
        _NUM_CLASSES.value,
        steps,
        rising(_EVAL_LEARNING_RATE, float, 1e-12, "numbers above 0", may_be_empty=True),
        _MAX_SHIFT.value,
        _SEED.value,
        _DATA_DIR.value,
        _CACHE_DIR.value,
    )


def main() -> None:
    """Prints the table, and writes it where it is asked to."""
    console.limit_operations_at_once()
    console.start_tensorflow()
    from figr_tf.pixelcnn import evaluation
    from figr_tf.pixelcnn.model import PixelCnnModel

    plan = _plan()
    names = run_names(_RUN, by_name=True)
    models = [PixelCnnModel(pathlib.Path(name)) for name in names]
    _REPORT.write(evaluation.run(models, plan))


if __name__ == "__main__":
    console.run(main)
