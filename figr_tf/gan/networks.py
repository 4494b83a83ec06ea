"""NetworkSpec and the generator and discriminator that it describes.

"Discriminator" is the paper's word; under the Wasserstein loss it is WGAN's critic.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from figr_tf.core import checks, random
from figr_tf.gan import layers

ARCHITECTURES = ("resnet", "dcgan", "lean")
NUM_STAGES = 4
SIZE_MULTIPLE = 2**NUM_STAGES

# Now: on another backend the first error would come from deep inside a layer.
if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"figr_tf needs Keras on TensorFlow. Received: {keras.config.backend()}; set KERAS_BACKEND"
        " to tensorflow before Keras is imported."
    )


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """Everything needed to rebuild the two networks; saved with every run.

    Attributes:
        architecture: "resnet" (3×3 units in residual blocks), "dcgan" (5×5 units, no residuals) or
            "lean" (3×3 units, residual blocks on the coarsest map alone, a discriminator with
            nothing at full resolution; for CPUs, not the paper's).
        image_size: height = width in pixels, a multiple of 16.
        channels: 1 (grey) or 3 (colour).
        hidden: h, the channels at full resolution; the deepest stage has 16 h, of "lean" 8 h.
        latent_dim: length of one latent vector.
        blocks_per_stage: residual blocks of a ResNet stage, or of the one map of "lean" that has
            them; 2 is the paper's, fewer are faster on a CPU.

    Raises:
        ValueError: if a field is outside the range given above.
    """

    architecture: str = "resnet"
    image_size: int = 32
    channels: int = 1
    hidden: int = 64
    latent_dim: int = 100
    blocks_per_stage: int = 2

    def __post_init__(self):
        checks.one_of(self, architecture=ARCHITECTURES)
        checks.at_least(self, 1, "hidden", "latent_dim")
        checks.at_least(self, 0, "blocks_per_stage")
        if self.image_size < SIZE_MULTIPLE or self.image_size % SIZE_MULTIPLE:
            raise ValueError(
                f"image_size must be a positive multiple of {SIZE_MULTIPLE}: the networks halve it"
                f" {NUM_STAGES} times. Received: {self.image_size}"
            )
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour). Received: {self.channels}")

    def to_json(self) -> str:
        """The text of network_spec.json, which people read and no code here."""
        return json.dumps(dataclasses.asdict(self), indent=2)


class Networks(NamedTuple):
    """The pair, as sequences of `layers.PureLayer`.

    Attributes:
        generator: latents [B, latent_dim] → images [B, S, S, C] in (−1, 1).
        discriminator: images [B, S, S, C] → unbounded scores [B, 1].
    """

    generator: keras.Sequential
    discriminator: keras.Sequential


def build_networks(spec: NetworkSpec, seed: int = 0) -> Networks:
    """Both networks with initial weights; the same seed gives the same weights."""
    # One stream of seeds through both networks, the generator first, as Keras would draw them.
    seeds = random.kernel_seeds(seed)
    if spec.architecture == "lean":
        return Networks(_build_lean_generator(spec, seeds), _build_lean_discriminator(spec, seeds))
    return Networks(_build_generator(spec, seeds), _build_discriminator(spec, seeds))


def apply_network(
    model: keras.Sequential, weights: layers.WeightList, inputs: tf.Tensor
) -> tf.Tensor:
    """The network `model`, computed with other weights than its own.

    Args:
        weights: in the order of `model.trainable_variables`.
        inputs: latents or images, see `Networks`.
    """
    # Each layer takes as many weights as it has variables, from the front.
    outputs = inputs
    used = 0
    for layer in model.layers:
        first, used = used, used + len(layer.trainable_variables)
        outputs = layer.apply(weights[first:used], outputs)
    return outputs


def _stage(
    spec: NetworkSpec, channels_in: int, channels_out: int, seeds: Iterator[int]
) -> list[layers.PureLayer]:
    """The residual blocks (ResNet only), then the transition unit that changes the channels."""
    if spec.architecture == "dcgan":
        return [layers.ConvUnit(channels_out, kernel_size=5, seed=next(seeds))]
    blocks = [
        layers.ResidualBlock(channels_in, (next(seeds), next(seeds)))
        for _ in range(spec.blocks_per_stage)
    ]
    return [*blocks, layers.ConvUnit(channels_out, seed=next(seeds))]


def _coarsest_map(spec: NetworkSpec, size: int, channels: int, seeds: Iterator[int]) -> list:
    """What every generator begins with: latents to [B, size, size, channels]."""
    latents = keras.Input((spec.latent_dim,), dtype="float32", name="latents")
    return [latents, layers.DenseUnit(channels * size**2, next(seeds)), layers.ToFeatureMap(size)]


def _images(spec: NetworkSpec) -> keras.KerasTensor:
    """What every discriminator begins with."""
    shape = (spec.image_size, spec.image_size, spec.channels)
    return keras.Input(shape, dtype="float32", name="images")


def _build_generator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    width = spec.hidden * 2**NUM_STAGES
    stack = _coarsest_map(spec, spec.image_size // SIZE_MULTIPLE, width, seeds)
    # From 16h channels on the coarsest map to h at full size.
    for stage in reversed(range(NUM_STAGES)):
        stack += _stage(spec, spec.hidden * 2 ** (stage + 1), spec.hidden * 2**stage, seeds)
        stack.append(layers.NearestUpsample())
    return keras.Sequential([*stack, layers.ToImage(spec.channels, next(seeds))], name="generator")


def _build_discriminator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    # The paper's discriminator begins with 7×7. The DCGAN pair has 5×5 everywhere.
    first = layers.ConvUnit(spec.hidden, 7 if spec.architecture == "resnet" else 5, next(seeds))
    stack = [_images(spec), first]
    for stage in range(NUM_STAGES):
        stack += _stage(spec, spec.hidden * 2**stage, spec.hidden * 2 ** (stage + 1), seeds)
        stack.append(layers.AveragePool())
    return keras.Sequential([*stack, layers.ToScore(next(seeds))], name="discriminator")


def meta_weights(networks: Networks) -> dict[str, list[tf.Variable]]:
    """Φ by group: the variables of both networks."""
    return {
        group: [v.value for v in model.trainable_variables]
        for group, model in networks._asdict().items()
    }


def _lean_unit(channels: int, seeds: Iterator[int], strides: int = 1) -> layers.ConvUnit:
    return layers.ConvUnit(channels, seed=next(seeds), strides=strides, affine_per_channel=True)


def _lean_blocks(spec: NetworkSpec, seeds: Iterator[int]) -> list[layers.PureLayer]:
    """The residual blocks, on the coarsest map."""
    return [
        layers.ResidualBlock(8 * spec.hidden, (next(seeds), next(seeds)), affine_per_channel=True)
        for _ in range(spec.blocks_per_stage)
    ]


def _build_lean_generator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    # Three doublings from the coarsest map, where the paper's pair has four.
    stack = _coarsest_map(spec, spec.image_size // 8, 8 * spec.hidden, seeds)
    stack += _lean_blocks(spec, seeds)
    for channels in (4 * spec.hidden, 2 * spec.hidden, spec.hidden):
        stack.append(layers.UpsamplingConvUnit(channels, seed=next(seeds), affine_per_channel=True))
    stack.append(layers.ToImage(spec.channels, next(seeds), in_blocks=True))
    return keras.Sequential(stack, name="generator")


def _build_lean_discriminator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    # Strides and no pooling: only the pixels that stay are computed.
    stack = [_images(spec), layers.SpaceToDepth()]
    stack += [_lean_unit(2 * spec.hidden, seeds), _lean_unit(4 * spec.hidden, seeds, strides=2)]
    stack += [_lean_unit(8 * spec.hidden, seeds, strides=2), *_lean_blocks(spec, seeds)]
    return keras.Sequential([*stack, layers.ToScoreByPlace(next(seeds))], name="discriminator")


def parameter_count(model: keras.Model) -> int:
    """Number of trainable weights."""
    return sum(int(tf.size(variable.value)) for variable in model.trainable_variables)
