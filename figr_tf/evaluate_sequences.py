"""Judges runs of figr_tf.train_sequences: nats per pixel of held-out images, and samples.

  python -m figr_tf.evaluate_sequences --run RUN,LSTM --picture out.png

The runs stand beside each pixel's own frequency. Intervals are over images.
"""

import json
import os
import pathlib

from figr_tf.core import console
from figr_tf.core.errors import UserError

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_list("run", None, "Run folders, comma-separated.", required=True)
_NUM_IMAGES = flags.DEFINE_integer("num_images", 200, "Held-out images, a fixed choice.", 2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**31 - 1)
_DATA_DIR = flags.DEFINE_path("data_dir", None, "Folder with the files. Default: as in training.")
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_JSON = flags.DEFINE_path("json", None, "Write all numbers here, with versions and hashes.")
_MARKDOWN = flags.DEFINE_path("markdown", None, "Write the table here.")
_PICTURE = flags.DEFINE_path("picture", None, "Write held-out images and samples here.")


def main() -> None:
    """Prints the table, and writes what it is asked to."""
    # See figr_tf.train_sequences.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    outputs = ((_JSON.value, ".json"), (_MARKDOWN.value, ".md"), (_PICTURE.value, ".png"))
    for path, suffix in outputs:
        if path:
            console.check_output(path, [suffix])
    console.start_tensorflow()
    from figr_tf.sequences import evaluation
    from figr_tf.sequences.model import SequenceModel

    models = [SequenceModel(pathlib.Path(name)) for name in dict.fromkeys(_RUN.value)]
    if not models:
        raise UserError("--run: give at least one run folder.")
    if len({model.settings.network.image_size for model in models}) > 1:
        raise UserError("--run: runs of images of different sizes do not go into one table.")
    sequences = evaluation.load(models, _DATA_DIR.value, _CACHE_DIR.value)
    report = evaluation.run(models, sequences, _NUM_IMAGES.value)
    print(report.text(), flush=True)
    if _JSON.value:
        pathlib.Path(_JSON.value).write_text(json.dumps(report.numbers(), indent=1))
    if _MARKDOWN.value:
        pathlib.Path(_MARKDOWN.value).write_text(report.to_markdown() + "\n", encoding="utf-8")
    if _PICTURE.value:
        evaluation.picture(models, sequences, _SEED.value).save(_PICTURE.value)


if __name__ == "__main__":
    console.run(main)
