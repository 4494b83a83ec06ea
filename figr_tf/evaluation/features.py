"""The two feature spaces of the protocol, for real and generated images alike.

"embedding": a Conv4-64 prototypical network (Snell et al. 2017) on the ink mask. It knows
characters and no grey levels. "blur": the image, blurred and halved. Nothing in it is learned; it
is half blind to class and honest about grey levels and colours.

Both see 32×32 pixels. Larger images are shrunk to them, so that tables of one data set compare at
whatever size a model draws. The network sees the grey of coloured images; the blur sees the colour.
"""

import hashlib
import pathlib
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from figr_common.blur import blur_features
from figr_tf.core.errors import DataError

SPACES = ("embedding", "blur")
IMAGE_SIZE = 32
EMBEDDING_FILE = pathlib.Path(__file__).with_name("embedding.npz")
# Of the file that the tables in docs/ were made with. With another one scores do not compare.
EMBEDDING_SHA256 = "38368f818adad11afd0ab91a8d137e62a203a4d235e556de28d6aa44ec32518f"
WAYS = 20  # Classes that its accuracy tells apart.
_BATCH = 1024
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's grey


def shrunk(images: np.ndarray) -> np.ndarray:
    """uint8 [B, S, S, C], S ≥ 32 → uint8 [B, 32, 32, C], antialiased; those of 32² as they are."""
    if images.shape[1] == IMAGE_SIZE:
        return images
    # In parts: as float32, which resizing gives, all images would take four times their memory.
    parts = [
        tf.image.resize(images[i : i + _BATCH], (IMAGE_SIZE, IMAGE_SIZE), antialias=True).numpy()
        for i in range(0, len(images), _BATCH)
    ]
    return np.rint(np.concatenate(parts)).astype(np.uint8)


def grey(images: np.ndarray) -> np.ndarray:
    """uint8 [B, S, S, 1 or 3] → uint8 [B, S, S, 1]: luma of coloured images."""
    if images.shape[-1] == 1:
        return images
    return np.rint(images @ _LUMA).astype(np.uint8)[..., None]


def blur(images: np.ndarray) -> np.ndarray:
    """uint8 [B, S, S, C] → float32 [B, 256·C], colour by colour.

    Divided by √C: a grey image is as far from another whether it is stored as grey or as colour.
    """
    seen = shrunk(images)
    colours = [blur_features(seen[..., c : c + 1]) for c in range(seen.shape[-1])]
    return np.concatenate(colours, axis=1) / np.float32(len(colours) ** 0.5)


def ink_mask(images: np.ndarray) -> np.ndarray:
    """Where there is ink: uint8 [B, S, S, 1], dark ink → float32 0 or 1, ink 1.

    That is per-image min-max, then a threshold at one half.

    Fed raw grey, a learned network tells images by the blur of their interpolation before it sees
    the character. An image of one grey has no ink.
    """
    grey = images.astype(np.float32)
    low, high = grey.min((1, 2, 3), keepdims=True), grey.max((1, 2, 3), keepdims=True)
    # At least 1, so that an image of one grey gives 0 and not 0/0.
    return ((high - grey) / np.maximum(high - low, 1.0) > 0.5).astype(np.float32)


class Embedding:
    """The trained network: images → features.

    Its weights are the four convolutions with batch norm folded in.

    Attributes:
        sha256: of the file the weights came from; stored with every result.
        trained_on: which classes, a phrase.
    """

    def __init__(
        self,
        path: pathlib.Path = EMBEDDING_FILE,
        sha256: str = EMBEDDING_SHA256,
        trained_on: str = "Omniglot's background characters",
        remedy: str = "Install figr_tf again.",
    ):
        """Raises DataError if the file is not the one that the results were made with.

        Args:
            remedy: what the error says to do.
        """
        try:
            data = path.read_bytes()
        # Part of the package, so that only a broken installation lacks it.
        except OSError as error:
            raise DataError(f"{path}: the feature network is missing. {remedy}") from error
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.trained_on = trained_on
        if self.sha256 != sha256:
            raise DataError(
                f"{path}: sha256 {self.sha256[:12]} is not {sha256[:12]}: scores would not compare."
                f" {remedy}"
            )
        with np.load(path, allow_pickle=False) as arrays:
            layers = [
                (tf.constant(arrays[f"kernel{i}"]), tf.constant(arrays[f"bias{i}"]))
                for i in range(4)
            ]
        # One graph for any number of images.
        signature = [tf.TensorSpec([None, IMAGE_SIZE, IMAGE_SIZE, 1], tf.float32)]
        self._network = tf.function(lambda masks: conv4(masks, layers), input_signature=signature)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """uint8 [B, S, S, C], S ≥ 32, dark ink → float32 [B, 256]."""
        masks = ink_mask(grey(shrunk(images)))
        return np.concatenate(
            [self._network(masks[i : i + _BATCH]).numpy() for i in range(0, len(masks), _BATCH)]
        )


def conv4(x: tf.Tensor, layers: list[tuple[tf.Tensor, tf.Tensor]]) -> tf.Tensor:
    """Ink masks [B, S, S, 1] and four pairs of kernel and bias → features [B, d]."""
    for kernel, bias in layers:
        x = tf.nn.relu(tf.nn.conv2d(x, kernel, 1, "SAME") + bias)
        x = tf.nn.max_pool2d(x, 2, 2, "VALID")
    # Of 32×32 pixels four poolings leave 2×2, with 64 features each: d = 256.
    return tf.reshape(x, [-1, x.shape[1] * x.shape[2] * x.shape[3]])


def few_shot_accuracy(
    embed: Callable[[np.ndarray], np.ndarray],
    classes: Sequence[np.ndarray],
    shots: int,
    episodes: int,
    seed: int = 0,
    ways: int = WAYS,
    queries: int = 5,
) -> float:
    """Accuracy of `ways`-way classification by the nearest of the prototypes of `shots` drawings.

    Args:
        classes: uint8 [drawings, S, S, C] each; those with fewer than `shots` + `queries` drawings
            are left out. If there are fewer than `ways`, all are told from each other.
    """
    rng = np.random.default_rng(seed)
    large = [drawings for drawings in classes if len(drawings) >= shots + queries]
    embedded = embed(np.concatenate(large))
    features = np.split(embedded, np.cumsum([len(drawings) for drawings in large])[:-1])
    right = []
    for _ in range(episodes):
        chosen = rng.permutation(len(features))[:ways]
        drawn = np.stack(
            [features[c][rng.permutation(len(features[c]))[: shots + queries]] for c in chosen]
        )
        prototypes = drawn[:, :shots].mean(1)
        # Every query against every prototype of its episode: [ways, queries, ways].
        squared = ((drawn[:, shots:, None] - prototypes) ** 2).sum(-1)
        own_class = np.arange(len(chosen))[:, None]
        right.append((squared.argmin(-1) == own_class).mean())
    return float(np.mean(right))
