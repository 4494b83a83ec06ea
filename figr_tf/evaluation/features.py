"""The two feature spaces of the protocol, for real and generated images alike.

"embedding": a Conv4-64 prototypical network (Snell et al. 2017) on the ink mask. It knows
characters and no grey levels. "blur": the grey image, blurred and halved. Nothing in it is learned;
it is half blind to class and honest about grey levels.
"""

import hashlib
import pathlib
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from figr_tf.core.errors import DataError

SPACES = ("embedding", "blur")
IMAGE_SIZE = 32
EMBEDDING_FILE = pathlib.Path(__file__).with_name("embedding.npz")
EMBEDDING_SHA256 = "38368f818adad11afd0ab91a8d137e62a203a4d235e556de28d6aa44ec32518f"
_BATCH = 1024


def ink_mask(images: np.ndarray) -> np.ndarray:
    """Where there is ink: uint8 [B, S, S, 1], dark ink → float32 0 or 1, ink 1.

    That is per-image min-max, then a threshold at one half.

    Fed raw grey, a learned network tells images by the blur of their interpolation before it sees
    the character. An image of one grey has no ink.
    """
    grey = images.astype(np.float32)
    low, high = grey.min((1, 2, 3), keepdims=True), grey.max((1, 2, 3), keepdims=True)
    return ((high - grey) / np.maximum(high - low, 1.0) > 0.5).astype(np.float32)


def file_sha256(path: pathlib.Path) -> str:
    """Hexadecimal, of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Embedding:
    """The trained network: images → features.

    Its weights are the four convolutions with batch norm folded in.

    Attributes:
        sha256: of the file the weights came from; stored with every result.
    """

    def __init__(self, path: pathlib.Path = EMBEDDING_FILE, sha256: str = EMBEDDING_SHA256):
        """Raises DataError if the file is not the one that the results were made with."""
        try:
            data = path.read_bytes()
        # Part of the package, so that only a broken installation lacks it.
        except OSError as error:
            raise DataError(
                f"{path}: the feature network is missing. Install figr_tf again."
            ) from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        if self.sha256 != sha256:
            raise DataError(
                f"{path}: sha256 {self.sha256[:12]} is not {sha256[:12]}: scores would not compare."
                " Install figr_tf again."
            )
        with np.load(path, allow_pickle=False) as arrays:
            layers = [
                (tf.constant(arrays[f"kernel{i}"]), tf.constant(arrays[f"bias{i}"]))
                for i in range(4)
            ]
        signature = [tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, 1], tf.float32)]
        self._network = tf.function(lambda masks: conv4(masks, layers), input_signature=signature)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """uint8 [B, 32, 32, 1], dark ink → float32 [B, 256]."""
        masks = ink_mask(images)
        return np.concatenate(
            [self._network(masks[i : i + _BATCH]).numpy() for i in range(0, len(masks), _BATCH)]
        )


def conv4(x: tf.Tensor, layers: list[tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
    """Ink masks [B, S, S, 1] and four pairs of kernel and bias → features [B, d]."""
    for kernel, bias in layers:
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])


def few_shot_accuracy(
    embed: Callable[[np.ndarray], np.ndarray],
    classes: np.ndarray,
    shots: int,
    episodes: int,
    seed: int = 0,
    ways: int = 20,
    queries: int = 5,
) -> float:
    """Accuracy of `ways`-way classification by the nearest of the prototypes of `shots` drawings.

    Args:
        classes: uint8 [classes, drawings, 32, 32, 1].
    """
    rng = np.random.default_rng(seed)
    num_classes, num_drawings, *image_shape = classes.shape
    features = embed(classes.reshape(-1, *image_shape)).reshape(num_classes, num_drawings, -1)
    right = []
    for _ in range(episodes):
        chosen = rng.permutation(len(classes))[:ways]
        drawings = np.stack([rng.permutation(classes.shape[1])[: shots + queries] for _ in chosen])
        drawn = features[chosen[:, None], drawings]
        prototypes = drawn[:, :shots].mean(1)
        squared = ((drawn[:, shots:, None] - prototypes) ** 2).sum(-1)
        own_class = np.arange(len(chosen))[:, None]
        right.append((squared.argmin(-1) == own_class).mean())
    return float(np.mean(right))
