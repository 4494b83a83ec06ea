"""The least time that a meta-step could take on this machine.

Its arithmetic and its memory traffic, each at full speed.
"""

import time
from typing import NamedTuple

import numpy as np

from figr_tf.gan import layers, networks


class Rates(NamedTuple):
    """What the machine does at best.

    Attributes:
        flops: of matrix products, in FLOP/s.
        bytes: of copies, in bytes/s; what is read and what is written both count.
    """

    flops: float
    bytes: float


def measure_rates(repeats: int = 5) -> Rates:
    """The best of `repeats` matrix products of 2048³ and copies of 256 MiB in NumPy."""
    # Large enough that a matrix product runs at full speed, and the copy is not one within a cache.
    a, b = np.ones([2, 2048, 2048], np.float32)
    source = np.ones(2**26, np.float32)
    target = np.empty_like(source)
    # The least of several times: whatever else the machine does can only make one longer.
    product = min(_seconds(lambda: a @ b) for _ in range(repeats))
    copy = min(_seconds(lambda: np.copyto(target, source)) for _ in range(repeats))
    return Rates(2 * 2048**3 / product, 2 * source.nbytes / copy)


def _seconds(action) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _pass_flops(model, num_images: int, image_size: int) -> int:
    """Multiplications and additions of the linear maps in one forward pass."""
    total = 0
    for layer in model.layers:
        units = layer.units if isinstance(layer, layers.ResidualBlock) else [layer]
        for unit in units:
            if not hasattr(unit, "kernel"):
                continue
            # A kernel is applied once for each pixel of the result.
            if isinstance(unit, layers.ConvUnit):
                # A LayerNorm of these networks has a scale for each pixel, so its shape is that of
                # the map. The lean pair's has none for pixels; it is not timed here.
                pixels = unit.scale.shape[0] * unit.scale.shape[1]
            else:
                pixels = image_size**2 if isinstance(unit, layers.ToImage) else 1
            total += 2 * num_images * pixels * int(np.prod(unit.kernel.shape))
    return total


def inner_step_cost(spec: networks.NetworkSpec, num_shots: int) -> tuple[int, int]:
    """(FLOP, bytes) of one inner step if nothing is computed or moved twice.

    In forward passes of n images, the discriminator's step takes 12: 3 forward, 4 backward for real
    and generated, 5 for the slope at the interpolates and its derivatives. The generator's step
    takes 2 of the discriminator and 4 of its own. A derivative by the input costs as much as a
    forward pass, and so does one by the weights.

    Bytes are those of weights and gradients alone, 4 each: a read for each pass over all images
    together, a write for each gradient, 3 for each update.
    """
    generator, discriminator = networks.build_networks(spec)
    # The discriminator's 12 and the 2 of the generator's step.
    flops = 14 * _pass_flops(discriminator, num_shots, spec.image_size)
    flops += 4 * _pass_flops(generator, num_shots, spec.image_size)
    # In this order: reads in its own step, the gradient, the update, reads in the generator's step.
    moved = (4 + 1 + 3 + 2) * networks.parameter_count(discriminator)
    moved += (2 + 1 + 3) * networks.parameter_count(generator)
    return flops, 4 * moved


def seconds(
    spec: networks.NetworkSpec,
    num_shots: int,
    num_inner_steps: int,
    rates: Rates,
) -> float:
    """Seconds: the larger of both floors, for the inner steps of one meta-step."""
    flops, moved = inner_step_cost(spec, num_shots)
    # The larger and not the sum: a machine can compute and move at once.
    return num_inner_steps * max(flops / rates.flops, moved / rates.bytes)
