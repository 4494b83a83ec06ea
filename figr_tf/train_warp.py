"""Trains a network that redraws its support, such as omniglot-32-redraw (docs/experiments.md).

  python -m figr_tf.train_warp --flagfile flags/omniglot-32-redraw.flags --run=RUN
  python -m figr_tf.train_warp --dataset=folder --data_dir=DIR --run=RUN

The same command again continues an interrupted run.
"""

from figr_tf.core import command, console
from figr_tf.core.errors import refusals_in_one_line
from figr_tf.data import datasets
from figr_tf.data.data_flags import DataFlags

flags = console.OwnFlags(__name__)

_DATA = DataFlags(flags, "What to train on; glyphs needs no download.")
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", 32, "Height and width in pixels, a multiple of 16.", lower_bound=16
)
_RUN = flags.DEFINE_path("run", None, "Folder to train in.", required=True)
_NUM_STEPS = flags.DEFINE_integer(
    "num_steps", 4_000, "Training steps; the rate falls over the last 40 %.", 1
)
# With one image copying has no two different copies, and the unit of the loss would be 0 / 0.
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Support images per task (n).", lower_bound=2)
_MIN_DRAWINGS = flags.DEFINE_integer(
    "min_drawings",
    None,
    "Drawings that a class has at the least; others are left out. Of each class as many are used as"
    " the smallest has, 64 at most. Default: n + 2.",
    lower_bound=4,
)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Seed of the initial weights and of every draw.", 0, 2**31 - 1
)


def main() -> None:
    """Loads the data and trains."""
    with command.devices() as devices:
        from figr_tf.warp.settings import WarpSettings
        from figr_tf.warp.system import WarpSystem, num_drawings

        with refusals_in_one_line():
            settings = WarpSettings(
                data=_DATA.settings(_IMAGE_SIZE.value),
                num_meta_steps=_NUM_STEPS.value,
                num_shots=_NUM_SHOTS.value,
                min_drawings=_MIN_DRAWINGS.value,
                seed=_SEED.value,
            )
        dataset = datasets.load_dataset(settings.data, settings.class_size)
        used = num_drawings(dataset, dataset.split.training, settings.num_shots)
        training = command.Training(
            settings=settings,
            data_facts=dataset.facts(),
            files={"split.json": dataset.split.to_json()},
            plan=f"{dataset.split.describe()}; {used} drawings of each class;"
            f" {settings.num_meta_steps} steps",
            # Its pictures are drawn eagerly, so XLA has nothing to compile in them.
            build_system=lambda compiled: WarpSystem(settings, dataset),
        )
        # There is no folder of numbered runs here: --run is required.
        command.run(training, command.Place(_RUN.value, ""), devices)


if __name__ == "__main__":
    console.run(main)
