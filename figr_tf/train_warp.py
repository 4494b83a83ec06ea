"""Trains a generator that redraws the support: the kind of the shipped model omniglot-32 (docs/experiments.md).

  python -m figr_tf.train_warp --flagfile omniglot-32.flags --run=RUN
  python -m figr_tf.train_warp --dataset=folder --data_dir=DIR --run=RUN

The same command again continues an interrupted run.
"""

import pathlib

from absl import flags

from figr_tf import console, datasets
from figr_tf.errors import UserError

_DATASET = flags.DEFINE_enum("dataset", "glyphs", datasets.DATASETS, "What to train on; glyphs needs no download.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Folder with the data set's files. Default: what tensorflow-datasets downloads."
)
_SPLIT = flags.DEFINE_enum("split", None, datasets.SPLITS, "Which classes are held out; see figr_tf.train.")
_INK = flags.DEFINE_enum("ink", "dark", ["dark", "light"], "Ink in the files of --dataset=folder; light is inverted.")
_CACHE_DIR = flags.DEFINE_string("cache_dir", "~/.cache/figr_tf", "Folder for decoded images.")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 32, "Height and width in pixels, a multiple of 16.", lower_bound=16)
_RUN = flags.DEFINE_string("run", None, "Folder to train in.", required=True)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 4_000, "Training steps; the rate falls over the last 40 %.", 1)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Support images per task (n).", lower_bound=2)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of every draw.", 0, 2**31 - 1)


def main() -> None:
    device = console.start_tensorflow()
    from figr_tf import runs
    from figr_tf.warp import model, training

    try:
        data = datasets.DataSettings(
            _DATASET.value,
            _DATA_DIR.value,
            image_size=_IMAGE_SIZE.value,
            ink=_INK.value,
            split=_SPLIT.value,
            cache_dir=_CACHE_DIR.value,
        )
        settings = model.WarpSettings(data, _NUM_STEPS.value, num_shots=_NUM_SHOTS.value, seed=_SEED.value)
    except ValueError as error:
        raise UserError(str(error)) from error
    # Two drawings beside the support are the least that the energy distance is made of.
    dataset = datasets.load_dataset(data, settings.num_shots + 2)
    identity = settings.identity(dataset.split, dataset.data.digest())
    folder = runs.RunFolder(pathlib.Path(_RUN.value).expanduser())
    model.open_run(folder, identity, dataset.split)
    print(f"{dataset.split.describe()}; {settings.num_steps} steps on {device}; run folder: {folder.path}", flush=True)
    if not model.is_finished(folder.path):
        training.train(settings, dataset, folder, identity)
    print(f"finished: {folder.path}")


if __name__ == "__main__":
    console.run(main)
