"""Small networks that learn to tell generated drawings from real ones, seeing what people see."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from figr_common import rendering, scaling
from figr_common.blur import blur_features

FILTERS = (16, 32, 64)
_STEPS = 400
_BATCH = 64  # Half of it real.
_RATE = 1e-3
_DROPPED = 0.3  # Share of the last features left out in training; examples are few.

# What `views` returns → how generated each looks, [m]; above 0 it looks generated rather than real.
Teller = Callable[[np.ndarray], np.ndarray]


def views(drawings: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Each drawing as it is shown to people, beside the nearest of the given ones.

    Without the second a copy could not be told: it is a real drawing.

    Args:
        drawings: uint8 [m, S, S]. support: uint8 [n, S, S], what the generator was given.

    Returns:
        float32 [m, S, S, 2], ink 1. Nearest is taken in blurred pixels.
    """
    near, given = (blur_features(images[..., None]) for images in (drawings, support))
    nearest = ((near[:, None] - given[None]) ** 2).sum(-1).argmin(1)
    return np.stack([_shown(drawings), _shown(support)[nearest]], -1)


def _shown(drawings: np.ndarray) -> np.ndarray:
    scale = rendering.SCALE
    side = drawings.shape[-1]
    shown = np.stack([rendering.outlined(drawing) for drawing in drawings])
    # Back to the size of a drawing: people see outlines enlarged, a network need not.
    means = shown.reshape(-1, side, scale, side, scale).mean((2, 4))
    return (1.0 - scaling.bytes_to_unit(means)).astype(np.float32)


def learn(real: Sequence[np.ndarray], generated: Sequence[np.ndarray], seed: int) -> Teller:
    """Trains two networks anew, whose answers are added up.

    One sees a drawing alone, for what is wrong with its strokes; the other beside the nearest given
    one, for what is too near. A single network for both learned the second and missed the first.

    Args:
        real, generated: `views` of one class each.
    """
    sides = [np.concatenate(views_) for views_ in (real, generated)]
    networks = [_trained([side[..., :seen] for side in sides], seed) for seen in (1, 2)]

    def answer(views_: np.ndarray) -> np.ndarray:
        alone, beside = networks
        sum_ = alone(views_[..., :1], training=False) + beside(views_, training=False)
        return sum_.numpy()[:, 0]

    return answer


def _trained(sides: list[np.ndarray], seed: int):
    """A network that has seen real and generated drawings, [count, S, S, channels] each."""
    network = _network(sides[0].shape[1:], seed)
    step = _training_step(network)
    rng = np.random.default_rng(seed)
    labels = np.repeat([0.0, 1.0], _BATCH // 2).astype(np.float32)
    for _ in range(_STEPS):
        halves = [side[rng.integers(0, len(side), _BATCH // 2)] for side in sides]
        # Turned and mirrored at random: examples are few, and neither makes a drawing look
        # generated.
        batch = np.rot90(np.concatenate(halves), int(rng.integers(4)), axes=(1, 2))
        step(tf.constant(batch[:, :: rng.choice([-1, 1])]), labels)
    return network


def _network(shape: tuple[int, ...], seed: int):
    import keras

    kernels = keras.initializers.GlorotUniform
    layers = [keras.Input(shape)]
    for i, filters in enumerate(FILTERS):
        layers += [
            keras.layers.Conv2D(
                filters, 3, padding="same", activation="relu", kernel_initializer=kernels(seed + i)
            ),
            keras.layers.MaxPooling2D(2),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dropout(_DROPPED, seed=seed),
        keras.layers.Dense(1, kernel_initializer=kernels(seed + len(FILTERS))),
    ]
    return keras.Sequential(layers)


def _training_step(network):
    import keras

    optimizer = keras.optimizers.Adam(_RATE)
    # Now, since a traced step may not make variables.
    optimizer.build(network.trainable_variables)

    @tf.function
    def step(batch, labels):
        with tf.GradientTape() as tape:
            logits = network(batch, training=True)[:, 0]
            loss = tf.reduce_mean(
                tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
            )
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return loss

    return step
