"""NetworkSpec and the generator and discriminator that it describes.

"Discriminator" is the paper's word; under the Wasserstein loss it is what WGAN calls the critic.
"""

import dataclasses
import json
import pathlib
from typing import NamedTuple

import keras
import tensorflow as tf

from figr_tf import layers

ARCHITECTURES = ("resnet", "dcgan")
NUM_STAGES = 4
SIZE_MULTIPLE = 2**NUM_STAGES

if keras.config.backend() != "tensorflow":
    raise ImportError(f"figr_tf needs Keras on TensorFlow. Received: KERAS_BACKEND={keras.config.backend()}; unset it.")


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """Everything needed to rebuild the two networks; saved with every run.

    Attributes:
        architecture: "resnet" (3×3 units in residual blocks) or "dcgan" (5×5 units, no residuals).
        image_size: height = width in pixels, a multiple of 16.
        channels: 1 (grey) or 3 (colour).
        hidden: h, the channels at full resolution; the deepest stage has 16 h.
        latent_dim: length of one latent vector.

    Raises:
        ValueError: if a field is outside the range given above.
    """

    architecture: str = "resnet"
    image_size: int = 32
    channels: int = 1
    hidden: int = 64
    latent_dim: int = 100

    def __post_init__(self):
        if self.architecture not in ARCHITECTURES:
            raise ValueError(f"architecture must be one of {ARCHITECTURES}. Received: {self.architecture!r}")
        if self.image_size < SIZE_MULTIPLE or self.image_size % SIZE_MULTIPLE:
            raise ValueError(
                f"image_size must be a positive multiple of {SIZE_MULTIPLE}: the networks halve it {NUM_STAGES} times."
                f" Received: {self.image_size}"
            )
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour). Received: {self.channels}")
        for name in ("hidden", "latent_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be a positive integer. Received: {getattr(self, name)}")

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> "NetworkSpec":
        """Raises ValueError if the text is not JSON of exactly these fields."""
        try:
            return cls(**json.loads(text))
        except TypeError as error:
            raise ValueError(f"not a network spec: {error}") from error

    @classmethod
    def read(cls, path: pathlib.Path) -> "NetworkSpec":
        return cls.from_json(path.read_text())


class Networks(NamedTuple):
    """The pair: latents [B, latent_dim] → images [B, S, S, C] in (−1, 1), and images → unbounded scores [B, 1].

    Both are sequences of `layers.TaskLayer`.
    """

    generator: keras.Sequential
    discriminator: keras.Sequential


def build_networks(spec: NetworkSpec, seed: int | None = None) -> Networks:
    """Builds both networks with freshly initialised weights; the same seed gives the same weights."""
    if seed is not None:
        keras.utils.set_random_seed(seed)
    return Networks(_build_generator(spec), _build_discriminator(spec))


def apply_network(
    model: keras.Sequential, weights: layers.WeightList, inputs: tf.Tensor, num_tasks: int = 1
) -> tf.Tensor:
    """`model` with `weights`, in the order of `trainable_variables`, in place of its variables.

    Args:
        weights, inputs: of `num_tasks` tasks side by side, see `layers`.

    Returns:
        What the model gives, for T tasks side by side: T times the channels, or T scores.
    """
    outputs = inputs
    used = 0
    for layer in model.layers:
        first, used = used, used + len(layer.trainable_variables)
        outputs = layer.apply(weights[first:used], outputs, num_tasks)
    return outputs


def _stage(spec: NetworkSpec, channels_in: int, channels_out: int) -> list[layers.TaskLayer]:
    """Two residual blocks (ResNet pair only), then the transition unit that changes the channels."""
    if spec.architecture == "dcgan":
        return [layers.ConvUnit(channels_out, kernel_size=5)]
    return [layers.ResidualBlock(channels_in), layers.ResidualBlock(channels_in), layers.ConvUnit(channels_out)]


def _build_generator(spec: NetworkSpec) -> keras.Sequential:
    base = spec.image_size // SIZE_MULTIPLE
    width = spec.hidden * 2**NUM_STAGES
    stack = [keras.Input((spec.latent_dim,), name="latents"), layers.DenseUnit(width * base**2)]
    stack.append(layers.ToFeatureMap(base))
    for stage in reversed(range(NUM_STAGES)):
        stack += [*_stage(spec, spec.hidden * 2 ** (stage + 1), spec.hidden * 2**stage), layers.NearestUpsample()]
    return keras.Sequential([*stack, layers.ToImage(spec.channels)], name="generator")


def _build_discriminator(spec: NetworkSpec) -> keras.Sequential:
    stack = [keras.Input((spec.image_size, spec.image_size, spec.channels), name="images")]
    stack.append(layers.ConvUnit(spec.hidden, kernel_size=7 if spec.architecture == "resnet" else 5))
    for stage in range(NUM_STAGES):
        stack += [*_stage(spec, spec.hidden * 2**stage, spec.hidden * 2 ** (stage + 1)), layers.AveragePool()]
    return keras.Sequential([*stack, layers.ToScore()], name="discriminator")


def parameter_count(model: keras.Model) -> int:
    return sum(int(tf.size(variable.value)) for variable in model.trainable_variables)
