"""Models ready to draw with: run folders, and those that ship with the package, by name."""

import os
import pathlib
from collections.abc import Callable
from typing import Protocol

import numpy as np
import tensorflow as tf

from figr_common import scaling
from figr_tf.classifier.model import ClassifierModel
from figr_tf.core import runs, trained
from figr_tf.core.errors import RunError
from figr_tf.gan.augmentation import Augmentation, jitter
from figr_tf.gan.generation import FewShotModel
from figr_tf.gan.networks import build_networks, meta_weights
from figr_tf.gan.settings import Settings
from figr_tf.pixelcnn.model import PixelCnnModel
from figr_tf.sequences.model import SequenceModel
from figr_tf.warp.model import WarpModel, is_former_run

REDRAWING = "omniglot-32-redraw"  # The shipped network that redraws a support.
CLASSIFIER = "omniglot-3way"  # The shipped classifier, which the page recognises drawings with.
_SHIPPED = pathlib.Path(__file__).with_name("pretrained")


class FewShotGenerator(Protocol):
    """What commands, samplers and exporters ask of a model that draws, of whatever system.

    Attributes:
        meta_step: how long it was trained.
    """

    meta_step: int

    @property
    def num_inner_steps(self) -> int | None:
        """K where none is given; None if there is no such number to choose."""

    @property
    def age(self) -> str:
        """How long it was trained, for people."""

    def meta_weights(self) -> dict[str, list[tf.Variable]]:
        """Its variables, by group."""

    def read_support(self, folder: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """A folder of images, or one, as uint8 [n, S, S, C] in the form that the model takes."""

    def generate(
        self,
        support_images: np.ndarray,
        num_samples: int = 16,
        seed: int = 0,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """uint8 [n, S, S, C] → uint8 [num_samples, S, S, C]; the same for the same arguments."""


def redraw_sha256() -> str:
    """Of the weights of the redrawing network that ships, which `augment="redraw"` takes."""
    return WarpModel(_SHIPPED / REDRAWING).weights_sha256


def augmentation_of(settings: Settings) -> Augmentation | None:
    """What the settings of a FIGR run say is made of a support set.

    Raises:
        RunError: the run was begun with another redrawing network than the one that ships.
    """
    if settings.augment == "none":
        return None
    if settings.augment == "jitter":
        return jitter(settings.augment_count)
    model = WarpModel(_SHIPPED / REDRAWING)
    # It was judged, and K chosen, with that network. Another would vary otherwise, unnoticed.
    if settings.redraw_sha256 not in (None, model.weights_sha256):
        raise RunError(
            f"this run redraws its support with a network of sha256 {settings.redraw_sha256}; the"
            f" one that ships has {model.weights_sha256}. Install the version that the run was"
            " trained with."
        )

    def redraw(support_images, seed):
        return scaling.unit_to_signed(
            model.redraw_from(scaling.signed_to_unit(support_images), settings.augment_count, seed)
        )

    # With its variables, so that an export of the FIGR run stores them.
    return Augmentation(redraw, tuple(v for vs in model.meta_weights().values() for v in vs))


def load_figr(folder: str | pathlib.Path) -> FewShotModel:
    """The newest undamaged checkpoint of a run of FIGR.

    Raises:
        RunError: not a run folder, or no usable checkpoint in it; see also `augmentation_of`.
    """
    run = runs.RunFolder(pathlib.Path(folder))
    settings = run.read_settings(Settings)
    # With whatever initial weights: the checkpoint replaces all of them.
    networks = build_networks(settings.network)
    meta_step = trained.restore(run, meta_weights(networks))
    return FewShotModel(networks, settings, meta_step, augmentation_of(settings))


def _load_sequences(folder: pathlib.Path) -> SequenceModel:
    """A run that draws from a support set.

    Raises:
        RunError: it is of a text, or of the recurrent baseline.
    """
    model = SequenceModel(folder)
    network = model.settings.network
    if network.text_length or network.is_recurrent:
        what = "a text" if network.text_length else "the recurrent baseline, which takes no steps"
        raise RunError(
            f"{folder}: is a run of {what}, so it draws nothing from a support set. What takes it:"
            " figr_tf.evaluate_sequences."
        )
    return model


# By the name in the run's identity. "sine" is not among them: nothing draws with such a run.
_LOADERS: dict[str, Callable[[pathlib.Path], FewShotGenerator | ClassifierModel]] = {
    "classifier": ClassifierModel,
    "gan": load_figr,
    "pixelcnn": PixelCnnModel,
    "sequences": _load_sequences,
    "warp": WarpModel,
}


def shipped_names() -> list[str]:
    """Names that `load` takes."""
    return sorted(path.name for path in _SHIPPED.iterdir() if runs.RunFolder(path).is_packaged())


def find(name_or_folder: str | pathlib.Path) -> pathlib.Path:
    """The folder of a shipped model's name, or the folder itself.

    Write ./omniglot-32 for a folder of the same name as a shipped model.

    Raises:
        RunError: there is neither.
    """
    # A shipped name wins over a folder of that name (docs/decisions.md).
    if str(name_or_folder) in shipped_names():
        return _SHIPPED / str(name_or_folder)
    # Path flags have done it already. Names in Python and in lists of runs come as they were typed.
    folder = pathlib.Path(os.path.expanduser(name_or_folder))
    if not folder.is_dir():
        shipped = ", ".join(shipped_names())
        raise RunError(f"{name_or_folder}: no such run folder, nor a shipped model ({shipped}).")
    return folder


def system_of(folder: pathlib.Path) -> str:
    """Which system a run folder is of, such as "gan". Raises RunError if it is no run folder."""
    # Its record is older than the names of systems.
    if is_former_run(folder):
        return "warp"
    return runs.RunFolder(folder).read_identity()["system"]


def load(name_or_folder: str | pathlib.Path) -> FewShotGenerator:
    """Loads a shipped model, or the newest state of a run folder.

    Raises:
        RunError: neither, or nothing usable in it, or a run of a system that draws no images.
    """
    refuse_classifier(name_or_folder)
    model = load_any(name_or_folder)
    # Refused two lines above; this tells mypy.
    assert not isinstance(model, ClassifierModel)
    return model


def refuse_classifier(name_or_folder: str | pathlib.Path) -> None:
    """Raises RunError for a classifier, where something that draws is needed."""
    if system_of(find(name_or_folder)) == "classifier":
        raise RunError(
            f"{name_or_folder}: is a run of 'classifier', which draws no images. What takes it:"
            " figr_tf.classify, figr_tf.evaluate_classifier, exporters.export_saved_model."
        )


def load_any(name_or_folder: str | pathlib.Path) -> FewShotGenerator | ClassifierModel:
    """As `load`, for the commands that take a classifier as well."""
    folder = find(name_or_folder)
    system = system_of(folder)
    if system not in _LOADERS:
        raise RunError(f"{folder}: is a run of {system!r}, which draws no images.")
    return _LOADERS[system](folder)
