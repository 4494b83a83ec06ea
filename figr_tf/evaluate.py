"""Judges few-shot samples by skill over copying (docs/evaluation.md).

It judges a run, a SavedModel or anyone's images:

  python -m figr_tf.evaluate --run RUN --data_dir=DIR --json=out.json --picture=out.png
  python -m figr_tf.evaluate --saved_model models/figr/1 --data_dir=DIR
  python -m figr_tf.evaluate --samples=FOLDER --episodes=episodes.json --data_dir=DIR

Without any of them it prints the reference rows alone. Two other uses:

  python -m figr_tf.evaluate --write_episodes=episodes.json --data_dir=DIR
                             what another generator adapts to
  python -m figr_tf.evaluate --write_deck=deck.npz --data_dir=DIR
                             trials for people: serving.judge
"""

import dataclasses
import pathlib

from figr_tf.core import console
from figr_tf.core.errors import UserError
from figr_tf.data import datasets

flags = console.OwnFlags(__name__)

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
_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder of Omniglot's files. Default: through tensorflow-datasets."
)
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)
_NUM_CLASSES = flags.DEFINE_integer(
    "num_classes", 200, "Held-out classes, a fixed choice of them.", lower_bound=2
)
_NUM_SHOTS = flags.DEFINE_integer("num_shots", 4, "Support images per class (n).", lower_bound=1)
_NUM_SAMPLES = flags.DEFINE_integer(
    "num_samples", 64, "Samples per class (M), at least 16·n.", lower_bound=2
)
_NUM_INNER_STEPS = flags.DEFINE_list(
    "num_inner_steps", ["1", "5", "10", "20", "50"], "Inner steps (K), one row each."
)
_SEEDS = flags.DEFINE_integer(
    "seeds", 3, "Number of seeds, each with episodes and adaptations of its own.", 1
)
_JSON = flags.DEFINE_path(
    "json", None, "Write all numbers here, with versions, hashes and timings."
)
_MARKDOWN = flags.DEFINE_path("markdown", None, "Write the table here.")
_PICTURE = flags.DEFINE_path(
    "picture", None, "Write the best, median and worst classes at the largest K here."
)


def _steps() -> list[int]:
    try:
        steps = sorted({int(text) for text in _NUM_INNER_STEPS.value})
    except ValueError as error:
        raise UserError(
            f"--num_inner_steps={','.join(_NUM_INNER_STEPS.value)}: give whole numbers."
        ) from error
    if not steps or steps[0] < 1:
        raise UserError(
            "--num_inner_steps: give at least one positive number; 0 steps has a row of its own."
        )
    return steps


def _check_flags() -> None:
    judged = [name for name in ("run", "saved_model", "samples") if flags.FLAGS[name].value]
    if len(judged) > 1:
        raise UserError(f"--{judged[0]} and --{judged[1]}: judge one at a time.")
    if bool(_SAMPLES.value) != bool(_EPISODES.value):
        raise UserError(
            "--samples and --episodes go together: the file says which drawings were the support."
        )
    if _NUM_SAMPLES.value < 16 * _NUM_SHOTS.value:
        raise UserError(
            f"--num_samples={_NUM_SAMPLES.value} is less than 16·n = {16 * _NUM_SHOTS.value}: with"
            " so few, copies of the support look like real drawings."
        )
    outputs = (_JSON, _MARKDOWN, _PICTURE, _WRITE_EPISODES, _WRITE_DECK)
    for path in (flag.value for flag in outputs):
        if path and not pathlib.Path(path).resolve().parent.is_dir():
            raise UserError(f"{path}: its folder does not exist. Make it first.")


def _plan(data_settings: datasets.DataSettings):
    from figr_tf.evaluation import features, protocol
    from figr_tf.evaluation.episodes import choose_classes

    if (data_settings.image_size, data_settings.channels) != (features.IMAGE_SIZE, 1):
        raise UserError(
            f"the embedding sees {features.IMAGE_SIZE}×{features.IMAGE_SIZE} grey images; this run"
            f" has image_size={data_settings.image_size}, channels={data_settings.channels}."
        )
    dataset = datasets.load_dataset(data_settings, num_shots=_NUM_SHOTS.value)
    names = choose_classes(dataset.split.held_out, _NUM_CLASSES.value)
    classes = dataset.images_of(names)
    return dataset, protocol.Plan(
        classes, _NUM_SHOTS.value, _NUM_SAMPLES.value, tuple(range(_SEEDS.value))
    )


def _deck_data() -> tuple[datasets.DataSettings, dict]:
    if _DECK_GLYPHS.value:
        return datasets.DataSettings(), {
            "data": "Drawings: glyphs that the program draws, each class another few strokes.",
            "demonstration": True,
        }
    settings = datasets.DataSettings("omniglot", _DATA_DIR.value, cache_dir=_CACHE_DIR.value)
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
    chosen = sources.choose(_DECK_MODELS.value, shape)
    made = deck.make(classes, chosen, _DECK_TRIALS.value, _DECK_SEED.value, facts)
    made.write(path)
    print(f"{path}: {len(made.support)} trials, {path.stat().st_size / 1000:.0f} kB")


def main() -> None:
    """Judges, or writes what others are to judge by."""
    _check_flags()
    steps = _steps()
    console.start_tensorflow()
    if _WRITE_DECK.value:
        _make_deck(pathlib.Path(_WRITE_DECK.value))
        return
    from figr_tf.evaluation import report, samplers

    judged = samplers.choose(
        _RUN.value,
        _SAVED_MODEL.value,
        _SAMPLES.value,
        _EPISODES.value,
        _NUM_SAMPLES.value,
        steps,
        _CACHE_DIR.value,
    )
    dataset, plan = _plan(
        dataclasses.replace(
            judged.data_settings, data_dir=_DATA_DIR.value, cache_dir=_CACHE_DIR.value
        )
    )
    if not judged.all_seeds:
        plan = plan._replace(seeds=plan.seeds[:1])
    judged.check(dataset, plan)
    if _WRITE_EPISODES.value:
        pathlib.Path(_WRITE_EPISODES.value).write_text(report.episode_file(dataset, plan))
        print(f"{_WRITE_EPISODES.value}: {len(plan.classes)} episodes")
        return
    report.run(
        judged,
        dataset,
        plan,
        {"json": _JSON.value, "markdown": _MARKDOWN.value, "picture": _PICTURE.value},
    )


if __name__ == "__main__":
    console.run(main)
