"""The export of a few-shot classifier: `classify` and `classify_tensor`, which adapt and answer."""

import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from exporters import contract, guards, png, verification, warmup
from exporters.limits import MAX_SEED, Limits
from figr_common import scaling
from figr_tf.classifier import prediction
from figr_tf.classifier.adaptation import State
from figr_tf.classifier.model import ClassifierModel
from figr_tf.core import runs
from figr_tf.core.random import stateless_seed

NAMES = ("classify", "classify_tensor")
KIND = "classify"
_LABELS = tf.TensorSpec([None], tf.int32, "labels")
_NUM_INNER_STEPS = tf.TensorSpec([], tf.int32, "num_inner_steps")
_SEED = tf.TensorSpec([], tf.int64, "seed")
_SEED_0 = tf.constant(0, tf.int64)


class ClassifyingModel(tf.Module):
    """Φ with the second moments of its training, and the one function that every signature shares.

    The moments are part of the model: without them the inner steps would be others than those that
    Φ was trained for.

    Attributes:
        classify: (support_images float32 [n, S, S, C] in [0, 1], ink 0; labels int32 [n], which
            class each is of, 0 … classes − 1; query_images float32 [q, S, S, C];
            num_inner_steps int32 [] = K; seed int64 [] = 0) → probabilities float32 [q, classes].
    """

    def __init__(self, model: ClassifierModel, limits: Limits, num_inner_steps: int):
        super().__init__(name="figr_classifier")
        start, learner, network = model.start, model.learner, model.settings.network
        self._meta_weights = tf.Variable(start.weights, trainable=False, name="meta_weights")
        # As attributes of the module: saving refuses a variable that a function uses and that no
        # attribute holds.
        self._carried = [tf.Variable(value, trainable=False) for value in start.carried]

        # Eager tensors as defaults: TensorFlow writes them into the signature, for a server to fill
        # in.
        def classify(
            support_images,
            labels,
            query_images,
            num_inner_steps=tf.constant(num_inner_steps),
            seed=_SEED_0,
        ):
            num_inner_steps = guards.scalar(
                num_inner_steps, "num_inner_steps", 0, limits.max_num_inner_steps
            )
            seed = guards.scalar(seed, "seed", 0, MAX_SEED)
            support, queries = (
                guards.images(images, network.image_shape, {"n": most}, name)
                for images, most, name in (
                    (support_images, network.num_classes * limits.max_num_shots, "support_images"),
                    (query_images, limits.max_num_queries, "query_images"),
                )
            )
            # One output for each class of a training task is all that the network has, so a request
            # has no more classes than that.
            labels = guards.labels(
                labels, tf.shape(support)[0], network.num_classes, limits.max_num_shots
            )
            carried = tuple(variable.read_value() for variable in self._carried)
            start = State(self._meta_weights.read_value(), carried, tf.constant(0.0))
            adapted = prediction.adapted_weights(
                learner, start, support, labels, num_inner_steps, stateless_seed(seed)
            )
            answers = prediction.probabilities(learner, adapted, support, queries)
            # A request may have fewer classes than the network has outputs.
            among = prediction.among(answers, tf.reduce_max(labels) + 1)
            # NaN would pass for an answer otherwise: no class is likelier than another.
            return guards.finite_result(among)

        self.classify = tf.function(
            classify,
            [
                tf.TensorSpec([None, *network.image_shape], tf.float32, "support_images"),
                _LABELS,
                tf.TensorSpec([None, *network.image_shape], tf.float32, "query_images"),
                _NUM_INNER_STEPS,
                _SEED,
            ],
            autograph=False,
        )


class ClassifyingParts(NamedTuple):
    """What signatures are made of. num_inner_steps: where a request does not say."""

    model: ClassifierModel
    module: ClassifyingModel
    limits: Limits
    num_inner_steps: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(S, S, C)."""
        return self.model.settings.network.image_shape

    def read(self, image_bytes: tf.Tensor, name: str, most: int) -> tf.Tensor:
        """string [n] → [n, S, S, C] in [0, 1], bit for bit as `scaling.uint8_to_unit`.

        By its table: Grappler would replace the division by a product with 1 / 255, rounded.
        """
        size, _, channels = self.image_shape
        pixels = png.decode_images(image_bytes, size, channels, self.limits, name, most)
        table = scaling.uint8_to_unit(np.arange(256, dtype=np.uint8))
        return tf.gather(tf.constant(table), tf.cast(pixels, tf.int32))


def make_parts(model: ClassifierModel, limits: Limits, num_inner_steps: int) -> ClassifyingParts:
    """Puts the parts of a model together."""
    return ClassifyingParts(
        model, ClassifyingModel(model, limits, num_inner_steps), limits, num_inner_steps
    )


def _classify(parts: ClassifyingParts) -> Callable:
    def classify(
        image_bytes,
        labels,
        query_bytes,
        num_inner_steps=tf.constant(parts.num_inner_steps),
        seed=_SEED_0,
    ):
        limits = parts.limits
        most = parts.model.settings.network.num_classes * limits.max_num_shots
        support = parts.read(image_bytes, "image_bytes", most)
        queries = parts.read(query_bytes, "query_bytes", limits.max_num_queries)
        answers = parts.module.classify(support, labels, queries, num_inner_steps, seed)
        return {"probabilities": answers}

    return tf.function(
        classify,
        [
            tf.TensorSpec([None], tf.string, "image_bytes"),
            _LABELS,
            tf.TensorSpec([None], tf.string, "query_bytes"),
            _NUM_INNER_STEPS,
            _SEED,
        ],
        autograph=False,
    )


def _classify_tensor(parts: ClassifyingParts) -> Callable:
    def classify_tensor(
        support_images,
        labels,
        query_images,
        num_inner_steps=tf.constant(parts.num_inner_steps),
        seed=_SEED_0,
    ):
        answers = parts.module.classify(support_images, labels, query_images, num_inner_steps, seed)
        return {"probabilities": answers}

    # The method is a signature already but for its answer, which a signature gives by name.
    return tf.function(classify_tensor, parts.module.classify.input_signature, autograph=False)


_BUILDERS = {"classify": _classify, "classify_tensor": _classify_tensor}


def build(parts: ClassifyingParts, names: tuple[str, ...]) -> dict[str, Callable]:
    """Signatures by name; "serving_default" is `classify`, where that is among them."""
    built = {name: _BUILDERS[name](parts) for name in names}
    return built | ({"serving_default": built["classify"]} if "classify" in built else {})


def facts(parts: ClassifyingParts) -> contract.Facts:
    """What the contract says of the model."""
    model, limits = parts.model, parts.limits
    settings = model.settings
    run = runs.RunFolder(model.folder)
    identity = run.read_identity()
    ranges = contract.request_ranges(limits)
    # A classifier draws nothing.
    del ranges["num_samples"]
    training = contract.training_facts(run, settings.data.dataset, settings.train_shots)
    return contract.Facts(
        image_shape=parts.image_shape,
        ranges=ranges
        | {
            "num_classes": (2, settings.network.num_classes),
            "num_queries": (1, limits.max_num_queries),
            "num_inner_steps": (0, limits.max_num_inner_steps),
        },
        defaults={"num_inner_steps": parts.num_inner_steps, "seed": 0},
        model={
            # 53 bits, which every JSON reader keeps whole.
            "fingerprint": int(model.weights_sha256[:16], 16) & MAX_SEED,
            "weights_sha256": model.weights_sha256,
            "meta_step": model.meta_step,
            "network": contract.fields_of(identity, "network"),
            "num_parameters": int(model.start.weights.shape[0]),
            # The identity has the inner loop of the training. An export adapts like an evaluation,
            # with batches and a number of steps of its own.
            "inner": contract.fields_of(identity, "inner")
            | {"batch_size": settings.eval_batch_size, "num_steps": parts.num_inner_steps},
        },
        training=training | {"num_inner_steps": settings.inner.num_steps},
    )


def _task(parts: ClassifyingParts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 [classes, n, S, S, C] of noise, n as trained for; labels; a query of each class."""
    network, limits = parts.model.settings.network, parts.limits
    num_shots = min(parts.model.settings.num_shots, limits.max_num_shots)
    num_queries = min(network.num_classes, limits.max_num_queries)
    shape = (network.num_classes, num_shots + 1, *network.image_shape)
    # Noise and no drawings, for the reason that `warmup.support_images` gives.
    noise = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    labels = np.repeat(np.arange(network.num_classes, dtype=np.int32), num_shots)
    # The last image of a class is its query.
    return noise[:, :-1], labels, noise[:num_queries, -1]


def warm_up(parts: ClassifyingParts, signature_names: list[str]) -> Iterator[warmup.Call]:
    """One request for each signature."""
    support, labels, queries = _task(parts)
    support = support.reshape(-1, *parts.image_shape)
    numbers: dict[str, Any] = {
        "labels": labels,
        "num_inner_steps": np.int32(parts.num_inner_steps),
        "seed": np.int64(0),
    }
    for name in signature_names:
        if name == "classify_tensor":
            images = {"support_images": support, "query_images": queries}
            images = {key: value / np.float32(255) for key, value in images.items()}
        else:
            images = {"image_bytes": _files(support), "query_bytes": _files(queries)}
        yield warmup.Call(name, images | numbers, ("probabilities",))


def _files(pixels: np.ndarray) -> np.ndarray:
    return np.array([tf.io.encode_png(image).numpy() for image in pixels], dtype=object)


def largest_difference(
    saved_model: pathlib.Path, parts: ClassifyingParts, logged: Iterable[warmup.Call]
) -> float:
    """Answers the warm-up requests with the reloaded export, and compares with the model."""
    support, _, queries = _task(parts)
    # The labels of the request count the classes in their order, as `classify` does by itself.
    right = parts.model.classify(support, queries, num_inner_steps=parts.num_inner_steps)
    loaded = tf.saved_model.load(str(saved_model))
    return verification.refuse_difference(
        {
            request.signature: verification.difference(
                verification.answer(loaded, request)["probabilities"], right
            )
            for request in logged
            # That one is `classify` under a second name.
            if request.signature != "serving_default"
        }
    )
