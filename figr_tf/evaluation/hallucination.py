"""What samples are good for: few-shot classification with and without them.

  python -m figr_tf.evaluation.hallucination --data_dir=DIR
  python -m figr_tf.evaluation.hallucination --samples=A,B --episodes=one.json --data_dir=DIR
                             images made elsewhere, for `figr_tf.evaluate --num_shots=1
                             --write_episodes=one.json` with the same --split and --num_classes

After Hariharan & Girshick 2017 (arXiv:1606.02819). Of each class there is one drawing. A generator
makes samples of it, and the class' prototype is the mean of the drawing and its samples, in the
space of the evaluation's embedding. Real drawings of held-out characters of Omniglot are then told
among 20 classes by the nearest prototype (Snell et al. 2017).
"""

import pathlib
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from figr_common import student
from figr_tf.core import console, progress
from figr_tf.core.errors import UserError
from figr_tf.data import datasets
from figr_tf.evaluation.report_flags import ReportFlags, run_names

flags = console.OwnFlags(__name__)

_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder of Omniglot's files. Default: through tensorflow-datasets."
)
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_MODELS = flags.DEFINE_list(
    "models", ["omniglot-32", "omniglot-32-redraw"], "Shipped models or run folders."
)
_SAMPLES = flags.DEFINE_list(
    "samples", [], "Folders of images, a folder per class in each; need --episodes."
)
_EPISODES = flags.DEFINE_path("episodes", None, "File that the --samples were made for.")
_SPLIT = flags.DEFINE_enum(
    "split",
    "unseen-alphabets",
    ["unseen-alphabets", "45-5"],
    "Which characters are held out; the shipped models have seen neither these nor those.",
)
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes", 200, "Held-out characters, a fixed choice of them.", 20
)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 1, "Real drawings of a class (n).", 1, 8)
# Few, since with many a prototype is that of the samples alone.
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 8, "Samples added to them, at most.", 1)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the episodes, the samples and the ways.", 0)
_REPORT = ReportFlags(flags)

WITHOUT = "nothing added"

# uint8 [m, S, S, C] → features [m, d].
Embed = Callable[[np.ndarray], np.ndarray]


class Accuracies(NamedTuple):
    """Share of a class' real drawings that are told right, [classes], by what was added.

    Attributes:
        facts: for machines: what the numbers depend on, and the names of the classes in order.
    """

    per_class: Mapping[str, np.ndarray]
    num_shots: int
    num_samples: int
    seed: int
    split: str = ""
    facts: Mapping[str, Any] = MappingProxyType({})

    def to_markdown(self) -> str:
        """Per cent right, and how many points what was added brings, ± 95 % by Student."""
        without = self.per_class[WITHOUT]
        lines = ["| added to the drawing | 20-way % | gain, points |", "|---|---|---|"]
        for name, right in self.per_class.items():
            # Class by class: what is hard for one row is hard for the others.
            gain = "" if name == WITHOUT else _with_margin(right - without, "+")
            lines.append(f"| {name} | {_with_margin(right)} | {gain} |")
        return "\n".join(lines)

    def text(self) -> str:
        """The table, and what it is of."""
        return (
            f"{len(self.per_class[WITHOUT])} held-out characters, n = {self.num_shots}, up to"
            f" {self.num_samples} samples, seed {self.seed}; {self.split}\n\n{self.to_markdown()}"
        )

    def numbers(self) -> dict[str, Any]:
        """For machines."""
        rows = {name: right.tolist() for name, right in self.per_class.items()}
        fields = {name: value for name, value in self._asdict().items() if name != "facts"}
        return fields | {"per_class": rows} | dict(self.facts)


def _with_margin(shares: np.ndarray, sign: str = "") -> str:
    return f"{100 * shares.mean():{sign}.1f} ± {100 * student.margin(shares):.1f}"


def measure(
    classes: Mapping[str, np.ndarray],
    sources: Mapping,
    embed: Embed,
    num_shots: int,
    num_samples: int,
    seed: int,
) -> Accuracies:
    """Adds each source's drawings to the support of every class, and tells R by the prototypes.

    Args:
        classes: name → all of its drawings, uint8 [count, S, S, C]. 20 of them or more.
        sources: name → `sources.Source`. `decks.REAL` adds H, which is apart from R.
        embed: the space in which prototypes are means.

    Raises:
        DataError: a class with too few drawings.
    """
    from figr_tf.evaluation import scores
    from figr_tf.evaluation.episodes import draw_episode

    prototypes: dict[str, list[np.ndarray]] = {name: [] for name in (WITHOUT, *sources)}
    told = []
    for name, drawings in progress.track(list(classes.items()), "drawing", "characters"):
        episode = draw_episode(name, len(drawings), num_shots, seed)
        support = embed(drawings[episode.support])
        told.append(embed(drawings[episode.reference]))
        prototypes[WITHOUT].append(support.mean(0))
        # A seed for each class; with one for all, every class would get the same latents.
        own_seed = zlib.crc32(f"{seed} {name}".encode())
        for label, source in sources.items():
            added = embed(source.draw(drawings, episode, num_samples, own_seed))
            prototypes[label].append(np.concatenate([support, added]).mean(0))
    right = {
        # The same generator for every row, so that all are told from the same other classes.
        label: scores.recognised(told, np.stack(centres), np.random.default_rng(seed))
        for label, centres in prototypes.items()
    }
    return Accuracies(right, num_shots, num_samples, seed)


def main() -> None:
    """Draws, classifies, and prints the table."""
    _REPORT.check()
    if bool(_SAMPLES.value) != bool(_EPISODES.value):
        raise UserError("--samples and --episodes go together.")
    if _SAMPLES.value and _SEED.value:
        raise UserError(
            f"--seed={_SEED.value}: --samples are for the episodes of the first seed. Leave one of"
            " the two away."
        )
    console.start_tensorflow()
    from figr_tf.core import runs
    from figr_tf.evaluation import features, sources
    from figr_tf.evaluation.episodes import choose_classes

    settings = datasets.DataSettings(
        "omniglot", _DATA_DIR.value, split=_SPLIT.value, cache_dir=_CACHE_DIR.value
    )
    dataset = datasets.load_dataset(settings, num_shots=_NUM_SHOTS.value)
    names = choose_classes(dataset.split.held_out, _NUM_CLASSES.value)
    chosen = dict(sources.choose(_MODELS.value, (features.IMAGE_SIZE, features.IMAGE_SIZE, 1)))
    sources.refuse_seen(_MODELS.value, names)
    for folder in map(pathlib.Path, run_names(_SAMPLES, by_name=True) if _SAMPLES.value else ()):
        if folder.name in chosen:
            raise UserError(f"{folder}: another row has the name {folder.name}.")
        chosen[folder.name] = sources.of_folder(
            folder, pathlib.Path(_EPISODES.value), dataset.images_of(names)
        )
    embedding = features.Embedding()
    found = measure(
        dataset.images_of(names),
        chosen,
        embedding.embed,
        _NUM_SHOTS.value,
        _NUM_SAMPLES.value,
        _SEED.value,
    )
    facts = {
        "classes": names,
        "data_sha256": dataset.data.digest(),
        "embedding_sha256": embedding.sha256,
        "models": {name: source.weights_sha256 for name, source in chosen.items()},
        "versions": runs.versions(),
    }
    _REPORT.write(found._replace(split=dataset.split.describe(), facts=facts))


if __name__ == "__main__":
    console.run(main)
