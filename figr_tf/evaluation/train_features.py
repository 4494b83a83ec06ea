"""Trains the evaluation's embedding on the training classes of a data set, in ten minutes.

  python -m figr_tf.evaluation.train_features --dataset=icons --data_dir=icons.zip --out=icons.npz
  python -m figr_tf.evaluate --features=icons.npz --dataset=icons --data_dir=icons.zip

`figr_tf.evaluate` trains one by itself where it needs one; this command is for a file of one's own.
The weights in the package were made with --dataset=omniglot. Others make other scores: after
retraining those, EMBEDDING_SHA256 in features.py has to name the new file.
"""

import pathlib

from figr_tf.core import console
from figr_tf.data.data_flags import DataFlags

flags = console.OwnFlags(__name__)

_DATA = DataFlags(flags, "Whose training classes to train on.", "omniglot")
_OUT = flags.DEFINE_path("out", "features.npz", "File to write; its record goes beside it (.json).")
# 700 made the file in the package. Another number makes other scores.
_EPISODES = flags.DEFINE_integer(
    "episodes", 700, "Training episodes of 60 ways, 1 shot, 5 queries.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of the episodes.", 0)


def main() -> None:
    """Trains, writes weights and record, and prints the accuracy on held-out classes."""
    console.check_output(_OUT.value, (".npz",))
    settings = _DATA.settings()
    console.start_tensorflow()
    from figr_tf.evaluation import feature_training

    path = pathlib.Path(_OUT.value)
    dataset = feature_training.data_of(settings)
    recipe = feature_training.Recipe(_EPISODES.value, _SEED.value)
    record = feature_training.train_to(path, settings, dataset, recipe)
    print(f"{path}: sha256 {record['sha256']}")
    for task, accuracy in record["accuracy_held_out"].items():
        print(f"held-out classes, {task}: {accuracy:.3f}")


if __name__ == "__main__":
    console.run(main)
