"""A trained warp generator and the folder that it lives in."""

import dataclasses
import hashlib
import json
import os
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from figr_tf import runs, support_sets
from figr_tf.adaptation import stateless_seed
from figr_tf.datasets import DataSettings
from figr_tf.errors import RunError
from figr_tf.splits import Split
from figr_tf.warp.generator import WarpGenerator, random_draw

_RECORD, _WEIGHTS, _DIGEST = "warp.json", "weights.npz", "weights_sha256"


@dataclasses.dataclass(frozen=True)
class WarpSettings:
    """All that decides the outcome of a training run.

    Attributes:
        num_tasks, num_samples: T and m of one step. num_shots: n.
        upright_share: probability that a task is not turned; the others are, by 90°, 180° or 270°.

    Raises:
        ValueError: values that cannot work.
    """

    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    num_steps: int = 4_000
    num_tasks: int = 8
    num_samples: int = 8
    num_shots: int = 4
    learning_rate: float = 1e-3
    upright_share: float = 0.6
    latent_dim: int = 64
    width: int = 48
    seed: int = 0

    def __post_init__(self):
        if self.data.image_size % 16 or self.data.channels != 1:
            raise ValueError(
                "the warp generator draws grey images, their size a multiple of 16. Received:"
                f" image_size={self.data.image_size}, channels={self.data.channels}"
            )

    def build_generator(self) -> WarpGenerator:
        return WarpGenerator(self.data.image_size, self.latent_dim, self.width, self.seed)

    def identity(self, split: Split, data_sha256: str) -> dict[str, Any]:
        """All that the weights after a given step depend on, as it stands in the record and in every checkpoint."""
        fields = dataclasses.asdict(self)
        del fields["data"]["data_dir"], fields["data"]["cache_dir"]
        fields |= {"split": split.describe(), "data_sha256": data_sha256}
        return json.loads(json.dumps(fields))

    @classmethod
    def from_identity(cls, identity: dict[str, Any]) -> "WarpSettings":
        names = {field.name for field in dataclasses.fields(cls)} - {"data"}
        data = identity["data"] | {"held_out_classes": tuple(identity["data"]["held_out_classes"])}
        return cls(DataSettings(**data), **{name: identity[name] for name in names})


def is_warp_run(folder: pathlib.Path) -> bool:
    return (folder / _RECORD).exists()


def read_record(folder: pathlib.Path) -> dict[str, Any]:
    """The identity and versions of a run, and `weights_sha256` once it is finished.

    Raises:
        RunError: there is none, or it cannot be read.
    """
    try:
        return json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError) as error:
        raise RunError(f"{folder / _RECORD}: cannot be read ({error}).") from error


def is_finished(folder: pathlib.Path) -> bool:
    return is_warp_run(folder) and _DIGEST in read_record(folder)


def open_run(folder: runs.RunFolder, identity: dict[str, Any], split: Split) -> None:
    """Locks a folder for training: a new one, or the run of this identity that is there.

    The record is written last, since it is what makes the folder a run.

    Raises:
        RunError: the folder holds something else or a run of another identity, or is in use.
    """
    folder.check_path()
    if is_warp_run(folder.path):
        runs.refuse_difference(folder.path, read_record(folder.path), identity)
    elif folder.path.exists() and any(p.name != "split.json" and p.name[0] != "." for p in folder.path.iterdir()):
        raise RunError(f"{folder.path}: exists but is not a run of train_warp. Choose another --run.")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.lock()
    if not is_warp_run(folder.path):
        runs.write_whole(folder.path / "split.json", split.to_json())
        runs.write_whole(folder.path / _RECORD, json.dumps(identity | runs.versions(), indent=1))


def write_weights(folder: pathlib.Path, weights: list[np.ndarray]) -> None:
    """Makes a run finished."""
    scratch = folder / f".new-{_WEIGHTS}"
    np.savez(scratch, *weights)
    os.replace(scratch, folder / _WEIGHTS)
    digest = hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()
    runs.write_whole(folder / _RECORD, json.dumps(read_record(folder) | {_DIGEST: digest}, indent=1))


class WarpModel:
    """Draws new images of a class from a few of it; there is nothing to adapt.

    Attributes:
        folder: that it was loaded from. settings: of its training. generator: with its trained weights.
        weights_sha256: of the file of weights. num_inner_steps: None, where an adapting model has its K.
    """

    num_inner_steps = None

    def __init__(self, folder: pathlib.Path):
        """Raises RunError if the folder does not hold a trained warp generator, or not the one that was saved."""
        record = read_record(folder)
        if _DIGEST not in record:
            raise RunError(f"{folder}: its training has not finished. The command that began it continues it.")
        try:
            data = (folder / _WEIGHTS).read_bytes()
            with np.load(folder / _WEIGHTS, allow_pickle=False) as arrays:
                weights = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
            self.settings = WarpSettings.from_identity(record)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{folder}: not a trained warp generator ({error}).") from error
        self.folder, self.weights_sha256 = folder, hashlib.sha256(data).hexdigest()
        if self.weights_sha256 != record[_DIGEST]:
            raise RunError(f"{folder / _WEIGHTS}: does not match the sha256 in {_RECORD}. Copy the folder again.")
        self.generator = self.settings.build_generator()
        self.generator.set_weights(weights)
        size = self.settings.data.image_size
        support = tf.TensorSpec([None, size, size, 1], tf.float32)
        signature = [support, tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int64)]
        self._redraw = tf.function(self.redraw, input_signature=signature, autograph=False)

    def redraw(self, support_images: tf.Tensor, num_samples: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Support images [n, S, S, 1] in [0, 1], ink 0 → samples [num_samples, S, S, 1] likewise; for any graph."""
        num_shots = tf.shape(support_images)[0]
        draw = random_draw([1, num_samples], self.settings.latent_dim, num_shots, stateless_seed(seed))
        ink = self.generator((1.0 - support_images[tf.newaxis, ..., 0], draw))
        return 1.0 - ink[0, ..., tf.newaxis]

    def read_support(self, folder: str | pathlib.Path, ink: str = "dark") -> np.ndarray:
        """See `support_sets.read`."""
        return support_sets.read(folder, (self.settings.data.image_size, 1), ink)

    @property
    def age(self) -> str:
        """How long it was trained, for people."""
        return f"{self.settings.num_steps} training steps"

    def generate(
        self, support_images: np.ndarray, num_samples: int = 16, seed: int = 0, num_inner_steps: int | None = None
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
            raise ValueError(f"this model has no inner loop. Received: num_inner_steps={num_inner_steps}")
        unit = self._redraw(support / np.float32(255.0), num_samples, seed).numpy()
        return np.rint(255.0 * unit).astype(np.uint8)
