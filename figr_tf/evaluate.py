"""Judges few-shot samples by skill over copying (docs/evaluation.md).

It judges a run on its own data, a SavedModel or anyone's images:

  python -m figr_tf.evaluate --run RUN --data_dir=DIR --json=out.json --picture=out.png
  python -m figr_tf.evaluate --saved_model models/figr/1 --data_dir=DIR
  python -m figr_tf.evaluate --samples=FOLDER --episodes=episodes.json --data_dir=DIR

Without any of them it prints the reference rows alone. Data other than Omniglot, your own say:

  python -m figr_tf.evaluate --dataset=icons --data_dir=icons.zip
  python -m figr_tf.evaluate --run omniglot-32 --dataset=folder --data_dir=my_sketches --split=all

Two other uses:

  python -m figr_tf.evaluate --write_episodes=episodes.json --data_dir=DIR
                             what another generator adapts to
  python -m figr_tf.evaluate --write_deck=deck.npz --data_dir=DIR
                             trials for people: serving.judge
"""

import pathlib
from typing import TYPE_CHECKING

from figr_common import images
from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.data import datasets
from figr_tf.data.data_flags import DataFlags
from figr_tf.data.splits import Split
from figr_tf.evaluation.report_flags import ReportFlags, rising

if TYPE_CHECKING:  # What imports TensorFlow waits until --help and misspelt flags are dealt with.
    from figr_tf.evaluation.judged import Judged

flags = console.OwnFlags(__name__)
_NOT_FOR_DECKS = (
    *("write_episodes", "features", "num_shots", "num_samples", "num_inner_steps", "seeds"),
    *("image_size", "channels", "picture", "json", "markdown"),
)
_ALL = "all"  # A split that trains on nothing.

_RUN = flags.DEFINE_path(
    "run",
    None,
    "Run folder of figr_tf.train or train_warp, or the name of a shipped model, to judge.",
)
_SAVED_MODEL = flags.DEFINE_path(
    "saved_model", None, "SavedModel with a generate_tensor signature to judge."
)
_SAMPLES = flags.DEFINE_path(
    "samples", None, "Folder of images to judge, a folder per class; needs --episodes."
)
_EPISODES = flags.DEFINE_path(
    "episodes", None, "File of --write_episodes that the --samples were made for."
)
_WRITE_EPISODES = flags.DEFINE_path(
    "write_episodes", None, "Write the episodes of the first seed here, and stop."
)
_WRITE_DECK = flags.DEFINE_path(
    "write_deck", None, "Write trials for serving.judge here, and stop."
)
_DECK_MODELS = flags.DEFINE_list(
    "deck_models",
    ["omniglot-32", "omniglot-32-redraw"],
    "Shipped models or run folders in the deck.",
)
_DECK_TRIALS = flags.DEFINE_integer(
    "deck_trials", 100, "Trials, a multiple of 20, each of its own class.", 20
)
_DECK_SEED = flags.DEFINE_integer(
    "deck_seed", 0, "Seed of the deck's classes, drawings and order.", 0
)
_DECK_GLYPHS = flags.DEFINE_bool(
    "deck_glyphs",
    False,
    "A deck of drawn glyphs in place of Omniglot's characters: a demonstration.",
)
_DATA = DataFlags(
    flags,
    "Data to judge on. Default: what the --run was trained on, otherwise omniglot.",
    default_dataset="omniglot",
    tells_if_given=True,
    more_splits=[_ALL],
)
_IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Height and width in pixels. Default: what is judged says, or 32.", 32
)
_CHANNELS = flags.DEFINE_integer(
    "channels", None, "1: grey, 3: colour. Default: what is judged says, or 1."
)
_FEATURES = flags.DEFINE_path(
    "features",
    None,
    "Feature network: a file of figr_tf.evaluation.train_features, or omniglot for the one that"
    " ships. Default: that one for omniglot and for data of few classes, otherwise one that is"
    " trained on the training classes (minutes, once).",
)
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes", 200, "Held-out classes, a fixed choice of them.", lower_bound=2
)
_NUM_SHOTS = flags.DEFINE_integer(
    "num_shots", None, "Support images per class (n). Default: the run's, or 4.", lower_bound=1
)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", None, "Samples per class (M), at least 16·n, which is the default.", 2
)
_NUM_INNER_STEPS = flags.DEFINE_list(
    "num_inner_steps",
    [],
    "Inner steps (K), one row each. Default: 10, 50 and what a run draws with by default.",
)
_SEEDS = flags.DEFINE_integer(
    "seeds",
    None,
    "Seeds, each with episodes and adaptations of its own. Default: 3, or 20 for fewer than four"
    " classes.",
    1,
)
_REPORT = ReportFlags(flags)
_PICTURE = flags.DEFINE_path(
    "picture", None, "Write the best, median and worst classes at the largest K here."
)


def _check_flags() -> None:
    judged = [name for name in ("run", "saved_model", "samples") if flags.FLAGS[name].value]
    record = pathlib.Path(_FEATURES.value or "omniglot").with_suffix(".json")
    if _FEATURES.value not in (None, "omniglot") and _REPORT.goes_to(record):
        raise UserError(f"{record}: is the record of --features. Write the report elsewhere.")
    if len(judged) > 1:
        raise UserError(f"--{judged[0]} and --{judged[1]}: judge one at a time.")
    if _WRITE_DECK.value:
        judged += [name for name in _NOT_FOR_DECKS if flags.FLAGS[name].value]
        if judged or _DATA.dataset.value or _DATA.given_beside_dataset():
            raise UserError(
                f"--{judged[0] if judged else 'dataset'}: a deck is of Omniglot's characters, or"
                " --deck_glyphs; --deck_models names what draws."
            )
    elif _PICTURE.value and not judged:
        raise UserError("--picture shows samples: give --run, --saved_model or --samples.")
    if bool(_SAMPLES.value) != bool(_EPISODES.value):
        raise UserError(
            "--samples and --episodes go together: the file says which drawings were the support."
        )
    if _CHANNELS.value not in (None, 1, 3):
        raise UserError(f"--channels={_CHANNELS.value}: give 1 (grey) or 3 (colour).")
    _REPORT.check()
    if _PICTURE.value:
        console.check_output(_PICTURE.value, images.writable_suffixes())
    for path in filter(None, (_WRITE_EPISODES.value, _WRITE_DECK.value)):
        console.check_output(path, suffixes=())


def _data_settings(judged: "Judged") -> datasets.DataSettings:
    # An export or a run draws in one form only. Real drawings must be read in the same one.
    size, channels = judged.image_form or (32, 1)
    for flag, value in ((_IMAGE_SIZE, size), (_CHANNELS, channels)):
        if judged.image_form and flag.value not in (None, value):
            raise UserError(f"--{flag.name}={flag.value}: {judged.name} has {value}.")
    if judged.data_settings and not _DATA.dataset.value:
        if given := _DATA.given_beside_dataset():
            raise UserError(
                f"{given[0]}: a run is judged on the data and split that it was trained on. Give"
                " --dataset too to judge it on other data."
            )
        return judged.data_settings.elsewhere(_DATA.data_dir.value, _DATA.cache_dir.value)
    return _DATA.settings(_IMAGE_SIZE.value or size, _CHANNELS.value or channels)


def _is_on_own_data(judged: "Judged") -> bool:
    return bool(judged.data_settings and not _DATA.dataset.value)


def _load(judged: "Judged", settings: datasets.DataSettings) -> datasets.Dataset:
    from figr_tf.evaluation import features

    if settings.image_size < features.IMAGE_SIZE:
        raise UserError(
            f"images are judged at {features.IMAGE_SIZE}×{features.IMAGE_SIZE} pixels; those of"
            f" {judged.name} are smaller: image_size={settings.image_size}."
        )
    own = _is_on_own_data(judged)
    # A run's own split lacks the classes that were too small for its training. With another least
    # size the split would be another one, and the check of it would refuse the run.
    dataset = datasets.load_dataset(settings, judged.class_size if own else 1)
    if _DATA.split.value != _ALL:
        return dataset
    # No class is one that was trained on: the model comes from other data.
    return dataset._replace(split=Split(_ALL, (), tuple(sorted(dataset.data.counts))))


def _deck_data() -> tuple[datasets.DataSettings, dict]:
    if _DECK_GLYPHS.value:
        return datasets.DataSettings(), {
            "data": "Drawings: glyphs that the program draws, each class another few strokes.",
            "demonstration": True,
        }
    settings = datasets.DataSettings(
        "omniglot", _DATA.data_dir.value, cache_dir=_DATA.cache_dir.value
    )
    return settings, {
        "data": "Drawings: Omniglot (Lake, Salakhutdinov, Tenenbaum 2015), characters of its"
        " evaluation set, which no model here has seen.",
        "demonstration": False,
    }


def _make_deck(path: pathlib.Path) -> None:
    from figr_tf.evaluation import deck, sources

    settings, facts = _deck_data()
    dataset = datasets.load_dataset(settings, num_shots=deck.NUM_SHOTS)
    classes = dataset.images_of(dataset.split.held_out)
    shape = next(iter(classes.values())).shape[1:]
    # Before any drawing: a model that does not fit the data is known at once.
    chosen = sources.choose(_DECK_MODELS.value, shape)
    sources.refuse_seen(_DECK_MODELS.value, classes)
    made = deck.make(classes, chosen, _DECK_TRIALS.value, _DECK_SEED.value, facts)
    made.write(path)
    print(f"{path}: {len(made.support)} trials, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Judges, or writes what others are to judge by."""
    _check_flags()
    # Rising, since one adaptation goes on from each K to the next.
    wanted = "whole numbers, 1 or more; 0 steps has a row of its own"
    steps = rising(_NUM_INNER_STEPS, int, 1, wanted, may_be_empty=True)
    console.start_tensorflow()
    if _WRITE_DECK.value:
        _make_deck(pathlib.Path(_WRITE_DECK.value))
        return
    from figr_tf.evaluation import feature_training, planning, report, samplers

    judged = samplers.choose(
        run=_RUN.value,
        saved_model=_SAVED_MODEL.value,
        samples=_SAMPLES.value,
        episodes=_EPISODES.value,
        num_samples=_NUM_SAMPLES.value,
        steps=steps,
        cache_dir=_DATA.cache_dir.value,
        num_shots=_NUM_SHOTS.value,
    )
    settings = _data_settings(judged)
    dataset = _load(judged, settings)
    plan = planning.plan(judged, dataset, _NUM_CLASSES.value, _SEEDS.value)
    if _is_on_own_data(judged) or not judged.data_settings:
        judged.check(dataset, plan)
    if not _is_on_own_data(judged):
        judged.check_other_data(settings, dataset, plan)
    # Before the feature network is chosen. Episodes do not need one, and to train one takes
    # minutes.
    if _WRITE_EPISODES.value:
        pathlib.Path(_WRITE_EPISODES.value).write_text(report.episode_file(dataset, plan))
        print(f"{_WRITE_EPISODES.value}: {len(plan.classes)} episodes")
        return
    embedding = feature_training.choose(_FEATURES.value, settings, dataset)
    found = report.make(judged, report.Data(settings, dataset, embedding), plan)
    # The table comes before the picture, so that no full disk takes it away.
    _REPORT.write(found)
    if _PICTURE.value and (picture := found.picture()):
        picture.save(_PICTURE.value)


if __name__ == "__main__":
    console.run(main)
