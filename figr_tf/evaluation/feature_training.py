"""Trains the feature network on the training classes of any data set: Conv4-64 as a prototypical
network (Snell et al. 2017). It takes minutes, and is kept with its sha256.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from figr_tf.core import progress
from figr_tf.core.errors import DataError
from figr_tf.core.runs import write_whole
from figr_tf.data import datasets
from figr_tf.data.class_images import ClassImages
from figr_tf.evaluation import features

# 60 ways, 5 queries and a rate of 1e-3 that is halved now and then are those of Snell et al. 2017
# on Omniglot.
_WAYS, _QUERIES, _HALVINGS = 60, 5, 4
_LEAST_DRAWINGS = 1 + _QUERIES
_ACCURACY_EPISODES = 200
LEAST_CLASSES = 30  # Below it the network that ships judges; 36 were enough for icons.


class Recipe(NamedTuple):
    """episodes: of 60 ways (or as many as there are), 1 shot and 5 queries. seed: of the initial
    weights and of the episodes."""

    episodes: int = 700
    seed: int = 0


def choose(
    named: str | None, settings: datasets.DataSettings, dataset: datasets.Dataset
) -> features.Embedding:
    """The network to judge with.

    Args:
        named: "omniglot" for the one that ships, or a file that `train_to` wrote. None: the one
            that ships for Omniglot and for data of few classes, of which no good one can be
            trained; otherwise one trained on the training classes of the data.

    Raises:
        DataError: a file that is damaged, or a network that was trained on held-out classes.
    """
    if named and named != "omniglot":
        network = read(pathlib.Path(named))
        _refuse_seen(pathlib.Path(named), settings, dataset)
        return network
    counts = dataset.data.counts
    # Smaller classes cannot be trained on.
    large = [name for name in dataset.split.training if counts[name] >= _LEAST_DRAWINGS]
    few = len(large) < LEAST_CLASSES
    if named or few or settings.dataset == "omniglot":
        return features.Embedding()
    return of_data(settings)


def data_of(settings: datasets.DataSettings) -> datasets.Dataset:
    """The data as the network sees it, without classes too small for an episode of training."""
    seen = dataclasses.replace(settings, image_size=features.IMAGE_SIZE, channels=1)
    return datasets.load_dataset(seen, _LEAST_DRAWINGS)


def of_data(settings: datasets.DataSettings, recipe: Recipe | None = None) -> features.Embedding:
    """The network of this data and split: from the cache, or trained now and kept there."""
    dataset, recipe = data_of(settings), recipe or Recipe()
    facts = _facts(settings, dataset, recipe)
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
    path = datasets.cache_dir(settings) / "features" / f"{key}.npz"
    with contextlib.suppress(DataError):  # Not there yet, or damaged.
        return read(path)
    print(
        f"training the feature network on {len(dataset.split.training)} training classes of"
        f" {settings.dataset}, some minutes, once; kept in {path}",
        flush=True,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    train_to(path, settings, dataset, recipe)
    return read(path)


def train_to(
    path: pathlib.Path, settings: datasets.DataSettings, dataset: datasets.Dataset, recipe: Recipe
) -> dict[str, Any]:
    """Trains; writes the weights and beside them a record (.json), which it returns.

    The record has the file's sha256, what the weights depend on, and how well they tell the
    held-out classes apart.
    """
    buffer = io.BytesIO()
    np.savez(buffer, **train(dataset.data, dataset.split.training, recipe))  # type: ignore[arg-type]
    # Under another name until it is whole, and one for each process.
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    scratch.write_bytes(buffer.getvalue())
    os.replace(scratch, path)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    held_out = list(dataset.images_of(dataset.split.held_out).values())
    record = _facts(settings, dataset, recipe) | {
        "sha256": digest,
        "training_classes": len(dataset.split.training),
        "classes": dataset.split.training,
        "accuracy_held_out": _accuracies(features.Embedding(path, digest), held_out),
    }
    # The record last: without it the network does not count as there.
    write_whole(path.with_suffix(".json"), json.dumps(record, indent=1))
    return record


def read(path: pathlib.Path) -> features.Embedding:
    """The network that `train_to` wrote. Raises DataError if it or its record is damaged."""
    remedy = "Train it again: python -m figr_tf.evaluation.train_features."
    try:
        record = json.loads(path.with_suffix(".json").read_text())
        digest = str(record["sha256"])
        trained_on = f"{record['training_classes']} training classes of {record['dataset']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path.with_suffix('.json')}: no record ({error}). {remedy}") from error
    return features.Embedding(path, digest, trained_on, remedy)


def _refuse_seen(
    path: pathlib.Path, settings: datasets.DataSettings, dataset: datasets.Dataset
) -> None:
    """Raises DataError if the network was trained on drawings that it is to judge."""
    record = json.loads(path.with_suffix(".json").read_text())
    seen = set(record.get("classes", ())) & set(dataset.split.held_out)
    # Another folder may have classes of the same names.
    if seen and record["data_sha256"] == data_of(settings).data.digest():
        raise DataError(
            f"{path}: was trained on {len(seen)} of the held-out classes, such as {min(seen)}."
            " Train one on this split: python -m figr_tf.evaluation.train_features."
        )


def _facts(
    settings: datasets.DataSettings, dataset: datasets.Dataset, recipe: Recipe
) -> dict[str, Any]:
    """What the weights depend on."""
    return {"dataset": settings.dataset, **dataset.facts(), **recipe._asdict()}


def _accuracies(network: features.Embedding, classes: Sequence[np.ndarray]) -> dict[str, float]:
    """Of telling 20 classes apart, or all if fewer are large enough, by ways and shots."""
    result = {}
    for shots in (1, 5):
        large = sum(len(drawings) >= shots + _QUERIES for drawings in classes)
        if large > 1:
            result[f"{min(large, features.WAYS)}-way, {shots}-shot"] = features.few_shot_accuracy(
                network.embed, classes, shots, _ACCURACY_EPISODES
            )
    return result


def train(data: ClassImages, class_names: Sequence[str], recipe: Recipe) -> dict[str, np.ndarray]:
    """Weights of the network trained on these classes of [N, 32, 32, 1], six drawings or more each.

    A turned class is another class, as in Santoro et al. 2016: there are four times as many.
    """
    keras.utils.set_random_seed(recipe.seed)
    rng = np.random.default_rng(recipe.seed)
    model = _build()
    step = _training_step(model)
    for episode in progress.track(range(recipe.episodes), "feature network", "episodes"):
        rate = 1e-3 * 0.5 ** (episode * (_HALVINGS + 1) // recipe.episodes)
        # The rate as a tensor: each new Python number would be traced anew.
        step(tf.constant(_episode(data, class_names, rng)), tf.constant(rate))
    return _folded(model)


def _episode(data: ClassImages, class_names: Sequence[str], rng: np.random.Generator) -> np.ndarray:
    """Ink masks, float32 [ways · 6, 32, 32, 1]; the first of each six is the shot."""
    starts, parts = data.starts(), []
    for index in rng.permutation(4 * len(class_names))[:_WAYS]:
        # The numbers count each class four times, once for each turn.
        turns, number = divmod(int(index), len(class_names))
        name = class_names[number]
        drawings = starts[name] + rng.permutation(data.counts[name])[:_LEAST_DRAWINGS]
        parts.append(np.rot90(features.ink_mask(data.images[drawings]), turns, axes=(1, 2)))
    return np.concatenate(parts)


def _build() -> keras.Model:
    stack = [keras.Input((features.IMAGE_SIZE, features.IMAGE_SIZE, 1))]
    for _ in range(4):
        stack += [
            keras.layers.Conv2D(64, 3, padding="same"),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
        ]
    return keras.Sequential([*stack, keras.layers.Flatten()])


def _training_step(model: keras.Model):
    optimizer = keras.optimizers.Adam(1e-3)
    # Now, since a traced step may not make variables.
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(images: tf.Tensor, rate: tf.Tensor) -> tf.Tensor:
        optimizer.learning_rate.assign(rate)
        with tf.GradientTape() as tape:
            embedded = model(images, training=True)
            embedded = tf.reshape(embedded, [-1, _LEAST_DRAWINGS, embedded.shape[-1]])
            prototypes = embedded[:, 0]
            queries = tf.reshape(embedded[:, 1:], [-1, embedded.shape[-1]])
            squared = tf.reduce_sum(tf.square(queries[:, None] - prototypes[None]), -1)
            labels = tf.repeat(tf.range(tf.shape(prototypes)[0]), _QUERIES)
            # Minus the squared distances are the logits (Snell et al. 2017, eq. 2).
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, -squared))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    return step


def _folded(model: keras.Model) -> dict[str, np.ndarray]:
    """Each convolution with its batch norm: kernel·γ/σ and (bias − μ)·γ/σ + β."""
    arrays = {}
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for i, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        kernel, bias = convolution.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        # With the averages of training batch norm is linear, so a convolution can hold it.
        scale = gamma / np.sqrt(variance + norm.epsilon)
        arrays[f"kernel{i}"], arrays[f"bias{i}"] = kernel * scale, (bias - mean) * scale + beta
    return arrays
