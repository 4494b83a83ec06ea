"""The pictures of README and docs: FIGR's samples of six classes as adaptation goes on.

  python -m benchmarks.adaptation_picture --data_dir=DIR --out=figr.png
  python -m benchmarks.adaptation_picture --run=RUN --data_dir=icons.zip --out=icons.png

Columns are held-out classes: the support set framed, below it samples after K = 0, 10, 50 and the
default number of inner steps, from the same latents. The classes are spread evenly over those that
`figr_tf.evaluate` takes, and the adaptations are those of its first seed: nothing is picked. Where
there are fewer classes than columns, such as MNIST's one, a class comes again with the supports of
the next seeds.
"""

import numpy as np
from PIL import Image, ImageDraw

from figr_common import image_grid
from figr_tf.core import console, progress

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path("run", "omniglot-32", "Shipped model or run folder of FIGR.")
_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder of the data. Default: as in the run's settings."
)
_OUT = flags.DEFINE_path("out", "figr.png", "Picture to write.")
_NUM_COLUMNS = flags.DEFINE_integer("num_columns", 6, "Classes shown.", 1)

# That of the results table, so that the picture shows what the table scores.
_NUM_EVALUATED = 200
_LABEL_WIDTH, _LABEL_SIZE, _LINE_GAP, _SHOWN_SIZE = 116, 17, 16, 64  # pixels
_MOST_IN_A_LINE = 28  # Images: seven classes of four.


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


def _stacked(lines: list[Image.Image]) -> Image.Image:
    """Pictures below each other, with a gap."""
    height = sum(line.height + _LINE_GAP for line in lines) - _LINE_GAP
    picture = Image.new("RGB", (max(line.width for line in lines), height), "white")
    top = 0
    for line in lines:
        picture.paste(line, (0, top))
        top += line.height + _LINE_GAP
    return picture


def shown(class_names: list[str], num_columns: int) -> list[tuple[str, int]]:
    """Class and seed of each column: evenly spaced, from one end of the names to the other.

    A class that is shown again, since there are not enough of them, has another seed, so that its
    support and samples are others.
    """
    places = np.linspace(0, len(class_names) - 1, num_columns).round().astype(int).tolist()
    return [
        (class_names[place], places[:column].count(place)) for column, place in enumerate(places)
    ]


def main() -> None:
    """Adapts to each class and puts the pictures side by side."""
    console.check_output(_OUT.value)
    console.start_tensorflow()
    from figr_tf import models
    from figr_tf.data import datasets
    from figr_tf.evaluation import planning, samplers
    from figr_tf.evaluation.episodes import draw_episode

    model = models.load_figr(models.find(_RUN.value))
    # A set, since a run's own K may be one of the others.
    steps = sorted({0, 10, 50, model.num_inner_steps})
    judged = samplers.choose(
        run=_RUN.value, saved_model=None, samples=None, episodes=None, num_samples=None, steps=[1]
    )
    # Another host has the data elsewhere, and a packaged model has forgotten where they lay.
    data = model.settings.data
    data = data.elsewhere(_DATA_DIR.value, data.cache_dir)
    dataset = datasets.load_dataset(data, judged.class_size)
    plan = planning.plan(judged, dataset, _NUM_EVALUATED, seeds=1)
    judged.check(dataset, plan)
    pictures = []
    columns = shown(list(plan.classes), _NUM_COLUMNS.value)
    for name, seed in progress.track(columns, "adapting", "classes"):
        images = plan.classes[name]
        support = images[draw_episode(name, len(images), plan.num_shots, seed).support]
        # As many as in the evaluation, of which the first are shown: these are its very samples.
        drawn = model.samples_along(support, steps, plan.num_samples, seed)
        rows = [samples[: plan.num_shots] for samples in drawn]
        scale = max(1, _SHOWN_SIZE // support.shape[1])
        pictures.append(image_grid.task_picture(support, np.concatenate(rows), scale=scale))
    labels = ["support", *(f"K = {k}" for k in steps)]
    per_line = max(1, _MOST_IN_A_LINE // plan.num_shots)
    starts = range(0, len(pictures), per_line)
    _stacked([_labelled(pictures[i : i + per_line], labels) for i in starts]).save(_OUT.value)
    print(f"look at {_OUT.value}")


if __name__ == "__main__":
    console.run(main)
