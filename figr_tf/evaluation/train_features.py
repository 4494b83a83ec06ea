"""Trains the evaluation's embedding on Omniglot's background classes, in ten minutes.

  python -m figr_tf.evaluation.train_features --data_dir=DIR --out=embedding.npz

The weights in the package were made by this command. Others make other scores: after retraining,
EMBEDDING_SHA256 in features.py has to name the new file.
"""

import hashlib
import pathlib

import numpy as np
import tqdm

from figr_tf.core import console
from figr_tf.data import datasets

flags = console.OwnFlags(__name__)

_DATA_DIR = flags.DEFINE_path(
    "data_dir", None, "Folder of Omniglot's zips. Default: through tensorflow-datasets."
)
_OUT = flags.DEFINE_path("out", "embedding.npz", "File to write.")
_EPISODES = flags.DEFINE_integer(
    "episodes", 700, "Training episodes of 60 ways, 1 shot, 5 queries.", lower_bound=1
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the initial weights and of the episodes.")
_WAYS, _QUERIES, _HALVINGS = 60, 5, 4


def class_arrays(data, names) -> np.ndarray:
    """uint8 [classes, drawings, 32, 32, 1]; classes of unequal size are cut to the smallest."""
    starts, count = data.starts(), min(data.counts[name] for name in names)
    return np.stack([data.images[starts[name] : starts[name] + count] for name in names])


def _build(keras):
    stack = [keras.Input((32, 32, 1))]
    for _ in range(4):
        stack += [
            keras.layers.Conv2D(64, 3, padding="same"),
            keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
        ]
    return keras.Sequential([*stack, keras.layers.Flatten()])


def _folded(model, keras) -> dict[str, np.ndarray]:
    """Each convolution with its batch norm: kernel·γ/σ and (bias − μ)·γ/σ + β."""
    arrays = {}
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for i, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
        kernel, bias = convolution.get_weights()
        gamma, beta, mean, variance = norm.get_weights()
        scale = gamma / np.sqrt(variance + norm.epsilon)
        arrays[f"kernel{i}"] = kernel * scale
        arrays[f"bias{i}"] = (bias - mean) * scale + beta
    return arrays


def main() -> None:
    """Trains, writes the weights, and prints their sha256 and the accuracy on other classes."""
    console.start_tensorflow()
    import keras
    import tensorflow as tf

    from figr_tf.evaluation import features

    data, split = datasets.load_dataset(
        datasets.DataSettings("omniglot", _DATA_DIR.value), num_shots=20
    )
    keras.utils.set_random_seed(_SEED.value)
    rng = np.random.default_rng(_SEED.value)
    background = features.ink_mask(
        class_arrays(data, split.training).reshape(-1, 32, 32, 1)
    ).reshape(-1, 20, 32, 32, 1)
    # A rotated character is another character: four times the classes.
    background = np.concatenate([np.rot90(background, k, axes=(2, 3)) for k in range(4)])
    model = _build(keras)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train_step(images):
        with tf.GradientTape() as tape:
            embedded = tf.reshape(model(images, training=True), [_WAYS, 1 + _QUERIES, -1])
            prototypes, queries = (
                embedded[:, 0],
                tf.reshape(embedded[:, 1:], [_WAYS * _QUERIES, -1]),
            )
            squared = tf.reduce_sum(tf.square(queries[:, None] - prototypes[None]), -1)
            labels = tf.repeat(tf.range(_WAYS), _QUERIES)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, -squared))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    for episode in tqdm.trange(_EPISODES.value, unit=" episodes", disable=None):
        # Halved at equal distances, four times in all.
        halvings = episode * (_HALVINGS + 1) // _EPISODES.value
        optimizer.learning_rate.assign(1e-3 * 0.5**halvings)
        chosen = rng.permutation(len(background))[:_WAYS]
        drawings = np.stack([rng.permutation(20)[: 1 + _QUERIES] for _ in chosen])
        images = background[chosen[:, None], drawings]
        loss = train_step(tf.constant(images.reshape(-1, 32, 32, 1)))
        if episode % 50 == 0:
            print(f"episode {episode}/{_EPISODES.value}  loss {float(loss):.3f}", flush=True)
    np.savez(_OUT.value, **_folded(model, keras))  # type: ignore[arg-type]
    with open(_OUT.value, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    embedding = features.Embedding(pathlib.Path(_OUT.value), digest)
    evaluation = class_arrays(data, split.held_out)
    accuracy = {
        shots: features.few_shot_accuracy(embedding.embed, evaluation, shots, episodes=200)
        for shots in (1, 5)
    }
    print(f"{_OUT.value}: sha256 {digest}")
    print(f"evaluation classes, 20-way: 1-shot {accuracy[1]:.3f}, 5-shot {accuracy[5]:.3f}")


if __name__ == "__main__":
    console.run(main)
