"""A trained redrawing network."""

import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf

from figr_common import scaling
from figr_tf.core import runs, trained
from figr_tf.core.errors import RunError
from figr_tf.core.random import stateless_seed
from figr_tf.core.weights import sha256
from figr_tf.data import support_sets
from figr_tf.data.datasets import DataSettings
from figr_tf.warp.generator import WarpGenerator, random_draw
from figr_tf.warp.settings import WarpSettings

_FORMER_RECORD = "warp.json"  # Of runs that were trained before the core trained this system too.


def is_former_run(folder: pathlib.Path) -> bool:
    """Whether an earlier version trained it."""
    return (folder / _FORMER_RECORD).exists()


def meta_weights(generator: WarpGenerator) -> dict[str, list[tf.Variable]]:
    """The network's variables, as the one group that they are."""
    return {"generator": [v.value for v in generator.trainable_variables]}


def _read_former(folder: pathlib.Path) -> tuple[WarpSettings, WarpGenerator]:
    """A finished run of an earlier version: one file of weights, whose sha256 is in its record."""
    try:
        record = json.loads((folder / _FORMER_RECORD).read_text())
        data = (folder / "weights.npz").read_bytes()
        if hashlib.sha256(data).hexdigest() != record["weights_sha256"]:
            raise ValueError("the weights do not match their sha256")
        # Without pickles: to load a model must not mean to run what its file says.
        with np.load(folder / "weights.npz", allow_pickle=False) as arrays:
            weights = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
        names = (
            "num_tasks",
            "num_samples",
            "num_shots",
            "upright_share",
            "latent_dim",
            "width",
            "seed",
        )
        settings = WarpSettings(
            data=DataSettings.from_dict(record["data"]),
            num_meta_steps=record["num_steps"],
            meta_learning_rate=record["learning_rate"],
            **{name: record[name] for name in names},
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{folder}: not a finished run of figr_tf.train_warp ({error}).") from error
    generator = settings.build_generator()
    generator.set_weights(weights)
    return settings, generator


class WarpModel:
    """Draws new images of a class from a few of it; there is nothing to adapt.

    Attributes:
        folder: that it was loaded from.
        settings: of its training.
        generator: with its trained weights.
        meta_step: training steps behind its weights.
        weights_sha256: of their values.
        num_inner_steps: None, where an adapting model has its K.
    """

    num_inner_steps = None

    def __init__(self, folder: pathlib.Path):
        """Loads a run folder.

        Raises:
            RunError: no run of a redrawing network, or no usable weights in it.
        """
        self.folder = folder
        if is_former_run(folder):
            self.settings, self.generator = _read_former(folder)
            self.meta_step = self.settings.num_meta_steps
        else:
            run = runs.RunFolder(folder)
            self.settings = run.read_settings(WarpSettings)
            self.generator = self.settings.build_generator()
            self.meta_step = trained.restore(run, meta_weights(self.generator))
        self.weights_sha256 = sha256(self.generator.trainable_variables)
        size = self.settings.data.image_size
        support = tf.TensorSpec([None, size, size, 1], tf.float32)
        signature = [support, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int64)]
        self._redraw = tf.function(self.redraw, input_signature=signature, autograph=False)

    def redraw(
        self,
        support_images: tf.Tensor,
        num_samples: tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """The samples of a support set, in any graph.

        Args:
            support_images: [n, S, S, 1] in [0, 1], ink 0, paper 1; n ≥ 1.
            num_samples: int32 [].
            seed: int64 [], not negative.

        Returns:
            [num_samples, S, S, 1] in [0, 1], ink 0.
        """
        return self.redraw_from(support_images, num_samples, stateless_seed(seed))

    def redraw_from(
        self,
        support_images: tf.Tensor,
        num_samples: int | tf.Tensor,
        seed: tf.Tensor,
    ) -> tf.Tensor:
        """As `redraw`, from an int32 [2] seed."""
        num_shots = tf.shape(support_images)[0]
        draw = random_draw([1, num_samples], self.settings.latent_dim, num_shots, seed)
        # One task: the network knows batches of them. Its ink is 1 and its paper 0.
        ink = self.generator((1.0 - support_images[tf.newaxis, ..., 0], draw))
        return 1.0 - ink[0, ..., tf.newaxis]

    def read_support(self, folder: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """See `support_sets.read`."""
        return support_sets.read(folder, (self.settings.data.image_size, 1), ink)

    def meta_weights(self) -> dict[str, list[tf.Variable]]:
        """Its weights, as the one group that they are."""
        return meta_weights(self.generator)

    @property
    def age(self) -> str:
        """How long it was trained, for people."""
        return f"{self.meta_step} training steps"

    def generate(
        self,
        support_images: np.ndarray,
        num_samples: int = 16,
        seed: int = 0,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Draws samples of the class of a support set; the same arguments give the same samples.

        Args:
            support_images: uint8 [n, S, S, 1], n ≥ 1, dark ink on light paper.
            seed: 0 ≤ seed < 2**53.
            num_inner_steps: there are none to choose; callers of any kind of model pass None.

        Returns:
            uint8 [num_samples, S, S, 1].

        Raises:
            ValueError: support images of another shape or type, or a number out of its range.
        """
        size = self.settings.data.image_size
        support = support_sets.check(support_images, (size, size, 1))
        support_sets.check_numbers(num_samples, seed)
        if num_inner_steps is not None:
            raise ValueError(
                f"this model has no inner loop. Received: num_inner_steps={num_inner_steps}"
            )
        unit = self._redraw(scaling.uint8_to_unit(support), num_samples, seed).numpy()
        return scaling.unit_to_uint8(unit)
