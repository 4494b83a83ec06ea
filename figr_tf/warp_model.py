"""A trained warp generator and the folder that it lives in."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np
import tensorflow as tf

from figr_tf import runs
from figr_tf.adaptation import stateless_seed
from figr_tf.datasets import DataSettings
from figr_tf.errors import RunError
from figr_tf.warp_generator import WarpGenerator, random_draw

_SETTINGS, _WEIGHTS = "warp_settings.json", "weights.npz"


@dataclasses.dataclass(frozen=True)
class WarpSettings:
    """All that decides the outcome of a training run.

    Attributes:
        features_sha256: of a feature network whose space counts beside the blur space; None: the blur space alone.
        num_tasks, num_samples: T and m of one step. num_shots: n.
        upright_share: probability that a task is not turned; the others are, by 90°, 180° or 270°.
    """

    data: DataSettings
    features_sha256: str | None = None
    num_steps: int = 5_000
    num_tasks: int = 8
    num_samples: int = 8
    num_shots: int = 4
    learning_rate: float = 1e-3
    upright_share: float = 0.6
    latent_dim: int = 64
    width: int = 48
    seed: int = 0

    def build_generator(self) -> WarpGenerator:
        return WarpGenerator(self.data.image_size, self.latent_dim, self.width, self.seed)


def is_warp_run(folder: pathlib.Path) -> bool:
    return (folder / _SETTINGS).exists()


def save(folder: pathlib.Path, settings: WarpSettings, split, weights: list[np.ndarray]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    fields = dataclasses.asdict(settings)
    del fields["data"]["data_dir"], fields["data"]["cache_dir"]
    np.savez(folder / _WEIGHTS, *weights)
    digest = hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest()
    runs.write_whole(folder / "split.json", split.to_json())
    runs.write_whole(folder / _SETTINGS, json.dumps(fields | {"weights_sha256": digest} | runs.versions(), indent=1))


class WarpModel:
    """Draws new images of a class from a few of it; there is nothing to adapt.

    Attributes:
        settings: of its training.
    """

    def __init__(self, folder: pathlib.Path):
        """Raises RunError if the folder does not hold a warp generator, or not the one that was saved."""
        try:
            fields = json.loads((folder / _SETTINGS).read_text())
            data = (folder / _WEIGHTS).read_bytes()
            with np.load(folder / _WEIGHTS, allow_pickle=False) as arrays:
                weights = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
            names = {field.name for field in dataclasses.fields(WarpSettings)} - {"data"}
            self.settings = WarpSettings(DataSettings(**fields["data"]), **{name: fields[name] for name in names})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{folder}: not a trained warp generator ({error}).") from error
        if hashlib.sha256(data).hexdigest() != fields["weights_sha256"]:
            raise RunError(f"{folder / _WEIGHTS}: does not match the sha256 in {_SETTINGS}. Copy the folder again.")
        self.generator = self.settings.build_generator()
        self.generator.set_weights(weights)
        size = self.settings.data.image_size
        signature = [tf.TensorSpec([None, size, size], tf.float32), *[tf.TensorSpec([], tf.int32)] * 2]
        self._generate = tf.function(self._draw, input_signature=signature, autograph=False)

    def _draw(self, support_ink, num_samples, seed):
        draw = random_draw([1, num_samples], self.settings.latent_dim, tf.shape(support_ink)[0], stateless_seed(seed))
        return self.generator((support_ink[None], draw))[0]

    def generate(self, support_images: np.ndarray, num_samples: int = 16, seed: int = 0) -> np.ndarray:
        """uint8 [n, S, S, 1], n ≥ 1, dark ink → samples, uint8 [num_samples, S, S, 1]; seeded."""
        size = self.settings.data.image_size
        array = np.asarray(support_images)
        if array.ndim != 4 or array.shape[1:] != (size, size, 1) or not len(array) or array.dtype != np.uint8:
            raise ValueError(
                f"support_images must be uint8 [n ≥ 1, {size}, {size}, 1]. Received: {array.dtype} {list(array.shape)}"
            )
        ink = self._generate(1.0 - array[..., 0] / np.float32(255.0), num_samples, seed).numpy()
        return np.rint(255.0 * (1.0 - ink)).astype(np.uint8)[..., None]
