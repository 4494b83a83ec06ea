"""Trains a network that reads images or a text by gradient descent alone (unixpickle/reptile-gen).

  python -m figr_tf.train_sequences --flagfile flags/mnist-sequences.flags --data_dir=DIR
  python -m figr_tf.train_sequences --network=recurrent --num_meta_steps=2000
  python -m figr_tf.train_sequences --text=notes.txt

It predicts an image pixel by pixel from the pixel's position, and takes an SGD step on each pixel
as it is seen; of a text it does the same with the characters of a window. The same command again
continues an unfinished run of the same settings. Results are in a numbered folder below --runs_dir;
`figr_tf.evaluate_sequences` judges them (docs/likelihood.md). A run of images also draws from a few
images of a class (`figr_tf.generate`, `figr_tf.write_samples`).
"""

from typing import TYPE_CHECKING

from figr_tf.core import command, console
from figr_tf.core.errors import UserError, refusals_in_one_line
from figr_tf.core.loop_flags import LoopFlags
from figr_tf.data.data_flags import DataFlags
from figr_tf.data.settings import DataSettings

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.sequences.settings import SequenceSettings

flags = console.OwnFlags(__name__)

# Without a default: whoever gives both a data set and a text is told so.
_DATA = DataFlags(
    flags,
    "Images to train on. Default: glyphs, which needs no download.",
    tells_if_given=True,
    split_help="Classes of images that are held out. Default: every tenth image is, of any class.",
)
_TEXT = flags.DEFINE_path(
    "text", None, "A text in UTF-8 to train on, instead of a data set of images."
)
_LENGTH = flags.DEFINE_integer("length", 100, "Characters of a window of --text.", 2)
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 28, "Height and width in pixels.", 2)
_NETWORK = flags.DEFINE_enum(
    "network",
    "gated",
    ["gated", "mlp", "recurrent"],
    "Blocks like an LSTM's cell, or of a linear layer and ReLU; or an LSTM, the baseline, which"
    " sees what it reads and takes no steps.",
)
_WIDTH = flags.DEFINE_integer("width", 64, "Units of every layer, even.", 2)
_NUM_BLOCKS = flags.DEFINE_integer("num_blocks", 2, "Blocks of the network.", 1)
_NUM_SEQUENCES = flags.DEFINE_integer(
    "num_sequences", 8, "Images, or windows of text, of a meta-step.", 1
)
_INNER_LEARNING_RATE = flags.DEFINE_float(
    "inner_learning_rate", 0.01, "Of the SGD step on each pixel or character."
)
_OBJECTIVE = flags.DEFINE_enum(
    "objective",
    "reptile",
    ["reptile", "maml"],
    "Towards where the steps lead, or down the gradient through all steps (much memory).",
)
_LOOP = LoopFlags(
    flags,
    meta_learning_rate=1e-3,
    num_meta_steps=5_000,
    eval_every=1_000,
    eval_help="rough scores and pictures of samples",
    checkpoint_every=200,
)
_META_AVERAGE = flags.DEFINE_float(
    "meta_average",
    0.998,
    "Decay of an average of Φ, which a trained run is judged with; 0: Φ itself.",
    0,
)


def _check() -> None:
    """Refuses flags about images beside a text, and the other way round."""
    of_images = (_DATA.dataset, _DATA.data_dir, _DATA.cache_dir, _IMAGE_SIZE)
    given = [f"--{flag.name}" for flag in of_images if flag.value != flag.default]
    if _TEXT.value and (given := given + _DATA.given_beside_dataset()):
        raise UserError(f"{given[0]} is about images, beside --text. Give one of the two.")
    if _DATA.has_unused_split_seed:
        raise UserError("--split_seed is of a random --split. Give --split=random as well.")
    if not _TEXT.value and _LENGTH.value != _LENGTH.default:
        raise UserError("--length is about a text. Give --text as well, or leave it away.")


def _settings() -> "SequenceSettings":
    from figr_tf.sequences.networks import NetworkSpec
    from figr_tf.sequences.settings import SequenceSettings
    from figr_tf.sequences.text import TextSettings

    data: DataSettings | TextSettings
    if _TEXT.value:
        data, size, length = TextSettings(_TEXT.value, _LENGTH.value), 0, _LENGTH.value
    else:
        size, length = _IMAGE_SIZE.value, 0
        data = _DATA.settings(size)
    return SequenceSettings(
        data=data,
        network=NetworkSpec(_NETWORK.value, size, _WIDTH.value, _NUM_BLOCKS.value, length),
        num_sequences=_NUM_SEQUENCES.value,
        inner_learning_rate=_INNER_LEARNING_RATE.value,
        objective=_OBJECTIVE.value,
        meta_average=_META_AVERAGE.value,
        **_LOOP.settings(),
    )


def main() -> None:
    """Loads the data, trains, or prints the plan alone."""
    _check()
    console.limit_operations_at_once()
    with command.devices() as devices:
        from figr_tf.sequences.system import prepare

        with refusals_in_one_line():
            settings = _settings()
        _LOOP.start(prepare(settings), devices)


if __name__ == "__main__":
    console.run(main)
