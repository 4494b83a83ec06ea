"""Tells which of a few classes an image is of, after a few inner steps on images of each.

  python -m figr_tf.classify --images a.png b.png c.png --query q.png
  python -m figr_tf.classify --run RUN --images a/ b/ c/ d/ e/ --query q.png

Each of the --images is a folder with the images of one class, or one image; there may be as many as
the classes of a task of the run of figr_tf.train_classifier, or fewer, but two at least.
"""

import os
import sys
from typing import TYPE_CHECKING

import numpy as np

from figr_tf.core import console
from figr_tf.core.errors import UserError

if TYPE_CHECKING:
    from figr_tf.classifier.model import ClassifierModel

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path(
    "run",
    "omniglot-3way",
    "Name of a shipped classifier, or run folder of figr_tf.train_classifier.",
)
_IMAGES = flags.DEFINE_multi_string(
    "images",
    None,
    "A class: a folder with its images, or one image.",
    required=True,
)
_QUERY = flags.DEFINE_path("query", None, "An image, or a folder of them.", required=True)
_INK = flags.DEFINE_enum("ink", "dark", ["dark", "light"], "Ink in the images given.")
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps", None, "Inner steps (K). Default: the run's, for held-out tasks.", 0
)
# Up to 2⁵³ − 1, as everywhere: JSON readers keep such integers whole.
_SEED = flags.DEFINE_integer("seed", 0, "Of the order in which images are seen.", 0, 2**53 - 1)


def spread(arguments: list[str]) -> list[str]:
    """--images a b c → --images=a --images=b --images=c, which is what absl understands."""
    result, within = [], False
    for argument in arguments:
        if argument.startswith("-"):
            within = argument in ("--images", "-images")
            if not within:
                result.append(argument)
        else:
            # What follows another flag is that flag's value, or a mistake that console.run names.
            result.append(f"--images={argument}" if within else argument)
    return result


def _support(model: "ClassifierModel") -> np.ndarray:
    """uint8 [classes, shots, S, S, C]: of each class as many images as the smallest has."""
    most, given = model.settings.network.num_classes, len(_IMAGES.value)
    if not 2 <= given <= most:
        raise UserError(
            f"--images: give 2 to {most} classes, a folder or an image each, as this run was"
            f" trained on {most}. Received: {given}."
        )
    if len(set(_IMAGES.value)) < given:
        # The two would share its probability, and the answer would look unsure.
        raise UserError("--images: a class is given twice.")
    paths = map(os.path.expanduser, _IMAGES.value)
    classes = [model.read_images(path, _INK.value) for path in paths]
    # One array, so one number of shots for all classes. A task of the training is like that, too.
    num_shots = min(map(len, classes))
    if num_shots < max(map(len, classes)):
        print(f"taking the first {num_shots} images of each class, as many as the smallest has")
    return np.stack([images[:num_shots] for images in classes])


def main() -> None:
    """Adapts to the classes and names the queries."""
    console.limit_operations_at_once()
    console.start_tensorflow()
    # After the start, which holds TensorFlow's banner back: these modules import TensorFlow.
    from figr_tf.classifier.model import ClassifierModel
    from figr_tf.models import find

    model = ClassifierModel(find(_RUN.value))
    support = _support(model)
    queries = model.read_images(_QUERY.value, _INK.value)
    answers = model.classify(support, queries, _SEED.value, _NUM_INNER_STEPS.value)
    for number, row in enumerate(answers):
        name = _QUERY.value if len(queries) == 1 else f"{_QUERY.value} [{number}]"
        order = np.argsort(-row)
        listed = ", ".join(f"{_IMAGES.value[i]} {100 * row[i]:.1f} %" for i in order)
        print(f"{name}: {listed}", flush=True)


if __name__ == "__main__":
    # Only as a program: whoever imports this module has arguments of their own.
    sys.argv[1:] = spread(sys.argv[1:])
    console.run(main)
