"""The pictures of README and docs: FIGR's samples of six classes as adaptation goes on.

  python -m benchmarks.adaptation_picture --data_dir=DIR --out=figr.png
  python -m benchmarks.adaptation_picture --run=RUN --data_dir=icons.zip --out=icons.png

Columns are held-out classes: the support set framed, below it samples after K = 0, 10, 50 and the
default number of inner steps, from the same latents. The classes are spread evenly over those that
`figr_tf.evaluate` takes, and the adaptations are those of its first seed: nothing is picked.
"""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from figr_common import image_grid
from figr_tf.core import console, progress

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path("run", "omniglot-32", "Shipped model or run folder of FIGR.")
_DATA_DIR = flags.DEFINE_path("data_dir", None, "Folder of the data. Default: downloaded.")
_OUT = flags.DEFINE_path("out", "figr.png", "Picture to write.")
_NUM_COLUMNS = flags.DEFINE_integer("num_columns", 6, "Classes shown.", 1)

# Those of the results table, so that the picture shows what the table scores.
_NUM_EVALUATED, _SEED = 200, 0
_LABEL_WIDTH, _LABEL_SIZE = 116, 17  # pixels


def _labelled(pictures: list[Image.Image], labels: list[str]) -> Image.Image:
    """Pictures side by side, with the names of their rows, all of equal height, on the left."""
    tasks = image_grid.beside(pictures)
    picture = Image.new("RGB", (tasks.width + _LABEL_WIDTH, tasks.height), "white")
    picture.paste(tasks, (_LABEL_WIDTH, 0))
    draw = ImageDraw.Draw(picture)
    height = tasks.height / len(labels)
    for row, label in enumerate(labels):
        middle = (row + 0.5) * height - _LABEL_SIZE / 2
        draw.text((6, middle), label, fill="black", font_size=_LABEL_SIZE)
    return picture


def main() -> None:
    """Adapts to each class and puts the pictures side by side."""
    console.check_output(_OUT.value)
    console.start_tensorflow()
    from figr_tf import models
    from figr_tf.data import datasets
    from figr_tf.evaluation.episodes import choose_classes, draw_episode
    from figr_tf.evaluation.protocol import SAMPLES_PER_SHOT

    model = models.load_figr(models.find(_RUN.value))
    # A packaged model has forgotten where the data of its training lay.
    data = dataclasses.replace(model.settings.data, data_dir=_DATA_DIR.value)
    num_shots = model.settings.num_shots
    # As in its training, which left out the classes that are smaller.
    dataset = datasets.load_dataset(data, max(num_shots, model.settings.task_pool or 0))
    names = choose_classes(dataset.split.held_out, _NUM_EVALUATED)
    # The names are in order, alphabet by alphabet, so this takes from one end of them to the other.
    places = np.linspace(0, len(names) - 1, _NUM_COLUMNS.value).round().astype(int)
    # A set, since a run's own K may be one of the others.
    steps = sorted({0, 10, 50, model.num_inner_steps})
    pictures = []
    for name in progress.track([names[i] for i in places], "adapting", "classes"):
        images = dataset.images_of([name])[name]
        episode = draw_episode(name, len(images), num_shots, _SEED)
        support = images[episode.support]
        # As many as in the evaluation, of which the first are shown: these are its very samples.
        drawn = model.samples_along(support, steps, SAMPLES_PER_SHOT * num_shots, _SEED)
        rows = [samples[:num_shots] for samples in drawn]
        pictures.append(image_grid.task_picture(support, np.concatenate(rows)))
    _labelled(pictures, ["support", *(f"K = {k}" for k in steps)]).save(_OUT.value)
    print(f"look at {_OUT.value}")


if __name__ == "__main__":
    console.run(main)
