"""Judges runs of figr_tf.train_sequences: nats per pixel or character held out, and samples.

  python -m figr_tf.evaluate_sequences --run RUN,LSTM --picture out.png --gif out.gif
  python -m figr_tf.evaluate_sequences --run RUN_OF_A_TEXT --samples out.txt

The runs stand beside the frequency of each pixel's ink, or of each character. Intervals are over
images, or over windows of the text.
"""

import pathlib

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.evaluation.report_flags import ReportFlags, run_names

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_list("run", None, "Run folders, comma-separated.", required=True)
_NUM_HELD_OUT = flags.DEFINE_integer(
    "num_held_out", 200, "Held-out images or windows to read, a fixed choice.", 2
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**31 - 1)
_DATA_DIR = flags.DEFINE_path("data_dir", None, "Folder with the files. Default: as in training.")
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_TEXT = flags.DEFINE_path("text", None, "The text's file. Default: as in training.")
_REPORT = ReportFlags(flags)
_PICTURE = flags.DEFINE_path("picture", None, "Write a picture of held-out data and samples here.")
_GIF = flags.DEFINE_path(
    "gif", None, "Write four held-out images here as they are read, and what each pixel cost."
)
_SAMPLES = flags.DEFINE_path("samples", None, "Write sampled texts here, for runs of a text.")


def main() -> None:
    """Prints the table, and writes what it is asked to."""
    console.limit_operations_at_once()
    _REPORT.check()
    for flag, suffix in ((_PICTURE, ".png"), (_GIF, ".gif"), (_SAMPLES, ".txt")):
        if flag.value:
            console.check_output(flag.value, [suffix])
    console.start_tensorflow()
    from figr_tf.sequences import animation, evaluation
    from figr_tf.sequences.model import SequenceModel
    from figr_tf.sequences.text import Text

    models = [SequenceModel(pathlib.Path(name)) for name in run_names(_RUN, by_name=True)]
    sequences = evaluation.load(models, _DATA_DIR.value, _CACHE_DIR.value, _TEXT.value)
    if _SAMPLES.value and not isinstance(sequences, Text):
        raise UserError("--samples: these are runs of images. Give --picture.")
    if _GIF.value and isinstance(sequences, Text):
        raise UserError("--gif: these are runs of a text. Give --samples or --picture.")
    _REPORT.write(evaluation.run(models, sequences, _NUM_HELD_OUT.value))
    if _PICTURE.value:
        evaluation.picture(models, sequences, _SEED.value).save(_PICTURE.value)
    if _GIF.value:
        animation.save(_GIF.value, models, sequences)
    if _SAMPLES.value and isinstance(sequences, Text):
        texts = evaluation.sampled_texts(models, sequences, _SEED.value)
        pathlib.Path(_SAMPLES.value).write_text(texts, encoding="utf-8")


if __name__ == "__main__":
    console.run(main)
