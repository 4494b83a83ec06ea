r"""Draws for the episodes of figr_tf.evaluate: a folder of images that it judges as --samples.

  WHERE="--dataset=omniglot --split=45-5 --num_classes=32 --data_dir=DIR"
  python -m figr_tf.evaluate $WHERE --write_episodes=episodes.json
  python -m figr_tf.write_samples --run=RUN --episodes=episodes.json --out=samples --data_dir=DIR
  python -m figr_tf.evaluate $WHERE --samples=samples --episodes=episodes.json

It is for models whose drawings are smaller than what is judged: those of figr_tf.train_pixelcnn and
figr_tf.train_sequences. The same command again continues: classes that are there are left alone.
What a folder holds stands in its .samples.json, and another run's samples are not mixed in.
"""

import dataclasses
import hashlib
import json
import pathlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from figr_tf.core import console, progress
from figr_tf.core.errors import UserError

if TYPE_CHECKING:
    from figr_tf.pixelcnn.model import PixelCnnModel
    from figr_tf.sequences.model import SequenceModel

flags = console.OwnFlags(__name__)

_RUN = flags.DEFINE_path(
    "run", None, "Run folder of figr_tf.train_pixelcnn or train_sequences.", required=True
)
_EPISODES = flags.DEFINE_path("episodes", None, "File of --write_episodes.", required=True)
_OUT = flags.DEFINE_path("out", None, "Folder to write, a folder per class.", required=True)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "Samples per class (M).", 2)
_NUM_INNER_STEPS = flags.DEFINE_integer(
    "num_inner_steps", None, "Inner steps (K). Default: the run's.", 0
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the samples.", 0, 2**31 - 1)
_DATA_DIR = flags.DEFINE_path("data_dir", None, "Folder with the files. Default: as in training.")
_CACHE_DIR = flags.DEFINE_path(
    "cache_dir", None, "Folder for decoded images. Default: ~/.cache/figr_tf"
)


_SCALE = 4  # Files are larger than what is judged, so that black and white stay so for longest.


def _model() -> "PixelCnnModel | SequenceModel":
    from figr_tf import models
    from figr_tf.pixelcnn.model import PixelCnnModel
    from figr_tf.sequences.model import SequenceModel

    model = models.load(_RUN.value)
    if not isinstance(model, PixelCnnModel | SequenceModel):
        raise UserError(
            f"{_RUN.value}: is judged without detours: figr_tf.evaluate --run={_RUN.value}"
        )
    return model


def _write(folder: pathlib.Path, samples: np.ndarray) -> None:
    """All of a class or none: the folder gets its name last."""
    scratch = folder.with_name(f".{folder.name}.new")
    scratch.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(samples[..., 0].repeat(_SCALE, 1).repeat(_SCALE, 2)):
        Image.fromarray(image).save(scratch / f"{i:03d}.png")
    scratch.rename(folder)


def _refuse_other_samples(out: pathlib.Path, facts: dict[str, Any]) -> None:
    """Notes beside the samples what they are of, and raises UserError if it is something else.

    Nothing in the images would tell, and one model would be judged as another.
    """
    from figr_tf.core.runs import write_whole

    record = out / ".samples.json"
    if record.exists():
        try:
            recorded = dict(json.loads(record.read_text()))
        except (ValueError, TypeError) as error:
            raise UserError(f"{record}: is damaged. Choose another --out.") from error
        for name, value in facts.items():
            if recorded.get(name) != value:
                raise UserError(
                    f"{out}: holds samples of {name}={recorded.get(name)}, this command draws"
                    f" {name}={value}. Choose another --out, or remove the folder."
                )
    elif out.exists() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise UserError(
            f"{out}: is not empty, and nothing tells what is in it. Choose another --out."
        )
    out.mkdir(parents=True, exist_ok=True)
    write_whole(record, json.dumps(facts, indent=1))


def main() -> None:
    """Draws class after class."""
    console.start_tensorflow()
    from figr_tf.core.weights import sha256
    from figr_tf.data.datasets import DataSettings, load_dataset
    from figr_tf.data.splits import Split
    from figr_tf.evaluation.episodes import (
        drawings_sha256,
        from_json,
        refuse_other_drawings,
        to_json,
    )

    model = _model()
    if model.num_inner_steps is None and _NUM_INNER_STEPS.value is not None:
        raise UserError(
            f"{_RUN.value}: has no number of inner steps to choose. Leave the flag away."
        )
    episodes, judged = from_json(pathlib.Path(_EPISODES.value))
    data = model.settings.data
    # `models.load` has refused runs of a text.
    assert isinstance(data, DataSettings)
    data = data.elsewhere(_DATA_DIR.value, _CACHE_DIR.value)
    dataset = load_dataset(data, 1)
    names = [episode.class_name for episode in episodes]
    unknown = [name for name in names if name not in dataset.data.counts]
    if unknown:
        raise UserError(
            f"{_EPISODES.value}: class {unknown[0]!r} is not in {data.dataset}, which"
            f" {_RUN.value} was trained on."
        )
    trained_on = Split.of_run(model.folder)
    mend = f"Write {_EPISODES.value} for classes that it has not seen."
    if not trained_on.held_out:
        mend = "It has seen drawings of all classes; train with --split."
    trained_on.refuse_seen(_RUN.value, set(names), mend)
    # As they were when the file was written: the run may have them at another size.
    form = {name: judged[name] for name in ("image_size", "channels") if name in judged}
    seen = load_dataset(dataclasses.replace(data, **form), 1)
    refuse_other_drawings(pathlib.Path(_EPISODES.value), judged, seen.images_of(names))
    num_inner_steps = _NUM_INNER_STEPS.value
    if num_inner_steps is None:
        num_inner_steps = model.num_inner_steps
    out = pathlib.Path(_OUT.value)
    _refuse_other_samples(
        out,
        {
            "weights_sha256": sha256(model.meta_weights()["network"]),
            "num_inner_steps": num_inner_steps,
            "num_samples": _NUM_SAMPLES.value,
            "seed": _SEED.value,
            # No part of a run's identity: it can be given anew.
            "eval_learning_rate": getattr(model.settings, "eval_learning_rate", None),
            "episodes_sha256": hashlib.sha256(to_json(episodes, {}).encode()).hexdigest(),
            # An episode is only numbers, which mean others where the drawings are others.
            "drawings_sha256": drawings_sha256(dataset.images_of(names)),
        },
    )
    seconds = []
    for episode in progress.track(episodes, "drawing", "classes"):
        folder = out / episode.class_name
        if folder.exists():
            continue
        (every,) = dataset.images_of([episode.class_name]).values()
        support = model.as_support(every[episode.support])
        start = time.monotonic()
        samples = model.generate(support, _NUM_SAMPLES.value, _SEED.value, num_inner_steps)
        seconds.append(time.monotonic() - start)
        _write(folder, samples)
    each = f", {np.median(seconds):.1f} s a class" if seconds else ""
    print(f"{_OUT.value}: {len(episodes)} classes of {_NUM_SAMPLES.value} samples{each}")


if __name__ == "__main__":
    console.run(main)
