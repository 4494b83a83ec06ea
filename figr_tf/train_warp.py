"""Trains a warp generator: new drawings of a character by redrawing its few examples (docs/experiments.md).

python -m figr_tf.train_warp --data_dir=DIR --run=RUN
python -m figr_tf.evaluate --run RUN --data_dir=DIR
"""

import pathlib

from absl import flags

from figr_tf import console, datasets
from figr_tf.errors import UserError

_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of Omniglot's files. Default: through tensorflow-datasets.")
_CACHE_DIR = flags.DEFINE_string("cache_dir", "~/.cache/figr_tf", "Folder for decoded images.")
_SPLIT = flags.DEFINE_enum("split", "unseen-alphabets", ["unseen-alphabets", "validation"], "Whose classes train it.")
_FEATURES = flags.DEFINE_string(
    "features", None, "Feature network of train_features, not the referee's. Default: the blurred pixels alone."
)
_RUN = flags.DEFINE_string("run", None, "Folder to save into.", required=True)
_NUM_STEPS = flags.DEFINE_integer("num_steps", 5_000, "Training steps.", lower_bound=1)
_LEARNING_RATE = flags.DEFINE_float("learning_rate", 1e-3, "Adam's rate.", lower_bound=0)
_UPRIGHT = flags.DEFINE_float("upright_share", 0.6, "Share of tasks that are not turned by 90°, 180° or 270°.", 0, 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of every draw.", 0, 2**31 - 1)


def main() -> None:
    folder = pathlib.Path(_RUN.value).expanduser()
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: not empty. Choose another --run.")
    console.start_tensorflow()
    from figr_tf import energy, warp_model, warp_training

    coach = energy.CharacterSpace(pathlib.Path(_FEATURES.value).expanduser()) if _FEATURES.value else None
    data = datasets.DataSettings("omniglot", _DATA_DIR.value, split=_SPLIT.value, cache_dir=_CACHE_DIR.value)
    settings = warp_model.WarpSettings(
        data,
        coach.sha256 if coach else None,
        num_steps=_NUM_STEPS.value,
        learning_rate=_LEARNING_RATE.value,
        upright_share=_UPRIGHT.value,
        seed=_SEED.value,
    )
    dataset = datasets.load_dataset(data, num_shots=settings.num_shots + 2)
    warp_training.train(settings, dataset, coach, folder)
    print(f"finished: {folder}")


if __name__ == "__main__":
    console.run(main)
