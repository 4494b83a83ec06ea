"""A model on a server, with the methods of a model here and without TensorFlow.

from serving import remote
with remote.RemoteModel(remote.Endpoint("localhost:8500")) as model:
    samples = model.generate(model.read_support("my_drawings/"), num_samples=64, seed=7)
"""

import io
import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from figr_common import images
from serving import tensors
from serving.errors import ServingError
from serving.grpc_transport import GrpcTransport
from serving.rest_transport import RestTransport
from serving.transports import Endpoint, Transport, VersionStatus, with_retries

_SCALARS = {"num_samples": np.int32, "num_inner_steps": np.int32, "seed": np.int64}


class Adapted(NamedTuple):
    """A generator adapted to one support set, to sample from without adapting again.

    Attributes:
        generator_delta: float32 [P], adapted minus meta-weights.
        fingerprint: of the meta-weights that it belongs to; another export refuses it.
    """

    generator_delta: np.ndarray
    fingerprint: int


class RemoteModel:
    """A model behind an endpoint.

    Every method raises `ServingError`. UNAVAILABLE is tried again first.

    Args:
        timeout: seconds for one call with all its tries. retry_for: seconds within which another
            try may begin.
    """

    def __init__(self, endpoint: Endpoint, timeout: float = 60.0, retry_for: float = 5.0):
        rest = endpoint.address.lower().startswith(("http://", "https://"))
        self._transport: Transport = RestTransport(endpoint) if rest else GrpcTransport(endpoint)
        self._timeout = timeout
        self._retry_for = retry_for

    def __enter__(self) -> "RemoteModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; gRPC calls that other threads wait for end with CANCELLED."""
        self._transport.close()

    def _retrying(self, call: Any) -> Any:
        return with_retries(call, self._timeout, self._retry_for)

    def versions(self) -> list[VersionStatus]:
        """State of the versions that the server knows."""
        return self._retrying(self._transport.versions)

    def image_shape(self) -> tuple[int, int, int]:
        """(S, S, C) of the model's images, from a signature of its that takes them as numbers."""
        signatures = self._retrying(self._transport.signatures)
        for name in ("generate_tensor", "classify_tensor"):
            if name in signatures and "support_images" in signatures[name].inputs:
                shape = signatures[name].inputs["support_images"].tensor_shape
                _, height, width, channels = (dim.size for dim in shape.dim)
                return height, width, channels
        raise ServingError(
            "FAILED_PRECONDITION",
            "the model has no generate_tensor or classify_tensor signature that tells its size",
        )

    def defaults(self) -> dict[str, int]:
        """What `generate` takes for an input that a request leaves out, by name."""
        signature = self._retrying(self._transport.signatures).get("generate")
        if signature is None:
            raise ServingError("FAILED_PRECONDITION", "the model has no generate signature")
        return {name: int(tensors.to_array(proto)) for name, proto in signature.defaults.items()}

    def read_support(
        self,
        folder: str | pathlib.Path,
        ink: str = "dark",
        warn: Callable[[str], None] = warnings.warn,
    ) -> np.ndarray:
        """Reads a folder of images (or one image) as the model wants them: uint8 [n, S, S, C].

        Args:
            warn: see `images.read_images`.

        Raises:
            images.ImageError: no image there that can be used.
        """
        size, _, channels = self.image_shape()
        return images.read_images(folder, size, channels, ink, warn)

    def generate(
        self,
        support_images: np.ndarray,
        num_samples: int | None = None,
        seed: int | None = None,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Adapts to a support set and draws; what is None is the export's default.

        Args:
            support_images: uint8 [n, S, S, C], dark ink on light paper.

        Returns:
            uint8 [num_samples, S, S, C].
        """
        scalars = {"num_samples": num_samples, "num_inner_steps": num_inner_steps, "seed": seed}
        reply = self._predict(
            "generate", {"image_bytes": _encode(support_images), **_numbers(scalars)}, ["png_bytes"]
        )
        return _decode(reply["png_bytes"])

    def adapt(
        self,
        support_images: np.ndarray,
        seed: int | None = None,
        num_inner_steps: int | None = None,
    ) -> Adapted:
        """Adapts to a support set, for `sample` to draw any number of times.

        A model that practises the latents it draws cannot practise those, so `generate` draws
        better there; docs/saved-model.md says where.
        """
        # As JSON, a float of four bytes takes about twenty.
        if isinstance(self._transport, RestTransport):
            raise ServingError(
                "UNIMPLEMENTED", "adapt needs gRPC: its result is megabytes of floats"
            )
        scalars = {"num_inner_steps": num_inner_steps, "seed": seed}
        inputs = {"image_bytes": _encode(support_images), **_numbers(scalars)}
        reply = self._predict("adapt", inputs, ["generator_delta", "fingerprint"])
        return Adapted(reply["generator_delta"], int(reply["fingerprint"]))

    def sample(
        self, adapted: Adapted, num_samples: int | None = None, seed: int | None = None
    ) -> np.ndarray:
        """uint8 [num_samples, S, S, C] from an adapted generator."""
        inputs: dict[str, np.ndarray] = {
            "generator_delta": np.asarray(adapted.generator_delta, np.float32),
            "fingerprint": np.asarray(adapted.fingerprint, np.int64),
            **_numbers({"num_samples": num_samples, "seed": seed}),
        }
        return _decode(self._predict("sample", inputs, ["png_bytes"])["png_bytes"])

    def classify(
        self,
        support_images: np.ndarray,
        labels: np.ndarray,
        query_images: np.ndarray,
        seed: int | None = None,
        num_inner_steps: int | None = None,
    ) -> np.ndarray:
        """Adapts a classifier to a support set and asks which class each query is of.

        Args:
            support_images: uint8 [n, S, S, C], dark ink on light paper.
            labels: whole numbers [n], the class of each: 0, 1, … without a gap.
            query_images: uint8 [q, S, S, C].

        Returns:
            float32 [q, classes], probabilities.
        """
        inputs = {
            "image_bytes": _encode(support_images),
            "labels": np.asarray(labels, np.int32),
            "query_bytes": _encode(query_images),
            **_numbers({"num_inner_steps": num_inner_steps, "seed": seed}),
        }
        answers = self._predict("classify", inputs, ["probabilities"])["probabilities"]
        # REST gives Python's floats, which NumPy makes 64 bits wide.
        return answers.astype(np.float32)

    def _predict(
        self, signature: str, inputs: dict[str, np.ndarray], outputs: list[str]
    ) -> dict[str, np.ndarray]:
        try:
            return self._retrying(
                lambda left: self._transport.predict(signature, inputs, outputs, left)
            )
        except ServingError as error:
            # Servers have this one code for many things. A missing signature is the likely one, and
            # can be told for certain.
            if error.code == "FAILED_PRECONDITION":
                self._check_signature(signature)
            raise

    def _check_signature(self, name: str) -> None:
        known = sorted(self._retrying(self._transport.signatures))
        known = [each for each in known if not each.startswith("__")]  # TensorFlow's own.
        if name not in known:
            raise ServingError(
                "FAILED_PRECONDITION",
                f"the model has no signature {name!r}; it has {', '.join(known)}",
            )


def _numbers(scalars: dict[str, int | None]) -> dict[str, np.ndarray]:
    try:
        return {
            name: np.asarray(value, _SCALARS[name])
            for name, value in scalars.items()
            if value is not None
        }
    except OverflowError as error:
        raise ServingError(
            "INVALID_ARGUMENT", f"a number is out of range. Received: {scalars}"
        ) from error


def _encode(support_images: np.ndarray) -> np.ndarray:
    """uint8 [n, S, S, C] → PNG files, byte strings [n]."""
    # Pillow would take four channels for colours with transparency, and say nothing.
    if (
        support_images.ndim != 4
        or support_images.dtype != np.uint8
        or support_images.shape[-1] not in (1, 3)
    ):
        shape = f"{support_images.dtype} {list(support_images.shape)}"
        raise ServingError(
            "INVALID_ARGUMENT", f"support images must be uint8 [n, S, S, 1 or 3]. Received: {shape}"
        )
    files = []
    for image in support_images:
        file = io.BytesIO()
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, "PNG")
        files.append(file.getvalue())
    return tensors.byte_strings(files)


def _decode(png_bytes: np.ndarray) -> np.ndarray:
    """PNG files, byte strings [m] → uint8 [m, S, S, C]."""
    try:
        arrays = [
            # PNG alone: whatever answers must not choose among all of Pillow's decoders.
            np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))
            for data in png_bytes.tolist()
        ]
    except OSError as error:
        raise ServingError(
            "INTERNAL", f"the server sent something that is not a PNG: {error}"
        ) from error
    # Pillow has grey images without an axis of channels.
    stacked = np.stack(arrays)
    return stacked[..., None] if stacked.ndim == 3 else stacked
