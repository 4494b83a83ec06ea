"""Trains a few-shot density model of binary drawings (Reed et al. 2017, arXiv:1710.10304).

  python -m figr_tf.train_pixelcnn --flagfile flags/omniglot-pixelcnn.flags --run=JOINT
  python -m figr_tf.train_pixelcnn --flagfile flags/omniglot-pixelcnn-reptile.flags --start=JOINT
  python -m figr_tf.train_pixelcnn --dataset=folder --data_dir=DIR

The same command again continues an unfinished run of the same settings. Results are in a numbered
folder below --runs_dir; `figr_tf.evaluate_pixelcnn` judges them (docs/likelihood.md), and
`figr_tf.generate` draws with them.
"""

import pathlib
from typing import TYPE_CHECKING

from figr_tf.core import command, console
from figr_tf.core.errors import refusals_in_one_line
from figr_tf.core.loop_flags import LoopFlags
from figr_tf.data.data_flags import DataFlags

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.pixelcnn.settings import PixelCnnSettings

flags = console.OwnFlags(__name__)

# Published is --split=45-5 of omniglot.
_DATA = DataFlags(flags, "What to train on; glyphs needs no download.")
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
    "start", None, "Run folder whose weights training begins with; its --condition may be another."
)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Drawings of a support set (n).", 1)
_TRAIN_SHOTS = flags.DEFINE_integer("train_shots", 20, "Drawings of a training task.", 1)
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps", 1, "Inner steps per task (K); 1 is joint training.", 1
)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 4, "Drawings of an inner step.", 1)
_MAX_SHIFT = flags.DEFINE_integer(
    "max_shift", 0, "Pixels, up to which an inner step moves each of its drawings.", 0
)
_INNER_LEARNING_RATE = flags.DEFINE_float(
    "inner_learning_rate", 1.0, "Of an inner SGD step, down the mean nats per pixel."
)
_EVAL_INNER_STEPS = flags.DEFINE_integer(
    "eval_inner_steps", 10, "Inner steps on held-out support sets, each on all of one.", 0
)
_EVAL_LEARNING_RATE = flags.DEFINE_float("eval_learning_rate", 0.3, "Of those steps.")
_LOOP = LoopFlags(
    flags,
    meta_learning_rate=1e-3,
    num_meta_steps=10_000,
    eval_every=1_000,
    eval_help="rough scores and pictures of held-out tasks",
    checkpoint_every=200,
)
_META_AVERAGE = flags.DEFINE_float(
    "meta_average",
    0.998,
    "Decay of an average of Φ, which a trained run is judged and drawn with; 0: Φ itself, as in"
    " the reports on the way.",
    0,
)
_META_BATCH_SIZE = flags.DEFINE_integer("meta_batch_size", 4, "Tasks of one meta-step.", 1)


def _settings(start_sha256: str | None = None) -> "PixelCnnSettings":
    from figr_tf.pixelcnn.drawings import decoded_size
    from figr_tf.pixelcnn.networks import NetworkSpec
    from figr_tf.pixelcnn.settings import PixelCnnSettings

    return PixelCnnSettings(
        data=_DATA.settings(decoded_size(_IMAGE_SIZE.value)),
        network=NetworkSpec(_IMAGE_SIZE.value, _PLANES.value, _NUM_LAYERS.value, _CONDITION.value),
        num_shots=_NUM_SHOTS.value,
        train_shots=_TRAIN_SHOTS.value,
        num_inner_steps=_NUM_INNER_STEPS.value,
        batch_size=_BATCH_SIZE.value,
        max_shift=_MAX_SHIFT.value,
        inner_learning_rate=_INNER_LEARNING_RATE.value,
        eval_inner_steps=_EVAL_INNER_STEPS.value,
        eval_learning_rate=_EVAL_LEARNING_RATE.value,
        start_sha256=start_sha256,
        meta_average=_META_AVERAGE.value,
        meta_batch_size=_META_BATCH_SIZE.value,
        **_LOOP.settings(),
    )


def main() -> None:
    """Loads the data, trains, or prints the plan alone."""
    console.limit_operations_at_once(_META_BATCH_SIZE.value)
    with command.devices() as devices:
        from figr_tf.data.splits import Split
        from figr_tf.pixelcnn.model import PixelCnnModel
        from figr_tf.pixelcnn.system import prepare

        first = PixelCnnModel(pathlib.Path(_START.value)) if _START.value else None
        with refusals_in_one_line():
            settings = _settings(first.weights_sha256 if first else None)
        start = first.start_of(settings.network) if first else None
        is_same_data = first and first.settings.data.dataset == settings.data.dataset
        seen = Split.of_run(first.folder).training if first and is_same_data else ()
        _LOOP.start(prepare(settings, start, seen), devices)


if __name__ == "__main__":
    console.run(main)
