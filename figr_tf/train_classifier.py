"""Meta-trains a few-shot classifier with Reptile (Nichol et al. 2018, arXiv:1803.02999).

  python -m figr_tf.train_classifier --flagfile flags/omniglot-5way.flags
  python -m figr_tf.train_classifier --dataset=folder --data_dir=DIR --num_meta_steps=2000

The same command again continues an unfinished run of the same settings. Results are in a numbered
folder below --runs_dir; `figr_tf.evaluate_classifier` judges them (docs/reptile.md).
"""

from typing import TYPE_CHECKING

from figr_tf.core import command, console
from figr_tf.core.errors import refusals_in_one_line
from figr_tf.core.loop_flags import LoopFlags
from figr_tf.data.data_flags import DataFlags

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.classifier.settings import ClassifierSettings

flags = console.OwnFlags(__name__)

# Published is --split=random-1200 of omniglot.
_DATA = DataFlags(flags, "What to train on; glyphs needs no download.")
_ARCHITECTURE = flags.DEFINE_enum(
    "architecture",
    "strided",
    ["strided", "pooled"],
    "How the convolutions get smaller: by their stride (Omniglot), by max-pooling (mini-ImageNet).",
)
# From here to --meta_batch_size and --num_meta_steps the defaults are those of
# openai/supervised-reptile.
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 28, "Height and width in pixels.", 2)
_CHANNELS = flags.DEFINE_enum("channels", "1", ["1", "3"], "1: grey images, 3: colour.")
_FILTERS = flags.DEFINE_integer("filters", 64, "Filters of each convolution.", 1)
_NUM_CLASSES = flags.DEFINE_integer("num_classes", 5, "Classes of a task.", 2)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 5, "Images per class of a held-out task.", 1)
_TRAIN_SHOTS = flags.DEFINE_integer(
    "train_shots", None, "Images per class of a training task. Default: --num_shots.", 1
)
_TAIL_SHOTS = flags.DEFINE_integer(
    "tail_shots", 0, "Of these, how many only the last inner step sees, all at once; for --foml.", 0
)
_CLASS_ROTATIONS = flags.DEFINE_bool(
    "class_rotations", True, "In training a class turned by 90°, 180° or 270° is another class."
)
_INNER_OPTIMIZER = flags.DEFINE_enum(
    "inner_optimizer", "adam", ["adam", "sgd"], "Adam with β1 = 0 and moments that go on, or SGD."
)
# Of the sum, because the published code descends it. On a mean the same rate is a smaller step
# (docs/reptile.md).
_INNER_LEARNING_RATE = flags.DEFINE_float(
    "inner_learning_rate",
    1e-3,
    "Of a step down the sum of a batch's losses.",
    0,
)
_INNER_BATCH_SIZE = flags.DEFINE_integer("inner_batch_size", 5, "Images of an inner step.", 1)
_NUM_INNER_STEPS = flags.DEFINE_integer("num_inner_steps", 20, "Inner steps per task (K).", 1)
_WEIGHT_DECAY = flags.DEFINE_float(
    "weight_decay", 1.0, "What all weights are multiplied by before each inner step; 1: nothing."
)
_FOML = flags.DEFINE_bool("foml", False, "Move Φ by the last inner step's change alone.")
_EVAL_BATCH_SIZE = flags.DEFINE_integer(
    "eval_batch_size",
    5,
    "Images of an inner step on held-out tasks.",
    1,
)
_EVAL_INNER_STEPS = flags.DEFINE_integer("eval_inner_steps", 50, "Inner steps on those.", 1)
_LOOP = LoopFlags(
    flags,
    meta_learning_rate=0.1,
    rate_help="ε in Φ + ε(W − Φ).",
    num_meta_steps=400_000,
    log_every=1_000,
    eval_every=10_000,
    eval_help="rough accuracies and pictures of held-out tasks",
    checkpoint_every=1_000,
)
_META_BATCH_SIZE = flags.DEFINE_integer("meta_batch_size", 1, "Tasks of one meta-step.", 1)
# More than figr_tf.train's one: this network is small, and a call from Python costs a millisecond
# or two.
_META_STEPS_PER_CALL = flags.DEFINE_integer(
    "meta_steps_per_call", 20, "Meta-steps at a stretch; progress and Ctrl-C wait for them.", 1
)
_DISTRIBUTE = flags.DEFINE_enum(
    "distribute",
    "none",
    ["none", "mirrored", "multi_worker"],
    "See figr_tf.train.",
)
_START_TIMEOUT = flags.DEFINE_float(
    "start_timeout",
    300.0,
    "Seconds that workers wait for each other.",
    1,
)


def _settings() -> "ClassifierSettings":
    from figr_tf.classifier.adaptation import InnerLoop
    from figr_tf.classifier.networks import NetworkSpec
    from figr_tf.classifier.settings import ClassifierSettings

    data = _DATA.settings(_IMAGE_SIZE.value, int(_CHANNELS.value))
    return ClassifierSettings(
        data=data,
        network=NetworkSpec(
            architecture=_ARCHITECTURE.value,
            image_size=data.image_size,
            channels=data.channels,
            filters=_FILTERS.value,
            num_classes=_NUM_CLASSES.value,
        ),
        inner=InnerLoop(
            optimizer=_INNER_OPTIMIZER.value,
            learning_rate=_INNER_LEARNING_RATE.value,
            batch_size=_INNER_BATCH_SIZE.value,
            num_steps=_NUM_INNER_STEPS.value,
            weight_decay=_WEIGHT_DECAY.value,
        ),
        num_shots=_NUM_SHOTS.value,
        # None stands for the default; 0 is refused by the flag.
        train_shots=_TRAIN_SHOTS.value or _NUM_SHOTS.value,
        tail_shots=_TAIL_SHOTS.value,
        class_rotations=_CLASS_ROTATIONS.value,
        foml=_FOML.value,
        eval_batch_size=_EVAL_BATCH_SIZE.value,
        eval_inner_steps=_EVAL_INNER_STEPS.value,
        meta_batch_size=_META_BATCH_SIZE.value,
        meta_steps_per_call=_META_STEPS_PER_CALL.value,
        **_LOOP.settings(),
    )


def main() -> None:
    """Loads the data, trains, or prints the plan alone."""
    console.limit_operations_at_once(_META_BATCH_SIZE.value)
    with command.devices(_DISTRIBUTE.value, _START_TIMEOUT.value) as devices:
        from figr_tf.classifier.system import prepare

        # Only now: the settings' modules import TensorFlow, which `devices` has to start first.
        with refusals_in_one_line():
            settings = _settings()
        _LOOP.start(prepare(settings), devices)


if __name__ == "__main__":
    console.run(main)
