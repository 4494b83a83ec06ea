"""A trained classifier."""

import dataclasses
import pathlib

import numpy as np
import tensorflow as tf

from figr_tf.classifier.prediction import Answers, Predictor, among
from figr_tf.classifier.settings import ClassifierSettings
from figr_tf.classifier.system import initial_variables
from figr_tf.core import runs, trained
from figr_tf.core.errors import UserError
from figr_tf.core.random import stateless_seed
from figr_tf.core.weights import sha256
from figr_tf.data import support_sets


class ClassifierModel:
    """Tells the classes of a support set apart after a few inner steps.

    Attributes:
        folder: that it was loaded from. settings: of its training.
        start: Φ and the second moments, which every inner loop starts from.
        learner: the network with the inner loop for tasks that it was not trained on.
        meta_step: meta-steps behind its weights.
        weights_sha256: of Φ and the second moments.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        eval_batch_size: int | None = None,
        eval_inner_steps: int | None = None,
    ):
        """Loads the newest state of a run, its second moments included.

        Args:
            eval_batch_size, eval_inner_steps: of the inner loop; None: as the run's settings say.

        Raises:
            RunError: the folder is no run of a classifier, or has no usable weights.
        """
        self.folder = folder
        run = runs.RunFolder(folder)
        settings = run.read_settings(ClassifierSettings)
        self.settings = dataclasses.replace(
            settings,
            eval_batch_size=eval_batch_size or settings.eval_batch_size,
            eval_inner_steps=eval_inner_steps or settings.eval_inner_steps,
        )
        # Of the same shapes as the checkpoint's; `restore` overwrites every value.
        self._variables = initial_variables(settings)
        self.meta_step = trained.restore(run, self.meta_weights(), self.carried)
        self.weights_sha256 = sha256(tf.nest.flatten(self._variables))
        self.start = self._variables.read()
        self.learner = self.settings.held_out_learner()
        self._predictor = Predictor(self.learner, settings.network.image_shape)

    @property
    def name(self) -> str:
        """Of a packaged model, or the folder of a run."""
        return self.folder.name if runs.RunFolder(self.folder).is_packaged() else str(self.folder)

    @property
    def age(self) -> str:
        """How long it was trained, for people."""
        return f"{self.meta_step} meta-steps"

    def meta_weights(self) -> dict[str, list[tf.Variable]]:
        """Its variables, by group."""
        return {"network": self._variables.layers}

    @property
    def carried(self) -> list[tf.Variable]:
        """The second moments and their count; none with SGD."""
        return self._variables.carried

    def read_images(self, path: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """A folder of images, or one, as uint8 [n, S, S, C]; see `support_sets.read`."""
        network = self.settings.network
        return support_sets.read(path, (network.image_size, network.channels), ink)

    def answer(
        self,
        support: np.ndarray,
        queries: np.ndarray,
        seed: tf.Tensor,
        num_inner_steps: int | None = None,
    ) -> Answers:
        """See `Predictor`; the next call starts from the same weights and moments."""
        return self._predictor(self.start, support, queries, seed, num_inner_steps)

    def classify(
        self,
        support: np.ndarray,
        queries: np.ndarray,
        seed: int = 0,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Probabilities of the classes for each query, each classified by itself.

        Args:
            support: uint8 [classes, shots, S, S, C], dark ink on light paper; as many classes as
                a task of the training had, or fewer, but two at least.
            queries: uint8 [Q ≥ 1, S, S, C].
            seed: of the order in which the inner steps see the support, 0 ≤ seed < 2**53.
            num_inner_steps: by default those of its evaluation (`settings.eval_inner_steps`).

        Returns:
            float32 [Q, classes].

        Raises:
            ValueError: arrays of another shape or type, or a number out of its range.
            UserError: the adaptation diverged.
        """
        network = self.settings.network
        image = network.image_shape
        support = np.asarray(support)
        if support.ndim != 5 or not 2 <= len(support) <= network.num_classes:
            raise ValueError(
                f"support must be uint8 [2 to {network.num_classes}, shots,"
                f" {', '.join(map(str, image))}]. Received: {support.dtype} {list(support.shape)}"
            )
        # As one list of images, which is what `check` takes.
        support_sets.check(support.reshape(-1, *support.shape[2:]), image)
        queries = support_sets.check(queries, image)
        support_sets.check_numbers(1, seed, num_inner_steps)
        answers = self.answer(support, queries, stateless_seed(seed), num_inner_steps)
        given = among(answers.plain, len(support)).numpy()
        if not np.isfinite(given).all():
            raise UserError(
                f"{self.name}: the adaptation diverged. Train with a lower inner learning rate."
            )
        return given
