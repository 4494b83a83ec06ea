"""A SavedModel with a real export's signatures and a few operations inside.

Each sample is the support set's mean moved by the seed, the steps and its index, so that any mix-up
of requests shows.
"""

import pathlib

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

SIZE = 16
MAX_STEPS = 200


def _require(condition: tf.Tensor, sentence: str, value: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([tf.debugging.Assert(condition, [sentence])]):
        return tf.identity(value)


class _Stub(tf.Module):
    def __init__(self, bias: float, work: int):
        super().__init__()
        self.bias = tf.Variable(bias)
        self.matrix = tf.Variable(tf.eye(work))

    def adapt_to(self, images: tf.Tensor, steps: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """The [16, 16, 1] image that all samples are made of; every step costs one product of the
        matrix.
        """
        steps = _require(
            (steps >= 0) & (steps <= MAX_STEPS), "num_inner_steps must lie in [0, 200].", steps
        )
        mean = tf.reduce_mean(images, 0)

        def step(i, image, product):
            product = product @ self.matrix
            return i + 1, image * 0.99 + 0.001 * product[0, 0], product

        _, image, _ = tf.while_loop(lambda i, *_: i < steps, step, (0, mean, self.matrix.value()))
        return image + self.bias + tf.cast(seed % 7, tf.float32) * 0.01

    def samples(self, image: tf.Tensor, number: tf.Tensor) -> tf.Tensor:
        number = _require(
            (number >= 1) & (number <= 256), "num_samples must lie in [1, 256].", number
        )
        shades = tf.cast(tf.range(number) % 5, tf.float32) * 0.02
        return tf.clip_by_value(image[None] + shades[:, None, None, None], 0.0, 1.0)


def _decode(image_bytes: tf.Tensor) -> tf.Tensor:
    image_bytes = _require(
        tf.shape(image_bytes)[0] >= 1, "image_bytes needs 1 to 64 images.", image_bytes
    )

    def one(data):
        magic = tf.strings.substr(data, 0, 8) == b"\x89PNG\r\n\x1a\n"
        data = _require(magic, "image_bytes: not a PNG.", data)
        return tf.ensure_shape(tf.io.decode_png(data, 1), [SIZE, SIZE, 1])

    return tf.cast(tf.map_fn(one, image_bytes, fn_output_signature=tf.uint8), tf.float32) / 255.0


def _encode(images: tf.Tensor) -> tf.Tensor:
    pixels = tf.cast(tf.round(images * 255.0), tf.uint8)
    return tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.string)


def _signatures(stub: _Stub) -> dict:
    number = tf.constant(16)
    steps, seed = tf.constant(2), tf.constant(0, tf.int64)
    strings, scalar, wide = (
        tf.TensorSpec(*spec) for spec in (([None], tf.string), ([], tf.int32), ([], tf.int64))
    )
    tensor = tf.TensorSpec([None, SIZE, SIZE, 1])

    @tf.function(input_signature=[strings, scalar, scalar, wide])
    def generate(image_bytes, num_samples=number, num_inner_steps=steps, seed=seed):
        return {
            "png_bytes": _encode(
                stub.samples(
                    stub.adapt_to(_decode(image_bytes), num_inner_steps, seed), num_samples
                )
            )
        }

    @tf.function(input_signature=[tensor, scalar, scalar, wide])
    def generate_tensor(support_images, num_samples=number, num_inner_steps=steps, seed=seed):
        return {
            "images": stub.samples(
                stub.adapt_to(support_images, num_inner_steps, seed), num_samples
            )
        }

    @tf.function(input_signature=[strings, scalar, wide])
    def adapt(image_bytes, num_inner_steps=steps, seed=seed):
        delta = tf.reshape(stub.adapt_to(_decode(image_bytes), num_inner_steps, seed), [-1])
        return {"generator_delta": delta, "fingerprint": tf.constant(2**60 + 1, tf.int64)}

    @tf.function(input_signature=[tf.TensorSpec([None]), wide, scalar, wide])
    def sample(generator_delta, fingerprint, num_samples=number, seed=seed):
        delta = _require(
            fingerprint == 2**60 + 1, "fingerprint: of another export.", generator_delta
        )
        images = stub.samples(tf.reshape(delta, [SIZE, SIZE, 1]), num_samples)
        return {"png_bytes": _encode(images), "images": images}

    return {
        "serving_default": generate,
        "generate": generate,
        "generate_tensor": generate_tensor,
        "adapt": adapt,
        "sample": sample,
    }


def warm_up_request(signature: str = "generate", **inputs) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "figr", signature
    png = tf.io.encode_png(np.full((SIZE, SIZE, 1), 255, np.uint8)).numpy()
    for name, value in ({"image_bytes": [png]} | inputs).items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request


def export(
    path: pathlib.Path, bias: float = 0.0, work: int = 2, warm_up: list | None = None
) -> pathlib.Path:
    """Writes a version folder as an exporter does: under another name first.

    Args:
        bias: added to every sample, to tell versions apart. work: size of the matrix product that a
            step costs.
    """
    stub = _Stub(bias, work)
    unfinished = path.parent / f".{path.name}.unfinished"
    tf.saved_model.save(stub, str(unfinished), signatures=_signatures(stub))
    if warm_up is not None:
        (unfinished / "assets.extra").mkdir()
        with tf.io.TFRecordWriter(
            str(unfinished / "assets.extra/tf_serving_warmup_requests")
        ) as writer:
            for request in warm_up:
                log = prediction_log_pb2.PredictionLog(
                    predict_log=prediction_log_pb2.PredictLog(request=request)
                )
                writer.write(log.SerializeToString())
    unfinished.rename(path)
    return path


def export_first(folder: pathlib.Path) -> pathlib.Path:
    """Model base path in `folder` with version 1, which is warmed up."""
    (folder / "figr").mkdir()
    return export(folder / "figr" / "1", warm_up=[warm_up_request()]).parent
