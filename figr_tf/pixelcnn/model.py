"""A trained density model."""

import hashlib
import pathlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from figr_tf.core import runs, trained
from figr_tf.core.errors import RunError
from figr_tf.core.random import stateless_seed
from figr_tf.data import support_sets
from figr_tf.pixelcnn import drawings, networks
from figr_tf.pixelcnn.prediction import Predictor
from figr_tf.pixelcnn.settings import PixelCnnSettings


class PixelCnnModel:
    """Scores and draws drawings of a class from a few of them.

    Attributes:
        folder: that it was loaded from. settings: of its training.
        weights: Φ by name.
        predictor: adapts, scores and draws with any weights.
        meta_step: meta-steps behind its weights.
        weights_sha256: of Φ.
    """

    def __init__(self, folder: pathlib.Path):
        """Loads the newest state of a run.

        Raises:
            RunError: the folder is no run of a density model, or has no usable weights.
        """
        self.folder = folder
        run = runs.RunFolder(folder)
        self.settings = run.read_settings(PixelCnnSettings)
        initial = networks.initial_weights(self.settings.network, 0)
        self._variables = {name: tf.Variable(w) for name, w in initial.items()}
        self.meta_step = trained.restore(run, self.meta_weights())
        self.weights = {name: v.read_value() for name, v in self._variables.items()}
        self.weights_sha256 = _digest(self.weights)
        self.predictor = Predictor(self.settings.network, self.settings.max_shift)

    @property
    def num_inner_steps(self) -> int | None:
        """K where none is given; None for a network that sees its support instead."""
        return None if self.settings.is_conditional else self.settings.eval_inner_steps

    @property
    def age(self) -> str:
        """How long it was trained, for people."""
        return f"{self.meta_step} meta-steps"

    def meta_weights(self) -> dict[str, list[tf.Variable]]:
        """Its variables, by group."""
        return {"network": list(self._variables.values())}

    def read_support(self, folder: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """A folder of images, or one, as uint8 [n, S, S, 1] in black and white."""
        size = drawings.decoded_size(self.settings.network.image_size)
        return self.as_support(support_sets.read(folder, (size, 1), ink))

    def as_support(self, pixels: np.ndarray) -> np.ndarray:
        """Drawings of the data set, uint8 [n, P, P, 1], in the form that the model takes."""
        return drawings.to_pixels(drawings.pooled(pixels))

    def adapted(
        self, support: np.ndarray, num_inner_steps: int | None = None, seed: int = 0
    ) -> networks.Weights:
        """Weights for a support set, 0 and 1 [n, S, S]; Φ for a network with a condition.

        Raises:
            ValueError: steps asked of a network with a condition.
        """
        if self.settings.is_conditional:
            if num_inner_steps is not None:
                raise ValueError(
                    f"this model has no inner loop. Received: num_inner_steps={num_inner_steps}"
                )
            return self.weights
        steps = self.settings.eval_inner_steps if num_inner_steps is None else num_inner_steps
        if steps < 0:
            raise ValueError(f"need num_inner_steps ≥ 0. Received: {steps}")
        return self._stepped(self.weights, support, seed, range(steps))

    def _stepped(
        self, weights: networks.Weights, support: np.ndarray, seed: int, steps: range
    ) -> networks.Weights:
        # A stream of its own: the samples have that of the seed itself.
        stream = stateless_seed(seed, 0)
        rate = self.settings.eval_learning_rate
        return self.predictor.adapt(weights, support, rate, stream, steps)

    def generate(
        self,
        support_images: np.ndarray,
        num_samples: int = 16,
        seed: int = 0,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Draws samples of the class of a support set; the same arguments give the same samples.

        Args:
            support_images: uint8 [n, S, S, 1], n ≥ 1; below 128 is ink.
            seed: 0 ≤ seed < 2**53.
            num_inner_steps: K ≥ 0; None: as the run's settings say.

        Returns:
            uint8 [num_samples, S, S, 1], ink 0 and paper 255.

        Raises:
            ValueError: support images of another shape or type, or a number out of its range.
        """
        support = self._checked(support_images, num_samples, seed)
        weights = self.adapted(support, num_inner_steps, seed)
        samples = self.predictor.draw(weights, support, num_samples, stateless_seed(seed))
        return drawings.to_pixels(samples.images)

    def samples_along(
        self, support_images: np.ndarray, steps: Sequence[int], num_samples: int, seed: int
    ) -> list[np.ndarray]:
        """What `generate` draws after each of the rising numbers of inner steps, in one go."""
        support = self._checked(support_images, num_samples, seed)
        weights: networks.Weights = self.weights
        taken, along = 0, []
        for k in steps:
            weights, taken = self._stepped(weights, support, seed, range(taken, k)), k
            samples = self.predictor.draw(weights, support, num_samples, stateless_seed(seed))
            along.append(drawings.to_pixels(samples.images))
        return along

    def _checked(self, support_images: np.ndarray, num_samples: int, seed: int) -> np.ndarray:
        """The support as 0 and 1 [n, S, S]."""
        size = self.settings.network.image_size
        support_sets.check_numbers(num_samples, seed)
        return drawings.to_ink(support_sets.check(support_images, (size, size, 1)))

    def start_of(self, network: networks.NetworkSpec) -> networks.Weights:
        """Its weights as the start of another training.

        Raises:
            RunError: its drawings, planes or layers are not those of `network`.
        """
        shapes = network.shapes()
        start = {name: w for name, w in self.weights.items() if name in shapes}
        own = self.settings.network
        for name in ("image_size", "planes", "num_layers"):
            if getattr(own, name) != getattr(network, name):
                raise RunError(
                    f"{self.folder}: has {name}={getattr(own, name)}, this command has"
                    f" {name}={getattr(network, name)}. Begin with a run of the same network."
                )
        return start


def _digest(weights: networks.Weights) -> str:
    digest = hashlib.sha256()
    for name, weight in weights.items():
        digest.update(name.encode() + weight.numpy().tobytes())
    return digest.hexdigest()
