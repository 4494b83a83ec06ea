"""NetworkSpec and the generator and discriminator that it describes.

"Discriminator" is the paper's word; under the Wasserstein loss it is WGAN's critic.
"""

import dataclasses
import json
from collections.abc import Iterator
from typing import NamedTuple

import keras
import tensorflow as tf

from figr_tf.core import random
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
        if self.architecture not in ARCHITECTURES:
            raise ValueError(
                f"architecture must be one of {ARCHITECTURES}. Received: {self.architecture!r}"
            )
        if self.image_size < SIZE_MULTIPLE or self.image_size % SIZE_MULTIPLE:
            raise ValueError(
                f"image_size must be a positive multiple of {SIZE_MULTIPLE}: the networks halve it"
                f" {NUM_STAGES} times. Received: {self.image_size}"
            )
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 (grey) or 3 (colour). Received: {self.channels}")
        for name in ("hidden", "latent_dim"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} must be a positive integer. Received: {getattr(self, name)}"
                )
        if self.blocks_per_stage < 0:
            raise ValueError(
                f"blocks_per_stage must not be negative. Received: {self.blocks_per_stage}"
            )

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


def _build_generator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    base = spec.image_size // SIZE_MULTIPLE
    width = spec.hidden * 2**NUM_STAGES
    stack = [keras.Input((spec.latent_dim,), dtype="float32", name="latents")]
    stack += [layers.DenseUnit(width * base**2, next(seeds)), layers.ToFeatureMap(base)]
    # From 16h channels on the coarsest map to h at full size.
    for stage in reversed(range(NUM_STAGES)):
        stack += _stage(spec, spec.hidden * 2 ** (stage + 1), spec.hidden * 2**stage, seeds)
        stack.append(layers.NearestUpsample())
    return keras.Sequential([*stack, layers.ToImage(spec.channels, next(seeds))], name="generator")


def _build_discriminator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    stack = [
        keras.Input(
            (spec.image_size, spec.image_size, spec.channels), dtype="float32", name="images"
        )
    ]
    stack.append(
        # The paper's discriminator begins with 7×7. The DCGAN pair has 5×5 everywhere.
        layers.ConvUnit(spec.hidden, 7 if spec.architecture == "resnet" else 5, next(seeds))
    )
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
    base, width = spec.image_size // 8, 8 * spec.hidden
    stack = [keras.Input((spec.latent_dim,), dtype="float32", name="latents")]
    stack += [layers.DenseUnit(width * base**2, next(seeds)), layers.ToFeatureMap(base)]
    stack += _lean_blocks(spec, seeds)
    for channels in (4 * spec.hidden, 2 * spec.hidden, spec.hidden):
        stack.append(layers.UpsamplingConvUnit(channels, seed=next(seeds), affine_per_channel=True))
    stack.append(layers.ToImage(spec.channels, next(seeds), in_blocks=True))
    return keras.Sequential(stack, name="generator")


def _build_lean_discriminator(spec: NetworkSpec, seeds: Iterator[int]) -> keras.Sequential:
    image_shape = (spec.image_size, spec.image_size, spec.channels)
    stack = [keras.Input(image_shape, dtype="float32", name="images"), layers.SpaceToDepth()]
    # Strides and no pooling: only the pixels that stay are computed.
    stack += [_lean_unit(2 * spec.hidden, seeds), _lean_unit(4 * spec.hidden, seeds, strides=2)]
    stack += [_lean_unit(8 * spec.hidden, seeds, strides=2), *_lean_blocks(spec, seeds)]
    return keras.Sequential([*stack, layers.ToScoreByPlace(next(seeds))], name="discriminator")


def parameter_count(model: keras.Model) -> int:
    """Number of trainable weights."""
    return sum(int(tf.size(variable.value)) for variable in model.trainable_variables)
