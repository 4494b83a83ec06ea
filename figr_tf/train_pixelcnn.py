"""Trains a few-shot density model of binary drawings (Reed et al. 2017, arXiv:1710.10304).

  python -m figr_tf.train_pixelcnn --flagfile flags/omniglot-pixelcnn.flags --run=JOINT
  python -m figr_tf.train_pixelcnn --flagfile flags/omniglot-pixelcnn-reptile.flags --start=JOINT
  python -m figr_tf.train_pixelcnn --dataset=folder --data_dir=DIR

The same command again continues an unfinished run of the same settings. Results are in a numbered
folder below --runs_dir; `figr_tf.evaluate_pixelcnn` judges them (docs/likelihood.md), and
`figr_tf.generate` draws with them.
"""

import os
import pathlib
from typing import TYPE_CHECKING

from figr_tf.core import command, console
from figr_tf.core.errors import UserError
from figr_tf.data import datasets

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.pixelcnn.settings import PixelCnnSettings

flags = console.OwnFlags(__name__)

_DATASET = flags.DEFINE_enum("dataset", "glyphs", datasets.DATASETS, "What to train on.")
_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder with the data set's files. Default: as tensorflow-datasets downloads."
)
_SPLIT = flags.DEFINE_enum(
    "split", None, datasets.SPLITS, "Which classes are held out. Published is 45-5 (omniglot)."
)
_SPLIT_SEED = flags.DEFINE_integer("split_seed", 0, "Seed of the random splits.", lower_bound=0)
_HELD_OUT = flags.DEFINE_list(
    "held_out_classes", [], "Names of the held-out classes, comma-separated; replaces --split."
)
_INK = flags.DEFINE_enum(
    "ink", "dark", ["dark", "light"], "Ink in the files of --dataset=folder; light is inverted."
)
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 26, "Height and width in pixels, even; a pixel is 4×4 of a file's.", 2
)
_CONDITION = flags.DEFINE_enum(
    "condition",
    "none",
    ["none", "features", "attention"],
    "What else the network sees: nothing, the mean of the support's features, or by attention"
    " blocks of the support.",
)
_PLANES = flags.DEFINE_integer("planes", 64, "Channels, a multiple of 4.", 4)
_NUM_LAYERS = flags.DEFINE_integer("num_layers", 6, "Gated residual layers.", 1)
_START = flags.DEFINE_path(
    "start", None, "Run folder whose weights training begins with; another --condition may differ."
)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Drawings of a support set (n).", 1)
_TRAIN_SHOTS = flags.DEFINE_integer("train_shots", 20, "Drawings of a training task.", 1)
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps", 1, "Inner steps per task (K); 1 is joint training.", 1
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Drawings of an inner step.", 1)
_INNER_LEARNING_RATE = flags.DEFINE_float(
    "inner_learning_rate", 1.0, "Of an inner SGD step, down the mean nats per pixel."
)
_EVAL_INNER_STEPS = flags.DEFINE_integer(
    "eval_inner_steps", 10, "Inner steps on held-out support sets, each on all of one.", 0
)
_EVAL_LEARNING_RATE = flags.DEFINE_float("eval_learning_rate", 0.3, "Of those steps.")
_META_LEARNING_RATE = flags.DEFINE_float("meta_learning_rate", 1e-3, "Of Adam on Φ − W.", 0)
_ANNEAL = flags.DEFINE_bool("anneal_meta_learning_rate", False, "Lower it linearly to 0.")
_META_AVERAGE = flags.DEFINE_float(
    "meta_average",
    0.998,
    "Decay of an average of Φ, which is what is judged and drawn with; 0: Φ itself.",
    0,
)
_META_BATCH_SIZE = flags.DEFINE_integer("meta_batch_size", 4, "Tasks of one meta-step.", 1)
_NUM_META_STEPS = flags.DEFINE_integer("num_meta_steps", 10_000, "Meta-steps in all.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of initial weights and every draw.", 0, 2**31 - 1)
_LOG_EVERY = flags.DEFINE_integer("log_every", 100, "Meta-steps between lines of metrics.", 1)
_EVAL_EVERY = flags.DEFINE_integer(
    "eval_every", 1_000, "Meta-steps between rough scores and pictures of held-out tasks.", 1
)
_CHECKPOINT_EVERY = flags.DEFINE_integer(
    "checkpoint_every", 200, "Meta-steps between checkpoints.", 1
)
_RUNS_DIR = flags.DEFINE_path("runs_dir", "runs", "Folder of the numbered run folders.")
_RUN = flags.DEFINE_path("run", None, "This very run folder instead of a numbered one.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Load the data, print the plan and its cost, train nothing."
)


def _data() -> datasets.DataSettings:
    from figr_tf.pixelcnn.drawings import decoded_size

    return datasets.DataSettings(
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        image_size=decoded_size(_IMAGE_SIZE.value),
        ink=_INK.value,
        split=_SPLIT.value,
        split_seed=_SPLIT_SEED.value,
        held_out_classes=tuple(_HELD_OUT.value),
        cache_dir=_CACHE_DIR.value,
    )


def _settings(start_sha256: str | None = None) -> "PixelCnnSettings":
    from figr_tf.pixelcnn.models import NetworkSpec
    from figr_tf.pixelcnn.settings import PixelCnnSettings

    return PixelCnnSettings(
        data=_data(),
        network=NetworkSpec(_IMAGE_SIZE.value, _PLANES.value, _NUM_LAYERS.value, _CONDITION.value),
        num_shots=_NUM_SHOTS.value,
        train_shots=_TRAIN_SHOTS.value,
        num_inner_steps=_NUM_INNER_STEPS.value,
        batch_size=_BATCH_SIZE.value,
        inner_learning_rate=_INNER_LEARNING_RATE.value,
        eval_inner_steps=_EVAL_INNER_STEPS.value,
        eval_learning_rate=_EVAL_LEARNING_RATE.value,
        start_sha256=start_sha256,
        meta_learning_rate=_META_LEARNING_RATE.value,
        anneal_meta_learning_rate=_ANNEAL.value,
        meta_average=_META_AVERAGE.value,
        meta_batch_size=_META_BATCH_SIZE.value,
        num_meta_steps=_NUM_META_STEPS.value,
        seed=_SEED.value,
        log_every=_LOG_EVERY.value,
        eval_every=_EVAL_EVERY.value,
        checkpoint_every=_CHECKPOINT_EVERY.value,
    )


def main() -> None:
    """Loads the data, trains, or prints the plan alone."""
    # An inner step is a chain of operations; a second thread between them makes it slower.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    with command.devices() as devices:
        from figr_tf.pixelcnn.model import PixelCnnModel
        from figr_tf.pixelcnn.system import prepare

        first = PixelCnnModel(pathlib.Path(_START.value)) if _START.value else None
        try:
            settings = _settings(first.weights_sha256 if first else None)
        except ValueError as error:
            raise UserError(str(error)) from error
        training = prepare(settings, first.start_of(settings.network) if first else None)
        if _DRY_RUN.value:
            command.rehearse(training, devices)
        else:
            command.run(training, command.Place(_RUN.value, _RUNS_DIR.value), devices)


if __name__ == "__main__":
    console.run(main)
