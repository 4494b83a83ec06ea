"""Judges runs of figr_tf.train_sequences: nats per pixel of held-out images, and samples.

  python -m figr_tf.evaluate_sequences --run RUN,LSTM --picture out.png

The runs stand beside each pixel's own frequency. Intervals are over images.
"""

import pathlib

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.core.report_flags import ReportFlags

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_list("run", None, "Run folders, comma-separated.", required=True)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 200, "Held-out images, a fixed choice.", 2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**31 - 1)
_DATA_DIR = flags.DEFINE_path("data_dir", None, "Folder with the files. Default: as in training.")
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_REPORT = ReportFlags(flags)
_PICTURE = flags.DEFINE_path("picture", None, "Write held-out images and samples here.")


def main() -> None:
    """Prints the table, and writes what it is asked to."""
    console.one_operation_at_a_time()
    _REPORT.check()
    if _PICTURE.value:
        console.check_output(_PICTURE.value)
    console.start_tensorflow()
    from figr_tf.sequences import evaluation
    from figr_tf.sequences.model import SequenceModel

    models = [SequenceModel(pathlib.Path(name)) for name in dict.fromkeys(_RUN.value)]
    if not models:
        raise UserError("--run: give at least one run folder.")
    if len({model.settings.network.image_size for model in models}) > 1:
        raise UserError("--run: runs of images of different sizes do not go into one table.")
    sequences = evaluation.load(models, _DATA_DIR.value, _CACHE_DIR.value)
    _REPORT.write(evaluation.run(models, sequences, _NUM_IMAGES.value))
    if _PICTURE.value:
        evaluation.picture(models, sequences, _SEED.value).save(_PICTURE.value)


if __name__ == "__main__":
    console.run(main)
