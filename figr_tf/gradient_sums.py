"""Draws the plot of gradient sums of OpenAI's Reptile post (2018): which gradients make it learn?

  python -m figr_tf.gradient_sums --out sums.png --data_dir=DIR

Ten runs of figr_tf.train_classifier, one after another, each in a folder below --runs_dir. The same
command again goes on where it was. The default rate is ten times the published one, so that the
differences show within minutes. As published:

  python -m figr_tf.gradient_sums --inner_learning_rate=0.003 --num_meta_steps=40000 \
    --eval_every=2000 --data_dir=DIR
"""

import pathlib

from figr_tf.core import command, console
from figr_tf.core.errors import refusals_in_one_line
from figr_tf.data.data_flags import DataFlags

flags = console.OwnFlags(__name__)

_OUT = flags.DEFINE_path("out", "gradient-sums.png", "Picture to write.")
# The split is published as random-1200, which is that of omniglot alone.
_DATA = DataFlags(flags, "What to train on.", default_dataset="omniglot")
_IMAGE_SIZE = flags.DEFINE_integer("image_size", 28, "Height and width in pixels.", 2)
_FILTERS = flags.DEFINE_integer("filters", 64, "Filters of each convolution.", 1)
_RATE = flags.DEFINE_float("inner_learning_rate", 0.03, "Of the SGD steps; published: 0.003.", 0)
_NUM_META_STEPS = flags.DEFINE_integer(
    "num_meta_steps", 3_000, "Of each run; published: 40,000, for all ten two to three hours.", 1
)
_EVAL_EVERY = flags.DEFINE_integer("eval_every", 500, "Meta-steps between points of a line.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Of initial weights and every draw.", 0, 2**31 - 1)
_RUNS_DIR = flags.DEFINE_path("runs_dir", "gradient-sums", "Folder of the ten run folders.")


def _base():
    from figr_tf.classifier import gradient_sums
    from figr_tf.classifier.networks import NetworkSpec

    published = "random-1200" if _DATA.dataset.value == "omniglot" else None
    return gradient_sums.base_settings(
        _RATE.value,
        data=_DATA.settings(_IMAGE_SIZE.value, default_split=published),
        network=NetworkSpec(image_size=_IMAGE_SIZE.value, filters=_FILTERS.value),
        num_meta_steps=_NUM_META_STEPS.value,
        seed=_SEED.value,
        # The plot reads the accuracies alone. More lines would only make the file longer.
        log_every=_EVAL_EVERY.value,
        eval_every=_EVAL_EVERY.value,
        # A call costs a millisecond or two, which counts where a meta-step is four inner steps at
        # most.
        meta_steps_per_call=20,
    )


def main() -> None:
    """Trains what is missing of the ten runs, then draws."""
    console.check_output(_OUT.value)
    console.limit_operations_at_once()
    with command.devices() as devices:
        from figr_tf.classifier import gradient_sums, system
        from figr_tf.core.runs import RunFolder

        with refusals_in_one_line():
            base = _base()
        below = pathlib.Path(_RUNS_DIR.value)
        settings = {c: c.settings(base) for c in gradient_sums.combinations()}
        # The classes that the largest tasks can be drawn from, in all runs: else their lines would
        # be of different data.
        images_per_class = max(s.images_per_class for s in settings.values())
        for combination, of_run in settings.items():
            print(combination.label, flush=True)
            training = system.prepare(of_run, images_per_class)
            command.run(training, command.Place(str(below / combination.folder), ""), devices)
        gradient_sums.draw(
            lambda combination: RunFolder(below / combination.folder),
            # 5-way 5-shot is what `ClassifierSettings` has by default, ε what `base_settings` has.
            f"5-way 5-shot, SGD {_RATE.value:g} on the sum of the losses, ε from 0.25 to 0;"
            f" {gradient_sums.HELD_OUT_STEPS} steps on a held-out task",
            pathlib.Path(_OUT.value),
        )
        print(f"look at {_OUT.value}", flush=True)


if __name__ == "__main__":
    console.run(main)
