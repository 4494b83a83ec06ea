"""Trains a network that reads images by gradient descent alone (unixpickle/reptile-gen).

  python -m figr_tf.train_sequences --flagfile flags/mnist-sequences.flags --data_dir=DIR
  python -m figr_tf.train_sequences --network=recurrent --num_meta_steps=2000

It predicts an image pixel by pixel from the pixel's position, and takes an SGD step on each pixel
as it is seen. The same command again continues an unfinished run of the same settings. Results are
in a numbered folder below --runs_dir; `figr_tf.evaluate_sequences` judges them
(docs/likelihood.md).
"""

import os
from typing import TYPE_CHECKING

from figr_tf.core import command, console
from figr_tf.core.errors import UserError
from figr_tf.data import datasets

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.sequences.settings import SequenceSettings

flags = console.OwnFlags(__name__)

_DATASET = flags.DEFINE_enum("dataset", "glyphs", datasets.DATASETS, "What to train on.")
_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder with the data set's files. Default: as tensorflow-datasets downloads."
)
_INK = flags.DEFINE_enum(
    "ink", "dark", ["dark", "light"], "Ink in the files of --dataset=folder; light is inverted."
)
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 28, "Height and width in pixels.", 2)
_NETWORK = flags.DEFINE_enum(
    "network",
    "gated",
    ["gated", "mlp", "recurrent"],
    "Blocks like an LSTM's cell, or of a linear layer and ReLU; or an LSTM, the baseline, which"
    " reads the pixels and takes no steps.",
)
_WIDTH = flags.DEFINE_integer("width", 64, "Units of every layer, even.", 2)
_NUM_BLOCKS = flags.DEFINE_integer("num_blocks", 2, "Blocks of the network.", 1)
_NUM_SEQUENCES = flags.DEFINE_integer("num_sequences", 8, "Images of a meta-step.", 1)
_INNER_LEARNING_RATE = flags.DEFINE_float(
    "inner_learning_rate", 0.01, "Of the SGD step on each pixel."
)
_OBJECTIVE = flags.DEFINE_enum(
    "objective",
    "reptile",
    ["reptile", "maml"],
    "Towards where the steps lead, or down the gradient through all steps (much memory).",
)
_META_LEARNING_RATE = flags.DEFINE_float("meta_learning_rate", 1e-3, "Of Adam on Φ − W.", 0)
_ANNEAL = flags.DEFINE_bool("anneal_meta_learning_rate", False, "Lower it linearly to 0.")
_META_AVERAGE = flags.DEFINE_float(
    "meta_average", 0.998, "Decay of an average of Φ, which is what is judged; 0: Φ itself.", 0
)
_NUM_META_STEPS = flags.DEFINE_integer("num_meta_steps", 5_000, "Meta-steps in all.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of initial weights and every draw.", 0, 2**31 - 1)
_LOG_EVERY = flags.DEFINE_integer("log_every", 100, "Meta-steps between lines of metrics.", 1)
_EVAL_EVERY = flags.DEFINE_integer(
    "eval_every", 1_000, "Meta-steps between rough scores and pictures of samples.", 1
)
_CHECKPOINT_EVERY = flags.DEFINE_integer(
    "checkpoint_every", 200, "Meta-steps between checkpoints.", 1
)
_RUNS_DIR = flags.DEFINE_path("runs_dir", "runs", "Folder of the numbered run folders.")
_RUN = flags.DEFINE_path("run", None, "This very run folder instead of a numbered one.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Load the data, print the plan and its cost, train nothing."
)


def _settings() -> "SequenceSettings":
    from figr_tf.sequences.models import NetworkSpec
    from figr_tf.sequences.settings import SequenceSettings

    return SequenceSettings(
        data=datasets.DataSettings(
            dataset=_DATASET.value,
            data_dir=_DATA_DIR.value,
            image_size=_IMAGE_SIZE.value,
            ink=_INK.value,
            cache_dir=_CACHE_DIR.value,
        ),
        network=NetworkSpec(_NETWORK.value, _IMAGE_SIZE.value, _WIDTH.value, _NUM_BLOCKS.value),
        num_sequences=_NUM_SEQUENCES.value,
        inner_learning_rate=_INNER_LEARNING_RATE.value,
        objective=_OBJECTIVE.value,
        meta_learning_rate=_META_LEARNING_RATE.value,
        anneal_meta_learning_rate=_ANNEAL.value,
        meta_average=_META_AVERAGE.value,
        num_meta_steps=_NUM_META_STEPS.value,
        seed=_SEED.value,
        log_every=_LOG_EVERY.value,
        eval_every=_EVAL_EVERY.value,
        checkpoint_every=_CHECKPOINT_EVERY.value,
    )


def main() -> None:
    """Loads the data, trains, or prints the plan alone."""
    # A step is a chain of operations; a second thread between them makes it slower.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    with command.devices() as devices:
        from figr_tf.sequences.system import prepare

        try:
            settings = _settings()
        except ValueError as error:
            raise UserError(str(error)) from error
        training = prepare(settings)
        if _DRY_RUN.value:
            command.rehearse(training, devices)
        else:
            command.run(training, command.Place(_RUN.value, _RUNS_DIR.value), devices)


if __name__ == "__main__":
    console.run(main)
