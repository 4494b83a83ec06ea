"""Judges runs of figr_tf.train_classifier on held-out tasks: accuracies with 95 % intervals.

  python -m figr_tf.evaluate_classifier --run RUN --shots 1,5 --num_tasks 10000 --json out.json
  python -m figr_tf.evaluate_classifier --run RUN_OF_SEED_0,RUN_OF_SEED_1

The same command again continues an interrupted evaluation. Below the runs stand what an unadapted Φ
answers, joint training if there is a run of it, and nearest prototypes and cosine matching, all on
the same queries.
"""

from typing import TYPE_CHECKING

from figr_tf.core import console
from figr_tf.evaluation.report_flags import ReportFlags, rising, run_names

if TYPE_CHECKING:
    from figr_tf.classifier.reporting import ReportRequest

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_list("run", None, "Run folders of one setting, comma-separated.", required=True)
_JOINT = flags.DEFINE_path(
    "joint",
    None,
    "Run folder of joint training, to stand beside: the same settings with --num_inner_steps=1.",
)
_SHOTS = flags.DEFINE_list(
    "shots",
    ["1", "5"],
    "Images per class that a task shows, one column each.",
)
_NUM_TASKS = flags.DEFINE_integer(
    "num_tasks",
    1_000,
    "Held-out tasks, one query per class each.",
    2,
)
# Batch norm takes its statistics from the images at hand, so the two ways give other answers.
# Published numbers come in both kinds (docs/reptile.md).
_TRANSDUCTIVE = flags.DEFINE_bool(
    "transductive", True, "Also classify all queries of a task in one forward pass, in own rows."
)
_BASELINES = flags.DEFINE_bool("baselines", True, "Add the rows that need no adaptation.")
_EVAL_BATCH_SIZE = flags.DEFINE_integer(
    "eval_batch_size",
    None,
    "Images of an inner step. Default: the run's.",
    1,
)
_EVAL_INNER_STEPS = flags.DEFINE_integer(
    "eval_inner_steps",
    None,
    "Inner steps. Default: the run's.",
    1,
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the tasks.", 0, 2**31 - 1)
_DATA_DIR = flags.DEFINE_path(
    "data_dir",
    None,
    "Folder with the data set's files. Default: as in training.",
)
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_REPORT = ReportFlags(flags)


def _request() -> "ReportRequest":
    from figr_tf.classifier.reporting import ReportRequest

    _REPORT.check()
    shots = rising(_SHOTS, int, 1, "whole numbers, 1 or more")
    return ReportRequest(
        shots,
        _NUM_TASKS.value,
        _SEED.value,
        _TRANSDUCTIVE.value,
        _BASELINES.value,
        _DATA_DIR.value,
        _CACHE_DIR.value,
    )


def main() -> None:
    """Prints the table, and writes it where it is asked to."""
    console.limit_operations_at_once()
    console.start_tensorflow()
    from figr_tf.classifier import reporting
    from figr_tf.classifier.model import ClassifierModel
    from figr_tf.evaluation.features import Embedding
    from figr_tf.models import find

    request = _request()
    sizes = _EVAL_BATCH_SIZE.value, _EVAL_INNER_STEPS.value
    models = [ClassifierModel(find(name), *sizes) for name in run_names(_RUN, by_name=False)]
    joint = ClassifierModel(find(_JOINT.value), *sizes) if _JOINT.value else None
    # Under random-1200 this embedding has seen most of the test characters. Its rows are a bound
    # and not a rival (docs/reptile.md).
    report = reporting.run(models, joint, request, Embedding().embed)
    _REPORT.write(report)


if __name__ == "__main__":
    console.run(main)
