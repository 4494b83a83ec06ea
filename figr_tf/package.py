"""Makes a packaged model of a run: one file of weights and what describes it, ready to ship.

python -m figr_tf.package --run runs/00001-omniglot-resnet-h64 --out my-model

A packaged model is used like a run: --run=my-model, or figr_tf.load("my-model").
"""

import pathlib

from figr_tf.core import console

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path(
    "run",
    None,
    "Run folder of figr_tf.train, train_warp, train_classifier, train_pixelcnn or, of images,"
    " train_sequences.",
    required=True,
)
_OUT = flags.DEFINE_path("out", None, "Folder to write; it must not exist.", required=True)
_FLOAT16 = flags.DEFINE_bool("float16", False, "Half the size, three digits of each weight.")


def main() -> None:
    """Writes the packaged model."""
    console.start_tensorflow()
    from figr_tf import models
    from figr_tf.classifier.model import ClassifierModel
    from figr_tf.core import runs, trained

    folder = models.find(_RUN.value)
    model = models.load_any(folder)
    # A classifier's inner loop starts from the second moments of its training. Without them it
    # would take other steps.
    carried = model.carried if isinstance(model, ClassifierModel) else ()
    out = pathlib.Path(_OUT.value)
    dtype = "float16" if _FLOAT16.value else "float32"
    size = trained.package(runs.RunFolder(folder), out, model.meta_weights(), carried, dtype)
    print(f"{out}: {model.age}, {size / 1e6:.2f} MB of weights")


if __name__ == "__main__":
    console.run(main)
